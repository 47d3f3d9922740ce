/** Files behind a passphrase, as `age -p` writes and reads them: age files to a scrypt recipient. */
import { armor, Decrypter, Encrypter } from 'age-encryption';
import { EngineError } from '../../domain/errors.js';

const HEADER = 'age-encryption.org/v1\n';
const ARMOR = '-----BEGIN AGE ENCRYPTED FILE-----';

/** True for an age file, binary or armored; identities in plain are none. */
export function isLocked(bytes: Uint8Array): boolean {
  return startsWith(bytes, HEADER) || startsWith(bytes, ARMOR);
}

/** Puts bytes behind a passphrase. Takes a second, and 256 MiB, as each guess at it does. */
export async function lock(bytes: Uint8Array, passphrase: string): Promise<Uint8Array> {
  const encrypter = new Encrypter();
  encrypter.setPassphrase(passphrase);
  return await encrypter.encrypt(bytes);
}

/** Opens a file behind a passphrase.
 * @param place - named in errors.
 * @throws KEY_FILE_UNSAFE — another passphrase, or the file is altered or not behind one. */
export async function unlock(
  bytes: Uint8Array,
  passphrase: string,
  place: string,
): Promise<Uint8Array> {
  const decrypter = new Decrypter();
  decrypter.addPassphrase(passphrase);
  try {
    const isArmored = startsWith(bytes, ARMOR);
    const file = isArmored ? armor.decode(new TextDecoder().decode(bytes)) : bytes;
    return await decrypter.decrypt(file);
  } catch {
    // No cause: nothing that is said of a secret's file is worth the risk of repeating it.
    throw new EngineError('KEY_FILE_UNSAFE', {
      path: place,
      expected: 'an age file that the passphrase opens',
    });
  }
}

function startsWith(bytes: Uint8Array, text: string): boolean {
  return new TextDecoder('latin1').decode(bytes.subarray(0, text.length)) === text;
}
