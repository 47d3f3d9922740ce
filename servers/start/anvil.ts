/** Anvil, one for each layer of the chain. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { anvil, obtain } from '../obtain/index.js';
import { claimPort } from '../ports.js';
import type { ServerSpec } from '../spec.js';
import { keepChainState, unpackChainState } from './anvil-state.js';
import { untilAnswer } from './answer.js';
import type { Prepared, StartOptions } from './options.js';
import { rpc } from './rpc.js';

/** A layer that has its own chain. */
export interface ChainLayer {
  /** Such as `onboarding`; names the process `chain-onboarding`. */
  readonly name: string;
  readonly chainId: number;
  readonly port?: number;
}

export interface AnvilOptions extends StartOptions {
  readonly layer: ChainLayer;
}

export interface AnvilHandle {
  readonly rpcUrl: string;
}

/**
 * Makes ready to run Anvil for one layer: a block for every transaction, state in
 * `<data>/chain/<layer>.json.gz`.
 * @throws SERVER_NOT_FOUND, PORT_TAKEN
 */
export async function prepareAnvil(options: AnvilOptions): Promise<Prepared<AnvilHandle>> {
  const { data, layer } = options;
  const { path } = await obtain(anvil, options.obtain);
  const name = `chain-${layer.name}`;
  const port = await claimPort(data, name, layer.port);
  const rpcUrl = `http://127.0.0.1:${port}`;
  const state = join(data, 'chain', `${layer.name}.json.gz`);

  const spec: ServerSpec = {
    name,
    command: path,
    // A line for every call would fill the log; the chain itself is the record.
    args: ['--host', '127.0.0.1', '--port', `${port}`, '--chain-id', `${layer.chainId}`, '--quiet'],
    prepare: async () => (existsSync(state) ? ['--load-state', await unpackChainState(state)] : []),
    ready: (signal) =>
      untilAnswer(signal, async () => {
        return Number(await rpc(rpcUrl, 'eth_chainId', [], signal)) === layer.chainId;
      }),
    companion: (signal) => keepChainState(rpcUrl, state, signal),
  };
  return { spec, handle: { rpcUrl } };
}
