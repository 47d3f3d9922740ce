/** What operators' commands share: the deployment's configuration, its Temporal, its chains. */
import type { Client } from '@temporalio/client';
import { connectClient } from '../adapters/temporal/connect.js';
import type { EngineConfig } from '../domain/config.js';
import { createStarter, type Starter } from '../workers/starter.js';
import { openChains, type Chains } from './chains.js';
import { readConfig } from './role.js';

export const OPERATOR_OPTIONS = {
  config: {
    value: 'FILE',
    about: 'the deployment, a complete temporal.yaml',
    isRequired: true,
  },
} as const;

export interface Engine {
  readonly config: EngineConfig;
  readonly client: Client;
  readonly starter: Starter;
  readonly chains: Chains;
}

/** Connects to a deployment for one command.
 * @throws CONFIG_INVALID, SECRET_MISSING — as `loadConfig`. @throws TEMPORAL_UNREACHABLE */
export async function withEngine<T>(file: string, use: (engine: Engine) => Promise<T>): Promise<T> {
  const config = readConfig(file, ['temporal']);
  const temporal = await connectClient(config.temporal);
  const chains = openChains(config.layers);
  try {
    const { client } = temporal;
    return await use({ config, client, chains, starter: createStarter({ config, client }) });
  } finally {
    chains.close();
    await temporal.close();
  }
}
