/**
 * `healthEpoch`: one round of verification. Miners are sampled, asked the same probes, scored from
 * the evidence, and the committee's report goes on chain; who fails is jailed, who recovers is
 * released. Started by a schedule that skips a run while the last one is under way.
 */
import type { MinerStatus } from '../activities/chain.js';
import { ActivityFailure, ApplicationFailure, log } from '@temporalio/workflow';
import { sample } from '../domain/choice.js';
import type { RetryPolicies } from '../domain/config.js';
import { sampleSize, type EpochReport, type NodeHealth } from '../domain/health.js';
import type { Address } from '../domain/ids.js';
import { buildProbes } from '../domain/probes.js';
import { chainActivities, minerActivities, oracleActivities } from './activities.js';

export interface HealthEpochInput {
  readonly model: string;
  /** Milliseconds for all answers. */
  readonly deadlineMs: number;
  /** Questions a miner: comparisons and graded tasks. */
  readonly probes: { readonly poi: number; readonly pouw: number };
  readonly retries: RetryPolicies;
}

/** Status changes that the epoch brought about; a refused one leaves the node as it was. */
export interface HealthEpochResult extends EpochReport {
  readonly jailed: readonly Address[];
  readonly released: readonly Address[];
}

/** Share of probes that a miner must have answered for its answers to convict it. */
const CONVICTION_LIVENESS_BPS = 8_000;

export async function healthEpoch(input: HealthEpochInput): Promise<HealthEpochResult> {
  const { retries, probes } = input;
  const chain = chainActivities(retries);
  const oracles = oracleActivities(retries);

  const epoch = await chain.nextEpoch();
  const seed = `epoch:${epoch}`;
  const nodes = (await chain.listMiners()).filter(
    (node) => node.status === 'Active' || node.status === 'Jailed',
  );
  const sampled = sample(nodes, sampleSize(nodes.length), seed);

  const { evidenceCid } = await minerActivities(retries).runProbes({
    epoch,
    miners: sampled.map((node) => node.address),
    probes: buildProbes({ seed, model: input.model, ...probes }),
    deadlineMs: input.deadlineMs,
  });

  const scores = await oracles.scoreEpoch(evidenceCid);
  const signatures = await oracles.collectAttestations({ kind: 'report-epoch', evidenceCid });
  const { root, reportTx } = await chain.reportEpoch({ epoch, evidenceCid, scores, signatures });

  const convicted = sampled.filter((node) => node.status === 'Active' && isConvicted(node, scores));
  const recovered = sampled.filter((node) => node.status === 'Jailed' && isHealthy(node, scores));
  const jailed = await changeStatus('jail-node', convicted);
  const released = await changeStatus('release-node', recovered);
  return { epoch, evidenceCid, scores, root, reportTx, jailed, released };

  /** One node's refusal must not keep the others from being judged. */
  async function changeStatus(
    kind: 'jail-node' | 'release-node',
    changing: readonly MinerStatus[],
  ): Promise<Address[]> {
    const changed: Address[] = [];
    for (const { address: node } of changing) {
      try {
        const approval = { node, epoch, evidenceCid };
        const approved = await oracles.collectAttestations({ kind, ...approval });
        await chain.changeNodeStatus({ kind, ...approval, signatures: approved });
        changed.push(node);
      } catch (error) {
        if (!(error instanceof ActivityFailure)) throw error;
        const code = error.cause instanceof ApplicationFailure ? error.cause.type : null;
        log.warn('status unchanged', { node, kind, code });
      }
    }
    return changed;
  }
}

/** Jailed is who answers, and wrongly. Who does not answer gets a low score and so no work, but
 * silence may be the network's: "could not reach it" proves nothing. */
function isConvicted(node: MinerStatus, scores: readonly NodeHealth[]): boolean {
  const health = healthOf(node, scores);
  return health !== undefined && !health.isHealthy && health.livenessBps >= CONVICTION_LIVENESS_BPS;
}

function isHealthy(node: MinerStatus, scores: readonly NodeHealth[]): boolean {
  return healthOf(node, scores)?.isHealthy === true;
}

function healthOf(node: MinerStatus, scores: readonly NodeHealth[]): NodeHealth | undefined {
  return scores.find((score) => lowerCase(score.miner) === lowerCase(node.address));
}

function lowerCase(address: Address): string {
  return address.toLowerCase();
}
