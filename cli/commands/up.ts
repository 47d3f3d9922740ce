/** `cortensor up`: the whole network on this machine, running its main job. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { openSupervisor } from '../../servers/start/index.js';
import { openChains } from '../chains.js';
import type { Command } from '../command.js';
import { loadSettings } from '../config.js';
import { Display } from '../display.js';
import { readPrompts } from '../job/prompts.js';
import { runJob } from '../job/run.js';
import { describe, shortcomings, summarise } from '../job/summary.js';
import { PROJECT_CONFIG, PROJECT_FOLDER, PROJECT_PROMPTS } from '../project.js';
import { startNetwork, type Network } from '../up/network.js';

const HELP = `Usage: cortensor up [options]

Starts Temporal, Kubo, PostgreSQL, three chains, workers, a router, oracles and miners, each in a
process of its own; then onboards miners and a user, verifies the miners, opens a sealed session,
asks your prompts, settles, exports and closes. Then it stays up until Ctrl-C.

Options:
  --prompts FILE  questions, one a line; default: those that ship with the project
  --once          stop everything when the job is done
  --json          print the summary as one JSON object on the last line of stdout
  --data DIR      everything that is kept; default: .cortensor in the project
  --config FILE   temporal.yaml; default: the project's own

Exit codes: 0 the job held all it promised · 1 it did not · 2 wrong options, prompts or configuration
`;

export const up: Command = {
  help: HELP,
  async run(argv) {
    const startedAt = Date.now();
    const { values } = parseArgs({
      args: [...argv],
      options: {
        prompts: { type: 'string', default: PROJECT_PROMPTS },
        once: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        data: { type: 'string', default: resolve(PROJECT_FOLDER, '.cortensor') },
        config: { type: 'string', default: PROJECT_CONFIG },
      },
      strict: true,
    });
    const settings = loadSettings({ file: values.config, env: process.env });
    const prompts = await readPrompts(values.prompts);
    const data = resolve(values.data);
    const display = new Display();
    /** How a process ended last, by its name. */
    const ends = new Map<string, string>();
    const supervisor = await openSupervisor({
      data,
      onEvent(event) {
        if (event.kind === 'exited')
          ends.set(event.name, event.signal ?? `code ${event.code ?? 0}`);
        if (event.kind !== 'restarting') return;
        display.line(`↻ ${event.name} has ended (${ends.get(event.name)}) and is started again`);
      },
    });
    const interrupted = untilSignal();
    const work = async (): Promise<number> => {
      const network = await startNetwork({ settings, data, display, supervisor });
      const isHeld = await runAndReport({
        network,
        display,
        prompts,
        startedAt,
        isJson: values.json,
      });
      if (values.once) return isHeld ? 0 : 1;
      display.line('The network stays up. Ctrl-C stops it; the next start goes on with its data.');
      return await interrupted;
    };
    try {
      const working = work();
      // After an interrupt, what was under way fails on servers that are stopped; that is no news.
      working.catch(() => {});
      return await Promise.race([working, interrupted]);
    } finally {
      await display.step('stop everything', () => supervisor.stop());
    }
  },
};

/** Runs the job on a network and says what it came to.
 * @returns whether it held all it promised. */
async function runAndReport(run: {
  readonly network: Network;
  readonly display: Display;
  readonly prompts: readonly string[];
  /** Unix milliseconds of the command's start. */
  readonly startedAt: number;
  readonly isJson: boolean;
}): Promise<boolean> {
  const { network, display, prompts, startedAt, isJson } = run;
  const readyAt = Date.now();
  const chains = openChains(network.config.layers);
  try {
    const result = await runJob({ network, chains, display, prompts });
    const seconds = {
      setup: (readyAt - startedAt) / 1_000,
      job: (Date.now() - readyAt) / 1_000,
    };
    const summary = await summarise(network, chains, result, seconds);
    if (isJson) process.stdout.write(`${JSON.stringify(summary)}\n`);
    else process.stdout.write(describe(summary, network));
    const missing = shortcomings(summary);
    for (const what of missing) display.line(`✖ ${what}`);
    return missing.length === 0;
  } finally {
    chains.close();
  }
}

/** Resolves with the exit code of a command that a signal ended, 128 and the signal's number. */
function untilSignal(): Promise<number> {
  return new Promise((resolve) => {
    process.once('SIGINT', () => resolve(130));
    process.once('SIGTERM', () => resolve(143));
  });
}
