/**
 * What sealing costs. In a request: its median at level `link` beside one at `open`, which differ in
 * nothing else; the rest of the request is a stream as a model at 50 tokens a second has it, and, in
 * the second figure, no model at all. At rest: throughput beside the stock `age` program, which reads
 * and writes files and is started anew for each, as its users do.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openAtRest, sealAtRest } from '../adapters/seal/at-rest.js';
import { createIdentity } from '../adapters/seal/identity.js';
import { obtain } from '../servers/obtain/index.js';
import { run } from '../servers/run.js';
import { age } from '../test/support/age.js';
import type { Bench, BenchContext } from './bench.js';
import { ask, quantile, runClients } from './network/ask.js';
import { startNetwork, type BenchNetwork } from './network/network.js';

const CLIENTS = 8;
const REDUNDANCY = 3;
const MODEL = { prompt: '64@50', requests: 96 } as const;
const INSTANT = { prompt: '8@', requests: 96 } as const;
const MEBIBYTE = 1024 * 1024;
const AGE_MS = 30_000;
/** What is at rest: levels `link` and `sealed` have X25519 recipients, `sealed-pq` hybrid ones. */
const KINDS = ['sealed', 'sealed-pq'] as const;
const SIZES = [
  ['1 KiB', 1024, 12],
  ['64 KiB', 64 * 1024, 12],
  ['1 MiB', MEBIBYTE, 12],
  ['16 MiB', 16 * MEBIBYTE, 4],
  ['64 MiB', 64 * MEBIBYTE, 3],
] as const;

export const sealing: Bench = {
  name: 'sealing',
  what: "sealing's share of a request; throughput at rest beside the stock age program",
  target: { share_p50: { max: 0.05 } },
  async run(context) {
    const atRest: Record<string, number> = {};
    for (const kind of KINDS) {
      for (const [size, bytes, turns] of SIZES) {
        const { seal, open } = await compareAtRest(context, kind, bytes, turns);
        context.say(
          `${kind}, ${size}: sealed in ${seal.own.toFixed(2)} ms, the age program ${seal.stock.toFixed(2)}; ` +
            `opened in ${open.own.toFixed(2)} ms, the age program ${open.stock.toFixed(2)}`,
        );
        const name = `${kind.replace('-', '_')}_${size.replace(' ', '').toLowerCase()}`;
        atRest[`seal_ms_${name}`] = seal.own;
        atRest[`open_ms_${name}`] = open.own;
        atRest[`age_seal_ms_${name}`] = seal.stock;
        atRest[`age_open_ms_${name}`] = open.stock;
      }
    }
    const network = await startNetwork(context);
    const sessions = [
      await network.openSession({ level: 'open', redundancy: REDUNDANCY }),
      await network.openSession({ level: 'link', redundancy: REDUNDANCY }),
    ] as const;
    await medians(network, sessions, { prompt: INSTANT.prompt, requests: 32 });
    const model = await medians(network, sessions, MODEL);
    const instant = await medians(network, sessions, INSTANT);
    return {
      share_p50: (model.link - model.open) / model.link,
      share_p50_instant: (instant.link - instant.open) / instant.link,
      open_p50_ms: model.open,
      link_p50_ms: model.link,
      // As rates: theirs over ours, in time.
      ratio_vs_age: (atRest['age_seal_ms_sealed_1mib'] ?? 0) / (atRest['seal_ms_sealed_1mib'] ?? 1),
      ratio_vs_age_64mib:
        (atRest['age_seal_ms_sealed_64mib'] ?? 0) / (atRest['seal_ms_sealed_64mib'] ?? 1),
      ...atRest,
    };
  },
};

/** Medians of whole requests, the two levels in turns. */
async function medians(
  network: BenchNetwork,
  sessions: readonly [open: string, link: string],
  load: { readonly prompt: string; readonly requests: number },
): Promise<{ readonly open: number; readonly link: number }> {
  const totals: [number[], number[]] = [[], []];
  await runClients(CLIENTS, load.requests, async (_, index) => {
    const side = index % 2 === 0 ? 0 : 1;
    totals[side].push((await ask(network, sessions[side], load.prompt)).totalMs);
  });
  return { open: quantile(totals[0], 0.5), link: quantile(totals[1], 0.5) };
}

interface Times {
  readonly own: number;
  readonly stock: number;
}

/** Seals and opens the same bytes by both, in turns. @returns medians in milliseconds; the program's
 * are with its start. */
async function compareAtRest(
  context: BenchContext,
  kind: (typeof KINDS)[number],
  bytes: number,
  turns: number,
): Promise<{ readonly seal: Times; readonly open: Times }> {
  const { path } = await obtain(age, { onProgress: ({ message }) => context.say(message) });
  const { identity, recipient } = await createIdentity({ postQuantum: kind === 'sealed-pq' });
  const plain = randomBytes(bytes);
  const file = (name: string) => join(context.data, name);
  await writeFile(file('plain'), plain);
  await writeFile(file('identity'), `${identity}\n`, { mode: 0o600 });
  const stock = (...args: string[]) => run(path, args, { timeoutMs: AGE_MS });
  const times = { own: [] as number[], stock: [] as number[] };
  const opened = { own: [] as number[], stock: [] as number[] };
  // The first turn of each is its warm-up.
  for (let turn = 0; turn <= turns; turn++) {
    let sealed = new Uint8Array();
    const took = {
      own: await timed(async () => (sealed = new Uint8Array(await sealAtRest(plain, [recipient])))),
      stock: await timed(() => stock('-r', recipient, '-o', file('sealed'), file('plain'))),
      openOwn: await timed(() => openAtRest(sealed, identity)),
      openStock: await timed(() =>
        stock('-d', '-i', file('identity'), '-o', file('opened'), file('sealed')),
      ),
    };
    if (turn === 0) continue;
    times.own.push(took.own);
    times.stock.push(took.stock);
    opened.own.push(took.openOwn);
    opened.stock.push(took.openStock);
  }
  const median = (list: { own: number[]; stock: number[] }): Times => ({
    own: quantile(list.own, 0.5),
    stock: quantile(list.stock, 0.5),
  });
  return { seal: median(times), open: median(opened) };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}
