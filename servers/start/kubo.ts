/** Kubo on loopback, with a repository of its own and no peers. */
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { replaceFile } from '../files.js';
import { kubo, obtain } from '../obtain/index.js';
import { claimPort } from '../ports.js';
import { run } from '../run.js';
import type { ServerSpec } from '../spec.js';
import { untilAnswer } from './answer.js';
import type { Prepared, StartOptions } from './options.js';

export interface KuboOptions extends StartOptions {
  readonly port?: number;
  readonly gatewayPort?: number;
}

export interface KuboHandle {
  /** RPC API, for `kubo-rpc-client`. Whoever reaches it may do anything with the node. */
  readonly apiUrl: string;
  readonly gatewayUrl: string;
}

/**
 * Makes ready to run Kubo offline, with its repository in `<data>/ipfs`. A lock left by a killed Kubo
 * is released by the system with its process.
 * @throws SERVER_NOT_FOUND, PORT_TAKEN
 */
export async function prepareKubo(options: KuboOptions): Promise<Prepared<KuboHandle>> {
  const { data } = options;
  const { path } = await obtain(kubo, options.obtain);
  const port = await claimPort(data, 'ipfs', options.port);
  const gatewayPort = await claimPort(data, 'ipfs-gateway', options.gatewayPort);
  const repository = join(data, 'ipfs');
  if (!existsSync(repository)) await createRepository(path, repository);
  configure(repository, port, gatewayPort);

  const apiUrl = `http://127.0.0.1:${port}`;
  const spec: ServerSpec = {
    name: 'ipfs',
    command: path,
    args: ['daemon', '--offline'],
    env: kuboEnv(repository),
    ready: (signal) =>
      untilAnswer(signal, async () => {
        return (await fetch(`${apiUrl}/api/v0/version`, { method: 'POST', signal })).ok;
      }),
  };
  return { spec, handle: { apiUrl, gatewayUrl: `http://127.0.0.1:${gatewayPort}` } };
}

/** Made aside and renamed, so that a repository is whole or absent. */
async function createRepository(path: string, repository: string): Promise<void> {
  const aside = `${repository}.new`;
  rmSync(aside, { recursive: true, force: true });
  // The profile `test` means: loopback only, no bootstrap peers, no discovery, nothing fetched.
  await run(path, ['init', '--empty-repo', '--profile', 'test'], {
    env: kuboEnv(aside),
    timeoutMs: 60_000,
  });
  renameSync(aside, repository);
}

interface KuboConfig {
  Addresses: Record<string, unknown>;
  Datastore: { Spec: { mounts: { type: string; sync?: boolean }[] } };
  [section: string]: unknown;
}

/** Written before every start, since ports may have changed; the node's identity stays. */
function configure(repository: string, port: number, gatewayPort: number): void {
  const path = join(repository, 'config');
  const config = JSON.parse(readFileSync(path, 'utf8')) as KuboConfig;
  config.Addresses = {
    ...config.Addresses,
    API: `/ip4/127.0.0.1/tcp/${port}`,
    Gateway: `/ip4/127.0.0.1/tcp/${gatewayPort}`,
    Swarm: [],
  };
  // A block that was acknowledged is on disk, also after a power cut.
  for (const mount of config.Datastore.Spec.mounts) {
    if (mount.type === 'flatfs') mount.sync = true;
  }
  replaceFile(path, JSON.stringify(config, null, 2));
}

function kuboEnv(repository: string): Record<string, string> {
  return { IPFS_PATH: repository, IPFS_TELEMETRY: 'off' };
}
