/** Miners that may be chosen for a session, with what the choice depends on: registry, pool, the last
 * epoch's scores on chain and speeds in its evidence, and what each miner says of itself. */
import type { HealthChain, PublishedEpoch } from '../adapters/chain/health.js';
import type { OnboardingChain } from '../adapters/chain/registry.js';
import { EngineError, type ErrorCode } from '../domain/errors.js';
import { HEALTHY_SCORE_BPS, measuredSpeeds, type EpochEvidence } from '../domain/health.js';
import { sameAddress, type Cid } from '../domain/ids.js';
import {
  parseMinerMetadata,
  type Candidate,
  type MinerMetadata,
  type RegisteredNode,
} from '../domain/node.js';

/** What can be wrong with one document, as opposed to IPFS being away. */
const DOCUMENT_FAULTS: ReadonlySet<ErrorCode> = new Set([
  'REQUEST_INVALID',
  'CONTENT_MISSING',
  'CONTENT_MISMATCH',
  'CONTENT_TOO_LARGE',
]);

export interface CandidateDeps {
  readonly onboarding: Pick<OnboardingChain, 'listNodes'>;
  readonly health: Pick<HealthChain, 'readLastEpoch' | 'readEpoch' | 'readPoolKind'>;
  readonly readJson: <T>(cid: Cid, parse: (value: unknown) => T) => Promise<T>;
}

type Speeds = ReadonlyMap<string, number>;

/** Makes the reader of candidates; it remembers the speeds of the last epoch. */
export function createCandidateReader(
  deps: CandidateDeps,
): (model: string) => Promise<readonly Candidate[]> {
  const { onboarding, health, readJson } = deps;
  let measured: { readonly cid: Cid; readonly speeds: Speeds } | undefined;

  /** A document that cannot be had or read says nothing; it must not hold up the others. */
  async function readIfSound<T>(cid: Cid, parse: (value: unknown) => T): Promise<T | null> {
    try {
      return await readJson(cid, parse);
    } catch (error) {
      if (error instanceof EngineError && DOCUMENT_FAULTS.has(error.code)) return null;
      throw error;
    }
  }

  async function speedsOf({ evidenceCid: cid }: PublishedEpoch): Promise<Speeds> {
    if (measured?.cid === cid) return measured.speeds;
    // The committee has parsed and checked it before it signed for this CID.
    const evidence = await readIfSound(cid, (value) => value as EpochEvidence);
    if (evidence === null) return new Map();
    const speeds = measuredSpeeds(evidence);
    measured = { cid, speeds };
    return speeds;
  }

  async function candidateOf(
    miner: RegisteredNode,
    model: string,
    epoch: PublishedEpoch | null,
    speeds: Speeds,
  ): Promise<Candidate | null> {
    const { address, recipient, metadataCid } = miner;
    const kind = await health.readPoolKind(address);
    if (kind === 'None') return null;
    const metadata: MinerMetadata | null = await readIfSound(metadataCid, parseMinerMetadata);
    if (metadata === null || !metadata.models.includes(model)) return null;
    const score = epoch?.scores.find((s) => sameAddress(s.miner, address));
    // A miner that was never scored may work; one that was found wanting may not.
    if (score !== undefined && score.scoreBps < HEALTHY_SCORE_BPS) return null;
    return {
      address,
      recipient,
      models: metadata.models,
      scoreBps: score?.scoreBps ?? 0,
      level: score?.level ?? 0,
      kind,
      tokensPerSecond: speeds.get(address.toLowerCase()) ?? null,
      pricePerTokenWei: metadata.pricePerTokenWei ?? null,
    };
  }

  return async (model) => {
    const miners = await onboarding.listNodes('miner');
    const number = await health.readLastEpoch();
    const epoch = number === 0 ? null : await health.readEpoch(number);
    const speeds = epoch === null ? new Map<string, number>() : await speedsOf(epoch);
    const candidates = await Promise.all(
      miners
        .filter((miner) => miner.status === 'Active')
        .map((miner) => candidateOf(miner, model, epoch, speeds)),
    );
    return candidates.filter((candidate) => candidate !== null);
  };
}
