/** Runs several Temporal workers as one thing: they end together, in an orderly way. */
import type { Worker } from '@temporalio/worker';

export interface RunningWorkers {
  /** Resolves when all have ended; rejects when one fails. */
  readonly done: Promise<void>;
  /** Takes no new work, lets what runs finish within the grace, and resolves when all have ended. */
  stop(): Promise<void>;
}

export function runWorkers(workers: readonly Worker[], close: () => Promise<void>): RunningWorkers {
  const done = Promise.all(workers.map((worker) => worker.run())).then(close);
  const stop = async (): Promise<void> => {
    for (const worker of workers) {
      if (worker.getState() === 'RUNNING') worker.shutdown();
    }
    await done;
  };
  // A worker that fails ends the process; whoever awaits `done` learns why.
  done.catch(() => {});
  return { done, stop };
}
