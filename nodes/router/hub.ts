/**
 * The miners' hub: accepts their WebSockets beside the HTTP routes, lets in whom the registry knows,
 * and drops whom it no longer hears. One connection an address; the newest one counts.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { SigningDomain } from '../../domain/attestation.js';
import { EngineError } from '../../domain/errors.js';
import { sameAddress, type Address, type Hex } from '../../domain/ids.js';
import type { Log } from '../../domain/log.js';
import type { NodeStatus, RegisteredNode } from '../../domain/node.js';
import { MAX_MESSAGE_BYTES, SILENCE_MS } from '../../domain/wire.js';
import type { CryptoPool } from './crypto-pool.js';
import { MinerSocket, type Challenge, type Hello, type MinerLink } from './socket.js';
import { refuseUpgrade } from './upgrades.js';

/** Connections that have not proved a key yet; more are turned away. */
const MAX_UNPROVEN = 256;
const HANDSHAKE_MS = 10_000;

/** Jailed miners get no sessions, but they get probes: that is how they are released. */
const ADMITTED: ReadonlySet<NodeStatus> = new Set(['Pending', 'Active', 'Jailed']);

/** Reads the node registry on the onboarding layer.
 * @throws CHAIN_UNREACHABLE — nothing is known of the node; `null` means not registered. */
export interface NodeReader {
  readNode(address: Address): Promise<RegisteredNode | null>;
}

export interface HubDeps {
  readonly routerId: string;
  /** EIP-712 domain of `NodeHello`, `Precommit` and `Commit`. */
  readonly signingDomain: SigningDomain;
  readonly registry: NodeReader;
  readonly crypto: CryptoPool;
  readonly log: Log;
  /** @defaultValue SILENCE_MS */
  readonly silenceMs?: number;
}

export class MinerHub {
  readonly #deps: HubDeps;
  readonly #silenceMs: number;
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
    clientTracking: false,
  });
  readonly #unproven = new Set<MinerSocket>();
  readonly #miners = new Map<string, MinerSocket>();
  readonly #onConnected = new Set<() => void>();
  readonly #watch: NodeJS.Timeout;
  #isClosed = false;

  constructor(deps: HubDeps) {
    this.#deps = deps;
    this.#silenceMs = deps.silenceMs ?? SILENCE_MS;
    this.#watch = setInterval(() => this.#dropSilent(), Math.min(1_000, this.#silenceMs / 4));
    this.#watch.unref();
  }

  /** Takes the upgrade of a miner on, at MINER_PATH. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (this.#isClosed) return refuseUpgrade(socket, new EngineError('ROUTER_DRAINING'));
    if (this.#unproven.size >= MAX_UNPROVEN) {
      return refuseUpgrade(socket, new EngineError('ROUTER_BUSY'));
    }
    this.#server.handleUpgrade(request, socket, head, (ws) => {
      const miner = new MinerSocket(ws, this.#deps.routerId, {
        verify: (hello, challenge, signature) => this.#verify(hello, challenge, signature),
        onReady: (ready) => this.#welcome(ready),
        onClosed: (closed, code) => this.#forget(closed, code),
      });
      this.#unproven.add(miner);
    });
  }

  /** Miners that are connected and proven, in no order. */
  connected(): readonly MinerLink[] {
    return [...this.#miners.values()];
  }

  find(address: Address): MinerLink | undefined {
    return this.#miners.get(address.toLowerCase());
  }

  /** Calls back whenever a miner has been let in, until the returned function is called. */
  onConnected(listener: () => void): () => void {
    this.#onConnected.add(listener);
    return () => this.#onConnected.delete(listener);
  }

  /** Cuts every miner; they look for another router. */
  close(): void {
    this.#isClosed = true;
    clearInterval(this.#watch);
    for (const miner of [...this.#unproven, ...this.#miners.values()]) {
      miner.cut('ROUTER_LEASE_LOST');
    }
    this.#server.close();
  }

  async #verify(hello: Hello, challenge: Challenge, signature: Hex): Promise<void> {
    if (challenge.expiresAt * 1_000 < Date.now()) {
      throw new EngineError('SIGNATURE_INVALID', { reason: 'the challenge has expired' });
    }
    const { signingDomain: domain, crypto, registry } = this.#deps;
    const value = { node: hello.address, ...challenge };
    const [signer] = await crypto.recover([{ type: 'NodeHello', domain, value, signature }]);
    if (signer === undefined || !sameAddress(signer, hello.address)) {
      throw new EngineError('SIGNATURE_INVALID');
    }
    const node = await registry.readNode(hello.address);
    const isKnown = node?.role === 'miner' && ADMITTED.has(node.status);
    if (!isKnown) throw new EngineError('NODE_NOT_REGISTERED', { node: hello.address });
  }

  #welcome(miner: MinerSocket): void {
    this.#unproven.delete(miner);
    const key = miner.address.toLowerCase();
    const older = this.#miners.get(key);
    this.#miners.set(key, miner);
    older?.cut('ROUTER_LEASE_LOST');
    this.#deps.log('info', 'miner connected', { miner: miner.address });
    for (const listener of this.#onConnected) listener();
  }

  #forget(miner: MinerSocket, code: string): void {
    const wasUnproven = this.#unproven.delete(miner);
    const key = miner.address.toLowerCase();
    if (this.#miners.get(key) === miner) this.#miners.delete(key);
    const event = wasUnproven ? 'miner refused' : 'miner disconnected';
    this.#deps.log('info', event, { miner: miner.address, code });
  }

  #dropSilent(): void {
    for (const miner of this.#miners.values()) {
      if (miner.silentMs > this.#silenceMs) miner.cut('MINER_TIMEOUT');
    }
    for (const miner of this.#unproven) {
      if (miner.silentMs > HANDSHAKE_MS) miner.cut('MINER_TIMEOUT');
    }
  }
}
