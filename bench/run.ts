/**
 * `npm run bench`: measures what the design has budgets for. Progress goes to stderr; stdout gets one
 * line of JSON a benchmark, `{"bench","metrics","target","met"}`. Budgets are no tests: a run that
 * misses its target ends with code 0 as well, since machines differ and other work may be going on.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect, parseArgs } from 'node:util';
import { isMet, type Bench, type Metrics } from './bench.js';
import { exportRows } from './export.js';
import { gasHealth } from './gas-health.js';
import { gasSettle } from './gas-settle.js';
import { gateway } from './gateway.js';
import { history } from './history.js';
import { ipfs } from './ipfs.js';
import { pipeline } from './pipeline.js';
import { recovery } from './recovery.js';
import { retrieval } from './retrieval.js';
import { sealing } from './sealing.js';
import { streams } from './streams.js';
import { ttft } from './ttft.js';

const BENCHES: readonly Bench[] = [
  gasSettle,
  gasHealth,
  ttft,
  gateway,
  streams,
  history,
  pipeline,
  sealing,
  exportRows,
  ipfs,
  retrieval,
  recovery,
];

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

const HELP = `Usage: npm run -s bench -- [options] [NAME]

Runs the benchmark of that name, or all of them, each against real servers that it starts itself.

Options:
  --list  print the names, and what each compares
  --help

Exit codes: 0 measured, whether or not the target was met · 1 could not be measured · 2 wrong usage
`;

/** @returns false when it could not be measured; why is on stderr. */
async function runBench(bench: Bench): Promise<boolean> {
  const say = (line: string) => void process.stderr.write(`${bench.name}: ${line}\n`);
  const data = await mkdtemp(join(tmpdir(), `cortensor-bench-${bench.name}-`));
  const stops: (() => Promise<unknown>)[] = [() => rm(data, { recursive: true, force: true })];
  const [loadBefore = 0] = loadavg();
  const stopAll = async (): Promise<void> => {
    for (const stop of stops.splice(0).toReversed()) {
      // What does not stop must not hide what was measured, nor keep the rest running.
      await stop().catch((error: unknown) => say(`not stopped: ${String(error)}`));
    }
  };
  const onSignal = (): void => void stopAll().finally(() => process.exit(130));
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    const measured = await bench.run({ data, say, defer: (stop) => void stops.push(stop) });
    const metrics: Metrics = { ...measured, load_average: loadBefore };
    const { name, target } = bench;
    const result = { bench: name, metrics: rounded(metrics), target, met: isMet(metrics, target) };
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return true;
  } catch (error) {
    say(`not measured: ${inspect(error)}`);
    return false;
  } finally {
    await stopAll();
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}

/** Four digits, or all before the point: more would pretend to be reproducible. */
function rounded(metrics: Metrics): Metrics {
  const round = (n: number) => (Math.abs(n) >= 1_000 ? Math.round(n) : Number(n.toPrecision(4)));
  return Object.fromEntries(
    Object.entries(metrics).map(([name, n]) => [name, n === null ? null : round(n)]),
  );
}

async function main(argv: readonly string[]): Promise<number> {
  let options: { values: { list?: boolean; help?: boolean }; positionals: string[] };
  try {
    options = parseArgs({
      args: [...argv],
      options: { list: { type: 'boolean' }, help: { type: 'boolean' } },
      allowPositionals: true,
    });
  } catch (error) {
    return misused(error instanceof Error ? error.message : String(error));
  }
  const { values, positionals } = options;
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (values.list) {
    for (const { name, what } of BENCHES) process.stdout.write(`${name.padEnd(12)} ${what}\n`);
    return 0;
  }
  const [name, ...more] = positionals;
  if (more.length > 0) return misused('expected one benchmark or none');
  const chosen = BENCHES.filter((bench) => name === undefined || bench.name === name);
  if (chosen.length === 0) {
    const names = BENCHES.map((bench) => bench.name).join(', ');
    return misused(`unknown benchmark ${JSON.stringify(name)}, expected one of ${names}`);
  }
  let failures = 0;
  for (const bench of chosen) if (!(await runBench(bench))) failures++;
  return failures === 0 ? 0 : 1;
}

function misused(message: string): number {
  process.stderr.write(`${message.split('\n')[0]}\n`);
  return 2;
}

process.exitCode = await main(process.argv.slice(2));
