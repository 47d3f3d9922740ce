/** Counts tokens as the embedding model does, without loading the model: what chunks are cut by. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { EngineError } from '../../domain/errors.js';

/** Opens the counter of a model's vocabulary.
 * @param folder - holds `tokenizer.json`.
 * @returns a function that counts a text's tokens, the model's own markers aside.
 * @throws SERVER_NOT_FOUND — the file is missing, or is not what its name says. */
export async function openTokenCounter(folder: string): Promise<(text: string) => number> {
  try {
    const vocabulary: unknown = JSON.parse(await readFile(join(folder, 'tokenizer.json'), 'utf8'));
    const tokenizer = new Tokenizer(vocabulary as object, {});
    const markers = tokenizer.encode('').ids.length;
    return (text) => tokenizer.encode(text).ids.length - markers;
  } catch (cause) {
    throw new EngineError('SERVER_NOT_FOUND', { server: 'embedding tokenizer', folder }, { cause });
  }
}
