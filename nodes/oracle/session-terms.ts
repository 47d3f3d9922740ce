/** What a session's owner agreed to: the policy that the chain names by its hash. */
import { cidOfDigest } from '../../adapters/ipfs/cid.js';
import type { SessionId } from '../../domain/ids.js';
import { parseWei } from '../../domain/money.js';
import { parsePolicy, type SessionPolicy } from '../../domain/session.js';
import { Memory } from './memory.js';
import type { OracleDeps } from './ports.js';
import { Refusal } from './refusal.js';
import { readDocument } from './results.js';

const MAX_POLICIES = 10_000;

export interface SessionTerms {
  readonly policy: SessionPolicy;
  readonly pricePerTokenWei: bigint;
}

/** Reads terms. Which policy is in force the chain is asked each time, since its owner may change it;
 * what a policy says under its hash never changes, and is remembered. */
export class TermsReader {
  readonly #deps: Pick<OracleDeps, 'store' | 'chain' | 'models'>;
  readonly #policies = new Memory<SessionPolicy>(MAX_POLICIES);

  constructor(deps: Pick<OracleDeps, 'store' | 'chain' | 'models'>) {
    this.#deps = deps;
  }

  /** @throws CONTENT_MISSING, IPFS_UNREACHABLE, CHAIN_UNREACHABLE — the oracle could not look.
   * @throws Refusal — no such session, no price for its model, or one above its ceiling. */
  async read(sessionId: SessionId, signal: AbortSignal): Promise<SessionTerms> {
    const { chain, store, models } = this.#deps;
    const session = await chain.readSession(sessionId);
    if (session === null) throw new Refusal('the session is not on chain');
    // The block is hashed when it is read, so what comes back is the policy that was signed.
    const cid = cidOfDigest(session.policyHash);
    const policy = await this.#policies.recall(cid, () =>
      readDocument(store, cid, parsePolicy, signal),
    );
    const model = models.find(({ name }) => name === policy.model);
    if (model === undefined) throw new Refusal('the model has no price here');
    const pricePerTokenWei = parseWei(model.pricePerTokenWei);
    if (pricePerTokenWei > parseWei(policy.priceCeilingWei)) {
      throw new Refusal('the price is above the ceiling of the session');
    }
    return { policy, pricePerTokenWei };
  }
}
