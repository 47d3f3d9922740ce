/** Tools, forms and stop words through the SDK, against a router, at every level. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { WebSocket } from 'ws';
import { createIdentity } from '../../adapters/seal/identity.js';
import type { SealingLevel } from '../../domain/sealing.js';
import type { SessionView } from '../../domain/session.js';
import type { CalledTool, ChatRequest, Tool } from '../../domain/task.js';
import { CortensorClient, type Answer, type ChatMessage } from '../../sdk/index.js';
import { exportKeyring } from '../../sdk/session.js';
import type { Judge } from '../../nodes/router/judge.js';
import type { Script, ScriptedMiner } from '../nodes/router/scripted-miner.js';
import { API_KEY, SESSION, startWorld } from '../nodes/router/support.js';

async function start(
  t: TestContext,
  level: SealingLevel,
  scripts: readonly Script[],
  judge?: Judge,
) {
  const world = await startWorld(scripts, {
    policy: { level, redundancy: scripts.length },
    ...(judge === undefined ? {} : { judge }),
  });
  t.after(() => world.close());
  const { policy, owner } = world.lease;
  const view = { sessionId: SESSION, owner, policy, state: 'Open' } as SessionView;
  world.gateway.views.set(SESSION, view);
  const { identity, recipient } = await createIdentity();
  const client = new CortensorClient({ baseUrl: world.router.url, apiKey: API_KEY, identity });
  const session = level.startsWith('sealed')
    ? await client.importSession(await exportKeyring(world.keyring, recipient))
    : await client.session(SESSION);
  return { world, client, session };
}

const weather: Tool = {
  name: 'weather',
  description: 'Tells the weather of a city.',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  strict: true,
};
const calls: CalledTool[] = ['Oslo 🌧', 'Rome'].map((city) => ({
  name: 'weather',
  arguments: JSON.stringify({ city }),
}));
const question: ChatMessage = { role: 'user', content: 'weather?' };
const hasResult = ({ messages }: ChatRequest) => messages.some(({ role }) => role === 'tool');
const format = {
  type: 'json-schema',
  name: 'report',
  schema: { type: 'object', properties: { why: { type: 'string' }, degrees: { type: 'integer' } } },
} as const;

/** What an assistant's answer and the results of its calls are in a conversation. */
function turnOf({ text, toolCalls }: Answer): ChatMessage[] {
  return [
    { role: 'assistant', content: text, toolCalls },
    ...toolCalls.map(({ id, arguments: written }) => {
      return { role: 'tool', toolCallId: id, content: `rain for ${written}` } as const;
    }),
  ];
}

for (const level of ['open', 'link', 'sealed', 'sealed-pq'] as const) {
  test(`${level}: calls come whole, their results go back, and the form of the answer is held`, async (t) => {
    const seen: ChatRequest[] = [];
    const { world, client, session } = await start(t, level, [
      {
        answer: (request) => (
          seen.push(request),
          hasResult(request) ? '{ "why": "rain", "degrees": 3 }' : 'Let me see. '
        ),
        toolCalls: (request) => (hasResult(request) ? [] : calls),
      },
    ]);
    const socket = client.socket({ WebSocket });
    t.after(() => socket.close());
    for (const over of [{}, { socket }]) {
      seen.length = 0;
      const stop = ['END'];
      const ask = { messages: [question], tools: [weather], toolChoice: 'required', stop } as const;
      const stream = session.ask({ ...ask, parallelToolCalls: false }, over);
      const first = await stream.done;
      assert.deepEqual(
        first.toolCalls.map(({ name, arguments: written }) => ({ name, arguments: written })),
        calls,
      );
      assert.equal(first.finishReason, 'tool-calls');
      assert.equal(new Set(first.toolCalls.map(({ id }) => id)).size, 2);
      const record = world.gateway.records.get(first.taskId);
      assert.equal(record?.outcome, 'completed');
      let streamed = '';
      for await (const delta of stream) streamed += delta;
      assert.deepEqual([streamed, first.text], ['Let me see. ', 'Let me see. ']);

      const messages = [question, ...turnOf(first)];
      const second = await session.ask({ messages, responseFormat: format }, over).done;
      assert.deepEqual(JSON.parse(second.text), { why: 'rain', degrees: 3 });
      assert.deepEqual([second.toolCalls, second.finishReason], [[], 'stop']);
      const third = await session.ask({ messages: [...messages, ...turnOf(second)] }, over).done;
      assert.equal(third.verdictAgreed, true);

      const [asked, answered] = seen;
      assert.deepEqual(
        [asked?.tools, asked?.toolChoice, asked?.parallelToolCalls, asked?.stop],
        [[weather], 'required', false, stop],
      );
      assert.deepEqual(answered?.messages, messages);
      // As text: models fill a schema in its author's order.
      assert.equal(JSON.stringify(answered.responseFormat), JSON.stringify(format));
    }
  });
}

for (const level of ['link', 'sealed'] as const) {
  test(`${level}: where the primary’s call lost the verdict, the answer has the one agreed on`, async (t) => {
    const isPrimary = ({ heard }: ScriptedMiner) =>
      heard.some((message) => message.type === 'assign' && message.task.isPrimary);
    const judge: Judge = async ({ answers }) => {
      const scores = answers.map(({ miner }) => {
        const isAgreed = !world.miners.some((m) => m.address === miner && isPrimary(m));
        return { miner, scoreBps: isAgreed ? 10_000 : 0, isAgreed };
      });
      const medoid = scores.find(({ isAgreed }) => isAgreed)?.miner ?? null;
      return { status: 'agreed', method: 'embedding', medoid, scores };
    };
    const { world, session } = await start(t, level, [{}, {}, {}], judge);
    for (const miner of world.miners) {
      const toolCalls = () => (isPrimary(miner) ? calls.slice(1) : calls.slice(0, 1));
      miner.script = { answer: () => '', toolCalls };
    }
    const answer = await session.ask({ messages: [question], tools: [weather] }).done;
    assert.equal(answer.verdictAgreed, true);
    assert.deepEqual(
      answer.toolCalls.map((call) => call.arguments),
      ['{"city":"Oslo 🌧"}'],
    );
  });

  test(`${level}: what cannot be asked is refused before anything is sent, or by code`, async (t) => {
    const { world, session } = await start(t, level, [{ features: [] }]);
    const refused = async (request: Parameters<typeof session.ask>[0], code: string) =>
      assert.rejects(session.ask(request).done, { code });
    const messages = [question];
    await refused({ messages, tools: [weather, weather] }, 'PROMPT_INVALID');
    await refused({ messages, tools: [weather], toolChoice: { name: 'time' } }, 'PROMPT_INVALID');
    await refused({ messages: [{ role: 'tool', content: 'rain' }] }, 'PROMPT_INVALID');
    assert.equal(world.gateway.submitted.length, 0);
    await refused({ messages, tools: [weather] }, 'FEATURE_UNSUPPORTED');
    await refused({ messages, responseFormat: format }, 'FEATURE_UNSUPPORTED');
    await refused({ messages, stop: ['END'] }, 'FEATURE_UNSUPPORTED');
  });
}
