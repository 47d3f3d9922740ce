/**
 * Several Kubo nodes that hold the same blocks. A block counts as written once enough of them have
 * proven that they hold it; a read goes on to the next node when one is away, slow or wrong.
 */
import { setTimeout } from 'node:timers/promises';
import { anyOf } from '../../domain/deadline.js';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import type { BlockStore, CallOptions } from './block-store.js';
import { cidOf } from './cid.js';
import type { KuboNode } from './kubo.js';

/** Milliseconds for which a node that did not answer is asked last. */
const AWAY_MS = 5_000;
/** Longest time that one node is waited for before the next is asked as well. */
const HEDGE_MS = 500;

/** Opens the nodes as one store.
 * @param nodes - in order of preference, at least one.
 * @param options - `minReplicas`: nodes that must have proven a write, at most as many as there are;
 *   the others are written to as well, and repaired where that fails. `timeoutMs`: of one call.
 * @throws CONFIG_INVALID — fewer nodes than `minReplicas`. */
export function openReplicas(
  nodes: readonly KuboNode[],
  options: { readonly minReplicas: number; readonly timeoutMs: number },
): BlockStore {
  const { minReplicas, timeoutMs } = options;
  if (minReplicas > nodes.length) {
    throw new EngineError('CONFIG_INVALID', {
      path: 'ipfs.minReplicas',
      expected: `at most the number of nodes, ${nodes.length}`,
    });
  }
  const awayUntil = new Map<KuboNode, number>();
  const isAway = (node: KuboNode) => (awayUntil.get(node) ?? 0) > performance.now();
  const noted = async <T>(node: KuboNode, call: Promise<T>): Promise<T> => {
    try {
      return await call;
    } catch (error) {
      if (codeOf(error) === 'IPFS_UNREACHABLE') awayUntil.set(node, performance.now() + AWAY_MS);
      throw error;
    }
  };

  return {
    async put(bytes, call = {}) {
      const cid = cidOf(bytes, call.codec);
      const prove = async (node: KuboNode): Promise<void> => {
        await node.put(bytes, call);
        const [isPinned, size] = await Promise.all([
          node.isPinned(cid, call),
          node.sizeOf(cid, call),
        ]);
        if (!isPinned || size !== bytes.length) {
          throw new EngineError('IPFS_UNREACHABLE', { reason: 'not held after the write', cid });
        }
      };
      const present = nodes.filter((node) => !isAway(node));
      // Who is away delays nobody, unless there are not enough others.
      const asked = present.length >= minReplicas ? present : nodes;
      const writes = asked.map((node) => noted(node, prove(node)));
      await settled(writes, minReplicas, call);
      return cid;
    },

    async get(cid, call = {}) {
      const order = [...nodes].sort((a, b) => Number(isAway(a)) - Number(isAway(b)));
      const hedgeMs = Math.min(HEDGE_MS, timeoutMs / 4);
      const enough = new AbortController();
      const signal = anyOf(enough.signal, call.signal);
      try {
        return await first(order, hedgeMs, (node) =>
          noted(node, node.get(cid, { ...call, signal })),
        );
      } catch (error) {
        call.signal?.throwIfAborted();
        throw error;
      } finally {
        enough.abort();
      }
    },

    async unpin(cid: Cid, call: CallOptions = {}) {
      // All of them: what one node keeps, a repair would bring back to the others.
      await settled(
        nodes.map((node) => noted(node, node.unpin(cid, call))),
        nodes.length,
        call,
      );
    },

    async remove(cid: Cid, call: CallOptions = {}) {
      await settled(
        nodes.map((node) => noted(node, node.remove(cid, call))),
        nodes.length,
        call,
      );
    },
  };
}

/** Waits until so many have succeeded, or too many have failed for that. The rest goes on.
 * @throws what weighs most of the failures. */
async function settled(
  calls: readonly Promise<unknown>[],
  enough: number,
  { signal }: CallOptions,
): Promise<void> {
  const errors: unknown[] = [];
  let succeeded = 0;
  await new Promise<void>((resolve, reject) => {
    for (const call of calls) {
      call.then(
        () => {
          if (++succeeded === enough) resolve();
        },
        (error: unknown) => {
          errors.push(error);
          if (calls.length - errors.length < enough) {
            reject(signal?.aborted ? signal.reason : heaviest(errors));
          }
        },
      );
    }
  });
}

/** Asks one after the other; the next already when one takes long. */
async function first<N, T>(
  nodes: readonly N[],
  hedgeMs: number,
  read: (node: N) => Promise<T>,
): Promise<T> {
  const errors: unknown[] = [];
  const waiting = [...nodes];
  const asked = new Map<N, Promise<Answer<N, T>>>();
  while (errors.length < nodes.length) {
    const node = waiting.shift();
    if (node !== undefined) asked.set(node, answerOf(node, read(node)));
    const late = new AbortController();
    const next = waiting.length === 0 ? [] : [setTimeout(hedgeMs, null, { signal: late.signal })];
    const timers = next.map((timer) => timer.catch(() => null));
    const answer = await Promise.race([...asked.values(), ...timers]);
    late.abort();
    if (answer === null) continue;
    if ('value' in answer) return answer.value;
    asked.delete(answer.from);
    errors.push(answer.error);
  }
  throw heaviest(errors);
}

type Answer<N, T> =
  | { readonly from: N; readonly value: T }
  | { readonly from: N; readonly error: unknown };

async function answerOf<N, T>(from: N, call: Promise<T>): Promise<Answer<N, T>> {
  try {
    return { from, value: await call };
  } catch (error) {
    return { from, error };
  }
}

/** A node that is away may have the block: then nobody may say that it is not there. */
function heaviest(errors: readonly unknown[]): unknown {
  const weight = (error: unknown) => {
    const code = codeOf(error);
    return code === 'IPFS_UNREACHABLE' ? 2 : code === 'CONTENT_MISSING' ? 0 : 1;
  };
  return [...errors].sort((a, b) => weight(b) - weight(a))[0];
}

function codeOf(error: unknown): string | undefined {
  return error instanceof EngineError ? error.code : undefined;
}
