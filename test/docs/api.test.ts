/** The page on the native API: its script runs as it stands, against a router. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { PROJECT_FOLDER } from '../../cli/project.js';
import type { SessionView } from '../../domain/session.js';
import type { ChatRequest } from '../../domain/task.js';
import { API_KEY, SESSION, startWorld } from '../nodes/router/support.js';
import { blocks, readPage } from './markdown.js';

/** The router of `npm start`, which tests must not ask. */
const ROUTER_URL = 'http://127.0.0.1:8080';
const LIMIT_MS = 60_000;

test('the script on tools and forms calls a tool, and prints a field of the form', async (t) => {
  const seen: ChatRequest[] = [];
  const world = await startWorld([
    {
      answer: (request) => (
        seen.push(request),
        request.tools === undefined ? '{"reason":"it rains","wear":"a coat"}' : ''
      ),
      toolCalls: ({ tools }) =>
        tools === undefined ? [] : [{ name: 'weather', arguments: '{"city":"Oslo"}' }],
    },
  ]);
  t.after(() => world.close());
  const { policy, owner } = world.lease;
  const view = { sessionId: SESSION, owner, policy, state: 'Open' } as SessionView;
  world.gateway.views.set(SESSION, view);

  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'api-')));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  symlinkSync(join(PROJECT_FOLDER, 'dist', 'sdk'), join(folder, 'sdk'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
  const [script = ''] = blocks(readPage('docs/api.md'), 'js');
  const source = script.replace(ROUTER_URL, world.router.url);
  assert.notEqual(source, script);
  writeFileSync(join(folder, 'ask.js'), source);

  const options = { cwd: folder, timeout: LIMIT_MS };
  const run = promisify(execFile)(process.execPath, ['ask.js', SESSION, API_KEY], options);
  assert.equal((await run).stdout, 'a coat\n');
  const [asked, advised] = seen;
  assert.equal(asked?.tools?.[0]?.name, 'weather');
  assert.deepEqual(
    advised?.messages.map(({ role, content }) => `${role} ${content}`),
    ['user What should I wear in Oslo today?', 'assistant ', 'tool rain in Oslo'],
  );
});
