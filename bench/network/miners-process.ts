/**
 * Scripted miners: real connections, seals and signatures around an answer that is read off a
 * script. Beside them, the same script answers plain HTTP as an OpenAI-compatible server does: what a
 * client would talk to without this network.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Wallet } from 'ethers';
import type { InferenceBackend } from '../../adapters/model/backend.js';
import { openScriptedBackend } from '../../adapters/model/scripted.js';
import type { SigningDomain } from '../../domain/attestation.js';
import type { ChatMessage } from '../../domain/task.js';
import { startMiner } from '../../nodes/miner/miner.js';
import { runChild } from './child.js';

export interface MinersInput {
  readonly routerUrl: string;
  readonly domain: SigningDomain;
  readonly model: string;
  readonly miners: readonly { readonly key: string; readonly identity: string }[];
}

export interface MinersReady {
  /** Of the script as a plain server. */
  readonly backendUrl: string;
}

/** More than any benchmark has clients: what waits here would be measured as the network's. */
const CONCURRENCY = 1_024;
/** First word of a prompt: `tokens@rate` a second, `tokens@` at once. */
const SCRIPT = /^(\d+)@([\d.]*)/;

/** The prompt says what is answered, so that one network serves fast and slow benchmarks. */
function openBackend(model: string): InferenceBackend {
  return {
    model,
    features: [],
    generate(request, options) {
      const [, tokens = '1', rate = ''] = SCRIPT.exec(request.messages.at(-1)?.content ?? '') ?? [];
      const answer = Array.from({ length: Number(tokens) }, (_, i) => `token${i}`).join(' ');
      const pace = rate === '' ? {} : { tokensPerSecond: Number(rate) };
      const script = openScriptedBackend({ model, answer: () => answer, ...pace });
      return script.generate(request, options);
    },
    async close() {},
  };
}

async function answerPlainly(
  backend: InferenceBackend,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  let body = '';
  for await (const part of incoming.setEncoding('utf8')) body += part;
  const { messages } = JSON.parse(body) as { messages: ChatMessage[] };
  const abort = new AbortController();
  outgoing.once('close', () => abort.abort());
  const request = {
    model: backend.model,
    messages,
    maxTokens: 4_096,
    temperature: 0,
    topP: 1,
  };
  outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
  const head = { id: 'chatcmpl-script', object: 'chat.completion.chunk', created: 1 };
  for await (const event of backend.generate(request, { seed: 1, signal: abort.signal })) {
    if (event.type === 'tool-call') continue;
    const delta = event.type === 'delta' ? { content: event.text } : {};
    const choices = [{ index: 0, delta, finish_reason: event.type === 'end' ? 'stop' : null }];
    outgoing.write(`data: ${JSON.stringify({ ...head, model: backend.model, choices })}\n\n`);
  }
  outgoing.end('data: [DONE]\n\n');
}

runChild<MinersInput, MinersReady>(async ({ routerUrl, domain, model, miners }) => {
  const backend = openBackend(model);
  const server = createServer((incoming, outgoing) => {
    answerPlainly(backend, incoming, outgoing).catch(() => outgoing.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  for (const { key, identity } of miners) {
    startMiner({
      routerUrls: [routerUrl],
      wallet: new Wallet(key),
      identity,
      backend,
      domain,
      concurrency: CONCURRENCY,
      log: (level, message, fields) => {
        if (level === 'error' || level === 'warn') console.error(`miner: ${message}`, fields ?? '');
      },
    });
  }
  const { port } = server.address() as AddressInfo;
  return { backendUrl: `http://127.0.0.1:${port}` };
});
