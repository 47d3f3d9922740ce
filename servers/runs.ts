/**
 * What runs, on disk: one file a process in `<data>/run`. It outlives a supervisor that was killed, so
 * that the next one can end what was left behind, and nothing else.
 */
import { mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { replaceFile } from './files.js';
import {
  identify,
  isRunning,
  parseIdentity,
  signalGroup,
  type ProcessIdentity,
} from './identity.js';
import type { ProcessSpec } from './spec.js';

const POLL_MS = 20;
const GRACE_MS = 10_000;

interface RunRecord {
  readonly identity: ProcessIdentity;
  readonly stopSignal: NodeJS.Signals;
}

/** Notes a process that was just started. A process that has ended already is not noted. */
export function recordRun(data: string, spec: ProcessSpec, pid: number): void {
  const identity = identify(pid);
  if (identity === undefined) return;
  const record = { ...identity, name: spec.name, stopSignal: spec.stopSignal ?? 'SIGTERM' };
  mkdirSync(join(data, 'run'), { recursive: true, mode: 0o700 });
  replaceFile(runPath(data, spec.name), JSON.stringify(record));
}

/** Removes the note of a process that has ended. */
export function forgetRun(data: string, name: string): void {
  rmSync(runPath(data, name), { force: true });
}

/**
 * Ends every process that an earlier supervisor of this data folder left behind. A recorded process id
 * that belongs to another run by now is left alone. Called by `Supervisor.open`, under its lock.
 * @returns the names of the processes that were ended.
 */
export async function reapStale(data: string): Promise<string[]> {
  mkdirSync(join(data, 'run'), { recursive: true, mode: 0o700 });
  const names = readdirSync(join(data, 'run'))
    .filter((file) => file.endsWith('.json') && file !== 'supervisor.json')
    .map((file) => file.slice(0, -'.json'.length));
  const reaped = await Promise.all(
    names.map(async (name) => {
      const record = readRun(data, name);
      const leftOver = record !== undefined && isRunning(record.identity);
      if (leftOver) await endLeftover(record);
      forgetRun(data, name);
      return leftOver ? [name] : [];
    }),
  );
  return reaped.flat();
}

async function endLeftover({ identity, stopSignal }: RunRecord): Promise<void> {
  signalGroup(identity.pid, stopSignal);
  const deadline = Date.now() + GRACE_MS;
  while (isRunning(identity)) {
    if (Date.now() > deadline) signalGroup(identity.pid, 'SIGKILL');
    await delay(POLL_MS);
  }
}

function readRun(data: string, name: string): RunRecord | undefined {
  const record: unknown = JSON.parse(readFileSync(runPath(data, name), 'utf8'));
  const identity = parseIdentity(record);
  if (identity === undefined) return undefined;
  const { stopSignal } = record as { stopSignal?: string };
  const known = stopSignal !== undefined && Object.hasOwn(constants.signals, stopSignal);
  return { identity, stopSignal: known ? (stopSignal as NodeJS.Signals) : 'SIGTERM' };
}

function runPath(data: string, name: string): string {
  return join(data, 'run', `${name}.json`);
}
