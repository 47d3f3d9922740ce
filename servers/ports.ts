/**
 * Ports on loopback: chosen free once, then remembered in the data folder, so that addresses stay the
 * same from one run to the next.
 */
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { EngineError } from '../domain/errors.js';
import { replaceFile } from './files.js';

/** Below the range that systems give to outgoing connections (32768 on Linux, 49152 on macOS), so that
 * no passing connection sits on a remembered port. */
const RANGE = [21_000, 32_000] as const;

/**
 * Gives the port of a server: the configured one, else the remembered one, else a new free one, which
 * is remembered. Called once a server and run, before it starts.
 * @param name - key in `<data>/ports.json`, such as `temporal-ui`.
 * @throws PORT_TAKEN — the configured port is in use by another process; a remembered one that is in
 * use is replaced instead.
 */
export async function claimPort(data: string, name: string, configured?: number): Promise<number> {
  if (configured !== undefined) {
    if (await isFree(configured)) return configured;
    throw new EngineError('PORT_TAKEN', {
      server: name,
      port: configured,
      remedy: 'end the process that listens there, or configure another port',
    });
  }
  const remembered = readBook(data)[name];
  if (remembered !== undefined && (await isFree(remembered))) return remembered;
  for (;;) {
    const port = randomInt(...RANGE);
    if (!(await isFree(port))) continue;
    // No await from here on: servers that start together cannot be given one port.
    const book = readBook(data);
    if (Object.values(book).includes(port)) continue;
    replaceFile(join(data, 'ports.json'), JSON.stringify({ ...book, [name]: port }, null, 2));
    return port;
  }
}

/** True when nothing listens on the port of 127.0.0.1. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(false);
      else reject(error);
    });
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      server.close(() => resolve(true));
    });
  });
}

function readBook(data: string): Record<string, number> {
  try {
    const book: unknown = JSON.parse(readFileSync(join(data, 'ports.json'), 'utf8'));
    const entries = Object.entries(book ?? {}).filter(([, port]) => Number.isInteger(port));
    return Object.fromEntries(entries) as Record<string, number>;
  } catch {
    return {}; // ENOENT on the first run; a damaged book only costs new ports.
  }
}
