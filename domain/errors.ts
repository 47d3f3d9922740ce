/**
 * Every error of the engine, on one page: its stable code, the HTTP status it maps to, whether a
 * retry can mend it, and whose fault it is. Edges (activities, router, CLI) translate from this
 * table and nowhere else.
 */

interface ErrorEntry {
  /** HTTP status the router answers with. */
  readonly status: number;
  /** True when the same call may succeed later; false makes the failure final in workflows too. */
  readonly retryable: boolean;
  readonly fault: 'caller' | 'peer' | 'chain' | 'storage' | 'internal';
  /** Lower-case fragment, no period; the values come from `details`. */
  readonly text: string;
}

const entry = (
  status: number,
  fault: ErrorEntry['fault'],
  text: string,
  retryable = false,
): ErrorEntry => ({ status, retryable, fault, text });

export const ERRORS = {
  // caller
  CONFIG_INVALID: entry(400, 'caller', 'the configuration is not valid'),
  SECRET_MISSING: entry(400, 'caller', 'a referenced secret is missing'),
  USAGE: entry(400, 'caller', 'the command was not understood'),
  PROMPT_INVALID: entry(400, 'caller', 'the prompt is not valid'),
  PROMPT_TOO_LARGE: entry(413, 'caller', 'the prompt is too large'),
  REQUEST_INVALID: entry(400, 'caller', 'the request is not valid'),
  FEATURE_UNSUPPORTED: entry(400, 'caller', 'no miner of this network supports what is asked for'),
  MODEL_UNKNOWN: entry(404, 'caller', 'the model is not served by this network'),
  MODEL_UNFIT: entry(400, 'caller', 'the model does not give what is asked for'),
  API_KEY_INVALID: entry(401, 'caller', 'the API key is not valid'),
  KEY_SCOPE: entry(403, 'caller', 'the API key does not allow this'),
  KEY_BUDGET_EXHAUSTED: entry(402, 'caller', 'the budget of the API key is used up'),
  SIGNATURE_INVALID: entry(401, 'caller', 'the signature is not valid'),
  SESSION_NOT_FOUND: entry(404, 'caller', 'the session does not exist'),
  SESSION_NOT_OPEN: entry(409, 'caller', 'the session does not take requests in its state'),
  SESSION_BUSY: entry(503, 'caller', 'the session takes no new requests for a moment', true),
  SESSION_SEALED: entry(
    409,
    'caller',
    'the session is sealed: requests must be sealed by the client, use the SDK',
  ),
  SESSION_UNFUNDED: entry(402, 'caller', 'the session has no deposit'),
  BUDGET_EXHAUSTED: entry(402, 'caller', 'the session budget does not cover the request'),
  POLICY_INVALID: entry(400, 'caller', 'the session policy is not valid'),
  TASK_NOT_FOUND: entry(404, 'caller', 'the task does not exist'),
  EPOCH_NOT_FOUND: entry(404, 'caller', 'the epoch has no report on chain'),
  TASK_UNDER_WAY: entry(
    409,
    'caller',
    'the answer to the task has begun, so it is finished and billed',
  ),
  TASK_CANCELLED: entry(409, 'caller', 'the task was cancelled'),
  TASK_NOT_SETTLED: entry(409, 'caller', 'the task is not settled on chain'),
  IDEMPOTENCY_CONFLICT: entry(409, 'caller', 'the idempotency key was used for another request'),
  AMOUNT_INVALID: entry(400, 'caller', 'the amount is not valid'),
  NODE_NOT_REGISTERED: entry(403, 'caller', 'the node is not registered'),
  RATE_LIMITED: entry(429, 'caller', 'too many requests', true),
  EXPORT_REFUSED: entry(400, 'caller', 'the sink refused the rows'),
  SOURCE_NOT_FOUND: entry(404, 'caller', 'the source does not exist'),
  SOURCE_INVALID: entry(400, 'caller', 'the source is not valid'),
  SOURCE_UNREADABLE: entry(422, 'caller', 'the document could not be read'),
  CONTEXT_SEALED: entry(
    409,
    'caller',
    'a sealed context is found by the client: ask with `retrieve` of the SDK',
  ),
  ERASURE_REFUSED: entry(409, 'caller', 'the session cannot be erased'),
  ERASURE_NOT_FOUND: entry(404, 'caller', 'nobody has asked to erase the session'),
  EXPORT_NOT_FOUND: entry(404, 'caller', 'there is no such export'),
  SINK_CREDENTIALS: entry(400, 'caller', 'the sink does not accept the credentials'),
  SINK_UNTRUSTED: entry(400, 'caller', 'the sink has no certificate that is trusted'),
  SINK_GONE: entry(410, 'caller', 'the sink wants no more rows'),
  ADDRESS_REFUSED: entry(400, 'caller', 'the address is not one that may be reached'),

  // peer
  NO_MINERS: entry(503, 'peer', 'too few miners are available', true),
  MINER_TIMEOUT: entry(504, 'peer', 'the miner did not answer in time', true),
  MINER_FAILED: entry(502, 'peer', 'the miner failed', true),
  MINER_PROTOCOL: entry(502, 'peer', 'the miner broke the protocol'),
  NO_QUORUM: entry(503, 'peer', 'no quorum was reached', true),
  ATTESTATION_REFUSED: entry(502, 'peer', 'the oracles refused to sign'),
  ORACLE_UNREACHABLE: entry(503, 'peer', 'the oracle could not be reached', true),
  BACKEND_FAILED: entry(502, 'peer', 'the inference backend failed', true),
  ROUTER_UNREACHABLE: entry(503, 'peer', 'the router could not be reached', true),
  ROUTER_BUSY: entry(503, 'peer', 'the router has as many requests as it takes', true),
  ROUTER_DRAINING: entry(503, 'peer', 'the router is being stopped', true),
  ROUTER_LEASE_LOST: entry(503, 'peer', 'the router no longer holds the session', true),

  // chain
  CHAIN_UNREACHABLE: entry(503, 'chain', 'the chain could not be reached', true),
  CHAIN_MISMATCH: entry(500, 'chain', 'the chain is not the one configured'),
  TRANSACTION_REVERTED: entry(409, 'chain', 'the contract refused the transaction'),
  TRANSACTION_PENDING: entry(503, 'chain', 'the transaction is not final yet', true),

  // storage
  IPFS_UNREACHABLE: entry(503, 'storage', 'IPFS could not be reached', true),
  HOST_UNREACHABLE: entry(503, 'storage', "the user's own store could not be reached", true),
  CONTENT_MISMATCH: entry(502, 'storage', 'the bytes do not match their CID'),
  CONTENT_MISSING: entry(404, 'storage', 'the content was not found in time', true),
  CONTENT_TOO_LARGE: entry(413, 'storage', 'the content is larger than allowed'),
  SINK_UNREACHABLE: entry(503, 'storage', 'the sink could not be reached', true),
  DATABASE_UNREACHABLE: entry(503, 'storage', 'the database could not be reached', true),
  DATABASE_REFUSED: entry(500, 'storage', 'the database refused the statement'),
  DATABASE_UNTRUSTED: entry(500, 'storage', 'the database has no certificate that is trusted'),
  SEAL_BROKEN: entry(422, 'storage', 'the sealed data could not be opened'),
  SEAL_NOT_RECIPIENT: entry(403, 'storage', 'the identity is not a reader of the sealed data'),
  KEY_FILE_UNSAFE: entry(500, 'storage', 'the key file is not safe'),

  // internal and machine
  SERVER_NOT_FOUND: entry(500, 'internal', 'a server could not be obtained'),
  DOWNLOAD_CORRUPT: entry(500, 'internal', 'the download does not match its checksum'),
  PORT_TAKEN: entry(500, 'internal', 'the port is taken'),
  SERVER_FAILED: entry(500, 'internal', 'a server did not start'),
  DATA_IN_USE: entry(500, 'internal', 'the data folder is in use by another process'),
  TEMPORAL_UNREACHABLE: entry(503, 'internal', 'Temporal could not be reached', true),
  JOB_FAILED: entry(500, 'internal', 'the job did not hold all it promised'),
  INVARIANT_BROKEN: entry(500, 'internal', 'an invariant does not hold'),
  INTERNAL: entry(500, 'internal', 'an internal error occurred', true),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** Values that explain an error. Never a secret, a payload or a URL with credentials. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>;

/** The one error class. Its text is built from the code and the details, last. */
export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, details: ErrorDetails = {}, options?: { cause?: unknown }) {
    super(describe(code, details), options);
    this.code = code;
    this.details = details;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }

  get fault(): ErrorEntry['fault'] {
    return ERRORS[this.code].fault;
  }
}

/** True for a string that is a code of the table, as read back from a failure or a response. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERRORS, value);
}

/** Follows `cause` to the first EngineError; `undefined` when there is none. */
export function findEngineError(error: unknown): EngineError | undefined {
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    if (e instanceof EngineError) return e;
  }
  return undefined;
}

function describe(code: ErrorCode, details: ErrorDetails): string {
  const values = Object.entries(details).map(([key, value]) => `${key} ${String(value)}`);
  const text = ERRORS[code].text;
  return values.length === 0 ? text : `${text}: ${values.join(', ')}`;
}
