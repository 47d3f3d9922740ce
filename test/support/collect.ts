/** Collecting garbage when a test says so. */
import { setImmediate as tick } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
/** Collects what nothing holds at this moment. */
export const collect = runInNewContext('gc') as () => void;

/** Bytes of buffers that something holds: garbage that waits to be collected is not counted. */
export async function heldBytes(): Promise<number> {
  await collectGarbage();
  return process.memoryUsage().arrayBuffers;
}

/** Collects all that nothing holds, what only finalizers and weak references know of included. */
export async function collectGarbage(): Promise<void> {
  for (let n = 0; n < 4; n++) {
    await tick();
    collect();
  }
}
