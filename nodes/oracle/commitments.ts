/**
 * Whether a miner's two messages belong together: signed by it, and the reveal hashes to what it
 * had precommitted. Shared by tasks and probes.
 */
import { precommitmentOf } from '../../adapters/chain/precommitment.js';
import { recoverSigner } from '../../adapters/chain/sign.js';
import { digestOf } from '../../adapters/ipfs/cid.js';
import type { SigningDomain } from '../../domain/attestation.js';
import { sameAddress, type Address, type SessionId, type TaskId } from '../../domain/ids.js';
import type { Commitment, Precommitment } from '../../domain/task.js';
import { Refusal } from './refusal.js';

/** Checks one pair.
 * @param expected - session and task that both must be for.
 * @throws Refusal — with what does not hold.
 * @throws SIGNATURE_INVALID — a signature that nobody can have made. */
export function checkPair(
  expected: { readonly sessionId: SessionId; readonly taskId: TaskId; readonly miner: Address },
  precommitment: Precommitment,
  commitment: Commitment,
  domain: SigningDomain,
): void {
  for (const part of [precommitment, commitment]) {
    if (
      part.sessionId !== expected.sessionId ||
      !sameAddress(part.taskId, expected.taskId) ||
      !sameAddress(part.miner, expected.miner)
    ) {
      throw new Refusal('a commitment is for another task');
    }
  }
  const { sessionId, taskId, miner } = expected;
  const precommit = { sessionId, taskId, precommitment: precommitment.precommitment };
  const precommitter = recoverSigner('Precommit', domain, precommit, precommitment.signature);
  if (!sameAddress(precommitter, miner)) throw new Refusal('a precommitment is not by its miner');
  const { resultHash, resultDigest, salt, usage } = commitment;
  const commit = { sessionId, taskId, resultHash, resultDigest, salt, ...usage };
  const committer = recoverSigner('Commit', domain, commit, commitment.signature);
  if (!sameAddress(committer, miner)) throw new Refusal('a commitment is not by its miner');
  if (precommitmentOf({ ...commitment, miner }) !== precommitment.precommitment.toLowerCase()) {
    throw new Refusal('a commitment does not open its precommitment');
  }
  if (digestOf(commitment.resultCid) !== resultDigest.toLowerCase()) {
    throw new Refusal('a commitment names another block than it signs');
  }
}
