import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { openProvider } from '../../../adapters/chain/provider.js';
import { EngineError } from '../../../domain/errors.js';
import { CHAIN_ID, startTestAnvil, type TestAnvil } from './anvil.js';

let anvil: TestAnvil;
/** A URL that nobody answers, with a key in its path as providers have it. Not port 1, which `fetch` refuses
 * by itself. */
const nobody = 'http://127.0.0.1:2/secret-api-key';
before(async () => {
  anvil = await startTestAnvil();
});
after(async () => {
  await anvil.stop();
});

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Runs a block against an HTTP server that misbehaves as told. */
async function withNode(handler: Handler, run: (url: string) => Promise<void>): Promise<void> {
  const server = createServer(handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await run(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

async function failureOf(rpcUrls: string[], callTimeoutMs = 20_000): Promise<EngineError> {
  const provider = openProvider({ chainId: CHAIN_ID, rpcUrls }, { callTimeoutMs });
  try {
    await provider.getBlockNumber();
  } catch (error) {
    assert.ok(error instanceof EngineError, String(error));
    return error;
  } finally {
    provider.destroy();
  }
  throw new assert.AssertionError({ message: 'expected a failure' });
}

test('a URL that fails is passed over for the next, and not tried first again at once', async () => {
  let calls = 0;
  const overloaded: Handler = (_, response) => {
    calls += 1;
    response.writeHead(429).end();
  };
  await withNode(overloaded, async (url) => {
    const provider = openProvider({ chainId: CHAIN_ID, rpcUrls: [nobody, url, anvil.url] });
    for (let i = 0; i < 3; i++) assert.equal(await provider.getBlockNumber(), 0);
    assert.equal(calls, 1);
    provider.destroy();
  });
});

test('a chain of which no URL answers is unreachable, and the error holds no API key', async () => {
  const failure = await failureOf([nobody]);
  assert.equal(failure.code, 'CHAIN_UNREACHABLE');
  assert.deepEqual(failure.details, {
    chainId: CHAIN_ID,
    host: new URL(nobody).host,
    reason: 'ECONNREFUSED',
  });
  assert.doesNotMatch(failure.message, /secret-api-key/);
});

test('a node that never answers costs no more than the limit of a call', async () => {
  await withNode(
    () => {},
    async (url) => {
      const failure = await failureOf([url], 100);
      assert.equal(failure.code, 'CHAIN_UNREACHABLE');
      assert.equal(failure.details['reason'], 'no answer in time');
    },
  );
});

for (const [what, body] of [
  ['is no JSON', '<html>'],
  ['is no RPC answer', '[null]'],
  ['says that it is busy', '{"id":0,"error":{"code":-32005,"message":"limit exceeded"}}'],
] as const) {
  test(`a node whose answer ${what} counts as unreachable`, async () => {
    await withNode(
      (_, response) => response.end(body),
      async (url) => assert.equal((await failureOf([url])).code, 'CHAIN_UNREACHABLE'),
    );
  });
}

test('a URL of another chain is refused for good, also as the second choice', async () => {
  const provider = openProvider({ chainId: 1, rpcUrls: [nobody, anvil.url] });
  await assert.rejects(provider.getBlockNumber(), {
    code: 'CHAIN_MISMATCH',
    details: { host: new URL(anvil.url).host, expected: 1, got: `${CHAIN_ID}` },
  });
  provider.destroy();
});

test('credentials in a URL are sent as a header and appear in no error', async () => {
  let authorization: string | undefined;
  const handler: Handler = (request, response) => {
    authorization = request.headers.authorization;
    response.writeHead(401).end();
  };
  await withNode(handler, async (url) => {
    const failure = await failureOf([url.replace('//', '//user:p%40ss@')]);
    assert.equal(failure.code, 'CHAIN_UNREACHABLE');
    assert.equal(failure.details['reason'], 'HTTP status 401');
    assert.doesNotMatch(failure.message, /p@ss|p%40ss/);
    assert.equal(authorization, `Basic ${Buffer.from('user:p@ss').toString('base64')}`);
  });
});
