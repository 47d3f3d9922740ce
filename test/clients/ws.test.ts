/** The stock `ws` package and the SDK over it, as the page on streaming has them typed. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { PROJECT_FOLDER } from '../../cli/project.js';
import type { SessionView } from '../../domain/session.js';
import { blocks, readPage } from '../docs/markdown.js';
import { API_KEY, SESSION, startWorld, type World } from '../nodes/router/support.js';

const LIMIT_MS = 30_000;
/** The router of `npm start`, which tests must not ask. */
const HOST = '127.0.0.1:8080';
const scripts = blocks(readPage('docs/streaming.md'), 'js');

/** Runs a script of the page against a router, as a newcomer would. */
async function run(t: TestContext, world: World, script: string | undefined): Promise<string> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'streaming-')));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  symlinkSync(join(PROJECT_FOLDER, 'node_modules'), join(folder, 'node_modules'));
  symlinkSync(join(PROJECT_FOLDER, 'dist', 'sdk'), join(folder, 'sdk'));
  assert.ok(script !== undefined && script.includes(HOST));
  const source = script
    .replaceAll(HOST, new URL(world.router.url).host)
    .replaceAll('smollm2-135m-instruct', 'tiny');
  const file = join(folder, 'script.mjs');
  writeFileSync(file, source);
  const { stdout } = await promisify(execFile)(process.execPath, [file, SESSION, API_KEY], {
    timeout: LIMIT_MS,
  });
  return stdout;
}

test('two requests on one socket are answered, each with its usage', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const printed = await run(t, world, scripts[0]);
  for (const [id, country] of Object.entries({ italy: 'Italy', peru: 'Peru' })) {
    const line = `${id} ended You said: What is the capital of ${country}? `;
    assert.ok(printed.includes(`${line}{ promptTokens: 5, completionTokens: 7 }\n`), printed);
  }
  assert.equal(world.gateway.ends.length, 2);
});

test('the SDK asks over a socket and ends when it is closed', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const { policy, owner } = world.lease;
  const view = { sessionId: SESSION, owner, policy, state: 'Open' } as SessionView;
  world.gateway.views.set(SESSION, view);
  assert.equal(await run(t, world, scripts[1]), 'You said: What is the capital of Chile?');
});
