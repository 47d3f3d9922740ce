/** Who is asked next, out of the miners that a session has reserved. */
import type { Address } from '../../domain/ids.js';
import type { ReservedMiner } from '../../domain/session.js';
import type { MinerLink } from './socket.js';

/** A session's choice of miners. It keeps to one primary while that one has room, because a backend
 * that saw the conversation's start answers sooner; else the least loaded miner is asked. */
export class Dispatch {
  readonly #reserved: readonly ReservedMiner[];
  readonly #model: string;
  readonly #find: (address: Address) => MinerLink | undefined;
  #primary: string | null = null;

  constructor(
    reserved: readonly ReservedMiner[],
    model: string,
    find: (address: Address) => MinerLink | undefined,
  ) {
    this.#reserved = reserved;
    this.#model = model;
    this.#find = find;
  }

  /** Reserved miners that could be asked now. */
  get available(): number {
    return this.#candidates(new Set()).length;
  }

  /** @param asked - addresses in lower case. */
  next(asked: ReadonlySet<string>): MinerLink | undefined {
    const candidates = this.#candidates(asked);
    const primary = candidates.find((c) => c.address.toLowerCase() === this.#primary);
    if (primary !== undefined && primary.load < primary.capacity) return primary;
    return candidates.sort((a, b) => a.load / a.capacity - b.load / b.capacity)[0];
  }

  mayCome(asked: ReadonlySet<string>): boolean {
    return this.#reserved.some((miner) => !asked.has(miner.address.toLowerCase()));
  }

  /** Remembers who leads; another one takes its place only once it is gone. */
  lead(miner: Address): void {
    const isGone = this.#primary === null || this.#find(this.#primary as Address) === undefined;
    if (isGone) this.#primary = miner.toLowerCase();
  }

  #candidates(asked: ReadonlySet<string>): MinerLink[] {
    return this.#reserved
      .filter((miner) => !asked.has(miner.address.toLowerCase()))
      .map((miner) => this.#find(miner.address))
      .filter((link) => link !== undefined)
      .filter((link) => link.models.includes(this.#model));
  }
}
