/** The HTTP server under the app: how long it waits for a request, how large its head may be, and how
 * long an answer may wait for its reader. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import type { RouterLimits } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import type { RouterApp } from './app.js';
import { errorBody } from './errors.js';

/** An idle connection is kept for so long; proxies in front should give up earlier. */
const KEEP_ALIVE_MS = 65_000;
/** A peer that has vanished is noticed after this and what TCP's own probes take. */
const PROBE_AFTER_MS = 30_000;
/** A client that takes nothing of what waits for it for so long has stopped to read. */
const STALLED_MS = 60_000;

const STATUS_LINES = {
  400: '400 Bad Request',
  408: '408 Request Timeout',
  431: '431 Request Header Fields Too Large',
} as const;
type BadStatus = keyof typeof STATUS_LINES;

/** Puts a server around the app, without listening.
 * @param stalledMs - milliseconds; a client that stops to read is cut off, and its place is free. */
export function createHttpServer(
  app: RouterApp,
  limits: Pick<RouterLimits, 'headersMs' | 'requestMs' | 'maxHeaderBytes'>,
  stalledMs = STALLED_MS,
): Server {
  const { headersMs, requestMs, maxHeaderBytes } = limits;
  const listener = getRequestListener(app.fetch, { errorHandler: refuseMalformed });
  /** Connections with an answer under way: nothing else may be written there. */
  const answering = new WeakSet<Duplex>();
  const server = createServer(
    {
      headersTimeout: headersMs,
      requestTimeout: requestMs,
      maxHeaderSize: maxHeaderBytes,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAlive: true,
      keepAliveInitialDelay: PROBE_AFTER_MS,
      // How often the two limits above are looked at.
      connectionsCheckingInterval: Math.min(1_000, headersMs),
    },
    (incoming: IncomingMessage, outgoing: ServerResponse) => {
      const { socket } = incoming;
      answering.add(socket);
      outgoing.once('close', () => answering.delete(socket));
      void listener(incoming, outgoing);
    },
  );
  server.setTimeout(stalledMs, (socket) => {
    // An answer that is not ready holds up nobody; a connection without one is idle.
    if (socket.writableLength > 0 || !answering.has(socket)) socket.destroy();
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    if (!socket.writable || answering.has(socket)) {
      socket.destroy();
      return;
    }
    const status = statusOf(error.code);
    const text = JSON.stringify(errorBody(malformed(status), ''));
    const head =
      `HTTP/1.1 ${STATUS_LINES[status]}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n`;
    socket.end(head + text, () => socket.destroy());
  });
  return server;
}

/** What cannot even be made a request of: a Host that is none, a path that is no URL. */
function refuseMalformed(): Response {
  return Response.json(errorBody(malformed(400), ''), { status: 400 });
}

function statusOf(code: string | undefined): BadStatus {
  if (code === 'HPE_HEADER_OVERFLOW') return 431;
  return code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400;
}

function malformed(status: BadStatus): EngineError {
  const expected = {
    400: 'HTTP/1.1',
    408: 'a whole request in time',
    431: 'a shorter head',
  } as const;
  return new EngineError('REQUEST_INVALID', { expected: expected[status] });
}

/** Binds a server to `port` (0 = any free one).
 * @returns the port that was bound.
 * @throws PORT_TAKEN */
export function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: NodeJS.ErrnoException) => {
      const isTaken = cause.code === 'EADDRINUSE';
      reject(new EngineError(isTaken ? 'PORT_TAKEN' : 'INTERNAL', { port }, { cause }));
    };
    server.once('error', refuse);
    server.listen(port, host, () => {
      server.off('error', refuse);
      resolve((server.address() as AddressInfo).port);
    });
  });
}
