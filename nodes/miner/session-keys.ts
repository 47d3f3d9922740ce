/**
 * What a miner holds of sessions: the channel of each that it was granted. A grant is opened once,
 * off the hot path, since age takes milliseconds; tasks of the session wait for it.
 */
import { openChannel, type Channel } from '../../adapters/seal/channel.js';
import { fromBase64 } from '../../adapters/seal/bytes.js';
import { isPostQuantum, recipientOf } from '../../adapters/seal/identity.js';
import { openKeyring } from '../../adapters/seal/keyring.js';
import { EngineError } from '../../domain/errors.js';
import type { SessionId } from '../../domain/ids.js';
import type { SessionGrant } from '../../domain/wire.js';

/** Sessions that are held at once; the one granted longest ago goes first. */
const MAX_SESSIONS = 10_000;

/** A session as its miner works in it. */
export interface GrantedSession {
  readonly channel: Channel;
  /** Opens and seals what is at rest; `null` at level `open`. */
  readonly rest: { readonly identity: string; readonly recipient: string } | null;
}

export class SessionKeys {
  readonly #identity: string;
  readonly #sessions = new Map<SessionId, Promise<GrantedSession>>();

  /** @param identity - the miner's own age identity, which keyrings are wrapped for. */
  constructor(identity: string) {
    this.#identity = identity;
  }

  /** Takes a grant; a newer one of a session replaces the older. A grant that does not open is
   * found out by the tasks that need it. */
  grant(grant: SessionGrant): void {
    const opened = this.#open(grant);
    opened.catch(() => undefined);
    this.#sessions.delete(grant.sessionId);
    this.#sessions.set(grant.sessionId, opened);
    if (this.#sessions.size <= MAX_SESSIONS) return;
    for (const oldest of this.#sessions.keys()) {
      this.#sessions.delete(oldest);
      return;
    }
  }

  /** Answers with a session that was granted.
   * @throws SESSION_NOT_FOUND — never granted.
   * @throws SEAL_NOT_RECIPIENT — the keyring is not wrapped for this miner.
   * @throws SEAL_BROKEN — no keyring, another session's, or below the session's level. */
  async find(sessionId: SessionId): Promise<GrantedSession> {
    const session = this.#sessions.get(sessionId);
    if (session === undefined) throw new EngineError('SESSION_NOT_FOUND', { sessionId });
    return session;
  }

  async #open({ sessionId, level, keyring }: SessionGrant): Promise<GrantedSession> {
    // A level is never lowered in silence: only `open` goes without keys, and it has none.
    if ((level === 'open') !== (keyring === null)) throw unfit(sessionId);
    if (keyring === null) {
      return { channel: await openChannel({ sessionId, channelKey: null }), rest: null };
    }
    const { identity, channelKey, ...owner } = await openKeyring(
      fromBase64(keyring),
      this.#identity,
    );
    if (owner.sessionId !== sessionId) throw unfit(sessionId);
    if (level === 'sealed-pq' && !isPostQuantum(identity)) throw unfit(sessionId);
    return {
      channel: await openChannel({ sessionId, channelKey }),
      rest: { identity, recipient: await recipientOf(identity) },
    };
  }
}

function unfit(sessionId: SessionId): EngineError {
  return new EngineError('SEAL_BROKEN', { reason: 'the keyring does not fit', sessionId });
}
