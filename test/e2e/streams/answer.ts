/** What every miner of these tests answers. */
import { createHash } from 'node:crypto';

/** Tokens of an answer. */
export const TOKENS = 30;

/** The answer to a prompt: words that nothing but the prompt decides. */
export function answerTo(prompt: string): string {
  const words: string[] = [];
  for (let i = 0; words.length < TOKENS; i++) {
    const digest = createHash('sha256').update(`${i} ${prompt}`).digest('hex');
    words.push(...(digest.match(/.{5}/g) ?? []));
  }
  return words.slice(0, TOKENS).join(' ');
}
