/** The deployment's block store, with what it knows of who needs which block, and of users' hosts. */
import type pg from 'pg';
import { openPinLedger } from '../adapters/database/pin-ledger.js';
import { openBlockStore, type BlockStoreConfig } from '../adapters/ipfs/block-store.js';
import { openHeldStore, type HeldStore } from '../adapters/ipfs/held-store.js';
import { openHost, type Host } from '../adapters/ipfs/host.js';
import { readSecret } from '../adapters/seal/secret.js';
import type { EngineConfig, HostConfig } from '../domain/config.js';
import { EngineError } from '../domain/errors.js';

/** Opens it. Connects on the first call; credentials are read at each use of a host.
 * @param pool - of the engine's own database, which is migrated. */
export function openEngineStore(
  config: Pick<EngineConfig, 'hosts'> & { readonly ipfs: BlockStoreConfig },
  pool: pg.Pool,
): HeldStore {
  const { timeoutMs } = config.ipfs;
  return openHeldStore(openBlockStore(config.ipfs), {
    ledger: openPinLedger(pool),
    openHost: (name) => openNamedHost(config.hosts, name, timeoutMs),
  });
}

/** Opens a host of the configuration.
 * @throws HOST_UNREACHABLE — there is none of that name now; it may come back.
 * @throws SECRET_MISSING */
async function openNamedHost(
  hosts: Readonly<Record<string, HostConfig>>,
  name: string,
  timeoutMs: number,
): Promise<Host> {
  const config = Object.hasOwn(hosts, name) ? hosts[name] : undefined;
  if (config === undefined) {
    throw new EngineError('HOST_UNREACHABLE', { host: name, reason: 'not configured' });
  }
  const { credentials } = config;
  return openHost(config, {
    name,
    timeoutMs,
    ...(credentials === null ? {} : { credentials: await readSecret(credentials) }),
  });
}
