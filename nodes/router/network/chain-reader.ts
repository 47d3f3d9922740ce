/**
 * The network as the chains have it, for who asks a router: miners with their standing, and epochs
 * with their reports. Documents behind it are read by CID and hashed again. Reads are shared and
 * have a deadline, so that asking often costs the chains nothing.
 */
import PQueue from 'p-queue';
import type { HealthChain, PublishedEpoch } from '../../../adapters/chain/health.js';
import type { OnboardingChain } from '../../../adapters/chain/registry.js';
import { getJson, type BlockStore } from '../../../adapters/ipfs/block-store.js';
import type { EpochInfo, EpochSummary, MinerInfo } from '../../../domain/api.js';
import { deadlineIn } from '../../../domain/deadline.js';
import { EngineError, findEngineError } from '../../../domain/errors.js';
import { measuredSpeeds, type EpochEvidence } from '../../../domain/health.js';
import { sameAddress, type Cid } from '../../../domain/ids.js';
import {
  parseMinerMetadata,
  type MinerMetadata,
  type RegisteredNode,
} from '../../../domain/node.js';
import { Cached, within } from './cached.js';

/** A miner as it stands, whether it is connected or not. */
export type MinerStanding = Omit<MinerInfo, 'isConnected' | 'capacity' | 'load' | 'sessions'>;

/** What a router tells of the network. All methods throw CHAIN_UNREACHABLE, also for no answer in
 * time. */
export interface NetworkReader {
  /** All registered miners, at most some seconds old. */
  miners(): Promise<readonly MinerStanding[]>;
  /** Reported epochs, the newest first.
   * @param range - `before`: only older ones than this; `limit`: so many at most. */
  epochs(range: {
    readonly before: number | null;
    readonly limit: number;
  }): Promise<readonly EpochSummary[]>;
  /** @throws EPOCH_NOT_FOUND */
  epoch(epoch: number): Promise<EpochInfo>;
}

export interface NetworkReaderDeps {
  readonly onboarding: Pick<OnboardingChain, 'listNodes'>;
  readonly health: Pick<HealthChain, 'readLastEpoch' | 'readEpoch' | 'readPoolKind'>;
  readonly blockStore: BlockStore;
}

const MINERS_FRESH_MS = 10_000;
const LAST_EPOCH_FRESH_MS = 2_000;
const CHAIN_MS = 20_000;
const DOCUMENT_MS = 5_000;
const READS_AT_ONCE = 8;
/** Epochs and documents that are remembered: neither ever changes. */
const REMEMBERED = 1_000;

export function openNetworkReader(deps: NetworkReaderDeps): NetworkReader {
  const { onboarding, health, blockStore } = deps;
  const queue = new PQueue({ concurrency: READS_AT_ONCE });
  const reports = new Map<number, PublishedEpoch>();
  const documents = new Map<Cid, unknown>();
  const lastEpoch = new Cached(() => inTime(health.readLastEpoch()), LAST_EPOCH_FRESH_MS);
  const standings = new Cached(() => inTime(readMiners()), MINERS_FRESH_MS);

  async function document<T>(cid: Cid, parse: (value: unknown) => T): Promise<T> {
    if (documents.has(cid)) return documents.get(cid) as T;
    const signal = deadlineIn(DOCUMENT_MS);
    const read = () => getJson(blockStore, cid, parse, { signal });
    // Its own deadline aborts a read with a reason that is not the engine's.
    const value = await queue.add(read).catch((cause: unknown) => {
      throw findEngineError(cause) ?? new EngineError('IPFS_UNREACHABLE', {}, { cause });
    });
    remember(documents, cid, value);
    return value;
  }

  async function report(epoch: number): Promise<PublishedEpoch | null> {
    const known = reports.get(epoch);
    if (known !== undefined) return known;
    const published = await queue.add(() => health.readEpoch(epoch));
    if (published !== null) remember(reports, epoch, published);
    return published;
  }

  async function readMiners(): Promise<readonly MinerStanding[]> {
    const [nodes, number] = await Promise.all([onboarding.listNodes('miner'), lastEpoch.get()]);
    const epoch = number === 0 ? null : await report(number);
    const evidence = epoch === null ? null : await documentOrNull(epoch.evidenceCid, asEvidence);
    const speeds = evidence === null ? new Map<string, number>() : measuredSpeeds(evidence);
    return Promise.all(nodes.map((node) => standingOf(node, epoch, speeds)));
  }

  async function standingOf(
    { address, status, stakeWei, metadataCid }: RegisteredNode,
    epoch: PublishedEpoch | null,
    speeds: ReadonlyMap<string, number>,
  ): Promise<MinerStanding> {
    const [kind, metadata] = await Promise.all([
      queue.add(() => health.readPoolKind(address)),
      documentOrNull<MinerMetadata>(metadataCid, parseMinerMetadata),
    ]);
    const score = epoch?.scores.find(({ miner }) => sameAddress(miner, address));
    return {
      miner: address,
      models: metadata?.models ?? [],
      status,
      stakeWei: stakeWei.toString(),
      kind,
      scoreBps: score?.scoreBps ?? null,
      level: score?.level ?? null,
      tokensPerSecond: speeds.get(address.toLowerCase()) ?? null,
      pricePerTokenWei: metadata?.pricePerTokenWei ?? null,
    };
  }

  /** What a miner says of itself is worth showing where it can be had, and holds nothing up. */
  function documentOrNull<T>(cid: Cid, parse: (value: unknown) => T): Promise<T | null> {
    return document(cid, parse).catch(() => null);
  }

  return {
    miners: () => standings.get(),

    async epochs({ before, limit }) {
      const last = await lastEpoch.get();
      const newest = before === null ? last : Math.min(last, before - 1);
      const numbers = Array.from({ length: Math.min(limit, newest) }, (_, i) => newest - i);
      const found = await inTime(Promise.all(numbers.map(report)));
      return found.filter((epoch) => epoch !== null).map(summaryOf);
    },

    async epoch(epoch) {
      const published = await inTime(report(epoch));
      if (published === null) throw new EngineError('EPOCH_NOT_FOUND', { epoch });
      const evidence = await document(published.evidenceCid, asEvidence).catch(
        (error: unknown) => findEngineError(error)?.code ?? 'INTERNAL',
      );
      return infoOf(published, evidence);
    },
  };
}

function inTime<T>(work: Promise<T>): Promise<T> {
  const reason = 'no answer in time';
  return within(CHAIN_MS, work, () => new EngineError('CHAIN_UNREACHABLE', { reason }));
}

function remember<K, V>(known: Map<K, V>, key: K, value: V): void {
  if (known.size >= REMEMBERED) known.clear();
  known.set(key, value);
}

/** The committee has parsed and checked it before it signed for its CID. */
function asEvidence(value: unknown): EpochEvidence {
  return value as EpochEvidence;
}

function summaryOf({ epoch, root, reportTx, evidenceCid, scores }: PublishedEpoch): EpochSummary {
  return { epoch, root, reportTx, evidenceCid, miners: scores.length };
}

/** @param evidence - or the code of why it could not be read. */
function infoOf(published: PublishedEpoch, evidence: EpochEvidence | string): EpochInfo {
  const isRead = typeof evidence !== 'string';
  const speeds = isRead ? measuredSpeeds(evidence) : new Map<string, number>();
  return {
    ...summaryOf(published),
    probes: isRead ? evidence.probes.length : null,
    evidenceError: isRead ? null : evidence,
    scores: published.scores.map(({ miner, scoreBps, level }) => ({
      miner,
      scoreBps,
      level,
      answered: isRead
        ? evidence.answers.filter((answer) => sameAddress(answer.miner, miner)).length
        : null,
      tokensPerSecond: speeds.get(miner.toLowerCase()) ?? null,
    })),
  };
}
