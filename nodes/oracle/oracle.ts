/** Starts an oracle: its routes on a socket. */
import { serve, type ServerType } from '@hono/node-server';
import type { AddressInfo } from 'node:net';
import { EngineError } from '../../domain/errors.js';
import { createOracleApp } from './app.js';
import type { OracleDeps } from './ports.js';

export interface Oracle {
  /** Where it listens, as `http://host:port`. */
  readonly url: string;
  /** Stops listening and ends open connections; chain, store and embedder are the caller's. */
  close(): Promise<void>;
}

/** Listens for requests.
 * @param deps - `port`: 0 takes any free one.
 * @throws PORT_TAKEN — another process listens there. */
export function startOracle(
  deps: OracleDeps & { readonly host: string; readonly port: number },
): Promise<Oracle> {
  const { host, port } = deps;
  const app = createOracleApp(deps);
  return new Promise((resolve, reject) => {
    const server: ServerType = serve({ fetch: app.fetch, hostname: host, port });
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const isTaken = cause.code === 'EADDRINUSE';
      reject(new EngineError(isTaken ? 'PORT_TAKEN' : 'SERVER_FAILED', { host, port }, { cause }));
    });
    server.once('listening', () => {
      const { port: bound } = server.address() as AddressInfo;
      deps.log('info', 'oracle started', { oracle: deps.wallet.address, port: bound });
      resolve({
        url: `http://${host}:${bound}`,
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            if ('closeAllConnections' in server) server.closeAllConnections();
          }),
      });
    });
  });
}
