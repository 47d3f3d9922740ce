/**
 * Heartbeats of activities that wait for one answer and so have no steps to beat at. Without them the
 * work of a worker that was killed is begun again only when the time of the whole attempt is over.
 */
import type { Context } from '@temporalio/activity';
import type { ActivityInterceptors } from '@temporalio/worker';

/** Well below the heartbeat timeouts of workflows/activities.ts. */
const BEAT_MS = 3_000;

/** Beats while the activity runs; for those that keep nothing in their heartbeats. */
export function beating(context: Pick<Context, 'heartbeat'>): ActivityInterceptors {
  return {
    inbound: {
      async execute(input, next) {
        const timer = setInterval(() => context.heartbeat(), BEAT_MS);
        try {
          return await next(input);
        } finally {
          clearInterval(timer);
        }
      },
    },
  };
}
