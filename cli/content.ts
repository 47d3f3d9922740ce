/** IPFS as commands reach it: Kubo's RPC, named by a configuration or by an option. */
import { openBlockStore, type BlockStore } from '../adapters/ipfs/block-store.js';
import { EngineError } from '../domain/errors.js';
import { loadSettings } from './config.js';
import { CONFIG_OPTION, parseUrl } from './service-layer.js';

export const STORE_OPTIONS = {
  ...CONFIG_OPTION,
  ipfs: { value: 'URL', about: "RPC of a Kubo node; default: the configuration's" },
} as const;

/** Milliseconds for one block, without a configuration. */
const TIMEOUT_MS = 30_000;

/** Opens the block store that options or configuration name.
 * @throws USAGE — neither does. @throws CONFIG_INVALID — as `loadSettings`. */
export function openStore(values: {
  readonly config: string | undefined;
  readonly ipfs: string | undefined;
}): BlockStore {
  if (values.ipfs !== undefined) {
    return openBlockStore({ apiUrl: parseUrl(values.ipfs, 'ipfs'), timeoutMs: TIMEOUT_MS });
  }
  const { config } = values;
  if (config !== undefined) {
    const { apiUrl, timeoutMs } = loadSettings({
      file: config,
      env: process.env,
      secrets: [],
    }).ipfs;
    if (apiUrl !== null) return openBlockStore({ apiUrl, timeoutMs });
  }
  throw new EngineError('USAGE', { expected: '--ipfs URL, or --config FILE with ipfs.apiUrl' });
}
