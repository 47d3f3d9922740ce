/**
 * The main job, as its user and operators would do it: onboard, verify, open a sealed session, ask,
 * close, export. Every step may have been done by a start that was cut off; then it goes on there.
 */
import { openBlockStore } from '../../adapters/ipfs/block-store.js';
import { readIdentityFile } from '../../adapters/seal/identity-file.js';
import { connectClient } from '../../adapters/temporal/connect.js';
import { firstOfKind } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import type { ExportReceipt } from '../../domain/export.js';
import type { SessionId } from '../../domain/ids.js';
import type { TaskRecord } from '../../domain/lease.js';
import { parseTokens } from '../../domain/money.js';
import { parsePolicy, type SessionPolicy, type SessionView } from '../../domain/session.js';
import {
  CortensorClient,
  type Answer,
  type ExportedSession,
  type SessionHandle,
} from '../../sdk/index.js';
import type { HealthEpochResult } from '../../workflows/health-epoch.js';
import { createStarter, type Starter } from '../../workers/starter.js';
import type { Chains } from '../chains.js';
import type { Display } from '../display.js';
import { openWallet } from '../role.js';
import { USER_SINK, type Network } from '../up/network.js';
import { readLine } from '../up/parties.js';
import { runEpoch } from './epoch.js';
import { Journal, type JobRecord } from './journal.js';
import { onboardParties } from './onboard.js';

/** Of the user's session, in whole tokens. */
const DEPOSIT = parseTokens('10');
const LEVEL = 'sealed';
const REDUNDANCY = 3;
/** Tokens of an answer, at most. */
const MAX_TOKENS = 64;
/** Closing waits for a settlement on chain. */
const CLOSE_MS = 300_000;

export interface JobResult {
  readonly epoch: HealthEpochResult;
  readonly session: SessionView;
  readonly tasks: readonly { readonly record: TaskRecord; readonly answer: Answer }[];
  readonly receipt: ExportReceipt;
}

/** Runs the job to its end, or goes on with one that was cut off.
 * @throws JOB_FAILED, or the code of what failed. */
export async function runJob(input: {
  readonly network: Network;
  readonly chains: Chains;
  readonly display: Display;
  readonly prompts: readonly string[];
}): Promise<JobResult> {
  const { network, chains, display, prompts } = input;
  const { config, data, parties } = network;
  const journal = new Journal(data);
  const temporal = await connectClient(config.temporal);
  try {
    const starter = createStarter({ config, client: temporal.client });
    const deps = { config, chains, store: openBlockStore(config.ipfs), starter };
    await display.step('onboard four miners and a user', () =>
      onboardParties(deps, parties, LEVEL),
    );
    const epoch = await display.step('verify the miners: a health epoch', () =>
      runEpoch(temporal.client, starter),
    );

    const { job, abandoned } = await journal.open(prompts);
    const client = await openClient(network);
    const policy = policyOf(network, prompts.length);
    if (abandoned?.session) await closeAbandoned(client, abandoned.session, display);
    const session = await display.step('open a sealed session with a deposit', () =>
      openSession({ client, network, policy, job, journal }),
    );
    await ask(session, prompts, job, display);
    const closed = await display.step('settle on chain, close, refund the rest', async () => {
      if ((await session.view()).state !== 'Closed') await session.close();
      return await session.waitUntil('Closed', { timeoutMs: CLOSE_MS });
    });
    const receipt = await display.step("export to the user's PostgreSQL", () =>
      exportTo(starter, session.id),
    );
    const records = await session.tasks();
    const tasks = await Promise.all(
      records.map(async (record) => ({ record, answer: await session.answer(record) })),
    );
    await journal.finish();
    return { epoch, session: closed, tasks, receipt };
  } finally {
    await temporal.close();
  }
}

async function openClient(network: Network): Promise<CortensorClient> {
  const { apiKeyFile, user } = network.parties;
  return new CortensorClient({
    baseUrl: network.routerUrl,
    apiKey: await readLine(apiKeyFile),
    identity: (await readIdentityFile(user.identityFile)).identity,
  });
}

function policyOf(network: Network, prompts: number): SessionPolicy {
  const model = firstOfKind(network.config.models, 'chat');
  return parsePolicy({
    model: model?.name ?? '',
    redundancy: REDUNDANCY,
    level: LEVEL,
    priceCeilingWei: model?.pricePerTokenWei ?? '0',
    maxTasks: prompts + 1,
    idleSeconds: 3_600,
    taskSeconds: 120,
  });
}

/** Opens the job's session, or finds it: its reference and its keys are written down before anything
 * is sent. */
async function openSession(input: {
  readonly client: CortensorClient;
  readonly network: Network;
  readonly policy: SessionPolicy;
  readonly job: JobRecord;
  readonly journal: Journal;
}): Promise<SessionHandle> {
  const { client, network, policy, job, journal } = input;
  const { user } = network.parties;
  const clientReference = job.reference;
  const prepared =
    job.session ?? (await client.prepareSession({ owner: user.address, policy, clientReference }));
  await journal.update({ ...job, session: prepared });
  const signer = await openWallet(user.keyFile);
  return await client.openSession({
    signer,
    policy,
    depositWei: DEPOSIT,
    clientReference,
    prepared,
  });
}

/** Asks one prompt after the other and shows each answer as it streams. A session that had got as
 * far as closing has all its answers. */
async function ask(
  session: SessionHandle,
  prompts: readonly string[],
  job: JobRecord,
  display: Display,
): Promise<void> {
  if ((await session.view()).state !== 'Open') return;
  for (const [i, prompt] of prompts.entries()) {
    display.line(`\n? ${prompt}`);
    const answer = session.ask(
      { messages: [{ role: 'user', content: prompt }], maxTokens: MAX_TOKENS },
      { idempotencyKey: `job:${job.reference}:${i}` },
    );
    for await (const delta of answer) display.stream(delta);
    const { verdictAgreed, usage, resultCids } = await answer.done;
    const verdict = verdictAgreed ? 'agreed' : 'no agreement';
    display.line(
      `\n  ${verdict} by ${resultCids.length} miners · ${usage.completionTokens} tokens`,
    );
  }
  display.line('');
}

/** An unfinished job with other prompts is not gone on with; its money goes back. */
async function closeAbandoned(
  client: CortensorClient,
  exported: ExportedSession,
  display: Display,
): Promise<void> {
  await display.step('close the session of an unfinished job with other prompts', async () => {
    try {
      const session = await client.importSession(exported);
      await session.close();
      await session.waitUntil('Closed', { timeoutMs: CLOSE_MS });
    } catch (error) {
      // It had not got as far as opening it.
      if (!(error instanceof EngineError) || error.code !== 'SESSION_NOT_FOUND') throw error;
    }
  });
}

async function exportTo(starter: Starter, sessionId: SessionId): Promise<ExportReceipt> {
  const handle = await starter.exportSession(sessionId, USER_SINK);
  const { receipt } = await handle.result();
  if (receipt === null) throw new EngineError('INVARIANT_BROKEN', { what: 'receipt of an export' });
  return receipt;
}
