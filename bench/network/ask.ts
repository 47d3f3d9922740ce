/** Requests as OpenAI clients send them, timed. */
import type { SessionId } from '../../domain/ids.js';
import type { BenchNetwork } from './network.js';

const REQUEST_MS = 60_000;
/** A chunk with text in it, and not the one that only names the role. */
const FIRST_TEXT = /"content":"[^"]/;

export interface Timing {
  /** Milliseconds from the request to the first text. */
  readonly firstMs: number;
  /** Milliseconds from the request to the end of the stream. */
  readonly totalMs: number;
}

/** Asks for a stream and reads it to its end.
 * @param session - `null` asks the miners' backend itself.
 * @throws when the answer is not whole. */
export async function ask(
  network: Pick<BenchNetwork, 'backendUrl' | 'routerUrl' | 'apiKey' | 'model'>,
  session: SessionId | null,
  prompt: string,
): Promise<Timing> {
  const base = session === null ? network.backendUrl : network.routerUrl;
  const startedAt = performance.now();
  const response = await fetch(`${base}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(session === null
        ? {}
        : { authorization: `Bearer ${network.apiKey}`, 'x-cortensor-session': session }),
    },
    body: JSON.stringify({
      model: network.model,
      stream: true,
      max_tokens: 256,
      messages: [{ role: 'user', content: prompt }],
    }),
    signal: AbortSignal.timeout(REQUEST_MS),
  });
  if (!response.ok || response.body === null) {
    throw new Error(`status ${response.status}: ${await response.text()}`);
  }
  let text = '';
  let firstMs = Number.NaN;
  for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (Number.isNaN(firstMs) && FIRST_TEXT.test(text)) firstMs = performance.now() - startedAt;
  }
  if (!text.trimEnd().endsWith('data: [DONE]')) throw new Error(`cut short: ${text.slice(-300)}`);
  return { firstMs, totalMs: performance.now() - startedAt };
}

/** Runs clients side by side, each one request after the other, until they have done their part.
 * @param count - of requests in all. */
export async function runClients(
  clients: number,
  count: number,
  request: (client: number, index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const run = async (client: number): Promise<void> => {
    for (let index = next++; index < count; index = next++) await request(client, index);
  };
  await Promise.all(Array.from({ length: clients }, (_, client) => run(client)));
}

/** @param share - 0.5 for the median. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
