/**
 * `healthEpoch`: one round of verification. Miners are sampled, asked the same probes, scored from
 * the evidence, and the committee's report goes on chain; who fails is jailed, who recovers is
 * released. Started by a schedule that skips a run while the last one is under way.
 */
import { ActivityFailure, ApplicationFailure, log } from '@temporalio/workflow';
import { sample } from '../domain/choice.js';
import type { RetryPolicies } from '../domain/config.js';
import { sampleSize, type EpochReport, type NodeHealth } from '../domain/health.js';
import type { Address } from '../domain/ids.js';
import type { NodeStatus, RegisteredNode } from '../domain/node.js';
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

  const unhealthy = sampled.filter((node) => hasChanged(node, scores, 'Active', false));
  const recovered = sampled.filter((node) => hasChanged(node, scores, 'Jailed', true));
  const jailed = await changeStatus('jail-node', unhealthy);
  const released = await changeStatus('release-node', recovered);
  return { epoch, evidenceCid, scores, root, reportTx, jailed, released };

  /** One node's refusal must not keep the others from being judged. */
  async function changeStatus(
    kind: 'jail-node' | 'release-node',
    changing: readonly RegisteredNode[],
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

function hasChanged(
  node: RegisteredNode,
  scores: readonly NodeHealth[],
  from: NodeStatus,
  isHealthy: boolean,
): boolean {
  const health = scores.find((s) => s.miner.toLowerCase() === node.address.toLowerCase());
  return node.status === from && health !== undefined && health.isHealthy === isHealthy;
}
