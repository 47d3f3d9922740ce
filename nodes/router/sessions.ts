/** The sessions whose leases this router holds. */
import { openChannel } from '../../adapters/seal/channel.js';
import { openKeyring, wrapKeyring } from '../../adapters/seal/keyring.js';
import { EngineError } from '../../domain/errors.js';
import type { SessionId } from '../../domain/ids.js';
import type { LeaseInput } from '../../domain/lease.js';
import { isClientSealed, type KeyringRef, type Reader } from '../../domain/sealing.js';
import { SessionHost } from './session-host.js';
import type { ServiceDeps, SessionKeys } from './task-service.js';
import { TrackRecord } from './track-record.js';

/** A claimed lease is here in a moment, unless its last holder has just died. */
const LEASE_WAIT_MS = 8_000;
const KEYRING_MS = 30_000;

export interface SessionsDeps extends Omit<ServiceDeps, 'track'> {
  /** The router's age identity: a reader of keyrings at level `link`. */
  readonly identity: string;
  /** Of this router's own activities: leases are claimed for it. */
  readonly taskQueue: string;
}

export class Sessions {
  readonly #deps: SessionsDeps;
  readonly #track = new TrackRecord();
  readonly #hosts = new Map<SessionId, SessionHost>();
  readonly #arrivals = new Set<() => void>();

  constructor(deps: SessionsDeps) {
    this.#deps = deps;
  }

  /** Starts to serve a session. Called when its lease was obtained.
   * @throws SEAL_NOT_RECIPIENT — the keyring of level `link` is not wrapped for this router.
   * @throws as `BlockStore.get` — the keyring could not be read. */
  async open(lease: LeaseInput): Promise<SessionHost> {
    const keys = await this.#openKeys(lease);
    // A lease that was lost and came back here: its tasks are open tasks of the new one.
    // Without a pause between the two, or a request that came then would be sent away.
    this.#hosts.get(lease.sessionId)?.abandon();
    const host = new SessionHost(lease, keys, { ...this.#deps, track: this.#track });
    this.#hosts.set(lease.sessionId, host);
    for (const arrived of this.#arrivals) arrived();
    this.#deps.log('info', 'session leased', {
      sessionId: lease.sessionId,
      openTasks: lease.openTasks.length,
    });
    return host;
  }

  /** Stops to serve it, after its running tasks or the deadline. */
  async release(host: SessionHost, drainMs: number): Promise<void> {
    const { sessionId } = host.lease;
    // A session without tasks is gone at once: a request that comes now claims it anew.
    if (host.openTasks === 0) this.#forget(host);
    await host.drain(drainMs);
    this.#forget(host);
    this.#deps.log('info', 'session released', { sessionId });
  }

  #forget(host: SessionHost): void {
    const { sessionId } = host.lease;
    if (this.#hosts.get(sessionId) === host) this.#hosts.delete(sessionId);
  }

  /** Wraps a session's keys for other readers, at level `link`, where this router is one of them.
   * @throws SEAL_NOT_RECIPIENT, and as `BlockStore`. */
  async rewrap(keyring: KeyringRef, readers: readonly Reader[]): Promise<KeyringRef> {
    const { blockStore, identity } = this.#deps;
    const signal = AbortSignal.timeout(KEYRING_MS);
    const keys = await openKeyring(await blockStore.get(keyring.cid, { signal }), identity);
    const file = await wrapKeyring(
      keys,
      readers.map((reader) => reader.recipient),
    );
    return { recipient: keyring.recipient, cid: await blockStore.put(file, { signal }) };
  }

  all(): readonly SessionHost[] {
    return [...this.#hosts.values()];
  }

  /** A session that this router serves now. */
  find(sessionId: SessionId): SessionHost | undefined {
    return this.#hosts.get(sessionId);
  }

  /** Finds the session of a request.
   * @throws SESSION_NOT_FOUND — it was never opened.
   * @throws SESSION_NOT_OPEN — it takes no requests in its state.
   * @throws SESSION_BUSY — its policy is being changed.
   * @throws ROUTER_LEASE_LOST — it is open, and another router holds it. */
  async require(sessionId: SessionId): Promise<SessionHost> {
    const here = this.#hosts.get(sessionId) ?? (await this.#claim(sessionId));
    here.touch();
    return here;
  }

  async #claim(sessionId: SessionId): Promise<SessionHost> {
    const { gateway, taskQueue } = this.#deps;
    const { state } = await gateway.view(sessionId);
    if (state === 'Changing') throw new EngineError('SESSION_BUSY', { sessionId });
    if (state !== 'Open') throw new EngineError('SESSION_NOT_OPEN', { sessionId, state });
    const arrival = this.#arrival(sessionId);
    const { holder } = await gateway.claimLease(sessionId, taskQueue);
    const host = holder === taskQueue ? await arrival : this.#hosts.get(sessionId);
    if (host === undefined) throw new EngineError('ROUTER_LEASE_LOST', { sessionId });
    return host;
  }

  #arrival(sessionId: SessionId): Promise<SessionHost | undefined> {
    return new Promise((resolve) => {
      const settle = (host: SessionHost | undefined) => {
        clearTimeout(timer);
        this.#arrivals.delete(check);
        resolve(host);
      };
      const check = () => {
        const host = this.#hosts.get(sessionId);
        if (host !== undefined) settle(host);
      };
      const timer = setTimeout(() => settle(undefined), LEASE_WAIT_MS);
      timer.unref();
      this.#arrivals.add(check);
      check();
    });
  }

  async #openKeys(lease: LeaseInput): Promise<SessionKeys> {
    const { sessionId, keyring } = lease;
    const { level } = lease.policy;
    if (level === 'open') {
      const channel = await openChannel({ sessionId, channelKey: null });
      return { grant: { sessionId, level, keyring: null }, channel, identity: null };
    }
    if (keyring === null) throw new EngineError('INVARIANT_BROKEN', { what: 'a keyring' });
    const signal = AbortSignal.timeout(KEYRING_MS);
    const file = await this.#deps.blockStore.get(keyring.cid, { signal });
    const grant = { sessionId, level, keyring: Buffer.from(file).toString('base64') };
    if (isClientSealed(level)) return { grant, channel: null, identity: null };
    const { channelKey, identity } = await openKeyring(file, this.#deps.identity);
    return { grant, channel: await openChannel({ sessionId, channelKey }), identity };
  }
}
