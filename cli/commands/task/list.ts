/** `cortensor task list`: the tasks of a session. */
import { EngineError } from '../../../domain/errors.js';
import type { TaskRecord } from '../../../domain/lease.js';
import type { SessionHandle } from '../../../sdk/index.js';
import { defineCommand } from '../../command.js';
import { openAsManager, ROUTER_OPTIONS } from '../../router-access.js';
import { taskLine } from '../../session-view.js';
import { SESSION_OPTION } from '../../task-options.js';

/** Most records of one answer of a router. */
const PAGE = 1_000;

export const taskList = defineCommand({
  name: 'task list',
  about: "Lists a session's tasks: number, id, state, outcome and charge.",
  args: [],
  options: {
    ...SESSION_OPTION,
    from: { value: 'N', about: 'number of the first task; default: 0' },
    limit: { value: 'N', about: 'at most so many; default: all' },
    ...ROUTER_OPTIONS,
  },
  failure: 'the router could not be reached',
  async run({ values }) {
    const from = countOf(values.from, '--from', 0, 0);
    const limit = countOf(values.limit, '--limit', 1, Number.MAX_SAFE_INTEGER);
    const handle = await openAsManager(values, values.session);
    const tasks = await readTasks(handle, from, limit);
    return { lines: tasks.map(taskLine), json: { tasks } };
  },
});

/** Reads page after page, until one is not full. */
async function readTasks(
  handle: Pick<SessionHandle, 'tasks'>,
  from: number,
  limit: number,
): Promise<TaskRecord[]> {
  const found: TaskRecord[] = [];
  for (let next = from; found.length < limit;) {
    const asked = Math.min(PAGE, limit - found.length);
    const page = await handle.tasks({ from: next, limit: asked });
    found.push(...page);
    const last = page.at(-1);
    if (last === undefined || page.length < asked) break;
    next = last.ordinal + 1;
  }
  return found;
}

function countOf(text: string | undefined, option: string, least: number, absent: number): number {
  if (text === undefined) return absent;
  const count = Number(text);
  if (/^\d{1,15}$/.test(text) && count >= least) return count;
  throw new EngineError('USAGE', { option, expected: `a whole number from ${least}` });
}
