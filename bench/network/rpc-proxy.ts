/** A line to a chain's RPC that can be cut or slowed, while whoever cuts it still reaches the chain. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** Limit for one call to the chain, in milliseconds. */
const CALL_MS = 30_000;

export interface RpcProxy {
  readonly url: string;
  /** Milliseconds that every call waits first; `null` cuts the line. 0 when it is opened. */
  setDelay(ms: number | null): void;
  stop(): Promise<void>;
}

/** Opens a proxy on any free port. */
export async function openRpcProxy(target: string): Promise<RpcProxy> {
  let delayMs: number | null = 0;

  async function forward(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    if (delayMs === null) throw new Error('the line is cut');
    const parts: Buffer[] = [];
    for await (const part of incoming) parts.push(part as Buffer);
    if (delayMs > 0) await delay(delayMs);
    const answer = await fetch(target, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: Buffer.concat(parts),
      signal: AbortSignal.timeout(CALL_MS),
    });
    outgoing.writeHead(answer.status, { 'content-type': 'application/json' });
    outgoing.end(Buffer.from(await answer.arrayBuffer()));
  }

  const server = createServer((incoming, outgoing) => {
    forward(incoming, outgoing).catch(() => outgoing.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    setDelay(ms) {
      delayMs = ms;
      if (ms === null) server.closeAllConnections();
    },
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
