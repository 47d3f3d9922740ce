import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  maxPromptTokensOf,
  maxTokensOf,
  parseChatResult,
  parseInferenceRequest,
} from '../../domain/chat.js';
import {
  EMBEDDING_LIMITS,
  fitsBlock,
  fitsRequest,
  SAME_VECTOR_DISTANCE,
  textOfVectors,
  unitVector,
  vectorsDistance,
  vectorsOf,
  vectorToBase64,
} from '../../domain/embedding.js';
import { EngineError } from '../../domain/errors.js';
import type { EmbeddingRequest } from '../../domain/task.js';
import { judgeEmbeddings } from '../../domain/verdict.js';

const finishReason = 'embedding' as const;
const REQUEST: EmbeddingRequest = { kind: 'embedding', model: 'm', input: ['one', 'two'] };

/** Unit vectors of one length, some of them near each other. */
const lists = fc.integer({ min: 1, max: 24 }).chain((length) =>
  fc.array(
    fc
      .array(fc.float({ noNaN: true, noDefaultInfinity: true, min: -100, max: 100 }), {
        minLength: length,
        maxLength: length,
      })
      .map(unitVector)
      .filter((vector) => vector !== null),
    { minLength: 1, maxLength: 6 },
  ),
);

describe('vectors as text', () => {
  test('are read as they were written, bit by bit', () => {
    fc.assert(
      fc.property(lists, (vectors) => {
        assert.deepEqual(vectorsOf({ text: textOfVectors(vectors), finishReason }), vectors);
      }),
    );
  });

  test('have each number in four bytes, the lowest first', () => {
    // IEEE 754: 0.6 is 0x3f19999a, -0.8 is 0xbf4ccccd.
    const bytes = Buffer.from(vectorToBase64(Float32Array.of(0.6, -0.8)), 'base64');
    assert.equal(bytes.toString('hex'), '9a99193fcdcc4cbf');
  });

  test('are none where anything is not as it must be', () => {
    const of = (text: string) => vectorsOf({ text, finishReason });
    const write = (...numbers: number[]) => vectorToBase64(Float32Array.from(numbers));
    const unit = write(0.6, 0.8);
    assert.notEqual(of(JSON.stringify([unit])), null);
    const wrong: readonly [why: string, list: unknown][] = [
      ['no list', { 0: unit }],
      ['an empty list', []],
      ['numbers', [[0.6, 0.8]]],
      ['no base64', ['ä!']],
      ['bytes that are no whole numbers', [unit.slice(0, 8)]],
      ['no number', ['']],
      ['unlike lengths', [unit, write(1)]],
      ['a number that is none', [write(Number.NaN, 1)]],
      ['an infinite number', [write(Number.POSITIVE_INFINITY, 0)]],
      ['nowhere to point', [write(0, 0)]],
      ['a length of two', [write(1.2, 1.6)]],
      ['too many', Array<string>(EMBEDDING_LIMITS.inputs + 1).fill(unit)],
    ];
    for (const [why, list] of wrong) assert.equal(of(JSON.stringify(list)), null, why);
    for (const text of ['', '[', 'null', `["${unit}"`]) assert.equal(of(text), null, text);
    assert.equal(vectorsOf({ text: JSON.stringify([unit]), finishReason: 'stop' }), null);
  });

  test('fit into a block of IPFS, or are none', () => {
    const { numbers, dimensions, inputs } = EMBEDDING_LIMITS;
    assert.equal(fitsBlock(inputs, 384), true);
    assert.equal(fitsBlock(1, dimensions + 1), false);
    assert.equal(fitsBlock(Math.floor(numbers / dimensions) + 1, dimensions), false);
    // Base64 of all numbers, with quotes and commas, and room for what seals it.
    const most = Math.ceil((numbers * 4) / 3) * 4 + inputs * 7;
    assert.ok(most < 1024 * 1024 - 16 * 1024, `${most}`);
  });

  test('are checked wherever a result is read', () => {
    const result = {
      model: 'm',
      text: '[]',
      finishReason,
      usage: { promptTokens: 1, completionTokens: 0 },
    };
    assert.throws(() => parseChatResult(result), { code: 'REQUEST_INVALID' });
    const text = textOfVectors([Float32Array.of(1)]);
    assert.deepEqual(parseChatResult({ ...result, text }), { ...result, text });
  });
});

test('a vector is scaled to unit length, unless it points nowhere', () => {
  assert.deepEqual(unitVector([3, 4]), Float32Array.of(0.6, 0.8));
  for (const none of [[], [0, 0], [Number.NaN], [Number.POSITIVE_INFINITY, 1], [1e200, 1e200]]) {
    assert.equal(unitVector(none), null, String(none));
  }
});

describe('a request for vectors', () => {
  test('is read as it was written, and reserves for each byte of its texts', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.string({ unit: 'grapheme', minLength: 1 }).filter((s) => s.trim() !== ''),
          {
            minLength: 1,
            maxLength: 8,
          },
        ),
        fc.option(fc.integer({ min: 1, max: EMBEDDING_LIMITS.dimensions }), { nil: undefined }),
        (input, dimensions) => {
          const request = {
            ...REQUEST,
            input,
            ...(dimensions === undefined ? {} : { dimensions }),
          };
          assert.deepEqual(parseInferenceRequest(JSON.parse(JSON.stringify(request))), request);
          assert.ok(maxPromptTokensOf(request) >= Buffer.byteLength(input.join('')));
          assert.equal(maxTokensOf(request), 0);
        },
      ),
    );
  });

  test('is refused by what is wrong with it', () => {
    const { inputs, inputBytes, dimensions } = EMBEDDING_LIMITS;
    const wrong: readonly [change: object, field: string][] = [
      [{ kind: 'image' }, 'kind'],
      [{ model: '' }, 'model'],
      [{ input: 'one' }, 'input'],
      [{ input: [] }, 'input'],
      [{ input: [1, 2] }, 'input'],
      [{ input: ['one', ' \n'] }, 'input'],
      [{ input: ['\udc00'] }, 'input'],
      [{ input: ['ä'.repeat(inputBytes / 2 + 1)] }, 'input'],
      [{ input: Array<string>(inputs + 1).fill('a') }, 'input'],
      [{ dimensions: 0 }, 'dimensions'],
      [{ dimensions: 1.5 }, 'dimensions'],
      [{ dimensions: dimensions + 1 }, 'dimensions'],
    ];
    for (const [change, field] of wrong) {
      assert.throws(
        () => parseInferenceRequest({ ...REQUEST, ...change }),
        (error) =>
          error instanceof EngineError &&
          error.code === 'PROMPT_INVALID' &&
          error.details['field'] === field,
        JSON.stringify(change).slice(0, 60),
      );
    }
  });
});

test('an answer fits its request by kind, number and length', () => {
  const answer = (...lengths: readonly number[]) => ({
    finishReason,
    text: textOfVectors(lengths.map((length) => Float32Array.from({ length }, (_, i) => +!i))),
  });
  assert.equal(fitsRequest(answer(4, 4), REQUEST), true);
  assert.equal(fitsRequest(answer(4), REQUEST), false);
  assert.equal(fitsRequest(answer(4, 4, 4), REQUEST), false);
  assert.equal(fitsRequest(answer(4, 4), { ...REQUEST, dimensions: 4 }), true);
  assert.equal(fitsRequest(answer(8, 8), { ...REQUEST, dimensions: 4 }), false);
  assert.equal(fitsRequest({ text: 'words', finishReason: 'stop' }, REQUEST), false);
  const messages = [{ role: 'user', content: 'hi' }] as const;
  const chat = { model: 'm', messages, maxTokens: 9, temperature: 0, topP: 1 };
  assert.equal(fitsRequest({ text: 'words', finishReason: 'stop' }, chat), true);
  assert.equal(fitsRequest(answer(4, 4), chat), false);
});

describe('the distance of vectors', () => {
  test('is none to themselves, and the same from either side', () => {
    fc.assert(
      fc.property(lists, lists, (a, b) => {
        assert.ok(vectorsDistance(a, a) <= 1e-12);
        assert.equal(vectorsDistance(a, b), vectorsDistance(b, a));
      }),
    );
  });

  test('is the most where two are further apart than honest miners are, else that of the worst', () => {
    const turned = (distance: number) => {
      const angle = Math.acos(1 - distance);
      return Float32Array.of(Math.cos(angle), Math.sin(angle));
    };
    const same = Float32Array.of(1, 0);
    const near = turned(SAME_VECTOR_DISTANCE * 0.9);
    const far = turned(SAME_VECTOR_DISTANCE * 1.1);
    assert.ok(
      Math.abs(vectorsDistance([same, same], [same, near]) - SAME_VECTOR_DISTANCE * 0.9) < 1e-6,
    );
    assert.equal(vectorsDistance([same, same], [same, far]), 2);
    assert.equal(vectorsDistance([same], [same, same]), 2);
    assert.equal(vectorsDistance([same], [Float32Array.of(1)]), 2);
    assert.equal(vectorsDistance([same], null), 2);
    assert.equal(vectorsDistance(null, null), 2);
  });

  test('parts those who give vectors from those who give words, however near the words are', () => {
    const embedding = Float32Array.of(1, 0);
    const vectors = [Float32Array.of(0.6, 0.8)];
    const verdict = judgeEmbeddings(
      [
        { miner: '0x01', embedding, vectors },
        { miner: '0x02', embedding },
        { miner: '0x03', embedding, vectors },
      ],
      3,
    );
    assert.deepEqual(
      verdict.scores.map(({ isAgreed }) => isAgreed),
      [true, false, true],
    );
  });
});
