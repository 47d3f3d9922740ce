/** IPFS as commands reach it: Kubo's RPC, named by a configuration or by an option. */
import {
  openBlockStore,
  type BlockStore,
  type BlockStoreConfig,
} from '../adapters/ipfs/block-store.js';
import { openContentStore, type ContentStore } from '../adapters/ipfs/content-store.js';
import { addToHost, openHost } from '../adapters/ipfs/host.js';
import { readContent } from '../adapters/ipfs/read-content.js';
import { readSecret } from '../adapters/seal/secret.js';
import { EngineError } from '../domain/errors.js';
import { loadSettings } from './config.js';
import { CONFIG_OPTION, parseUrl } from './service-layer.js';

export const STORE_OPTIONS = {
  ...CONFIG_OPTION,
  ipfs: { value: 'URL', about: "RPC of a Kubo node; default: the configuration's" },
} as const;

/** Milliseconds for one block, without a configuration. */
const TIMEOUT_MS = 30_000;

interface StoreValues {
  readonly config: string | undefined;
  readonly ipfs: string | undefined;
}

/** Opens the block store that options or configuration name.
 * @throws USAGE — neither does. @throws CONFIG_INVALID — as `loadSettings`. */
export function openStore(values: StoreValues): BlockStore {
  return openBlockStore(storeOf(values));
}

/** Opens what holds content of any size: IPFS, or a user's own host that the configuration names.
 * @throws USAGE, CONFIG_INVALID — as `openStore`, or there is no such host. @throws SECRET_MISSING */
export async function openContent(
  values: StoreValues & { readonly host: string | undefined },
): Promise<ContentStore> {
  const { host: name, config: file } = values;
  if (name === undefined) return openContentStore(storeOf(values));
  if (file === undefined) throw new EngineError('USAGE', { expected: '--config FILE with --host' });
  const { hosts, ipfs } = loadSettings({ file, env: process.env, secrets: [] });
  const config = Object.hasOwn(hosts, name) ? hosts[name] : undefined;
  if (config === undefined) {
    throw new EngineError('USAGE', {
      expected: Object.keys(hosts).join(' | ') || 'a host',
      got: name,
    });
  }
  const { credentials } = config;
  const host = openHost(config, {
    name,
    timeoutMs: ipfs.timeoutMs,
    ...(credentials === null ? {} : { credentials: await readSecret(credentials) }),
  });
  return {
    add: (source, options) => addToHost(host, source, options),
    read: (cid, options) => readContent(host, cid, options),
  };
}

function storeOf(values: StoreValues): BlockStoreConfig {
  if (values.ipfs !== undefined) {
    return { apiUrl: parseUrl(values.ipfs, 'ipfs'), timeoutMs: TIMEOUT_MS };
  }
  const { config } = values;
  if (config !== undefined) {
    const { apiUrl, ...rest } = loadSettings({ file: config, env: process.env, secrets: [] }).ipfs;
    if (apiUrl !== null) return { ...rest, apiUrl };
  }
  throw new EngineError('USAGE', { expected: '--ipfs URL, or --config FILE with ipfs.apiUrl' });
}
