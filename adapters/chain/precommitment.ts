/**
 * The hash a miner signs before any result is revealed, apart from the other signatures because
 * miner, router and oracles all compute it. Same encoding as SessionPayment.sol.
 */
import { assertArgument, keccak256 } from 'ethers';
import type { Address, Hex } from '../../domain/ids.js';
import type { Commitment } from '../../domain/task.js';

const MAX_UINT64 = 2n ** 64n - 1n;

/** Computes what a commitment must have been precommitted as. The miner's address is part of it, so
 * that a copied precommitment cannot be opened by the copyist.
 * @throws TypeError — a field is not of its type: no two commitments may share an encoding. */
export function precommitmentOf(
  commitment: Pick<Commitment, 'sessionId' | 'taskId' | 'resultHash' | 'resultDigest' | 'salt'> & {
    readonly miner: Address;
  },
): Hex {
  const { sessionId, taskId, miner, resultHash, resultDigest, salt } = commitment;
  const id = BigInt(sessionId);
  assertArgument(id >= 0n && id <= MAX_UINT64, 'no uint64', 'sessionId', sessionId);
  // `abi.encode` of types of fixed size is a word of 32 bytes each. A general encoder takes six times
  // as long, and every task is hashed by each miner, by the router and by the oracles.
  const words = [
    id.toString(16).padStart(64, '0'),
    digitsOf(taskId, 32),
    digitsOf(miner, 20),
    digitsOf(resultHash, 32),
    digitsOf(resultDigest, 32),
    digitsOf(salt, 32),
  ];
  return keccak256(`0x${words.join('')}`) as Hex;
}

/** @returns the hexadecimal digits of a word. */
function digitsOf(value: string, bytes: 20 | 32): string {
  const isValid = value.length === 2 + 2 * bytes && /^0x[0-9a-fA-F]+$/.test(value);
  assertArgument(isValid, `no ${bytes} bytes`, 'value', value);
  return value.slice(2).padStart(64, '0');
}
