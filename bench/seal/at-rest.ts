/** Files sealed and opened by the engine and by the stock `age` program, which reads and writes files and
 * is started anew for each, as its users do. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openAtRest, sealAtRest } from '../../adapters/seal/at-rest.js';
import { createIdentity } from '../../adapters/seal/identity.js';
import { obtain } from '../../servers/obtain/index.js';
import { run } from '../../servers/run.js';
import { age } from '../../test/support/age.js';
import type { BenchContext } from '../bench.js';
import { quantile } from '../network/ask.js';

const MEBIBYTE = 1024 * 1024;
const AGE_MS = 30_000;

/** What is sealed to a session's keys: levels `link` and `sealed` have X25519 ones, `sealed-pq` hybrids. */
const KINDS = ['sealed', 'sealed-pq'] as const;
const SIZES = [
  ['1 KiB', 1024, 12],
  ['64 KiB', 64 * 1024, 12],
  ['1 MiB', MEBIBYTE, 12],
  ['16 MiB', 16 * MEBIBYTE, 4],
  ['64 MiB', 64 * MEBIBYTE, 4],
] as const;

/** Times every size at both kinds of keys.
 * @returns medians in milliseconds, and `ratio_*`: the program's time over ours, sealing at X25519. */
export async function measureAtRest(context: BenchContext): Promise<Record<string, number>> {
  const metrics: Record<string, number> = {};
  for (const kind of KINDS) {
    for (const [size, bytes, turns] of SIZES) {
      const { seal, open } = await compare(context, { kind, bytes, turns });
      context.say(
        `${kind}, ${size}: sealed in ${seal.own.toFixed(2)} ms, the age program ${seal.stock.toFixed(2)}; ` +
          `opened in ${open.own.toFixed(2)} ms, the age program ${open.stock.toFixed(2)}`,
      );
      const name = `${kind.replace('-', '_')}_${size.replace(' ', '').toLowerCase()}`;
      metrics[`seal_ms_${name}`] = seal.own;
      metrics[`open_ms_${name}`] = open.own;
      metrics[`age_seal_ms_${name}`] = seal.stock;
      metrics[`age_open_ms_${name}`] = open.stock;
    }
  }
  const ratio = (size: string) =>
    (metrics[`age_seal_ms_sealed_${size}`] ?? 0) / (metrics[`seal_ms_sealed_${size}`] ?? 0);
  return { ratio_vs_age: ratio('1mib'), ratio_vs_age_64mib: ratio('64mib'), ...metrics };
}

interface Times {
  readonly own: number;
  readonly stock: number;
}

/** Seals and opens the same bytes by both, in turns. @returns medians in milliseconds; the program's
 * are with its start. */
async function compare(
  context: BenchContext,
  side: {
    readonly kind: (typeof KINDS)[number];
    readonly bytes: number;
    readonly turns: number;
  },
): Promise<{ readonly seal: Times; readonly open: Times }> {
  const { path } = await obtain(age, { onProgress: ({ message }) => context.say(message) });
  const { identity, recipient } = await createIdentity({ postQuantum: side.kind === 'sealed-pq' });
  const plain = randomBytes(side.bytes);
  const file = (name: string) => join(context.data, name);
  await writeFile(file('plain'), plain);
  await writeFile(file('identity'), `${identity}\n`, { mode: 0o600 });
  const stock = (...args: string[]) => run(path, args, { timeoutMs: AGE_MS });
  const sealed = { own: [] as number[], stock: [] as number[] };
  const opened = { own: [] as number[], stock: [] as number[] };
  // The first turn of each is its warm-up.
  for (let turn = 0; turn <= side.turns; turn++) {
    let bytes: Uint8Array = new Uint8Array();
    const seal = {
      own: await timed(async () => (bytes = await sealAtRest(plain, [recipient]))),
      stock: await timed(() => stock('-r', recipient, '-o', file('sealed'), file('plain'))),
    };
    const open = {
      own: await timed(() => openAtRest(bytes, identity)),
      stock: await timed(() =>
        stock('-d', '-i', file('identity'), '-o', file('opened'), file('sealed')),
      ),
    };
    if (turn === 0) continue;
    for (const who of ['own', 'stock'] as const) {
      sealed[who].push(seal[who]);
      opened[who].push(open[who]);
    }
  }
  const median = (list: { own: number[]; stock: number[] }): Times => ({
    own: quantile(list.own, 0.5),
    stock: quantile(list.stock, 0.5),
  });
  return { seal: median(sealed), open: median(opened) };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}
