/** `/api/v1/delegate` and `/api/v1/validate`: work that is handed over, and answers that are checked. */
import type { Context } from 'hono';
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type {
  DelegateConstraints,
  DelegateRequest,
  Delegation,
  ValidatedRequest,
  ValidateRequest,
  Validation,
} from '../../../domain/api.js';
import { maxPromptTokensOf, parseChatRequest } from '../../../domain/chat.js';
import { deadlineIn } from '../../../domain/deadline.js';
import { EngineError } from '../../../domain/errors.js';
import type { TaskId } from '../../../domain/ids.js';
import type { LeaseInput, TaskRecord } from '../../../domain/lease.js';
import { parseWei } from '../../../domain/money.js';
import { maxChargeWei, POLICY_LIMITS } from '../../../domain/session.js';
import type { ChatMessage, ChatRequest } from '../../../domain/task.js';
import { MAX_JUDGED_TEMPERATURE } from '../../../domain/validation.js';
import { chooseSession, openSession, takeOn, type HeldSession } from '../answer.js';
import type { AppDeps, AppEnv, RouterApp } from '../app.js';
import { readJson } from '../body.js';
import { toChatRequest, tokenLimit } from '../chat.js';
import { requireModel } from '../models.js';
import { persist } from '../retry.js';
import type { ServedTask } from '../session-host.js';
import { toolName } from '../tools.js';
import { openContent, readEvidence, type ContentReader } from '../task-detail.js';
import {
  postpone,
  refuseClaim,
  validateClaim,
  validateTask,
  type Claim,
  type JudgedTask,
} from '../validate.js';
import { readTaskId } from './query.js';

const DEFAULT_MAX_TOKENS = 512;
/** For a task's record and its request to be durable. */
const RECORD_MS = 20_000;
/** Miners are waited for so long, and at most; below what the SDK waits for an answer. */
const WAIT_MS = 30_000;
const MAX_WAIT_MS = 50_000;

const sampling = {
  model: z.string().min(1).max(200).optional(),
  maxTokens: tokenLimit.optional(),
  temperature: z.number().min(0).max(2).optional(),
  topP: z.number().gt(0).max(1).optional(),
  responseFormat: z
    .discriminatedUnion('type', [
      z.strictObject({ type: z.literal('json-object') }),
      z.strictObject({
        type: z.literal('json-schema'),
        name: toolName,
        schema: z.record(z.string(), z.unknown()),
        strict: z.boolean().exactOptional(),
      }),
    ])
    .optional(),
};
const { redundancy, taskSeconds } = POLICY_LIMITS;
const within = ({ min, max }: { readonly min: number; readonly max: number }) =>
  z.number().int().min(min).max(max).optional();

/** Body of `POST /api/v1/delegate`. */
export const delegateSchema = z.strictObject({
  goal: z.string().min(1),
  input: z.string().optional(),
  instructions: z.string().optional(),
  sessionId: z.string().optional(),
  ...sampling,
  constraints: z
    .strictObject({
      minRedundancy: within(redundancy),
      minQuorum: within(redundancy),
      maxSeconds: within(taskSeconds),
      maxChargeWei: z.string().optional(),
    })
    .optional(),
});

/** Body of `POST /api/v1/validate`. */
export const validateSchema = z.strictObject({
  sessionId: z.string().optional(),
  taskId: z.string().optional(),
  request: z
    .strictObject({
      messages: z
        .array(
          z.strictObject({ role: z.enum(['system', 'user', 'assistant']), content: z.string() }),
        )
        .min(1)
        .max(1_000),
      ...sampling,
    })
    .optional(),
  answer: z.string().optional(),
  waitMs: within({ min: 1, max: MAX_WAIT_MS }),
});

export function addJobRoutes(app: RouterApp, deps: AppDeps): void {
  const { records } = deps;
  const bodyLimits = {
    maxBytes: deps.limits.maxBodyBytes,
    tooLarge: 'PROMPT_TOO_LARGE',
    notText: 'PROMPT_INVALID',
  } as const;

  app.post('/api/v1/delegate', async (c) => {
    const body = await readJson<DelegateRequest>(c.req.raw, delegateSchema, bodyLimits);
    const held = await openSession(c, deps, body.sessionId);
    const { lease } = held.host;
    const request = toRequest(deps, { messages: messagesOf(body), ...body }, lease);
    const worstWei = worstChargeWei(request, lease, deps.network.feeBps);
    requireConstraints(body.constraints ?? {}, lease, worstWei);
    const task = await takeOn(c, deps, held, request, c.req.header('idempotency-key'));
    const record = await durable(deps, held, task, c.req.raw.signal);
    const state = held.host.stateOf(task.taskId) ?? record.state;
    const delegation = delegationOf(lease, { ...record, state }, worstWei);
    return c.json(delegation, 202, {
      location: delegation.links.task,
      'x-cortensor-task': task.taskId,
    });
  });

  app.post('/api/v1/validate', async (c) => {
    const body = await readJson<ValidateRequest>(c.req.raw, validateSchema, bodyLimits);
    const { taskId, request, answer } = body;
    if ((taskId === undefined) === (request === undefined)) {
      throw invalid('taskId', 'a task, or a request');
    }
    c.header('cache-control', 'no-store');
    if (taskId !== undefined) {
      return c.json(await validateKnown(c, body, readTaskId(taskId)));
    }
    if (request === undefined || answer === undefined)
      throw invalid('answer', 'the claimed answer');
    return c.json(await validateAnew(c, body, request, answer));
  });

  /** Judges a task that there is, by itself or against a claim. */
  async function validateKnown(
    c: Context<AppEnv>,
    body: ValidateRequest,
    taskId: TaskId,
  ): Promise<Validation> {
    const { signal } = c.req.raw;
    const sessionId = chooseSession(c, body.sessionId);
    await deps.guard.allow(c, sessionId);
    const record = await records.find(sessionId, taskId, signal);
    const { policy, keyring } = await deps.gateway.view(sessionId);
    const evidence = await readEvidence(record, deps, signal);
    const task = { sessionId, record, evidence, isHosted: policy.host !== undefined };
    if (body.answer === undefined) return validateTask(task, deps, signal);
    const content = await openContent(
      { sessionId, level: policy.level, keyringCid: keyring?.cid ?? null },
      deps,
      signal,
    ).catch((error: unknown) => {
      throw sealed(error);
    });
    const request = await readRequest(content, record.requestCid, signal);
    const recipient = keyring?.recipient ?? null;
    const { channel } = content;
    return validateClaim(task, { text: body.answer, request, channel, recipient }, deps, signal);
  }

  /** Puts a request to miners again, and the claim among their answers. */
  async function validateAnew(
    c: Context<AppEnv>,
    body: ValidateRequest,
    asked: ValidatedRequest,
    text: string,
  ): Promise<Validation> {
    const { signal } = c.req.raw;
    const held = await openSession(c, deps, body.sessionId);
    const { sessionId, keyring } = held.host.lease;
    const request = toRequest(deps, asked, held.host.lease);
    if (request.temperature > MAX_JUDGED_TEMPERATURE) {
      return refuseClaim(sessionId, 'temperature-too-high');
    }
    // A name of its own: under the client's, the answer to be validated could be its own proof.
    const key = `validate:${c.req.header('idempotency-key') ?? randomUUID()}`;
    const served = await takeOn(c, deps, held, request, key);
    c.header('x-cortensor-task', served.taskId);
    if (!(await isEnded(served, body.waitMs ?? WAIT_MS, signal))) {
      return postpone(sessionId, served.taskId);
    }
    const record = await records.find(sessionId, served.taskId, signal);
    const task: JudgedTask = {
      sessionId,
      record,
      evidence: await readEvidence(record, deps, signal),
      isHosted: held.host.lease.policy.host !== undefined,
    };
    const { channel } = held;
    const claim: Claim = { text, request, channel, recipient: keyring?.recipient ?? null };
    return validateClaim(task, claim, deps, signal);
  }
}

/** @throws MODEL_UNKNOWN, MODEL_UNFIT, PROMPT_INVALID, PROMPT_TOO_LARGE */
function toRequest(
  { network, limits }: AppDeps,
  asked: Partial<Omit<ValidatedRequest, 'messages'>> & {
    readonly messages: readonly ChatMessage[];
  },
  { policy }: Pick<LeaseInput, 'policy'>,
): ChatRequest {
  const { messages, model = policy.model, maxTokens = DEFAULT_MAX_TOKENS } = asked;
  requireModel(network, model, 'chat');
  const { temperature, topP, responseFormat } = asked;
  const extras = responseFormat === undefined ? {} : { responseFormat };
  const ask = { model, messages, maxTokens, temperature, topP, extras };
  return toChatRequest(ask, limits.maxPromptBytes);
}

function messagesOf({ goal, input, instructions }: DelegateRequest): ChatMessage[] {
  const told =
    instructions === undefined ? [] : [{ role: 'system', content: instructions } as const];
  const content = input === undefined ? goal : `${goal}\n\n${input}`;
  return [...told, { role: 'user', content }];
}

function worstChargeWei(
  request: ChatRequest,
  { policy, pricePerTokenWei }: LeaseInput,
  feeBps: number,
): bigint {
  return maxChargeWei({
    maxPromptTokens: maxPromptTokensOf(request),
    maxTokens: request.maxTokens,
    pricePerTokenWei: BigInt(pricePerTokenWei),
    miners: policy.redundancy,
    feeBps,
  });
}

/** Holds a job's constraints to what the session's policy promises: what only this process had
 * promised would end with it.
 * @throws REQUEST_INVALID — with the constraint, and what the session has.
 * @throws AMOUNT_INVALID */
function requireConstraints(
  { minRedundancy = 0, minQuorum = 0, maxSeconds, maxChargeWei: maxWei }: DelegateConstraints,
  { policy }: Pick<LeaseInput, 'policy'>,
  worstWei: bigint,
): void {
  const { redundancy: asked, taskSeconds: seconds } = policy;
  const quorum = Math.floor(asked / 2) + 1;
  if (minRedundancy > asked) throw invalid('constraints.minRedundancy', `at most ${asked}`);
  if (minQuorum > quorum) throw invalid('constraints.minQuorum', `at most ${quorum}`);
  if (maxSeconds !== undefined && maxSeconds < seconds) {
    throw invalid('constraints.maxSeconds', `at least ${seconds}`);
  }
  if (maxWei !== undefined && parseWei(maxWei) < worstWei) {
    throw invalid('constraints.maxChargeWei', `at least ${worstWei}`);
  }
}

/** Waits until a task is known to its session's workflow, and its request is at rest: from then on no
 * process is needed for it to come to its end.
 * @throws EngineError — it was not recorded, so it may be asked for again. */
async function durable(
  { gateway, records }: AppDeps,
  { host }: HeldSession,
  { taskId, conclusion }: ServedTask,
  outer: AbortSignal,
): Promise<TaskRecord> {
  const { sessionId } = host.lease;
  const ended = new AbortController();
  const signal = deadlineIn(RECORD_MS, outer, ended.signal);
  // One of long ago is not where it is looked for below.
  const concluded = conclusion.then(() => records.find(sessionId, taskId, signal));
  const known = persist(async () => {
    const record = await gateway.task(sessionId, taskId);
    // Not there yet; by the deadline, that is what is told.
    if (record === null) {
      throw new EngineError('TEMPORAL_UNREACHABLE', { reason: 'the task is not recorded yet' });
    }
    return record;
  }, signal);
  try {
    return await Promise.race([known, concluded]);
  } finally {
    ended.abort();
  }
}

function delegationOf(
  { sessionId, policy }: LeaseInput,
  { taskId, state, outcome }: TaskRecord,
  worstWei: bigint,
): Delegation {
  const task = `/api/v1/sessions/${sessionId}/tasks/${taskId}`;
  return {
    sessionId,
    taskId,
    state,
    outcome,
    maxChargeWei: worstWei.toString(),
    maxSeconds: policy.taskSeconds,
    links: {
      task,
      outputs: `${task}?include=outputs`,
      events: `${task}/events`,
      cancel: `${task}/cancel`,
      proof: `${task}/proof`,
    },
  };
}

/** @returns false when the task has not ended in time; it goes on.
 * @throws EngineError — it was not recorded. */
async function isEnded(
  { conclusion }: ServedTask,
  waitMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  const over = new Promise<false>((resolve) => {
    const timer = setTimeout(() => resolve(false), waitMs);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve(false);
    });
    const clear = () => clearTimeout(timer);
    conclusion.then(clear, clear);
  });
  return Promise.race([conclusion.then(() => true), over]);
}

/** @throws PROMPT_INVALID — what is at rest is no chat; else as `ContentReader.read` */
async function readRequest(
  content: ContentReader,
  requestCid: string,
  signal: AbortSignal,
): Promise<ChatRequest> {
  const bytes = await content.read(requestCid, signal);
  return parseChatRequest(JSON.parse(Buffer.from(bytes).toString()));
}

/** A claim about a sealed session's task is for its client to check: it has the answer. */
function sealed(error: unknown): unknown {
  const isSealed = error instanceof EngineError && error.code === 'SEAL_NOT_RECIPIENT';
  return isSealed ? new EngineError('SESSION_SEALED', {}, { cause: error }) : error;
}

function invalid(field: string, expected: string): EngineError {
  return new EngineError('REQUEST_INVALID', { field, expected });
}
