/**
 * Results as a validator reads them: keyring opened, block opened, hash and embedding computed. Each
 * is done once and remembered for a while, since a result that was judged is attested soon after.
 * Plaintext stays in this process's memory and goes nowhere else.
 */
import { openAtRest } from '../../adapters/seal/at-rest.js';
import { openChannel, type Channel } from '../../adapters/seal/channel.js';
import { openKeyring } from '../../adapters/seal/keyring.js';
import { parseChatResult, parseInferenceRequest } from '../../domain/chat.js';
import { vectorsOf } from '../../domain/embedding.js';
import { EngineError, findEngineError } from '../../domain/errors.js';
import type { Cid, Hex, SessionId } from '../../domain/ids.js';
import type { ChatResult, InferenceRequest } from '../../domain/task.js';
import { comparedText } from '../../domain/tools.js';
import { Memory } from './memory.js';
import type { OracleDeps } from './ports.js';

const MAX_KEYRINGS = 1_000;
const MAX_RESULTS = 5_000;

/** The session that a payload belongs to; `keyringCid` is `null` at level `open`. */
export interface SealedUnder {
  readonly sessionId: SessionId;
  readonly keyringCid: Cid | null;
}

export interface OpenedResult {
  readonly result: ChatResult;
  readonly resultHash: Hex;
  /** The answer's own vectors; `null` where it is text. */
  readonly vectors: readonly Float32Array[] | null;
  /** Unit vector of the text, and of the calls of tools in their canonical form. */
  embedding(): Promise<Float32Array>;
}

interface OpenedSession {
  readonly channel: Channel;
  readonly identity: string | null;
}

export class ResultReader {
  readonly #deps: Pick<OracleDeps, 'store' | 'identity' | 'embedder'>;
  readonly #sessions = new Memory<OpenedSession>(MAX_KEYRINGS);
  readonly #results = new Memory<OpenedResult | null>(MAX_RESULTS);

  constructor(deps: Pick<OracleDeps, 'store' | 'identity' | 'embedder'>) {
    this.#deps = deps;
  }

  /** Opens a result.
   * @returns `null` when the block is there but is no result of this session: its miner's fault.
   * @throws CONTENT_MISSING, CONTENT_MISMATCH, IPFS_UNREACHABLE — as `BlockStore.get`.
   * @throws SEAL_NOT_RECIPIENT, SEAL_BROKEN — the keyring does not open for this oracle. */
  async open(session: SealedUnder, cid: Cid, signal: AbortSignal): Promise<OpenedResult | null> {
    // The key names the session: knowing a CID must not open what another keyring seals.
    const key = `${session.sessionId}|${session.keyringCid ?? ''}|${cid}`;
    return this.#results.recall(key, () => this.#open(session, cid, signal));
  }

  /** Opens a request at rest.
   * @throws PROMPT_INVALID — not a request; else as `open`. */
  async openRequest(
    session: SealedUnder,
    cid: Cid,
    signal: AbortSignal,
  ): Promise<InferenceRequest> {
    const { identity } = await this.#session(session, signal);
    const block = await this.#deps.store.get(cid, { signal });
    return parseInferenceRequest(await readJson(block, identity));
  }

  async #open(session: SealedUnder, cid: Cid, signal: AbortSignal): Promise<OpenedResult | null> {
    const { channel, identity } = await this.#session(session, signal);
    const block = await this.#deps.store.get(cid, { signal });
    try {
      const result = parseChatResult(await readJson(block, identity));
      const resultHash = await channel.resultHash(result);
      let embedding: Promise<Float32Array> | undefined;
      return {
        result,
        resultHash,
        vectors: vectorsOf(result),
        embedding: () =>
          (embedding ??= this.#embed(comparedText(result)).catch((error: unknown) => {
            embedding = undefined;
            throw error;
          })),
      };
    } catch (error) {
      if (findEngineError(error) === undefined) throw error;
      return null;
    }
  }

  #session({ sessionId, keyringCid }: SealedUnder, signal: AbortSignal): Promise<OpenedSession> {
    return this.#sessions.recall(`${sessionId}|${keyringCid ?? ''}`, async () => {
      if (keyringCid === null) {
        return { channel: await openChannel({ sessionId, channelKey: null }), identity: null };
      }
      const file = await this.#deps.store.get(keyringCid, { signal });
      const keyring = await openKeyring(file, this.#deps.identity);
      if (keyring.sessionId !== sessionId) {
        throw new EngineError('SEAL_BROKEN', { reason: 'the keyring of another session' });
      }
      return { channel: await openChannel(keyring), identity: keyring.identity };
    });
  }

  async #embed(text: string): Promise<Float32Array> {
    const [vector] = await this.#deps.embedder.embed([text]);
    if (vector === undefined) throw new EngineError('INTERNAL', { what: 'embedding' });
    return vector;
  }
}

/** Reads a document of the engine, which is never sealed.
 * @throws REQUEST_INVALID — not JSON; else as `BlockStore.get`, or what `parse` throws. */
export async function readDocument<T>(
  store: OracleDeps['store'],
  cid: Cid,
  parse: (value: unknown) => T,
  signal: AbortSignal,
): Promise<T> {
  return parse(await readJson(await store.get(cid, { signal }), null));
}

async function readJson(block: Uint8Array, identity: string | null): Promise<unknown> {
  const bytes = identity === null ? block : await openAtRest(block, identity);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    // The parser's own message quotes the plaintext.
    throw new EngineError('REQUEST_INVALID', { field: 'content', expected: 'JSON' });
  }
}
