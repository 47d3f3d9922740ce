/** Two routers and a few miners, each a process, on a real Temporal and a real Kubo. The chain is
 * left out: it has no part in a stream. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Wallet } from 'ethers';
import { createIdentity } from '../../../adapters/seal/identity.js';
import { startChild, type Child } from '../../../bench/network/child.js';
import { startServers } from '../../../bench/network/network.js';
import { connectEngine, drawMiners } from '../../../bench/network/parts.js';
import type { RouterInput, RouterReady } from '../../../bench/network/router-process.js';
import type { WorkerInput } from '../../../bench/network/worker-process.js';
import { signingDomain } from '../../../domain/attestation.js';
import type { EngineConfig } from '../../../domain/config.js';
import type { Address, SessionId } from '../../../domain/ids.js';
import type { TaskRecord } from '../../../domain/lease.js';
import type { Candidate } from '../../../domain/node.js';
import type { PolicyInput } from '../../../domain/session.js';
import type { SessionGateway } from '../../../nodes/router/gateway.js';
import { CortensorClient, type SessionHandle } from '../../../sdk/index.js';
import { claimPort } from '../../../servers/ports.js';
import { buildWorkflowBundle } from '../../../workers/bundle.js';
import { Balancer } from './balancer.js';
import type { MinerInput } from './miner-process.js';

const MINERS = 5;
const UP_MS = 60_000;
const POLL_MS = 50;
const PRICE_WEI = 10n ** 12n;
const MINER_PROCESS = '../../test/e2e/streams/miner-process';

type RouterChild = Child<RouterReady>;

export interface StreamOptions {
  /** @defaultValue 2 */
  readonly routers?: number;
  readonly hedgeMs?: number;
}

export class StreamNetwork {
  readonly config: EngineConfig;
  readonly gateway: SessionGateway;
  readonly apiKey: string;
  readonly balancer: Balancer;
  readonly #candidates: readonly Candidate[];
  readonly #routers: RouterChild[] = [];
  readonly #ports: readonly number[];
  readonly #minerInputs: readonly MinerInput[];
  readonly #miners: Child<null>[] = [];
  #isStopping = false;

  constructor(parts: {
    config: EngineConfig;
    gateway: SessionGateway;
    apiKey: string;
    candidates: readonly Candidate[];
    ports: readonly number[];
    minerInputs: readonly MinerInput[];
  }) {
    this.config = parts.config;
    this.gateway = parts.gateway;
    this.apiKey = parts.apiKey;
    this.#candidates = parts.candidates;
    this.#ports = parts.ports;
    this.#minerInputs = parts.minerInputs;
    this.balancer = new Balancer(parts.ports);
  }

  get model(): string {
    return this.config.models[0]?.name ?? '';
  }
  url(router: number): string {
    return `http://127.0.0.1:${this.#ports[router]}`;
  }

  async start(): Promise<void> {
    await this.balancer.listen();
    await Promise.all(this.#ports.map((_, i) => this.startRouter(i)));
    await Promise.all(this.#minerInputs.map((_, i) => this.#startMiner(i)));
    await this.untilMinersAreBack();
  }

  async startRouter(router: number): Promise<void> {
    const port = this.#ports[router] ?? 0;
    this.#routers[router] = await startChild<RouterInput, RouterReady>('router-process', {
      config: { ...this.config, router: { ...this.config.router, port } },
      miners: this.#candidates.map(({ address, recipient }) => ({ address, recipient })),
      routerId: `router-${router}-${randomBytes(4).toString('hex')}`,
    });
  }

  /** Ends a router's process, and waits until it has ended. */
  async stopRouter(router: number, signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const child = this.#routers[router]?.process;
    if (child === undefined) return null;
    const exited = once(child, 'exit');
    child.kill(signal);
    const [code] = (await exited) as [number | null];
    return code;
  }

  /** A miner that died is started again. */
  async #startMiner(miner: number): Promise<void> {
    const input = this.#minerInputs[miner];
    if (input === undefined || this.#isStopping) return;
    const child = await startChild<MinerInput, null>(MINER_PROCESS, input);
    this.#miners[miner] = child;
    child.process.once('exit', () => void this.#startMiner(miner));
  }

  /** Waits until all miners are connected to all routers that run. */
  async untilMinersAreBack(): Promise<void> {
    for (const deadline = Date.now() + UP_MS; ; await delay(POLL_MS)) {
      const counts = await Promise.all(this.#ports.map((_, i) => this.#minersAt(i)));
      if (counts.every((count) => count === MINERS)) return;
      if (Date.now() > deadline)
        throw new Error(`${counts.join(', ')} of ${MINERS} miners are back`);
    }
  }

  async #minersAt(router: number): Promise<number> {
    try {
      const response = await fetch(`${this.url(router)}/healthz`);
      return ((await response.json()) as { miners: number }).miners;
    } catch {
      // It is being started.
      return -1;
    }
  }

  client(baseUrl = this.url(0), identity?: string): CortensorClient {
    return new CortensorClient({ baseUrl, apiKey: this.apiKey, ...(identity && { identity }) });
  }

  async openSession(
    policy: Pick<PolicyInput, 'level' | 'redundancy'>,
    baseUrl = this.url(0),
  ): Promise<SessionHandle> {
    const { identity } = await createIdentity();
    return await this.client(baseUrl, identity).openSession({
      signer: Wallet.createRandom(),
      policy: {
        model: this.model,
        priceCeilingWei: PRICE_WEI.toString(),
        maxTasks: 10_000,
        ...policy,
      },
      depositWei: 10n ** 9n * PRICE_WEI,
    });
  }

  /** What the session's workflow has of its tasks. */
  async records(sessionId: SessionId): Promise<readonly TaskRecord[]> {
    return await this.gateway.tasks(sessionId);
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.balancer.close();
    await Promise.all([...this.#miners, ...this.#routers].map((child) => child.stop()));
  }
}

/** Starts it; `defer` is told what to stop. */
export async function startStreamNetwork(
  { routers = 2, hedgeMs }: StreamOptions,
  defer: (stop: () => Promise<unknown>) => void,
): Promise<StreamNetwork> {
  const data = await mkdtemp(join(tmpdir(), 'streams-'));
  defer(() => rm(data, { recursive: true, force: true }));
  await buildWorkflowBundle();
  const apiKey = `ck-${randomBytes(16).toString('hex')}`;
  const served = await startServers({ data, defer, say: () => undefined }, apiKey);
  const config = {
    ...served,
    router: { ...served.router, hedgeMs: hedgeMs ?? null, firstTokenMs: 5_000 },
  };
  const model = config.models[0]?.name ?? '';
  const drawn = await drawMiners(MINERS, { name: 'stream miner', model });
  const candidates = drawn.map(({ candidate }) => candidate);
  const worker = await startChild<WorkerInput, null>('worker-process', { config, candidates });
  defer(() => worker.stop());
  const ports: number[] = [];
  for (let i = 0; i < routers; i++) ports.push(await claimPort(data, `router-${i}`));
  const { chainId, contracts } = config.layers.service;
  const domain = signingDomain(chainId, contracts['sessionPayment'] as Address);
  const { gateway } = await connectEngine(config, defer);
  const network = new StreamNetwork({
    config,
    apiKey,
    candidates,
    ports,
    gateway,
    minerInputs: drawn.map(({ key, identity }) => ({
      key,
      identity,
      domain,
      model,
      routerUrls: ports.map((port) => `http://127.0.0.1:${port}`),
      folder: data,
    })),
  });
  defer(() => network.stop());
  await network.start();
  return network;
}
