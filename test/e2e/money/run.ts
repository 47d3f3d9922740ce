/** A run of the driver from its seed: the network comes up, the steps are taken, and the books are
 * looked at after each of them. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startWholeNetwork, type WholeNetwork } from '../../../bench/network/whole-network.js';
import { openBooks, type Books } from '../../../bench/network/books.js';
import { openUsers } from './clients.js';
import { drawSteps } from './draw.js';
import { Driver, EXIT_SECONDS } from './driver.js';
import { checkRecords, leave, transactionsInDoubt, untilNothingIsHeld } from './ending.js';
import { Tally } from './tally.js';

export interface RunOptions {
  readonly seed: string;
  readonly steps: number;
  /** Milliseconds after the last fault in which all money must be back. */
  readonly endMs: number;
  say(line: string): void;
}

export interface RunResult {
  /** What must not have happened, in words. */
  readonly findings: readonly string[];
  readonly counts: string;
  readonly acknowledged: number;
}

const CONFIG = `
router: { port: 0, firstToken: 2s }
settlement: { maxTasks: 20, maxAge: 2s }
models: [{ name: scripted, pricePerTokenWei: '1000000000000' }]
retries:
  chain: { maximumInterval: 2s }
  ipfs: { maximumInterval: 2s }
  oracle: { maximumInterval: 2s }
`;

/** Takes the steps of a seed.
 * @throws AssertionError — the books do not close after a step. */
export async function runDriver(options: RunOptions): Promise<RunResult> {
  const data = await mkdtemp(join(tmpdir(), 'cortensor-money-'));
  const config = `${data}.yaml`;
  await writeFile(config, CONFIG);
  let driver: Driver | undefined;
  let network: WholeNetwork | undefined;
  try {
    network = await startWholeNetwork({
      data,
      config,
      workers: 2,
      routers: 2,
      miners: [
        ['honest', 'honest'],
        ['honest', 'honest'],
        ['honest', 'canned', 'silent', 'mute', 'faithless', 'dropping'],
      ],
      users: 5,
      exitSeconds: EXIT_SECONDS,
      confirmations: 2,
      onEvent: ({ kind, name }) => {
        const isBack = kind === 'ready' && name === 'chain-service';
        if (isBack) driver?.chain.restarted().catch(() => undefined);
      },
    });
    const tally = new Tally();
    driver = new Driver(network, await openUsers(network), tally);
    await driver.chain.fundGas();
    return await drive(options, network, driver, tally);
  } finally {
    driver?.heal();
    driver?.chain.stop();
    await network?.stop();
    if (process.env['CORTENSOR_KEEP'] === undefined) {
      await rm(data, { recursive: true, force: true });
      await rm(config, { force: true });
    } else {
      options.say(`kept ${data}`);
    }
  }
}

async function drive(
  options: RunOptions,
  network: WholeNetwork,
  driver: Driver,
  tally: Tally,
): Promise<RunResult> {
  const { seed, say, endMs } = options;
  const read = openBooks(network, driver.chain);
  const steps = drawSteps(seed, options.steps);
  for (const [i, step] of steps.entries()) {
    tally.count(`step: ${step.kind}`);
    await driver.take(step);
    await delay(step.pauseMs);
    try {
      await read();
    } catch (cause) {
      const last = steps.slice(Math.max(0, i - 9), i + 1).map(({ kind }) => kind);
      throw new Error(`seed ${seed}, step ${i}, after ${last.join(', ')}`, { cause });
    }
    if (i % 50 === 49) say(`${i + 1} steps`);
  }
  driver.heal();
  const deadlineMs = Date.now() + endMs;
  await leaveInTime(driver, network, tally, deadlineMs);
  const tookMs = await untilNothingIsHeld(read, deadlineMs);
  if (tookMs === null) {
    tally.find(`money is held still: ${describeHeld(await read())}`);
  }
  const doubts = await transactionsInDoubt(network, deadlineMs);
  if (doubts.length > 0) tally.find(`transactions in doubt: ${doubts.join(', ')}`);
  const books = await read();
  const { acknowledged, recorded } = await checkRecords(driver, books, tally);
  say(
    `${steps.length} steps, ${books.sessions.size} sessions, ${acknowledged} answers acknowledged, ` +
      `${recorded} tasks recorded, ${books.batches} batches in ${books.block} blocks; ` +
      `all money out ${tookMs ?? 'never'} ms after the last one left`,
  );
  return { findings: tally.findings, counts: tally.report(), acknowledged };
}

async function leaveInTime(
  driver: Driver,
  network: WholeNetwork,
  tally: Tally,
  deadlineMs: number,
): Promise<void> {
  const isSettled = await Promise.race([
    driver.settle().then(() => true),
    delay(deadlineMs - Date.now(), false, { ref: false }),
  ]);
  if (!isSettled) tally.find(`${driver.pending} requests without an end`);
  await leave(driver, network, tally, deadlineMs);
}

function describeHeld(books: Books): string {
  return [...books.sessions]
    .filter(([, { heldWei }]) => heldWei > 0n)
    .map(([id, { heldWei, isClosed }]) => `${id} ${heldWei}${isClosed ? ' closed' : ''}`)
    .join(', ');
}
