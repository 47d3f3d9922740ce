/** Content that is larger than one block, and how what is stored is looked after. */
import type { Cid, SessionId } from './ids.js';
import type { SealingLevel } from './sealing.js';

/** Bytes by their address. */
export interface ContentRef {
  readonly cid: Cid;
  readonly bytes: number;
}

/** For whom the engine pins what is nobody's alone, and stays. */
export const ENGINE_HOLDER = 'engine';
/** For whom it pins documents and chunks of users' sources. */
export const SOURCES_HOLDER = 'sources';

/** For whom a session's keys and records are pinned. */
export function sessionHolder(sessionId: SessionId): string {
  return `session:${sessionId}`;
}

/** For whom the content of a session is pinned. Open sessions share theirs, and it stays. */
export function holderOf(sessionId: SessionId, level: SealingLevel): string {
  return level === 'open' ? ENGINE_HOLDER : sessionHolder(sessionId);
}

/** What a repair has found on the IPFS nodes of a deployment, and done about it. */
export interface RepairReport {
  /** Pins that were looked at. */
  readonly pins: number;
  /** Blocks that were read and hashed, once for each node. */
  readonly blocks: number;
  /** Of those, blocks that a node did not have. */
  readonly missing: number;
  /** Of those, blocks whose bytes were not theirs. */
  readonly corrupt: number;
  /** Blocks that were written again from another node. */
  readonly restored: number;
  /** Blocks that no node could give, or that a node did not take. */
  readonly lost: number;
  /** Nodes that did not answer, and were left out. */
  readonly away: number;
}

/** Parts that a repair is cut into, each an activity of its own. */
export const REPAIR_PARTS = 16;

/** Adds the reports of parts up; a node that was away in one part was away.
 * @returns of no parts: all zero. */
export function sumReports(parts: readonly RepairReport[]): RepairReport {
  const sum = (of: (part: RepairReport) => number) => parts.reduce((n, part) => n + of(part), 0);
  return {
    pins: sum((part) => part.pins),
    blocks: sum((part) => part.blocks),
    missing: sum((part) => part.missing),
    corrupt: sum((part) => part.corrupt),
    restored: sum((part) => part.restored),
    lost: sum((part) => part.lost),
    away: Math.max(0, ...parts.map((part) => part.away)),
  };
}
