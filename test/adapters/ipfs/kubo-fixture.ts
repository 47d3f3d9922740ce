/** Real Kubo nodes for a test file, and what is asked of them past the engine. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startKubo } from '../../../servers/start/index.js';

export type RunningKubo = Awaited<ReturnType<typeof startKubo>>;

/** A folder of its own, and all that runs in it. */
export class Fixture {
  readonly data: string;
  readonly #kubos: RunningKubo[] = [];
  readonly #servers: Server[] = [];

  private constructor(data: string) {
    this.data = data;
  }

  static async create(): Promise<Fixture> {
    return new Fixture(await mkdtemp(join(tmpdir(), 'cortensor-ipfs-')));
  }

  /** Starts a Kubo, or the one of that name again, where it lay. */
  async kubo(name: string): Promise<RunningKubo> {
    const kubo = await startKubo({ data: join(this.data, name) });
    this.#kubos.push(kubo);
    return kubo;
  }

  /** Something that answers as it is told to. */
  async server(listener: RequestListener): Promise<string> {
    const server = createServer(listener).listen(0, '127.0.0.1');
    this.#servers.push(server);
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const server of this.#servers) server.closeAllConnections();
    for (const server of this.#servers) server.close();
    await Promise.all(this.#kubos.map((kubo) => kubo.stop()));
    await rm(this.data, { recursive: true });
  }
}

/** Asks a Kubo's RPC API; the answer as text. */
export async function api(kubo: { readonly apiUrl: string }, path: string): Promise<string> {
  return (await fetch(`${kubo.apiUrl}/api/v0/${path}`, { method: 'POST' })).text();
}

/** Every block that a Kubo holds. */
export async function blocksOf(kubo: { readonly apiUrl: string }): Promise<string[]> {
  const text = await api(kubo, 'refs/local');
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => (JSON.parse(line) as { readonly Ref: string }).Ref);
}

/** Uploads through Kubo's own `add`, with the options that are given. */
export async function stockAdd(
  kubo: { readonly apiUrl: string },
  bytes: Uint8Array,
  options: Readonly<Record<string, string>>,
): Promise<string> {
  const body = new FormData();
  body.append('file', new Blob([new Uint8Array(bytes)]));
  const url = `${kubo.apiUrl}/api/v0/add?${new URLSearchParams(options)}`;
  const answer = await (await fetch(url, { method: 'POST', body })).json();
  return (answer as { readonly Hash: string }).Hash;
}

/** A stream of chunks that do not fall on the edges of blocks. */
export async function* inChunks(bytes: Uint8Array, size = 65_537): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Bytes without two equal blocks, the same at every call. */
export function pattern(length: number, seed = 1): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed >>> 0;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return new Uint8Array(words.buffer, 0, length);
}
