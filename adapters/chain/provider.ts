/**
 * JSON-RPC to one chain layer: several URLs in order of preference, a time limit on every call, and
 * the chain's id checked on each URL before its first answer is believed. ethers' own transport is
 * not used: it retries a 429 for minutes, caches nonces for 250 ms, and knows one URL.
 */
import { JsonRpcProvider, Network, type JsonRpcPayload, type JsonRpcResult } from 'ethers';
import type { LayerConfig } from '../../domain/config.js';
import { deadlineIn } from '../../domain/deadline.js';
import { EngineError, findEngineError } from '../../domain/errors.js';

export interface ProviderOptions {
  /** Limit for one call to one URL, in milliseconds. @default 10_000 */
  readonly callTimeoutMs?: number;
}

/** How long a URL that failed is passed over while another one works. */
const AVOID_MS = 30_000;
/** JSON-RPC errors that say "not now" rather than "no": limit exceeded, and its HTTP twin. */
const BUSY_CODES = new Set([-32005, 429]);

/**
 * Opens the provider of a layer. Nothing is sent before the first call; end it with `destroy()`.
 *
 * Its calls: @throws CHAIN_UNREACHABLE — no URL answered in time. @throws CHAIN_MISMATCH — a URL that
 * answered is of another chain.
 */
export function openProvider(
  layer: Pick<LayerConfig, 'chainId' | 'rpcUrls'>,
  options: ProviderOptions = {},
): JsonRpcProvider {
  return new LayerProvider(layer, options.callTimeoutMs ?? 10_000);
}

interface Endpoint {
  /** Without credentials: `fetch` refuses those in a URL, and errors must not hold them. */
  readonly url: string;
  readonly host: string;
  readonly headers: Readonly<Record<string, string>>;
  isVerified: boolean;
  avoidUntilMs: number;
}

class LayerProvider extends JsonRpcProvider {
  readonly #chainId: number;
  readonly #endpoints: readonly Endpoint[];
  readonly #callTimeoutMs: number;
  readonly #ended = new AbortController();

  constructor(layer: Pick<LayerConfig, 'chainId' | 'rpcUrls'>, callTimeoutMs: number) {
    const network = Network.from(layer.chainId);
    // One call a request: a batch waits 10 ms to fill, and some nodes refuse it.
    super(undefined, network, { staticNetwork: network, batchMaxCount: 1, cacheTimeout: -1 });
    this.#chainId = layer.chainId;
    this.#endpoints = layer.rpcUrls.map(endpoint);
    this.#callTimeoutMs = callTimeoutMs;
  }

  override destroy(): void {
    this.#ended.abort();
    super.destroy();
  }

  override async _send(payload: JsonRpcPayload | JsonRpcPayload[]): Promise<JsonRpcResult[]> {
    let failure: { host: string; reason: string; cause: unknown } | undefined;
    for (const endpoint of this.#inOrder()) {
      try {
        await this.#verify(endpoint);
        const answer = await this.#post(endpoint, payload);
        endpoint.avoidUntilMs = 0;
        return answer;
      } catch (error) {
        if (findEngineError(error) !== undefined) throw error;
        endpoint.avoidUntilMs = Date.now() + AVOID_MS;
        failure = { host: endpoint.host, reason: reasonOf(error), cause: error };
      }
    }
    const { host, reason, cause } = failure ?? { host: 'none', reason: 'no URL', cause: undefined };
    throw new EngineError('CHAIN_UNREACHABLE', { chainId: this.#chainId, host, reason }, { cause });
  }

  /** Preferred first; those that failed lately last, so that they are still tried when all have. */
  #inOrder(): Endpoint[] {
    const now = Date.now();
    return this.#endpoints.toSorted(
      (a, b) => Number(a.avoidUntilMs > now) - Number(b.avoidUntilMs > now),
    );
  }

  async #verify(endpoint: Endpoint): Promise<void> {
    if (endpoint.isVerified) return;
    const [answer] = await this.#post(endpoint, {
      jsonrpc: '2.0',
      id: 0,
      method: 'eth_chainId',
      params: [],
    });
    const result: unknown = answer?.result;
    if (typeof result !== 'string') throw new Error('eth_chainId was not answered');
    if (BigInt(result) !== BigInt(this.#chainId)) {
      throw new EngineError('CHAIN_MISMATCH', {
        host: endpoint.host,
        expected: this.#chainId,
        got: BigInt(result).toString(),
      });
    }
    endpoint.isVerified = true;
  }

  /** @returns answers as they came, errors of the RPC among them: ethers tells them apart. */
  async #post(
    endpoint: Endpoint,
    payload: JsonRpcPayload | JsonRpcPayload[],
  ): Promise<JsonRpcResult[]> {
    const response = await fetch(endpoint.url, {
      method: 'POST',
      headers: endpoint.headers,
      body: JSON.stringify(payload),
      signal: deadlineIn(this.#callTimeoutMs, this.#ended.signal),
    });
    const text = await response.text();
    // Some nodes answer a call that they refuse with 400 and a proper error of the RPC.
    if (!response.ok && response.status !== 400) throw new Error(`HTTP status ${response.status}`);
    const answers = [JSON.parse(text)].flat() as ({ error?: { code?: unknown } } | null)[];
    for (const answer of answers) {
      if (answer === null || typeof answer !== 'object') throw new Error('not an RPC answer');
      const code = answer.error?.code;
      if (typeof code === 'number' && BUSY_CODES.has(code)) throw new Error(`RPC error ${code}`);
    }
    return answers as JsonRpcResult[];
  }
}

function endpoint(text: string): Endpoint {
  const url = new URL(text);
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (url.username !== '' || url.password !== '') {
    const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    headers['authorization'] = `Basic ${Buffer.from(user).toString('base64')}`;
    url.username = '';
    url.password = '';
  }
  return { url: url.href, host: url.host, headers, isVerified: false, avoidUntilMs: 0 };
}

/** What went wrong in a few words; never a URL, whose path may be an API key. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  if (error.name === 'TimeoutError') return 'no answer in time';
  if (error.name === 'AbortError') return 'the provider was closed';
  if (error instanceof SyntaxError) return 'the answer is not JSON';
  const { cause } = error;
  if (cause instanceof Error) return 'code' in cause ? String(cause.code) : cause.message;
  return error.message;
}
