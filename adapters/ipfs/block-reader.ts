/**
 * Reading blocks, one request each, past `fetch`: for a block of 1 MiB its streams cost more CPU than
 * the hash does.
 */
import * as http from 'node:http';
import * as https from 'node:https';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import { rpcUrl } from './rpc-url.js';

/** Requests at once; more wait for a connection. */
const MAX_SOCKETS = 16;
const MAX_ERROR_BYTES = 16 * 1024;

/** Reads what a Kubo holds under a CID. Nothing is hashed here.
 * @throws CONTENT_MISSING — the Kubo says that it does not find the block.
 * @throws CONTENT_TOO_LARGE — more than `maxBytes`, as soon as it shows.
 * @throws the reason of `signal`, or what is no success, as it comes. */
export type BlockReader = (
  cid: Cid,
  options: { readonly signal: AbortSignal; readonly maxBytes: number },
) => Promise<Uint8Array>;

/** Opens a reader of one Kubo. Connects on the first call. */
export function openBlockReader(apiUrl: string): BlockReader {
  const client = new URL(apiUrl).protocol === 'https:' ? https : http;
  const agent = new client.Agent({ keepAlive: true, maxSockets: MAX_SOCKETS });
  return (cid, { signal, maxBytes }) =>
    new Promise((resolve, reject) => {
      const url = rpcUrl(apiUrl, `block/get?arg=${cid}`);
      const request = client.request(url, { method: 'POST', agent, signal }, (answer) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        const isBlock = answer.statusCode === 200;
        const limit = isBlock ? maxBytes : MAX_ERROR_BYTES;
        answer.on('data', (part: Buffer) => {
          bytes += part.length;
          if (bytes <= limit) parts.push(part);
          else answer.destroy(new EngineError('CONTENT_TOO_LARGE', { bytes, maxBytes: limit }));
        });
        answer.on('error', (cause) => reject(signal.aborted ? (signal.reason as Error) : cause));
        answer.on('end', () => {
          const body = Buffer.concat(parts);
          if (isBlock) resolve(new Uint8Array(body.buffer, body.byteOffset, body.length));
          else reject(failure(cid, answer.statusCode ?? 0, body.toString('utf8')));
        });
      });
      // Node wraps the signal's reason into an error of its own.
      request.on('error', (cause) => reject(signal.aborted ? (signal.reason as Error) : cause));
      request.end();
    });
}

/** Told by Kubo's own words: a proxy's `404 page not found` is no word about the block. */
function failure(cid: Cid, status: number, text: string): Error {
  const cause = new Error(`status ${status}`);
  if (/ipld: could not find/.test(text)) {
    return new EngineError('CONTENT_MISSING', { cid }, { cause });
  }
  return cause;
}
