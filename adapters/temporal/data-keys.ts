/**
 * The codec's data keys: 32 random bytes each, wrapped by age in `<folder>/<id>.age`. age once a
 * key and not once a payload, because it is a hundred times slower than AES. To rotate, add a key:
 * the newest one encrypts, all of them decrypt. Copies of the folder let more machines take part.
 */
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError } from '../../domain/errors.js';
import { openAtRest, sealAtRest } from '../seal/at-rest.js';
import { recipientOf } from '../seal/identity.js';
import { createPrivateFile, readPrivateFile } from '../seal/private-file.js';

const KEY_BYTES = 32;
const FILE = /^(\d{6})\.age$/;

export interface DataKey {
  /** Six digits; a greater id is a newer key. */
  readonly id: string;
  readonly key: Uint8Array;
}

/** Data keys of one folder. Keys that other processes add are found when they are asked for. */
export class DataKeys {
  readonly #folder: string;
  readonly #identity: string;
  readonly #keys = new Map<string, DataKey>();
  #newest: DataKey;

  private constructor(folder: string, identity: string, keys: readonly [DataKey, ...DataKey[]]) {
    this.#folder = folder;
    this.#identity = identity;
    this.#newest = keys[0];
    for (const key of keys) this.#keep(key);
  }

  /** Reads all keys of the folder, and makes the first one if there is none. Processes that race
   * for it end up with the same key.
   * @throws SEAL_NOT_RECIPIENT, SEAL_BROKEN — a key file is not for this identity, or damaged.
   * @throws KEY_FILE_UNSAFE — others may read a key file. */
  static async open(folder: string, identity: string): Promise<DataKeys> {
    let ids = await listIds(folder);
    if (ids.length === 0) {
      await addKey(folder, '000001', identity);
      ids = await listIds(folder);
    }
    const [first, ...rest] = await Promise.all(ids.map((id) => readKey(folder, id, identity)));
    if (first === undefined) throw new EngineError('SECRET_MISSING', { path: folder });
    return new DataKeys(folder, identity, [first, ...rest]);
  }

  /** The key that encrypts. */
  get newest(): DataKey {
    return this.#newest;
  }

  /** The key of an id, as read from a payload.
   * @throws SECRET_MISSING — the folder has no such key.
   * @throws SEAL_BROKEN — not an id. */
  async get(id: string): Promise<DataKey> {
    const known = this.#keys.get(id);
    if (known !== undefined) return known;
    // The id comes from outside and becomes a file name.
    if (!FILE.test(`${id}.age`)) throw new EngineError('SEAL_BROKEN', { reason: 'no key id' });
    const found = await readKey(this.#folder, id, this.#identity);
    this.#keep(found);
    return found;
  }

  /** Adds a key, which encrypts from now on; other processes follow once they meet it.
   * @returns its id. */
  async rotate(): Promise<string> {
    const ids = await listIds(this.#folder);
    const id = String(Number(ids.at(-1) ?? 0) + 1).padStart(6, '0');
    await addKey(this.#folder, id, this.#identity);
    return (await this.get(id)).id;
  }

  #keep(key: DataKey): void {
    this.#keys.set(key.id, key);
    if (key.id >= this.#newest.id) this.#newest = key;
  }
}

async function listIds(folder: string): Promise<string[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new EngineError('KEY_FILE_UNSAFE', { path: folder }, { cause });
  }
  return names.flatMap((name) => FILE.exec(name)?.[1] ?? []).sort();
}

async function addKey(folder: string, id: string, identity: string): Promise<void> {
  const wrapped = await sealAtRest(randomBytes(KEY_BYTES), [await recipientOf(identity)]);
  await createPrivateFile(join(folder, `${id}.age`), wrapped);
}

async function readKey(folder: string, id: string, identity: string): Promise<DataKey> {
  const key = await openAtRest(await readPrivateFile(join(folder, `${id}.age`)), identity);
  if (key.length !== KEY_BYTES) throw new EngineError('SEAL_BROKEN', { reason: 'no data key' });
  return { id, key };
}
