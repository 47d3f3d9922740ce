/** The embedding model inside the process, behind the miners' port. It is loaded by the first request:
 * a miner that is never asked for vectors has no memory taken by it. */
import { EngineError } from '../../domain/errors.js';
import type { EmbeddingBackend } from './backend.js';
import { openEmbedder, type Embedder } from './embedder.js';

/** Opens the backend; texts are run one after the other.
 * @param options - `folder`: holds `model.onnx` and `tokenizer.json`. */
export function openLocalEmbedding(options: {
  readonly model: string;
  readonly folder: string;
}): EmbeddingBackend {
  const { model, folder } = options;
  let opened: Promise<Embedder> | undefined;
  const open = (): Promise<Embedder> => {
    opened ??= openEmbedder(folder).catch((error: unknown) => {
      // A file that is put in its place is found by the next request.
      opened = undefined;
      throw error;
    });
    return opened;
  };
  return {
    model,
    features: ['embedding'],
    async embed({ input }, { signal }) {
      try {
        const embedder = await open();
        const vectors: Float32Array[] = [];
        let promptTokens = 0;
        for (const text of input) {
          signal.throwIfAborted();
          vectors.push(...(await embedder.embed([text])));
          promptTokens += embedder.tokensOf(text);
        }
        return { vectors, promptTokens };
      } catch (cause) {
        signal.throwIfAborted();
        throw new EngineError('BACKEND_FAILED', { model }, { cause });
      }
    },
    async close() {
      await (await opened?.catch(() => undefined))?.close();
    },
  };
}
