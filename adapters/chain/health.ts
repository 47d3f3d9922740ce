/** The health layer: reports of epochs, and the pool of nodes that may be given work.
 * @see contracts/src/health/IHealthLedger.sol, INodePool.sol */
import { dataLength, dataSlice, getAddress, ZeroHash, type JsonRpcProvider } from 'ethers';
import { healthLedgerAbi, nodePoolAbi } from '../../contracts/abi.js';
import type { LayerConfig } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import type { NodeHealth } from '../../domain/health.js';
import type { Address, Cid, Hex } from '../../domain/ids.js';
import { NODE_KINDS, type NodeKind } from '../../domain/node.js';
import { cidOfDigest, digestOf } from '../ipfs/cid.js';
import { addressOf, BoundContract, type Write } from './contract.js';
import { merkleRoot, scoreLeaf } from './merkle.js';
import { packScores, sortScores } from './pack-scores.js';
import { member, type CommitteeDecision } from './registry.js';

/** A miner's score as it stands on chain. */
export type PublishedScore = Pick<NodeHealth, 'miner' | 'scoreBps' | 'level'>;

export interface PublishedEpoch {
  readonly epoch: number;
  readonly root: Hex;
  readonly evidenceCid: Cid;
  /** By ascending address. */
  readonly scores: readonly PublishedScore[];
  readonly reportTx: Hex;
}

/** 20 bytes address, 2 bytes score, 1 byte level. */
const SCORE_BYTES = 23;

/** Reads: @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH */
export class HealthChain {
  readonly healthLedger: Address;
  readonly nodePool: Address;
  readonly #ledger: BoundContract<typeof healthLedgerAbi>;
  readonly #pool: BoundContract<typeof nodePoolAbi>;

  /** @throws CONFIG_INVALID — `healthLedger` or `nodePool` is not configured. */
  constructor(provider: JsonRpcProvider, contracts: LayerConfig['contracts']) {
    this.healthLedger = addressOf(contracts, 'healthLedger');
    this.nodePool = addressOf(contracts, 'nodePool');
    this.#ledger = new BoundContract(provider, this.healthLedger, healthLedgerAbi);
    this.#pool = new BoundContract(provider, this.nodePool, nodePoolAbi);
  }

  /** Number of the last reported epoch; 0 before the first. */
  async readLastEpoch(): Promise<number> {
    const [epoch] = await this.#ledger.read('lastEpoch', []);
    return Number(epoch);
  }

  /** Reads an epoch's report. Scores come out of an event, and are believed only when they hash to
   * the root that the contract holds.
   * @returns `null` when the epoch has no report.
   * @throws CONTENT_MISMATCH — event and root differ. */
  async readEpoch(epoch: number): Promise<PublishedEpoch | null> {
    const [root, evidence] = await this.#ledger.read('reportOf', [BigInt(epoch)]);
    if (root === ZeroHash) return null;
    const event = await this.#ledger.findEvent('EpochReported', BigInt(epoch));
    const scores = event === null ? [] : unpackScores(event.args['scores'] as Hex);
    if (event === null || merkleRoot(scores.map(scoreLeaf)) !== root) {
      throw new EngineError('CONTENT_MISMATCH', { what: 'scores of an epoch', epoch });
    }
    const { transaction: reportTx } = event;
    return { epoch, root, evidenceCid: cidOfDigest(evidence), scores, reportTx };
  }

  /** `None` where the node is not in the pool. */
  async readPoolKind(node: Address): Promise<NodeKind> {
    const [kind] = await this.#pool.read('kindOf', [node]);
    return member(NODE_KINDS, kind, 'kind of a node');
  }

  /** Encodes an epoch's report, with the root that its scores hash to. */
  encodeReportEpoch(report: {
    readonly epoch: number;
    readonly scores: readonly PublishedScore[];
    readonly evidenceCid: Cid;
    readonly signatures: readonly Hex[];
  }): Write {
    const { epoch, scores, evidenceCid, signatures } = report;
    return this.#ledger.encode('reportEpoch', [
      BigInt(epoch),
      scoresRoot(scores),
      packScores(scores),
      digestOf(evidenceCid),
      signatures,
    ]);
  }

  encodeEnterPool(decision: CommitteeDecision & { readonly kind: NodeKind }): Write {
    const { node, kind, evidenceCid, signatures } = decision;
    const index = NODE_KINDS.indexOf(kind);
    return this.#pool.encode('enterPool', [node, index, digestOf(evidenceCid), signatures]);
  }

  encodeLeavePool({ node, evidenceCid, signatures }: CommitteeDecision): Write {
    return this.#pool.encode('leavePool', [node, digestOf(evidenceCid), signatures]);
  }
}

/** The root of an epoch's scores, whose leaves are in the order of their packing. */
export function scoresRoot(scores: readonly PublishedScore[]): Hex {
  return merkleRoot(sortScores(scores).map(scoreLeaf));
}

function unpackScores(packed: Hex): PublishedScore[] {
  return Array.from({ length: dataLength(packed) / SCORE_BYTES }, (_, i) => {
    const at = i * SCORE_BYTES;
    return {
      miner: getAddress(dataSlice(packed, at, at + 20)) as Address,
      scoreBps: Number(dataSlice(packed, at + 20, at + 22)),
      level: Number(dataSlice(packed, at + 22, at + 23)),
    };
  });
}
