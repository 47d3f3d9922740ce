import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { cortensor } from './cortensor.js';

const folder = mkdtempSync(join(tmpdir(), 'bad-input-'));
after(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function fileWith(content: string | Uint8Array): string {
  const file = join(folder, `input-${++files}`);
  writeFileSync(file, content);
  return file;
}

/** Runs `up` on a data folder of its own. */
async function up(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const data = join(folder, `data-${++files}`);
  return { ...(await cortensor(['up', '--once', '--data', data, ...args], env)), data };
}

const cases: [name: string, args: () => string[], code: RegExp][] = [
  [
    'an unknown key in temporal.yaml',
    () => ['--config', fileWith('retries:\n  chian: {}\n')],
    /^cortensor: CONFIG_INVALID: .*retries\.chian.*line 2/,
  ],
  [
    'a wrong type in temporal.yaml',
    () => ['--config', fileWith('quorum: two\n')],
    /^cortensor: CONFIG_INVALID: .*quorum/,
  ],
  [
    'a configuration that is not there',
    () => ['--config', join(folder, 'missing.yaml')],
    /^cortensor: CONFIG_INVALID: /,
  ],
  [
    'a secret that is not set',
    () => ['--config', fileWith('database:\n  url: env:NO_SUCH_VARIABLE\n')],
    /^cortensor: SECRET_MISSING: .*database\.url/,
  ],
  ['a prompts file that is not there', () => ['--prompts', join(folder, 'none')], /PROMPT_INVALID/],
  ['a prompts file without prompts', () => ['--prompts', fileWith('\n \n')], /PROMPT_INVALID/],
  [
    'a prompt that is not UTF-8',
    () => ['--prompts', fileWith(Uint8Array.from([0x61, 0xff, 0xfe]))],
    /PROMPT_INVALID: .*not UTF-8/,
  ],
  [
    'a prompt that is too large',
    () => ['--prompts', fileWith('x'.repeat(9_000))],
    /PROMPT_TOO_LARGE: .*prompt 1/,
  ],
  ['an option that does not exist', () => ['--frobnicate'], /USAGE: .*--frobnicate/],
];

for (const [name, args, line] of cases) {
  test(`up: refuses ${name} in one line with exit code 2, and makes nothing`, async () => {
    const { code, errors, data } = await up(args());
    assert.equal(code, 2);
    assert.equal(errors.length, 1);
    assert.match(errors[0] ?? '', line);
    assert.ok(!existsSync(data), 'no data folder was made');
  });
}

test('up: refuses a router port that is taken, by its number, before any server starts', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as { port: number };
  try {
    const { code, errors, data } = await up(['--config', fileWith(`router:\n  port: ${port}\n`)]);
    assert.equal(code, 1);
    assert.deepEqual(errors.length, 1);
    assert.match(errors[0] ?? '', new RegExp(`PORT_TAKEN: .*router.*${port}`));
    assert.deepEqual(readdirSync(join(data, 'run')), []);
    assert.ok(!existsSync(join(data, 'postgres')));
  } finally {
    other.close();
  }
});

test('up: names what to install when a server cannot be obtained, and stops what had started', async () => {
  const env = { CORTENSOR_CACHE: join(folder, 'no-cache'), PATH: '/nonexistent', HOME: folder };
  const { code, errors, data } = await up(['--config', fileWith('router:\n  port: 0\n')], env);
  assert.equal(code, 1);
  assert.equal(errors.length, 1);
  assert.match(errors[0] ?? '', /SERVER_NOT_FOUND: .*(install|set)/);
  assert.deepEqual(readdirSync(join(data, 'run')), []);
});

test('up: a second one on the same data folder is refused while the first holds it', async () => {
  const data = join(folder, 'held');
  const { Supervisor } = await import('../../servers/supervise.js');
  const first = await Supervisor.open(data);
  try {
    const config = fileWith('router:\n  port: 0\n');
    const second = await cortensor(['up', '--once', '--data', data, '--config', config]);
    assert.equal(second.code, 1);
    assert.match(second.errors[0] ?? '', new RegExp(`DATA_IN_USE: .*pid ${process.pid}`));
  } finally {
    await first.stop();
  }
});

test('cortensor: without a command prints its usage and exits with 2, with --help with 0', async () => {
  assert.equal((await cortensor([])).code, 2);
  const help = await cortensor(['--help']);
  assert.equal(help.code, 0);
  assert.match(help.stdout, /up .*\n.*worker/);
});

test('cortensor: refuses a command that does not exist, and names those that do', async () => {
  const { code, errors } = await cortensor(['dance']);
  assert.equal(code, 2);
  assert.match(errors[0] ?? '', /USAGE: .*up \| worker \| router \| miner \| oracle \| .*doctor/);
});

for (const role of ['worker', 'router', 'miner', 'oracle'] as const) {
  test(`cortensor ${role}: refuses to run without its configuration, with exit code 2`, async () => {
    const { code, errors } = await cortensor([role]);
    assert.equal(code, 2);
    assert.match(errors[0] ?? '', /USAGE: .*--config/);
  });
}

test('cortensor: prints its error as JSON too where JSON was asked for', async () => {
  const { stdout } = await cortensor(['up', '--json', '--prompts', join(folder, 'none')]);
  const { error } = JSON.parse(stdout) as { error: { code: string } };
  assert.equal(error.code, 'PROMPT_INVALID');
});
