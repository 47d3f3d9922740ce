/** Heartbeats of work that has no steps to beat at. */
import { Context } from '@temporalio/activity';

/** A third of the silence after which workflows/activities.ts counts an activity as lost. */
const BEAT_MS = 3_000;

/** Heartbeats, with nothing in it, while a longer piece of work is under way.
 * @param context - of the activity that does it. */
export async function beatingWhile<T>(
  work: () => Promise<T>,
  context: Pick<Context, 'heartbeat'> = Context.current(),
): Promise<T> {
  const timer = setInterval(() => context.heartbeat(), BEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
