/**
 * What sealing costs. In a request: its median at level `link` beside one at `open`, which differ in
 * nothing else; the rest of the request is a stream as a model at 50 tokens a second has it, and, in
 * the second figure, no model at all. At rest: throughput beside the stock `age` program, which reads
 * and writes files and is started anew for each, as its users do.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sealAtRest } from '../adapters/seal/at-rest.js';
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

export const sealing: Bench = {
  name: 'sealing',
  what: "sealing's share of a request; throughput at rest beside the stock age program",
  target: { share_p50: { max: 0.05 } },
  async run(context) {
    const block = await compareAtRest(context, MEBIBYTE, 12);
    const large = await compareAtRest(context, 16 * MEBIBYTE, 4);
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
      ratio_vs_age: block.ratio,
      seal_mib_per_s: block.own,
      age_mib_per_s: block.stock,
      ratio_vs_age_16mib: large.ratio,
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

/** Seals the same bytes by both, in turns. @returns mebibytes a second, and ours over theirs. */
async function compareAtRest(
  context: BenchContext,
  bytes: number,
  turns: number,
): Promise<{ readonly own: number; readonly stock: number; readonly ratio: number }> {
  const { path } = await obtain(age, { onProgress: ({ message }) => context.say(message) });
  const { recipient } = await createIdentity();
  const plain = randomBytes(bytes);
  const [from, to] = [join(context.data, 'plain'), join(context.data, 'sealed.age')];
  await writeFile(from, plain);
  const times = { own: [] as number[], stock: [] as number[] };
  // The first turn of each is its warm-up.
  for (let turn = 0; turn <= turns; turn++) {
    const own = await timed(() => sealAtRest(plain, [recipient]));
    const stock = await timed(() =>
      run(path, ['-r', recipient, '-o', to, from], { timeoutMs: AGE_MS }),
    );
    if (turn === 0) continue;
    times.own.push(own);
    times.stock.push(stock);
  }
  const rate = (list: readonly number[]) => bytes / MEBIBYTE / (quantile(list, 0.5) / 1_000);
  const [own, stock] = [rate(times.own), rate(times.stock)];
  const size = `${bytes / MEBIBYTE} MiB`;
  context.say(`${size}: ${own.toFixed(0)} MiB/s, the age program ${stock.toFixed(0)} MiB/s`);
  return { own, stock, ratio: own / stock };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}
