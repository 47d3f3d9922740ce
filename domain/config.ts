/**
 * The configuration of one deployment, as every process sees it: read once by cli/config.ts from
 * `temporal.yaml`, checked, frozen. Secrets are references until the moment of use.
 */
import type { Address } from './ids.js';
import type { TaskQueueName } from './ids.js';
import type { WeiString } from './money.js';

/** `env:NAME` or `file:PATH`: where a secret is, never the secret. */
export type SecretRef = `env:${string}` | `file:${string}`;

export const LAYERS = ['onboarding', 'health', 'service'] as const;
export type LayerName = (typeof LAYERS)[number];

/** Retries of one kind of side effect. Durations are milliseconds. */
export interface RetryPolicyConfig {
  readonly initialIntervalMs: number;
  readonly backoffCoefficient: number;
  readonly maximumIntervalMs: number;
  /** 0 = until `scheduleToCloseMs`. */
  readonly maximumAttempts: number;
  readonly startToCloseMs: number;
  readonly scheduleToCloseMs: number;
}
export const SIDE_EFFECTS = ['chain', 'ipfs', 'database', 'miner', 'oracle'] as const;
export type SideEffect = (typeof SIDE_EFFECTS)[number];
/** Handed to every workflow in its input: workflows read no files. */
export type RetryPolicies = Readonly<Record<SideEffect, RetryPolicyConfig>>;

export interface WorkerTuning {
  readonly maxConcurrentWorkflowTasks: number;
  readonly maxConcurrentActivities: number;
  readonly maxCachedWorkflows: number;
}

export interface LayerConfig {
  readonly chainId: number;
  /** In order of preference. */
  readonly rpcUrls: readonly string[];
  /** Blocks on top of a receipt's before it counts as final; 0 = its own block is enough. */
  readonly confirmations: number;
  /** Signer of the engine's transactions on this layer. */
  readonly signer: SecretRef;
  /** By contract name, as generated in contracts/abi.ts. */
  readonly contracts: Readonly<Record<string, Address>>;
}

/** `chat`: answers conversations; `embedding`: gives vectors of texts. */
export const MODEL_KINDS = ['chat', 'embedding'] as const;
export type ModelKind = (typeof MODEL_KINDS)[number];

export interface ModelConfig {
  readonly name: string;
  readonly kind: ModelKind;
  readonly pricePerTokenWei: WeiString;
  /** GGUF file that this deployment's miners run, or, of an embedding model, the folder with its
   * `model.onnx` and `tokenizer.json`; `null` where miners bring their own backend. */
  readonly file: string | null;
}

/** The first model of a kind: miners are verified by the first that chats. */
export function firstOfKind<T extends Pick<ModelConfig, 'kind'>>(
  models: readonly T[],
  kind: ModelKind,
): T | undefined {
  return models.find((model) => model.kind === kind);
}

/** What a caller may do: `chat` sends requests to miners, the rest reads and changes. */
export const API_SCOPES = ['chat', 'sessions:read', 'sessions:write', 'network:read'] as const;
export type ApiScope = (typeof API_SCOPES)[number];

/** How much one caller may ask of one router. Tokens are those of prompt and answer. */
export interface RateLimits {
  readonly requestsPerMinute: number;
  readonly tokensPerMinute: number;
}

export interface ApiKeyConfig {
  readonly name: string;
  /** Hex SHA-256 of the key. */
  readonly sha256: string;
  /** Sessions that the key may use; empty = every session. */
  readonly sessions: readonly string[];
  /** Empty = all. */
  readonly scopes: readonly ApiScope[];
  /** ISO 8601, with a time zone; `null` = it does not expire. */
  readonly expiresAt: string | null;
  /** Billed tokens that the key may use in its life, counted over all routers; `null` = no end. */
  readonly budgetTokens: number | null;
  /** The key's own, in place of `router.limits`. */
  readonly requestsPerMinute: number | null;
  readonly tokensPerMinute: number | null;
}

/** What a key may do that nothing restricts. */
export const UNRESTRICTED = {
  sessions: [],
  scopes: [],
  expiresAt: null,
  budgetTokens: null,
  requestsPerMinute: null,
  tokensPerMinute: null,
} as const satisfies Omit<ApiKeyConfig, 'name' | 'sha256'>;

/** What the router's HTTP server takes on. */
export interface RouterLimits extends RateLimits {
  /** Requests at once; streams count until they end. */
  readonly maxConcurrent: number;
  /** Requests that wait for a place; more are sent away at once. */
  readonly maxWaiting: number;
  readonly waitMs: number;
  /** From a connection's first byte to the end of a request's head, and of the whole request. */
  readonly headersMs: number;
  readonly requestMs: number;
  readonly maxHeaderBytes: number;
}

export interface OracleConfig {
  readonly address: Address;
  readonly url: string;
  /** age recipient: oracles are the validators that sealed sessions are wrapped for. */
  readonly recipient: string;
}

export const SINK_KINDS = ['postgresql', 'mysql', 'webhook'] as const;
export type SinkKind = (typeof SINK_KINDS)[number];
/** Payloads that a sink may get in plain form, beside their sealed bytes. */
export const OPENED_KINDS = ['request', 'result'] as const;
export type OpenedKind = (typeof OPENED_KINDS)[number];

/** A user's own store that sessions may be exported to. */
export interface SinkConfig {
  readonly kind: SinkKind;
  /** `postgres://…`, `mysql://…` or `https://…`, credentials included. */
  readonly url: SecretRef;
  /** Of a database: the schema, in MySQL the database, that holds our tables. */
  readonly schema: string;
  /** Encrypts the connection and verifies the certificate; a webhook without it may be `http:`. */
  readonly tls: boolean;
  /** Certificates to trust in place of the system's, PEM; `null` = the system's. */
  readonly ca: SecretRef | null;
  /** Lets it be on this machine or in its network. */
  readonly allowPrivate: boolean;
  /** Of a webhook: the key that signs, `whsec_…`; else `null`. */
  readonly secret: SecretRef | null;
  /** Kinds of payloads that the user wants opened there; empty = everything stays sealed. */
  readonly open: readonly OpenedKind[];
  /** age identity that opens them, a reader of the sessions; `null` exactly when nothing is opened. */
  readonly identity: SecretRef | null;
}

/** `kubo`: RPC of an IPFS node; `gateway`: trustless HTTP gateway, read only; `s3`: a bucket. */
export const HOST_KINDS = ['kubo', 'gateway', 's3'] as const;
export type HostKind = (typeof HOST_KINDS)[number];

/** A user's own store, as source of inputs and home of results. */
export interface HostConfig {
  readonly kind: HostKind;
  /** Of a bucket: path-style, `https://host/bucket`. */
  readonly url: string;
  /** Owners whose sessions may name it, `wallet:0x…` in lower case; empty: only commands use it. */
  readonly owners: readonly string[];
  /** Lets it be on this machine or in its network. */
  readonly allowPrivate: boolean;
  /** Of a bucket; `auto` where the store has none. */
  readonly region: string;
  /** Of a bucket: `id:secret`; else `null`. */
  readonly credentials: SecretRef | null;
}

/** A user's database: sources read its tables, or keep their chunks there. */
export interface UserDatabaseConfig {
  /** `postgres://…` or `mysql://…`, of an account that is no superuser; its query is left aside. */
  readonly url: SecretRef;
  /** Callers of the router that may use it: `key:NAME`, `wallet:0x…` in lower case. */
  readonly owners: readonly string[];
  /** Encrypts the connection and verifies the certificate. */
  readonly tls: boolean;
  /** Certificates to trust in place of the system's, PEM; `null` = the system's. */
  readonly ca: SecretRef | null;
  /** Lets it be on this machine or in its network. */
  readonly allowPrivate: boolean;
}

export interface EngineConfig {
  readonly temporal: {
    readonly address: string;
    readonly namespace: string;
    readonly apiKey: SecretRef | null;
    readonly tls: boolean;
    /** age identity that opens the codec's data keys, and the folder they lie in. */
    readonly codec: { readonly identity: SecretRef; readonly keys: string };
  };
  readonly taskQueues: Readonly<Record<TaskQueueName, WorkerTuning>>;
  readonly stickyTimeoutMs: number;
  readonly retries: RetryPolicies;
  readonly schedules: {
    readonly healthEpoch: { readonly everyMs: number; readonly jitterMs: number };
  };
  readonly settlement: {
    readonly maxTasks: number;
    /** Charges that a batch settles at; `null`: it settles by count and age alone. */
    readonly maxAmountWei: WeiString | null;
    readonly maxAgeMs: number;
    readonly feeBps: number;
  };
  /** How often the service layer is looked at for requests of contracts. */
  readonly dapps: { readonly everyMs: number };
  readonly layers: Readonly<Record<LayerName, LayerConfig>>;
  readonly ipfs: {
    readonly apiUrl: string;
    readonly gatewayUrl: string;
    readonly timeoutMs: number;
    /** RPC APIs of further Kubo nodes that hold all that the first one does. */
    readonly replicas: readonly string[];
    /** Nodes that must have proven that they hold a block before it counts as written. */
    readonly minReplicas: number;
    /** From one look for lost and damaged blocks to the next; without replicas there is none. */
    readonly repairEveryMs: number;
  };
  readonly database: { readonly url: SecretRef };
  readonly router: {
    readonly host: string;
    readonly port: number;
    readonly apiKeys: readonly ApiKeyConfig[];
    readonly limits: RouterLimits;
    /** Origins whose pages may call the router from a browser; `*` = all. */
    readonly cors: readonly string[];
    readonly signIn: {
      /** `host:port` that wallets may sign in for; empty = the router's own. */
      readonly domains: readonly string[];
      /** Life of the token that a wallet gets. */
      readonly tokenMs: number;
    };
    readonly maxPromptBytes: number;
    readonly maxBodyBytes: number;
    /** Time a miner has for its first token, from dispatch. */
    readonly firstTokenMs: number;
    /** After so long without a first token another miner is asked beside the first, and whoever
     * begins goes on; `null` = never. */
    readonly hedgeMs: number | null;
    /** Where other routers reach this one; `null` = at its host and port. */
    readonly peerUrl: string | null;
    /** age identity that opens what is sealed to the router, at level `link`. */
    readonly identity: SecretRef;
    /** The age recipient of that identity. */
    readonly recipient: string;
  };
  readonly models: readonly ModelConfig[];
  /** Folder of the embedding model that oracles judge answers with. */
  readonly embedding: { readonly folder: string };
  readonly oracles: readonly OracleConfig[];
  /** Oracles that must sign; at most as many as there are. */
  readonly quorum: number;
  /** By name: what an export asks for. */
  readonly sinks: Readonly<Record<string, SinkConfig>>;
  /** By name: databases that users' sources name. */
  readonly databases: Readonly<Record<string, UserDatabaseConfig>>;
  /** By name: users' own stores. */
  readonly hosts: Readonly<Record<string, HostConfig>>;
}
