/** `cortensor deploy`: the contracts of a layer, or of all. */
import { Wallet } from 'ethers';
import { stringify } from 'yaml';
import { deployLayer, type DeployParams } from '../../adapters/chain/deploy.js';
import { readSecret } from '../../adapters/seal/secret.js';
import { LAYERS, type LayerName } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import type { Address } from '../../domain/ids.js';
import { formatTokens, parseTokens, parseWei } from '../../domain/money.js';
import { defineCommand } from '../command.js';
import { loadSettings, type Settings } from '../config.js';
import { formatDuration, parseDuration } from '../config/duration.js';
import { withOutbox, type LayerAccess } from '../deployment.js';
import { Display } from '../display.js';
import { parseAddress } from '../service-layer.js';
import { DEV_TERMS } from '../up/contracts.js';

export const deploy = defineCommand({
  name: 'deploy',
  about: `Puts the contracts of a layer on its chain and prints their addresses as YAML for temporal.yaml. The
configuration needs the layer's rpcUrls and signer, which pays, database.url, oracles and quorum.
Every contract is one transaction of the engine's outbox: run again, it goes on or changes nothing;
with other terms it is refused.`,
  args: [],
  options: {
    config: { value: 'FILE', about: 'temporal.yaml', isRequired: true },
    layer: { value: 'NAME', about: `${LAYERS.join(' | ')} | all`, isRequired: true },
    treasury: { value: 'ADDRESS', about: "earns fees and slashed stakes; default: the signer's" },
    'token-cap': {
      value: 'TOKENS',
      about: `most tokens there will ever be; default: ${formatTokens(DEV_TERMS.tokenCap)}`,
    },
    'minimum-stake': {
      value: 'TOKENS',
      about: `stake of a node; default: ${formatTokens(DEV_TERMS.minimumStake)}`,
    },
    unbonding: {
      value: 'TIME',
      about: `from a node's request to leave to its stake; default: ${inUnits(DEV_TERMS.unbondingSeconds)}`,
    },
    'exit-delay': {
      value: 'TIME',
      about: `from an owner's request to exit to its refund; default: ${inUnits(DEV_TERMS.exitSeconds)}`,
    },
    operator: { value: 'ADDRESS', about: "records steps of tasks; default: the signer's" },
    'callback-gas-price': {
      value: 'WEI',
      about: "token wei for a unit of gas in the callback of a contract's request; default: 0",
    },
  },
  failure: 'a chain or the database refused or could not be reached',
  async run({ values }) {
    const names = parseLayers(values.layer);
    const settings = loadSettings({
      file: values.config,
      env: process.env,
      secrets: ['database', ...names.map((name) => `layers.${name}`)],
    });
    const access = Object.fromEntries(names.map((name) => [name, accessOf(settings, name)]));
    const params = termsOf(settings, values);
    const databaseUrl = await readSecret(need(settings.database.url, 'database.url'));
    const display = new Display();
    const deployed = await withOutbox(databaseUrl, access, async ({ outbox }) => {
      const layers: Partial<Record<LayerName, Readonly<Record<string, Address>>>> = {};
      for (const name of names) {
        const signer = await addressOf(access[name]);
        layers[name] = await display.step(`contracts of the ${name} layer`, async () => {
          await outbox.reconcile(name);
          return await deployLayer(outbox, name, { owner: signer, treasury: signer, ...params });
        });
      }
      return layers;
    });
    const file = {
      layers: Object.fromEntries(names.map((name) => [name, { contracts: deployed[name] }])),
    };
    return { lines: [stringify(file).trimEnd()], json: file };
  },
});

function parseLayers(text: string): readonly LayerName[] {
  if (text === 'all') return LAYERS;
  const layer = LAYERS.find((name) => name === text);
  if (layer !== undefined) return [layer];
  throw new EngineError('USAGE', { option: '--layer', expected: `${LAYERS.join(' | ')} | all` });
}

/** What the file says of a layer, now that nothing may be left to `cortensor up`. */
function accessOf(settings: Settings, name: LayerName): LayerAccess {
  const { chainId, confirmations, rpcUrls, signer } = settings.layers[name];
  return {
    chainId,
    confirmations,
    rpcUrls: need(rpcUrls, `layers.${name}.rpcUrls`),
    signer: need(signer, `layers.${name}.signer`),
  };
}

type TermOption =
  | 'treasury'
  | 'operator'
  | 'callback-gas-price'
  | 'token-cap'
  | 'minimum-stake'
  | 'unbonding'
  | 'exit-delay';

function termsOf(
  settings: Settings,
  values: Readonly<Record<TermOption, string | undefined>>,
): Omit<DeployParams, 'owner' | 'treasury'> & { readonly treasury?: Address } {
  const { treasury, operator, unbonding } = values;
  const oracles = need(settings.oracles, 'oracles');
  if (oracles.length < settings.quorum) {
    throw new EngineError('CONFIG_INVALID', {
      path: 'quorum',
      expected: `at most the number of oracles, ${oracles.length}`,
    });
  }
  const tokens = (text: string | undefined, otherwise: bigint): bigint =>
    text === undefined ? otherwise : parseTokens(text);
  return {
    ...(treasury !== undefined && { treasury: parseAddress(treasury, '--treasury') }),
    ...(operator !== undefined && { operator: parseAddress(operator, '--operator') }),
    callbackGasPriceWei: parseWei(values['callback-gas-price'] ?? '0'),
    committee: oracles.map(({ address }) => address),
    quorum: settings.quorum,
    tokenCapWei: tokens(values['token-cap'], DEV_TERMS.tokenCap),
    minimumStakeWei: tokens(values['minimum-stake'], DEV_TERMS.minimumStake),
    unbondingSeconds: seconds(unbonding, '--unbonding', DEV_TERMS.unbondingSeconds),
    exitSeconds: seconds(values['exit-delay'], '--exit-delay', DEV_TERMS.exitSeconds),
  };
}

function seconds(text: string | undefined, option: string, otherwise: number): number {
  if (text === undefined) return otherwise;
  const ms = parseDuration(text);
  if (ms === undefined || ms % 1_000 !== 0) {
    throw new EngineError('USAGE', { option, expected: 'whole seconds, as in 90s, 24h or 7d' });
  }
  return ms / 1_000;
}

function inUnits(time: number): string {
  return formatDuration(time * 1_000);
}

function need<T>(value: T | null, path: string): T {
  if (value !== null) return value;
  throw new EngineError('CONFIG_INVALID', { path, expected: 'a value', got: 'nothing' });
}

async function addressOf(layer: LayerAccess | undefined): Promise<Address> {
  if (layer === undefined) throw new EngineError('INTERNAL', { what: 'layer' });
  return new Wallet(await readSecret(layer.signer)).address as Address;
}
