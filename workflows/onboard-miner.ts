/**
 * `onboardMiner`: application → stake and registration on chain → first capability assessment →
 * admission by the committee → pool. A miner that fails its assessment stays `Pending`, in no pool,
 * and can take its stake back at once; the workflow says why it failed.
 */
import { ApplicationFailure, sleep } from '@temporalio/workflow';
import type { RetryPolicies } from '../domain/config.js';
import type { Address, Cid, Hex } from '../domain/ids.js';
import type { NodeApplication } from '../domain/onboarding.js';
import { buildProbes } from '../domain/probes.js';
import { chainActivities, minerActivities, oracleActivities } from './activities.js';

export interface OnboardMinerInput {
  readonly application: NodeApplication;
  /** Model that the assessment asks for. */
  readonly model: string;
  /** Milliseconds for all answers of the assessment. */
  readonly deadlineMs: number;
  readonly retries: RetryPolicies;
}

export interface OnboardMinerResult {
  readonly node: Address;
  /** `null`: an earlier attempt had got as far. */
  readonly registrationTx: Hex | null;
  readonly admissionTx: Hex | null;
  readonly poolTx: Hex;
  readonly evidenceCid: Cid;
}

/** A registered miner has this long to connect and answer. */
const CONNECT_TIMEOUT_MS = 120_000;
const CONNECT_INTERVAL = '500ms';

export async function onboardMiner(input: OnboardMinerInput): Promise<OnboardMinerResult> {
  const { application, retries } = input;
  const node = application.node;
  const chain = chainActivities(retries);
  const oracles = oracleActivities(retries);

  const registrationTx = await chain.registerNode(application);

  const evidenceCid = await assess();

  const admission = await oracles.collectAttestations({ kind: 'admit-node', node, evidenceCid });
  const admissionTx = await chain.admitNode({ node, evidenceCid, signatures: admission });
  const entry = await oracles.collectAttestations({ kind: 'enter-pool', node, evidenceCid });
  const poolTx = await chain.enterPool({ node, evidenceCid, signatures: entry });

  return { node, registrationTx, admissionTx, poolTx, evidenceCid };

  /** Puts the first probes, once the miner is there: routers let it in only after its registration. */
  async function assess(): Promise<Cid> {
    const probes = buildProbes({
      seed: `admission:${node.toLowerCase()}`,
      model: input.model,
      poi: 1,
      pouw: 1,
    });
    const { deadlineMs } = input;
    const routers = minerActivities(retries);
    const startedAtMs = Date.now();
    for (;;) {
      const { evidenceCid, answered } = await routers.runProbes({
        epoch: 0,
        miners: [node],
        probes,
        deadlineMs,
      });
      if (answered > 0) return evidenceCid;
      if (Date.now() - startedAtMs > CONNECT_TIMEOUT_MS) {
        throw ApplicationFailure.nonRetryable('the miner answered no probe', 'MINER_FAILED', {
          node,
        });
      }
      await sleep(CONNECT_INTERVAL);
    }
  }
}
