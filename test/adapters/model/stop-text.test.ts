import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { StopText } from '../../../adapters/model/stop-text.js';

/** What comes out of a text that goes in in pieces. */
function run(stops: readonly string[], pieces: readonly string[]): string {
  const text = new StopText(stops);
  return pieces.map((piece) => text.add(piece)).join('') + text.end();
}

test('the text ends before the first stop word, wherever its pieces are cut', () => {
  const unit = fc.constantFrom('a', 'b', '🎉', '\n');
  const words = fc.array(fc.string({ unit, minLength: 1, maxLength: 4 }), { maxLength: 4 });
  const pieces = fc.array(fc.string({ unit, maxLength: 5 }), { maxLength: 20 });
  fc.assert(
    fc.property(words, pieces, (stops, parts) => {
      const whole = parts.join('');
      const ends = stops.map((stop) => whole.indexOf(stop)).filter((at) => at >= 0);
      assert.equal(run(stops, parts), whole.slice(0, Math.min(whole.length, ...ends)));
    }),
    { numRuns: 1_000 },
  );
});

test('a longer stop word that began first wins over one that ended first', () => {
  assert.equal(run(['abc', 'b'], ['ab', 'c']), '');
  assert.equal(run(['abc', 'b'], ['ab', 'd']), 'a');
  assert.equal(run(['abc', 'b'], ['ab']), 'a');
});

test('what cannot become a stop word any more is given out at once', () => {
  const text = new StopText(['END']);
  assert.deepEqual(
    [text.add('one E'), text.add('N'), text.add('Dx'), text.end()],
    ['one ', '', '', ''],
  );
  assert.equal(text.isStopped, true);
});
