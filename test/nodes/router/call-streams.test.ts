/** Streams of calls: whichever piece their miner fails at, and wherever a client comes back, the client
 * has each call once and whole, and it is billed once. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import OpenAI from 'openai';
import type { CalledTool } from '../../../domain/task.js';
import type { ScriptedMiner, Script } from './scripted-miner.js';
import { API_KEY, readSse, startWorld, type World } from './support.js';

const TEXT = 'Let me see. ';
const calls: CalledTool[] = ['Oslo 🌧', 'Rome'].map((city) => ({
  name: 'weather',
  arguments: JSON.stringify({ city, days: [1, 2, 3] }),
}));
/** One for each word, and two for each call. */
const FRAMES = TEXT.split(/(?<= )/).length + 2 * calls.length;
const tools = [
  { type: 'function' as const, function: { name: 'weather', parameters: { type: 'object' } } },
];

/** Two miners, of which whoever leads a task first fails at a frame of it. */
async function start(t: TestContext): Promise<{ world: World; client: OpenAI; at: Failing }> {
  const at = new Failing();
  const script: Script = {
    answer: () => TEXT,
    toolCalls: () => calls,
    beforeFrame: (seq, miner) => at.meet(seq, miner),
  };
  const world = await startWorld([script, script]);
  t.after(() => world.close());
  const options = { baseURL: `${world.router.url}/v1`, apiKey: API_KEY, maxRetries: 0 };
  return { world, client: new OpenAI(options), at };
}

class Failing {
  frame = Number.POSITIVE_INFINITY;
  /** Who leads the task, until it fails. */
  first: ScriptedMiner | null = null;
  failures = 0;

  meet(seq: number, miner: ScriptedMiner): void {
    this.first ??= miner;
    if (miner !== this.first || seq !== this.frame) return;
    this.failures++;
    const assigned = miner.heard.filter((message) => message.type === 'assign').at(-1);
    miner.say('fail', { taskId: assigned?.task.taskId, code: 'BACKEND_FAILED' });
    throw new Error('failed');
  }
}

interface Delta {
  readonly content?: string | null;
  readonly tool_calls?: readonly {
    readonly index: number;
    readonly id?: string;
    readonly function: { readonly name?: string; readonly arguments: string };
  }[];
}

/** What the pieces of a stream add up to, as any client would put them together. */
function added(deltas: readonly Delta[]): { text: string; calls: CalledTool[] } {
  const made: { name: string; arguments: string }[] = [];
  for (const { tool_calls: pieces = [] } of deltas) {
    for (const { index, id, function: piece } of pieces) {
      assert.equal(id === undefined, index < made.length, 'an id with the first piece only');
      made[index] ??= { name: '', arguments: '' };
      const call = made[index];
      call.name += piece.name ?? '';
      call.arguments += piece.arguments;
    }
  }
  return { text: deltas.map(({ content }) => content ?? '').join(''), calls: made };
}

test('a miner that fails at any frame of a chat with calls is replaced without a seam', async (t) => {
  const { world, client, at } = await start(t);
  for (let frame = 0; frame < FRAMES; frame++) {
    [at.frame, at.first] = [frame, null];
    const stream = await client.chat.completions.create({
      model: 'tiny',
      messages: [{ role: 'user', content: `frame ${frame}` }],
      tools,
      stream: true,
    });
    const deltas: Delta[] = [];
    for await (const { choices } of stream) deltas.push((choices[0]?.delta ?? {}) as Delta);
    assert.deepEqual(added(deltas), { text: TEXT, calls }, `frame ${frame}`);
    assert.equal(at.failures, frame + 1);
    assert.equal(world.gateway.ends.length, frame + 1);
    const end = world.gateway.ends.at(-1);
    const other = world.miners.find((miner) => miner !== at.first);
    assert.deepEqual([end?.outcome, end?.paidMiners], ['completed', [other?.address]]);
  }
});

test('a miner that fails at any frame of a response with calls is replaced without a seam', async (t) => {
  const { world, client, at } = await start(t);
  for (let frame = 0; frame < FRAMES; frame++) {
    [at.frame, at.first] = [frame, null];
    const stream = client.responses.stream({
      model: 'tiny',
      input: `frame ${frame}`,
      tools: tools.map(({ type, function: f }) => ({ type, strict: false, ...f })),
    });
    const pieces = new Map<string, string>();
    stream.on('response.function_call_arguments.delta', ({ item_id: id, delta }) =>
      pieces.set(id, (pieces.get(id) ?? '') + delta),
    );
    const { output, output_text: text } = await stream.finalResponse();
    const called = output.filter((item) => item.type === 'function_call');
    assert.equal(text, TEXT);
    assert.deepEqual(
      called.map(({ name, arguments: written }) => ({ name, arguments: written })),
      calls,
    );
    assert.deepEqual(
      [...pieces.values()],
      calls.map((call) => call.arguments),
    );
    assert.equal(world.gateway.ends.length, frame + 1);
  }
});

test('a client that comes back gets what it lacks of the calls, wherever it left', async (t) => {
  const { world } = await start(t);
  const headers = { 'idempotency-key': 'calls' };
  const ask = async (more: Record<string, string>) =>
    readSse(await world.chat('weather?', { tools, stream: true }, { ...headers, ...more }));
  const whole = await ask({});
  const deltaOf = ({ data }: { readonly data: string }): Delta =>
    data === '[DONE]'
      ? {}
      : ((JSON.parse(data) as { choices: { delta: Delta }[] }).choices[0]?.delta ?? {});
  assert.deepEqual(added(whole.map(deltaOf)), { text: TEXT, calls });
  const ids = [...new Set(whole.map(({ id }) => id))].filter((id) => id !== null);
  assert.ok(ids.length > FRAMES);
  for (const id of ids) {
    const rest = await ask({ 'last-event-id': String(id) });
    const had = whole.filter((event) => event.id !== null && event.id <= id);
    const lacks = rest.filter((event) => event.id === null || event.id > id);
    assert.deepEqual(added([...had, ...lacks].map(deltaOf)), { text: TEXT, calls });
  }
  assert.equal(world.gateway.ends.length, 1);
});
