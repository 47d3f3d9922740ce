/** What a miner believes of a router's message: nothing that this parser has not checked. */
import { z } from 'zod';
import { EngineError } from '../../domain/errors.js';
import type { Hex } from '../../domain/ids.js';
import { SEALING_LEVELS } from '../../domain/sealing.js';
import { TASK_OUTCOMES } from '../../domain/task.js';
import type { RouterMessage } from '../../domain/wire.js';

const HEX_32 = /^0x[0-9a-fA-F]{64}$/;
const hash = z.custom<Hex>((v) => typeof v === 'string' && HEX_32.test(v));
const base64 = z.string().regex(/^[A-Za-z0-9+/]*={0,2}$/);
const sessionId = z.string().regex(/^\d{1,19}$/);
const frame = z.object({ seq: z.number().int().min(0), isLast: z.boolean(), data: base64 });

const task = z
  .object({
    sessionId,
    taskId: hash,
    request: frame.nullable(),
    atRest: base64.optional(),
    seed: z.number().int().min(0).max(0xffff_ffff),
    isPrimary: z.boolean(),
    deadlineMs: z.number().int().min(1).max(3_600_000),
  })
  .refine((t) => t.request !== null || t.atRest !== undefined, { path: ['atRest'] })
  .transform(({ atRest, ...rest }) => (atRest === undefined ? rest : { ...rest, atRest }));

const schema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('challenge'),
    router: z.string().min(1).max(256),
    nonce: hash,
    expiresAt: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
  }),
  z.object({ type: z.literal('welcome'), heartbeatMs: z.number().int().min(50).max(60_000) }),
  z.object({ type: z.literal('refused'), code: z.string().max(64) }),
  z.object({
    type: z.literal('session'),
    grant: z.object({ sessionId, level: z.enum(SEALING_LEVELS), keyring: base64.nullable() }),
  }),
  z.object({ type: z.literal('assign'), task }),
  z.object({ type: z.literal('reveal'), taskId: hash }),
  z.object({ type: z.literal('cancel'), taskId: hash }),
  z.object({
    type: z.literal('ended'),
    taskId: hash,
    outcome: z.enum(TASK_OUTCOMES),
    ordinal: z.number().int().min(0).max(1_000_000),
    evidenceCid: z.string().min(1).max(128).nullable(),
  }),
]);

/** Reads one text message of a router.
 * @throws MINER_PROTOCOL — not JSON, or not a message of domain/wire.ts. */
export function parseRouterMessage(text: string): RouterMessage {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text.
    throw new EngineError('MINER_PROTOCOL', { expected: 'JSON' });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const field = parsed.error.issues[0]?.path.join('.') ?? '';
    throw new EngineError('MINER_PROTOCOL', { expected: 'a message of the miner protocol', field });
  }
  return parsed.data;
}
