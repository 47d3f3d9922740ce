/** Plain results and stream events, as they come out of a miner's blocks and frames. */
import { z } from 'zod';
import { EngineError } from '../../domain/errors.js';
import type { ChatResult, StreamEvent } from '../../domain/task.js';

const usage = z.object({
  promptTokens: z.number().int().min(0),
  completionTokens: z.number().int().min(0),
});
const finishReason = z.enum(['stop', 'length']);
const resultSchema = z.object({ model: z.string(), text: z.string(), finishReason, usage });
const eventSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('delta'), text: z.string() }),
  z.object({ type: z.literal('end'), finishReason, usage }),
]);

/** Reads a result block in plain form; `null` when it is none. */
export function parseChatResult(bytes: Uint8Array): ChatResult | null {
  return resultSchema.safeParse(parseJson(bytes)).data ?? null;
}

/** Reads the plain bytes of one frame.
 * @throws MINER_PROTOCOL — not a stream event. */
export function parseStreamEvent(bytes: Uint8Array): StreamEvent {
  const parsed = eventSchema.safeParse(parseJson(bytes));
  if (!parsed.success) throw new EngineError('MINER_PROTOCOL', { expected: 'a stream event' });
  return parsed.data;
}

/** `undefined`, which no schema accepts, where the bytes are not JSON. */
function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
