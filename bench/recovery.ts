/**
 * Back at work after `kill -9`: the whole network under load, one process killed after the other, each
 * several times. There is one worker and one router, so that nobody else takes over at once; the time is
 * from the kill to the answer of a request that was put after it. Clients repeat a request under its
 * idempotency key until it is answered, as the SDK's users do.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createIdentity } from '../adapters/seal/identity.js';
import { findEngineError } from '../domain/errors.js';
import type { TaskId } from '../domain/ids.js';
import { CortensorClient, type SessionHandle } from '../sdk/index.js';
import type { Bench, BenchContext, Metrics } from './bench.js';
import { quantile } from './network/ask.js';
import { openBooks, type Books } from './network/books.js';
import { ServiceChainHand } from './network/service-chain.js';
import { startWholeNetwork, type WholeNetwork } from './network/whole-network.js';

const ROUNDS = 3;
const SESSIONS = 4;
const CLIENTS = 8;
const CONFIRMATIONS = 2;
const PRICE_WEI = 10n ** 12n;
const DEPOSIT_WEI = 10n ** 7n * PRICE_WEI;
/** Longest time for one request's answer, and for the network to be back. */
const ANSWER_MS = 120_000;
const END_MS = 180_000;
const POLL_MS = 100;
/** From one newcomer's request to the next, while the network is not back. */
const PROBE_MS = 500;
/** Who waits at a time: more would measure a crowd. */
const MOST_NEWCOMERS = 6;
/** Between a network that is back and the next kill. */
const PAUSE_MS = 2_000;

/** Who is killed, by the supervisor's name. */
const VICTIMS = {
  worker: 'worker-1',
  router: 'router-1',
  oracle: 'oracle-1',
  miner: 'miners-1',
  temporal: 'temporal',
  kubo: 'ipfs',
  postgres: 'postgres',
  anvil: 'chain-service',
} as const;

const CONFIG = `
router: { port: 0 }
settlement: { maxTasks: 100, maxAge: 2s }
models: [{ name: scripted, pricePerTokenWei: '${PRICE_WEI}' }]
`;

export const recovery: Bench = {
  name: 'recovery',
  what: 'back at work after kill -9 of any one process, under load of 8 clients',
  target: { p95_s: { max: 10 }, lost: { max: 0 }, paid_twice: { max: 0 } },
  async run(context) {
    const network = await startNetwork(context);
    const chain = new ServiceChainHand(network);
    context.defer(async () => chain.stop());
    await chain.fundGas();
    const sessions = await openSessions(network);
    const load = startLoad(sessions);
    const read = openBooks(network, chain);
    await load.nextAnswer();
    context.say('under load');

    const seconds = new Map<string, number[]>();
    const settling: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      for (const [victim, name] of Object.entries(VICTIMS)) {
        await delay(PAUSE_MS);
        const before = await read();
        kill(network, name);
        const killedMs = performance.now();
        await load.nextAnswer();
        const answered = (performance.now() - killedMs) / 1_000;
        await untilSettled(read, before);
        const settled = (performance.now() - killedMs) / 1_000;
        seconds.set(victim, [...(seconds.get(victim) ?? []), answered]);
        settling.push(settled);
        context.say(
          `${victim}: answers after ${answered.toFixed(1)} s, settles after ${settled.toFixed(1)} s`,
        );
      }
    }
    const { answered, unanswered } = await load.stop();
    const { lost, paidTwice } = await close(sessions, answered, read);
    const all = [...seconds.values()].flat();
    const byVictim = [...seconds].map(([victim, times]) => [`${victim}_s`, Math.max(...times)]);
    return {
      p95_s: quantile(all, 0.95),
      lost: lost + unanswered,
      paid_twice: paidTwice,
      kills: all.length,
      answers: answered.size,
      p50_s: quantile(all, 0.5),
      ...(Object.fromEntries(byVictim) as Metrics),
      settled_p95_s: quantile(settling, 0.95),
    };
  },
};

async function startNetwork({ data, defer, say }: BenchContext): Promise<WholeNetwork> {
  const config = join(data, 'bench.yaml');
  await writeFile(config, CONFIG);
  const network = await startWholeNetwork({
    data: join(data, 'network'),
    config,
    workers: 1,
    routers: 1,
    miners: [['honest'], ['honest'], ['honest'], ['honest']],
    users: SESSIONS,
    exitSeconds: 86_400,
    confirmations: CONFIRMATIONS,
  });
  defer(() => network.stop());
  say('network up');
  return network;
}

/** One for each user: permits of one user must wait for each other. */
async function openSessions(network: WholeNetwork): Promise<SessionHandle[]> {
  const [baseUrl = ''] = network.routerUrls;
  return await Promise.all(
    network.users.map(async ({ wallet }) => {
      const { identity } = await createIdentity();
      const client = new CortensorClient({ baseUrl, apiKey: network.apiKey, identity });
      return await client.openSession({
        signer: wallet,
        policy: { model: 'scripted', priceCeilingWei: PRICE_WEI.toString(), level: 'link' },
        depositWei: DEPOSIT_WEI,
      });
    }),
  );
}

interface Load {
  /** Puts a request now and then, and resolves with the first answer to one of them. */
  nextAnswer(): Promise<void>;
  stop(): Promise<{
    /** Task by session and idempotency key. */
    readonly answered: ReadonlyMap<string, TaskId>;
    readonly unanswered: number;
  }>;
}

function startLoad(sessions: readonly SessionHandle[]): Load {
  const answered = new Map<string, TaskId>();
  const under: Promise<unknown>[] = [];
  let isOver = false;
  let unanswered = 0;
  let probes = 0;
  const put = async (session: SessionHandle, key: string): Promise<boolean> => {
    const taskId = await askUntilAnswered(session, key);
    if (taskId === null) unanswered++;
    else answered.set(`${session.id} ${key}`, taskId);
    return taskId !== null;
  };
  const run = async (client: number): Promise<void> => {
    const session = sessions[client % sessions.length] as SessionHandle;
    for (let number = 0; !isOver; number++)
      await put(session, `client ${client} request ${number}`);
  };
  const clients = Array.from({ length: CLIENTS }, (_, client) => run(client));
  return {
    async nextAnswer() {
      // A client that was cut off waits before it asks again; somebody who comes new does not.
      let isBack = false;
      let waiting = 0;
      for (const deadline = Date.now() + ANSWER_MS; !isBack;) {
        if (Date.now() > deadline) throw new Error('not back in time');
        const next = delay(PROBE_MS);
        if (waiting === MOST_NEWCOMERS) {
          await next;
          continue;
        }
        const session = sessions[probes % sessions.length] as SessionHandle;
        waiting++;
        const coming = put(session, `newcomer ${++probes}`).then((isAnswered) => {
          isBack ||= isAnswered;
          waiting--;
        });
        under.push(coming);
        await Promise.race([coming, next]);
      }
    },
    async stop() {
      isOver = true;
      await Promise.all([...clients, ...under]);
      return { answered, unanswered };
    },
  };
}

/** @returns `null` when there is no answer in time. */
async function askUntilAnswered(session: SessionHandle, key: string): Promise<TaskId | null> {
  const messages = [{ role: 'user', content: key }] as const;
  for (const deadline = Date.now() + ANSWER_MS; Date.now() < deadline; await delay(POLL_MS)) {
    try {
      const ask = session.ask({ messages, maxTokens: 32 }, { idempotencyKey: key });
      return (await ask.done).taskId;
    } catch (error) {
      if (findEngineError(error)?.retryable === false) return null;
    }
  }
  return null;
}

function kill(network: WholeNetwork, name: string): void {
  const pid = network.supervisor.pid(name);
  if (pid === undefined) throw new Error(`${name} does not run`);
  process.kill(pid, 'SIGKILL');
}

/** Waits for a batch that was settled after the books were read. */
async function untilSettled(read: () => Promise<Books>, before: Books): Promise<void> {
  for (const deadline = Date.now() + END_MS; ; await delay(POLL_MS)) {
    if ((await read()).batches > before.batches) return;
    if (Date.now() > deadline) throw new Error('nothing is settled any more');
  }
}

/** Closes all sessions, and compares answers, records and books. */
async function close(
  sessions: readonly SessionHandle[],
  answered: ReadonlyMap<string, TaskId>,
  read: () => Promise<Books>,
): Promise<{ lost: number; paidTwice: number }> {
  await Promise.all(sessions.map((session) => session.close()));
  for (const deadline = Date.now() + END_MS; (await read()).heldWei > 0n; await delay(POLL_MS)) {
    if (Date.now() > deadline) throw new Error('money is held still');
  }
  const books = await read();
  const recorded = new Map<TaskId, number>();
  let paidTwice = 0;
  for (const session of sessions) {
    for (const { taskId } of await session.tasks()) {
      recorded.set(taskId, (recorded.get(taskId) ?? 0) + 1);
    }
  }
  let lost = 0;
  for (const taskId of answered.values()) if (!recorded.has(taskId)) lost++;
  for (const count of recorded.values()) if (count > 1) paidTwice += count - 1;
  const settled = [...books.sessions.values()].reduce((sum, s) => sum + s.settled.size, 0);
  return { lost, paidTwice: paidTwice + Math.max(0, settled - recorded.size) };
}
