import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { after } from 'node:test';
import { openOpenAiBackend } from '../../../adapters/model/openai.js';
import { EngineError } from '../../../domain/errors.js';
import { ask, collect } from './fixtures/collect.js';

const servers: Server[] = [];
after(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

/** A server that answers as it is told; the wire is the port here, so it is a real HTTP server. */
async function serve(
  answer: (
    response: ServerResponse,
    body: Record<string, unknown>,
    request: IncomingMessage,
  ) => void,
): Promise<string> {
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>;
      answer(response, body, request);
    });
  });
  servers.push(server.listen(0, '127.0.0.1'));
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
}

const event = (value: unknown): string =>
  `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`;
const delta = (content: string): unknown => ({
  choices: [{ delta: { content }, finish_reason: null }],
});
const finish = (finish_reason: string): unknown => ({ choices: [{ delta: {}, finish_reason }] });
const usage = { choices: [], usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 } };
const whole = [delta('Pa'), delta('ris 🎉'), finish('stop'), usage, '[DONE]'].map(event).join('');

const open = (baseUrl: string, silenceMs = 30_000): ReturnType<typeof openOpenAiBackend> =>
  openOpenAiBackend({ baseUrl, model: 'remote', apiKey: 'sk-secret', silenceMs });

test('an answer is streamed as the server streams it, with its usage', async () => {
  let sent: Record<string, unknown> = {};
  let authorization: string | undefined;
  const baseUrl = await serve((response, body, request) => {
    sent = body;
    authorization = request.headers.authorization;
    assert.equal(request.url, '/v1/chat/completions');
    response.end(whole);
  });
  const answer = await collect(open(baseUrl), ask('capital?', { temperature: 0.5 }), { seed: 77 });
  assert.deepEqual(answer, {
    deltas: ['Pa', 'ris 🎉'],
    text: 'Paris 🎉',
    finishReason: 'stop',
    usage: { promptTokens: 9, completionTokens: 2 },
  });
  assert.equal(authorization, 'Bearer sk-secret');
  assert.deepEqual(sent, {
    model: 'remote',
    messages: [{ role: 'user', content: 'capital?' }],
    max_tokens: 24,
    temperature: 0.5,
    top_p: 1,
    seed: 77,
    stream: true,
    stream_options: { include_usage: true },
  });
});

test('an answer is whole however the network cuts its bytes', async () => {
  const bytes = Buffer.from(whole);
  const baseUrl = await serve((response) => {
    for (const byte of bytes) response.write(Buffer.from([byte]));
    response.end();
  });
  assert.equal((await collect(open(baseUrl), ask('capital?'))).text, 'Paris 🎉');
});

test('a server that fails, lies or breaks off is a failed backend, and its words are not repeated', async () => {
  const quote = 'the prompt was: capital?';
  const failures: Record<string, (response: ServerResponse) => void> = {
    refused: (r) => r.writeHead(401).end(quote),
    overloaded: (r) => r.writeHead(503).end(quote),
    'error in the stream': (r) => r.end(event({ error: { message: quote } })),
    'no JSON': (r) => r.end(event(quote)),
    'no usage': (r) => r.end([delta('x'), finish('stop'), '[DONE]'].map(event).join('')),
    'broken off': (r) => r.end(event(delta('x'))),
    cut: (r) => {
      r.write(event(delta('x')));
      setImmediate(() => r.destroy());
    },
    filtered: (r) => r.end([finish('content_filter'), usage, '[DONE]'].map(event).join('')),
    'negative usage': (r) =>
      r.end(
        [finish('stop'), { usage: { prompt_tokens: -1, completion_tokens: 1 } }]
          .map(event)
          .join(''),
      ),
    endless: (r) => r.end(`data: ${'x'.repeat(2 * 1024 * 1024)}`),
    silent: (r) => r.write(event(delta('x'))),
    'without headers': () => {},
  };
  for (const [how, answer] of Object.entries(failures)) {
    const backend = open(await serve(answer), 300);
    await assert.rejects(
      collect(backend, ask('capital?')),
      (error: unknown) => {
        assert.ok(error instanceof EngineError && error.code === 'BACKEND_FAILED', how);
        return !/capital|sk-secret/.test(`${error.stack} ${JSON.stringify(error.details)}`);
      },
      how,
    );
  }
});

test('a server that is not there is a failed backend', async () => {
  await assert.rejects(collect(open('http://127.0.0.1:1/v1'), ask('hi')), {
    code: 'BACKEND_FAILED',
  });
});

test('an abort and a close end a request, and the server sees it', async () => {
  const reason = new Error('no longer needed');
  for (const how of ['abort', 'close', 'leave'] as const) {
    let wentAway = (): void => {};
    const gone = new Promise<void>((resolve) => (wentAway = resolve));
    const baseUrl = await serve((response) => {
      response.on('close', wentAway);
      response.write(event(delta('x')));
    });
    const backend = openOpenAiBackend({ baseUrl, model: 'remote' });
    const controller = new AbortController();
    const read = async (): Promise<void> => {
      const options = { seed: 1, signal: controller.signal };
      for await (const _ of backend.generate(ask('hi'), options)) {
        if (how === 'leave') return;
        if (how === 'abort') controller.abort(reason);
        else await backend.close();
      }
    };
    if (how === 'leave') await read();
    else await assert.rejects(read(), how === 'abort' ? reason : { code: 'BACKEND_FAILED' });
    await gone;
  }
});
