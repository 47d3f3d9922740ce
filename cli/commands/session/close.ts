/** `cortensor session close`: the orderly end. */
import { defineCommand } from '../../command.js';
import { Display } from '../../display.js';
import { openAsManager, ROUTER_OPTIONS } from '../../router-access.js';
import { viewLines } from '../../session-view.js';

/** Closing waits for a settlement on chain. */
const CLOSE_MS = 300_000;

export const sessionClose = defineCommand({
  name: 'session close',
  about: `Asks a session to close: open tasks end first, all are settled, and the rest of the deposit goes back
to the owner. Waits until that is so on chain, unless told not to.`,
  args: ['SESSION'],
  options: { 'no-wait': { about: 'only ask' }, ...ROUTER_OPTIONS },
  failure: 'it is not closed, or the router could not be reached',
  async run({ args: [text], values }) {
    const handle = await openAsManager(values, text);
    let view = await handle.view();
    if (view.state !== 'Closed') view = await handle.close();
    if (!values['no-wait']) {
      view = await new Display().step('settle, close and refund', () =>
        handle.waitUntil('Closed', { timeoutMs: CLOSE_MS }),
      );
    }
    return { lines: viewLines(view), json: { view } };
  },
});
