/**
 * Repair: what one of several Kubo nodes has lost or damaged comes back from another. What should be
 * there is what any of them has pinned; what is there counts only once it was hashed.
 */
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import type { RepairReport } from '../../domain/content.js';
import type { CallOptions } from './block-store.js';
import { parseContentCid } from './cid.js';
import type { KuboNode } from './kubo.js';
import { linksOf } from './links.js';

export interface RepairOptions extends CallOptions {
  /** Which of `of` parts is looked at, from 0: pins by the first byte of their hash. */
  readonly part: number;
  readonly of: number;
  /** Called after each pin. */
  readonly onProgress?: (report: RepairReport) => void;
}

type Counts = { -readonly [K in keyof RepairReport]: RepairReport[K] };
type Held = 'whole' | 'missing' | 'corrupt';

/** Looks at one part of all pins, on every node, and restores what it can. Repeating it is harmless.
 * A node that is away is counted, and left for the next time.
 * @throws IPFS_UNREACHABLE — not one of the nodes answers. */
export async function repairNodes(
  nodes: readonly KuboNode[],
  options: RepairOptions,
): Promise<RepairReport> {
  const { signal, onProgress } = options;
  const call = signal === undefined ? {} : { signal };
  const { present, pins } = await pinsOf(nodes, options);
  const report: Counts = {
    pins: 0,
    blocks: 0,
    missing: 0,
    corrupt: 0,
    restored: 0,
    lost: 0,
    away: 0,
  };
  report.away = nodes.length - present.length;
  for (const cid of pins) {
    for (const node of present) {
      try {
        await repairPin(node, present, cid, report, call);
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof EngineError)) throw error;
        // Went away meanwhile, or will not let go of a damaged block: the next repair finds it again.
        report.lost++;
      }
    }
    report.pins++;
    onProgress?.(report);
  }
  return report;
}

async function pinsOf(
  nodes: readonly KuboNode[],
  { part, of, signal }: RepairOptions,
): Promise<{ readonly present: readonly KuboNode[]; readonly pins: ReadonlySet<Cid> }> {
  const pins = new Set<Cid>();
  const present: KuboNode[] = [];
  let reason: unknown;
  for (const node of nodes) {
    try {
      for await (const cid of node.pins(signal === undefined ? {} : { signal })) {
        if ((parseContentCid(cid).multihash.digest[0] ?? 0) % of === part) pins.add(cid);
      }
      present.push(node);
    } catch (error) {
      signal?.throwIfAborted();
      reason = error;
    }
  }
  if (present.length === 0) throw reason;
  return { present, pins };
}

/** Makes one node hold all that one pin holds. */
async function repairPin(
  node: KuboNode,
  nodes: readonly KuboNode[],
  root: Cid,
  report: Counts,
  call: CallOptions,
): Promise<void> {
  const others = nodes.filter((other) => other !== node);
  const corrupt: Cid[] = [];
  let isWhole = true;
  const seen = new Set<Cid>();
  const left = [root];
  for (let cid = left.pop(); cid !== undefined; cid = left.pop()) {
    if (seen.has(cid)) continue;
    seen.add(cid);
    report.blocks++;
    const found = await look(node, cid, call);
    const bytes = found.bytes ?? (await wholeFrom(others, cid, call));
    if (found.state !== 'whole') report[found.state]++;
    if (bytes === undefined) {
      report.lost++;
      isWhole = false;
      continue;
    }
    if (found.state === 'corrupt') corrupt.push(cid);
    if (found.state === 'missing') {
      if (!(await isWanted(nodes, root, call))) return;
      await node.rewrite(cid, bytes, call);
      report.restored++;
    }
    left.push(...linksOf(cid, bytes));
  }
  // A pin that could not come back would give what is left of it to garbage collection.
  if (!isWhole || !(await isWanted(nodes, root, call))) return;
  // Kubo lets go of no block that is pinned.
  if (corrupt.length > 0) await node.unpin(root, call);
  for (const cid of corrupt) {
    const bytes = await wholeFrom(others, cid, call);
    if (bytes === undefined) continue;
    await node.rewrite(cid, bytes, call);
    report.restored++;
  }
  if (corrupt.length > 0 || !(await node.isPinned(root, call))) await node.pin(root, call);
}

/** What nobody has pinned any more was given up meanwhile. */
async function isWanted(nodes: readonly KuboNode[], cid: Cid, call: CallOptions): Promise<boolean> {
  for (const node of nodes) if (await node.isPinned(cid, call)) return true;
  return false;
}

async function look(
  node: KuboNode,
  cid: Cid,
  call: CallOptions,
): Promise<{ readonly state: Held; readonly bytes?: Uint8Array }> {
  if ((await node.sizeOf(cid, call)) === null) return { state: 'missing' };
  try {
    return { state: 'whole', bytes: await node.get(cid, call) };
  } catch (error) {
    const code = error instanceof EngineError ? error.code : undefined;
    if (code === 'CONTENT_MISSING') return { state: 'missing' };
    if (code === 'CONTENT_MISMATCH' || code === 'CONTENT_TOO_LARGE') return { state: 'corrupt' };
    throw error;
  }
}

async function wholeFrom(
  nodes: readonly KuboNode[],
  cid: Cid,
  call: CallOptions,
): Promise<Uint8Array | undefined> {
  for (const node of nodes) {
    const { bytes } = await look(node, cid, call);
    if (bytes !== undefined) return bytes;
  }
  return undefined;
}
