/**
 * The books of the service layer as anyone can read them: events, accounts and token balances of one
 * block. Nothing here asks the engine.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { Interface, type InterfaceAbi, type JsonRpcProvider, type LogDescription } from 'ethers';
import { cortensorTokenAbi, sessionPaymentAbi } from '../../contracts/abi.js';
import type { Address, Hex, SessionId } from '../../domain/ids.js';
import type { ServiceChainHand } from './service-chain.js';
import type { WholeNetwork } from './whole-network.js';

/** A chain that was killed is back sooner. */
const BOOKS_MS = 30_000;
const POLL_MS = 100;
const TOKEN = new Interface(cortensorTokenAbi as unknown as InterfaceAbi);
const PAYMENT = new Interface(sessionPaymentAbi as unknown as InterfaceAbi);

/** What the chain says of one session. */
export interface SessionBooks {
  depositedWei: bigint;
  chargedWei: bigint;
  refundedWei: bigint;
  heldWei: bigint;
  isClosed: boolean;
  /** Ordinals of the tasks that it paid for. */
  readonly settled: Set<number>;
}

/** Money of the service layer at one block. */
export interface Books {
  readonly block: number;
  readonly sessions: ReadonlyMap<SessionId, SessionBooks>;
  readonly depositedWei: bigint;
  readonly paidWei: bigint;
  readonly refundedWei: bigint;
  readonly heldWei: bigint;
  readonly batches: number;
}

interface BooksDeps {
  readonly provider: JsonRpcProvider;
  readonly token: Address;
  readonly payment: Address;
  /** Whoever may hold tokens, but for the escrow itself. */
  readonly holders: readonly Address[];
}

/** Opens the books of a network: each reading waits for the chain to answer, and is of a block that
 * stays.
 * @throws AssertionError — a sum does not close, or a task was paid twice. */
export function openBooks(
  network: WholeNetwork,
  chain: Pick<ServiceChainHand, 'token' | 'payment'>,
): () => Promise<Books> {
  const { service: provider, users, miners, treasury } = network;
  const { token, payment } = chain;
  const holders = [...[...users, ...miners].map(({ address }) => address), treasury];
  return async () => {
    for (const deadline = Date.now() + BOOKS_MS; ; await delay(POLL_MS)) {
      try {
        const books = await checkBooks({ provider, token, payment, holders });
        if (books !== null) return books;
      } catch (error) {
        // What is asserted is final; a chain that is away comes back.
        if (error instanceof assert.AssertionError || Date.now() > deadline) throw error;
      }
    }
  };
}

/** Reads the books at the newest block and checks that every sum closes.
 * @returns `null` when the chain moved back meanwhile: there was no such block in the end.
 * @throws AssertionError — a sum does not close, or a task was paid twice. */
async function checkBooks(deps: BooksDeps): Promise<Books | null> {
  const { provider } = deps;
  const block = await provider.getBlock('latest');
  if (block === null) return null;
  const [logs, money, balances, supply] = await readAt(deps, block.number);
  const again = await provider.getBlock(block.number);
  if (again?.hash !== block.hash) return null;

  const [depositedWei, paidWei, refundedWei, heldWei, withdrawnWei] = money;
  const text = `block ${block.number}`;
  assert.equal(
    depositedWei,
    paidWei + refundedWei + heldWei,
    `${text}: deposits are accounted for`,
  );
  const [escrow = 0n, ...others] = balances;
  assert.equal(escrow, heldWei + paidWei - withdrawnWei, `${text}: the escrow has what it owes`);
  const total = others.reduce((sum, balance) => sum + balance, escrow);
  assert.equal(total, supply, `${text}: no token appeared or went missing`);

  const sessions = sessionsOf(logs, text);
  const sum = (pick: (session: SessionBooks) => bigint): bigint =>
    [...sessions.values()].reduce((total, session) => total + pick(session), 0n);
  assert.equal(
    sum((s) => s.depositedWei),
    depositedWei,
    `${text}: deposits by session`,
  );
  assert.equal(
    sum((s) => s.chargedWei),
    paidWei,
    `${text}: charges by session`,
  );
  assert.equal(
    sum((s) => s.refundedWei),
    refundedWei,
    `${text}: refunds by session`,
  );
  for (const [id, session] of sessions) {
    const { depositedWei: deposited, chargedWei: charged, refundedWei: refunded } = session;
    session.heldWei = deposited - charged - refunded;
    assert.ok(charged <= deposited, `${text}: session ${id} is charged no more than it deposited`);
    assert.ok(session.heldWei >= 0n, `${text}: session ${id} gets no more than it has`);
    if (session.isClosed) assert.equal(session.heldWei, 0n, `${text}: session ${id} keeps nothing`);
  }
  checkBatches(logs, text);
  const batches = logs.filter((log) => log.name === 'BatchSettled').length;
  return { block: block.number, sessions, depositedWei, paidWei, refundedWei, heldWei, batches };
}

type Money = readonly [bigint, bigint, bigint, bigint, bigint];

async function readAt(
  { provider, token, payment, holders }: BooksDeps,
  block: number,
): Promise<[readonly LogDescription[], Money, readonly bigint[], bigint]> {
  const call = async (to: Address, abi: Interface, name: string, args: readonly unknown[]) => {
    const data = abi.encodeFunctionData(name, args);
    return abi.decodeFunctionResult(name, await provider.call({ to, data, blockTag: block }));
  };
  const balanceOf = async (holder: Address): Promise<bigint> =>
    (await call(token, TOKEN, 'balanceOf', [holder]))[0] as bigint;
  const [found, money, supply, ...balances] = await Promise.all([
    provider.getLogs({ address: payment, fromBlock: 0, toBlock: block }),
    call(payment, PAYMENT, 'money', []),
    call(token, TOKEN, 'totalSupply', []),
    balanceOf(payment),
    ...holders.map(balanceOf),
  ]);
  const logs = found.flatMap((log) => PAYMENT.parseLog(log) ?? []);
  return [logs, money.toArray() as unknown as Money, balances, supply[0] as bigint];
}

function sessionsOf(logs: readonly LogDescription[], text: string): Map<SessionId, SessionBooks> {
  const sessions = new Map<SessionId, SessionBooks>();
  for (const { name, args } of logs) {
    if (!Object.hasOwn(args.toObject(), 'sessionId')) continue;
    const id = String(args['sessionId']);
    const session = sessions.get(id) ?? emptyBooks();
    sessions.set(id, session);
    if (name === 'SessionDeposited') session.depositedWei += args['amount'] as bigint;
    if (name === 'DepositWithdrawn') session.refundedWei += args['amount'] as bigint;
    if (name === 'SessionCharged') {
      session.chargedWei += args['amount'] as bigint;
      for (const ordinal of ordinalsOf(args['word'] as bigint, args['mask'] as bigint)) {
        assert.ok(!session.settled.has(ordinal), `${text}: task ${ordinal} of ${id} is paid once`);
        session.settled.add(ordinal);
      }
    }
    if (name === 'SessionClosed') {
      assert.equal(session.isClosed, false, `${text}: session ${id} closes once`);
      assert.equal(args['charged'], session.chargedWei, `${text}: session ${id} closes in full`);
      session.isClosed = true;
      session.refundedWei += args['refunded'] as bigint;
    }
  }
  return sessions;
}

function emptyBooks(): SessionBooks {
  return {
    depositedWei: 0n,
    chargedWei: 0n,
    refundedWei: 0n,
    heldWei: 0n,
    isClosed: false,
    settled: new Set(),
  };
}

function ordinalsOf(word: bigint, mask: bigint): number[] {
  const bits = Array.from({ length: 256 }, (_, i) => i);
  return bits.flatMap((i) => (mask & (1n << BigInt(i)) ? [Number(word) * 256 + i] : []));
}

/** What a batch takes from sessions is what it gives to miners and to the treasury. */
function checkBatches(logs: readonly LogDescription[], text: string): void {
  const given = new Map<Hex, bigint>();
  const taken = new Map<Hex, bigint>();
  const add = (book: Map<Hex, bigint>, batch: Hex, amount: bigint) =>
    book.set(batch, (book.get(batch) ?? 0n) + amount);
  for (const { name, args } of logs) {
    const batch = args['batchId'] as Hex;
    if (name === 'SessionCharged') add(taken, batch, args['amount'] as bigint);
    if (name === 'MinerPaid') add(given, batch, args['amount'] as bigint);
    if (name === 'BatchSettled') {
      add(given, batch, args['fee'] as bigint);
      assert.equal(taken.get(batch) ?? 0n, args['charged'], `${text}: batch ${batch} is charged`);
    }
  }
  for (const [batch, amount] of given) {
    assert.equal(amount, taken.get(batch) ?? 0n, `${text}: batch ${batch} gives what it takes`);
  }
}
