/**
 * Vectors of an OpenAI-compatible server: llama.cpp's, vLLM, Ollama, TEI, or a hosted one.
 * @see https://platform.openai.com/docs/api-reference/embeddings
 */
import { anyOf } from '../../domain/deadline.js';
import { unitVector } from '../../domain/embedding.js';
import { EngineError } from '../../domain/errors.js';
import type { EmbeddingBackend, EmbeddingTask } from './backend.js';

/** Longest wait for an answer, in milliseconds. */
const ANSWER_MS = 60_000;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** Opens a backend on a server; nothing is sent before the first request. Its vectors are scaled to
 * unit length, which those of most models have.
 * @param options - `baseUrl`: up to and with `/v1`, as OpenAI's own clients take it; `answerMs`:
 *   longest wait for an answer, 60 s where not given. */
export function openOpenAiEmbedding(options: {
  readonly baseUrl: string;
  readonly apiKey?: string;
  readonly model: string;
  readonly answerMs?: number;
}): EmbeddingBackend {
  const { baseUrl, apiKey, model, answerMs = ANSWER_MS } = options;
  const closing = new AbortController();
  const failed = (reason: string, cause?: unknown): EngineError =>
    new EngineError('BACKEND_FAILED', { model, reason }, { cause });

  async function ask({ input, dimensions }: EmbeddingTask, signal: AbortSignal): Promise<unknown> {
    const response = await fetch(`${baseUrl.replace(/\/+$/, '')}/embeddings`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
      },
      body: JSON.stringify({ model, input, dimensions, encoding_format: 'float' }),
      signal,
    });
    if (!response.ok) {
      await response.body?.cancel();
      // The rest of the body is sound: what a server refuses of it is the length.
      if (dimensions !== undefined && (response.status === 400 || response.status === 422)) {
        throw new EngineError('FEATURE_UNSUPPORTED', { field: 'dimensions' });
      }
      // Never the body: it may quote the texts or the key.
      throw failed(`status ${response.status}`);
    }
    return readJson(response);
  }

  async function readJson(response: Response): Promise<unknown> {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) throw failed('the answer is too long');
      chunks.push(chunk);
    }
    try {
      return JSON.parse(Buffer.concat(chunks).toString('utf8'));
    } catch {
      throw failed('not JSON');
    }
  }

  /** Puts the vectors into the order of their texts. */
  function vectorsOf({ data }: Answer, { input, dimensions }: EmbeddingTask): Float32Array[] {
    const vectors: (Float32Array | undefined)[] = input.map(() => undefined);
    const items = Array.isArray(data) ? (data as readonly (Item | null)[]) : [];
    for (const [i, item] of items.entries()) {
      const index = (item?.index ?? i) as number;
      const isNumbers =
        Array.isArray(item?.embedding) && item.embedding.every((n) => typeof n === 'number');
      const vector = isNumbers ? unitVector(item?.embedding as number[]) : null;
      if (!(index in vectors) || vectors[index] !== undefined || vector === null) {
        throw failed('not one vector a text');
      }
      vectors[index] = vector;
    }
    const length = dimensions ?? vectors[0]?.length;
    const whole = vectors.filter((vector) => vector?.length === length);
    if (whole.length !== vectors.length) throw failed('not one vector a text, all of one length');
    return whole as Float32Array[];
  }

  return {
    model,
    features: ['embedding', 'dimensions'],
    async embed(task, { signal }) {
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(failed('no answer in time')), answerMs);
      try {
        const any = anyOf(signal, late.signal, closing.signal);
        const answer = ((await ask(task, any)) ?? {}) as Answer;
        const promptTokens = answer.usage?.prompt_tokens;
        // Billing by a guess would be worse than asking again.
        if (!Number.isSafeInteger(promptTokens)) throw failed('no usage in the answer');
        return { vectors: vectorsOf(answer, task), promptTokens: promptTokens as number };
      } catch (cause) {
        signal.throwIfAborted();
        if (cause instanceof EngineError) throw cause;
        throw failed('connection', cause);
      } finally {
        clearTimeout(timer);
      }
    },
    async close() {
      closing.abort(failed('closed'));
    },
  };
}

/** The parts of an answer that are read; none is taken for granted. */
interface Answer {
  readonly data?: unknown;
  readonly usage?: { readonly prompt_tokens?: unknown } | null;
}

interface Item {
  readonly index?: unknown;
  readonly embedding?: unknown;
}
