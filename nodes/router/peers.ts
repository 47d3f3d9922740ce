/**
 * The other routers of a deployment: who holds a session, and where that router is reached. A router
 * says so by the name of its Temporal workers, which anybody may read who asks for the activity that
 * is the lease; a proof under the routers' common secret keeps others from naming themselves there.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { hostname } from 'node:os';
import type { SessionId } from '../../domain/ids.js';

/** Sessions whose holder is remembered. */
const MAX_KNOWN = 10_000;

/** A router as others know it. */
export interface Peer {
  readonly routerId: string;
  /** Where other routers reach it. */
  readonly url: string;
  /** Name of its machine. */
  readonly machine: string;
}

/** Addresses that mean another machine on every machine. */
const LOOPBACK = /^(localhost|127\..*|\[::1\])$/;
const ANYWHERE: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** A router of this process.
 * @param at - where it listens, or what it is configured to be reached at. */
export function ownPeer(
  routerId: string,
  at: { readonly host: string; readonly port: number; readonly peerUrl: string | null },
): Peer {
  const machine = hostname();
  const host = ANYWHERE.has(at.host) ? machine : at.host;
  return { routerId, machine, url: at.peerUrl ?? `http://${host}:${at.port}` };
}

/** Whether a router's address means that router from here. */
export function isReachable({ url, machine }: Peer): boolean {
  return machine === hostname() || !LOOPBACK.test(new URL(url).hostname);
}

/** A session's lease with another router. */
export interface Held {
  readonly peer: Peer;
  /** Of the lease. */
  readonly number: number;
}

/** Names a router's workers, for `parsePeer`.
 * @param secret - what all routers of a deployment share, and nobody else knows. */
export function peerName(peer: Peer, secret: string): string {
  return `${peer.routerId} ${peer.url} ${peer.machine} ${proofOf(peer, secret)}`;
}

/** Reads the name of a router's workers; `null` where no router of this deployment wrote it. */
export function parsePeer(name: string, secret: string): Peer | null {
  const [routerId = '', url = '', machine = '', proof = ''] = name.split(' ');
  if (!URL.canParse(url)) return null;
  const peer = { routerId, url, machine };
  const given = Buffer.from(proof);
  const expected = Buffer.from(proofOf(peer, secret));
  const isProven = given.length === expected.length && timingSafeEqual(given, expected);
  return isProven ? peer : null;
}

function proofOf({ routerId, url, machine }: Peer, secret: string): string {
  const text = `router peer ${routerId} ${url} ${machine}`;
  return createHmac('sha256', secret).update(text).digest('hex');
}

/** Who held which session when it was last looked for. */
export class KnownHolders {
  readonly #holders = new Map<SessionId, Held>();

  find(sessionId: SessionId): Held | undefined {
    return this.#holders.get(sessionId);
  }

  note(sessionId: SessionId, held: Held): void {
    this.#holders.delete(sessionId);
    this.#holders.set(sessionId, held);
    if (this.#holders.size <= MAX_KNOWN) return;
    for (const oldest of this.#holders.keys()) {
      this.#holders.delete(oldest);
      return;
    }
  }

  forget(sessionId: SessionId): void {
    this.#holders.delete(sessionId);
  }
}
