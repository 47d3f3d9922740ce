/**
 * What a router depends on, and whether it is there. Every part is asked by itself, at once and with
 * a deadline, so that one which is away is named and keeps nobody waiting; nothing of an error but
 * its code goes out.
 */
import type {
  ChainStatus,
  ComponentStatus,
  QueueStatus,
  RouterStatus,
} from '../../../domain/api.js';
import { deadlineIn } from '../../../domain/deadline.js';
import { EngineError, findEngineError, type ErrorCode } from '../../../domain/errors.js';
import { Cached, within } from './cached.js';

/** How each part is asked; what they throw says that it is away. */
export interface StatusProbes {
  readonly chains: readonly {
    readonly layer: string;
    readonly chainId: number;
    /** Reads the newest block. */
    readBlock(): Promise<{ readonly height: number; readonly timestampMs: number }>;
  }[];
  /** Reads the task queues, this router's own among them. */
  readQueues(): Promise<readonly QueueStatus[]>;
  askIpfs(signal: AbortSignal): Promise<void>;
  askDatabase(): Promise<void>;
}

/** The parts of a status that are not the router itself. */
export type DependencyStatus = Pick<
  RouterStatus,
  'checkedAtMs' | 'chains' | 'temporal' | 'ipfs' | 'database'
>;

/** For one part to answer. */
const PROBE_MS = 2_000;
const FRESH_MS = 1_000;

/** @returns a reader that never fails; who asks within a second gets one answer. */
export function openStatusReader(
  probes: StatusProbes,
  probeMs: number = PROBE_MS,
): () => Promise<DependencyStatus> {
  const cached = new Cached(() => readDependencies(probes, probeMs), FRESH_MS);
  return () => cached.get();
}

async function readDependencies(probes: StatusProbes, ms: number): Promise<DependencyStatus> {
  const checkedAtMs = Date.now();
  const [chains, temporal, ipfs, database] = await Promise.all([
    Promise.all(probes.chains.map((chain) => readChain(chain, ms))),
    measure('TEMPORAL_UNREACHABLE', ms, () => probes.readQueues()),
    measure('IPFS_UNREACHABLE', ms, () => probes.askIpfs(deadlineIn(ms))),
    measure('DATABASE_UNREACHABLE', ms, () => probes.askDatabase()),
  ]);
  return {
    checkedAtMs,
    chains,
    temporal: { ...temporal.status, queues: temporal.value ?? [] },
    ipfs: ipfs.status,
    database: database.status,
  };
}

async function readChain(chain: StatusProbes['chains'][number], ms: number): Promise<ChainStatus> {
  const { layer, chainId } = chain;
  const { status, value } = await measure('CHAIN_UNREACHABLE', ms, () => chain.readBlock());
  const height = value?.height ?? null;
  const lagMs = value === undefined ? null : Math.max(0, Date.now() - value.timestampMs);
  return { layer, chainId, ...status, height, lagMs };
}

/** @param away - code of what is not there in time, or failed in a way that has no code. */
async function measure<T>(
  away: ErrorCode,
  ms: number,
  ask: () => Promise<T>,
): Promise<{ readonly status: ComponentStatus; readonly value?: T }> {
  const startedAt = performance.now();
  const elapsed = () => Math.round(performance.now() - startedAt);
  try {
    const value = await within(ms, ask(), () => new EngineError(away));
    return { status: { isUp: true, error: null, latencyMs: elapsed() }, value };
  } catch (error) {
    const code = findEngineError(error)?.code ?? away;
    return { status: { isUp: false, error: code, latencyMs: elapsed() } };
  }
}

/** Puts a router's own part and the others together. */
export function statusOf(
  version: string,
  router: RouterStatus['router'],
  isDraining: boolean,
  dependencies: DependencyStatus,
): RouterStatus {
  const { checkedAtMs, chains, temporal, ipfs, database } = dependencies;
  const isWhole = [...chains, temporal, ipfs, database].every(({ isUp }) => isUp);
  const state = isDraining ? 'draining' : isWhole ? 'ok' : 'degraded';
  return { version, checkedAtMs, state, router, chains, temporal, ipfs, database };
}
