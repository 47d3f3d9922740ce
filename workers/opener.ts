/** Opens payloads for the sinks whose users want them opened there; everything else stays sealed. */
import type { Opener } from '../activities/export-rows.js';
import type { BlockStore } from '../adapters/ipfs/block-store.js';
import { openAtRest } from '../adapters/seal/at-rest.js';
import { parseIdentity } from '../adapters/seal/identity-file.js';
import { openKeyring } from '../adapters/seal/keyring.js';
import type { SecretRef, SinkConfig } from '../domain/config.js';
import { EngineError } from '../domain/errors.js';
import type { SessionView } from '../domain/session.js';

/** @returns how to open what a session has, for one sink.
 * @throws SEAL_NOT_RECIPIENT — the sink's identity is not a reader of the session.
 * @throws SINK_CREDENTIALS — the identity is missing, or not safe where it is.
 * @throws CONTENT_MISSING, CONTENT_MISMATCH, IPFS_UNREACHABLE — of the session's keyring. */
export async function openerFor(
  config: Pick<SinkConfig, 'open' | 'identity'> | undefined,
  view: Pick<SessionView, 'policy' | 'keyring'>,
  deps: {
    readonly store: Pick<BlockStore, 'get'>;
    readonly readSecret: (ref: SecretRef) => Promise<string>;
  },
): Promise<Opener> {
  const { open = [], identity = null } = config ?? {};
  const kinds: ReadonlySet<string> = new Set(open);
  if (kinds.size === 0 || identity === null) return async () => null;
  const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  if (view.policy.level === 'open') {
    return async (kind, bytes) => (kinds.has(kind) ? decode(bytes) : null);
  }
  // Without a keyring it never took a task.
  if (view.keyring === null) return async () => null;
  const secret = await identityOf(identity, deps.readSecret);
  const keyring = await openKeyring(await deps.store.get(view.keyring.cid), secret);
  return async (kind, bytes) =>
    kinds.has(kind) ? decode(await openAtRest(bytes, keyring.identity)) : null;
}

async function identityOf(
  reference: SecretRef,
  readSecret: (ref: SecretRef) => Promise<string>,
): Promise<string> {
  try {
    const pair = await parseIdentity(await readSecret(reference));
    if (pair !== undefined) return pair.identity;
  } catch (cause) {
    const reason = cause instanceof EngineError ? cause.code : 'INTERNAL';
    throw new EngineError('SINK_CREDENTIALS', { reference, reason }, { cause });
  }
  throw new EngineError('SINK_CREDENTIALS', { reference, expected: 'one age identity' });
}
