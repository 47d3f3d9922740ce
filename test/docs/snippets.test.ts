/** The README's TypeScript, compiled under the project's own settings and run against a router. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { serve } from '@hono/node-server';
import { createIdentity, recipientOf } from '../../adapters/seal/identity.js';
import { PROJECT_FOLDER } from '../../cli/project.js';
import { createFakeRouter, framesOf, resultBlock } from '../sdk/fake-router.js';
import { blocks, readPage } from './markdown.js';

const ANSWER = 'The capital of France is Paris.';
const LIMIT_MS = 60_000;
/** The router of `npm start`, which tests must not ask. */
const ROUTER_URL = 'http://127.0.0.1:8080';
const SDK_FOLDERS = ['sdk', 'domain', 'adapters', 'contracts'];

const snippets = blocks(readPage('README.md'), 'ts');
let folder: string;
before(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'readme-')));
  symlinkSync(join(PROJECT_FOLDER, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
});
after(() => rmSync(folder, { recursive: true, force: true }));

function tsc(...options: string[]): Promise<{ stdout: string }> {
  const compiler = join(PROJECT_FOLDER, 'node_modules', '.bin', 'tsc');
  return promisify(execFile)(compiler, options, { cwd: folder, timeout: LIMIT_MS });
}

function runFile(file: string): Promise<{ stdout: string }> {
  return promisify(execFile)(process.execPath, [file], { cwd: folder, timeout: LIMIT_MS });
}

test('the snippets of the README compile under the settings of the project', async () => {
  const project = join(folder, 'types');
  mkdirSync(project);
  for (const name of [...SDK_FOLDERS, 'node_modules']) {
    symlinkSync(join(PROJECT_FOLDER, name), join(project, name));
  }
  snippets.forEach((text, i) => writeFileSync(join(project, `snippet-${i}.ts`), text));
  const compilerOptions = { noEmit: true, incremental: false, rootDir: '/' };
  const config = {
    extends: join(PROJECT_FOLDER, 'tsconfig.json'),
    compilerOptions,
    include: ['*.ts'],
  };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(config));
  assert.equal(snippets.length, 2);
  await tsc('-p', 'types').catch((error: Error & { stdout: string }) => assert.fail(error.stdout));
});

test('the snippet of the SDK asks a sealed session, prints the answer and gets its refund', async () => {
  const fake = await createFakeRouter();
  fake.router.script = async function* (asked) {
    const primary = fake.address(0);
    const recipient = await recipientOf(asked.keyring.identity);
    const { block, result } = await resultBlock(ANSWER, recipient);
    const resultCid = fake.put(block);
    const resultHash = await asked.channel.resultHash(result);
    const { taskId } = asked;
    yield { type: 'accepted', taskId, primary };
    yield* framesOf(asked, primary, ANSWER.split(/(?= )/));
    const cids = { resultCid: null, resultCids: [resultCid], requestCid: 'bafkrequest' };
    yield { type: 'ended', taskId, outcome: 'completed', agreed: primary, resultHash, ...cids };
  };
  const server = serve({ port: 0, hostname: '127.0.0.1', fetch: closing(fake.app) });
  try {
    if (!server.listening) await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    await keepKeys();
    for (const name of SDK_FOLDERS) {
      symlinkSync(join(PROJECT_FOLDER, 'dist', name), join(folder, name));
    }
    const source = (snippets[0] ?? '').replace(ROUTER_URL, `http://127.0.0.1:${port}`);
    assert.notEqual(source, snippets[0]);
    writeFileSync(join(folder, 'ask.ts'), source);
    // Only its types are taken off here; what it imports is the project's own build.
    const emit = ['--noCheck', '--noResolve', '--module', 'nodenext', '--target', 'es2023'];
    await tsc('ask.ts', ...emit).catch(() => undefined);
    const { stdout } = await runFile('ask.js');
    assert.match(stdout, new RegExp(`^${ANSWER}true \\[`));
  } finally {
    server.close();
  }
});

/** Keys as `cortensor up` leaves them. */
async function keepKeys(): Promise<void> {
  const keys = join(folder, '.cortensor', 'keys');
  mkdirSync(keys, { recursive: true });
  const { identity, recipient } = await createIdentity();
  writeFileSync(join(keys, 'user.api-key'), 'key\n');
  writeFileSync(join(keys, 'user.age'), `# public key: ${recipient}\n${identity}\n`);
  writeFileSync(join(keys, 'user.key'), `0x${'11'.repeat(32)}\n`);
}

/** The router in memory never settles: a session that it closes counts as closed. */
function closing(app: {
  request: (path: string, init?: RequestInit) => Response | Promise<Response>;
}) {
  return async (request: Request): Promise<Response> => {
    const { pathname, search } = new URL(request.url);
    const { method, headers } = request;
    const body = method === 'GET' ? {} : { body: await request.text() };
    const response = await app.request(pathname + search, { method, headers, ...body });
    if (method !== 'GET' || !/^\/api\/v1\/sessions\/\d+$/.test(pathname)) return response;
    const view = (await response.json()) as { state: string };
    return Response.json({ ...view, state: view.state === 'Closing' ? 'Closed' : view.state });
  };
}
