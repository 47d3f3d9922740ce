/** An app on a socket, for nodes whose server needs nothing of its own. */
import { serve, type ServerType } from '@hono/node-server';
import type { Hono } from 'hono';
import type { AddressInfo } from 'node:net';
import { EngineError } from '../domain/errors.js';

export interface ServedApp {
  /** Where it listens, as `http://host:port`. */
  readonly url: string;
  /** Stops listening and ends open connections; what the app was given is the caller's. */
  close(): Promise<void>;
}

/** Listens on `host` and `port` (0 = any free one).
 * @throws PORT_TAKEN — another process listens there. @throws SERVER_FAILED */
export function serveApp(
  app: Pick<Hono, 'fetch'>,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<ServedApp> {
  return new Promise((resolve, reject) => {
    const server: ServerType = serve({ fetch: app.fetch, hostname: host, port });
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const isTaken = cause.code === 'EADDRINUSE';
      reject(new EngineError(isTaken ? 'PORT_TAKEN' : 'SERVER_FAILED', { host, port }, { cause }));
    });
    server.once('listening', () => {
      const { port: bound } = server.address() as AddressInfo;
      resolve({
        url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`,
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            if ('closeAllConnections' in server) server.closeAllConnections();
          }),
      });
    });
  });
}
