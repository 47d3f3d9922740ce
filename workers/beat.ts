/**
 * Heartbeats of activities that wait for one answer. Without them the work of a worker that was killed
 * is begun again only when the time of the whole attempt is over.
 */
import type { Context } from '@temporalio/activity';
import type { ActivityInterceptors } from '@temporalio/worker';
import { beatingWhile } from '../activities/beat.js';

/** Beats while the activity runs; for those that keep nothing in their heartbeats. */
export function beating(context: Pick<Context, 'heartbeat'>): ActivityInterceptors {
  return {
    inbound: { execute: (input, next) => beatingWhile(() => next(input), context) },
  };
}
