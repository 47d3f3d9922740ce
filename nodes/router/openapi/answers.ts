/**
 * Every JSON answer of the API, as the document shows it and as tests hold it. They are of version
 * `API_SCHEMA_VERSION`: fields may be added, so clients must let unknown ones be. Each is typed by
 * what the router gives out, so that the two cannot drift apart unseen.
 */
import { z } from 'zod';
import type {
  AccountInfo,
  ChainStatus,
  Delegation,
  EpochInfo,
  EpochSummary,
  MinerInfo,
  NetworkInfo,
  RouterStatus,
  TaskDetail,
  TaskProof,
  Validation,
} from '../../../domain/api.js';
import { MODEL_KINDS } from '../../../domain/config.js';
import { ERASURE_STAGES, type ErasureView } from '../../../domain/erasure.js';
import type { TaskRecord } from '../../../domain/lease.js';
import { NODE_KINDS, NODE_STATUSES } from '../../../domain/node.js';
import { SEALING_LEVELS } from '../../../domain/sealing.js';
import {
  SESSION_MODES,
  SESSION_STATES,
  SETTLEMENT_MODES,
  type SessionView,
} from '../../../domain/session.js';
import { TASK_OUTCOMES, TASK_STATES } from '../../../domain/task.js';
import {
  VALIDATION_REASONS,
  VALIDATION_VERDICTS,
  type ValidationReason,
} from '../../../domain/validation.js';
import type { WalletToken } from '../guard/sign-in.js';
import { address, bytes32, signature } from '../routes/signed.js';

/** Schemas that the document names. */
export const COMPONENTS = z.registry<{ readonly id: string }>();

/** Names a schema in the document. */
export function component<T extends z.ZodType>(id: string, schema: T): T {
  COMPONENTS.add(schema, { id });
  return schema;
}

const wei = z
  .string()
  .regex(/^(0|[1-9]\d{0,38})$/)
  .meta({ description: 'Wei, as a decimal string' });
const unixMs = z.number().meta({ description: 'Unix milliseconds' });
const ms = z.number().int().min(0).meta({ description: 'Milliseconds' });
const count = z.number().int().min(0);
const bps = z.number().int().min(0).max(10_000).meta({ description: 'Hundredths of a percent' });
const sessionId = z.string().regex(/^[1-9]\d{0,18}$/);
const cid = z.string().meta({ description: 'CIDv1 in base32' });

const usage = component('TokenUsage', z.object({ promptTokens: count, completionTokens: count }));
const payment = z.object({ miner: address, amountWei: wei });
const score = z.object({ miner: address, scoreBps: bps, isAgreed: z.boolean() });
const node = z.object({ address, recipient: z.string() });

const policy: z.ZodType<SessionView['policy']> = component(
  'SessionPolicy',
  z.object({
    version: z.literal(1),
    model: z.string(),
    mode: z.enum(SESSION_MODES),
    dedicated: z.array(address),
    minMiners: count,
    maxMiners: count,
    redundancy: count,
    validators: count,
    minNodeLevel: count,
    level: z.enum(SEALING_LEVELS),
    settlement: z.enum(SETTLEMENT_MODES),
    priceCeilingWei: wei,
    maxTasks: count,
    reserveSeconds: count,
    idleSeconds: count,
    lifeSeconds: count,
    taskSeconds: count,
    retentionSeconds: count,
    sinks: z.array(z.string()),
    host: z.string().exactOptional(),
  }),
);

export const sessionView: z.ZodType<SessionView> = component(
  'Session',
  z.object({
    sessionId,
    owner: address,
    state: z.enum(SESSION_STATES),
    policy,
    policyCid: cid.nullable(),
    policyNonce: count,
    expiresAtMs: unixMs,
    pricePerTokenWei: wei,
    miners: z.array(node),
    validators: z.array(node),
    keyring: z.object({ recipient: z.string(), cid }).nullable(),
    budget: z.object({
      depositedWei: wei,
      reservedWei: wei,
      chargedWei: wei,
      refundedWei: wei,
      freeWei: wei,
    }),
    tasks: z.object({ accepted: count, open: count, ended: count, settled: count }),
    manifestCid: cid.nullable(),
    failure: z.string().nullable(),
    host: z
      .object({
        name: z.string(),
        code: z.string().nullable(),
        sinceMs: unixMs.nullable(),
        waiting: count,
        held: count,
        givenUp: count,
      })
      .meta({ description: "The owner's own store, where the policy names one" })
      .exactOptional(),
  }),
);

const taskState = z.enum([...TASK_STATES, 'Settled']);
const outcome = z.enum(TASK_OUTCOMES);
const recordFields = {
  taskId: bytes32,
  ordinal: count,
  state: taskState,
  outcome: outcome.nullable(),
  failure: z
    .string()
    .meta({ description: 'Code of what kept the miners from an answer, where something did' })
    .exactOptional(),
  requestCid: cid,
  evidenceCid: cid.nullable(),
  resultCid: cid.nullable(),
  usage: usage.nullable(),
  chargeWei: wei,
  payments: z.array(payment),
  settlementTx: bytes32.nullable(),
  batchCid: cid.nullable(),
  host: z
    .object({ state: z.enum(['waiting', 'held']), code: z.string().nullable() })
    .meta({ description: "Where its content is, in a session with the owner's own store" })
    .exactOptional(),
};
export const taskRecord: z.ZodType<TaskRecord> = component('TaskRecord', z.object(recordFields));
export const taskRecords = component('TaskRecords', z.array(taskRecord));

const plainOutput = z.union([
  z.object({
    text: z.string(),
    finishReason: z.string(),
    toolCalls: z
      .array(
        z.object({ name: z.string(), arguments: z.string() }).meta({
          description: 'JSON as the model wrote it, which may be none',
        }),
      )
      .exactOptional(),
  }),
  z.object({ error: z.string().meta({ description: 'Code of what kept the router from it' }) }),
]);
const taskDetail: z.ZodType<TaskDetail> = component(
  'TaskDetail',
  z.object({
    ...recordFields,
    primary: address.nullable(),
    verdict: z
      .object({
        status: z.enum(['agreed', 'no-quorum']),
        method: z.enum(['identical', 'embedding', 'none']),
        medoid: address.nullable(),
      })
      .nullable(),
    outputs: z.array(
      z.object({
        miner: address,
        answeredMs: ms.nullable(),
        committedMs: ms.nullable(),
        resultHash: bytes32,
        resultCid: cid,
        usage,
        scoreBps: bps,
        isAgreed: z.boolean(),
        paidWei: wei,
        plain: plainOutput.exactOptional(),
      }),
    ),
  }),
);
/** With `include`, the detail. */
export const task = component('Task', z.union([taskDetail, taskRecord]));

export const taskProof: z.ZodType<TaskProof> = component(
  'TaskProof',
  z.object({
    sessionId,
    taskId: bytes32,
    ordinal: count,
    outcome,
    evidenceDigest: bytes32,
    resultDigest: bytes32,
    chargeWei: wei,
    batchId: bytes32,
    batchCid: cid,
    root: bytes32,
    leaf: bytes32,
    proof: z.array(bytes32),
    settlementTx: bytes32,
  }),
);

export const delegation: z.ZodType<Delegation> = component(
  'Delegation',
  z.object({
    sessionId,
    taskId: bytes32,
    state: taskState,
    outcome: outcome.nullable(),
    maxChargeWei: wei,
    maxSeconds: count,
    links: z.object({
      task: z.string(),
      outputs: z.string(),
      events: z.string(),
      cancel: z.string(),
      proof: z.string(),
    }),
  }),
);

const reasonCodes = Object.keys(VALIDATION_REASONS) as ValidationReason[];
export const validation: z.ZodType<Validation> = component(
  'Validation',
  z.object({
    verdict: z.enum(VALIDATION_VERDICTS),
    reasons: z.array(z.object({ code: z.enum(reasonCodes), text: z.string() })).min(1),
    sessionId,
    taskId: bytes32.nullable(),
    outcome: outcome.nullable(),
    claimHash: bytes32.nullable(),
    scoreBps: bps.nullable(),
    scores: z.array(score),
    requestCid: cid.nullable(),
    evidenceCid: cid.nullable(),
    receiptCid: cid.nullable(),
  }),
);

const miner: z.ZodType<MinerInfo> = component(
  'Miner',
  z.object({
    miner: address,
    isConnected: z.boolean(),
    models: z.array(z.string()),
    capacity: count.nullable(),
    load: count.nullable(),
    sessions: count,
    status: z.enum(NODE_STATUSES).nullable(),
    stakeWei: wei.nullable(),
    kind: z.enum(NODE_KINDS).nullable(),
    scoreBps: bps.nullable(),
    level: count.nullable(),
    tokensPerSecond: z.number().nullable(),
    pricePerTokenWei: wei.nullable(),
  }),
);
export const miners = component('Miners', z.array(miner));

const epochFields = {
  epoch: count,
  root: bytes32,
  reportTx: bytes32,
  evidenceCid: cid,
  miners: count,
};
const epochSummary: z.ZodType<EpochSummary> = component('EpochSummary', z.object(epochFields));
export const epochs = component('Epochs', z.array(epochSummary));
export const epoch: z.ZodType<EpochInfo> = component(
  'Epoch',
  z.object({
    ...epochFields,
    probes: count.nullable(),
    evidenceError: z.string().nullable(),
    scores: z.array(
      z.object({
        miner: address,
        scoreBps: bps,
        level: count,
        answered: count.nullable(),
        tokensPerSecond: z.number().nullable(),
      }),
    ),
  }),
);

const componentFields = { isUp: z.boolean(), error: z.string().nullable(), latencyMs: ms };
const componentStatus = component('ComponentStatus', z.object(componentFields));
const chainStatus: z.ZodType<ChainStatus> = component(
  'ChainStatus',
  z.object({
    ...componentFields,
    layer: z.string(),
    chainId: count,
    height: count.nullable(),
    lagMs: ms.nullable(),
  }),
);
const queue = z.object({ name: z.string(), backlog: count.nullable(), workers: count.nullable() });
export const status: z.ZodType<RouterStatus> = component(
  'Status',
  z.object({
    version: z.string(),
    checkedAtMs: unixMs,
    state: z.enum(['ok', 'degraded', 'draining']),
    router: z.object({
      id: z.string(),
      requests: count,
      miners: count,
      leases: count,
      openTasks: count,
    }),
    chains: z.array(chainStatus),
    temporal: z.object({ ...componentFields, queues: z.array(queue) }),
    ipfs: componentStatus,
    database: componentStatus,
  }),
);

export const account: z.ZodType<AccountInfo> = component(
  'Account',
  z.object({ address, balanceWei: wei, permitNonce: z.string().regex(/^\d+$/) }),
);

export const network: z.ZodType<NetworkInfo> = component(
  'Network',
  z.object({
    version: z.string(),
    chainId: count,
    contracts: z.object({ token: address, sessionManager: address, sessionPayment: address }),
    models: z.array(
      z.object({ name: z.string(), kind: z.enum(MODEL_KINDS), pricePerTokenWei: wei }),
    ),
    feeBps: bps,
    gatewayUrl: z.string(),
  }),
);

export const nonce = component(
  'Nonce',
  z.object({
    nonce: z.string(),
    expiresAtMs: unixMs,
    chainId: count,
    domains: z.array(z.string()),
  }),
);
export const walletToken: z.ZodType<WalletToken> = component(
  'WalletToken',
  z.object({ token: z.string(), address, expiresAtMs: unixMs }),
);

export const health = component(
  'Health',
  z.object({ status: z.enum(['ok', 'draining']), miners: count, sessions: count }),
);
export const openApi = component('OpenApi', z.looseObject({ openapi: z.literal('3.1.0') }));

/** The sixth field of every error answer is what to quote to an operator. */
export const errorAnswer = component(
  'Error',
  z.object({
    error: z.object({
      code: z.string().meta({ description: 'Stable; docs/errors.md lists all of them' }),
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
      requestId: z.string().meta({ description: 'As in the header x-request-id' }),
    }),
  }),
);

const removalReceipt = component(
  'RemovalReceipt',
  z.object({
    sessionId,
    sink: z.string(),
    rows: z.object({ session: count, task: count, task_result: count, payload: count }),
    digest: bytes32,
    removedAt: z.iso.datetime(),
  }),
);

export const erasureView = component(
  'ErasureView',
  z.object({
    sessionId,
    stage: z.enum(ERASURE_STAGES),
    waitingFor: z.string().nullable(),
    signed: z
      .object({
        receipt: z.object({
          version: z.literal(1),
          kind: z.literal('erasure'),
          chainId: count,
          sessionId,
          owner: address,
          level: z.enum(SEALING_LEVELS),
          keyrings: z.array(cid),
          tasks: count,
          manifestCid: cid.nullable(),
          sinks: z.array(removalReceipt),
          host: z.string().exactOptional(),
          erasedAt: z.iso.datetime(),
        }),
        signer: address,
        signature,
        cid,
      })
      .nullable(),
  }) satisfies z.ZodType<ErasureView>,
);
