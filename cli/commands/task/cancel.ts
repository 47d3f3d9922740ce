/** `cortensor task cancel`: takes a request back that nobody has begun to answer. */
import { defineCommand } from '../../command.js';
import { openAsManager, ROUTER_OPTIONS } from '../../router-access.js';
import { taskLine } from '../../session-view.js';
import { parseTask, SESSION_OPTION } from '../../task-options.js';

export const taskCancel = defineCommand({
  name: 'task cancel',
  about: `Ends a task as cancelled, free, unless its answer has begun: then it is finished and billed. One that
has ended is only shown.`,
  args: ['TASK'],
  options: { ...SESSION_OPTION, ...ROUTER_OPTIONS },
  failure: 'the router could not be reached',
  async run({ args: [text], values }) {
    const taskId = parseTask(text);
    const task = await (await openAsManager(values, values.session)).cancelTask(taskId);
    return { lines: [taskLine(task)], json: { task } };
  },
});
