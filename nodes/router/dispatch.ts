/** Who is asked next, out of the miners that a session has reserved. */
import { sameAddress, type Address } from '../../domain/ids.js';
import type { ModelFeature } from '../../domain/features.js';
import type { ReservedMiner } from '../../domain/session.js';
import type { MinerLink } from './socket.js';
import type { TrackRecord } from './track-record.js';

/** Conversations of a session whose leads are remembered. */
const MAX_CONVERSATIONS = 1_000;

/** A session's choice of miners. A conversation keeps to the miner that led it while that one has
 * room, because a backend that saw its start answers sooner; but not to one that failed lately or is
 * much slower than the others. Measured speed and load decide among the rest, and whoever failed
 * lately comes last. The same measurements make the same choice. */
export class Dispatch {
  readonly #reserved: readonly ReservedMiner[];
  readonly #model: string;
  readonly #find: (address: Address) => MinerLink | undefined;
  readonly #track: TrackRecord;
  readonly #leads = new Map<string, Address>();

  constructor(
    reserved: readonly ReservedMiner[],
    model: string,
    find: (address: Address) => MinerLink | undefined,
    track: TrackRecord,
  ) {
    this.#reserved = reserved;
    this.#model = model;
    this.#find = find;
    this.#track = track;
  }

  /** Reserved miners that could be asked now.
   * @param features - what they must support. */
  available(features: readonly ModelFeature[]): number {
    return this.#candidates(new Set(), features).length;
  }

  /** Reserved miners that are not connected: of them, nobody knows what they support. */
  get absent(): number {
    return this.#reserved.filter(({ address }) => this.#find(address) === undefined).length;
  }

  /** @param asked - addresses in lower case.
   * @param conversation - its name within the session.
   * @param features - what the miner must support. */
  next(
    asked: ReadonlySet<string>,
    conversation: string,
    features: readonly ModelFeature[] = [],
  ): MinerLink | undefined {
    const candidates = this.#candidates(asked, features);
    const lead = this.#leads.get(conversation);
    const leading = candidates.find((c) => lead !== undefined && sameAddress(c.address, lead));
    if (
      leading !== undefined &&
      leading.load < leading.capacity &&
      this.#canLead(leading.address)
    ) {
      return leading;
    }
    const expected = this.#track.expectedMs(candidates.map((c) => c.address));
    return candidates
      .map((link, i) => ({
        link,
        penalty: this.#track.penaltyOf(link.address),
        costMs: (expected[i] ?? 1) * (1 + link.load / link.capacity),
      }))
      .sort((a, b) => a.penalty - b.penalty || a.costMs - b.costMs)[0]?.link;
  }

  mayCome(asked: ReadonlySet<string>): boolean {
    return this.#reserved.some((miner) => !asked.has(miner.address.toLowerCase()));
  }

  /** Remembers who leads a conversation; another one takes its place once it is gone, or no good. */
  lead(miner: Address, conversation: string): void {
    const lead = this.#leads.get(conversation);
    const isKept = lead !== undefined && this.#find(lead) !== undefined && this.#canLead(lead);
    this.#leads.delete(conversation);
    this.#leads.set(conversation, isKept ? lead : miner);
    if (this.#leads.size <= MAX_CONVERSATIONS) return;
    for (const oldest of this.#leads.keys()) {
      this.#leads.delete(oldest);
      return;
    }
  }

  #canLead(miner: Address): boolean {
    if (this.#track.penaltyOf(miner) > 0) return false;
    const others = this.#candidates(new Set([miner.toLowerCase()]), []).map((c) => c.address);
    return !this.#track.isSlow(miner, others);
  }

  #candidates(asked: ReadonlySet<string>, features: readonly ModelFeature[]): MinerLink[] {
    return this.#reserved
      .filter((miner) => !asked.has(miner.address.toLowerCase()))
      .map((miner) => this.#find(miner.address))
      .filter((link) => link !== undefined)
      .filter((link) => link.models.includes(this.#model))
      .filter((link) => features.every((f) => link.features[this.#model]?.includes(f) === true));
  }
}
