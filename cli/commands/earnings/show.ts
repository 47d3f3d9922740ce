/** `cortensor earnings show`: what can be withdrawn. */
import { EngineError } from '../../../domain/errors.js';
import { sameAddress, type Address } from '../../../domain/ids.js';
import { formatTokens } from '../../../domain/money.js';
import { defineCommand } from '../../command.js';
import { openSigner } from '../../keys.js';
import { CHAIN_OPTIONS, parseAddress, withServiceLayer } from '../../service-layer.js';

export const earningsShow = defineCommand({
  name: 'earnings show',
  about: 'Says what an account has earned from settled tasks, or in fees, and not withdrawn.',
  args: ['[ADDRESS]'],
  options: {
    key: { value: 'REF', about: 'instead of ADDRESS: the signing key of the account' },
    ...CHAIN_OPTIONS,
  },
  failure: 'the chain could not be reached',
  async run({ args: [text], values }) {
    const account = await accountOf(text, values.key);
    return await withServiceLayer(values, async ({ service }) => {
      const [earned, treasury] = await Promise.all([
        service.readEarningsWei(account),
        service.readTreasury(),
      ]);
      const isTreasury = sameAddress(account, treasury);
      return {
        lines: [
          `${account}${isTreasury ? ', the treasury,' : ''} has ${formatTokens(earned)} tokens to withdraw.`,
        ],
        json: { account, earnedWei: earned.toString(), isTreasury },
      };
    });
  },
});

async function accountOf(text: string | undefined, key: string | undefined): Promise<Address> {
  if (text !== undefined) return parseAddress(text, 'ADDRESS');
  if (key === undefined) throw new EngineError('USAGE', { expected: 'ADDRESS, or --key REF' });
  return (await openSigner(key)).address as Address;
}
