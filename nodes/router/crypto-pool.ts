/**
 * Signatures and age files off the event loop: recovering a signer or sealing for rest takes
 * milliseconds, which every other client's next token would wait behind.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { MessageType, SigningDomain } from '../../domain/attestation.js';
import { EngineError, type ErrorCode } from '../../domain/errors.js';
import type { Address, Hex } from '../../domain/ids.js';

/** A signature, and what it is said to be over. */
export interface SignatureCheck {
  readonly type: MessageType;
  readonly domain: SigningDomain;
  readonly value: Readonly<Record<string, string | number | bigint>>;
  readonly signature: Hex;
  /** Who is said to have made it: one that was seen before is checked in a quarter of the time. */
  readonly signer?: Address;
}

export type CryptoJob =
  | { readonly kind: 'recover'; readonly checks: readonly SignatureCheck[] }
  | { readonly kind: 'seal'; readonly bytes: Uint8Array; readonly recipients: readonly string[] };
export type CryptoAnswer =
  | { readonly id: number; readonly result: Uint8Array | readonly Address[] }
  | { readonly id: number; readonly code: ErrorCode };

/** More threads than this would take cores from what they relieve. */
const MAX_THREADS = 2;

interface Waiting {
  readonly resolve: (result: Uint8Array | readonly Address[]) => void;
  readonly reject: (error: EngineError) => void;
}
interface Thread {
  readonly worker: Worker;
  readonly waiting: Map<number, Waiting>;
}

/** A few threads, started with the pool; one that dies is replaced. */
export class CryptoPool {
  readonly #threads: Thread[] = [];
  #nextId = 0;
  #isClosed = false;

  constructor() {
    const count = Math.min(MAX_THREADS, Math.max(1, availableParallelism() - 1));
    for (let i = 0; i < count; i++) this.#threads.push(this.#start());
  }

  /** Recovers the signers of messages, in order.
   * @throws SIGNATURE_INVALID — one of the signatures is nobody's. */
  async recover(checks: readonly SignatureCheck[]): Promise<readonly Address[]> {
    return (await this.#run({ kind: 'recover', checks })) as readonly Address[];
  }

  /** Seals bytes as an age file.
   * @throws as `sealAtRest` of adapters/seal. */
  async seal(bytes: Uint8Array, recipients: readonly string[]): Promise<Uint8Array> {
    return (await this.#run({ kind: 'seal', bytes, recipients })) as Uint8Array;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  #run(job: CryptoJob): Promise<Uint8Array | readonly Address[]> {
    const [thread] = [...this.#threads].sort((a, b) => a.waiting.size - b.waiting.size);
    return new Promise((resolve, reject) => {
      if (thread === undefined) return reject(new EngineError('INTERNAL'));
      const id = this.#nextId++;
      thread.waiting.set(id, { resolve, reject });
      thread.worker.postMessage({ id, job });
    });
  }

  #start(): Thread {
    const worker = new Worker(new URL('./crypto-worker.js', import.meta.url));
    const thread: Thread = { worker, waiting: new Map() };
    worker.unref();
    worker.on('message', (answer: CryptoAnswer) => {
      const waiting = thread.waiting.get(answer.id);
      thread.waiting.delete(answer.id);
      if ('code' in answer) waiting?.reject(new EngineError(answer.code));
      else waiting?.resolve(answer.result);
    });
    // An error ends the thread, and `exit` follows.
    worker.on('error', () => undefined);
    worker.on('exit', () => {
      for (const { reject } of thread.waiting.values()) reject(new EngineError('INTERNAL'));
      const index = this.#threads.indexOf(thread);
      if (!this.#isClosed && index >= 0) this.#threads[index] = this.#start();
    });
    return thread;
  }
}
