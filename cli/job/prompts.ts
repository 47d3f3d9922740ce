/** The questions of the main job: a text file, one a line. */
import { readFile } from 'node:fs/promises';
import { EngineError } from '../../domain/errors.js';

/** Longest line, in bytes of UTF-8. */
const MAX_PROMPT_BYTES = 8_192;

/** Reads prompts; empty lines do not count.
 * @throws PROMPT_INVALID — no such file, no prompt in it, or not UTF-8.
 * @throws PROMPT_TOO_LARGE — a line is longer than 8 KiB. */
export async function readPrompts(file: string): Promise<string[]> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(await readFile(file));
  } catch (cause) {
    const reason = cause instanceof TypeError ? 'not UTF-8' : 'the file cannot be read';
    throw new EngineError('PROMPT_INVALID', { file, reason }, { cause });
  }
  const prompts = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  if (prompts.length === 0) {
    throw new EngineError('PROMPT_INVALID', { file, expected: 'one prompt a line' });
  }
  const tooLong = prompts.findIndex((prompt) => Buffer.byteLength(prompt) > MAX_PROMPT_BYTES);
  if (tooLong >= 0) {
    throw new EngineError('PROMPT_TOO_LARGE', { file, prompt: tooLong + 1, max: MAX_PROMPT_BYTES });
  }
  return prompts;
}
