/**
 * The outbox: sends transactions so that one intent is one transaction, whoever crashes when. A nonce
 * is reserved in PostgreSQL under the intent's key after a successful simulation; the signed bytes
 * are stored before they are broadcast; and whatever happens then, the same bytes are sent again.
 *
 *   simulate → [lock signer · reserve nonce · sign · store] → broadcast → mined → final | reverted
 *
 * Many processes may share one signer and one database.
 */
import type { BaseWallet, JsonRpcProvider, TransactionReceipt } from 'ethers';
import PQueue from 'p-queue';
import type pg from 'pg';
import type { LayerName } from '../../domain/config.js';
import { anyOf, deadlineIn } from '../../domain/deadline.js';
import { EngineError } from '../../domain/errors.js';
import type { Hex } from '../../domain/ids.js';
import { ChainAccount } from './account.js';
import { findByNonce } from './displacement.js';
import { findRow, highestNonces, markFinal, type OutboxRow } from './outbox-store.js';
import { explainRevert, findReceipt, summarise, type ReceiptSummary } from './receipt.js';
import { bumpStuck, hand, reconcileChain } from './reconcile.js';
import { hashIntent, renew, reserve, type Intent } from './reservation.js';
import { ChainWatch, type ChainView } from './watch.js';

export type { Intent } from './reservation.js';
export type { ReceiptSummary } from './receipt.js';

export interface OutboxLayer {
  readonly provider: JsonRpcProvider;
  readonly chainId: number;
  /** Blocks on top of a receipt's before it is final. */
  readonly confirmations: number;
  readonly wallet: Pick<BaseWallet, 'address' | 'signingKey'>;
}

export interface OutboxDeps {
  readonly pool: pg.Pool;
  /** The layers that this process sends on. */
  readonly layers: Readonly<Partial<Record<LayerName, OutboxLayer>>>;
  /** Age at which the transaction that others wait for gets a higher fee. @default 45_000 */
  readonly bumpAfterMs?: number;
}

export interface ConfirmOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called at every look at the chain, at least every second: for heartbeats. */
  readonly onPoll?: (() => void) | undefined;
}

/** Limit for one `confirm`; the transaction lives on, and a later call goes on waiting. */
const CONFIRM_TIMEOUT_MS = 600_000;
/** Pause after which a transaction that is not mined is looked after: sent again, gaps filled. */
const MEND_EVERY_MS = 1_000;
/** Pause after which a receipt is asked for again that should be there: nodes count before they index. */
const RECEIPT_RETRY_MS = 50;
/** Receipts asked for at once. */
const MAX_RECEIPT_CALLS = 8;
/** New intents simulated at once, so that a burst does not take all connections of the database. */
const MAX_SIMULATIONS = 16;

interface Layer extends Pick<OutboxLayer, 'confirmations'> {
  readonly name: LayerName;
  readonly account: ChainAccount;
  readonly watch: ChainWatch;
  /** One at a time in this process: the others would hold a connection each to wait for one lock. */
  readonly reservations: PQueue;
  mending: Promise<void> | null;
}

export class Outbox {
  readonly #pool: pg.Pool;
  readonly #layers = new Map<LayerName, Layer>();
  readonly #bumpAfterMs: number;
  readonly #simulations = new PQueue({ concurrency: MAX_SIMULATIONS });
  readonly #receiptCalls = new PQueue({ concurrency: MAX_RECEIPT_CALLS });

  constructor(deps: OutboxDeps) {
    this.#pool = deps.pool;
    this.#bumpAfterMs = deps.bumpAfterMs ?? 45_000;
    for (const [name, { provider, chainId, confirmations, wallet }] of Object.entries(
      deps.layers,
    ) as [LayerName, OutboxLayer][]) {
      const account = new ChainAccount(provider, chainId, wallet);
      const watch = new ChainWatch(provider, account.address, () => {
        // Waiters see the outcome by themselves; what fails here fails for them too, or passes.
        this.#mend(layer).catch(() => {});
      });
      const reservations = new PQueue({ concurrency: 1 });
      const layer: Layer = { name, account, watch, confirmations, reservations, mending: null };
      this.#layers.set(name, layer);
    }
  }

  /**
   * Sends a transaction once; a repeated call with the same key sends nothing new.
   * @returns the hash it was last signed with; a later fee bump changes it.
   * @throws TRANSACTION_REVERTED — the simulation reverted; no nonce was used.
   * @throws IDEMPOTENCY_CONFLICT — the key belongs to another transaction.
   * @throws TRANSACTION_PENDING — the node does not take it for now; call again.
   * @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH, DATABASE_UNREACHABLE, DATABASE_REFUSED
   */
  async send(intent: Intent): Promise<{ readonly hash: Hex }> {
    const layer = this.#layer(intent.layer);
    const row =
      (await findRow(this.#pool, intent.key)) ??
      (await this.#simulations.add(() => this.#simulateAndReserve(layer, intent)));
    if (row.intentHash !== hashIntent(layer.account.chainId, intent)) {
      throw new EngineError('IDEMPOTENCY_CONFLICT', { key: intent.key });
    }
    const { attempts } = row.state === 'signed' ? await hand(this.#pool, layer.account, row) : row;
    return { hash: attempts.at(-1)?.hash ?? '0x' };
  }

  async #simulateAndReserve(layer: Layer, intent: Intent): Promise<OutboxRow> {
    const { account } = layer;
    const [fees, highest, known] = await Promise.all([
      account.suggestFees(),
      highestNonces(this.#pool, account.chainId, account.address),
      account.provider.getTransactionCount(account.address, 'pending'),
    ]);
    let pending = known;
    if (pending <= highest.final) {
      // The chain has forgotten what was final: it must have that back before anything new.
      await reconcileChain(this.#pool, account, layer.name);
      pending = await account.provider.getTransactionCount(account.address, 'pending');
    }
    const gasLimit = await account.simulate(intent, fees);
    const terms = { pending, gasLimit, fees };
    return await layer.reservations.add(() => reserve(this.#pool, account, intent, terms));
  }

  /**
   * Waits until a transaction that was sent is final, and keeps it alive meanwhile.
   * @throws TRANSACTION_REVERTED — it is mined and had no effect; final.
   * @throws TRANSACTION_PENDING — not final in ten minutes; call again.
   * @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH, DATABASE_UNREACHABLE, DATABASE_REFUSED; the signal's
   *   reason when it aborts.
   */
  async confirm(key: string, options: ConfirmOptions = {}): Promise<ReceiptSummary> {
    const timeout = deadlineIn(CONFIRM_TIMEOUT_MS);
    const signal = anyOf(timeout, options.signal);
    try {
      return await this.#confirm(key, signal, options.onPoll ?? (() => {}));
    } catch (error) {
      if (!timeout.aborted || error !== timeout.reason) throw error;
      throw new EngineError('TRANSACTION_PENDING', { key }, { cause: error });
    }
  }

  async #confirm(key: string, signal: AbortSignal, onPoll: () => void): Promise<ReceiptSummary> {
    let row = await this.#row(key);
    const layer = this.#layer(row.layer);
    const { account, watch } = layer;
    if (row.state === 'signed') row = await hand(this.#pool, account, row);
    let mendAtMs = row.blockNumber === null ? Date.now() + MEND_EVERY_MS : 0;
    let view: ChainView | undefined;
    let withinMs = MEND_EVERY_MS;
    for (;;) {
      view = await watch.next(view, { signal, withinMs });
      withinMs = MEND_EVERY_MS;
      onPoll();
      const isDue = Date.now() >= mendAtMs;
      if (isDue) mendAtMs = Date.now() + MEND_EVERY_MS;
      if (view.mined <= row.nonce) {
        if (!isDue) continue;
        await this.#mend(layer);
        row = await this.#row(key);
        continue;
      }
      const receipt = await this.#receipt(account, row);
      if (receipt !== null) {
        const isDeep = receipt.blockNumber + layer.confirmations <= view.head;
        if (isDeep) return await this.#finish(account, row, receipt);
        continue;
      }
      withinMs = RECEIPT_RETRY_MS;
      row = await this.#row(key); // Perhaps it was mined under a hash that another process signed.
      if (isDue) row = await this.#replaceDisplaced(layer, row, view.head);
    }
  }

  /** `send`, then `confirm`. */
  async execute(intent: Intent, options: ConfirmOptions = {}): Promise<ReceiptSummary> {
    await this.send(intent);
    return await this.confirm(intent.key, options);
  }

  /**
   * Sends again everything that the layer's chain does not have; called at every start. Sends and
   * confirmations do the same by themselves when they find the chain behind.
   * @returns how many transactions were handed to the node.
   * @throws TRANSACTION_PENDING — the node refused one for now; the others were sent all the same.
   * @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH, DATABASE_UNREACHABLE, DATABASE_REFUSED
   */
  async reconcile(name: LayerName): Promise<{ readonly rebroadcast: number }> {
    const { account } = this.#layer(name);
    return { rebroadcast: await reconcileChain(this.#pool, account, name) };
  }

  /** Looks after a signer's line, once for all that wait in it. A refusal of the node is not an error
   * here: it is tried again for as long as somebody waits. */
  async #mend(layer: Layer): Promise<void> {
    layer.mending ??= (async () => {
      try {
        await reconcileChain(this.#pool, layer.account, layer.name);
        await bumpStuck(this.#pool, layer.account, this.#bumpAfterMs);
      } catch (error) {
        if (!(error instanceof EngineError) || error.code !== 'TRANSACTION_PENDING') throw error;
      } finally {
        layer.mending = null;
      }
    })();
    await layer.mending;
  }

  async #receipt(account: ChainAccount, row: OutboxRow): Promise<TransactionReceipt | null> {
    return await this.#receiptCalls.add(() => findReceipt(account.provider, row));
  }

  async #finish(
    account: ChainAccount,
    row: OutboxRow,
    receipt: TransactionReceipt,
  ): Promise<ReceiptSummary> {
    const isReverted = receipt.status !== 1;
    const isKnown =
      row.blockNumber === receipt.blockNumber && (row.state === 'reverted') === isReverted;
    const known = isKnown ? row.revert : null;
    const revert = isReverted
      ? (known ?? (await explainRevert(account.provider, row, receipt)))
      : null;
    if (!isKnown) await markFinal(this.#pool, row.key, receipt.blockNumber, revert);
    if (revert !== null) {
      throw new EngineError('TRANSACTION_REVERTED', { ...revert, hash: receipt.hash });
    }
    return summarise(row, receipt);
  }

  /** Where somebody else's transaction demonstrably took the nonce, sends the intent on a new one. */
  async #replaceDisplaced(layer: Layer, row: OutboxRow, head: number): Promise<OutboxRow> {
    const { account } = layer;
    const hash = await findByNonce(account.provider, row, head - layer.confirmations);
    const isForeign = hash !== null && row.attempts.every((attempt) => attempt.hash !== hash);
    if (!isForeign || row.signer !== account.address) return row;
    return await hand(this.#pool, account, await renew(this.#pool, account, row));
  }

  async #row(key: string): Promise<OutboxRow> {
    const row = await findRow(this.#pool, key);
    if (row === null)
      throw new EngineError('INVARIANT_BROKEN', { what: 'confirm before send', key });
    return row;
  }

  #layer(name: LayerName): Layer {
    const layer = this.#layers.get(name);
    if (layer === undefined) {
      throw new EngineError('CONFIG_INVALID', { what: 'layer of the outbox', layer: name });
    }
    return layer;
  }
}
