/**
 * A file's bytes as a Kubo strings them together: one request for any number of leaves. Nothing is
 * hashed here, so this is a way to be quicker and never one to be believed (`read-content.ts`).
 * `dag/export` would carry the nodes as well, and takes Kubo more than twice as long.
 * @see https://docs.ipfs.tech/reference/kubo/rpc/#api-v0-cat
 */
import { once } from 'node:events';
import * as http from 'node:http';
import * as https from 'node:https';
import type { IncomingMessage } from 'node:http';
import type { Cid } from '../../domain/ids.js';
import { rpcUrl } from './rpc-url.js';

/** Bytes that are gathered before they are handed on: the way of each part takes longer than its copy. */
const BATCH_BYTES = 1024 * 1024;
/** Milliseconds without a byte after which a stream has failed. Short: who reads goes on block by block,
 * with a deadline of its own and with the other nodes. */
const PATIENCE_MS = 2_000;

export interface FileRange {
  /** First byte. */
  readonly from: number;
  /** Byte after the last one. */
  readonly to: number;
  /** Ends the stream. */
  readonly signal: AbortSignal;
}

/** Streams bytes of a file, unhashed. They may be others than asked for, too few or too many.
 * @throws whatever ends it before its end; nothing is to be read from that. */
export type FileStream = (cid: Cid, range: FileRange) => AsyncIterable<Uint8Array>;

/** Opens the streams of one Kubo. Connects on each call, and for as long as the stream is read. */
export function openFileStream(apiUrl: string): FileStream {
  return async function* (cid, { from, to, signal }) {
    const url = rpcUrl(apiUrl, `cat?arg=${cid}&offset=${from}&length=${to - from}`);
    const client = url.protocol === 'https:' ? https : http;
    // An agent would keep the connection of a stream that is left early.
    const request = client.request(url, { method: 'POST', agent: false, signal });
    // What ends it comes out of the answer, or of the wait for one.
    request.on('error', () => {});
    const late = () => void request.destroy(new Error('no answer in time'));
    try {
      request.end();
      const timer = setTimeout(late, PATIENCE_MS);
      const [answer] = (await once(request, 'response').finally(() => clearTimeout(timer))) as [
        IncomingMessage,
      ];
      if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}`);
      yield* batches(answer);
    } finally {
      request.destroy();
    }
  };
}

/** What an answer holds, by the mebibyte. */
async function* batches(answer: IncomingMessage): AsyncGenerator<Uint8Array> {
  const parts: Buffer[] = [];
  let bytes = 0;
  let wake = () => {};
  answer.on('data', (part: Buffer) => {
    parts.push(part);
    bytes += part.length;
    timer.refresh();
    if (bytes >= BATCH_BYTES) wake();
  });
  // After the end, or what broke it: an answer that is whole is complete by then.
  answer.on('close', () => wake());
  answer.on('error', () => {});
  const late = () => void answer.destroy(new Error('no bytes in time'));
  let timer = setTimeout(late, PATIENCE_MS);
  try {
    while (!answer.closed || bytes > 0) {
      if (bytes < BATCH_BYTES && !answer.closed) {
        await new Promise<void>((resolve) => {
          wake = resolve;
          answer.resume();
        });
      }
      // Not while the reader thinks: a stream that nobody takes from may wait.
      answer.pause();
      clearTimeout(timer);
      if (bytes > 0) yield Buffer.concat(parts.splice(0));
      bytes = 0;
      timer = setTimeout(late, PATIENCE_MS);
    }
    if (!answer.complete) throw answer.errored ?? new Error('broken off');
  } finally {
    clearTimeout(timer);
  }
}
