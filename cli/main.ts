#!/usr/bin/env node
/** The `cortensor` command: finds the subcommand, runs it, turns errors into one line and an exit code. */
import { findEngineError } from '../domain/errors.js';
import { dispatch } from './command.js';
import { COMMANDS } from './table.js';

/** Exit codes: 0 done · 1 the job or a peer failed · 2 the caller must change something. */
async function main(argv: readonly string[]): Promise<number> {
  try {
    return await dispatch(COMMANDS, [], argv);
  } catch (error) {
    return report(error, argv.includes('--json'));
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

// A command that was interrupted may have work under way that must not outlive it.
process.exit(await main(process.argv.slice(2)));
