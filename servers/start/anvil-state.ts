/**
 * Keeps a chain's state on disk while Anvil, which holds it in memory, runs. Anvil's own
 * `--state-interval` writes in place, so that a kill can leave half a file; here the state is asked
 * for, written aside and renamed. Blocks, transactions, receipts and logs all survive.
 *
 * A dump costs Anvil about 35 ms at 500 blocks and grows with the chain, so the pause between two
 * dumps grows with it too: a kill loses under half a second of a young chain, about a second of an
 * old one. State at past blocks (`eth_call` below the head) is not kept: it costs 15 times as much.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { deadlineIn } from '../../domain/deadline.js';
import { replaceFile } from '../files.js';
import { rpc } from './rpc.js';

const POLL_MS = 100;
const SHORTEST_PAUSE_MS = 150;
const LONGEST_PAUSE_MS = 1_000;
/** A balance set by `anvil_setBalance` makes no block, so the state is also saved now and then. */
const SAVE_ANYWAY_MS = 2_000;
const CALL_MS = 10_000;

/** Saves the state after new blocks until the signal aborts, and then once more if Anvil still answers. */
export async function keepChainState(
  url: string,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  let savedBlock: unknown;
  let savedState = '';
  let savedMs = 0;
  let pauseMs = SHORTEST_PAUSE_MS;

  const save = async (block: unknown): Promise<void> => {
    const startMs = Date.now();
    const state = String(await rpc(url, 'anvil_dumpState', [], deadlineIn(CALL_MS)));
    const tookMs = Date.now() - startMs;
    pauseMs = Math.min(Math.max(8 * tookMs, SHORTEST_PAUSE_MS), LONGEST_PAUSE_MS);
    if (state !== savedState) replaceFile(path, Buffer.from(state.slice(2), 'hex'));
    [savedBlock, savedState, savedMs] = [block, state, Date.now()];
  };

  while (!signal.aborted) {
    try {
      const block = await rpc(url, 'eth_blockNumber', [], deadlineIn(CALL_MS));
      const sinceMs = Date.now() - savedMs;
      const due = block !== savedBlock && sinceMs >= pauseMs;
      if (due || sinceMs >= SAVE_ANYWAY_MS) await save(block);
      await delay(POLL_MS, undefined, { signal });
    } catch (error) {
      // Ended while we waited or asked: the loop is over. Anything else, such as a call that took
      // too long, is tried again.
      if (signal.aborted) break;
      if (!isCallFailure(error)) throw error;
      await delay(POLL_MS);
    }
  }
  try {
    await save(undefined);
  } catch (error) {
    if (!isCallFailure(error)) throw error; // Killed: what was saved last is what there is.
  }
}

/**
 * Unpacks a saved state into the JSON file that `--load-state` reads.
 * @returns the path of that file.
 */
export async function unpackChainState(path: string): Promise<string> {
  const unpacked = path.replace(/\.gz$/, '');
  replaceFile(unpacked, await promisify(gunzip)(readFileSync(path)));
  return unpacked;
}

/** True for a call that did not reach Anvil or was not answered, as against a disk that is full. */
function isCallFailure(error: unknown): boolean {
  return error instanceof Error && !('syscall' in error);
}
