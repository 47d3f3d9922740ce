/**
 * All that is sealed and opened for one request and for one session, by whoever does it, in one thread:
 * what a level adds in CPU and in bytes, without a network's noise.
 */
import { openAtRest, sealAtRest } from '../../adapters/seal/at-rest.js';
import { toUtf8 } from '../../adapters/seal/bytes.js';
import { openChannel, type Channel } from '../../adapters/seal/channel.js';
import { createIdentity, type IdentityPair } from '../../adapters/seal/identity.js';
import { createKeyring, openKeyring, wrapKeyring } from '../../adapters/seal/keyring.js';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import type { SealingLevel } from '../../domain/sealing.js';
import type { ChatResult } from '../../domain/task.js';

/** The request that figures are of. */
export const REQUEST = { promptBytes: 1024, tokens: 64, miners: 3 } as const;
/** Who opens a keyring: the user, four miners, two oracles, and the router's worker. */
export const READERS = 8;

const SESSION = '42';
const TASK = `0x${'ab'.repeat(32)}` as const;
const MINER = `0x${'cd'.repeat(20)}` as const;
const PROMPT = toUtf8('p'.repeat(REQUEST.promptBytes));
const TOKENS = Array.from({ length: REQUEST.tokens }, (_, i) => `token${i} `);
const RESULT: ChatResult = {
  model: 'scripted',
  text: TOKENS.join(''),
  finishReason: 'stop',
  usage: { promptTokens: 256, completionTokens: REQUEST.tokens },
};

/** The keys of a session, as its readers have them. */
export interface SessionKeys {
  readonly channel: Channel;
  /** `null` at level `open`. */
  readonly rest: IdentityPair | null;
}

/** Draws a session's keys, wraps them for its readers, and opens them as one.
 * @returns the keys, and the bytes of the keyring. */
export async function openSession(
  level: SealingLevel,
  readers: readonly IdentityPair[],
): Promise<{ readonly keys: SessionKeys; readonly keyringBytes: number }> {
  if (level === 'open') {
    const channel = await openChannel({ sessionId: SESSION, channelKey: null });
    return { keys: { channel, rest: null }, keyringBytes: 0 };
  }
  const { keyring, recipient } = await createKeyring(SESSION, {
    postQuantum: level === 'sealed-pq',
  });
  const file = await wrapKeyring(
    keyring,
    readers.map((reader) => reader.recipient),
  );
  const { identity, channelKey } = await openKeyring(file, readers[0]?.identity ?? '');
  const channel = await openChannel({ sessionId: SESSION, channelKey });
  return { keys: { channel, rest: { identity, recipient } }, keyringBytes: file.length };
}

/** Draws the readers of sessions, of the kind that `cortensor keys new` makes: one set serves all levels. */
export async function drawReaders(): Promise<readonly IdentityPair[]> {
  const draws = Array.from({ length: READERS }, () => createIdentity({ postQuantum: true }));
  return await Promise.all(draws);
}

/** Bytes of one request. */
export interface RequestBytes {
  /** On IPFS: the request, and each miner's result. */
  readonly rest: number;
  /** In frames, each counted once: the request, and the primary's answer. */
  readonly wire: number;
}

/** Seals and opens what one request has sealed and opened, its streamed answer and one reading of its
 * result included. */
export async function sealRequest({ channel, rest }: SessionKeys): Promise<RequestBytes> {
  const atRest = async (bytes: Uint8Array) =>
    rest === null ? bytes : await sealAtRest(bytes, [rest.recipient]);
  const request = await (await channel.sealer(TASK, 'client')).seal(PROMPT, true);
  const bytes = { rest: (await atRest(PROMPT)).length, wire: request.data.length };
  let last = new Uint8Array();
  for (let miner = 0; miner < REQUEST.miners; miner++) {
    await (await channel.opener(TASK, 'client')).open(request);
    last = new Uint8Array(await atRest(encodeJson(RESULT)));
    await channel.resultHash(RESULT);
    bytes.rest += last.length;
  }
  const [sealer, opener] = [await channel.sealer(TASK, MINER), await channel.opener(TASK, MINER)];
  for (const [i, text] of TOKENS.entries()) {
    const event = toUtf8(JSON.stringify({ type: 'delta', text }));
    const frame = await sealer.seal(event, i === TOKENS.length - 1);
    await opener.open(frame);
    bytes.wire += frame.data.length;
  }
  if (rest !== null) await openAtRest(last, rest.identity);
  return bytes;
}

/** CPU of this process for one call, all of its threads.
 * @returns milliseconds, the mean of `rounds`. */
export async function cpuOf(work: () => Promise<unknown>, rounds: number): Promise<number> {
  // What the compiler learns is not what a level costs.
  for (let i = 0; i < rounds / 4; i++) await work();
  const before = process.cpuUsage();
  for (let i = 0; i < rounds; i++) await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000 / rounds;
}
