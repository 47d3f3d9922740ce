/** `cortensor earnings withdraw`: pays an account all that it has earned. */
import { sendDirect } from '../../../adapters/chain/direct.js';
import type { Address } from '../../../domain/ids.js';
import { formatTokens } from '../../../domain/money.js';
import { defineCommand } from '../../command.js';
import { Display } from '../../display.js';
import { KEY_OPTION, openSigner } from '../../keys.js';
import { CHAIN_OPTIONS, withServiceLayer } from '../../service-layer.js';

export const earningsWithdraw = defineCommand({
  name: 'earnings withdraw',
  about: `Pays the key's account all that it has earned, by a transaction of its own: it pays for the gas.
With nothing earned it sends nothing.`,
  args: [],
  options: { ...KEY_OPTION, ...CHAIN_OPTIONS },
  failure: 'the chain refused or could not be reached',
  async run({ values }) {
    const wallet = await openSigner(values.key);
    const account = wallet.address as Address;
    return await withServiceLayer(values, async (layer) => {
      if ((await layer.service.readEarningsWei(account)) === 0n) {
        return {
          lines: [`${account} has nothing to withdraw.`],
          json: { account, withdrawnWei: '0', transaction: null },
        };
      }
      const receipt = await new Display().step('withdraw the earnings', (note) =>
        sendDirect({ ...layer, wallet }, layer.service.encodeWithdrawEarnings(), note),
      );
      const withdrawn = layer.service.parseWithdrawnWei(receipt);
      return {
        lines: [`${formatTokens(withdrawn)} tokens went to ${account}.`],
        json: { account, withdrawnWei: withdrawn.toString(), transaction: receipt.hash },
      };
    });
  },
});
