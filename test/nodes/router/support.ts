/** A router for tests: real HTTP, WebSockets, seals and signatures; our own ports in memory. */
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { cidOf } from '../../../adapters/ipfs/cid.js';
import type { BlockStore } from '../../../adapters/ipfs/block-store.js';
import { createIdentity } from '../../../adapters/seal/identity.js';
import { createKeyring, wrapKeyring } from '../../../adapters/seal/keyring.js';
import type { NetworkInfo } from '../../../domain/api.js';
import { ArchiveIndex } from '../../../domain/archive-index.js';
import { signingDomain } from '../../../domain/attestation.js';
import {
  UNRESTRICTED,
  type ApiKeyConfig,
  type EngineConfig,
  type RouterLimits,
} from '../../../domain/config.js';
import type { ErasureView } from '../../../domain/erasure.js';
import { EngineError } from '../../../domain/errors.js';
import type { Address, Cid, SessionId, TaskId } from '../../../domain/ids.js';
import type {
  ClaimTerms,
  LeaseInput,
  OpenTask,
  SubmittedTask,
  TaskRecord,
} from '../../../domain/lease.js';
import type { NodeStatus } from '../../../domain/node.js';
import type { KeyringRef, Keyring } from '../../../domain/sealing.js';
import {
  parsePolicy,
  type DepositRequest,
  type PolicyChange,
  type SessionPolicy,
  type SessionState,
  type SessionView,
  type WithdrawalRequest,
} from '../../../domain/session.js';
import type { TaskCompletion } from '../../../domain/task.js';
import type { SessionGateway } from '../../../nodes/router/gateway.js';
import type { GuardStore } from '../../../nodes/router/guard/budget.js';
import type { Judge } from '../../../nodes/router/judge.js';
import type { DependencyStatus } from '../../../nodes/router/network/status.js';
import { startRouter, type RouterDeps, type RunningRouter } from '../../../nodes/router/router.js';
import { checkAnswer } from './contract.js';
import { ScriptedMiner, type Script } from './scripted-miner.js';

export const DOMAIN = signingDomain(31_337, '0x00000000000000000000000000000000000000aa');
/** EIP-712 domains by the contract that verifies. */
export const DOMAINS = {
  token: signingDomain(31_337, '0x00000000000000000000000000000000000000ab'),
  manager: signingDomain(31_337, '0x00000000000000000000000000000000000000ac'),
  payment: DOMAIN,
};
export const NETWORK: NetworkInfo = {
  version: '0.1.0',
  chainId: 31_337,
  contracts: {
    token: DOMAINS.token.verifyingContract,
    sessionManager: DOMAINS.manager.verifyingContract,
    sessionPayment: DOMAINS.payment.verifyingContract,
  },
  models: [
    { name: 'tiny', kind: 'chat', pricePerTokenWei: '1' },
    { name: 'small', kind: 'chat', pricePerTokenWei: '1' },
    { name: 'vectors', kind: 'embedding', pricePerTokenWei: '1' },
  ],
  feeBps: 100,
  gatewayUrl: 'http://127.0.0.1:8080',
};
export const API_KEY = 'sk-test';
export const SESSION: SessionId = '4711';

/** Far above what tests ask for. */
const LIMITS: RouterLimits = {
  requestsPerMinute: 100_000,
  tokensPerMinute: 100_000_000,
  maxConcurrent: 1_000,
  maxWaiting: 100,
  waitMs: 500,
  headersMs: 10_000,
  requestMs: 30_000,
  maxHeaderBytes: 16_384,
};

const POLICY = parsePolicy({
  model: 'tiny',
  redundancy: 1,
  level: 'link',
  priceCeilingWei: '10',
  maxTasks: 1_000,
  idleSeconds: 600,
  taskSeconds: 20,
});

/** A session as its workflow tells of it. */
export function viewOf(change: Partial<SessionView> = {}): SessionView {
  return {
    sessionId: SESSION,
    owner: DOMAIN.verifyingContract,
    state: 'Open',
    policy: POLICY,
    policyCid: null,
    policyNonce: 0,
    expiresAtMs: 1_900_000_000_000,
    pricePerTokenWei: '1',
    miners: [],
    validators: [],
    keyring: null,
    budget: {
      depositedWei: '1000',
      reservedWei: '0',
      chargedWei: '0',
      refundedWei: '0',
      freeWei: '1000',
    },
    tasks: { accepted: 0, open: 0, ended: 0, settled: 0 },
    manifestCid: null,
    failure: null,
    ...change,
  };
}

/** Polls until `condition` holds. */
export async function until(condition: () => boolean, what: string, ms = 30_000): Promise<void> {
  for (const deadline = Date.now() + ms; !condition(); await delay(5)) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
  }
}

/** A promise and the function that settles it. */
export function gate(): { readonly opened: Promise<void>; open: () => void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

export class MemoryBlocks implements BlockStore {
  readonly blocks = new Map<Cid, Uint8Array>();
  async put(bytes: Uint8Array): Promise<Cid> {
    const cid = cidOf(bytes);
    this.blocks.set(cid, bytes);
    return cid;
  }
  async get(cid: Cid): Promise<Uint8Array> {
    const bytes = this.blocks.get(cid);
    if (bytes === undefined) throw new EngineError('CONTENT_MISSING', { cid });
    return bytes;
  }
  async unpin(cid: Cid): Promise<void> {
    this.blocks.delete(cid);
  }
  async remove(cid: Cid): Promise<void> {
    this.blocks.delete(cid);
  }
}

/** The session workflow's side of the updates: first answer counts, batches are kept. */
export class FakeGateway implements SessionGateway {
  readonly submitted: (readonly SubmittedTask[])[] = [];
  readonly completed: (readonly TaskCompletion[])[] = [];
  readonly records = new Map<TaskId, TaskRecord>();
  readonly views = new Map<SessionId, SessionView>();
  /** Awaited in each update; a test may close it. */
  beforeSubmit: () => Promise<void> = async () => undefined;
  beforeComplete: () => Promise<void> = async () => undefined;
  refusal: string | null = null;

  async start(): Promise<void> {}
  async view(sessionId: SessionId): Promise<SessionView> {
    const view = this.views.get(sessionId);
    if (view === undefined) throw new EngineError('SESSION_NOT_FOUND', { sessionId });
    return view;
  }
  awaitState(sessionId: SessionId, _state: SessionState): Promise<SessionView> {
    return this.view(sessionId);
  }
  async submit(_sessionId: SessionId, tasks: readonly SubmittedTask[]) {
    this.submitted.push(tasks);
    await this.beforeSubmit();
    return tasks.map((task) => {
      const { taskId, requestCid } = task;
      if (this.refusal !== null) return { taskId, refused: this.refusal };
      const known = this.records.get(taskId);
      if (known !== undefined) {
        if (known.requestCid !== requestCid) return { taskId, refused: 'IDEMPOTENCY_CONFLICT' };
        return { taskId, ordinal: known.ordinal, ended: known.outcome };
      }
      const mayBeIn = this.archiveIndex.pagesWith(taskId, task.notIn);
      if (mayBeIn.length > 0) return { taskId, mayBeIn };
      const ordinal = this.records.size;
      this.records.set(taskId, {
        taskId,
        ordinal,
        state: 'Queued',
        outcome: null,
        requestCid,
        evidenceCid: null,
        resultCid: null,
        usage: null,
        chargeWei: '0',
        settlementTx: null,
        batchCid: null,
        payments: [],
      });
      return { taskId, ordinal, ended: null };
    });
  }
  async complete(_sessionId: SessionId, tasks: readonly TaskCompletion[]) {
    this.completed.push(tasks);
    await this.beforeComplete();
    return tasks.map(({ taskId, outcome, evidenceCid, usage, failure }) => {
      const known = this.records.get(taskId);
      if (known === undefined) return { taskId, outcome: 'failed' as const, chargeWei: '0' };
      const ended: TaskRecord = {
        ...known,
        state: 'Ended',
        outcome: known.outcome ?? outcome,
        ...(failure === undefined || known.outcome !== null ? {} : { failure }),
        evidenceCid: known.evidenceCid ?? evidenceCid ?? null,
        usage: known.usage ?? usage,
      };
      this.records.set(taskId, ended);
      return { taskId, outcome: ended.outcome ?? outcome, chargeWei: '1' };
    });
  }
  /** Called when a router asks for the lease. */
  onClaim: (taskQueue: string, terms: ClaimTerms) => string = (taskQueue) => taskQueue;
  async claimLease(_sessionId: SessionId, taskQueue: string, terms: ClaimTerms = {}) {
    return { holder: this.onClaim(taskQueue, terms), number: 1 };
  }
  /** Name of the worker that has the lease. */
  holderName: string | null = null;
  async leaseHolder() {
    return this.holderName;
  }
  async setKeyring(sessionId: SessionId, keyring: KeyringRef): Promise<SessionView> {
    this.views.set(sessionId, { ...(await this.view(sessionId)), keyring, state: 'Open' });
    return this.view(sessionId);
  }
  close(sessionId: SessionId): Promise<SessionView> {
    return this.view(sessionId);
  }
  async cancelTasks(sessionId: SessionId, taskIds: readonly TaskId[]) {
    const usage = { promptTokens: 0, completionTokens: 0 };
    return await this.complete(
      sessionId,
      taskIds.map((taskId) => ({ taskId, outcome: 'cancelled', paidMiners: [], usage })),
    );
  }
  addDeposit({ sessionId }: DepositRequest): Promise<SessionView> {
    return this.view(sessionId);
  }
  syncDeposit(sessionId: SessionId): Promise<SessionView> {
    return this.view(sessionId);
  }
  withdrawDeposit({ sessionId }: WithdrawalRequest): Promise<SessionView> {
    return this.view(sessionId);
  }
  changePolicy({ sessionId }: PolicyChange): Promise<SessionView> {
    return this.view(sessionId);
  }
  async task(_sessionId: SessionId, taskId: TaskId): Promise<TaskRecord | null> {
    return this.records.get(taskId) ?? null;
  }
  async tasks(): Promise<readonly TaskRecord[]> {
    return [...this.records.values()];
  }
  /** CIDs of archive pages. */
  readonly pages: Cid[] = [];
  readonly archiveIndex = new ArchiveIndex();
  async archive(): Promise<readonly Cid[]> {
    return this.pages;
  }
  /** All completions, batches aside. */
  get ends(): readonly TaskCompletion[] {
    return this.completed.flat();
  }
}

/** What the engine's database holds of callers, in memory. */
export function memoryGuardStore(): GuardStore {
  const counted = new Map<string, Map<TaskId, number>>();
  const nonces = new Set<string>();
  return {
    async readUsedTokens(key) {
      return [...(counted.get(key)?.values() ?? [])].reduce((sum, tokens) => sum + tokens, 0);
    },
    async addUsedTokens(key, taskId, tokens) {
      const tasks = counted.get(key) ?? new Map<TaskId, number>();
      counted.set(key, tasks);
      if (!tasks.has(taskId)) tasks.set(taskId, tokens);
    },
    async useNonce(nonce) {
      return nonces.size < nonces.add(nonce).size;
    },
  };
}

const UP = { isUp: true, error: null, latencyMs: 1 };
/** What a router depends on, all of it there. */
const ALL_UP: DependencyStatus = {
  checkedAtMs: 1_700_000_000_000,
  chains: [{ layer: 'service', chainId: 31_337, ...UP, height: 7, lagMs: 1_000 }],
  temporal: { ...UP, queues: [{ name: 'workflows', backlog: 0, workers: 1 }] },
  ipfs: UP,
  database: UP,
};

export interface WorldOptions {
  readonly policy?: Partial<SessionPolicy>;
  readonly openTasks?: readonly OpenTask[];
  readonly judge?: Judge;
  readonly firstTokenMs?: number;
  readonly hedgeMs?: number;
  readonly silenceMs?: number;
  readonly readNode?: RouterDeps['registry']['readNode'];
  /** Reserved, but not connected by themselves. */
  readonly absent?: number;
  readonly blocks?: MemoryBlocks;
  readonly gateway?: FakeGateway;
  /** Beside API_KEY and `sk-other`. */
  readonly apiKeys?: readonly ApiKeyConfig[];
  readonly guardStore?: GuardStore;
  readonly isContractSignature?: RouterDeps['isContractSignature'];
  readonly limits?: Partial<RouterLimits>;
  readonly cors?: readonly string[];
  readonly signIn?: Partial<EngineConfig['router']['signIn']>;
  readonly chainReader?: RouterDeps['chainReader'];
  readonly readDependencies?: RouterDeps['readDependencies'];
  readonly sources?: RouterDeps['sources'];
  readonly exports?: RouterDeps['exports'];
}

/** Erasures that are done as soon as they are asked for. */
function fakeErasures(): RouterDeps['erasures'] {
  const asked = new Set<SessionId>();
  const view = async (sessionId: SessionId): Promise<ErasureView> => {
    if (!asked.has(sessionId)) throw new EngineError('ERASURE_NOT_FOUND', { sessionId });
    const receipt = {
      version: 1,
      kind: 'erasure',
      chainId: 31_337,
      sessionId,
      owner: DOMAIN.verifyingContract,
      level: 'link',
      keyrings: ['a-keyring'],
      tasks: 1,
      manifestCid: null,
      sinks: [],
      erasedAt: '2026-01-01T00:00:00.000Z',
    } as const;
    const signature = `0x${'11'.repeat(65)}` as const;
    const signed = { receipt, signer: receipt.owner, signature, cid: 'a-receipt' };
    return { sessionId, stage: 'Done', waitingFor: null, signed };
  };
  return {
    view,
    async start(sessionId) {
      asked.add(sessionId);
      return await view(sessionId);
    },
  };
}

export class World {
  readonly router: RunningRouter;
  readonly miners: readonly ScriptedMiner[];
  readonly gateway: FakeGateway;
  readonly blocks: MemoryBlocks;
  readonly keyring: Keyring;
  readonly lease: LeaseInput;
  readonly statuses: Map<string, NodeStatus>;

  constructor(parts: Omit<World, 'ask' | 'chat' | 'close' | 'miner'>) {
    this.router = parts.router;
    this.miners = parts.miners;
    this.gateway = parts.gateway;
    this.blocks = parts.blocks;
    this.keyring = parts.keyring;
    this.lease = parts.lease;
    this.statuses = parts.statuses;
  }

  miner(index: number): ScriptedMiner {
    const miner = this.miners[index];
    if (miner === undefined) throw new Error(`no miner ${index}`);
    return miner;
  }

  /** A request to the router, as the test's API key. Its answer is held against the document. */
  async ask(path: string, init: RequestInit = {}): Promise<Response> {
    const url = new URL(path, this.router.url);
    const response = await fetch(url, {
      ...init,
      headers: {
        authorization: `Bearer ${API_KEY}`,
        'content-type': 'application/json',
        ...(init.headers as Record<string, string> | undefined),
      },
      signal: init.signal ?? AbortSignal.timeout(60_000),
    });
    await checkAnswer(init.method ?? 'GET', url.pathname, response);
    return response;
  }

  chat(text: string, more: object = {}, headers: Record<string, string> = {}): Promise<Response> {
    const body = { model: 'tiny', messages: [{ role: 'user', content: text }], ...more };
    return this.ask('/v1/chat/completions', {
      method: 'POST',
      body: JSON.stringify(body),
      headers,
    });
  }

  async close(): Promise<void> {
    for (const miner of this.miners) miner.close();
    await this.router.close(0);
  }
}

/** Starts a router that holds one session, with a connected miner for each script. */
export async function startWorld(
  scripts: readonly Script[],
  options: WorldOptions = {},
): Promise<World> {
  const miners = await Promise.all(scripts.map((script) => ScriptedMiner.create(DOMAIN, script)));
  const routerKeys = await createIdentity();
  const { keyring, recipient } = await createKeyring(SESSION);
  const blocks = options.blocks ?? new MemoryBlocks();
  const gateway = options.gateway ?? new FakeGateway();
  const policy = { ...POLICY, ...options.policy };
  const readers = [routerKeys.recipient, ...miners.map((miner) => miner.recipient)];
  const file = await wrapKeyring(keyring, readers);
  const statuses = new Map<string, NodeStatus>(miners.map((m) => [m.address, 'Active']));
  const router = await startRouter({
    routerId: 'router-1',
    config: {
      host: '127.0.0.1',
      port: 0,
      apiKeys: [
        { ...UNRESTRICTED, name: 'test', sha256: sha256(API_KEY), sessions: [SESSION] },
        { ...UNRESTRICTED, name: 'other', sha256: sha256('sk-other'), sessions: ['4712'] },
        ...(options.apiKeys ?? []),
      ],
      limits: { ...LIMITS, ...options.limits },
      cors: options.cors ?? [],
      signIn: { domains: ['app.example'], tokenMs: 60_000, ...options.signIn },
      maxPromptBytes: 4_096,
      maxBodyBytes: 64 * 1024,
      firstTokenMs: options.firstTokenMs ?? 5_000,
      hedgeMs: options.hedgeMs ?? null,
    },
    network: NETWORK,
    signingDomain: DOMAIN,
    identity: routerKeys.identity,
    blockStore: blocks,
    registry: {
      readNode:
        options.readNode ??
        (async (address: Address) => {
          const status = statuses.get(address);
          const miner = miners.find((m) => m.address === address);
          if (status === undefined || miner === undefined) return null;
          const { recipient: nodeRecipient } = miner;
          return {
            address,
            role: 'miner',
            status,
            stakeWei: 1n,
            recipient: nodeRecipient,
            metadataCid: '',
          };
        }),
    },
    gateway,
    judge:
      options.judge ??
      (async () => {
        throw new EngineError('ORACLE_UNREACHABLE');
      }),
    accounts: {
      readAccount: async (address) => ({ address, balanceWei: '5', permitNonce: '2' }),
    },
    isContractSignature: options.isContractSignature ?? (async () => false),
    chainReader: options.chainReader ?? {
      miners: async () => [],
      epochs: async () => [],
      epoch: async (epoch) => {
        throw new EngineError('EPOCH_NOT_FOUND', { epoch });
      },
    },
    readDependencies: options.readDependencies ?? (async () => ALL_UP),
    erasures: fakeErasures(),
    guardStore: options.guardStore ?? memoryGuardStore(),
    log: () => undefined,
    // No miner is silent because its machine is busy.
    silenceMs: options.silenceMs ?? 60_000,
    ...(options.sources === undefined ? {} : { sources: options.sources }),
    ...(options.exports === undefined ? {} : { exports: options.exports }),
  });
  const lease: LeaseInput = {
    sessionId: SESSION,
    workflowId: `session:31337:${SESSION}`,
    owner: DOMAIN.verifyingContract,
    policy,
    miners: miners.map(({ address, recipient: r }) => ({ address, recipient: r })),
    validators: [],
    keyring: policy.level === 'open' ? null : { recipient, cid: await blocks.put(file) },
    pricePerTokenWei: '1',
    openTasks: options.openTasks ?? [],
    leaving: [],
  };
  const present = miners.slice(0, miners.length - (options.absent ?? 0));
  await Promise.all(present.map((miner) => miner.connect(router.url)));
  await router.sessions.open(lease);
  return new World({ router, miners, gateway, blocks, keyring, lease, statuses });
}

/** Reads server-sent events: `data` lines as text, comments left out. */
export async function readSse(
  response: Response,
): Promise<{ readonly id: number | null; readonly data: string }[]> {
  const text = await response.text();
  return text
    .split('\n\n')
    .filter((block) => block.includes('data: '))
    .map((block) => ({
      id:
        /^id: (\d+)$/m.exec(block)?.[1] === undefined
          ? null
          : Number(/^id: (\d+)$/m.exec(block)?.[1]),
      data: /^data: (.*)$/m.exec(block)?.[1] ?? '',
    }));
}

/** The text of a streamed chat completion. */
export function textOf(events: readonly { readonly data: string }[]): string {
  return events
    .filter(({ data }) => data !== '[DONE]')
    .map(({ data }) => JSON.parse(data) as { choices?: { delta?: { content?: string } }[] })
    .map(({ choices }) => choices?.[0]?.delta?.content ?? '')
    .join('');
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
