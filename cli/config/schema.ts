/**
 * The shape of `temporal.yaml` and its defaults. One schema for development and production: what may
 * be `embedded` here must be configured, or brought by `cortensor up`, before it is an EngineConfig.
 */
import { z } from 'zod';
import {
  API_SCOPES,
  HOST_KINDS,
  MODEL_KINDS,
  OPENED_KINDS,
  SIDE_EFFECTS,
  SINK_KINDS,
  type LayerName,
  type SideEffect,
} from '../../domain/config.js';
import { TASK_QUEUES, type TaskQueueName } from '../../domain/ids.js';
import {
  address,
  authority,
  duration,
  embedded,
  flag,
  host,
  hostPort,
  integer,
  label,
  name,
  origin,
  path,
  recipient,
  secret,
  sessionId,
  sha256,
  text,
  time,
  url,
  wei,
} from './fields.js';
import { CHAIN_PRESETS, type ChainPresetName } from './presets.js';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A mapping that may be left out: its fields' defaults stand. */
const section = <T extends z.ZodRawShape>(shape: T) => z.strictObject(shape);

/** One entry for each of `names`, whose schema may differ by name. */
function each<N extends string, T extends z.ZodType>(names: readonly N[], schema: (name: N) => T) {
  const shape = Object.fromEntries(names.map((n) => [n, schema(n)])) as Record<N, T>;
  return z.strictObject(shape);
}

// --- temporal -----------------------------------------------------------------------------------

const temporal = section({
  address: embedded(hostPort),
  namespace: label.default('default'),
  apiKey: secret.nullable().default(null),
  tls: flag.optional(),
  codec: embedded(z.strictObject({ identity: secret, keys: path })),
});

const tuning = section({
  // They share one thread, and when a worker starts they share it to read whole histories.
  maxConcurrentWorkflowTasks: integer(2, 10_000).default(4),
  maxConcurrentActivities: integer(1, 10_000).default(100),
  maxCachedWorkflows: integer(0, 100_000).default(1_000),
}).prefault({});

const taskQueues = each(Object.keys(TASK_QUEUES) as TaskQueueName[], () => tuning);

// --- retries ------------------------------------------------------------------------------------

const RETRY_DEFAULTS: Record<SideEffect, readonly [string, string, number, string, string]> = {
  chain: ['500ms', '10s', 0, '2m', '1h'],
  ipfs: ['200ms', '5s', 0, '30s', '10m'],
  database: ['200ms', '5s', 0, '10s', '10m'],
  miner: ['100ms', '2s', 3, '2m', '5m'],
  oracle: ['500ms', '10s', 5, '1m', '10m'],
};

const retry = (kind: SideEffect) => {
  const [initial, maximum, attempts, startToClose, scheduleToClose] = RETRY_DEFAULTS[kind];
  const interval = duration(1, HOUR, '1ms to 1h');
  const timeout = duration(100, 30 * DAY, '100ms to 30d');
  const coefficient = 'a number from 1 to 10';
  return section({
    initialInterval: interval.prefault(initial),
    backoffCoefficient: z
      .number({ error: coefficient })
      .min(1, { error: coefficient })
      .max(10, { error: coefficient })
      .default(2),
    maximumInterval: interval.prefault(maximum),
    maximumAttempts: integer(0, 1_000).default(attempts),
    startToClose: timeout.prefault(startToClose),
    scheduleToClose: timeout.prefault(scheduleToClose),
  })
    .prefault({})
    .transform((policy) => ({
      initialIntervalMs: policy.initialInterval,
      backoffCoefficient: policy.backoffCoefficient,
      maximumIntervalMs: policy.maximumInterval,
      maximumAttempts: policy.maximumAttempts,
      startToCloseMs: policy.startToClose,
      scheduleToCloseMs: policy.scheduleToClose,
    }));
};

// --- layers -------------------------------------------------------------------------------------

const layer = (chainId: number, contracts: readonly string[]) =>
  section({
    preset: z
      .enum(Object.keys(CHAIN_PRESETS) as ChainPresetName[], {
        error: `one of ${Object.keys(CHAIN_PRESETS).join(', ')}`,
      })
      .optional(),
    chainId: integer(1, Number.MAX_SAFE_INTEGER).optional(),
    rpcUrls: embedded(z.array(url).min(1, { error: 'at least one URL' })),
    confirmations: integer(0, 10_000).optional(),
    signer: embedded(secret),
    contracts: embedded(each(contracts, () => address)),
  })
    .refine((value) => value.preset === undefined || value.chainId === undefined, {
      error: 'no chainId beside a preset',
      path: ['chainId'],
    })
    .prefault({})
    .transform((value) => {
      const preset = value.preset === undefined ? undefined : CHAIN_PRESETS[value.preset];
      return {
        chainId: preset?.chainId ?? value.chainId ?? chainId,
        rpcUrls: value.rpcUrls ?? (preset === undefined ? null : [preset.rpcUrl]),
        confirmations: value.confirmations ?? preset?.confirmations ?? 0,
        signer: value.signer,
        contracts: value.contracts as Record<string, z.infer<typeof address>> | null,
      };
    });

/** Keys of `layers.<name>.contracts`. */
export const LAYER_CONTRACTS: Readonly<Record<LayerName, readonly string[]>> = {
  onboarding: ['token', 'nodeRegistry', 'userRegistry', 'committee'],
  health: ['committee', 'healthLedger', 'nodePool'],
  service: ['token', 'committee', 'sessionManager', 'sessionPayment', 'sessionQueue'],
};

// --- the file -----------------------------------------------------------------------------------

const perMinute = integer(1, 1_000_000_000);

const apiKey = z.strictObject({
  name,
  sha256,
  sessions: z.array(sessionId).default([]),
  scopes: z.array(z.enum(API_SCOPES, { error: `one of ${API_SCOPES.join(', ')}` })).default([]),
  expiresAt: time.nullable().default(null),
  budgetTokens: integer(1, Number.MAX_SAFE_INTEGER).nullable().default(null),
  requestsPerMinute: perMinute.nullable().default(null),
  tokensPerMinute: perMinute.nullable().default(null),
});

const routerLimits = section({
  requestsPerMinute: perMinute.default(6_000),
  tokensPerMinute: perMinute.default(6_000_000),
  maxConcurrent: integer(1, 100_000).default(2_000),
  maxWaiting: integer(0, 100_000).default(500),
  wait: duration(0, MINUTE, '0s to 1m').prefault('2s'),
  headers: duration(100, 10 * MINUTE, '100ms to 10m').prefault('10s'),
  request: duration(100, HOUR, '100ms to 1h').prefault('30s'),
  maxHeaderBytes: integer(1_024, 1_048_576).default(16_384),
});

const sink = z.strictObject({
  kind: z.enum(SINK_KINDS, { error: `one of ${SINK_KINDS.join(', ')}` }).default('postgresql'),
  url: secret,
  schema: text(
    'a name of at most 63 lower-case letters, digits and underscores',
    /^[a-z][a-z0-9_]{0,62}$/,
  ).default('cortensor'),
  tls: flag.default(true),
  ca: secret.nullable().default(null),
  allowPrivate: flag.default(false),
  secret: secret.nullable().default(null),
  open: z.array(z.enum(OPENED_KINDS, { error: `one of ${OPENED_KINDS.join(', ')}` })).default([]),
  identity: secret.nullable().default(null),
});

const binary = section({ binary: path.nullable().default(null) }).prefault({});

const setting = z.union([z.string(), z.number(), z.boolean()], {
  error: 'a text, a number, true or false',
});

/** Lets tokens flow at once: the dev server's own defaults cost 50 ms a step (field notes, 0.1). */
const DYNAMIC_CONFIG = {
  'history.transferProcessorMaxPollRPS': 2_000,
  'system.enableActivityEagerExecution': true,
  'matching.numTaskqueueReadPartitions': 1,
  'matching.numTaskqueueWritePartitions': 1,
};

const userHost = z.strictObject({
  kind: z.enum(HOST_KINDS, { error: `one of ${HOST_KINDS.join(', ')}` }),
  url,
  owners: z.array(text('a wallet such as wallet:0x…', /^wallet:0x[0-9a-f]{40}$/)).default([]),
  allowPrivate: flag.default(false),
  region: label.default('auto'),
  credentials: secret.nullable().default(null),
});

export const fileSchema = section({
  temporal: temporal.prefault({}),
  taskQueues: taskQueues.prefault({}),
  stickyTimeout: duration(100, MINUTE, '100ms to 1m').prefault('2s'),
  retries: each(SIDE_EFFECTS, retry).prefault({}),
  schedules: section({
    healthEpoch: section({
      every: duration(10 * SECOND, 30 * DAY, '10s to 30d').prefault('10m'),
      jitter: duration(0, HOUR, '0s to 1h').prefault('10s'),
    }).prefault({}),
  }).prefault({}),
  settlement: section({
    maxTasks: integer(1, 1_000).default(100),
    maxAmountWei: wei.nullable().default(null),
    maxAge: duration(SECOND, DAY, '1s to 1d').prefault('2m'),
    feeBps: integer(0, 10_000).default(500),
  }).prefault({}),
  dapps: section({ every: duration(100, HOUR, '100ms to 1h').prefault('2s') }).prefault({}),
  layers: z
    .strictObject({
      onboarding: layer(31_337, LAYER_CONTRACTS.onboarding),
      health: layer(31_338, LAYER_CONTRACTS.health),
      service: layer(31_339, LAYER_CONTRACTS.service),
    })
    .prefault({}),
  ipfs: section({
    apiUrl: embedded(url),
    gatewayUrl: embedded(url),
    timeout: duration(100, 10 * MINUTE, '100ms to 10m').prefault('10s'),
    replicas: z.array(url).default([]),
    minReplicas: integer(1, 16).default(1),
    repairEvery: duration(MINUTE, 30 * DAY, '1m to 30d').prefault('1h'),
  }).prefault({}),
  database: section({ url: embedded(secret) }).prefault({}),
  router: section({
    host: host.default('127.0.0.1'),
    port: integer(0, 65_535).default(8_080),
    apiKeys: z.array(apiKey).default([]),
    limits: routerLimits.prefault({}),
    cors: z.array(origin).default([]),
    signIn: section({
      domains: z.array(authority).default([]),
      token: duration(SECOND, DAY, '1s to 1d').prefault('15m'),
    }).prefault({}),
    maxPromptBytes: integer(1, 1_048_576).default(262_144),
    maxBodyBytes: integer(1, 67_108_864).default(1_048_576),
    firstToken: duration(100, HOUR, '100ms to 1h').prefault('20s'),
    hedge: duration(100, HOUR, '100ms to 1h').nullable().default(null),
    peerUrl: url.nullable().default(null),
    identity: embedded(secret),
    recipient: embedded(recipient),
  }).prefault({}),
  models: z
    .array(
      z.strictObject({
        name: label,
        kind: z.enum(MODEL_KINDS, { error: `one of ${MODEL_KINDS.join(', ')}` }).default('chat'),
        pricePerTokenWei: wei,
        file: path.nullable().default(null),
      }),
    )
    .min(1, { error: 'at least one model' })
    .default([
      {
        name: 'smollm2-135m-instruct',
        kind: 'chat',
        pricePerTokenWei: '1000000000000',
        file: null,
      },
      {
        name: 'all-minilm-l6-v2',
        kind: 'embedding',
        pricePerTokenWei: '100000000000',
        file: null,
      },
    ]),
  embedding: section({ folder: embedded(path) }).prefault({}),
  oracles: embedded(z.array(z.strictObject({ address, url, recipient }))),
  quorum: integer(1, 100).default(2),
  sinks: z.record(name, sink).default({}),
  databases: z
    .record(
      name,
      z.strictObject({
        url: secret,
        owners: z
          .array(text('a caller such as key:NAME', /^(key:.{1,200}|wallet:0x[0-9a-f]{40})$/))
          .min(1),
        tls: flag.default(true),
        ca: secret.nullable().default(null),
        allowPrivate: flag.default(false),
      }),
    )
    .default({}),
  hosts: z.record(name, userHost).default({}),
  servers: section({
    temporal: section({
      binary: path.nullable().default(null),
      dynamicConfig: z
        .record(text('a setting such as system.enableEager', /^[\w.-]+$/), setting)
        .default(DYNAMIC_CONFIG),
    }).prefault({}),
    ipfs: binary,
    anvil: binary,
    postgres: binary,
  }).prefault({}),
});

/** The file's content with its defaults, still in the file's own words. */
export type FileContent = z.infer<typeof fileSchema>;
