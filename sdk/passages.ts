/**
 * What a request may rely on besides its prompt: sources that the router keeps, or passages that the client
 * finds itself. At the sealed levels it can only be the latter: to find anything, the router would have to
 * read the question.
 */
import {
  contextMessage,
  questionOf,
  withinBudget,
  type Citation,
  type ContextAsk,
  type Passage,
} from '../domain/source.js';
import type { ChatRequest } from '../domain/task.js';

/** Sources of the caller, kept by its router. Levels `open` and `link` only. */
export type SourceContext = Pick<ContextAsk, 'sources'> & Partial<ContextAsk>;

/** A passage as a user's own index has it; its number is given when it is asked with. */
export type OwnPassage = Omit<Passage, 'n'>;

/** Passages that the client finds itself, at any level: they are fenced off from instructions here, and
 * sealed with the prompt. */
export interface OwnContext {
  /** Finds the passages that fit a question, best first; what is over 16 KiB of text is left out. A request
   * that is repeated under its key must be given the same ones.
   * @param question - the last message of the user. */
  readonly retrieve: (question: string) => readonly OwnPassage[] | Promise<readonly OwnPassage[]>;
}

/** Finds passages and puts them before a request.
 * @param idempotencyKey - of the request: a repeated one is the same, to its fence. */
export async function withPassages<R extends Pick<ChatRequest, 'messages'>>(
  request: R,
  { retrieve }: OwnContext,
  idempotencyKey: string,
): Promise<{ readonly request: R; readonly citations: readonly Citation[] }> {
  const found = await retrieve(questionOf(request.messages));
  const used = withinBudget(found.map((passage) => ({ ...passage, n: 0 })));
  const message = contextMessage(used, await markOf(idempotencyKey));
  return {
    request: { ...request, messages: [message, ...request.messages] },
    citations: used.map(({ text: _, ...citation }) => citation),
  };
}

async function markOf(idempotencyKey: string): Promise<string> {
  const bytes = new TextEncoder().encode(`passages\n${idempotencyKey}`);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return [...digest.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
