#!/usr/bin/env node
/** The `cortensor` command: finds the subcommand, runs it, turns errors into one line and an exit code. */
import { EngineError, findEngineError } from '../domain/errors.js';
import type { Command } from './command.js';

const COMMANDS: Readonly<Record<string, { summary: string; load: () => Promise<Command> }>> = {
  up: {
    summary: 'start the whole network here and run the main job',
    load: async () => (await import('./commands/up.js')).up,
  },
  worker: {
    summary: 'run Temporal workers for all task queues, or those named',
    load: async () => (await import('./commands/worker.js')).worker,
  },
  router: {
    summary: 'run a router: HTTP front and hub of the miners',
    load: async () => (await import('./commands/router.js')).router,
  },
  miner: {
    summary: 'run a miner that serves a model to a router',
    load: async () => (await import('./commands/miner.js')).miner,
  },
  oracle: {
    summary: 'run an oracle that checks evidence and signs',
    load: async () => (await import('./commands/oracle.js')).oracle,
  },
  doctor: {
    summary: 'say for every server whether it was found, where, and what to do if not',
    load: async () => (await import('./commands/doctor.js')).doctor,
  },
};

/** Exit codes: 0 done · 1 the job or a peer failed · 2 the caller must change something. */
async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === '--help' || name === 'help') {
    process.stdout.write(usage());
    return name === undefined ? 2 : 0;
  }
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  try {
    if (entry === undefined) {
      throw new EngineError('USAGE', { expected: Object.keys(COMMANDS).join(' | '), got: name });
    }
    const command = await entry.load();
    if (rest.includes('--help')) {
      process.stdout.write(command.help);
      return 0;
    }
    return await command.run(rest);
  } catch (error) {
    return report(error, rest.includes('--json'));
  }
}

function report(error: unknown, isJson: boolean): number {
  const known = findEngineError(error);
  if (known !== undefined) {
    const { code, message, details } = known;
    process.stderr.write(`cortensor: ${code}: ${message}\n`);
    if (isJson) process.stdout.write(`${JSON.stringify({ error: { code, message, details } })}\n`);
    return known.fault === 'caller' ? 2 : 1;
  }
  if (isParseArgsError(error)) {
    process.stderr.write(`cortensor: USAGE: ${error.message}\n`);
    return 2;
  }
  process.stderr.write(
    `cortensor: INTERNAL: ${error instanceof Error ? error.stack : 'unknown'}\n`,
  );
  return 1;
}

/** `node:util` parseArgs throws TypeErrors with these codes for options it does not know. */
function isParseArgsError(error: unknown): error is Error {
  return (
    error instanceof TypeError &&
    'code' in error &&
    typeof error.code === 'string' &&
    error.code.startsWith('ERR_PARSE_ARGS')
  );
}

function usage(): string {
  const rows = Object.entries(COMMANDS).map(
    ([name, { summary }]) => `  ${name.padEnd(8)} ${summary}`,
  );
  return `Usage: cortensor <command> [options]\n\n${rows.join('\n')}\n\nEach command has --help.\n`;
}

// A command that was interrupted may have work under way that must not outlive it.
process.exit(await main(process.argv.slice(2)));
