/** Plain results and stream events, as they come out of a miner's blocks and frames. */
import * as chat from '../../domain/chat.js';
import { EngineError } from '../../domain/errors.js';
import type { ChatResult, StreamEvent } from '../../domain/task.js';

/** Reads a result block in plain form; `null` when it is none. */
export function parseChatResult(bytes: Uint8Array): ChatResult | null {
  try {
    return chat.parseChatResult(parseJson(bytes));
  } catch {
    // What it was instead is the miner's business: it is not what it committed to.
    return null;
  }
}

/** Reads the plain bytes of one frame.
 * @throws MINER_PROTOCOL — not a stream event. */
export function parseStreamEvent(bytes: Uint8Array): StreamEvent {
  try {
    return chat.parseStreamEvent(parseJson(bytes));
  } catch {
    // No cause: parsers quote what they choke on, and this is plaintext.
    throw new EngineError('MINER_PROTOCOL', { expected: 'a stream event' });
  }
}

function parseJson(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
}
