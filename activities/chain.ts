/**
 * What the engine does on chain, one side effect a function. Writes go through the outbox under a
 * key that names the business, not the attempt: run twice, or cut anywhere, they are one
 * transaction.
 */
import { Context } from '@temporalio/activity';
import type { HealthChain } from '../adapters/chain/health.js';
import type { Intent, Outbox, ReceiptSummary } from '../adapters/chain/outbox.js';
import type { OnboardingChain } from '../adapters/chain/registry.js';
import type { ServiceChain } from '../adapters/chain/service.js';
import type { LayerName } from '../domain/config.js';
import { EngineError } from '../domain/errors.js';
import type { NodeHealth } from '../domain/health.js';
import type { Address, Cid, Hex, TaskId } from '../domain/ids.js';
import type { Candidate, NodeStatus, RegisteredNode } from '../domain/node.js';
import type { NodeApplication, UserApplication } from '../domain/onboarding.js';
import type { BatchReceipt, SettlementBatch } from '../domain/settlement.js';
import type { SettledTask } from '../domain/task.js';
import { createCandidateReader } from './candidates.js';
import { translated } from './failure.js';
import { createSessionActivities, type SessionActivities } from './sessions.js';

interface Approved {
  readonly evidenceCid: Cid;
  /** Of the committee, over the matching message, in order of their signers. */
  readonly signatures: readonly Hex[];
}

/** A registered miner, as far as an epoch cares. */
export type MinerStatus = Pick<RegisteredNode, 'address' | 'status'>;

export interface ChainActivities extends SessionActivities {
  /** @returns its transaction; `null` when the node was registered before, by another application. */
  registerNode(application: NodeApplication): Promise<Hex | null>;
  /** @returns its transaction; `null` when the node was active already. */
  admitNode(input: Approved & { readonly node: Address }): Promise<Hex | null>;
  enterPool(input: Approved & { readonly node: Address }): Promise<Hex>;
  changeNodeStatus(
    input: Approved & {
      readonly kind: 'jail-node' | 'release-node';
      readonly node: Address;
      readonly epoch: number;
    },
  ): Promise<Hex | null>;
  /** @returns its transaction; `null` when the user was registered before, by another application. */
  registerUser(application: UserApplication): Promise<Hex | null>;
  listMiners(): Promise<readonly MinerStatus[]>;
  /** Active miners that serve the model, with the score of the last epoch. */
  listCandidates(model: string): Promise<readonly Candidate[]>;
  /** The number after the last reported epoch, from 1. */
  nextEpoch(): Promise<number>;
  reportEpoch(
    input: Approved & { readonly epoch: number; readonly scores: readonly NodeHealth[] },
  ): Promise<{ readonly root: Hex; readonly reportTx: Hex }>;
  settleBatch(input: {
    readonly batchCid: Cid;
    readonly signatures: readonly Hex[];
  }): Promise<BatchReceipt>;
  /** Those of the tasks that are settled on chain, in whatever batch. */
  findSettled(
    tasks: readonly Pick<SettledTask, 'sessionId' | 'taskId' | 'ordinal'>[],
  ): Promise<readonly TaskId[]>;
}

export interface ChainActivityDeps {
  readonly outbox: Pick<Outbox, 'execute' | 'confirm'>;
  readonly onboarding: OnboardingChain;
  readonly health: HealthChain;
  readonly service: ServiceChain;
  /** Reads a JSON document by CID; its bytes are re-hashed, its shape is `parse`'s to check. */
  readonly readJson: <T>(cid: Cid, parse: (value: unknown) => T) => Promise<T>;
}

export function createChainActivities(deps: ChainActivityDeps): ChainActivities {
  const { outbox, onboarding, health, service, readJson } = deps;

  async function execute(
    layer: LayerName,
    key: string,
    write: Pick<Intent, 'to' | 'data'>,
  ): Promise<ReceiptSummary> {
    const context = Context.current();
    return await outbox.execute(
      { ...write, layer, key },
      { signal: context.cancellationSignal, onPoll: () => context.heartbeat() },
    );
  }

  /** Brings a state about, or finds that another transaction has.
   * @returns `null` in the second case. */
  async function ensure(
    layer: LayerName,
    key: string,
    write: Pick<Intent, 'to' | 'data'>,
    isSo: () => Promise<boolean>,
  ): Promise<Hex | null> {
    try {
      return (await execute(layer, key, write)).hash;
    } catch (error) {
      const isRefused = error instanceof EngineError && error.code === 'TRANSACTION_REVERTED';
      if (isRefused && (await isSo())) return null;
      throw error;
    }
  }

  /** What was sent before, perhaps with other signatures of the same committee, is the same business:
   * its transaction is the one to wait for. */
  async function executeSigned(
    key: string,
    write: Pick<Intent, 'to' | 'data'>,
  ): Promise<ReceiptSummary> {
    try {
      return await execute('service', key, write);
    } catch (error) {
      const isSent = error instanceof EngineError && error.code === 'IDEMPOTENCY_CONFLICT';
      if (!isSent) throw error;
      const context = Context.current();
      return await outbox.confirm(key, {
        signal: context.cancellationSignal,
        onPoll: () => context.heartbeat(),
      });
    }
  }

  async function hasStatus(node: Address, ...statuses: readonly NodeStatus[]): Promise<boolean> {
    const known = await onboarding.readNode(node);
    return known !== null && statuses.includes(known.status);
  }

  return translated<ChainActivities>({
    async registerNode(application) {
      const key = `register-node:${application.node}:${application.deadline}`;
      const write = onboarding.encodeRegisterNode(application);
      return await ensure('onboarding', key, write, () =>
        hasStatus(application.node, 'Pending', 'Active', 'Jailed'),
      );
    },

    async admitNode(decision) {
      const key = `admit-node:${decision.node}:${decision.evidenceCid}`;
      return await ensure('onboarding', key, onboarding.encodeAdmitNode(decision), () =>
        hasStatus(decision.node, 'Active'),
      );
    },

    async enterPool(decision) {
      const key = `enter-pool:${decision.node}:${decision.evidenceCid}`;
      const write = health.encodeEnterPool({ ...decision, kind: 'Ephemeral' });
      return (await execute('health', key, write)).hash;
    },

    async changeNodeStatus({ kind, ...decision }) {
      const key = `${kind}:${decision.node}:${decision.epoch}`;
      const write =
        kind === 'jail-node'
          ? onboarding.encodeJailNode(decision)
          : onboarding.encodeReleaseNode(decision);
      return await ensure('onboarding', key, write, () =>
        hasStatus(decision.node, kind === 'jail-node' ? 'Jailed' : 'Active'),
      );
    },

    async registerUser(application) {
      const key = `register-user:${application.user}:${application.deadline}`;
      const write = onboarding.encodeRegisterUser(application);
      const isKnown = async () => (await onboarding.readUser(application.user)) !== null;
      return await ensure('onboarding', key, write, isKnown);
    },

    async listMiners() {
      const miners = await onboarding.listNodes('miner');
      return miners.map(({ address, status }) => ({ address, status }));
    },

    listCandidates: createCandidateReader(deps),

    async nextEpoch() {
      return (await health.readLastEpoch()) + 1;
    },

    async reportEpoch(report) {
      const write = health.encodeReportEpoch(report);
      const { hash } = await execute('health', `report-epoch:${report.evidenceCid}`, write);
      const published = await health.readEpoch(report.epoch);
      if (published === null) throw new EngineError('TRANSACTION_PENDING', { hash });
      return { root: published.root, reportTx: hash };
    },

    async settleBatch({ batchCid, signatures }) {
      // Laid out by `buildBatch`, and named by its CID: nobody else's bytes can be here.
      const batch = await readJson(batchCid, (value) => value as SettlementBatch);
      const write = service.encodeSettle(batch, signatures);
      const { hash } = await executeSigned(`settle:${batch.batchId}`, write);
      return { batchId: batch.batchId, batchCid, root: batch.root, settlementTx: hash };
    },

    async findSettled(tasks) {
      const settled = await Promise.all(
        tasks.map(async ({ sessionId, taskId, ordinal }) =>
          (await service.isTaskSettled(sessionId, ordinal)) ? [taskId] : [],
        ),
      );
      return settled.flat();
    },

    ...createSessionActivities({
      service,
      writer: {
        execute: (key, write) => execute('service', key, write),
        executeSigned,
      },
    }),
  });
}
