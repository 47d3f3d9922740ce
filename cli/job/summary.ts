/** What the main job came to: one object for programs, the same for people, and whether it held. */
import { TokenChain } from '../../adapters/chain/token.js';
import { openPool, query } from '../../adapters/database/pool.js';
import { sameAddress, type Address, type Cid, type Hex, type SessionId } from '../../domain/ids.js';
import { formatTokens, isBalanced, type MoneySummary, type WeiString } from '../../domain/money.js';
import type { SessionState } from '../../domain/session.js';
import type { Chains } from '../chains.js';
import { USER_SINK, type Network } from '../up/network.js';
import type { JobResult } from './run.js';

export interface Summary {
  readonly miners: readonly {
    readonly address: Address;
    readonly status: string;
    readonly score: number;
    readonly honest: boolean;
  }[];
  readonly user: Address;
  readonly epoch: { readonly id: number; readonly reportTx: Hex };
  readonly session: { readonly id: SessionId; readonly state: SessionState };
  readonly tasks: readonly {
    readonly id: Hex;
    readonly state: string;
    readonly verdict: string;
    readonly requestCid: Cid;
    readonly resultCids: readonly Cid[];
    readonly settlementTx: Hex | null;
    readonly text: string;
  }[];
  /** Of all contracts that hold tokens: session escrow and stakes. Amounts are decimal strings. */
  readonly money: {
    readonly deposited: WeiString;
    readonly paid: WeiString;
    readonly refunded: WeiString;
    readonly slashed: WeiString;
    readonly held: WeiString;
    readonly balanced: boolean;
  };
  readonly database: { readonly rows: number; readonly receipt: Hex };
  readonly seconds: { readonly setup: number; readonly job: number };
}

export async function summarise(
  network: Network,
  chains: Chains,
  result: JobResult,
  seconds: Summary['seconds'],
): Promise<Summary> {
  const { parties } = network;
  const { epoch, session, tasks, receipt } = result;
  return {
    miners: await Promise.all(
      parties.miners.map(async ({ address, isHonest }) => ({
        address,
        status: (await chains.onboarding.readNode(address))?.status ?? 'None',
        score: epoch.scores.find((s) => sameAddress(s.miner, address))?.scoreBps ?? 0,
        honest: isHonest,
      })),
    ),
    user: parties.user.address,
    epoch: { id: epoch.epoch, reportTx: epoch.reportTx },
    session: { id: session.sessionId, state: session.state },
    tasks: tasks.map(({ record, answer }) => ({
      id: record.taskId,
      state: record.state,
      verdict: answer.verdictAgreed ? 'agreed' : answer.outcome,
      requestCid: record.requestCid,
      resultCids: answer.resultCids,
      settlementTx: record.settlementTx,
      text: answer.text,
    })),
    money: await readMoney(network, chains, result),
    database: { rows: await countRows(network, session.sessionId), receipt: receipt.digest },
    seconds,
  };
}

/** Adds up the contracts' own counters, and holds them against the tokens that they really have and
 * against what the session was charged. */
async function readMoney(
  network: Network,
  chains: Chains,
  { session, tasks }: JobResult,
): Promise<Summary['money']> {
  const { config, parties } = network;
  const [escrow, stakes] = await Promise.all([
    chains.service.readMoney(),
    chains.onboarding.readMoney(),
  ]);
  const sum = (pick: (money: MoneySummary) => bigint): bigint => pick(escrow) + pick(stakes);
  const total: MoneySummary = {
    depositedWei: sum((m) => m.depositedWei),
    paidWei: sum((m) => m.paidWei),
    refundedWei: sum((m) => m.refundedWei),
    slashedWei: sum((m) => m.slashedWei),
    heldWei: sum((m) => m.heldWei),
  };
  const earners = [...parties.miners, parties.engine];
  const earnings = await Promise.all(
    earners.map(({ address }) => chains.service.readEarningsWei(address)),
  );
  const token = new TokenChain(chains.providers.service, config.layers.service.contracts);
  const tokensWei = await token.readBalanceWei(chains.service.sessionPayment);
  const owedWei = earnings.reduce((all, wei) => all + wei, escrow.heldWei);
  const chargedWei = tasks.reduce((all, { record }) => all + BigInt(record.chargeWei), 0n);
  const { depositedWei, chargedWei: budgetWei, refundedWei } = session.budget;
  const isSessionBalanced =
    chargedWei === BigInt(budgetWei) && BigInt(depositedWei) === chargedWei + BigInt(refundedWei);
  return {
    deposited: total.depositedWei.toString(),
    paid: total.paidWei.toString(),
    refunded: total.refundedWei.toString(),
    slashed: total.slashedWei.toString(),
    held: total.heldWei.toString(),
    balanced: isBalanced(total) && tokensWei === owedWei && isSessionBalanced,
  };
}

/** Counts the session's rows where they were meant to arrive, and not where we say so. */
async function countRows(network: Network, sessionId: SessionId): Promise<number> {
  const pool = openPool(network.userDatabaseUrl);
  try {
    const rows = await query<{ count: string }>(
      pool,
      `select (select count(*) from cortensor.session where session_id = $1)
            + (select count(*) from cortensor.task where session_id = $1)
            + (select count(*) from cortensor.task_result where session_id = $1) as count`,
      [sessionId],
    );
    return Number(rows[0]?.count ?? 0);
  } finally {
    await pool.end();
  }
}

/** Names everything that did not hold; empty when the job did all it promised. */
export function shortcomings(summary: Summary): string[] {
  const { miners, tasks, money, session, database } = summary;
  const honest = miners.filter((m) => m.honest).map((m) => m.score);
  const dishonest = miners.filter((m) => !m.honest).map((m) => m.score);
  const checks: [boolean, string][] = [
    [
      Math.min(...honest) > Math.max(...dishonest),
      'an honest miner is not above the dishonest one',
    ],
    [tasks.length > 0, 'no task was done'],
    [tasks.every((task) => task.verdict === 'agreed'), 'a task found no agreement'],
    [tasks.every((task) => task.settlementTx !== null), 'a task is not settled on chain'],
    [money.balanced, 'the money does not add up'],
    [session.state === 'Closed', 'the session is not closed'],
    [database.rows >= 1 + tasks.length, "rows are missing in the user's database"],
  ];
  return checks.filter(([holds]) => !holds).map(([, what]) => what);
}

/** The summary for people. */
export function describe(summary: Summary, network: Network): string {
  const { miners, epoch, session, tasks, money, database, seconds } = summary;
  const lines = [
    '',
    `Miners, after epoch ${epoch.id} (report ${epoch.reportTx})`,
    ...miners.map(
      (m) =>
        `  ${m.address}  ${(m.score / 100).toFixed(1).padStart(5)} %  ${m.status.padEnd(7)} ${m.honest ? '' : '(answers everything with one text)'}`,
    ),
    '',
    `Session ${session.id}: ${session.state}`,
    ...tasks.flatMap((task, i) => [
      `  ${i + 1}. ${task.verdict}, ${task.state.toLowerCase()} in ${task.settlementTx ?? 'nothing'}`,
      `     request ${task.requestCid}`,
      ...task.resultCids.map((cid) => `     result  ${cid}`),
    ]),
    '',
    'Money, in tokens (escrow and stakes together)',
    `  deposited ${tokens(money.deposited)} = paid ${tokens(money.paid)} + refunded ${tokens(money.refunded)} + slashed ${tokens(money.slashed)} + held ${tokens(money.held)}  ${money.balanced ? '✔ balanced' : '✖ NOT BALANCED'}`,
    '',
    `The user's own database: ${database.rows} rows, receipt ${database.receipt}`,
    `  psql "$(cat ${userDatabaseFile(network)})" -c 'select ordinal, outcome, charge_wei from cortensor.task where session_id = ${session.id} order by ordinal'`,
    '',
    `Router       ${network.routerUrl}  (API key in ${network.parties.apiKeyFile})`,
    `Temporal UI  ${network.uiUrl}`,
    `IPFS gateway ${network.servers.ipfs.gatewayUrl}/ipfs/${tasks[0]?.requestCid ?? ''}`,
    '',
    `Ready after ${seconds.setup.toFixed(1)} s, job done in ${seconds.job.toFixed(1)} s.`,
    '',
  ];
  return lines.join('\n');
}

function tokens(wei: WeiString): string {
  return formatTokens(BigInt(wei));
}

/** The file that holds the URL of the user's database, password included. */
function userDatabaseFile({ config }: Network): string {
  return config.sinks[USER_SINK]?.url.replace(/^file:/, '') ?? '';
}
