/** Jobs that are handed over, what every miner made of them, and claims that the network judges. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { getJson } from '../../../adapters/ipfs/block-store.js';
import type { Delegation, JudgeRequest, TaskDetail, Validation } from '../../../domain/api.js';
import { EngineError } from '../../../domain/errors.js';
import type { TaskId } from '../../../domain/ids.js';
import type { ChatRequest, ChatResult, TaskEvidence } from '../../../domain/task.js';
import type { ValidationReceipt } from '../../../domain/validation.js';
import type { MinerScore } from '../../../domain/verdict.js';
import { openAtRest } from '../../../adapters/seal/at-rest.js';
import type { Judge } from '../../../nodes/router/judge.js';
import type { Script } from './scripted-miner.js';
import {
  gate,
  SESSION,
  startWorld,
  until,
  viewOf,
  type World,
  type WorldOptions,
} from './support.js';

const CLAIMANT = `0x${'0'.repeat(40)}`;

async function start(
  t: TestContext,
  scripts: readonly Script[],
  options: WorldOptions = {},
): Promise<World> {
  const redundancy = scripts.length;
  const world = await startWorld(scripts, {
    ...options,
    policy: { redundancy, ...options.policy },
  });
  t.after(() => world.close());
  const { policy, keyring, owner } = world.lease;
  world.gateway.views.set(SESSION, viewOf({ policy, keyring, owner }));
  return world;
}

function post(world: World, path: string, body: object, key?: string): Promise<Response> {
  const headers = key === undefined ? {} : { 'idempotency-key': key };
  return world.ask(`/api/v1/${path}`, { method: 'POST', body: JSON.stringify(body), headers });
}
async function validate(world: World, body: object, key?: string): Promise<Validation> {
  const response = await post(world, 'validate', body, key);
  assert.equal(response.status, 200);
  return (await response.json()) as Validation;
}
async function refusal(response: Response): Promise<readonly [number, string, unknown]> {
  const { error } = (await response.json()) as {
    error: { code: string; details: { field?: string } };
  };
  return [response.status, error.code, error.details.field];
}
const codes = ({ reasons }: Validation) => reasons.map(({ code }) => code);

const said = (content: string) => ({ messages: [{ role: 'user', content }] });

/** Says of every answer that it agrees, but of the claim what the test says; notes what it was asked. */
function judgeOf(claim: { readonly scoreBps: number; readonly isAgreed: boolean }) {
  const asked: JudgeRequest[] = [];
  const judge: Judge = async (request) => {
    asked.push(request);
    const scores = request.answers.map(({ miner }): MinerScore =>
      miner === CLAIMANT ? { miner, ...claim } : { miner, scoreBps: 10_000, isAgreed: true },
    );
    const medoid = request.answers[0]?.miner ?? null;
    return { status: 'agreed', method: 'embedding', medoid, scores };
  };
  return { asked, judge };
}
const NEAR = { scoreBps: 9_100, isAgreed: true };
const FAR = { scoreBps: 1_200, isAgreed: false };

test('a job is answered for once it is durable, long before it is done', async (t) => {
  const { opened, open } = gate();
  const world = await start(t, [{ beforePrecommit: () => opened }]);
  const body = { goal: 'Sum up.', input: 'A long text.', instructions: 'Be brief.' };
  const response = await post(world, 'delegate', body, 'job-1');
  assert.equal(response.status, 202);
  const job = (await response.json()) as Delegation;
  assert.equal(response.headers.get('location'), job.links.task);
  assert.equal(job.outcome, null);
  const record = world.gateway.records.get(job.taskId);
  assert.ok(record !== undefined && world.blocks.blocks.has(record.requestCid));
  // Nobody waits on a connection here; the task goes on.
  open();
  await until(() => world.gateway.ends.length === 1, 'the end');
  const detail = (await (await world.ask(job.links.outputs)).json()) as TaskDetail;
  assert.equal(detail.outcome, 'completed');
  assert.deepEqual(detail.outputs[0]?.plain, {
    text: 'You said: Sum up.\n\nA long text.',
    finishReason: 'stop',
  });
  const again = (await (await post(world, 'delegate', body, 'job-1')).json()) as Delegation;
  assert.deepEqual([again.taskId, again.outcome], [job.taskId, 'completed']);
  assert.equal(world.gateway.ends.length, 1);
  const other = await post(world, 'delegate', { ...body, goal: 'Else.' }, 'job-1');
  assert.deepEqual((await refusal(other)).slice(0, 2), [409, 'IDEMPOTENCY_CONFLICT']);
});

test('a job’s answer is held to a form, and one that no miner can give is refused', async (t) => {
  const seen: ChatRequest[] = [];
  const answer = (request: ChatRequest) => (seen.push(request), '{"gist":"rain"}');
  const world = await start(t, [{ answer }]);
  const schema = { type: 'object', properties: { gist: { type: 'string' } } };
  const responseFormat = { type: 'json-schema', name: 'gist', schema, strict: true };
  const response = await post(world, 'delegate', { goal: 'Sum up.', responseFormat });
  assert.equal(response.status, 202);
  const job = (await response.json()) as Delegation;
  await until(() => world.gateway.ends.length === 1, 'the end');
  assert.deepEqual(seen[0]?.responseFormat, responseFormat);
  const detail = (await (await world.ask(job.links.outputs)).json()) as TaskDetail;
  assert.deepEqual(detail.outputs[0]?.plain, { text: '{"gist":"rain"}', finishReason: 'stop' });
  const free = { goal: 'Sum up.', responseFormat: { type: 'json-object' } };
  assert.equal((await post(world, 'delegate', free)).status, 202);

  let deep: object = { type: 'string' };
  for (let i = 0; i < 20; i++) deep = { items: deep };
  const refused = async (format: object) =>
    refusal(await post(world, 'delegate', { goal: 'Sum up.', responseFormat: format }));
  assert.deepEqual(await refused({ ...responseFormat, schema: deep }), [
    400,
    'PROMPT_INVALID',
    'responseFormat.schema',
  ]);
  assert.deepEqual((await refused({ type: 'xml' })).slice(0, 2), [400, 'REQUEST_INVALID']);
  const plain = await start(t, [{ features: [] }]);
  const unable = await refusal(await post(plain, 'delegate', free));
  assert.deepEqual(unable.slice(0, 2), [400, 'FEATURE_UNSUPPORTED']);
});

test('outputs have the calls of tools that each miner made', async (t) => {
  const toolCalls = [{ name: 'weather', arguments: '{"city":"Oslo"}' }];
  const world = await start(t, [{ answer: () => '', toolCalls: () => toolCalls }]);
  const tools = [{ type: 'function', function: { name: 'weather' } }];
  const taskId = (await world.chat('weather?', { tools })).headers.get('x-cortensor-task');
  const path = `/api/v1/sessions/${SESSION}/tasks/${taskId}?include=outputs`;
  const detail = (await (await world.ask(path)).json()) as TaskDetail;
  const plain = { text: '', finishReason: 'tool-calls', toolCalls };
  assert.deepEqual(detail.outputs[0]?.plain, plain);
});

test('a job that is not recorded is refused as any request is', async (t) => {
  const world = await start(t, [{}]);
  world.gateway.refusal = 'BUDGET_EXHAUSTED';
  const refused = await refusal(await post(world, 'delegate', { goal: 'Sum up.' }));
  assert.deepEqual(refused.slice(0, 2), [402, 'BUDGET_EXHAUSTED']);
  const sealed = await start(t, [{}], { policy: { level: 'sealed' } });
  const answer = await refusal(await post(sealed, 'delegate', { goal: 'Sum up.' }));
  assert.deepEqual(answer.slice(0, 2), [409, 'SESSION_SEALED']);
});

test('a job begins only under constraints that the session promises', async (t) => {
  const world = await start(t, [{}, {}, {}]);
  const ask = async (constraints: object) => {
    const response = await post(world, 'delegate', { goal: 'Sum up.', maxTokens: 10, constraints });
    return response.status === 202 ? [202] : refusal(response);
  };
  assert.deepEqual(await ask({ minRedundancy: 4 }), [
    400,
    'REQUEST_INVALID',
    'constraints.minRedundancy',
  ]);
  assert.deepEqual(await ask({ minQuorum: 3 }), [400, 'REQUEST_INVALID', 'constraints.minQuorum']);
  assert.deepEqual(await ask({ maxSeconds: 19 }), [
    400,
    'REQUEST_INVALID',
    'constraints.maxSeconds',
  ]);
  assert.deepEqual(await ask({ maxChargeWei: '10' }), [
    400,
    'REQUEST_INVALID',
    'constraints.maxChargeWei',
  ]);
  assert.equal(world.gateway.submitted.length, 0);
  const fitting = { minRedundancy: 3, minQuorum: 2, maxSeconds: 20, maxChargeWei: '1000' };
  assert.deepEqual(await ask(fitting), [202]);
});

async function asked(world: World, text: string, more: object = {}): Promise<TaskId> {
  const response = await world.chat(text, more);
  assert.equal(response.status, 200);
  return response.headers.get('x-cortensor-task') as TaskId;
}
const detailOf = async (world: World, taskId: TaskId, include: string) =>
  (await (
    await world.ask(`/api/v1/sessions/${SESSION}/tasks/${taskId}?include=${include}`)
  ).json()) as TaskDetail;

for (const level of ['open', 'link', 'sealed'] as const) {
  test(`every miner's output is shown, in plain where the router may read: ${level}`, async (t) => {
    const sealed = level === 'sealed';
    const world = await start(t, [{}, {}, {}], { policy: { level: sealed ? 'link' : level } });
    const taskId = await asked(world, 'hello');
    const { policy } = world.lease;
    if (sealed) {
      const { keyring } = world.lease;
      world.gateway.views.set(SESSION, viewOf({ policy: { ...policy, level }, keyring }));
    }
    const evidence = await detailOf(world, taskId, 'evidence');
    assert.deepEqual(evidence.verdict?.status, 'agreed');
    assert.equal(evidence.outputs.length, 3);
    for (const { miner, scoreBps, isAgreed, answeredMs, committedMs, plain } of evidence.outputs) {
      assert.ok(world.miners.some(({ address }) => address === miner));
      assert.deepEqual([scoreBps, isAgreed, plain], [10_000, true, undefined]);
      assert.ok(answeredMs !== null && committedMs !== null && committedMs >= answeredMs);
    }
    const { outputs } = await detailOf(world, taskId, 'outputs');
    const plain = sealed
      ? { error: 'SEAL_NOT_RECIPIENT' }
      : { text: 'You said: hello', finishReason: 'stop' };
    for (const output of outputs) assert.deepEqual(output.plain, plain);
  });
}

test('an output that is not there, or not what was committed to, is shown as that', async (t) => {
  const world = await start(t, [{}, {}, {}]);
  const taskId = await asked(world, 'hello');
  const { outputs } = await detailOf(world, taskId, 'evidence');
  const [first = '', second = ''] = outputs.map(({ resultCid }) => resultCid);
  world.blocks.blocks.delete(first);
  const { keyring } = world.lease;
  const forged = { model: 'tiny', text: 'No.', finishReason: 'stop', usage: outputs[0]?.usage };
  const bytes = Buffer.from(JSON.stringify(forged));
  const block = await world.router.crypto.seal(bytes, [keyring?.recipient ?? '']);
  world.blocks.blocks.set(second, block);
  const plain = (await detailOf(world, taskId, 'outputs')).outputs.map((output) => output.plain);
  assert.deepEqual(plain, [
    { error: 'CONTENT_MISSING' },
    { error: 'MINER_PROTOCOL' },
    { text: 'You said: hello', finishReason: 'stop' },
  ]);
  const wrong = await world.ask(`/api/v1/sessions/${SESSION}/tasks/${taskId}?include=all`);
  assert.deepEqual(await refusal(wrong), [400, 'REQUEST_INVALID', 'include']);
});

test('a task is VALID when an oracle judges its answers as the evidence says', async (t) => {
  const { judge, asked: judged } = judgeOf(NEAR);
  const world = await start(t, [{}, {}, {}], { judge });
  const taskId = await asked(world, 'hello');
  const first = await validate(world, { taskId });
  assert.deepEqual([first.verdict, codes(first)], ['VALID', ['verdict-holds']]);
  assert.equal(judged[0]?.answers.length, 3);
  // The same facts, the same receipt.
  const again = await validate(world, { taskId });
  assert.deepEqual(again, first);
  const receipt = await getJson(
    world.blocks,
    first.receiptCid ?? '',
    (value) => value as ValidationReceipt,
  );
  const { receiptCid: _, reasons, ...facts } = first;
  const said = reasons.map(({ code }) => code);
  assert.deepEqual(receipt, { version: 1, ...facts, reasons: said });
  assert.equal(receipt.evidenceCid, world.gateway.records.get(taskId)?.evidenceCid);
});

test('a task whose evidence does not hold is INVALID', async (t) => {
  const outlier: Judge = async (request) => {
    const { scores, ...verdict } = await judgeOf(NEAR).judge(request, AbortSignal.timeout(1_000));
    return { ...verdict, scores: scores.map((s, i) => (i === 0 ? { ...s, isAgreed: false } : s)) };
  };
  const world = await start(t, [{}, {}, {}], { judge: outlier });
  const taskId = await asked(world, 'hello');
  assert.deepEqual(codes(await validate(world, { taskId })), ['verdict-broken']);
  // Evidence in which somebody else's commitment stands for a miner's.
  const record = world.gateway.records.get(taskId);
  assert.ok(record?.evidenceCid != null);
  const evidence = await getJson(world.blocks, record.evidenceCid, (v) => v as TaskEvidence);
  const [first, ...rest] = evidence.commitments;
  assert.ok(first);
  const usage = { promptTokens: 1, completionTokens: 1 };
  for (const forged of [
    { ...evidence, commitments: [{ ...first, usage }, ...rest] },
    { ...evidence, commitments: [{ ...first, salt: first.resultHash }, ...rest] },
    { ...evidence, precommitments: evidence.precommitments.slice(1) },
  ]) {
    const evidenceCid = await world.blocks.put(Buffer.from(JSON.stringify(forged)));
    world.gateway.records.set(taskId, { ...record, evidenceCid });
    const found = await validate(world, { taskId });
    assert.deepEqual([found.verdict, codes(found)], ['INVALID', ['commitments-broken']]);
  }
});

test('a claim about a task is judged beside its agreed answers', async (t) => {
  const far = judgeOf(FAR);
  const world = await start(t, [{}, {}, {}], { judge: far.judge });
  const taskId = await asked(world, 'hello');
  const same = await validate(world, { taskId, answer: 'You said: hello' });
  assert.deepEqual(
    [same.verdict, codes(same), same.scoreBps],
    ['VALID', ['claim-identical'], 10_000],
  );
  assert.equal(far.asked.length, 0);
  const blocks = world.blocks.blocks.size;
  const other = await validate(world, { taskId, answer: 'Paris is in France.' });
  assert.deepEqual(
    [other.verdict, codes(other), other.scoreBps],
    ['INVALID', ['claim-far'], 1_200],
  );
  assert.equal(far.asked[0]?.answers.at(-1)?.miner, CLAIMANT);
  assert.equal(far.asked[0]?.asked, 4);
  // The receipt stays, the claim does not.
  assert.equal(world.blocks.blocks.size, blocks + 1);
  assert.ok(!JSON.stringify(other).includes('Paris'));
});

test('a request with a claim is put to miners again, once a key', async (t) => {
  const near = judgeOf(NEAR);
  let claimed: ChatResult | null = null;
  let world: World | null = null;
  const judge: Judge = async (request, signal) => {
    const block = await world?.blocks.get(request.answers.at(-1)?.resultCid ?? '');
    assert.ok(block && world);
    const plain = await openAtRest(block, world.keyring.identity);
    claimed = JSON.parse(Buffer.from(plain).toString()) as ChatResult;
    return near.judge(request, signal);
  };
  world = await start(t, [{}, {}, {}], { judge });
  const body = { request: said('hello'), answer: 'You told me: hello' };
  const found = await validate(world, body, 'k');
  assert.deepEqual([found.verdict, codes(found), found.scoreBps], ['VALID', ['claim-near'], 9_100]);
  assert.equal((claimed as ChatResult | null)?.text, body.answer);
  assert.ok(found.evidenceCid !== null && found.receiptCid !== null);
  assert.deepEqual(await validate(world, body, 'k'), found);
  assert.equal(world.gateway.ends.length, 1);
  // Another claim to the same request is compared with the same answers.
  const wrong = await validate(world, { ...body, answer: 'You said: hello' }, 'k');
  assert.deepEqual([codes(wrong), wrong.taskId], [['claim-identical'], found.taskId]);
  const conflict = await post(world, 'validate', { ...body, request: said('else') }, 'k');
  assert.deepEqual((await refusal(conflict)).slice(0, 2), [409, 'IDEMPOTENCY_CONFLICT']);
  // A chat of that key is not what its own claim is judged by.
  const chat = await world.chat('hello', {}, { 'idempotency-key': 'k' });
  assert.notEqual(chat.headers.get('x-cortensor-task'), found.taskId);
});

test('a request that agreement says nothing about NEEDS_SPEC', async (t) => {
  const { judge } = judgeOf(FAR);
  const world = await start(t, [{}, {}, {}], { judge });
  const ask = (temperature: number) =>
    validate(world, { request: { ...said('hello'), temperature }, answer: 'No.' });
  const hot = await ask(1.5);
  assert.deepEqual(
    [hot.verdict, codes(hot), hot.taskId],
    ['NEEDS_SPEC', ['temperature-too-high'], null],
  );
  assert.equal(world.gateway.submitted.length, 0);
  const warm = await ask(0.7);
  assert.deepEqual([warm.verdict, codes(warm)], ['NEEDS_SPEC', ['claim-far', 'sampled']]);
  const noQuorum: Judge = async ({ answers }) => ({
    status: 'no-quorum',
    method: 'embedding',
    medoid: null,
    scores: answers.map(({ miner }) => ({ miner, scoreBps: 0, isAgreed: false })),
  });
  const divided = await start(
    t,
    ['one', 'two', 'three'].map((answer) => ({ answer: () => answer })),
    { judge: noQuorum },
  );
  const open = await validate(divided, { request: said('hello'), answer: 'one' });
  assert.deepEqual([open.verdict, codes(open)], ['NEEDS_SPEC', ['no-quorum']]);
});

test('what cannot be judged now is to be asked again: RETRY, without a receipt', async (t) => {
  const { opened, open } = gate();
  const world = await start(t, [{ beforePrecommit: () => opened }]);
  const body = { request: said('hello'), answer: 'You told me: hello' };
  const early = await validate(world, { ...body, waitMs: 1 }, 'k');
  assert.deepEqual([early.verdict, codes(early), early.receiptCid], ['RETRY', ['not-ended'], null]);
  await until(() => world.gateway.records.size === 1, 'the record');
  const task = await validate(world, { taskId: early.taskId });
  assert.deepEqual([task.verdict, codes(task)], ['RETRY', ['not-ended']]);
  open();
  // The world's judge is away.
  const away = await validate(world, body, 'k');
  assert.deepEqual(
    [away.verdict, codes(away), away.taskId, away.receiptCid],
    ['RETRY', ['judge-unreachable'], early.taskId, null],
  );
  assert.deepEqual(codes(await validate(world, { taskId: early.taskId })), ['judge-unreachable']);
  const one = await validate(world, { ...body, answer: 'You said: hello' }, 'k');
  assert.deepEqual(codes(one), ['claim-identical', 'one-answer']);
});

test('a task that ended otherwise says so, and one that is not there is not found', async (t) => {
  const world = await start(t, [{}]);
  const taskId = await asked(world, 'hello');
  const record = world.gateway.records.get(taskId);
  assert.ok(record);
  const expected = [
    ['no-quorum', 'NEEDS_SPEC', 'no-quorum'],
    ['disputed', 'INVALID', 'disputed'],
    ['expired', 'RETRY', 'not-answered'],
    ['cancelled', 'RETRY', 'not-answered'],
  ] as const;
  for (const [outcome, verdict, reason] of expected) {
    world.gateway.records.set(taskId, { ...record, outcome });
    const found = await validate(world, { taskId });
    assert.deepEqual([found.verdict, codes(found)], [verdict, [reason]]);
  }
  const none = await post(world, 'validate', { taskId: `0x${'0'.repeat(64)}` });
  assert.deepEqual((await refusal(none)).slice(0, 2), [404, 'TASK_NOT_FOUND']);
  const another = await post(world, 'validate', { taskId, sessionId: '4712' });
  assert.deepEqual((await refusal(another)).slice(0, 2), [401, 'API_KEY_INVALID']);
});

test('a body that asks for two things, or for none, is refused with the field', async (t) => {
  const world = await start(t, [{}], { judge: judgeOf(NEAR).judge });
  const taskId = `0x${'1'.repeat(64)}`;
  const wrong: readonly [object, string][] = [
    [{}, 'taskId'],
    [{ taskId, request: said('a'), answer: 'b' }, 'taskId'],
    [{ taskId: '7' }, 'taskId'],
    [{ request: said('a') }, 'answer'],
    [{ request: { messages: [] }, answer: 'b' }, 'request.messages'],
    [{ taskId, waitMs: 60_000 }, 'waitMs'],
  ];
  for (const [body, field] of wrong) {
    assert.deepEqual(await refusal(await post(world, 'validate', body)), [
      400,
      'REQUEST_INVALID',
      field,
    ]);
  }
});

test('an error of the oracle that is no absence is not taken for one', async (t) => {
  const judge: Judge = async () => {
    throw new EngineError('INVARIANT_BROKEN');
  };
  const world = await start(t, [{}], { judge });
  const taskId = await asked(world, 'hello');
  const failed = await post(world, 'validate', { taskId });
  assert.deepEqual((await refusal(failed)).slice(0, 2), [500, 'INVARIANT_BROKEN']);
});
