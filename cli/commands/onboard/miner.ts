/** `cortensor onboard miner`: registration, stake, assessment, admission, pool. */
import { openBlockStore } from '../../../adapters/ipfs/block-store.js';
import { EngineError } from '../../../domain/errors.js';
import type { Address } from '../../../domain/ids.js';
import { formatTokens, parseTokens } from '../../../domain/money.js';
import { defineCommand } from '../../command.js';
import { Display } from '../../display.js';
import { IDENTITY_OPTION, KEY_OPTION, openIdentity, openSigner } from '../../keys.js';
import { onboardMiner } from '../../onboarding.js';
import { OPERATOR_OPTIONS, withEngine } from '../../operator.js';

const POLL_MS = 1_000;
const MAX_CAPACITY = 1_024;

export const onboardMinerCommand = defineCommand({
  name: 'onboard miner',
  about: `Signs the miner's application and the permit for its stake, starts its onboarding and waits for the end.
The miner must be running, so that it can be assessed, and hold the stake on the onboarding layer; the
engine pays for the gas. One that is registered already is only looked at.`,
  args: [],
  options: {
    ...OPERATOR_OPTIONS,
    ...KEY_OPTION,
    ...IDENTITY_OPTION,
    model: {
      value: 'NAME',
      about: 'a model that it serves; may be repeated; default: all of the configuration',
      isMultiple: true,
    },
    capacity: { value: 'N', about: 'tasks that it takes at once; default: 1' },
    stake: { value: 'TOKENS', about: "default: the registry's minimum" },
  },
  failure: 'it was not admitted, or a server could not be reached',
  async run({ values }) {
    const wallet = await openSigner(values.key);
    const { recipient } = await openIdentity(values.identity);
    const capacity = Number(values.capacity ?? '1');
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > MAX_CAPACITY) {
      throw new EngineError('USAGE', { option: '--capacity', expected: `1 to ${MAX_CAPACITY}` });
    }
    const stake = values.stake === undefined ? null : parseTokens(values.stake);
    return await withEngine(values.config, async ({ config, chains, starter }) => {
      const served = config.models.map((model) => model.name);
      const unknown = values.model.find((name) => !served.includes(name));
      if (unknown !== undefined) throw new EngineError('MODEL_UNKNOWN', { model: unknown });
      const node = wallet.address as Address;
      const read = () => chains.onboarding.readNode(node);
      const deps = { config, chains, starter, store: openBlockStore(config.ipfs) };
      await new Display().step(`onboard miner ${node}`, async (note) => {
        const watching = setInterval(() => {
          read().then(
            (known) => note(known?.status ?? 'not registered yet'),
            () => {},
          );
        }, POLL_MS);
        try {
          await onboardMiner(deps, {
            wallet,
            recipient,
            stakeWei: stake ?? (await chains.onboarding.readMinimumStakeWei()),
            models: values.model.length === 0 ? served : values.model,
            capacity,
          });
        } finally {
          clearInterval(watching);
        }
      });
      const known = await read();
      const stakeWei = known?.stakeWei ?? 0n;
      const status = known?.status ?? 'None';
      return {
        lines: [`${node} is ${status}, with ${formatTokens(stakeWei)} tokens at stake.`],
        json: { node, status, stakeWei: stakeWei.toString() },
        isHeld: status === 'Active',
      };
    });
  },
});
