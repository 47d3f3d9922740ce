/** The engine's own processes in development: each role as production runs it, each on its own. */
import { setTimeout as delay } from 'node:timers/promises';
import { deadlineIn } from '../../domain/deadline.js';
import type { ProcessSpec } from '../../servers/spec.js';
import { PROJECT_COMMAND } from '../project.js';
import type { MinerParty, Parties, Party } from './parties.js';

/** A role is ready when its port answers, or it cannot be asked and is ready when started. */
const READY_MS = 60_000;
const POLL_MS = 100;

/** The committee: it must answer before the first miner is onboarded.
 * @param ports - one an oracle, in their order. */
export function oracleProcesses(
  parties: Parties,
  config: string,
  ports: readonly number[],
): ProcessSpec[] {
  return parties.oracles.map((oracle, i) =>
    role(oracle.name, ['oracle', ...keysOf(config, oracle), '--port', String(ports[i] ?? 0)], {
      healthUrl: `http://127.0.0.1:${ports[i] ?? 0}/healthz`,
    }),
  );
}

/** Workers and router. */
export function engineProcesses(config: string, routerUrl: string): ProcessSpec[] {
  return [
    role('worker', ['worker', '--config', config]),
    role('router', ['router', '--config', config], { healthUrl: `${routerUrl}/healthz` }),
  ];
}

/** Honest miners run the models; the dishonest one answers everything with the same text or vector. */
export function minerProcesses(
  miners: readonly MinerParty[],
  config: string,
  models: { readonly chat: string; readonly embedding: string | null },
): ProcessSpec[] {
  const { chat, embedding } = models;
  const served = ['--model', chat, ...(embedding === null ? [] : ['--embedding', embedding])];
  return miners.map((miner) => {
    const behaviour = miner.isHonest ? [] : ['--behaviour', 'canned'];
    return role(miner.name, ['miner', ...keysOf(config, miner), ...served, ...behaviour]);
  });
}

function keysOf(config: string, party: Party): string[] {
  return ['--config', config, '--key', party.keyFile, '--identity', party.identityFile];
}

/** One of the engine's own commands as a process to keep running. */
export function role(
  name: string,
  args: readonly string[],
  options: { readonly healthUrl?: string } = {},
): ProcessSpec {
  const { healthUrl } = options;
  return {
    name,
    command: process.execPath,
    args: [PROJECT_COMMAND, ...args],
    ipc: true,
    readyTimeoutMs: READY_MS,
    ...(healthUrl === undefined ? {} : { ready: (signal) => untilHealthy(healthUrl, signal) }),
  };
}

async function untilHealthy(url: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    try {
      const response = await fetch(url, { signal: deadlineIn(2_000) });
      if (response.ok) return;
    } catch {
      // Not listening yet; the signal ends the wait.
    }
    await delay(POLL_MS, undefined, { signal });
  }
}
