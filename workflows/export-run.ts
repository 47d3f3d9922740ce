/** What one run of an export knows; export-session.ts is the order in which it acts on it. */
import type { ExportPage } from '../activities/database.js';
import type { RetryPolicies } from '../domain/config.js';
import {
  EXPORT_START,
  type ExportAsk,
  type ExportCursor,
  type ExportMode,
  type ExportReceipt,
  type ExportState,
  type ExportVerification,
  type ExportView,
  type RemovalReceipt,
} from '../domain/export.js';
import type { SessionId } from '../domain/ids.js';

/** What a run hands to the next one of its export. */
export interface CarriedExport {
  readonly view: ExportView;
  readonly cursor: ExportCursor;
  readonly mark: string;
  readonly isPrepared: boolean;
  readonly isCaughtUp: boolean;
  readonly isPaused: boolean;
  readonly isStopped: boolean;
  readonly removing: string | null;
  readonly verifying: string | null;
  readonly failures: number;
  readonly failingSinceMs: number | null;
}

/** Stands for the order that a start in mode `verify` or `remove` is. */
const START_ID = 'start';

export class ExportRun {
  readonly sessionId: SessionId;
  readonly sink: string;
  readonly mode: ExportMode;
  readonly retries: RetryPolicies;
  cursor: ExportCursor;
  mark: string;
  isPrepared: boolean;
  /** Nothing is due, as the session was when it was last read. */
  isCaughtUp: boolean;
  isSessionEnded = false;
  isPaused: boolean;
  isStopped: boolean;
  /** Taken by this run; every one wakes it. */
  orders = 0;
  isOver = false;
  /** Ids of the orders that are to be carried out. */
  removing: string | null;
  verifying: string | null;
  /** In a row. */
  failures: number;
  #failingSinceMs: number | null;
  #waiting: 'WaitingForSink' | 'WaitingForCredentials' | null = null;
  #view: ExportView;

  constructor(input: {
    readonly sessionId: SessionId;
    readonly sink: string;
    readonly mode: ExportMode;
    readonly retries: RetryPolicies;
    readonly carried?: CarriedExport;
  }) {
    const { sessionId, sink, mode, retries, carried } = input;
    this.sessionId = sessionId;
    this.sink = sink;
    this.mode = mode;
    this.retries = retries;
    this.cursor = carried?.cursor ?? EXPORT_START;
    this.mark = carried?.mark ?? '';
    this.isPrepared = carried?.isPrepared ?? false;
    // To follow is to ask first what the session is like, and then for what is due.
    this.isCaughtUp = carried?.isCaughtUp ?? mode === 'follow';
    this.isPaused = carried?.isPaused ?? false;
    this.isStopped = carried?.isStopped ?? false;
    this.removing = carried?.removing ?? (mode === 'remove' ? START_ID : null);
    this.verifying = carried?.verifying ?? (mode === 'verify' ? START_ID : null);
    this.failures = carried?.failures ?? 0;
    this.#failingSinceMs = carried?.failingSinceMs ?? null;
    this.#view = carried?.view ?? {
      sessionId,
      sink,
      mode,
      state: 'Running',
      lastError: null,
      retryAtMs: null,
      tasks: 0,
      rows: 0,
      lag: 0,
      receipt: null,
      removal: null,
      verification: null,
      answered: null,
    };
  }

  get hasSideTask(): boolean {
    return this.removing !== null || this.verifying !== null;
  }

  get failingMs(): number {
    return this.#failingSinceMs === null ? 0 : Date.now() - this.#failingSinceMs;
  }

  view(): ExportView {
    return { ...this.#view, state: this.#state() };
  }

  #state(): ExportState {
    if (this.isOver || this.#view.state === 'Failed') return this.#view.state;
    if (this.isPaused && !this.hasSideTask) return 'Paused';
    if (this.#waiting !== null) return this.#waiting;
    const isWatching = this.mode === 'follow' && this.isCaughtUp && this.isPrepared;
    return isWatching && !this.hasSideTask && this.mark !== '' ? 'Following' : 'Running';
  }

  take({ order, id }: ExportAsk): void {
    this.orders++;
    switch (order) {
      case 'pause':
        this.isPaused = true;
        break;
      case 'resume':
        this.isPaused = false;
        break;
      case 'retry':
        break; // To be woken is all it takes.
      case 'stop':
        this.isStopped = true;
        break;
      case 'verify':
        this.verifying = id;
        break;
      case 'remove':
        this.removing = id;
        break;
    }
  }

  notePage({ next, isMore, isEnded, tasks, rows, lag }: ExportPage): void {
    this.cursor = next;
    this.isCaughtUp = !isMore;
    this.isSessionEnded = isEnded;
    const { tasks: tasksBefore, rows: rowsBefore } = this.#view;
    this.#set({ tasks: tasksBefore + tasks, rows: rowsBefore + rows, lag });
  }

  /** The session is another than before: its pages are asked for again. */
  noteMark(mark: string): void {
    this.isCaughtUp = mark === this.mark;
    this.mark = mark;
  }

  noteReceipt(receipt: ExportReceipt): void {
    this.#set({ receipt });
    if (!this.hasSideTask) this.end('Done');
  }

  noteVerification(asked: string, verification: ExportVerification): void {
    if (this.verifying === asked) this.verifying = null;
    this.#set({ verification, answered: asked });
    if (this.mode === 'verify' && !this.hasSideTask) this.end('Done');
  }

  noteRemoval(asked: string, removal: RemovalReceipt): void {
    if (this.removing === asked) this.removing = null;
    this.#set({ removal, receipt: null, answered: asked });
    if (this.removing === null) this.end('Done');
  }

  noteSuccess(): void {
    this.failures = 0;
    this.#failingSinceMs = null;
    this.#waiting = null;
    this.#set({ lastError: null, retryAtMs: null });
  }

  /** @param pauseMs - until the next try; `null` when it waits to be told. */
  noteFailure(code: string, pauseMs: number | null, isSinkAway: boolean): void {
    this.failures++;
    this.#failingSinceMs ??= Date.now();
    this.#waiting =
      pauseMs === null ? 'WaitingForCredentials' : isSinkAway ? 'WaitingForSink' : null;
    const retryAtMs = pauseMs === null ? null : Date.now() + pauseMs;
    this.#set({ lastError: code, retryAtMs });
  }

  noteRetry(): void {
    this.#waiting = null;
    this.#set({ retryAtMs: null });
  }

  fail(code: string): void {
    this.#set({ state: 'Failed', lastError: code, retryAtMs: null });
  }

  end(state: 'Done' | 'Stopped'): void {
    this.isOver = true;
    this.#set({ state });
  }

  carry(): { readonly carried: CarriedExport } {
    const { cursor, mark, isPrepared, isCaughtUp, isPaused, isStopped } = this;
    return {
      carried: {
        view: this.#view,
        cursor,
        mark,
        isPrepared,
        isCaughtUp: isCaughtUp && !this.isSessionEnded,
        isPaused,
        isStopped,
        removing: this.removing,
        verifying: this.verifying,
        failures: this.failures,
        failingSinceMs: this.#failingSinceMs,
      },
    };
  }

  #set(changes: Partial<ExportView>): void {
    this.#view = { ...this.#view, ...changes };
  }
}
