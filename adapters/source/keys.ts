/**
 * The key of a source: an age identity that all its blocks are sealed to, wrapped for the engine. To
 * destroy it is to destroy what it opens, wherever copies of the blocks are.
 */
import { createHash, createHmac } from 'node:crypto';
import { createIdentity, recipientOf } from '../seal/identity.js';
import { openAtRest, sealAtRest } from '../seal/at-rest.js';

/** An age file begins so. @see https://c2sp.org/age */
const AGE = Buffer.from('age-encryption.org/v1\n');

export interface SourceKey {
  /** Seals a block; at level `open` it stays as it is. */
  seal(bytes: Uint8Array): Promise<Uint8Array>;
  /** Opens what this key sealed; what nobody sealed comes back as it is.
   * @throws SEAL_NOT_RECIPIENT, SEAL_BROKEN — sealed for somebody else, or altered. */
  open(bytes: Uint8Array): Promise<Uint8Array>;
  /** Names what a chunk says: equal texts have one digest, which tells nothing without the key. */
  digest(text: string): string;
  /** Blinds words for keyword search. */
  readonly termKey: Uint8Array;
}

export interface SourceKeys {
  /** Draws a key. @returns the age file that only the engine opens. */
  create(): Promise<Uint8Array>;
  /** @param keyFile - `null` at level `open`.
   * @throws SEAL_NOT_RECIPIENT, SEAL_BROKEN — made by another deployment, or altered. */
  open(keyFile: Uint8Array | null): Promise<SourceKey>;
}

/** @param identity - the age identity of the engine, which all its processes have. */
export function createSourceKeys(identity: string): SourceKeys {
  return {
    async create() {
      const { identity: own } = await createIdentity();
      return sealAtRest(Buffer.from(own), [await recipientOf(identity)]);
    },
    async open(keyFile) {
      if (keyFile === null) return keyOf(null, null);
      const own = Buffer.from(await openAtRest(keyFile, identity)).toString();
      return keyOf(own, await recipientOf(own));
    },
  };
}

function keyOf(identity: string | null, recipient: string | null): SourceKey {
  const secret = createHash('sha256')
    .update('cortensor source\n')
    .update(identity ?? '')
    .digest();
  return {
    termKey: createHmac('sha256', secret).update('terms').digest(),
    digest: (text) => createHmac('sha256', secret).update('chunk\n').update(text).digest('hex'),
    seal: async (bytes) => (recipient === null ? bytes : sealAtRest(bytes, [recipient])),
    open: async (bytes) => {
      const isSealed = Buffer.from(bytes.subarray(0, AGE.length)).equals(AGE);
      if (identity === null || !isSealed) return bytes;
      return openAtRest(bytes, identity);
    },
  };
}
