/**
 * Many tasks, one update: what a session's requests and outcomes travel to its workflow in. Temporal
 * takes ten updates of a workflow at a time and two thousand a run, hence a lane and batches.
 * @see https://docs.temporal.io/cloud/limits#per-workflow-execution-update-limits
 */
import { EngineError } from '../../domain/errors.js';
import { persist } from './retry.js';

const GATHER_MS = 3;
const MAX_IN_FLIGHT = 4;
const MAX_BATCH = 200;

/** The updates of one session that are under way, of all kinds together. */
export class UpdateLane {
  readonly #waiting: (() => void)[] = [];
  #inFlight = 0;

  async run<T>(update: () => Promise<T>): Promise<T> {
    // `while`: between being woken and running, another one may have taken the place.
    while (this.#inFlight >= MAX_IN_FLIGHT) {
      await new Promise<void>((wake) => this.#waiting.push(wake));
    }
    this.#inFlight++;
    try {
      return await update();
    } finally {
      this.#inFlight--;
      this.#waiting.shift()?.();
    }
  }
}

interface Waiting<T, A> {
  readonly item: T;
  readonly resolve: (answer: A) => void;
  readonly reject: (error: unknown) => void;
}

/** Gathers items and sends them as batches, each until it is answered or the lease is lost.
 * @typeParam T - what is sent. @typeParam A - its answer, in the order of the batch. */
export class Batcher<T, A> {
  readonly #send: (items: readonly T[]) => Promise<readonly A[]>;
  readonly #lane: UpdateLane;
  readonly #signal: AbortSignal;
  #gathered: Waiting<T, A>[] = [];
  #isFlushing = false;

  /** @param signal - aborted when the lease is lost: what is not answered then fails. */
  constructor(
    send: (items: readonly T[]) => Promise<readonly A[]>,
    lane: UpdateLane,
    signal: AbortSignal,
  ) {
    this.#send = send;
    this.#lane = lane;
    this.#signal = signal;
  }

  /** @throws EngineError — the update was refused for good.
   * @throws ROUTER_LEASE_LOST — no answer while the lease was held. */
  add(item: T): Promise<A> {
    return new Promise((resolve, reject) => {
      this.#gathered.push({ item, resolve, reject });
      if (!this.#isFlushing) {
        this.#isFlushing = true;
        setTimeout(() => this.#flush(), GATHER_MS);
      }
    });
  }

  #flush(): void {
    // The batch is taken when its turn comes, so whatever gathers behind a full lane goes along.
    void this.#lane.run(async () => {
      const batch = this.#gathered.splice(0, MAX_BATCH);
      if (this.#gathered.length > 0) setTimeout(() => this.#flush(), 0);
      else this.#isFlushing = false;
      await this.#deliver(batch);
    });
  }

  async #deliver(batch: readonly Waiting<T, A>[]): Promise<void> {
    const items = batch.map((waiting) => waiting.item);
    try {
      const answers = await persist(() => this.#send(items), this.#signal);
      batch.forEach((waiting, i) => {
        const answer = answers[i];
        if (answer !== undefined) waiting.resolve(answer);
        else waiting.reject(new EngineError('INVARIANT_BROKEN', { what: 'an answer per task' }));
      });
    } catch (error) {
      for (const waiting of batch) waiting.reject(error);
    }
  }
}
