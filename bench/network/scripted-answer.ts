/** What every honest scripted miner answers. */
import { createHash } from 'node:crypto';

/** The answer to a prompt, a few words that nothing but the prompt decides. */
export function scriptedAnswer(prompt: string): string {
  const digest = createHash('sha256').update(prompt).digest('hex');
  const words = digest.match(/.{4}/g) ?? [];
  return words.slice(0, 6 + (digest.charCodeAt(0) % 10)).join(' ');
}
