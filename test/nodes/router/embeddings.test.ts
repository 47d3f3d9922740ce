import assert from 'node:assert/strict';
import { after, before, describe, test, type TestContext } from 'node:test';
import { namedVector } from '../../../adapters/embedding/scripted.js';
import type { ErrorBody, JudgeRequest } from '../../../domain/api.js';
import { UNRESTRICTED } from '../../../domain/config.js';
import { EMBEDDING_LIMITS } from '../../../domain/embedding.js';
import { CHAT_FEATURES } from '../../../domain/features.js';
import type { EmbeddingRequest } from '../../../domain/task.js';
import type { Verdict } from '../../../domain/verdict.js';
import { judgeTask } from '../../../nodes/oracle/judge.js';
import { ResultReader } from '../../../nodes/oracle/results.js';
import type { Script } from './scripted-miner.js';
import {
  MemoryBlocks,
  SESSION,
  sha256,
  startWorld,
  type World,
  type WorldOptions,
} from './support.js';

const TEXTS = ['the first text', 'another one', 'and a third'];

interface List {
  readonly object: string;
  readonly model: string;
  readonly data: readonly { readonly index: number; readonly embedding: number[] }[];
  readonly usage: object;
}

async function start(
  t: TestContext,
  scripts: readonly Script[] = [{}],
  options: WorldOptions = {},
): Promise<World> {
  const world = await startWorld(
    scripts.map((script) => ({ models: ['vectors'], ...script })),
    {
      ...options,
      policy: { model: 'vectors', level: 'open', redundancy: scripts.length, ...options.policy },
    },
  );
  t.after(() => world.close());
  return world;
}

function put(world: World, body: object, headers: Record<string, string> = {}): Promise<Response> {
  const whole = { model: 'vectors', input: TEXTS, ...body };
  return world.ask('/v1/embeddings', { method: 'POST', body: JSON.stringify(whole), headers });
}

async function refusal(answer: Response | Promise<Response>): Promise<[number, string]> {
  const response = await answer;
  const { error } = (await response.json()) as ErrorBody;
  return [response.status, error.code];
}

test('texts get one unit vector each, in their order, and only what was read is billed', async (t) => {
  for (const level of ['open', 'link'] as const) {
    const world = await start(t, [{}, {}, {}], { policy: { level } });
    const response = await put(world, {});
    const { object, model, data, usage } = (await response.json()) as List;
    assert.deepEqual([object, model], ['list', 'vectors']);
    assert.deepEqual(usage, { prompt_tokens: 5, total_tokens: 5 });
    assert.deepEqual(
      data.map(({ index, embedding }) => [index, Float32Array.from(embedding)]),
      TEXTS.map((text, index) => [index, namedVector(text)]),
    );
    const [submission] = world.gateway.submitted.flat();
    assert.deepEqual([submission?.maxTokens, submission?.model], [0, 'vectors']);
    const bytes = TEXTS.join('').length;
    assert.ok((submission?.maxPromptTokens ?? 0) >= bytes);
    const [end] = world.gateway.ends;
    assert.deepEqual(end?.usage, { promptTokens: 5, completionTokens: 0 });
    assert.equal(end?.paidMiners.length, 3);
    assert.match(response.headers.get('x-cortensor-task') ?? '', /^0x[0-9a-f]{64}$/);
  }
});

test('base64 is of the same numbers, and one text needs no list', async (t) => {
  const world = await start(t);
  const response = await put(world, { input: 'alone', encoding_format: 'base64' });
  const { data } = (await response.json()) as { data: { embedding: string }[] };
  const bytes = Buffer.from(data[0]?.embedding ?? '', 'base64');
  const numbers = Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(i * 4));
  assert.equal(data.length, 1);
  assert.deepEqual(Float32Array.from(numbers), namedVector('alone'));
});

test('a length is asked of miners that know of lengths, and of no others', async (t) => {
  const able = await start(t);
  const { data } = (await (await put(able, { dimensions: 8 })).json()) as List;
  assert.ok(data.every(({ embedding }) => embedding.length === 8));
  const fixed = await start(t, [{ features: ['embedding'] }]);
  assert.equal((await put(fixed, {})).status, 200);
  assert.deepEqual(await refusal(put(fixed, { dimensions: 8 })), [400, 'FEATURE_UNSUPPORTED']);
  assert.equal(fixed.gateway.submitted.flat().length, 1);
});

test('a miner that only chats is not asked', async (t) => {
  const world = await start(t, [{ features: CHAT_FEATURES }]);
  assert.deepEqual(await refusal(put(world, {})), [400, 'FEATURE_UNSUPPORTED']);
});

describe('a request is refused, and nothing is begun:', () => {
  const bad: readonly [why: string, body: object, status: number, code: string][] = [
    ['tokens', { input: [1, 2, 3] }, 400, 'FEATURE_UNSUPPORTED'],
    ['lists of tokens', { input: [[1, 2], [3]] }, 400, 'FEATURE_UNSUPPORTED'],
    ['no text', { input: [] }, 400, 'REQUEST_INVALID'],
    ['an empty text', { input: ['one', ' '] }, 400, 'PROMPT_INVALID'],
    ['half a character', { input: 'one \ud800' }, 400, 'PROMPT_INVALID'],
    [
      'too many',
      { input: Array<string>(EMBEDDING_LIMITS.inputs + 1).fill('a') },
      400,
      'REQUEST_INVALID',
    ],
    ['too much', { input: Array<string>(5).fill('a'.repeat(1_000)) }, 413, 'PROMPT_TOO_LARGE'],
    ['a length that is none', { dimensions: 0 }, 400, 'REQUEST_INVALID'],
    ['another format', { encoding_format: 'int8' }, 400, 'REQUEST_INVALID'],
    ['a model that nobody serves', { model: 'huge' }, 404, 'MODEL_UNKNOWN'],
    ['a model that chats', { model: 'tiny' }, 400, 'MODEL_UNFIT'],
    ['another session', { session_id: '4712' }, 401, 'API_KEY_INVALID'],
  ];
  test('whatever is wrong with it', async (t) => {
    const world = await start(t);
    for (const [why, body, status, code] of bad) {
      assert.deepEqual(await refusal(put(world, body)), [status, code], why);
    }
    assert.deepEqual(world.gateway.submitted, []);
  });

  test('a session that only its client can seal for', async (t) => {
    const world = await start(t, [{}], { policy: { level: 'sealed' } });
    assert.deepEqual(await refusal(put(world, {})), [409, 'SESSION_SEALED']);
  });

  test('a session of a model that chats', async (t) => {
    const world = await startWorld([{}]);
    t.after(() => world.close());
    assert.deepEqual(await refusal(put(world, {})), [404, 'MODEL_UNKNOWN']);
  });
});

test('a model that embeds is not asked for words, on any route', async (t) => {
  const world = await start(t);
  const messages = [{ role: 'user', content: 'hi' }];
  const asks: readonly [path: string, body: object][] = [
    ['/v1/chat/completions', { messages }],
    ['/v1/chat/completions', { messages, stream: true }],
    ['/v1/completions', { prompt: 'hi' }],
    ['/v1/responses', { input: 'hi' }],
    ['/api/v1/delegate', { goal: 'hi' }],
    ['/api/v1/validate', { request: { messages }, answer: 'hi' }],
  ];
  for (const [path, body] of asks) {
    const whole = path.startsWith('/v1/') ? { model: 'vectors', ...body } : body;
    const answer = world.ask(path, { method: 'POST', body: JSON.stringify(whole) });
    assert.deepEqual(await refusal(answer), [400, 'MODEL_UNFIT'], path);
  }
  const sealed = {
    ...{ idempotencyKey: 'k', model: 'vectors', maxPromptTokens: 9, maxTokens: 0 },
    ...{ request: { seq: 0, isLast: true, data: 'aGk=' }, sealedRequest: 'aGk=' },
  };
  const tasks = `/api/v1/sessions/${SESSION}/tasks`;
  const answer = world.ask(tasks, { method: 'POST', body: JSON.stringify(sealed) });
  assert.deepEqual(await refusal(answer), [400, 'MODEL_UNFIT']);
  assert.deepEqual(world.gateway.submitted, []);

  const task = (await put(world, {})).headers.get('x-cortensor-task');
  const followed = world.ask(`${tasks}/${task}/answer`);
  assert.deepEqual(await refusal(followed), [400, 'MODEL_UNFIT']);
});

test('requests of one key are one task, and another request under it is refused', async (t) => {
  const world = await start(t);
  const headers = { 'idempotency-key': 'once' };
  const first = await (await put(world, {}, headers)).text();
  assert.equal(await (await put(world, {}, headers)).text(), first);
  assert.equal(world.gateway.submitted.flat().length, 1);
  const other = put(world, { input: 'something else' }, headers);
  assert.deepEqual(await refusal(other), [409, 'IDEMPOTENCY_CONFLICT']);
});

test('a key’s budget holds back what the texts can come to, and is charged what was read', async (t) => {
  // Three texts: 36 bytes, and 16 tokens around each.
  const apiKeys = [
    {
      ...UNRESTRICTED,
      name: 'small',
      sha256: sha256('sk-small'),
      sessions: [SESSION],
      budgetTokens: 90,
    },
  ];
  const world = await start(t, [{}], { apiKeys });
  const headers = { authorization: 'Bearer sk-small' };
  assert.equal((await put(world, {}, headers)).status, 200);
  await world.router.guard.settled();
  assert.equal((await put(world, {}, headers)).status, 200, '5 tokens were billed');
  const refused = await refusal(put(world, { input: 'word '.repeat(20) }, headers));
  assert.deepEqual(refused, [402, 'KEY_BUDGET_EXHAUSTED']);
});

test('the list of models says what each is for', async (t) => {
  const world = await start(t);
  const { data } = (await (await world.ask('/v1/models')).json()) as {
    data: { id: string; kind: string }[];
  };
  assert.deepEqual(
    data.map(({ id, kind }) => [id, kind]),
    [
      ['tiny', 'chat'],
      ['small', 'chat'],
      ['vectors', 'embedding'],
    ],
  );
});

describe('of three miners, the one that', () => {
  const honest = ({ input }: EmbeddingRequest) => input.map((text) => namedVector(text));
  const lies: Readonly<Record<string, NonNullable<Script['vectors']>>> = {
    'runs another model': ({ input }) => input.map((text) => namedVector(`other:${text}`)),
    'makes vectors up': ({ input }) => input.map((_, i) => namedVector(`random:${i}`)),
    'swaps two vectors': (request) => [...honest(request)].reverse(),
    'gives one for all': ({ input }) => input.map(() => namedVector(TEXTS[0] ?? '')),
    'leaves one out': (request) => honest(request).slice(0, -1),
    'gives one too many': (request) => [...honest(request), namedVector('more')],
    'cuts them short': ({ input }) => input.map((text) => namedVector(text, 8)),
    'changes one alone': (request) => honest(request).with(1, namedVector('wrong')),
    'gives no unit vectors': (request) => honest(request).map((vector) => vector.map((n) => n * 2)),
    'gives no numbers': (request) => honest(request).with(0, new Float32Array(32).fill(Number.NaN)),
  };
  const blocks = new MemoryBlocks();
  let world: World;
  before(async () => {
    const models = ['vectors'];
    world = await startWorld([{ models }, { models }, { models }], {
      blocks,
      judge: oracleOver(blocks),
      policy: { model: 'vectors', level: 'open', redundancy: 3 },
    });
  });
  after(() => world.close());

  /** @returns whether the first miner is paid beside the others, and what the caller gets. */
  async function ask(vectors: NonNullable<Script['vectors']>): Promise<[boolean, Float32Array[]]> {
    const first = world.miner(0);
    first.script = { ...first.script, vectors };
    const { data } = (await (await put(world, {})).json()) as List;
    const end = world.gateway.ends.at(-1);
    const isPaid = end?.paidMiners.includes(first.address) === true;
    assert.equal(end?.outcome, 'completed');
    assert.equal(end.paidMiners.length, isPaid ? 3 : 2);
    return [isPaid, data.map(({ embedding }) => Float32Array.from(embedding))];
  }

  for (const [name, vectors] of Object.entries(lies)) {
    test(`${name}: is unpaid, and its vectors reach nobody`, async () => {
      const truth = TEXTS.map((text) => namedVector(text));
      assert.deepEqual(await ask(vectors), [false, truth]);
    });
  }

  test('rounds otherwise: agrees, and is paid', async () => {
    const rounded = (request: EmbeddingRequest) =>
      honest(request).map((vector) => vector.map((n) => Math.round(n * 1_000) / 1_000));
    const [isPaid] = await ask(rounded);
    assert.equal(isPaid, true);
  });
});

test('miners that do not agree are not paid, and the caller is told', async (t) => {
  const blocks = new MemoryBlocks();
  const other = ({ input }: EmbeddingRequest) => input.map((text) => namedVector(`other:${text}`));
  const world = await start(t, [{}, { vectors: other }], { blocks, judge: oracleOver(blocks) });
  assert.deepEqual(await refusal(put(world, {})), [503, 'NO_QUORUM']);
  assert.deepEqual(world.gateway.ends[0]?.paidMiners, []);
});

test('what all agree on but nobody asked for is no answer', async (t) => {
  const vectors = ({ input }: EmbeddingRequest) => input.slice(1).map((text) => namedVector(text));
  const world = await start(t, [{ vectors }]);
  assert.deepEqual(await refusal(put(world, {})), [502, 'MINER_PROTOCOL']);
});

/** An oracle over a router's own blocks; that it embeds a text would be a mistake. */
function oracleOver(store: MemoryBlocks) {
  const embed = async (): Promise<never> => {
    throw new Error('vectors are compared as they are');
  };
  const results = new ResultReader({ store, identity: '', embedder: { embed } });
  return (request: JudgeRequest, signal: AbortSignal): Promise<Verdict> =>
    judgeTask(request, results, signal);
}
