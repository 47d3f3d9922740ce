/** Clients that only read: many streams at once, in a process of their own. */
import { request, Agent } from 'node:http';
import { WebSocket } from 'ws';
import { runChild } from './child.js';

export type Transport = 'sse' | 'websocket';

export interface StreamsInput {
  readonly routerUrl: string;
  readonly apiKey: string;
  readonly sessions: readonly string[];
  readonly model: string;
  readonly prompt: string;
  readonly transport: Transport;
  readonly count: number;
}

export interface StreamsReady {
  /** Streams of which the first text has come. */
  readonly open: number;
}

/** Requests that one socket carries. */
const PER_SOCKET = 64;
/** Streams are opened so many at a time: each waits a second for its first token. */
const OPENING = 100;
const FIRST_TEXT = /"content":"[^"]/;

runChild<StreamsInput, StreamsReady>(async (input) => {
  const open = input.transport === 'sse' ? openSse(input) : openSockets(input);
  let next = 0;
  await Promise.all(
    Array.from({ length: OPENING }, async () => {
      while (next < input.count) await open(next++);
    }),
  );
  return { open: input.count };
});

type Open = (index: number) => Promise<void>;

function bodyOf({ model, prompt }: StreamsInput) {
  return { model, stream: true, max_tokens: 256, messages: [{ role: 'user', content: prompt }] };
}

function sessionOf({ sessions }: StreamsInput, index: number): string {
  return sessions[index % sessions.length] ?? '';
}

function openSse(input: StreamsInput): Open {
  const agent = new Agent({ keepAlive: true });
  return (index) =>
    new Promise((resolve, reject) => {
      const headers = {
        'content-type': 'application/json',
        authorization: `Bearer ${input.apiKey}`,
        'x-cortensor-session': sessionOf(input, index),
      };
      const url = `${input.routerUrl}/v1/chat/completions`;
      const asked = request(url, { method: 'POST', agent, headers }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part: string) => {
          if (FIRST_TEXT.test((text += part))) resolve();
          text = text.slice(-1_000);
        });
        answer.on('end', () => reject(new Error(`no text: ${text}`)));
      });
      asked.on('error', reject);
      asked.end(JSON.stringify(bodyOf(input)));
    });
}

function openSockets(input: StreamsInput): Open {
  const started = new Map<string, () => void>();
  const connect = async (): Promise<WebSocket> => {
    const url = `${input.routerUrl.replace(/^http/, 'ws')}/api/v1/stream`;
    const headers = { authorization: `Bearer ${input.apiKey}` };
    const socket = new WebSocket(url, ['cortensor.v1'], { headers });
    return new Promise((resolve, reject) => {
      socket.on('error', reject);
      socket.on('message', (data: Buffer) => {
        const text = data.toString();
        const message = JSON.parse(text) as { type: string; id?: string };
        if (message.type === 'ready') resolve(socket);
        if (message.type === 'error') console.error('streams:', text);
        if (FIRST_TEXT.test(text)) started.get(message.id ?? '')?.();
      });
    });
  };
  const sockets: Promise<WebSocket>[] = [];
  return async (index) => {
    const socket = await (sockets[Math.floor(index / PER_SOCKET)] ??= connect());
    const id = String(index);
    const first = new Promise<void>((resolve) => started.set(id, resolve));
    const session = sessionOf(input, index);
    socket.send(JSON.stringify({ type: 'ask', kind: 'chat', id, session, body: bodyOf(input) }));
    await first;
  };
}
