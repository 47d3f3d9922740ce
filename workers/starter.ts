/**
 * Starts workflows with what the deployment's configuration says in their inputs: retries, prices,
 * limits. Starting one that runs, or has run, changes nothing: the id is the business.
 */
import {
  ScheduleNotFoundError,
  WorkflowExecutionAlreadyStartedError,
  type Client,
  type Workflow,
  type WorkflowHandle,
} from '@temporalio/client';
import { firstOfKind, type EngineConfig } from '../domain/config.js';
import { EngineError } from '../domain/errors.js';
import { TASK_QUEUES, workflowIds, type Address, type SessionId } from '../domain/ids.js';
import { parseWei } from '../domain/money.js';
import type { NodeApplication, UserApplication } from '../domain/onboarding.js';
import {
  parsePolicy,
  type OpenSessionRequest,
  type ReservedMiner,
  type SessionPolicy,
} from '../domain/session.js';
import type { dappRequests } from '../workflows/dapp-requests.js';
import type { exportSession } from '../workflows/export-session.js';
import type { healthEpoch } from '../workflows/health-epoch.js';
import type { onboardMiner } from '../workflows/onboard-miner.js';
import type { onboardUser } from '../workflows/onboard-user.js';
import type { repairContent } from '../workflows/repair-content.js';
import type { session } from '../workflows/session.js';
import type { settlement } from '../workflows/settlement.js';
import { WORKFLOWS } from '../workflows/messages.js';

/** Id of the schedule that starts health epochs. */
export const HEALTH_SCHEDULE = 'health';
/** Ids of the repairs that go on for ever, and of one at need. */
const REPAIRS = 'repair:content';
const REPAIR = 'repair:now';
/** Milliseconds that miners have for an epoch's or an assessment's probes. */
const PROBE_DEADLINE_MS = 60_000;
/** Questions a miner and epoch. */
const PROBES = { poi: 2, pouw: 3 } as const;

/** A worker that is killed holds the workflow tasks that it had begun for as long as this, instead of
 * Temporal's ten seconds. A replay of the longest history takes a fraction of it. */
const WORKFLOW_TASK_TIMEOUT = '5s';

export interface Starter {
  /** @throws MODEL_UNKNOWN, POLICY_INVALID, SESSION_UNFUNDED — nothing was started.
   * @param ownerRecipient - the owner's age recipient, where it is registered. */
  startSession(request: OpenSessionRequest, ownerRecipient: string | null): Promise<void>;
  startSettlement(): Promise<void>;
  /** Serves the requests of contracts, from the first that has not ended. */
  startDappRequests(): Promise<void>;
  onboardMiner(application: NodeApplication): Promise<WorkflowHandle<typeof onboardMiner>>;
  onboardUser(application: UserApplication): Promise<WorkflowHandle<typeof onboardUser>>;
  exportSession(sessionId: SessionId, sink: string): Promise<WorkflowHandle<typeof exportSession>>;
  /** Looks for lost and damaged blocks from now on; nothing where there are no replicas. */
  startRepairs(): Promise<void>;
  /** Looks for lost and damaged blocks once; one that is under way is found. */
  repairContent(): Promise<WorkflowHandle<typeof repairContent>>;
  /** Puts health epochs on their schedule; an existing one is brought up to date. */
  scheduleEpochs(): Promise<void>;
}

export function createStarter(deps: {
  readonly config: EngineConfig;
  readonly client: Client;
}): Starter {
  const { config, client } = deps;
  const { retries, settlement: terms } = config;
  const { chainId } = config.layers.service;
  const onboarding = String(config.layers.onboarding.chainId);
  const model = firstOfKind(config.models, 'chat')?.name ?? '';

  /** Starts a workflow once; a second start finds the first. Onboarding that failed may be repeated. */
  async function start<W extends Workflow>(
    type: keyof typeof WORKFLOWS,
    workflowId: string,
    args: Parameters<W>,
    workflowIdReusePolicy: 'REJECT_DUPLICATE' | 'ALLOW_DUPLICATE' | 'ALLOW_DUPLICATE_FAILED_ONLY',
  ): Promise<WorkflowHandle<W>> {
    try {
      return (await client.workflow.start<Workflow>(WORKFLOWS[type], {
        workflowId,
        args,
        taskQueue: TASK_QUEUES.workflows,
        workflowIdConflictPolicy: 'USE_EXISTING',
        workflowIdReusePolicy,
        workflowTaskTimeout: WORKFLOW_TASK_TIMEOUT,
      })) as WorkflowHandle<W>;
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      return client.workflow.getHandle<W>(workflowId);
    }
  }

  /** The first of the committee may read and judge. At a sealed level, a quorum of it must be able to,
   * or no task of the session could ever be settled. */
  function validatorsOf(policy: SessionPolicy): ReservedMiner[] {
    const validators = config.oracles.slice(0, policy.validators);
    if (policy.level !== 'open' && validators.length < config.quorum) {
      throw new EngineError('POLICY_INVALID', {
        field: 'validators',
        expected: `at least the quorum, ${config.quorum}, at level ${policy.level}`,
      });
    }
    return validators.map(({ address, recipient }) => ({ address, recipient }));
  }

  /** A user's store is for sessions of its owners, whoever knows its name. */
  function requireHost(name: string | undefined, owner: Address): void {
    if (name === undefined) return;
    const host = Object.hasOwn(config.hosts, name) ? config.hosts[name] : undefined;
    const isTheirs = host?.owners.includes(`wallet:${owner.toLowerCase()}`) === true;
    if (isTheirs && host.kind !== 'gateway') return;
    throw new EngineError('POLICY_INVALID', {
      field: 'host',
      expected: "a configured host of the owner's that can be written to",
    });
  }

  return {
    async startSession(request, ownerRecipient) {
      const policy = parsePolicy(request.policy);
      const served = config.models.find((m) => m.name === policy.model);
      if (served === undefined) throw new EngineError('MODEL_UNKNOWN', { model: policy.model });
      if (parseWei(request.depositWei) === 0n) throw new EngineError('SESSION_UNFUNDED');
      if (BigInt(served.pricePerTokenWei) > parseWei(policy.priceCeilingWei)) {
        throw new EngineError('POLICY_INVALID', {
          field: 'priceCeilingWei',
          expected: `at least the price, ${served.pricePerTokenWei}`,
        });
      }
      const unknown = policy.sinks.find((sink) => !Object.hasOwn(config.sinks, sink));
      if (unknown !== undefined) {
        throw new EngineError('POLICY_INVALID', { field: 'sinks', expected: 'configured sinks' });
      }
      requireHost(policy.host, request.owner);
      await start<typeof session>(
        'session',
        workflowIds.session(chainId, request.sessionId),
        [
          {
            request: { ...request, policy },
            chainId,
            pricePerTokenWei: served.pricePerTokenWei,
            feeBps: terms.feeBps,
            validators: validatorsOf(policy),
            routerRecipient: config.router.recipient,
            ownerRecipient,
            retries,
          },
        ],
        'REJECT_DUPLICATE',
      );
    },

    async startSettlement() {
      const { maxTasks, maxAmountWei, maxAgeMs } = terms;
      await start<typeof settlement>(
        'settlement',
        workflowIds.settlement(chainId),
        [{ chainId, maxTasks, maxAmountWei, maxAgeMs, retries }],
        'ALLOW_DUPLICATE',
      );
    },

    async startDappRequests() {
      const { everyMs } = config.dapps;
      const { feeBps } = terms;
      const validators = config.oracles.map(({ address, recipient }) => ({ address, recipient }));
      const routerRecipient = config.router.recipient;
      await start<typeof dappRequests>(
        'dappRequests',
        workflowIds.dappRequests(chainId),
        [{ chainId, everyMs, feeBps, validators, routerRecipient, retries }],
        'ALLOW_DUPLICATE',
      );
    },

    async onboardMiner(application) {
      return await start<typeof onboardMiner>(
        'onboardMiner',
        workflowIds.onboardMiner(onboarding, application.node),
        [{ application, model, deadlineMs: PROBE_DEADLINE_MS, retries }],
        'ALLOW_DUPLICATE_FAILED_ONLY',
      );
    },

    async onboardUser(application) {
      return await start<typeof onboardUser>(
        'onboardUser',
        workflowIds.onboardUser(onboarding, application.user),
        [{ application, retries }],
        'ALLOW_DUPLICATE_FAILED_ONLY',
      );
    },

    async exportSession(sessionId, sink) {
      if (!Object.hasOwn(config.sinks, sink)) {
        throw new EngineError('REQUEST_INVALID', { field: 'sink', expected: 'a configured sink' });
      }
      return await start<typeof exportSession>(
        'exportSession',
        workflowIds.exportSession(sessionId, sink),
        [
          {
            sessionId,
            workflowId: workflowIds.session(chainId, sessionId),
            sink,
            mode: 'once',
            retries,
          },
        ],
        'ALLOW_DUPLICATE',
      );
    },

    async startRepairs() {
      const { replicas, repairEveryMs: everyMs } = config.ipfs;
      if (replicas.length === 0) return;
      const input = { everyMs, retries };
      await start<typeof repairContent>('repairContent', REPAIRS, [input], 'ALLOW_DUPLICATE');
    },

    async repairContent() {
      const input = { everyMs: null, retries };
      return await start<typeof repairContent>('repairContent', REPAIR, [input], 'ALLOW_DUPLICATE');
    },

    async scheduleEpochs() {
      const { everyMs, jitterMs } = config.schedules.healthEpoch;
      const description = {
        spec: { intervals: [{ every: everyMs }], jitter: jitterMs },
        // An outage must not be followed by the epochs that it swallowed.
        policies: { overlap: 'SKIP' as const, catchupWindow: 2 * everyMs },
        action: {
          type: 'startWorkflow' as const,
          workflowType: WORKFLOWS.healthEpoch,
          workflowId: 'health',
          taskQueue: TASK_QUEUES.workflows,
          args: [
            { model, deadlineMs: PROBE_DEADLINE_MS, probes: PROBES, retries },
          ] satisfies Parameters<typeof healthEpoch>,
        },
      };
      const handle = client.schedule.getHandle(HEALTH_SCHEDULE);
      try {
        await handle.update((previous) => ({ ...description, state: previous.state }));
      } catch (error) {
        if (!(error instanceof ScheduleNotFoundError)) throw error;
        await client.schedule.create({ scheduleId: HEALTH_SCHEDULE, ...description });
      }
    },
  };
}
