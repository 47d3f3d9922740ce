/** What the commands of owners, miners and operators refuse, each with one code before anything is sent. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { dispatch } from '../../cli/command.js';
import { COMMANDS } from '../../cli/table.js';
import { EngineError, type ErrorCode } from '../../domain/errors.js';
import { cortensor } from './cortensor.js';

const folder = mkdtempSync(join(tmpdir(), 'refusals-'));
/** What a router would be asked; nobody listens. */
const NOWHERE = 'http://127.0.0.1:9';
const ADDRESS = `0x${'aa'.repeat(20)}`;
const TASK = `0x${'0b'.repeat(32)}`;
const chain = ['--rpc', NOWHERE, '--chain-id', '1', '--payment', ADDRESS];

let files = 0;
function fileWith(content: string, mode = 0o600): string {
  const file = join(folder, `file-${++files}`);
  writeFileSync(file, content, { mode });
  return file;
}
const key = `file:${fileWith(`0x${'11'.repeat(32)}\n`)}`;
const apiKey = `file:${fileWith('ck-test\n')}`;
const router = ['--router', NOWHERE, '--api-key', apiKey];
const policy = fileWith('model: m\npriceCeilingWei: "1"\n');
const sealed = fileWith('model: m\npriceCeilingWei: "1"\nlevel: sealed\n');

/** Requests that came to a router which must not be asked. */
let asked = 0;
const listener = createServer((_request, response) => {
  asked++;
  response.writeHead(500).end();
});
let listening: string[];
before(async () => {
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const { port } = listener.address() as AddressInfo;
  listening = ['--router', `http://127.0.0.1:${port}`, '--api-key', apiKey];
});
after(() => {
  listener.close();
  rmSync(folder, { recursive: true, force: true });
});

async function refusal(argv: readonly string[]): Promise<EngineError> {
  try {
    await dispatch(COMMANDS, [], argv);
  } catch (error) {
    assert.ok(error instanceof EngineError, String(error));
    assert.doesNotMatch(error.message, /\n/);
    return error;
  }
  assert.fail(`${argv.join(' ')} was accepted`);
}

const open = (...more: string[]) => ['session', 'open', '--policy', policy, '--key', key, ...more];

/** Refused before a router is asked. */
const wrong: readonly [what: string, argv: () => string[], code: ErrorCode, words: RegExp][] = [
  ['an amount of nothing', () => open('--deposit', '0'), 'AMOUNT_INVALID', /more than 0/],
  ['an amount below nothing', () => open('--deposit=-1'), 'AMOUNT_INVALID', /tokens, as in/],
  ['an amount with a unit', () => open('--deposit', '1 COR'), 'AMOUNT_INVALID', /tokens, as in/],
  [
    'an amount beyond all tokens',
    () => open('--deposit', '9'.repeat(21)),
    'AMOUNT_INVALID',
    /tokens, as in/,
  ],
  [
    'a key on the command line',
    () => ['session', 'deposit', '5', '1', '--key', `0x${'11'.repeat(32)}`],
    'USAGE',
    /^[^1]*file:PATH or env:NAME$/,
  ],
  [
    'a key file that is not there',
    () => ['session', 'withdraw', '5', '1', '--key', 'file:/nonexistent'],
    'SECRET_MISSING',
    /nonexistent/,
  ],
  [
    'a key file that others may read',
    () => ['earnings', 'withdraw', '--key', `file:${fileWith(`0x${'11'.repeat(32)}`, 0o644)}`],
    'KEY_FILE_UNSAFE',
    /644/,
  ],
  [
    'a key that is none',
    () => ['earnings', 'withdraw', '--key', `file:${fileWith('secret-text')}`],
    'KEY_FILE_UNSAFE',
    /^(?!.*secret-text)/,
  ],
  [
    'a reference that is none',
    () => ['session', 'deposit', '5', '1', '--key', key, '--reference', '0x12'],
    'USAGE',
    /--reference/,
  ],
  [
    'a sealed session that would not be kept',
    () => ['session', 'open', '--policy', sealed, '--key', key, '--deposit', '1'],
    'USAGE',
    /--save and --identity/,
  ],
  [
    'a policy that is not there',
    () => ['session', 'open', '--policy', '/nonexistent', '--key', key, '--deposit', '1'],
    'POLICY_INVALID',
    /ENOENT/,
  ],
  ['a policy that is no YAML', () => ['policy', fileWith('a: [')], 'POLICY_INVALID', /YAML/],
  [
    'a policy outside its limits',
    () => ['policy', fileWith('model: m\npriceCeilingWei: "1"\nredundancy: 10\n')],
    'POLICY_INVALID',
    /redundancy/,
  ],
  [
    'a change of policy that changes nothing',
    () => ['session', 'policy', '5', fileWith('{}'), '--key', key],
    'POLICY_INVALID',
    /fields/,
  ],
  ['a session that is no number', () => ['session', 'show', '0'], 'USAGE', /SESSION/],
  [
    'a file that holds no session',
    () => ['session', 'show', fileWith('{"version":1}')],
    'USAGE',
    /session open --save/,
  ],
  ['an empty prompt', () => ['session', 'ask', '5', ' '], 'PROMPT_INVALID', /text/],
  [
    'a count that is none',
    () => ['task', 'list', '--session', '5', '--limit', '0'],
    'USAGE',
    /--limit/,
  ],
  ['a task that is none', () => ['task', 'show', '0x12', '--session', '5'], 'USAGE', /TASK/],
];

describe('commands of owners', () => {
  for (const [what, argv, code, words] of wrong) {
    it(`refuse ${what}`, async () => {
      const call = argv();
      const takesRouter = call[0] === 'session' || call[0] === 'task';
      const before = asked;
      const { code: found, message } = await refusal([...call, ...(takesRouter ? listening : [])]);
      assert.equal(found, code, message);
      assert.match(message, words);
      assert.equal(asked, before, 'no router was asked');
    });
  }

  it('ask for a router, a chain or IPFS where none is named', async () => {
    const cases: [string[], RegExp][] = [
      [['session', 'show', '5'], /--router URL, or --config FILE/],
      [['session', 'show', '5', '--router', 'ftp://host'], /--router, expected an http/],
      [['session', 'exit', '5', '--key', key], /--rpc URL, or --config FILE/],
      [['earnings', 'show', ADDRESS, '--rpc', NOWHERE], /--chain-id N/],
      [['earnings', 'show', ADDRESS, ...chain.slice(0, 4)], /--payment ADDRESS/],
      [
        ['earnings', 'show', ADDRESS, ...chain.slice(0, 5), '0x1'],
        /--payment, expected an address/,
      ],
      [['earnings', 'show', ...chain], /ADDRESS, or --key/],
      [['policy', policy, '--pin'], /--ipfs URL/],
    ];
    for (const [argv, words] of cases) {
      const { code, message } = await refusal(argv);
      assert.equal(code, 'USAGE', message);
      assert.match(message, words);
    }
  });

  it('say what could not be reached', async () => {
    const cases: [string[], ErrorCode][] = [
      [['session', 'show', '5', ...router], 'ROUTER_UNREACHABLE'],
      [['task', 'prove', TASK, '--session', '5', ...router, ...chain], 'ROUTER_UNREACHABLE'],
      [['session', 'exit', '5', '--key', key, ...chain], 'CHAIN_UNREACHABLE'],
      [['earnings', 'show', ADDRESS, ...chain], 'CHAIN_UNREACHABLE'],
      [['policy', policy, '--pin', '--ipfs', NOWHERE], 'IPFS_UNREACHABLE'],
      [['miner', 'claims', '--journal', '/nonexistent', ...chain], 'CONTENT_MISSING'],
    ];
    for (const [argv, code] of cases) assert.equal((await refusal(argv)).code, code);
  });
});

describe('commands of operators', () => {
  it('refuse a layer, a level, a capacity or a time that is none', async () => {
    const config = ['--config', fileWith('quorum: 2\n')];
    const identity = ['--identity', `file:${join(import.meta.dirname, 'none.age')}`];
    const cases: [string[], ErrorCode, RegExp][] = [
      [['deploy', '--layer', 'moon', ...config], 'USAGE', /onboarding \| health \| service \| all/],
      [['deploy', '--layer', 'health', ...config], 'CONFIG_INVALID', /layers\.health\.rpcUrls/],
      [['onboard', 'user', '--key', key, ...identity, ...config], 'SECRET_MISSING', /none\.age/],
      [['schedule', 'pause', ...config], 'CONFIG_INVALID', /path /],
      [['export', 'start', 'x', 'user', ...config], 'USAGE', /SESSION/],
      [['export', 'start', '5', ...config], 'USAGE', /SINK/],
    ];
    for (const [argv, code, words] of cases) {
      const found = await refusal(argv);
      assert.equal(found.code, code, found.message);
      assert.match(found.message, words);
    }
  });
});

describe('the process', () => {
  it('ends with 2 for what the caller can mend, and with 1 for what it cannot', async () => {
    const [usage, gone] = await Promise.all([
      cortensor(['earnings', 'show', ...chain, '--json']),
      cortensor(['earnings', 'show', ADDRESS, ...chain]),
    ]);
    assert.equal(usage.code, 2);
    assert.equal((JSON.parse(usage.stdout) as { error: { code: string } }).error.code, 'USAGE');
    assert.equal(gone.code, 1);
    assert.match(gone.errors[0] ?? '', /^cortensor: CHAIN_UNREACHABLE: /);
  });
});
