/** `cortensor session show`: a session as its router knows it. */
import { defineCommand } from '../../command.js';
import { openAsManager, ROUTER_OPTIONS } from '../../router-access.js';
import { viewLines } from '../../session-view.js';

export const sessionShow = defineCommand({
  name: 'session show',
  about: "Says a session's state, policy, money and tasks.",
  args: ['SESSION'],
  options: ROUTER_OPTIONS,
  failure: 'the router could not be reached',
  async run({ args: [text], values }) {
    const view = await (await openAsManager(values, text)).view();
    return { lines: viewLines(view), json: { view } };
  },
});
