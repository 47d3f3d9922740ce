/** A client of the routers' WebSocket, as bare as the `ws` package makes it. */
import type { TestContext } from 'node:test';
import { WebSocket, type ClientOptions } from 'ws';
import { encodeJson } from '../../../adapters/ipfs/canonical.js';
import { sealAtRest } from '../../../adapters/seal/at-rest.js';
import { openChannel } from '../../../adapters/seal/channel.js';
import { taskIdOf } from '../../../adapters/seal/task-id.js';
import type { SessionId } from '../../../domain/ids.js';
import {
  STREAM_PATH,
  STREAM_PROTOCOL,
  type ClientMessage,
  type ServerMessage,
} from '../../../domain/stream.js';
import type { SealedTaskRequest } from '../../../domain/wire.js';
import type { Script } from './scripted-miner.js';
import { API_KEY, SESSION, startWorld, until, type World, type WorldOptions } from './support.js';

type Ended = Extract<ServerMessage, { type: 'ended' | 'error' }>;

export class StreamClient {
  readonly ws: WebSocket;
  readonly heard: ServerMessage[] = [];
  readonly #byId = new Map<string, ServerMessage[]>();
  /** Code and reason of the close. */
  closed: { readonly code: number; readonly reason: string } | null = null;

  constructor(url: string, options: ClientOptions = {}) {
    const address = new URL(STREAM_PATH, url.replace('http', 'ws'));
    this.ws = new WebSocket(address, [STREAM_PROTOCOL], options);
    this.ws.on('message', (data: Buffer) => {
      const message = JSON.parse(data.toString()) as ServerMessage;
      this.heard.push(message);
      if ('id' in message && message.id !== null) this.#note(message.id, message);
    });
    this.ws.on('error', () => undefined);
    this.ws.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
  }

  send(message: ClientMessage): void {
    this.ws.send(JSON.stringify(message));
  }

  /** Asks for a chat of one message. */
  ask(id: string, text: string, more: object = {}): void {
    const body = { model: 'tiny', messages: [{ role: 'user', content: text }] };
    this.send({ type: 'ask', kind: 'chat', id, session: SESSION, body, ...more });
  }

  /** What it heard of one request. */
  of(id: string): readonly ServerMessage[] {
    return this.#byId.get(id) ?? [];
  }

  #note(id: string, message: ServerMessage): void {
    const known = this.#byId.get(id);
    if (known === undefined) this.#byId.set(id, [message]);
    else known.push(message);
  }

  /** The text of a request, as far as it has come. */
  text(id: string): string {
    return this.of(id)
      .map((message) => (message.type === 'delta' ? (message.delta.content ?? '') : ''))
      .join('');
  }

  /** Waits for the last message of a request. */
  async end(id: string): Promise<Ended> {
    const last = () =>
      this.of(id).findLast(
        (message): message is Ended =>
          message.type === 'ended' || (message.type === 'error' && message.ends),
      );
    await until(() => last() !== undefined, `the end of ${id}`, 60_000);
    const found = last();
    if (found === undefined) throw new Error('gone');
    return found;
  }

  /** Waits for a message of a type. */
  async first<T extends ServerMessage['type']>(
    type: T,
  ): Promise<Extract<ServerMessage, { type: T }>> {
    const find = () =>
      this.heard.find(
        (message): message is Extract<ServerMessage, { type: T }> => message.type === type,
      );
    await until(() => find() !== undefined || this.closed !== null, `a message ${type}`);
    const found = find();
    if (found === undefined) throw new Error(`closed: ${JSON.stringify(this.closed)}`);
    return found;
  }
}

/** Connects as the test's key, or as another's, and waits until it is let in. */
export async function connect(url: string, key = API_KEY): Promise<StreamClient> {
  const client = new StreamClient(url, { headers: { authorization: `Bearer ${key}` } });
  await client.first('ready');
  return client;
}

/** Connects for as long as a test runs. */
export async function dial(
  t: TestContext,
  { url }: { readonly url: string },
  key?: string,
): Promise<StreamClient> {
  const client = await connect(url, key);
  t.after(() => client.ws.terminate());
  return client;
}

/** Starts a router for as long as a test runs, with one honest miner where nothing else is said. */
export async function start(
  t: TestContext,
  scripts: readonly Script[] = [{}],
  options: WorldOptions = {},
): Promise<World> {
  const world = await startWorld(scripts, options);
  t.after(() => world.close());
  return world;
}

/** The status of an upgrade that is refused, and the code that its body names. */
export function refusalOf(
  url: string,
  options: ClientOptions,
  protocols: readonly string[] = [STREAM_PROTOCOL],
): Promise<{ readonly status: number | undefined; readonly code: string }> {
  const address = new URL(STREAM_PATH, url.replace('http', 'ws'));
  const ws = new WebSocket(address, [...protocols], options);
  return new Promise((resolve, reject) => {
    ws.on('open', () => reject(new Error('it was let in')));
    ws.on('error', reject);
    ws.on('unexpected-response', (request, response) => {
      let text = '';
      response.on('data', (data: Buffer) => (text += data.toString()));
      response.on('end', () => {
        const { error } = JSON.parse(text) as { error: { code: string } };
        resolve({ status: response.statusCode, code: error.code });
        request.destroy();
      });
    });
  });
}

/** A request that its client has sealed, as the SDK makes one. */
export async function sealedRequest(
  world: World,
  idempotencyKey: string,
  text = 'hush',
): Promise<SealedTaskRequest> {
  const messages = [{ role: 'user', content: text }];
  const bytes = encodeJson({ model: 'tiny', messages, maxTokens: 16, temperature: 0, topP: 1 });
  const sessionId: SessionId = SESSION;
  const level = world.lease.policy.level;
  const channelKey = level === 'open' ? null : world.keyring.channelKey;
  const channel = await openChannel({ sessionId, channelKey });
  const sealer = await channel.sealer(await taskIdOf(sessionId, idempotencyKey), 'client');
  const recipient = world.lease.keyring?.recipient;
  const atRest = recipient === undefined ? bytes : await sealAtRest(bytes, [recipient]);
  return {
    idempotencyKey,
    model: 'tiny',
    maxPromptTokens: 100,
    maxTokens: 16,
    request: await sealer.seal(bytes, true),
    sealedRequest: Buffer.from(atRest).toString('base64'),
  };
}
