/** `cortensor session deposit`: more money for an open session. */
import { defineCommand } from '../../command.js';
import { Display } from '../../display.js';
import { KEY_OPTION, openSigner } from '../../keys.js';
import { openAsManager, ROUTER_OPTIONS } from '../../router-access.js';
import { viewLines } from '../../session-view.js';
import { parseAmount, REFERENCE_OPTION, referenceOf } from '../../transfer.js';

export const sessionDeposit = defineCommand({
  name: 'session deposit',
  about: `Adds tokens of the key's account, which need not be the owner's, to an open session. The deposit and a
permit are signed; the engine pays for the gas. With --reference it can be repeated safely.`,
  args: ['SESSION', 'TOKENS'],
  options: { ...KEY_OPTION, ...REFERENCE_OPTION, ...ROUTER_OPTIONS },
  failure: 'the contract refused, or the router could not be reached',
  async run({ args: [text, tokens], values }) {
    const amountWei = parseAmount(tokens);
    const reference = referenceOf(values.reference);
    const signer = await openSigner(values.key);
    const handle = await openAsManager(values, text);
    const view = await new Display().step('deposit', () =>
      handle.deposit({ signer, amountWei, reference }),
    );
    return { lines: viewLines(view), json: { reference, view } };
  },
});

export const sessionSync = defineCommand({
  name: 'session sync',
  about: 'Lets a session know of deposits that were made on chain without it.',
  args: ['SESSION'],
  options: ROUTER_OPTIONS,
  failure: 'the router could not be reached',
  async run({ args: [text], values }) {
    const view = await (await openAsManager(values, text)).syncDeposit();
    return { lines: viewLines(view), json: { view } };
  },
});
