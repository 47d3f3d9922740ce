/** Starts the codec server: its routes on a socket. */
import { serve } from '@hono/node-server';
import type { AddressInfo } from 'node:net';
import { EngineError } from '../../domain/errors.js';
import { createCodecApp, type CodecDeps } from './app.js';

export interface CodecServer {
  /** Where it listens, as `http://host:port`. */
  readonly url: string;
  /** Stops listening and ends open connections. */
  close(): Promise<void>;
}

/** Listens for payloads.
 * @param deps - `port`: 0 takes any free one.
 * @throws PORT_TAKEN — another process listens there.
 * @throws USAGE — others could reach it, and no token keeps them out. */
export async function startCodecServer(
  deps: CodecDeps & { readonly host: string; readonly port: number },
): Promise<CodecServer> {
  const { host, port, token, log } = deps;
  if (token === null && !['127.0.0.1', '::1', 'localhost'].includes(host)) {
    throw new EngineError('USAGE', { expected: '--token REF, or the loopback interface', host });
  }
  const app = createCodecApp(deps);
  return await new Promise((resolve, reject) => {
    const server = serve({ fetch: app.fetch, hostname: host, port });
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const isTaken = cause.code === 'EADDRINUSE';
      reject(new EngineError(isTaken ? 'PORT_TAKEN' : 'SERVER_FAILED', { host, port }, { cause }));
    });
    server.once('listening', () => {
      const { port: bound } = server.address() as AddressInfo;
      const url = `http://${host.includes(':') ? `[${host}]` : host}:${bound}`;
      log('info', 'codec server started', { url });
      resolve({
        url,
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            if ('closeAllConnections' in server) server.closeAllConnections();
          }),
      });
    });
  });
}
