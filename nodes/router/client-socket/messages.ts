/** What a router takes from a client's WebSocket: nothing that these schemas have not checked. Bodies
 * of requests are checked by the routes that they go to. */
import { z } from 'zod';
import type { TaskId } from '../../../domain/ids.js';
import { STREAM_LIMITS, type ClientMessage } from '../../../domain/stream.js';
import type { SealedTaskRequest } from '../../../domain/wire.js';
import { parseJson } from '../body.js';

const ID = new RegExp(`^[\\w.:-]{1,${STREAM_LIMITS.idChars}}$`);

const id = z.string().regex(ID, `1 to ${STREAM_LIMITS.idChars} letters, digits, _ - . :`);
const flow = {
  id,
  session: z.string().regex(/^[1-9]\d{0,18}$/, 'a session id'),
  after: z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  credit: z.int().min(0).max(STREAM_LIMITS.credit).optional(),
};
const taskId = z.custom<TaskId>(
  (value) => typeof value === 'string' && /^0x[0-9a-f]{64}$/.test(value),
  '0x and 64 lower-case hex digits',
);
const sealedBody = z.custom<SealedTaskRequest>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'an object',
);

export const clientMessageSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('auth'),
    token: z.string().regex(/^\S{1,4096}$/, 'an API key or token'),
  }),
  z.discriminatedUnion('kind', [
    z.strictObject({
      type: z.literal('ask'),
      kind: z.literal('chat'),
      ...flow,
      idempotencyKey: z
        .string()
        .regex(/^[\x21-\x7e]{1,256}$/, '1 to 256 visible ASCII characters')
        .optional(),
      body: z.looseObject({}),
    }),
    z.strictObject({
      type: z.literal('ask'),
      kind: z.literal('sealed'),
      ...flow,
      body: sealedBody,
    }),
  ]),
  z.strictObject({
    type: z.literal('resume'),
    kind: z.enum(['chat', 'sealed']),
    ...flow,
    taskId,
  }),
  z.strictObject({ type: z.literal('cancel'), id, keepTask: z.boolean().optional() }),
  z.strictObject({
    type: z.literal('credit'),
    id,
    more: z.int().min(1).max(STREAM_LIMITS.credit),
  }),
  z.strictObject({ type: z.literal('ping') }),
]);

/** Reads a message.
 * @throws REQUEST_INVALID — not JSON, too deep, or not a message of the protocol. */
export function parseClientMessage(text: string): ClientMessage {
  return parseJson<unknown>(text, clientMessageSchema, {}) as ClientMessage;
}

/** What can be told of a message that is not understood: the request that it is about, and whether
 * it was to be its first. */
export function namedIn(text: string): { readonly id: string | null; readonly isFirst: boolean } {
  let value: { readonly id?: unknown; readonly type?: unknown } | null;
  try {
    value = JSON.parse(text) as typeof value;
  } catch {
    return { id: null, isFirst: false };
  }
  const { id: named, type } = value ?? {};
  const isId = typeof named === 'string' && ID.test(named);
  return { id: isId ? named : null, isFirst: type === 'ask' || type === 'resume' };
}
