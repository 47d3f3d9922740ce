/**
 * Sealing: who can read what (design section 7). A session has one keyring; the keyring is an age
 * file wrapped for each reader, so moving or adding a reader re-wraps that one small file.
 */
import type { Address, Cid, SessionId } from './ids.js';

export const SEALING_LEVELS = ['open', 'link', 'sealed', 'sealed-pq'] as const;
export type SealingLevel = (typeof SEALING_LEVELS)[number];

/** True at the levels whose prompts only the client may seal: the router never holds a key. */
export function isClientSealed(level: SealingLevel): boolean {
  return level === 'sealed' || level === 'sealed-pq';
}

/** The secret contents of a keyring. Never logged, never in Temporal; only inside its age file. */
export interface Keyring {
  readonly version: 1;
  readonly sessionId: SessionId;
  /** `AGE-SECRET-KEY-…`: opens what is at rest. */
  readonly identity: string;
  /** 32 bytes, base64: seals what is on the wire. */
  readonly channelKey: string;
}

/** What everyone may know of a keyring. */
export interface KeyringRef {
  /** age recipient that payloads at rest are sealed to. */
  readonly recipient: string;
  /** The age file that holds the `Keyring`. */
  readonly cid: Cid;
}

export const READER_ROLES = ['user', 'router', 'miner', 'validator'] as const;

/** A party that a keyring is wrapped for. */
export interface Reader {
  readonly role: (typeof READER_ROLES)[number];
  readonly address: Address;
  /** age recipient, `age1…` or `age1pq1…`. */
  readonly recipient: string;
}

/**
 * One sealed message of a task's stream. Messages of one author and direction are numbered from 0
 * without gaps, and the last one says so: order and truncation are authenticated, not assumed.
 */
export interface Frame {
  readonly seq: number;
  readonly isLast: boolean;
  /** Base64 of ciphertext and tag, or of plain bytes at level `open`. */
  readonly data: string;
}
