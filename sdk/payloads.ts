/** Payloads by CID, through the router and believed by nobody but their hash. */
import { EngineError } from '../domain/errors.js';
import type { Cid } from '../domain/ids.js';
import type { RouterHttp } from './http.js';

/** CIDv1, raw block, sha2-256, 32 bytes. @see https://github.com/multiformats/cid */
const CID_PREFIX = [0x01, 0x55, 0x12, 0x20] as const;
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

/** Computes the CID of one block, with Web Crypto alone. */
export async function cidOfBlock(bytes: Uint8Array): Promise<Cid> {
  const digest = await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>);
  return `b${base32([...CID_PREFIX, ...new Uint8Array(digest)])}`;
}

/** Reads a block and hashes it before anything relies on it.
 * @throws CONTENT_MISMATCH — the router handed out something else.
 * @throws EngineError — as `RouterHttp.bytes`. */
export async function readPayload(
  http: RouterHttp,
  cid: Cid,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const bytes = await http.bytes(`/api/v1/payloads/${encodeURIComponent(cid)}`, { signal });
  if ((await cidOfBlock(bytes)) !== cid) throw new EngineError('CONTENT_MISMATCH', { cid });
  return bytes;
}

/** Reads JSON out of opened bytes.
 * @throws SEAL_BROKEN — not JSON: the parser's own message would quote plaintext. */
export function readJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new EngineError('SEAL_BROKEN', { reason: 'not JSON' });
  }
}

function base32(bytes: readonly number[]): string {
  let text = '';
  let word = 0;
  let bits = 0;
  for (const byte of bytes) {
    word = ((word << 8) | byte) & 0xfff;
    for (bits += 8; bits >= 5; bits -= 5) text += BASE32[(word >> (bits - 5)) & 31] ?? '';
  }
  return bits === 0 ? text : text + (BASE32[(word << (5 - bits)) & 31] ?? '');
}
