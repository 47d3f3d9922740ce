/** `cortensor session close`: the orderly end. */
import { awaitClosed, NO_WAIT_OPTION } from '../../closing.js';
import { defineCommand } from '../../command.js';
import { Display } from '../../display.js';
import { openAsManager, ROUTER_OPTIONS } from '../../router-access.js';
import { viewLines } from '../../session-view.js';

export const sessionClose = defineCommand({
  name: 'session close',
  about: `Asks a session to close: open tasks end first, all are settled, and the rest of the deposit goes back
to the owner. Waits until that is so on chain, unless told not to.`,
  args: ['SESSION'],
  options: { ...NO_WAIT_OPTION, ...ROUTER_OPTIONS },
  failure: 'it is not closed, or the router could not be reached',
  async run({ args: [text], values }) {
    const handle = await openAsManager(values, text);
    let view = await handle.view();
    if (view.state !== 'Closed') view = await handle.close();
    if (!values['no-wait']) view = await awaitClosed(handle, new Display());
    return { lines: viewLines(view), json: { view } };
  },
});
