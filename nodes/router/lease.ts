/** The router's activities: the lease of a session, and what only the owner of the miners' sockets
 * can do. They run on a Temporal worker inside the router's process. */
import { setTimeout as delay } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import type { RouterActivities } from '../../domain/lease.js';
import type { MinerHub } from './hub.js';
import { runProbes, type ProbeDeps } from './probes.js';
import type { SessionHost } from './session-host.js';
import type { Sessions } from './sessions.js';

const HEARTBEAT_MS = 1_000;
/** A session without tasks for so long is given back; its next request claims it again. */
const IDLE_LEASE_MS = 60_000;
/** A lease that ends gives its running tasks so long. */
export const DRAIN_MS = 15_000;

/** Makes the activities for the router's own task queue, and for the one that routers share. */
export function createRouterActivities(
  deps: ProbeDeps & {
    readonly sessions: Sessions;
    readonly hub: MinerHub;
    /** Whether the router is being stopped. */
    readonly isStopping: () => boolean;
  },
): RouterActivities {
  return {
    async holdLease(lease) {
      const context = Context.current();
      const stop = heartbeat(context);
      try {
        const host = await deps.sessions.open(lease);
        try {
          // Cancelled when the workflow lets go, the worker shuts down, or the server gave us up: a
          // new holder may be at work then, and both may finish a task, which is recorded once.
          await Promise.race([context.cancelled, idleness(host, context.cancellationSignal)]);
        } catch (error) {
          if (!deps.isStopping()) throw error;
          // The next router takes new requests at once; these tasks end here.
          return { leaving: host.openTaskIds.map((taskId) => ({ taskId, forMs: DRAIN_MS })) };
        } finally {
          const released = deps.sessions.release(host, DRAIN_MS);
          if (!deps.isStopping()) await released;
        }
        return null;
      } finally {
        stop();
      }
    },
    async rewrapKeyring({ sessionId, keyring, readers }) {
      return await deps.sessions.rewrap(sessionId, keyring, readers);
    },
    async runProbes(input) {
      const context = Context.current();
      const stop = heartbeat(context);
      try {
        return await runProbes(input, deps, context.cancellationSignal);
      } finally {
        stop();
      }
    },
  };
}

/** Resolves when the session has had no task for a while. */
async function idleness(host: SessionHost, signal: AbortSignal): Promise<void> {
  while (host.idleMs < IDLE_LEASE_MS) {
    await delay(IDLE_LEASE_MS - host.idleMs, undefined, { signal, ref: false });
  }
}

function heartbeat(context: Context): () => void {
  context.heartbeat();
  const timer = setInterval(() => context.heartbeat(), HEARTBEAT_MS);
  return () => clearInterval(timer);
}
