/** Who takes which WebSocket of an HTTP server on: miners and clients have a path each. */
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { EngineError } from '../../domain/errors.js';
import { errorBody, retryHeaders } from './errors.js';

export type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** Hands each upgrade to whose path it is for, and refuses the others. */
export function attachUpgrades(server: Server, byPath: ReadonlyMap<string, Upgrade>): void {
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const upgrade = byPath.get(request.url?.split('?', 1)[0] ?? '');
    if (upgrade !== undefined) return upgrade(request, socket, head);
    refuseUpgrade(
      socket,
      new EngineError('REQUEST_INVALID', { expected: 'a path of the API' }),
      404,
    );
  });
}

/** Answers an upgrade with an error, and closes.
 * @param status - @defaultValue the error's own */
export function refuseUpgrade(socket: Duplex, error: EngineError, status = error.status): void {
  // From the upgrade on nobody else listens, and a peer that resets the connection is an error.
  socket.on('error', () => socket.destroy());
  const text = JSON.stringify(errorBody(error, ''));
  const retry = retryHeaders(error).map(([name, value]) => `${name}: ${value}\r\n`);
  const head =
    `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\n${retry.join('')}` +
    `content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n`;
  socket.end(head + text, () => socket.destroy());
}
