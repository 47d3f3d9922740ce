/** `cortensor session withdraw`: what is free, back to the owner while the session goes on. */
import { defineCommand } from '../../command.js';
import { Display } from '../../display.js';
import { KEY_OPTION, openSigner } from '../../keys.js';
import { openAsManager, ROUTER_OPTIONS } from '../../router-access.js';
import { viewLines } from '../../session-view.js';
import { parseAmount, REFERENCE_OPTION, referenceOf } from '../../transfer.js';

export const sessionWithdraw = defineCommand({
  name: 'session withdraw',
  about: `Takes tokens out of an open session, back to its owner: at most what is free, neither charged nor
reserved for tasks under way. The owner signs, the committee too, and the engine pays for the gas.
With --reference it can be repeated safely.`,
  args: ['SESSION', 'TOKENS'],
  options: { ...KEY_OPTION, ...REFERENCE_OPTION, ...ROUTER_OPTIONS },
  failure: 'the committee or the contract refused, or the router could not be reached',
  async run({ args: [text, tokens], values }) {
    const amountWei = parseAmount(tokens);
    const reference = referenceOf(values.reference);
    const signer = await openSigner(values.key);
    const handle = await openAsManager(values, text);
    const view = await new Display().step('withdraw', () =>
      handle.withdraw({ signer, amountWei, reference }),
    );
    return { lines: viewLines(view), json: { reference, view } };
  },
});
