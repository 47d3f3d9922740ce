/**
 * What sealing costs, level by level. In a request: the median of each level beside that of `open`, asked
 * by the SDK in turns, where the rest of the request is a stream as a model at 50 tokens a second has it,
 * and, in the second figure, no model at all; and the CPU and the bytes of all that is sealed and opened
 * for it. At rest: times beside the stock `age` program.
 */
import { Wallet } from 'ethers';
import { createIdentity } from '../adapters/seal/identity.js';
import { SEALING_LEVELS, type SealingLevel } from '../domain/sealing.js';
import { CortensorClient, type SessionHandle } from '../sdk/index.js';
import type { Bench, BenchContext } from './bench.js';
import { quantile, runClients } from './network/ask.js';
import { startNetwork, type BenchNetwork } from './network/network.js';
import { measureAtRest } from './seal/at-rest.js';
import { cpuOf, drawReaders, openSession, sealRequest } from './seal/work.js';

const CLIENTS = 8;
const REDUNDANCY = 3;
/** Requests of all levels together. */
const MODEL = { prompt: '64@50', requests: 256 } as const;
const INSTANT = { prompt: '8@', requests: 256 } as const;
const WARM_UP = { prompt: INSTANT.prompt, requests: 64 } as const;
const SEALED_LEVELS = SEALING_LEVELS.filter((level) => level !== 'open');
const PRICE_WEI = 10n ** 12n;

export const sealing: Bench = {
  name: 'sealing',
  what: "sealing's share of a request, its CPU and bytes; times at rest beside the stock age program",
  target: { share_p50: { max: 0.05 } },
  async run(context) {
    const work = await measureWork(context);
    const atRest = await measureAtRest(context);
    const network = await startNetwork(context);
    const sessions = await openSessions(network);
    await medians(sessions, WARM_UP);
    const model = await medians(sessions, MODEL);
    const instant = await medians(sessions, INSTANT);
    const share = (of: typeof model, level: SealingLevel) => (of[level] - of.open) / of[level];
    const largest = (of: typeof model) => Math.max(...SEALED_LEVELS.map((l) => share(of, l)));
    return {
      share_p50: largest(model),
      share_p50_instant: largest(instant),
      ...perLevel('share_p50', SEALED_LEVELS, (level) => share(model, level)),
      ...perLevel('p50_ms', SEALING_LEVELS, (level) => model[level]),
      ...perLevel('p50_instant_ms', SEALING_LEVELS, (level) => instant[level]),
      ...work,
      ...atRest,
    };
  },
};

function perLevel(
  name: string,
  levels: readonly SealingLevel[],
  of: (level: SealingLevel) => number,
): Record<string, number> {
  return Object.fromEntries(
    levels.map((level) => [`${name}_${level.replace('-', '_')}`, of(level)]),
  );
}

/** CPU and bytes beyond those at `open`, of a request and of a session. */
async function measureWork({ say }: BenchContext): Promise<Record<string, number>> {
  const readers = await drawReaders();
  const at = async (level: SealingLevel) => {
    const { keys, keyringBytes } = await openSession(level, readers);
    return {
      ...(await sealRequest(keys)),
      keyring: keyringBytes,
      requestMs: await cpuOf(() => sealRequest(keys), 100),
      sessionMs: await cpuOf(() => openSession(level, readers), 20),
    };
  };
  const open = await at('open');
  const metrics: Record<string, number> = {};
  for (const level of SEALED_LEVELS) {
    const sealed = await at(level);
    const added = {
      request_cpu_ms: sealed.requestMs - open.requestMs,
      request_rest_bytes: sealed.rest - open.rest,
      request_wire_bytes: sealed.wire - open.wire,
      session_cpu_ms: sealed.sessionMs - open.sessionMs,
      keyring_bytes: sealed.keyring,
    };
    for (const [name, value] of Object.entries(added)) {
      Object.assign(
        metrics,
        perLevel(name, [level], () => value),
      );
    }
    say(`${level}: ${JSON.stringify(added)}`);
  }
  return metrics;
}

type Sessions = Readonly<Record<SealingLevel, SessionHandle>>;

async function openSessions(network: BenchNetwork): Promise<Sessions> {
  const { identity } = await createIdentity({ postQuantum: true });
  const { routerUrl: baseUrl, apiKey, model } = network;
  const client = new CortensorClient({ baseUrl, apiKey, identity });
  const open = async (level: SealingLevel) => {
    const session = await client.openSession({
      signer: Wallet.createRandom(),
      policy: {
        model,
        level,
        redundancy: REDUNDANCY,
        maxTasks: 10_000,
        priceCeilingWei: PRICE_WEI.toString(),
      },
      depositWei: 10n ** 9n * PRICE_WEI,
    });
    return [level, session] as const;
  };
  return Object.fromEntries(await Promise.all(SEALING_LEVELS.map(open))) as Sessions;
}

/** Medians of whole requests in milliseconds, the levels in turns. */
async function medians(
  sessions: Sessions,
  load: { readonly prompt: string; readonly requests: number },
): Promise<Record<SealingLevel, number>> {
  const totals: Record<SealingLevel, number[]> = {
    open: [],
    link: [],
    sealed: [],
    'sealed-pq': [],
  };
  await runClients(CLIENTS, load.requests, async (_, index) => {
    const level = SEALING_LEVELS[index % SEALING_LEVELS.length] ?? 'open';
    const startedAt = performance.now();
    const request = { messages: [{ role: 'user', content: load.prompt }], maxTokens: 256 } as const;
    const { text } = await sessions[level].ask(request).done;
    if (text === '') throw new Error('an answer is empty');
    totals[level].push(performance.now() - startedAt);
  });
  const { open, link, sealed, 'sealed-pq': hybrid } = totals;
  return {
    open: quantile(open, 0.5),
    link: quantile(link, 0.5),
    sealed: quantile(sealed, 0.5),
    'sealed-pq': quantile(hybrid, 0.5),
  };
}
