/** What the tests of the session workflow share: a session's input, its tasks, and a network. */
import { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { TASK_QUEUES, workflowIds, type Address, type TaskId } from '../../domain/ids.js';
import type { SealingLevel } from '../../domain/sealing.js';
import type { SessionInput } from '../../workflows/session.js';
import { RETRIES, type FakeActivities } from '../support/workflows.js';
import {
  parsePolicy,
  type DepositRequest,
  type PolicyChange,
  type SessionPolicy,
  type WithdrawalRequest,
} from '../../domain/session.js';

export const DAY_SECONDS = 86_400;
export const CHAIN = 31_339;
export const OWNER: Address = '0x00000000000000000000000000000000000000aa';
export const MINERS = ['0x01', '0x02', '0x03', '0x04'].map((address) => ({
  address: address as Address,
  recipient: `age1${address}`,
  models: ['m'],
  scoreBps: 9_000,
  level: 9,
  kind: 'Ephemeral' as const,
  tokensPerSecond: null,
  pricePerTokenWei: null,
}));

let sessions = 0;
export function sessionInput(
  level: SealingLevel = 'link',
  idleSeconds = 30 * DAY_SECONDS,
  policy: Partial<SessionPolicy> = {},
): SessionInput {
  const sessionId = String(++sessions);
  return {
    request: {
      sessionId,
      owner: OWNER,
      clientReference: '0x01',
      depositWei: '1000000',
      signature: '0x',
      permit: { owner: OWNER, valueWei: '1000000', deadline: 0, signature: '0x' },
      policy: parsePolicy({
        model: 'm',
        redundancy: 3,
        level,
        priceCeilingWei: '10',
        maxTasks: 100,
        idleSeconds,
        taskSeconds: 60,
        ...policy,
      }),
    },
    chainId: CHAIN,
    pricePerTokenWei: '10',
    feeBps: 500,
    validators: [],
    routerRecipient: 'age1router',
    ownerRecipient: null,
    retries: RETRIES,
  };
}

/** The network as this session sees it: everything works, and calls are counted. */
export function network(
  changes: { chain?: object; oracles?: object; ipfs?: object; routers?: object } = {},
) {
  const calls: string[] = [];
  const closed: { sessionId: string; chargedWei: string }[] = [];
  /** The session's account on chain; a key has one effect. */
  const account = { depositedWei: 1_000_000n, isOpen: true };
  const keys = new Set<string>();
  const once = (key: string, effect: () => void): '0x0b' => {
    if (!keys.has(key)) effect();
    keys.add(key);
    calls.push(key);
    return '0x0b';
  };
  const fakes: FakeActivities = {
    ipfs: {
      pinPolicy: async () => 'policy-cid',
      createKeyring: async () => ({ recipient: 'age1session', cid: 'keyring-cid' }),
      ...changes.ipfs,
    },
    chain: {
      openSession: async () => {
        calls.push('openSession');
        return '0x0a';
      },
      listCandidates: async () => MINERS,
      depositFor: async ({ reference, amountWei }: DepositRequest) =>
        once(`deposit:${reference}`, () => {
          account.depositedWei += BigInt(amountWei);
        }),
      readDeposit: async () => ({
        depositedWei: account.depositedWei.toString(),
        isOpen: account.isOpen,
      }),
      withdrawDeposit: async ({ request }: { request: WithdrawalRequest }) =>
        once(`withdraw:${request.reference}`, () => {
          account.depositedWei -= BigInt(request.amountWei);
        }),
      changePolicy: async ({ change }: { change: PolicyChange }) => {
        calls.push(`policy:${change.nonce}`);
        return '0x0c';
      },
      closeSession: async (input: { sessionId: string; chargedWei: string }) => {
        closed.push(input);
        return { refundedWei: String(account.depositedWei - BigInt(input.chargedWei)) };
      },
      ...changes.chain,
    },
    oracles: { collectAttestations: async () => ['0x01', '0x02'], ...changes.oracles },
    routers: {
      holdLease: async () => {
        throw ApplicationFailure.nonRetryable('no router stays', 'ROUTER_LEASE_LOST');
      },
      ...changes.routers,
    },
  };
  return { fakes, calls, closed, account };
}

/** Starts a session under its own id. */
export async function startSession(env: TestWorkflowEnvironment, input: SessionInput) {
  return await env.client.workflow.start('session', {
    workflowId: workflowIds.session(input.chainId, (input.request ?? input.inference).sessionId),
    taskQueue: TASK_QUEUES.workflows,
    args: [input],
  });
}

export const TASK: TaskId = `0x${'11'.repeat(32)}`;
export const SUBMISSION = {
  taskId: TASK,
  requestCid: 'request-cid',
  model: 'm',
  maxPromptTokens: 50,
  maxTokens: 50,
  seed: 1,
};
export const OTHER = { ...SUBMISSION, taskId: `0x${'22'.repeat(32)}` as TaskId };
export const COMPLETION = {
  taskId: TASK,
  outcome: 'completed' as const,
  evidenceCid: 'evidence-cid',
  paidMiners: MINERS.slice(0, 3).map((miner) => miner.address),
  usage: { promptTokens: 10, completionTokens: 20 },
};

/** Arguments of the update that closes a session. */
export const CLOSE: { args: [{ isCancelled: boolean }] } = { args: [{ isCancelled: false }] };
/** What the settlement workflow says of settled tasks. */
export const SETTLED = { isSettled: true, transaction: '0x0c', batchCid: 'batch-cid' } as const;
