/** `cortensor task list`: the tasks of a session. */
import { defineCommand } from '../../command.js';
import { openAsManager, ROUTER_OPTIONS } from '../../router-access.js';
import { taskLine } from '../../session-view.js';
import { SESSION_OPTION } from '../../task-options.js';

export const taskList = defineCommand({
  name: 'task list',
  about: "Lists a session's tasks: number, id, state, outcome and charge.",
  args: [],
  options: { ...SESSION_OPTION, ...ROUTER_OPTIONS },
  failure: 'the router could not be reached',
  async run({ values }) {
    const tasks = await (await openAsManager(values, values.session)).tasks();
    return { lines: tasks.map(taskLine), json: { tasks } };
  },
});
