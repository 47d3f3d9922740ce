/** `cortensor task show`: one task as its router knows it. */
import type { TaskRecord } from '../../../domain/lease.js';
import { RouterHttp } from '../../../sdk/http.js';
import { defineCommand } from '../../command.js';
import { ROUTER_OPTIONS, routerOptions, sessionOf } from '../../router-access.js';
import { taskLine } from '../../session-view.js';
import { parseTask, SESSION_OPTION } from '../../task-options.js';

export const taskShow = defineCommand({
  name: 'task show',
  about: 'Says how far a task is, or how it ended, with the CIDs of what it left on IPFS.',
  args: ['TASK'],
  options: { ...SESSION_OPTION, ...ROUTER_OPTIONS },
  failure: 'the router could not be reached',
  async run({ args: [text], values }) {
    const taskId = parseTask(text);
    const sessionId = await sessionOf(values.session);
    const http = new RouterHttp(await routerOptions(values));
    const task = await http.json<TaskRecord>(`/api/v1/sessions/${sessionId}/tasks/${taskId}`);
    return {
      lines: [
        taskLine(task),
        `  request  ${task.requestCid}`,
        `  evidence ${task.evidenceCid ?? 'none'}`,
        `  answer   ${task.resultCid ?? 'none'}`,
        `  settled  ${task.settlementTx ?? 'not yet'}, batch ${task.batchCid ?? 'none'}`,
      ],
      json: { task },
    };
  },
});
