/** What is sealed of a session, opened by this router where it may read it. */
import { openChannel, type Channel } from '../../adapters/seal/channel.js';
import { openKeyring } from '../../adapters/seal/keyring.js';
import type { SessionId } from '../../domain/ids.js';

/** The keys of a session at a level where the router reads. */
export interface OpenedKeys {
  readonly channel: Channel;
  /** For what is at rest; `null` where nothing is sealed. A secret. */
  readonly identity: string | null;
}

/** Opens a session's keys.
 * @param keyring - its file; `null` at level `open`.
 * @param identity - the router's own.
 * @throws SEAL_NOT_RECIPIENT — the keyring is not wrapped for this router.
 * @throws SEAL_BROKEN — altered, or not a keyring. */
export async function openKeys(
  sessionId: SessionId,
  keyring: Uint8Array | null,
  identity: string,
): Promise<OpenedKeys> {
  if (keyring === null) {
    return { channel: await openChannel({ sessionId, channelKey: null }), identity: null };
  }
  const keys = await openKeyring(keyring, identity);
  const { channelKey } = keys;
  return { channel: await openChannel({ sessionId, channelKey }), identity: keys.identity };
}
