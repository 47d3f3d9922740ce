/**
 * Attestation: a request names what shall be signed and where the evidence lies; the oracle looks
 * for itself, and signs only what it has found. One function a kind of request.
 */
import { scoreLeaf, merkleRoot } from '../../adapters/chain/merkle.js';
import { scoresHashOf } from '../../adapters/chain/pack-scores.js';
import { recoverSigner, signMessage } from '../../adapters/chain/sign.js';
import { digestOf } from '../../adapters/ipfs/cid.js';
import type { AttestationAnswer, AttestationRequest } from '../../domain/api.js';
import type { EpochEvidence, NodeHealth } from '../../domain/health.js';
import { sameAddress, type Address, type Cid } from '../../domain/ids.js';
import { NODE_KINDS, type NodeKind, type NodeStatus } from '../../domain/node.js';
import { checkEpoch, scoreEpoch } from './epoch.js';
import { Memory } from './memory.js';
import type { Finding, OracleDeps } from './ports.js';
import { asRefusal, Refusal } from './refusal.js';
import { readDocument, ResultReader } from './results.js';
import { parseEpochEvidence } from './schema.js';
import { TermsReader } from './session-terms.js';
import { BatchChecker } from './settle.js';

/** How the committee lets nodes into the pool; other kinds are a pool's own decision. */
const ENTRY_KIND: NodeKind = 'Ephemeral';
/** Epochs whose scores are remembered: each is asked for again to jail and to release. */
const MAX_EPOCHS = 64;

type Of<K extends AttestationRequest['kind']> = Extract<AttestationRequest, { kind: K }>;

interface NodeRequest {
  readonly node: Address;
  readonly evidenceCid: Cid;
}

interface ScoredEpoch {
  readonly evidence: EpochEvidence;
  readonly scores: readonly NodeHealth[];
}

export class Attester {
  readonly results: ResultReader;
  readonly #deps: OracleDeps;
  readonly #batches: BatchChecker;
  readonly #epochs = new Memory<ScoredEpoch>(MAX_EPOCHS);

  constructor(deps: OracleDeps) {
    this.#deps = deps;
    this.results = new ResultReader(deps);
    this.#batches = new BatchChecker({
      ...deps,
      results: this.results,
      terms: new TermsReader(deps),
    });
  }

  /** Answers `POST /v1/attest`.
   * @throws EngineError — the oracle could not look; nothing is said about the evidence. */
  async attest(request: AttestationRequest, signal: AbortSignal): Promise<AttestationAnswer> {
    const { wallet, log } = this.#deps;
    const oracle = wallet.address as Address;
    try {
      const { type, domain, value } = await this.#find(request, signal);
      const signature = await signMessage(wallet, type, domain, value);
      log('info', 'attestation signed', { kind: request.kind });
      return { signed: true, oracle, signature };
    } catch (error) {
      const refusal = asRefusal(error);
      if (refusal === undefined) throw error;
      const { message: reason, disputed, missing } = refusal;
      log('warn', 'attestation refused', {
        kind: request.kind,
        reason,
        disputed: disputed.length,
        missing: missing.length,
      });
      return { signed: false, oracle, reason, disputed, missing };
    }
  }

  /** Scores an epoch's evidence, checked first.
   * @throws Refusal — the evidence does not hold. */
  score(evidenceCid: Cid, signal: AbortSignal): Promise<ScoredEpoch> {
    return this.#epochs.recall(evidenceCid, async () => {
      const { store, models, domains, embedder } = this.#deps;
      const evidence = await readDocument(store, evidenceCid, parseEpochEvidence, signal);
      await checkEpoch(evidence, { models, domain: domains.sessionPayment });
      return { evidence, scores: await scoreEpoch(evidence, (texts) => embedder.embed(texts)) };
    });
  }

  #find(request: AttestationRequest, signal: AbortSignal): Promise<Finding> {
    switch (request.kind) {
      case 'settle':
        return this.#batches.check(request.batchCid, signal);
      case 'close-session':
        return this.#closeSession(request);
      case 'withdraw-deposit':
        return this.#withdrawDeposit(request);
      case 'report-epoch':
        return this.#reportEpoch(request, signal);
      case 'admit-node':
        return this.#admitNode(request, signal);
      case 'jail-node':
      case 'release-node':
        return this.#moveNode(request, signal);
      case 'enter-pool':
        return this.#enterPool(request, signal);
      case 'leave-pool':
        return this.#leavePool(request, signal);
    }
  }

  async #closeSession({ sessionId, chargedWei }: Of<'close-session'>): Promise<Finding> {
    const session = await this.#deps.chain.readSession(sessionId);
    if (session === null) throw new Refusal('the session is not on chain');
    if (session.chargedWei !== BigInt(chargedWei)) {
      throw new Refusal('the session was charged otherwise');
    }
    const value = { sessionId, charged: chargedWei };
    return { type: 'CloseSession', domain: this.#deps.domains.sessionPayment, value };
  }

  /** What is free the session's workflow knows; that the owner wants it back, and that it is there,
   * is seen here. */
  async #withdrawDeposit(request: Of<'withdraw-deposit'>): Promise<Finding> {
    const { sessionId, amountWei, reference, signature } = request;
    const { chain, domains } = this.#deps;
    const session = await chain.readSession(sessionId);
    if (session === null) throw new Refusal('the session is not on chain');
    if (session.heldWei < BigInt(amountWei)) throw new Refusal('the session holds less');
    const domain = domains.sessionPayment;
    const value = { sessionId, amount: amountWei, reference };
    const signer = recoverSigner('WithdrawDeposit', domain, value, signature);
    if (!sameAddress(signer, session.owner)) throw new Refusal('the owner has not signed');
    return { type: 'WithdrawDeposit', domain, value };
  }

  async #reportEpoch({ evidenceCid }: Of<'report-epoch'>, signal: AbortSignal): Promise<Finding> {
    const { evidence, scores } = await this.score(evidenceCid, signal);
    if (evidence.epoch === 0) throw new Refusal('an admission is no epoch');
    for (const { miner } of scores)
      await this.#requireMiner(miner, ['Active', 'Jailed', 'Exiting']);
    return {
      type: 'ReportEpoch',
      domain: this.#deps.domains.healthLedger,
      value: {
        epoch: evidence.epoch,
        root: merkleRoot(scores.map(scoreLeaf)),
        scoresHash: scoresHashOf(scores),
        evidence: digestOf(evidenceCid),
      },
    };
  }

  async #admitNode({ node, evidenceCid }: NodeRequest, signal: AbortSignal): Promise<Finding> {
    await this.#requireMiner(node, ['Pending', 'Active']);
    await this.#requireAssessment(node, evidenceCid, signal);
    const value = { node, evidence: digestOf(evidenceCid) };
    return { type: 'AdmitNode', domain: this.#deps.domains.nodeRegistry, value };
  }

  async #moveNode(
    { kind, node, epoch, evidenceCid }: Of<'jail-node' | 'release-node'>,
    signal: AbortSignal,
  ): Promise<Finding> {
    const { evidence } = await this.score(evidenceCid, signal);
    if (evidence.epoch !== epoch) throw new Refusal('the evidence is of another epoch');
    const health = await this.#healthOf(node, evidenceCid, signal);
    if (health.isHealthy !== (kind === 'release-node')) {
      throw new Refusal(`the node scored ${health.scoreBps} basis points`);
    }
    const type = kind === 'jail-node' ? 'JailNode' : 'ReleaseNode';
    const value = { node, epoch, evidence: digestOf(evidenceCid) };
    return { type, domain: this.#deps.domains.nodeRegistry, value };
  }

  async #enterPool({ node, evidenceCid }: NodeRequest, signal: AbortSignal): Promise<Finding> {
    await this.#requireMiner(node, ['Pending', 'Active']);
    const { evidence } = await this.score(evidenceCid, signal);
    if (evidence.epoch === 0) await this.#requireAssessment(node, evidenceCid, signal);
    else if (!(await this.#healthOf(node, evidenceCid, signal)).isHealthy) {
      throw new Refusal('the node is not healthy');
    }
    const value = { node, kind: NODE_KINDS.indexOf(ENTRY_KIND), evidence: digestOf(evidenceCid) };
    return { type: 'EnterPool', domain: this.#deps.domains.nodePool, value };
  }

  async #leavePool({ node, evidenceCid }: NodeRequest, signal: AbortSignal): Promise<Finding> {
    const registered = await this.#deps.chain.readNode(node);
    const mayWork = registered?.status === 'Active' || registered?.status === 'Pending';
    if (mayWork && (await this.#healthOf(node, evidenceCid, signal)).isHealthy) {
      throw new Refusal('the node is healthy');
    }
    const value = { node, evidence: digestOf(evidenceCid) };
    return { type: 'LeavePool', domain: this.#deps.domains.nodePool, value };
  }

  /** An assessment is of this node alone, and every question of it was answered. */
  async #requireAssessment(node: Address, evidenceCid: Cid, signal: AbortSignal): Promise<void> {
    const { evidence } = await this.score(evidenceCid, signal);
    const [miner] = evidence.miners;
    if (evidence.epoch !== 0 || !sameAddress(miner ?? '', node)) {
      throw new Refusal('the assessment is of another node');
    }
    if (evidence.answers.length !== evidence.probes.length) {
      throw new Refusal('the node left questions unanswered');
    }
  }

  async #healthOf(node: Address, evidenceCid: Cid, signal: AbortSignal): Promise<NodeHealth> {
    const { scores } = await this.score(evidenceCid, signal);
    const health = scores.find(({ miner }) => sameAddress(miner, node));
    if (health === undefined) throw new Refusal('the evidence is not about this node');
    return health;
  }

  async #requireMiner(address: Address, statuses: readonly NodeStatus[]): Promise<void> {
    const node = await this.#deps.chain.readNode(address);
    if (node === null || node.role !== 'miner' || !statuses.includes(node.status)) {
      throw new Refusal(`${address} is not a miner of the network`);
    }
  }
}
