/** What a router believes of a miner's message: nothing that this parser has not checked. */
import { z } from 'zod';
import { EngineError } from '../../domain/errors.js';
import { MODEL_FEATURES } from '../../domain/features.js';
import type { Address, Hex } from '../../domain/ids.js';
import type { MinerMessage } from '../../domain/wire.js';

const hex = (bytes: number) =>
  z.custom<Hex>((v) => typeof v === 'string' && v.length === 2 + bytes * 2 && HEX.test(v));
const HEX = /^0x[0-9a-fA-F]+$/;
const address = z.custom<Address>((v) => typeof v === 'string' && /^0x[0-9a-fA-F]{40}$/.test(v));
const base64 = z.string().regex(/^[A-Za-z0-9+/]*={0,2}$/);
const tokens = z.number().int().min(0).max(1_000_000);
const sessionId = z.string().regex(/^\d{1,19}$/);

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
  resultCid: z.string().min(1).max(128),
  usage: z.object({ promptTokens: tokens, completionTokens: tokens }),
  salt: hex(32),
  signature: hex(65),
});
const frame = z.object({
  seq: z.number().int().min(0).max(1_000_000),
  isLast: z.boolean(),
  data: base64,
});

/** Those that this router does not know are of no use to it, and no fault. */
const features = z
  .array(z.string().max(64))
  .max(64)
  .transform((names) => MODEL_FEATURES.filter((feature) => names.includes(feature)));

const schema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('hello'),
    address,
    models: z.array(z.string().min(1).max(200)).min(1).max(64),
    features: z.record(z.string().max(200), features).optional(),
    capacity: z.number().int().min(1).max(10_000),
  }),
  z.object({ type: z.literal('proof'), signature: hex(65) }),
  z.object({ type: z.literal('heartbeat'), load: z.number().int().min(0).max(1_000_000) }),
  z.object({ type: z.literal('ack'), taskId: hex(32) }),
  z.object({ type: z.literal('frame'), taskId: hex(32), frame }),
  z.object({ type: z.literal('precommit'), taskId: hex(32), precommitment }),
  z.object({ type: z.literal('commit'), taskId: hex(32), commitment, result: base64 }),
  z.object({ type: z.literal('fail'), taskId: hex(32), code: z.string().max(64) }),
]);

/** Messages that belong to one task. */
export type TaskMessage = Extract<MinerMessage, { readonly taskId: Hex }>;

/** Reads one text message of a miner.
 * @throws MINER_PROTOCOL — not JSON, or not a message of domain/wire.ts. */
export function parseMinerMessage(text: string): MinerMessage {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new EngineError('MINER_PROTOCOL', { expected: 'JSON' }, { cause });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const field = parsed.error.issues[0]?.path.join('.') ?? '';
    throw new EngineError('MINER_PROTOCOL', { expected: 'a message of the miner protocol', field });
  }
  return parsed.data;
}
