/** Documents and bodies as an oracle reads them: from anyone, so checked to the last field. */
import { z } from 'zod';
import type { AttestationRequest, JudgeRequest } from '../../domain/api.js';
import { EngineError } from '../../domain/errors.js';
import type { EpochEvidence } from '../../domain/health.js';
import type { Address, Hex } from '../../domain/ids.js';
import type { SettlementBatch } from '../../domain/settlement.js';
import { TASK_OUTCOMES, type TaskEvidence } from '../../domain/task.js';

/** Most answers to one task: the asked miners, and those that took over from lost ones. */
const MAX_ANSWERS = 32;
const MAX_TASKS = 2_000;

const hex = (bytes: number) =>
  z.custom<Hex>((v) => typeof v === 'string' && v.length === 2 + 2 * bytes && HEX.test(v));
const HEX = /^0x[0-9a-fA-F]+$/;
const address = z.custom<Address>((v) => typeof v === 'string' && /^0x[0-9a-fA-F]{40}$/.test(v));
const sessionId = z.string().regex(/^(0|[1-9]\d{0,18})$/);
const wei = z.string().regex(/^(0|[1-9]\d{0,38})$/);
const cid = z.string().min(1).max(128);
const count = z.number().int().min(0).max(0xffff_ffff);
const usage = z.object({ promptTokens: count, completionTokens: count });
const epoch = z.number().int().min(0);

const precommitment = z.object({
  sessionId,
  taskId: hex(32),
  miner: address,
  precommitment: hex(32),
  signature: hex(65),
});
const commitment = z.object({
  sessionId,
  taskId: hex(32),
  miner: address,
  resultHash: hex(32),
  resultDigest: hex(32),
  resultCid: cid,
  usage,
  salt: hex(32),
  signature: hex(65),
});
const payments = z.array(z.object({ miner: address, amountWei: wei })).max(MAX_TASKS * 9);

const taskEvidence = z.object({
  version: z.literal(1),
  sessionId,
  taskId: hex(32),
  model: z.string(),
  seed: count,
  requestCid: cid,
  keyringCid: cid.exactOptional(),
  primary: address,
  precommitments: z.array(precommitment).max(MAX_ANSWERS),
  commitments: z.array(commitment).max(MAX_ANSWERS),
  verdict: z.object({
    status: z.enum(['agreed', 'no-quorum']),
    method: z.enum(['identical', 'embedding', 'none']),
    medoid: address.nullable(),
    scores: z
      .array(z.object({ miner: address, scoreBps: count, isAgreed: z.boolean() }))
      .max(MAX_ANSWERS),
  }),
});

const settlementBatch = z.object({
  version: z.literal(1),
  batchId: hex(32),
  root: hex(32),
  tasks: z
    .array(
      z.object({
        sessionId,
        taskId: hex(32),
        ordinal: z.number().int().min(0).max(100_000),
        outcome: z.enum(TASK_OUTCOMES),
        requestCid: cid,
        evidenceCid: cid.exactOptional(),
        resultCid: cid.exactOptional(),
        chargeWei: wei,
        feeWei: wei,
        payments: payments.max(MAX_ANSWERS),
      }),
    )
    .min(1)
    .max(MAX_TASKS),
  charges: z.array(z.object({ sessionId, word: count, mask: hex(32), amountWei: wei })),
  payments,
  feeWei: wei,
});

const probe = z.object({
  id: hex(32),
  kind: z.enum(['poi', 'pouw']),
  request: z.object({
    model: z.string(),
    messages: z.array(
      z.object({ role: z.enum(['system', 'user', 'assistant']), content: z.string() }),
    ),
    maxTokens: count,
    temperature: z.number(),
    topP: z.number(),
  }),
  seed: count,
  accepted: z.array(z.string()).exactOptional(),
});
const epochEvidence = z.object({
  version: z.literal(1),
  epoch,
  miners: z.array(address).min(1),
  probes: z.array(probe).min(1),
  answers: z.array(
    z.object({
      miner: address,
      probeId: hex(32),
      precommitment,
      commitment,
      text: z.string(),
      finishReason: z.enum(['stop', 'length']),
      elapsedMs: z.number().min(0),
    }),
  ),
});

const attestation = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('settle'), batchCid: cid }),
  z.object({ kind: z.literal('close-session'), sessionId, chargedWei: wei }),
  z.object({
    kind: z.literal('withdraw-deposit'),
    sessionId,
    amountWei: wei,
    reference: hex(32),
    signature: hex(65),
  }),
  z.object({ kind: z.literal('report-epoch'), evidenceCid: cid }),
  z.object({ kind: z.literal('admit-node'), node: address, evidenceCid: cid }),
  z.object({ kind: z.enum(['jail-node', 'release-node']), node: address, epoch, evidenceCid: cid }),
  z.object({ kind: z.enum(['enter-pool', 'leave-pool']), node: address, evidenceCid: cid }),
]);

const judge = z.object({
  sessionId,
  taskId: hex(32),
  asked: z.number().int().min(1).max(MAX_ANSWERS),
  keyringCid: cid.nullable(),
  answers: z.array(z.object({ miner: address, resultCid: cid })).max(MAX_ANSWERS),
});

const parser =
  <T>(what: string, schema: z.ZodType<T>) =>
  (value: unknown): T => {
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const field = parsed.error.issues[0]?.path.join('.') ?? '';
    throw new EngineError('REQUEST_INVALID', { expected: what, field });
  };

/** Each reads a value of unknown origin.
 * @throws REQUEST_INVALID — with the first field that is not as it must be. */
export const parseTaskEvidence = parser<TaskEvidence>('evidence of a task', taskEvidence);
export const parseBatch = parser<SettlementBatch>('a settlement batch', settlementBatch);
export const parseEpochEvidence = parser<EpochEvidence>('evidence of an epoch', epochEvidence);
export const parseAttestation = parser<AttestationRequest>('an attestation request', attestation);
export const parseJudgeRequest = parser<JudgeRequest>('a question to a validator', judge);
export const parseScoreRequest = parser<{ evidenceCid: string }>(
  'a question for scores',
  z.object({ evidenceCid: cid }),
);
