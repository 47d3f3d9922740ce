/**
 * Blocks that are pinned for somebody. Equal bytes have one CID, and anyone may send bytes that they
 * have seen: so each put says for whom it is, and a block is unpinned only when nobody needs it any
 * more. What has moved to a user's own store is read from there.
 */
import { EngineError, findEngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import { ENGINE_HOLDER } from '../../domain/content.js';
import type { BlockStore, CallOptions } from './block-store.js';
import { asBytes, cidOf } from './cid.js';
import type { Host } from './host.js';

/** One need for a block. */
export interface Hold {
  /** Of its bytes, whatever they hold: by these nodes pin them. */
  readonly cid: Cid;
  readonly holder: string;
  /** A keyring, which is its holder's alone. */
  readonly isKey: boolean;
}

/** Who needs which block. Every method: @throws DATABASE_UNREACHABLE, DATABASE_REFUSED */
export interface PinLedger {
  /** Notes a need, before the block is pinned. One that is known is the same need.
   * @throws REQUEST_INVALID — the bytes are another holder's keys, or are to be keys and are
   *   another's already. */
  hold(hold: Hold): Promise<void>;
  /** Ends a need.
   * @param letGo - unpins; called when it was the last need on our nodes, and no other can be noted
   *   meanwhile. Where it throws, the need stays. */
  release(holder: string, cid: Cid, letGo: () => Promise<void>): Promise<void>;
  /** Notes that a user's store holds the block for its holder from now on, in place of our nodes.
   * @param letGo - as of `release`. */
  move(holder: string, cid: Cid, host: string, letGo: () => Promise<void>): Promise<void>;
  /** Whether somebody's block lies with us, with a user's host, or (`null`) nowhere that is known. */
  find(cid: Cid): Promise<{ readonly host: string | null } | null>;
  /** Whether our nodes hold the block for this holder. */
  isHeld(holder: string, cid: Cid): Promise<boolean>;
}

/** A block store that knows for whom it pins. */
export interface HeldStore extends BlockStore {
  /** Notes a need for a block that is written past this store; call it before.
   * @throws as `PinLedger.hold` */
  hold(cid: Cid, holder: string): Promise<void>;
  /** Copies a block to a user's store, reads it back from there, and hashes it. Repeating it is
   * harmless; what the holder has given up meanwhile is left as it is.
   * @param move.letGo - gives our own copy up as well, once the host's has been proven.
   * @throws HOST_UNREACHABLE — the host is away, or took what it does not give back.
   * @throws as `BlockStore.get`, `Host.put` and `PinLedger` */
  copyTo(
    host: string,
    cid: Cid,
    move: { readonly holder: string; readonly letGo: boolean },
    options?: CallOptions,
  ): Promise<void>;
}

/** Opens a deployment's store as one that counts who needs what.
 * @param deps.openHost - a user's store by its name.
 *   @throws HOST_UNREACHABLE — none of that name is configured. */
export function openHeldStore(
  store: BlockStore,
  deps: { readonly ledger: PinLedger; readonly openHost: (name: string) => Promise<Host> },
): HeldStore {
  const { ledger, openHost } = deps;
  return {
    async hold(cid, holder) {
      await ledger.hold({ cid: asBytes(cid), holder, isKey: false });
    },

    async put(bytes, options = {}) {
      const { holder = ENGINE_HOLDER, isKey = false } = options;
      // First: a release that comes between the two finds that the block is needed.
      await ledger.hold({ cid: cidOf(bytes), holder, isKey });
      return await store.put(bytes, options);
    },

    async get(cid, options) {
      const found = await ledger.find(asBytes(cid)).catch((error: unknown) => ({ error }));
      if (found !== null && 'host' in found && found.host !== null) {
        return await (await openHost(found.host)).get(cid, options);
      }
      try {
        return await store.get(cid, options);
      } catch (error) {
        // It may have moved, and nobody could be asked: that is not "not there".
        const isUnknown = found !== null && 'error' in found;
        if (isUnknown && findEngineError(error)?.code === 'CONTENT_MISSING') throw found.error;
        throw error;
      }
    },

    async unpin(cid, { holder = ENGINE_HOLDER, ...options } = {}) {
      await ledger.release(holder, asBytes(cid), () => store.unpin(cid, options));
    },

    async remove(cid, { holder = ENGINE_HOLDER, ...options } = {}) {
      await ledger.release(holder, asBytes(cid), () => store.remove(cid, options));
    },

    async copyTo(host, cid, { holder, letGo }, options = {}) {
      if (!(await ledger.isHeld(holder, asBytes(cid)))) return;
      const theirs = await openHost(host);
      if (!(await holds(theirs, cid, options))) {
        await theirs.put(await store.get(cid, options), options);
        if (!(await holds(theirs, cid, options))) {
          throw new EngineError('HOST_UNREACHABLE', { host, reason: 'not held after the write' });
        }
      }
      if (letGo) await ledger.move(holder, asBytes(cid), host, () => store.unpin(cid, options));
    },
  };
}

/** Whether a user's store gives the block, with its own bytes. */
async function holds(host: Host, cid: Cid, options: CallOptions): Promise<boolean> {
  try {
    await host.get(cid, options);
    return true;
  } catch (error) {
    const code = findEngineError(error)?.code;
    if (code === 'CONTENT_MISSING' || code === 'CONTENT_MISMATCH') return false;
    throw error;
  }
}
