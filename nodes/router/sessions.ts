/** The sessions whose leases this router holds, and who holds those that it does not. */
import { setTimeout as delay } from 'node:timers/promises';
import { openKeyring, wrapKeyring } from '../../adapters/seal/keyring.js';
import { sessionHolder } from '../../domain/content.js';
import { deadlineIn } from '../../domain/deadline.js';
import { EngineError } from '../../domain/errors.js';
import { TASK_QUEUES, type SessionId } from '../../domain/ids.js';
import type { ClaimTerms, LeaseInput } from '../../domain/lease.js';
import { isClientSealed, type KeyringRef, type Reader } from '../../domain/sealing.js';
import { isReachable, KnownHolders, parsePeer, type Held, type Peer } from './peers.js';
import { SessionHost } from './session-host.js';
import { openKeys } from './session-keys.js';
import type { ServiceDeps, SessionKeys } from './task-service.js';
import { TrackRecord } from './track-record.js';

/** A claimed lease is here in a moment, unless its last holder has just died. */
const LEASE_WAIT_MS = 8_000;
const KEYRING_MS = 30_000;
/** From one look for the holder of a lease that has just moved to the next. */
const LOOK_MS = 100;

export interface SessionsDeps extends Omit<ServiceDeps, 'track'> {
  /** The router's age identity: a reader of keyrings at level `link`. */
  readonly identity: string;
  readonly routerId: string;
  /** Of this router's own activities: leases are claimed for it. */
  readonly taskQueue: string;
}

/** A session that another router serves, which is asked in this one's place. */
export class HeldElsewhere extends EngineError {
  readonly sessionId: SessionId;
  readonly held: Held;

  constructor(sessionId: SessionId, held: Held) {
    super('ROUTER_LEASE_LOST', { sessionId });
    this.sessionId = sessionId;
    this.held = held;
  }
}

export class Sessions {
  readonly #deps: SessionsDeps;
  readonly #track = new TrackRecord();
  readonly #hosts = new Map<SessionId, SessionHost>();
  readonly #arrivals = new Set<() => void>();
  readonly #holders = new KnownHolders();
  /** This router as others know it; `null` until it listens. */
  #self: Peer | null = null;
  #isStopping = false;

  constructor(deps: SessionsDeps) {
    this.#deps = deps;
  }

  /** Starts to serve a session. Called when its lease was obtained.
   * @throws SEAL_NOT_RECIPIENT — the keyring of level `link` is not wrapped for this router.
   * @throws as `BlockStore.get` — the keyring could not be read. */
  async open(lease: LeaseInput): Promise<SessionHost> {
    const keys = await this.#openKeys(lease);
    // A lease that was lost, or renewed, and came back here: what is under way goes on.
    // Without a pause between the two, or a request that came then would be sent away.
    const former = this.#hosts.get(lease.sessionId);
    const host = new SessionHost(lease, keys, { ...this.#deps, track: this.#track }, former);
    this.#hosts.set(lease.sessionId, host);
    this.#holders.forget(lease.sessionId);
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
  async rewrap(
    sessionId: SessionId,
    keyring: KeyringRef,
    readers: readonly Reader[],
  ): Promise<KeyringRef> {
    const { blockStore, identity } = this.#deps;
    const signal = deadlineIn(KEYRING_MS);
    const keys = await openKeyring(await blockStore.get(keyring.cid, { signal }), identity);
    const file = await wrapKeyring(
      keys,
      readers.map((reader) => reader.recipient),
    );
    const hold = { holder: sessionHolder(sessionId), isKey: true };
    return { recipient: keyring.recipient, cid: await blockStore.put(file, { ...hold, signal }) };
  }

  all(): readonly SessionHost[] {
    return [...this.#hosts.values()];
  }

  /** Says how other routers know this one. Called when it listens. */
  listenAs(self: Peer): void {
    this.#self = self;
  }

  /** Claims nothing any more. Called before the leases are given back. */
  stop(): void {
    this.#isStopping = true;
  }

  /** A session that this router serves now, or finishes what it has of it. */
  find(sessionId: SessionId): SessionHost | undefined {
    return this.#hosts.get(sessionId);
  }

  /** Finds the session of a request.
   * @throws SESSION_NOT_FOUND — it was never opened.
   * @throws SESSION_NOT_OPEN — it takes no requests in its state.
   * @throws SESSION_BUSY — its policy is being changed.
   * @throws HeldElsewhere — it is open, and another router holds it.
   * @throws ROUTER_LEASE_LOST — it is open, and nobody came to hold it in time. */
  async require(sessionId: SessionId): Promise<SessionHost> {
    const known = this.#serving(sessionId) === undefined && this.#holders.find(sessionId);
    if (known) throw new HeldElsewhere(sessionId, known);
    return await this.#obtain(sessionId, { isPatient: true });
  }

  /** Finds the session of a request once more, when the router that held it did not answer for it.
   * @param miss - `moved`: it said that it does not serve it; `gone`: it has died; `away`: it could not
   *   be reached, which is no proof: a session is taken from it only while it has no task.
   * @throws as `require` */
  async retake(
    sessionId: SessionId,
    held: Held | null,
    miss: 'moved' | 'gone' | 'away',
  ): Promise<SessionHost> {
    this.#holders.forget(sessionId);
    if (miss === 'gone' && held !== null)
      return await this.#obtain(sessionId, { gone: held.number });
    return await this.#obtain(sessionId, miss === 'away' ? {} : { isPatient: true });
  }

  /** Who held a session elsewhere when it was last looked for. */
  holderOf(sessionId: SessionId): Held | null {
    return this.#holders.find(sessionId) ?? null;
  }

  async #obtain(sessionId: SessionId, terms: ClaimTerms): Promise<SessionHost> {
    const here = this.#serving(sessionId) ?? (await this.#claim(sessionId, terms));
    here.touch();
    return here;
  }

  #serving(sessionId: SessionId): SessionHost | undefined {
    const host = this.#hosts.get(sessionId);
    return host?.isDraining === true ? undefined : host;
  }

  async #claim(sessionId: SessionId, first: ClaimTerms): Promise<SessionHost> {
    const { gateway, taskQueue, routerId, identity } = this.#deps;
    const { state } = await gateway.view(sessionId);
    if (state === 'Changing') throw new EngineError('SESSION_BUSY', { sessionId });
    if (state !== 'Open') throw new EngineError('SESSION_NOT_OPEN', { sessionId, state });
    const arrival = this.#arrival(sessionId);
    let terms = first;
    for (const deadline = Date.now() + LEASE_WAIT_MS; Date.now() < deadline;) {
      // Who is being stopped asks for any other router.
      const queue = this.#isStopping ? TASK_QUEUES.routers : taskQueue;
      const { holder, number } = await gateway.claimLease(sessionId, queue, terms);
      if (holder === taskQueue) {
        const host = await arrival;
        if (host === undefined) break;
        return host;
      }
      const name = await gateway.leaseHolder(sessionId);
      const host = this.#serving(sessionId);
      if (host !== undefined) return host;
      const peer = name === null ? null : parsePeer(name, identity);
      terms = { isPatient: true };
      if (peer !== null && peer.routerId !== routerId) {
        const { url, machine } = peer;
        // This is where it was: a process before this one.
        const isGone = url === this.#self?.url && machine === this.#self.machine;
        if (isGone) terms = { gone: number };
        else if (!isReachable(peer)) terms = {};
        else {
          const held = { peer, number };
          this.#holders.note(sessionId, held);
          throw new HeldElsewhere(sessionId, held);
        }
      }
      await delay(LOOK_MS);
    }
    throw new EngineError('ROUTER_LEASE_LOST', { sessionId });
  }

  #arrival(sessionId: SessionId): Promise<SessionHost | undefined> {
    return new Promise((resolve) => {
      const settle = (host: SessionHost | undefined) => {
        clearTimeout(timer);
        this.#arrivals.delete(check);
        resolve(host);
      };
      const check = () => {
        const host = this.#serving(sessionId);
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
    const { blockStore, identity } = this.#deps;
    if (level === 'open') {
      const grant = { sessionId, level, keyring: null };
      return { grant, ...(await openKeys(sessionId, null, identity)) };
    }
    if (keyring === null) throw new EngineError('INVARIANT_BROKEN', { what: 'a keyring' });
    const signal = deadlineIn(KEYRING_MS);
    const file = await blockStore.get(keyring.cid, { signal });
    const grant = { sessionId, level, keyring: Buffer.from(file).toString('base64') };
    if (isClientSealed(level)) return { grant, channel: null, identity: null };
    return { grant, ...(await openKeys(sessionId, file, identity)) };
  }
}
