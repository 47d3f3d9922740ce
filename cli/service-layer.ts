/** The service layer as owners and miners reach it from a command line: over their own RPC, named by
 * a configuration or by options, and by nothing that a router says. */
import { isAddress, type JsonRpcProvider } from 'ethers';
import { contractsOf } from '../adapters/chain/deploy.js';
import { openProvider } from '../adapters/chain/provider.js';
import { ServiceChain } from '../adapters/chain/service.js';
import { EngineError } from '../domain/errors.js';
import { parseSessionId, type Address, type SessionId } from '../domain/ids.js';
import { loadSettings } from './config.js';

export const CONFIG_OPTION = {
  config: { value: 'FILE', about: 'temporal.yaml to take what is not given from' },
} as const;

export const CHAIN_OPTIONS = {
  ...CONFIG_OPTION,
  rpc: { value: 'URL', about: "RPC of the service layer's chain" },
  'chain-id': { value: 'N', about: 'id of that chain' },
  payment: { value: 'ADDRESS', about: 'the contract SessionPayment' },
} as const;

interface ChainValues {
  readonly config: string | undefined;
  readonly rpc: string | undefined;
  readonly 'chain-id': string | undefined;
  readonly payment: string | undefined;
}

export interface ServiceLayer {
  readonly chainId: number;
  readonly confirmations: number;
  readonly provider: JsonRpcProvider;
  readonly sessionPayment: Address;
  readonly service: ServiceChain;
}

/** Opens the layer for one command, and closes it again.
 * @throws USAGE — neither options nor configuration name chain and contract.
 * @throws CONFIG_INVALID — as `loadSettings`. */
export async function withServiceLayer<T>(
  values: ChainValues,
  use: (layer: ServiceLayer) => Promise<T>,
): Promise<T> {
  const layer = openServiceLayer(values);
  try {
    return await use(layer);
  } finally {
    layer.provider.destroy();
  }
}

function openServiceLayer(values: ChainValues): ServiceLayer {
  const { config } = values;
  const said =
    config === undefined
      ? undefined
      : loadSettings({ file: config, env: process.env, secrets: [] }).layers.service;
  const rpcUrls = values.rpc === undefined ? said?.rpcUrls : [parseUrl(values.rpc, 'rpc')];
  if (rpcUrls == null) throw new EngineError('USAGE', { expected: '--rpc URL, or --config FILE' });
  const given = values['chain-id'];
  const chainId = given === undefined ? said?.chainId : Number(given);
  if (chainId === undefined || !Number.isSafeInteger(chainId) || chainId < 1) {
    throw new EngineError('USAGE', { expected: '--chain-id N, or --config FILE' });
  }
  const sessionPayment = values.payment ?? said?.contracts?.['sessionPayment'];
  if (sessionPayment === undefined) {
    throw new EngineError('USAGE', { expected: '--payment ADDRESS, or --config FILE' });
  }
  const payment = parseAddress(sessionPayment, '--payment');
  const provider = openProvider({ chainId, rpcUrls });
  return {
    chainId,
    confirmations: said?.confirmations ?? 0,
    provider,
    sessionPayment: payment,
    service: new ServiceChain(provider, contractsOf(payment)),
  };
}

/** @throws USAGE — not an http(s) URL. */
export function parseUrl(text: string, option: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new EngineError('USAGE', { option: `--${option}`, expected: 'an http(s) URL' });
}

/** @throws USAGE — not an address. */
export function parseAddress(text: string, what: string): Address {
  if (isAddress(text) && text.startsWith('0x')) return text as Address;
  throw new EngineError('USAGE', { what, expected: 'an address, 0x and 40 hex digits' });
}

/** @throws USAGE — not the number of a session. */
export function parseSession(text: string): SessionId {
  try {
    return parseSessionId(text);
  } catch {
    throw new EngineError('USAGE', { what: 'SESSION', expected: 'the number of a session' });
  }
}
