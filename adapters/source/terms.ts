/**
 * Words of a text for keyword search, blinded: a database that keeps them learns which chunks share a
 * word, and not the word.
 */
import { createHmac } from 'node:crypto';

/** Bytes of a blinded term: two words of one source meet by chance once in 2^48 pairs or so. */
const TERM_BYTES = 12;
const MAX_TERMS = 2_000;

/** Words that nearly every text has. */
const STOP_WORDS = new Set(
  (
    'a an and are as at be been but by can did do does for from had has have he her his how i if in into is it ' +
    'its me my no not of on or our she so that the their them then there these they this to was we were what ' +
    'when where which who why will with would you your'
  ).split(' '),
);

/** The words that count, in the order of the text: lower case, without accents, endings cut. */
export function wordsOf(text: string): string[] {
  const plain = text
    .normalize('NFKD')
    .replace(/\p{Mn}/gu, '')
    .toLowerCase();
  const words = plain.match(/[\p{L}\p{N}]+/gu) ?? [];
  return words.filter((word) => !STOP_WORDS.has(word)).map(stem);
}

/** Takes off the commonest English endings; a step of Porter's, no more.
 * @see https://tartarus.org/martin/PorterStemmer/def.txt step 1 */
function stem(word: string): string {
  if (word.length < 4 || /\d/.test(word)) return word;
  const one = word
    .replace(/sses$/, 'ss')
    .replace(/ies$/, 'y')
    .replace(/([^su])s$/, '$1');
  const two = one.replace(/([aeiouy].*)(?:ed|ing)$/, '$1');
  return two === one
    ? one.replace(/e$/, '')
    : two.replace(/([^aeiouylsz])\1$/, '$1').replace(/e$/, '');
}

/** How often each word of a text comes, by its blinded name in hex. */
export function termsOf(text: string, key: Uint8Array): Map<string, number> {
  const counts = new Map<string, number>();
  for (const word of wordsOf(text).slice(0, MAX_TERMS)) {
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return new Map([...counts].map(([word, count]) => [blind(word, key), count]));
}

function blind(word: string, key: Uint8Array): string {
  const mac = createHmac('sha256', key).update(word).digest();
  return mac.subarray(0, TERM_BYTES).toString('hex');
}
