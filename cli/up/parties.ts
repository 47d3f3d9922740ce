/**
 * The parties of the development network: everyone has a signing key and an age identity of their
 * own, in files that only their owner can read. Made once, kept in the data folder.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { computeAddress } from 'ethers';
import {
  createIdentityFile,
  createKeyFile,
  readIdentityFile,
  readKeyFile,
} from '../../adapters/seal/identity-file.js';
import { createPrivateFile, readPrivateFile } from '../../adapters/seal/private-file.js';
import type { Address } from '../../domain/ids.js';

/** Someone with a key: a node, a user, or the engine's own signer. */
export interface Party {
  readonly name: string;
  readonly address: Address;
  /** age recipient. */
  readonly recipient: string;
  readonly keyFile: string;
  readonly identityFile: string;
}

/** A miner of the development network; the last one is there to be caught. */
export interface MinerParty extends Party {
  readonly isHonest: boolean;
}

export interface Parties {
  /** Sends the engine's transactions on every layer, and owns the contracts. */
  readonly engine: Party;
  readonly oracles: readonly Party[];
  readonly miners: readonly MinerParty[];
  readonly router: Party;
  readonly user: Party;
  /** The user's API key at the router, in a file. */
  readonly apiKeyFile: string;
}

const ORACLES = 3;
const HONEST_MINERS = 3;
const DISHONEST_MINERS = 1;

/** Makes what is missing, and reads the rest.
 * @throws KEY_FILE_UNSAFE — a file can be read by others. */
export async function openParties(data: string): Promise<Parties> {
  const keys = join(data, 'keys');
  const party = (name: string) => openParty(keys, name);
  const numbered = (kind: string, count: number) =>
    Promise.all(Array.from({ length: count }, (_, i) => party(`${kind}-${i + 1}`)));
  const miners = await numbered('miner', HONEST_MINERS + DISHONEST_MINERS);
  const apiKeyFile = join(keys, 'user.api-key');
  await createPrivateFile(apiKeyFile, Buffer.from(`ck-${randomBytes(24).toString('base64url')}\n`));
  return {
    engine: await party('engine'),
    oracles: await numbered('oracle', ORACLES),
    miners: miners.map((miner, i) => ({ ...miner, isHonest: i < HONEST_MINERS })),
    router: await party('router'),
    user: await party('user'),
    apiKeyFile,
  };
}

/** Reads a private file that holds one line of text. */
export async function readLine(path: string): Promise<string> {
  return Buffer.from(await readPrivateFile(path))
    .toString('utf8')
    .trim();
}

/** Makes or reads one party's key and identity. @throws KEY_FILE_UNSAFE */
export async function openParty(folder: string, name: string): Promise<Party> {
  const keyFile = join(folder, `${name}.key`);
  const identityFile = join(folder, `${name}.age`);
  const key = await (existsSync(keyFile) ? readKeyFile(keyFile) : createKeyFile(keyFile));
  const { recipient } = await (existsSync(identityFile)
    ? readIdentityFile(identityFile)
    : createIdentityFile(identityFile, { postQuantum: true }));
  return { name, address: computeAddress(key) as Address, recipient, keyFile, identityFile };
}
