/**
 * Ids of sessions, known before the first transaction: the same bytes that
 * contracts/src `SessionManager.sessionIdOf` hashes, packed here without an ABI library.
 */
import { EngineError } from '../../domain/errors.js';
import type { Address, Hex, SessionId } from '../../domain/ids.js';
import type { SessionPolicy } from '../../domain/session.js';
import { encodeJson } from '../ipfs/canonical.js';
import { toHex, type Bytes } from './bytes.js';

/** Computes a session's id: the upper 63 bits of
 * SHA-256(abi.encode(uint256 chainId, address sessionManager, address owner, bytes32 reference)).
 * @throws REQUEST_INVALID — a field that does not fit its word. */
export async function sessionIdOf(origin: {
  readonly chainId: number;
  readonly sessionManager: Address;
  readonly owner: Address;
  /** 0x and 64 hex digits. */
  readonly clientReference: Hex;
}): Promise<SessionId> {
  const { chainId } = origin;
  if (!Number.isSafeInteger(chainId) || chainId < 0) throw unfit('chainId', 'a whole number');
  const words = new Uint8Array(4 * 32);
  writeWord(words, 0, chainId.toString(16).padStart(64, '0'));
  writeWord(words, 1, addressWord('sessionManager', origin.sessionManager));
  writeWord(words, 2, addressWord('owner', origin.owner));
  if (!/^0x[0-9a-fA-F]{64}$/.test(origin.clientReference)) {
    throw unfit('clientReference', '0x and 64 hex digits');
  }
  writeWord(words, 3, origin.clientReference.slice(2));
  const digest = await crypto.subtle.digest('SHA-256', words);
  return (new DataView(digest).getBigUint64(0) >> 1n).toString();
}

/** Hashes a policy: SHA-256 of its canonical JSON, which is the digest of the policy's CID too. */
export async function policyHashOf(policy: SessionPolicy): Promise<Hex> {
  const digest = await crypto.subtle.digest('SHA-256', encodeJson(policy) as Bytes);
  return toHex(new Uint8Array(digest));
}

function addressWord(field: string, address: Address): string {
  if (!/^0x[0-9a-fA-F]{40}$/.test(address)) throw unfit(field, '0x and 40 hex digits');
  return address.slice(2).padStart(64, '0');
}

function writeWord(words: Uint8Array, index: number, hex: string): void {
  for (let i = 0; i < 32; i++) {
    words[index * 32 + i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  }
}

function unfit(field: string, expected: string): EngineError {
  return new EngineError('REQUEST_INVALID', { field, expected });
}
