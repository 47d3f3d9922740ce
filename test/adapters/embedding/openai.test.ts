import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { EmbeddingBackend } from '../../../adapters/embedding/backend.js';
import { openOpenAiEmbedding } from '../../../adapters/embedding/openai.js';
import { EngineError, type ErrorCode } from '../../../domain/errors.js';

const input = ['quince', 'medlar'];
const signal = new AbortController().signal;
const usage = { prompt_tokens: 7, total_tokens: 7 };

interface Asked {
  readonly url: string | undefined;
  readonly authorization: string | undefined;
  readonly body: unknown;
}

/** A server that gives one answer to everything. */
async function serve(
  t: TestContext,
  answer: (response: ServerResponse) => void,
  options: { readonly apiKey?: string; readonly answerMs?: number } = {},
): Promise<{ readonly backend: EmbeddingBackend; readonly asked: Asked[] }> {
  const asked: Asked[] = [];
  const hear = async (request: IncomingMessage): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { url, headers } = request;
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString());
    asked.push({ url, authorization: headers.authorization, body });
  };
  const server = createServer((request, response) => {
    void hear(request).then(() => answer(response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  const baseUrl = `http://127.0.0.1:${port}/v1/`;
  return { backend: openOpenAiEmbedding({ baseUrl, model: 'm', ...options }), asked };
}

const json = (value: unknown) => (response: ServerResponse) => {
  response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
};
const status = (code: number) => (response: ServerResponse) => {
  response.writeHead(code).end('{"error":"quince medlar"}');
};
const item = (index: number, embedding: unknown) => ({ object: 'embedding', index, embedding });

function fails(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  return assert.rejects(promise, (error) => {
    assert.ok(error instanceof EngineError, String(error));
    assert.equal(error.code, code);
    assert.doesNotMatch(error.message, /quince|medlar/);
    return true;
  });
}

test('vectors come in the order of their texts and of unit length, with what was read', async (t) => {
  const data = [item(1, [0, 5]), item(0, [3, 4])];
  const { backend, asked } = await serve(t, json({ data, usage }), { apiKey: 'k' });
  const answer = await backend.embed({ input }, { signal });
  assert.deepEqual(answer, {
    vectors: [Float32Array.of(0.6, 0.8), Float32Array.of(0, 1)],
    promptTokens: 7,
  });
  const body = { model: 'm', input, encoding_format: 'float' };
  assert.deepEqual(asked, [{ url: '/v1/embeddings', authorization: 'Bearer k', body }]);
});

test('a server without indices is taken at its order', async (t) => {
  const { backend } = await serve(
    t,
    json({ data: [{ embedding: [1] }, { embedding: [-1] }], usage }),
  );
  const { vectors } = await backend.embed({ input }, { signal });
  assert.deepEqual(vectors, [Float32Array.of(1), Float32Array.of(-1)]);
});

test('a length is passed on, and one that is not kept, or refused, is no answer', async (t) => {
  const data = [item(0, [3, 4]), item(1, [0, 5])];
  const kept = await serve(t, json({ data, usage }));
  await kept.backend.embed({ input, dimensions: 2 }, { signal });
  const body = { model: 'm', input, dimensions: 2, encoding_format: 'float' };
  assert.deepEqual(kept.asked[0]?.body, body);
  await fails(kept.backend.embed({ input, dimensions: 3 }, { signal }), 'BACKEND_FAILED');
  const refused = await serve(t, status(400));
  await fails(refused.backend.embed({ input, dimensions: 3 }, { signal }), 'FEATURE_UNSUPPORTED');
  await fails(refused.backend.embed({ input }, { signal }), 'BACKEND_FAILED');
});

test('whatever is no whole answer is an error, and quotes nothing', async (t) => {
  const [a, b] = [item(0, [1, 0]), item(1, [0, 1])];
  const wrong: readonly [why: string, answer: (response: ServerResponse) => void][] = [
    ['an error', status(500)],
    ['no JSON', (response) => void response.end('quince medlar')],
    ['nothing', json(null)],
    ['one vector less', json({ data: [a], usage })],
    ['one vector more', json({ data: [a, b, item(2, [1, 0])], usage })],
    ['one twice', json({ data: [a, a], usage })],
    ['a place that is none', json({ data: [a, { ...b, index: 'length' }], usage })],
    ['unlike lengths', json({ data: [a, item(1, [1])], usage })],
    ['no numbers', json({ data: [a, item(1, 'AACAPw==')], usage })],
    ['no direction', json({ data: [a, item(1, [0, 0])], usage })],
    ['nothing in a place', json({ data: [a, null], usage })],
    ['no usage', json({ data: [a, b] })],
    ['a connection that breaks off', (response) => void response.destroy()],
  ];
  let answer = status(500);
  const { backend } = await serve(t, (response) => answer(response));
  for (const [why, next] of wrong) {
    answer = next;
    await fails(backend.embed({ input }, { signal }), 'BACKEND_FAILED').catch((error: unknown) => {
      throw new Error(why, { cause: error });
    });
  }
});

test('a server that says nothing is given up, and so is one that nobody waits for', async (t) => {
  const { backend } = await serve(t, () => undefined, { answerMs: 50 });
  await fails(backend.embed({ input }, { signal }), 'BACKEND_FAILED');
  const stop = new AbortController();
  const patient = await serve(t, () => stop.abort(new EngineError('MINER_TIMEOUT')));
  await fails(patient.backend.embed({ input }, { signal: stop.signal }), 'MINER_TIMEOUT');
  const closing = await serve(t, () => void closing.backend.close());
  await fails(closing.backend.embed({ input }, { signal }), 'BACKEND_FAILED');
});
