/**
 * A session's keyring: what its readers share. It travels and rests only as an age file wrapped for
 * each of them, so adding or moving a reader re-wraps this one small file and no payload.
 */
import { EngineError } from '../../domain/errors.js';
import { parseSessionId, type SessionId } from '../../domain/ids.js';
import type { Keyring } from '../../domain/sealing.js';
import { encodeJson } from '../ipfs/canonical.js';
import { openAtRest, sealAtRest } from './at-rest.js';
import { fromBase64, toBase64 } from './bytes.js';
import { createIdentity, isPostQuantum, recipientOf } from './identity.js';

/** Bytes of a channel key. */
export const CHANNEL_KEY_BYTES = 32;

/** Draws the keys of a session.
 * @param options - `postQuantum`: at level `sealed-pq`; its readers must be post-quantum too.
 * @returns the secret, and the recipient that payloads at rest are sealed to. */
export async function createKeyring(
  sessionId: SessionId,
  options: { readonly postQuantum?: boolean } = {},
): Promise<{ readonly keyring: Keyring; readonly recipient: string }> {
  const { identity, recipient } = await createIdentity(options);
  const channelKey = toBase64(crypto.getRandomValues(new Uint8Array(CHANNEL_KEY_BYTES)));
  return { keyring: { version: 1, sessionId, identity, channelKey }, recipient };
}

/** Wraps a keyring for its readers.
 * @param readers - age recipients, at least one.
 * @throws REQUEST_INVALID — no reader, a text that is no recipient, or a reader without
 *   post-quantum keys on a post-quantum keyring: its level would be lowered in silence. */
export async function wrapKeyring(
  keyring: Keyring,
  readers: readonly string[],
): Promise<Uint8Array> {
  if (isPostQuantum(keyring.identity) && !readers.every(isPostQuantum)) {
    throw new EngineError('REQUEST_INVALID', {
      field: 'readers',
      expected: 'post-quantum recipients only',
    });
  }
  return sealAtRest(encodeJson(keyring), readers);
}

/** Opens a keyring as one of its readers, and checks all of its fields.
 * @throws SEAL_NOT_RECIPIENT — not a reader.
 * @throws SEAL_BROKEN — altered, or not a keyring. */
export async function openKeyring(bytes: Uint8Array, identity: string): Promise<Keyring> {
  const plain = await openAtRest(bytes, identity);
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(plain));
    return await parseKeyring(value);
  } catch {
    // No cause: the messages of the parsers quote the secrets they choke on.
    throw new EngineError('SEAL_BROKEN', { reason: 'not a keyring' });
  }
}

async function parseKeyring(value: unknown): Promise<Keyring> {
  const { version, sessionId, identity, channelKey } = value as Record<string, unknown>;
  if (version !== 1) throw new TypeError('version');
  if (typeof sessionId !== 'string' || typeof identity !== 'string') throw new TypeError('ids');
  if (typeof channelKey !== 'string') throw new TypeError('channel key');
  if (fromBase64(channelKey).length !== CHANNEL_KEY_BYTES) throw new TypeError('channel key');
  await recipientOf(identity);
  return { version, sessionId: parseSessionId(sessionId), identity, channelKey };
}
