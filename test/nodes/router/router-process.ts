/** A router with a slow miner in a process of its own, which stops as `cortensor router` does. */
import { setTimeout as delay } from 'node:timers/promises';
import { startWorld } from './support.js';

const FRAME_MS = 15;
const DRAIN_MS = 10_000;

const world = await startWorld([{ beforeFrame: () => delay(FRAME_MS) }], {
  policy: { level: 'open' },
});
process.once('SIGTERM', () => {
  void world.router
    .drain()
    .then(() => world.router.close(DRAIN_MS))
    .then(() => process.exit(0));
});
process.once('disconnect', () => process.exit(1));
process.send?.(world.router.url);
