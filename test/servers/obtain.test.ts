import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { EngineError } from '../../domain/errors.js';
import { examine } from '../../servers/doctor.js';
import { downloadRecipe, type Download } from '../../servers/obtain/download.js';
import { locate, obtain, type Artefact, type Recipe } from '../../servers/obtain/index.js';
import { temporaryFolder } from './support.js';

const CONTENT = 'the real thing';

describe('obtain', () => {
  it('takes the configured path before everything else', async (t) => {
    const cache = temporaryFolder(t);
    const mine = join(cache, 'mine');
    writeFileSync(mine, CONTENT);
    const report = await obtain(tool([]), { cache, configured: mine });
    assert.deepEqual([report.source, report.path], ['configured', mine]);
  });

  it('goes from a configured path that does not work to PATH', async (t) => {
    const cache = temporaryFolder(t);
    const onPath = join(cache, 'cortensor-test-tool');
    writeFileSync(onPath, CONTENT);
    chmodSync(onPath, 0o755);
    const before = process.env['PATH'];
    t.after(() => (process.env['PATH'] = before));
    process.env['PATH'] = `${cache}:${before}`;
    const report = await obtain(tool([]), { cache, configured: '/nowhere/tool' });
    assert.equal(report.source, 'path');
    assert.deepEqual(
      report.tried.map(({ step }) => step),
      ['configured', 'path'],
    );
  });

  it('downloads once, and then uses the cache without the network', async (t) => {
    const cache = temporaryFolder(t);
    const host = await serve(t, CONTENT);
    const artefact = tool([download(host.url, CONTENT)]);
    assert.equal((await obtain(artefact, { cache })).source, 'download');
    host.close();
    const report = await obtain(artefact, { cache });
    assert.equal(report.source, 'cache');
    assert.equal(readFileSync(report.path, 'utf8'), CONTENT);
    assert.equal(host.requests(), 1);
  });

  it('takes the wanted file out of an archive', async (t) => {
    const cache = temporaryFolder(t);
    mkdirSync(join(cache, 'pack/inside'), { recursive: true });
    writeFileSync(join(cache, 'pack/inside/program'), CONTENT);
    const archive = execFileSync('tar', ['-czf', '-', '-C', join(cache, 'pack'), 'inside']);
    const host = await serve(t, archive);
    const artefact = tool([download(host.url, archive, 'inside/program')]);
    const { path } = await obtain(artefact, { cache });
    assert.equal(readFileSync(path, 'utf8'), CONTENT);
  });

  it('keeps nothing of a corrupt download, says so, and goes on to the next step', async (t) => {
    const cache = temporaryFolder(t);
    const host = await serve(t, 'something else');
    const messages: string[] = [];
    const report = await obtain(tool([download(host.url, CONTENT), build()]), {
      cache,
      onProgress: ({ message }) => messages.push(message),
    });
    assert.equal(report.source, 'build');
    const corrupt = report.tried.find(({ step }) => step === 'download');
    assert.match(corrupt?.outcome ?? '', /does not match its checksum/);
    assert.ok(messages.some((message) => /does not match its checksum/.test(message)));
    assert.deepEqual(readdirSync(join(cache, 'tool')), ['1.0']);
  });

  it('marks a corrupt download by its code', async (t) => {
    const host = await serve(t, 'something else');
    const kitchen = { report: () => {}, options: {} };
    await assert.rejects(
      download(host.url, CONTENT).make(temporaryFolder(t), kitchen),
      (error) => error instanceof EngineError && error.code === 'DOWNLOAD_CORRUPT',
    );
  });

  it('says what was tried, and what to do, when nothing works', async (t) => {
    const cache = temporaryFolder(t);
    const host = await serve(t, CONTENT);
    host.close();
    await assert.rejects(obtain(tool([download(host.url, CONTENT)]), { cache }), (error) => {
      assert.ok(error instanceof EngineError);
      assert.equal(error.code, 'SERVER_NOT_FOUND');
      assert.equal(error.details['remedy'], 'install the tool');
      assert.match(String(error.details['tried']), /no cortensor-test-tool on PATH.*ECONNREFUSED/);
      return true;
    });
  });

  it('replaces a cache entry that does not work', async (t) => {
    const cache = temporaryFolder(t);
    mkdirSync(join(cache, 'tool/1.0'), { recursive: true });
    writeFileSync(join(cache, 'tool/1.0/tool'), 'half of the th');
    assert.equal((await obtain(tool([build()]), { cache })).source, 'build');
    assert.equal((await obtain(tool([build()]), { cache })).source, 'cache');
  });

  it('changes nothing when it only looks', async (t) => {
    const cache = temporaryFolder(t);
    const report = await locate(tool([build()]), { cache, dryRun: true });
    assert.equal(report.found, false);
    assert.deepEqual(report.tried.at(-1), { step: 'build', outcome: 'would be tried next' });
    assert.deepEqual(readdirSync(cache), []);
  });

  it('makes one download when two processes want the same at once', async (t) => {
    const cache = temporaryFolder(t);
    const host = await serve(t, CONTENT, 300);
    const script = new URL('./fixtures/obtain.js', import.meta.url).pathname;
    const digest = sha256(CONTENT);
    const runs = [1, 2].map(async () => {
      const child = spawn(process.execPath, [script, cache, host.url, digest], {
        stdio: 'inherit',
      });
      assert.deepEqual(await once(child, 'exit'), [0, null]);
    });
    await Promise.all(runs);
    assert.equal(host.requests(), 1);
    assert.deepEqual(readdirSync(join(cache, 'tool')), ['1.0']);
  });
});

describe('examine', () => {
  it('reports on everything the engine needs without touching the cache', async (t) => {
    const cache = join(temporaryFolder(t), 'none');
    const reports = await examine({}, cache);
    assert.deepEqual(
      reports.map(({ name }) => name),
      ['temporal', 'ipfs', 'postgres', 'anvil', 'chat-model', 'embedding-model'],
    );
    assert.equal(reports.find(({ name }) => name === 'anvil')?.found, true);
    assert.equal(existsSync(cache), false);
  });
});

/** An artefact that is right when its content is. */
function tool(recipes: readonly Recipe[]): Artefact {
  return {
    name: 'tool',
    version: '1.0',
    file: 'tool',
    variable: 'CORTENSOR_TEST_TOOL',
    command: 'cortensor-test-tool',
    check: async (path) => {
      if (readFileSync(path, 'utf8') !== CONTENT) throw new Error('this is not the tool');
      return '1.0';
    },
    recipes,
    remedy: 'install the tool',
  };
}

function download(url: string, expected: string | Uint8Array, member?: string): Recipe {
  return downloadRecipe(
    { url, digest: sha256(expected), ...(member === undefined ? {} : { member }) },
    'tool',
  );
}

function build(): Recipe {
  return { step: 'build', make: async (folder) => writeFileSync(join(folder, 'tool'), CONTENT) };
}

function sha256(content: string | Uint8Array): Download['digest'] {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

async function serve(
  t: TestContext,
  content: string | Uint8Array,
  delayMs = 0,
): Promise<{ url: string; requests(): number; close(): void }> {
  let requests = 0;
  const server = createServer((_request, response) => {
    requests++;
    setTimeout(() => response.end(content), delayMs);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  t.after(close);
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/tool`, requests: () => requests, close };
}
