/** `cortensor session cancel`: the quick end. */
import { defineCommand } from '../../command.js';
import { Display } from '../../display.js';
import { openAsManager, ROUTER_OPTIONS } from '../../router-access.js';
import { viewLines } from '../../session-view.js';
import { awaitClosed, NO_WAIT_OPTION } from '../../closing.js';

export const sessionCancel = defineCommand({
  name: 'session cancel',
  about: `Closes a session and ends tasks whose answer has not begun as cancelled, free; those that have begun
are finished and billed. Waits until the rest is refunded on chain, unless told not to.`,
  args: ['SESSION'],
  options: { ...NO_WAIT_OPTION, ...ROUTER_OPTIONS },
  failure: 'it is not closed, or the router could not be reached',
  async run({ args: [text], values }) {
    const handle = await openAsManager(values, text);
    let view = await handle.view();
    if (view.state !== 'Closed') view = await handle.cancel();
    if (!values['no-wait']) view = await awaitClosed(handle, new Display());
    return { lines: viewLines(view), json: { view } };
  },
});
