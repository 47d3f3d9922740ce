/** Values of configurations: one that `up` might find, and any that the schema allows. */
import fc from 'fast-check';
import type { Runtime } from '../../cli/config.js';
import { LAYER_CONTRACTS } from '../../cli/config/schema.js';
import {
  API_SCOPES,
  MODEL_KINDS,
  OPENED_KINDS,
  SIDE_EFFECTS,
  SINK_KINDS,
  type EngineConfig,
  type HostConfig,
  type LayerConfig,
  type LayerName,
  type SecretRef,
  type SideEffect,
  type SinkConfig,
} from '../../domain/config.js';
import { TASK_QUEUES, type Address, type TaskQueueName } from '../../domain/ids.js';

const hexOf = (digits: number) => (n: bigint) => n.toString(16).padStart(digits, '0');
const number = (bits: bigint) => fc.bigInt({ min: 0n, max: 2n ** bits - 1n });

const address = number(160n).map((n): Address => `0x${hexOf(40)(n)}`);
const port = fc.integer({ min: 1, max: 65_535 });
const url = fc.tuple(fc.domain(), port).map(([host, at]) => `https://${host}:${at}/rpc`);
/** Includes what YAML would read as something else: `null`, `1e3`, `~`, `- a`. */
const label = fc.oneof(
  fc.constantFrom('null', '1e3', '~', '- a', 'yes', '#', 'embedded', '0x1f', ' lead', "it's"),
  fc.stringMatching(/^[^\r\n\0]{1,40}$/),
);
const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/);
const path = fc.stringMatching(/^[a-zA-Z0-9_ .:#-]{1,20}$/).map((part) => `/data/x${part}x`);
const secret = fc.oneof(
  fc.stringMatching(/^[A-Z_][A-Z0-9_]{0,20}$/).map((variable): SecretRef => `env:${variable}`),
  path.map((file): SecretRef => `file:${file}`),
);
const recipient = fc.stringMatching(/^[a-z0-9]{10,60}$/).map((tail) => `age1${tail}`);
const wei = number(128n).map(String);
const time = fc
  .date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true })
  .map((at) => at.toISOString());
const ms = (min: number, max: number) => fc.integer({ min, max });

function each<K extends string, V>(keys: readonly K[], value: fc.Arbitrary<V>) {
  return fc.record(Object.fromEntries(keys.map((key) => [key, value]))) as fc.Arbitrary<
    Record<K, V>
  >;
}

const retry = fc.record({
  initialIntervalMs: ms(1, 60_000),
  backoffCoefficient: fc.double({ min: 1, max: 10, noNaN: true }),
  maximumIntervalMs: ms(60_000, 3_600_000),
  maximumAttempts: ms(0, 1_000),
  startToCloseMs: ms(100, 3_600_000),
  scheduleToCloseMs: ms(3_600_000, 86_400_000),
});

const userHost: fc.Arbitrary<HostConfig> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('kubo' as const, 'gateway' as const),
    url,
    owners: fc.constant([]),
    allowPrivate: fc.boolean(),
    region: fc.constant('auto'),
    credentials: fc.constant(null),
  }),
  fc.record({
    kind: fc.constant('s3' as const),
    url,
    owners: fc.constant([`wallet:0x${'0a'.repeat(20)}`]),
    allowPrivate: fc.boolean(),
    region: fc.constantFrom('auto', 'eu-central-1'),
    credentials: secret,
  }),
);

const layer = (key: LayerName): fc.Arbitrary<LayerConfig> =>
  fc.record({
    chainId: ms(1, Number.MAX_SAFE_INTEGER),
    rpcUrls: fc.array(url, { minLength: 1, maxLength: 3 }),
    confirmations: ms(0, 10_000),
    signer: secret,
    contracts: each(LAYER_CONTRACTS[key], address),
  });

const oracles = fc.array(fc.record({ address, url, recipient }), { minLength: 3, maxLength: 5 });

const sink: fc.Arbitrary<SinkConfig> = fc
  .record({
    kind: fc.constantFrom(...SINK_KINDS),
    url: secret,
    schema: fc.stringMatching(/^[a-z][a-z0-9_]{0,20}$/),
    tls: fc.boolean(),
    ca: fc.option(secret),
    allowPrivate: fc.boolean(),
    secret,
    open: fc.subarray([...OPENED_KINDS]),
    identity: secret,
  })
  .map((value) => ({
    ...value,
    secret: value.kind === 'webhook' ? value.secret : null,
    identity: value.open.length > 0 ? value.identity : null,
  }));

const configRecord: fc.Arbitrary<EngineConfig> = fc.record({
  temporal: fc.record({
    address: fc.tuple(fc.domain(), port).map(([host, at]) => `${host}:${at}`),
    namespace: label,
    apiKey: fc.option(secret),
    tls: fc.boolean(),
    codec: fc.record({ identity: secret, keys: path }),
  }),
  taskQueues: each(
    Object.keys(TASK_QUEUES) as TaskQueueName[],
    fc.record({
      maxConcurrentWorkflowTasks: ms(2, 10_000),
      maxConcurrentActivities: ms(1, 10_000),
      maxCachedWorkflows: ms(0, 100_000),
    }),
  ),
  stickyTimeoutMs: ms(100, 60_000),
  retries: each<SideEffect, EngineConfig['retries']['chain']>(SIDE_EFFECTS, retry),
  schedules: fc.record({
    healthEpoch: fc.record({ everyMs: ms(10_000, 86_400_000), jitterMs: ms(0, 9_999) }),
  }),
  settlement: fc.record({
    maxTasks: ms(1, 1_000),
    maxAmountWei: fc.option(fc.bigInt({ min: 0n, max: 10n ** 30n }).map(String)),
    maxAgeMs: ms(1_000, 86_400_000),
    feeBps: ms(0, 10_000),
  }),
  dapps: fc.record({ everyMs: ms(100, 3_600_000) }),
  layers: fc.record({
    onboarding: layer('onboarding'),
    health: layer('health'),
    service: layer('service'),
  }),
  ipfs: fc
    .record({
      apiUrl: url,
      gatewayUrl: url,
      timeoutMs: ms(100, 600_000),
      replicas: fc.array(url, { maxLength: 3 }),
      repairEveryMs: ms(60_000, 86_400_000),
    })
    .map((ipfs) => ({ ...ipfs, minReplicas: ipfs.replicas.length + 1 })),
  database: fc.record({ url: secret }),
  router: fc.record({
    host: fc.oneof(fc.domain(), fc.constantFrom('0.0.0.0', '::1')),
    port,
    apiKeys: fc.uniqueArray(
      fc.record({
        name,
        sha256: number(256n).map(hexOf(64)),
        sessions: fc.array(fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }).map(String)),
        scopes: fc.subarray([...API_SCOPES]),
        expiresAt: fc.option(time),
        budgetTokens: fc.option(ms(1, Number.MAX_SAFE_INTEGER)),
        requestsPerMinute: fc.option(ms(1, 1_000_000_000)),
        tokensPerMinute: fc.option(ms(1, 1_000_000_000)),
      }),
      { selector: (key) => key.name, maxLength: 3 },
    ),
    limits: fc.record({
      requestsPerMinute: ms(1, 1_000_000_000),
      tokensPerMinute: ms(1, 1_000_000_000),
      maxConcurrent: ms(1, 100_000),
      maxWaiting: ms(0, 100_000),
      waitMs: ms(0, 60_000),
      headersMs: ms(100, 60_000),
      requestMs: ms(60_000, 3_600_000),
      maxHeaderBytes: ms(1_024, 1_048_576),
    }),
    cors: fc.array(
      fc.oneof(
        fc.constant('*'),
        fc.domain().map((host) => `https://${host}`),
      ),
    ),
    signIn: fc.record({
      domains: fc.array(fc.tuple(fc.domain(), port).map(([host, at]) => `${host}:${at}`)),
      tokenMs: ms(1_000, 86_400_000),
    }),
    maxPromptBytes: ms(1, 1_048_576),
    maxBodyBytes: ms(1, 67_108_864),
    firstTokenMs: ms(100, 3_600_000),
    hedgeMs: fc.option(ms(100, 3_600_000)),
    peerUrl: fc.option(fc.webUrl()),
    identity: secret,
    recipient,
  }),
  models: fc
    .uniqueArray(
      fc.record({
        name: label,
        kind: fc.constantFrom(...MODEL_KINDS),
        pricePerTokenWei: wei,
        file: fc.option(path),
      }),
      { selector: (model) => model.name, minLength: 1, maxLength: 3 },
    )
    // Miners are verified by a model that chats: there is one, wherever it stands.
    .map((models) =>
      models.map((model, i) => ({
        ...model,
        kind: i === models.length - 1 ? ('chat' as const) : model.kind,
      })),
    ),
  embedding: fc.record({ folder: path }),
  oracles,
  quorum: ms(1, 3),
  sinks: fc.dictionary(name, sink, { maxKeys: 3 }),
  databases: fc.dictionary(
    name,
    fc.record({
      url: secret,
      owners: fc.constantFrom(['key:user'], ['key:a', 'key:b']),
      tls: fc.boolean(),
      ca: fc.option(secret),
      allowPrivate: fc.boolean(),
    }),
    { maxKeys: 3 },
  ),
  hosts: fc.dictionary(name, userHost, { maxKeys: 3 }),
});

/** Any complete configuration; cloned, since fast-check makes objects without a prototype. */
export const anyConfig = configRecord.map((config) => structuredClone(config));

const zero: Address = `0x${'0'.repeat(40)}`;
const found = (key: LayerName, at: number) => ({
  rpcUrls: [`http://127.0.0.1:${at}`],
  signer: 'file:/keys/engine' as const,
  contracts: Object.fromEntries(LAYER_CONTRACTS[key].map((contract) => [contract, zero])),
});
const oracle = (at: number) => ({
  address: zero,
  url: `http://127.0.0.1:${at}`,
  recipient: 'age1oracle',
});

/** Everything that the shipped file leaves to `cortensor up`. */
export const runtime = {
  temporal: {
    address: '127.0.0.1:7233',
    codec: { identity: 'file:/keys/codec', keys: '/keys/data' },
  },
  layers: {
    onboarding: found('onboarding', 8_545),
    health: found('health', 8_546),
    service: found('service', 8_547),
  },
  ipfs: { apiUrl: 'http://127.0.0.1:5001', gatewayUrl: 'http://127.0.0.1:8081' },
  database: { url: 'env:DATABASE_URL' },
  router: { identity: 'file:/keys/router', recipient: 'age1router' },
  embedding: { folder: '/models/embedding' },
  oracles: [oracle(9_001), oracle(9_002), oracle(9_003)],
} as const satisfies Runtime;
