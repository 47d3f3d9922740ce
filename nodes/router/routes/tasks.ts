/** `/api/v1/sessions/:id/tasks`: requests that the client has sealed, and the record of tasks. */
import { createHash } from 'node:crypto';
import type { Context } from 'hono';
import { z } from 'zod';
import { taskIdOf } from '../../../adapters/seal/task-id.js';
import { MAX_BLOCK_BYTES } from '../../../adapters/ipfs/block-store.js';
import { EngineError, findEngineError } from '../../../domain/errors.js';
import { MODEL_FEATURES } from '../../../domain/features.js';
import { parseSessionId } from '../../../domain/ids.js';
import type { TaskRecord } from '../../../domain/lease.js';
import { POLICY_LIMITS } from '../../../domain/session.js';
import type { SealedTaskRequest } from '../../../domain/wire.js';
import { followAnswer } from '../answer.js';
import type { AppDeps, AppEnv, RouterApp } from '../app.js';
import { readJson } from '../body.js';
import { requireModel } from '../models.js';
import type { TaskRecords } from '../records.js';
import type { ServedTask, SessionHost } from '../session-host.js';
import { KEEP_ALIVE, KEEP_ALIVE_MS, resumeFrom, sseEvent, sseResponse } from '../sse.js';
import { detailOf } from '../task-detail.js';
import { proveTask } from '../task-proof.js';
import { readNumber, readTask } from './query.js';

/** Most records of one answer. */
const PAGE = 1_000;
const MAX_ORDINAL = POLICY_LIMITS.maxTasks.max;

/** Body of `POST /api/v1/sessions/:id/tasks`. */
export function taskSchema(limits: Pick<AppDeps['limits'], 'maxBodyBytes'>) {
  const tokens = z.number().int().min(1);
  return z.object({
    idempotencyKey: z.string().min(1).max(256),
    model: z.string().min(1).max(200),
    maxPromptTokens: tokens.max(limits.maxBodyBytes),
    // Vectors have none.
    maxTokens: z.number().int().min(0).max(4_096),
    features: z.array(z.enum(MODEL_FEATURES)).max(MODEL_FEATURES.length).default([]),
    request: z.object({ seq: z.literal(0), isLast: z.literal(true), data: z.base64().min(1) }),
    sealedRequest: z.base64().min(1),
  });
}

export function addTaskRoutes(app: RouterApp, deps: AppDeps): void {
  const { gateway, records, limits } = deps;
  const schema = taskSchema(limits);

  app.post('/api/v1/sessions/:id/tasks', async (c) => {
    const sessionId = parseSessionId(c.req.param('id'));
    const request = await readJson<SealedTaskRequest>(c.req.raw, schema, {
      maxBytes: limits.maxBodyBytes,
      tooLarge: 'PROMPT_TOO_LARGE',
      notText: 'REQUEST_INVALID',
    });
    const host = await deps.sessions.require(sessionId);
    const tokens = request.maxPromptTokens + request.maxTokens;
    const ask = { most: tokens, expected: tokens };
    const from = resumeFrom(c.req.header('last-event-id'));
    // What is sealed says what it is; miners decline what it is not.
    const kind = request.features?.includes('embedding') === true ? 'embedding' : 'chat';
    requireModel(deps.network, request.model, kind);
    const task = await deps.guard.spend(c, ask, () => accept(host, request, from > 0));
    return sseResponse((signal) => events(task, from, signal), {
      'x-cortensor-task': task.taskId,
    });
  });

  app.get('/api/v1/sessions/:id/tasks', async (c) => {
    const sessionId = parseSessionId(c.req.param('id'));
    const range = {
      from: readNumber(c.req.query('from'), 'from', { min: 0, max: MAX_ORDINAL, absent: 0 }),
      limit: readNumber(c.req.query('limit'), 'limit', { min: 1, max: PAGE, absent: PAGE }),
    };
    const found = await records.list(sessionId, range, c.req.raw.signal);
    const host = deps.sessions.find(sessionId);
    return c.json(found.map((record) => withState(record, host)));
  });

  app.get('/api/v1/sessions/:id/tasks/:taskId', async (c) => {
    const { sessionId, taskId } = readTask(c);
    const include = readInclude(c.req.query('include'));
    const { signal } = c.req.raw;
    const found = await records.find(sessionId, taskId, signal);
    const record = withState(found, deps.sessions.find(sessionId));
    if (include === null) return c.json(record);
    const level = include === 'outputs' ? (await gateway.view(sessionId)).policy.level : null;
    return c.json(await detailOf(record, level, deps, signal));
  });

  app.get('/api/v1/sessions/:id/tasks/:taskId/events', async (c) => {
    const { task } = await findServed(deps, records, c);
    const from = resumeFrom(c.req.header('last-event-id'));
    return sseResponse((signal) => events(task, from, signal), { 'x-cortensor-task': task.taskId });
  });

  app.get('/api/v1/sessions/:id/tasks/:taskId/answer', async (c) => {
    const { host, task } = await findServed(deps, records, c);
    return followAnswer(c, deps, host, task);
  });

  app.get('/api/v1/sessions/:id/tasks/:taskId/proof', async (c) => {
    const { sessionId, taskId } = readTask(c);
    const { signal } = c.req.raw;
    const record = await records.find(sessionId, taskId, signal);
    return c.json(await proveTask(sessionId, record, deps.blockStore, signal));
  });

  app.post('/api/v1/sessions/:id/tasks/:taskId/cancel', async (c) => {
    const { sessionId, taskId } = readTask(c);
    const { signal } = c.req.raw;
    // Asked first: what has just come here may not be recorded yet.
    if ((await deps.sessions.find(sessionId)?.cancel(taskId)) !== true) {
      const record = await records.find(sessionId, taskId, signal);
      if (record.outcome !== null) return c.json(record);
      const host = await deps.sessions.require(sessionId);
      // The lease is here, so no other router works on it.
      if (!(await host.cancel(taskId))) await gateway.cancelTasks(sessionId, [taskId]);
    }
    return c.json(await records.find(sessionId, taskId, signal));
  });
}

/** The task that a path names, with its stream.
 * @throws TASK_NOT_FOUND — it never was, or its stream is not kept any more.
 * @throws as `TaskRecords.find` and `Sessions.require` */
async function findServed(
  deps: AppDeps,
  records: TaskRecords,
  c: Context<AppEnv, '/:id/:taskId'>,
): Promise<{ readonly host: SessionHost; readonly task: ServedTask }> {
  const { sessionId, taskId } = readTask(c);
  const record = await records.find(sessionId, taskId, c.req.raw.signal);
  const here = deps.sessions.find(sessionId);
  const known = here?.find(taskId);
  if (here !== undefined && known !== undefined) return { host: here, task: known };
  const isEnded = record.outcome !== null;
  // Open tasks come with the lease; the streams of ended ones are kept, or made of their records.
  const host = await deps.sessions.require(sessionId).catch((error: unknown) => {
    if (!isEnded || findEngineError(error)?.code !== 'SESSION_NOT_OPEN') throw error;
    return null;
  });
  const task = host?.find(taskId) ?? (isEnded ? host?.reopen(taskId) : undefined);
  if (host === null || task === undefined) {
    throw new EngineError('TASK_NOT_FOUND', { taskId, reason: 'its stream is not kept any more' });
  }
  return { host, task };
}

/** `evidence`: what every miner committed to. `outputs`: that, and the answers in plain. */
function readInclude(text: string | undefined): 'evidence' | 'outputs' | null {
  if (text === undefined || text === 'evidence' || text === 'outputs') return text ?? null;
  throw new EngineError('REQUEST_INVALID', { field: 'include', expected: 'evidence | outputs' });
}

/** The workflow knows whether a task is open; how far it is, only the router that serves it. */
function withState(record: TaskRecord, host: SessionHost | undefined): TaskRecord {
  if (record.outcome !== null) return record;
  return { ...record, state: host?.stateOf(record.taskId) ?? record.state };
}

async function accept(
  host: SessionHost,
  request: SealedTaskRequest,
  isResumed: boolean,
): Promise<ServedTask> {
  const { sessionId, policy } = host.lease;
  if (request.model !== policy.model) {
    throw new EngineError('MODEL_UNKNOWN', { model: request.model, ofSession: policy.model });
  }
  const block = Buffer.from(request.sealedRequest, 'base64');
  if (block.length > MAX_BLOCK_BYTES) {
    throw new EngineError('PROMPT_TOO_LARGE', { maxBytes: MAX_BLOCK_BYTES });
  }
  const { maxPromptTokens, maxTokens, features = [], request: frame } = request;
  return host.accept({
    taskId: await taskIdOf(sessionId, request.idempotencyKey),
    maxPromptTokens,
    maxTokens,
    features,
    frame,
    isResumed,
    // Sealed twice, a request looks like two: only at level `open` can the router compare.
    fingerprint:
      policy.level === 'open' ? createHash('sha256').update(frame.data).digest('hex') : null,
    atRest: async () => block,
    isSame: null,
  });
}

async function* events(
  task: ServedTask,
  from: number,
  signal: AbortSignal,
): AsyncGenerator<string> {
  for await (const next of task.stream.read({ from, idleMs: KEEP_ALIVE_MS, signal })) {
    yield next === null ? KEEP_ALIVE : sseEvent(next.event, next.index);
  }
}
