/** Which requests belong together, where the router may see them. */
import { createHash } from 'node:crypto';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import type { ChatMessage } from '../../domain/task.js';

/** Names a conversation by how it began: all up to the first words of the user, which every later
 * request repeats. */
export function conversationOf(messages: readonly ChatMessage[]): string {
  const first = messages.findIndex(({ role }) => role === 'user');
  const beginning = first < 0 ? messages : messages.slice(0, first + 1);
  return createHash('sha256').update(encodeJson(beginning)).digest('hex');
}
