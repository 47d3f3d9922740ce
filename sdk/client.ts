/**
 * The typed client of a router: opens funded sessions and hands out their handles. It runs wherever
 * there are `fetch` and Web Crypto; keys of sealed sessions are made here and never leave unsealed.
 */
import { fromBase64, toBase64 } from '../adapters/seal/bytes.js';
import { recipientOf } from '../adapters/seal/identity.js';
import { createKeyring, openKeyring, wrapKeyring } from '../adapters/seal/keyring.js';
import { policyHashOf, sessionIdOf } from '../adapters/seal/session-id.js';
import type {
  AccountInfo,
  EpochInfo,
  EpochSummary,
  MinerInfo,
  NetworkInfo,
  RouterStatus,
  SetKeyringRequest,
} from '../domain/api.js';
import { EngineError, findEngineError } from '../domain/errors.js';
import type { Address, Hex, SessionId } from '../domain/ids.js';
import { isClientSealed, type Keyring } from '../domain/sealing.js';
import {
  parsePolicy,
  type OpenSessionRequest,
  type PolicyInput,
  type ReservedMiner,
  type SessionPolicy,
  type SessionView,
} from '../domain/session.js';
import { RouterHttp, type RouterOptions } from './http.js';
import {
  awaitState,
  exportKeyring,
  readView,
  SessionHandle,
  type ExportedSession,
} from './session.js';
import { SourceClient } from './sources.js';
import { RouterSocket, type SocketOptions } from './socket.js';
import { randomReference, signOpening, signPermit, type OwnerSigner } from './signing.js';

export interface ClientOptions extends RouterOptions {
  /** The user's age identity. With it, sealed sessions can be exported and gone on with; without,
   * they end with this process. */
  readonly identity?: string;
  /** Reads the node registry over the caller's own RPC. With it, keys are wrapped for nothing that
   * the chain does not know; without, the router is believed when it names miners and validators. */
  readonly registry?: RecipientReader;
}

/** Reads what a node is registered with. */
export interface RecipientReader {
  /** @returns the node's age recipient; `null` for an address that is not registered. */
  readRecipient(address: Address): Promise<string | null>;
}

export interface OpenOptions {
  readonly signer: OwnerSigner;
  readonly policy: PolicyInput;
  readonly depositWei: bigint;
  /** 0x and 64 hex digits: the same reference is the same session.
   * @defaultValue a random one */
  readonly clientReference?: Hex;
  /** More age recipients that may read a sealed session. */
  readonly readers?: readonly string[];
  /** Of `prepareSession`, for the same reference: then a crash at any moment loses no key. */
  readonly prepared?: ExportedSession;
  readonly signal?: AbortSignal;
}

export class CortensorClient {
  readonly #options: RouterOptions;
  readonly #http: RouterHttp;
  readonly #identity: string | undefined;
  readonly #registry: RecipientReader | undefined;

  constructor({ identity, registry, ...options }: ClientOptions) {
    this.#options = options;
    this.#http = new RouterHttp(options);
    this.#identity = identity;
    this.#registry = registry;
  }

  /** Reads what must be known before signing: chain, contracts, models and prices. */
  network(): Promise<NetworkInfo> {
    return this.#http.json('/api/v1/network');
  }

  /** Makes a WebSocket to ask over, `SessionHandle.ask(prompt, { socket })`: many requests share it.
   * It connects with the first of them, and stays open until it is closed.
   * @throws USAGE — there is no WebSocket here, and none was given. */
  socket(options: SocketOptions = {}): RouterSocket {
    return new RouterSocket(this.#options, options);
  }

  /** Lists the miners of the network, and how each stands. */
  miners(): Promise<MinerInfo[]> {
    return this.#http.json('/api/v1/miners');
  }

  /** Lists the rounds of verification, the newest first, at most 50.
   * @param before - only older ones than this. */
  epochs(before?: number): Promise<EpochSummary[]> {
    return this.#http.json(`/api/v1/epochs${before === undefined ? '' : `?before=${before}`}`);
  }

  /** What this key's requests may draw on. */
  get sources(): SourceClient {
    return new SourceClient(this.#http);
  }

  /** Shows a round of verification.
   * @throws EPOCH_NOT_FOUND */
  epoch(epoch: number): Promise<EpochInfo> {
    return this.#http.json(`/api/v1/epochs/${epoch}`);
  }

  /** Tells what the router depends on, and whether it is there. */
  status(): Promise<RouterStatus> {
    return this.#http.json('/api/v1/status');
  }

  /** Makes the keys of a session before it is opened, to be kept until it is closed. Sends nothing
   * but a question for the network's contracts.
   * @throws USAGE — the level is client-sealed, and this client has no age identity to seal them to. */
  async prepareSession(options: {
    readonly owner: Address;
    readonly policy: PolicyInput;
    readonly clientReference: Hex;
  }): Promise<ExportedSession> {
    const { owner, clientReference } = options;
    const policy = parsePolicy(options.policy);
    const { chainId, contracts } = await this.network();
    const { sessionManager } = contracts;
    const sessionId = await sessionIdOf({ chainId, sessionManager, owner, clientReference });
    if (!isClientSealed(policy.level)) return { version: 1, sessionId, keyring: null };
    const { keyring } = await createKeyringFor(sessionId, policy);
    return await exportKeyring(keyring, await this.#recipient());
  }

  /** Opens a funded session and waits until it takes requests.
   * @throws POLICY_INVALID, AMOUNT_INVALID — before anything is signed.
   * @throws SEAL_NOT_RECIPIENT — the reference is that of a sealed session which is open already; or
   *   a miner or validator that the router names has another recipient by the registry.
   * @throws EngineError — the router's, or the code that the opening failed with. */
  async openSession(options: OpenOptions): Promise<SessionHandle> {
    const { signal, readers = [] } = options;
    const policy = parsePolicy(options.policy);
    const request = await this.#signRequest(options, policy);
    const { sessionId } = request;
    const call = { method: 'POST', body: request, signal } as const;
    await this.#http.json<SessionView>('/api/v1/sessions', call);
    if (!isClientSealed(policy.level)) {
      return this.#handle(await this.#awaitState(sessionId, 'Open', signal), null);
    }
    const prepared = await this.#openPrepared(sessionId, options.prepared);
    const waiting = await this.#awaitState(sessionId, 'AwaitingKeyring', signal);
    if (waiting.keyring !== null) {
      const isOurs = prepared?.recipient === waiting.keyring.recipient;
      if (prepared === null || !isOurs) throw isSealed(sessionId);
      return this.#handle(waiting, prepared.keyring);
    }
    const keys = prepared ?? (await createKeyringFor(sessionId, policy));
    try {
      await this.#setKeyring(waiting, keys, readers, signal);
    } catch (error) {
      // Without keys it can never be used; its deposit is not left waiting for them.
      if (findEngineError(error)?.retryable === false) await this.#close(sessionId);
      throw error;
    }
    return this.#handle(await this.#awaitState(sessionId, 'Open', signal), keys.keyring);
  }

  /** Goes on with a session at level `open` or `link`.
   * @throws SEAL_NOT_RECIPIENT — it is sealed. Its keys come from `importSession` alone: anybody can
   *   seal a keyring for this user, and a router that did would read what is sealed under it. */
  async session(sessionId: SessionId): Promise<SessionHandle> {
    const view = await readView(this.#http, sessionId);
    if (isClientSealed(view.policy.level)) throw isSealed(sessionId);
    return this.#handle(view, null);
  }

  /** Goes on with a session that another process has exported.
   * @throws SEAL_NOT_RECIPIENT — it was exported for another identity. */
  async importSession(exported: ExportedSession): Promise<SessionHandle> {
    const { sessionId } = exported;
    const prepared = await this.#openPrepared(sessionId, exported);
    if (prepared === null) return this.session(sessionId);
    return this.#handle(await readView(this.#http, sessionId), prepared.keyring);
  }

  async #openPrepared(
    sessionId: SessionId,
    exported: ExportedSession | undefined,
  ): Promise<SessionKeys | null> {
    if (exported === undefined || exported.keyring === null) return null;
    if (this.#identity === undefined) throw isSealed(sessionId);
    const keyring = await openKeyring(fromBase64(exported.keyring), this.#identity);
    if (keyring.sessionId !== sessionId) {
      throw new EngineError('SEAL_BROKEN', { reason: 'the keyring of another session' });
    }
    return { keyring, recipient: await recipientOf(keyring.identity) };
  }

  async #signRequest(options: OpenOptions, policy: SessionPolicy): Promise<OpenSessionRequest> {
    const { signer, depositWei, clientReference = randomReference(), signal } = options;
    if (depositWei <= 0n) throw new EngineError('AMOUNT_INVALID', { field: 'depositWei' });
    const owner = signer.address as Address;
    const network = await this.network();
    const { chainId, contracts } = network;
    const { sessionManager } = contracts;
    const account = await this.#http.json<AccountInfo>(`/api/v1/accounts/${owner}`, { signal });
    const policyHash = await policyHashOf(policy);
    return {
      sessionId: await sessionIdOf({ chainId, sessionManager, owner, clientReference }),
      owner,
      clientReference,
      policy,
      depositWei: depositWei.toString(),
      signature: await signOpening(signer, network, { clientReference, policyHash, depositWei }),
      permit: await signPermit(signer, network, {
        valueWei: depositWei,
        nonce: BigInt(account.permitNonce),
      }),
    };
  }

  /** Hands the session's keys to the user, the reserved miners and the named validators. */
  async #setKeyring(
    { sessionId, miners, validators }: SessionView,
    { keyring, recipient }: SessionKeys,
    readers: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const nodes = [...miners, ...validators];
    await Promise.all(nodes.map((node) => this.#requireRegistered(node)));
    const own = await this.#recipient();
    const file = await wrapKeyring(keyring, [
      ...(own === null ? [] : [own]),
      ...nodes.map((node) => node.recipient),
      ...readers,
    ]);
    const body: SetKeyringRequest = { recipient, keyring: toBase64(file) };
    const call = { method: 'PUT', body, signal } as const;
    await this.#http.json<SessionView>(`/api/v1/sessions/${sessionId}/keyring`, call);
  }

  async #requireRegistered({ address, recipient }: ReservedMiner): Promise<void> {
    if (this.#registry === undefined) return;
    const registered = await this.#registry.readRecipient(address);
    if (registered !== recipient) {
      throw new EngineError('SEAL_NOT_RECIPIENT', { node: address, expected: 'as registered' });
    }
  }

  #close(sessionId: SessionId): Promise<SessionView> {
    return this.#http.json(`/api/v1/sessions/${sessionId}/close`, { method: 'POST' });
  }

  #awaitState(
    sessionId: SessionId,
    state: SessionView['state'],
    signal: AbortSignal | undefined,
  ): Promise<SessionView> {
    return awaitState(this.#http, sessionId, state, signal === undefined ? {} : { signal });
  }

  async #handle(view: SessionView, keyring: Keyring | null): Promise<SessionHandle> {
    return new SessionHandle({
      http: this.#http,
      view,
      keyring,
      recipient: await this.#recipient(),
    });
  }

  async #recipient(): Promise<string | null> {
    return this.#identity === undefined ? null : recipientOf(this.#identity);
  }
}

function isSealed(sessionId: SessionId): EngineError {
  return new EngineError('SEAL_NOT_RECIPIENT', { sessionId, expected: 'an exported session' });
}

/** A session's keyring, with the recipient that its payloads at rest are sealed to. */
interface SessionKeys {
  readonly keyring: Keyring;
  readonly recipient: string;
}

function createKeyringFor(sessionId: SessionId, policy: SessionPolicy): Promise<SessionKeys> {
  return createKeyring(sessionId, { postQuantum: policy.level === 'sealed-pq' });
}
