/**
 * The hash a miner signs before any result is revealed, apart from the other signatures because
 * miner, router and oracles all compute it. Same encoding as SessionPayment.sol.
 */
import { AbiCoder, keccak256, ParamType } from 'ethers';
import type { Address, Hex } from '../../domain/ids.js';
import type { Commitment } from '../../domain/task.js';

/** Read once: that takes as long as the rest of the hash. */
const TYPES = ['uint64', 'bytes32', 'address', 'bytes32', 'bytes32', 'bytes32'].map((type) =>
  ParamType.from(type),
);

/** Computes what a commitment must have been precommitted as. The miner's address is part of it, so
 * that a copied precommitment cannot be opened by the copyist. */
export function precommitmentOf(
  commitment: Pick<Commitment, 'sessionId' | 'taskId' | 'resultHash' | 'resultDigest' | 'salt'> & {
    readonly miner: Address;
  },
): Hex {
  const { sessionId, taskId, miner, resultHash, resultDigest, salt } = commitment;
  const encoded = AbiCoder.defaultAbiCoder().encode(TYPES, [
    sessionId,
    taskId,
    miner.toLowerCase(),
    resultHash,
    resultDigest,
    salt,
  ]);
  return keccak256(encoded) as Hex;
}
