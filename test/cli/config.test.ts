import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { completeConfig, loadConfig, loadSettings, writeConfig } from '../../cli/config.js';
import { CHAIN_PRESETS } from '../../cli/config/presets.js';
import type { EngineConfig } from '../../domain/config.js';
import { EngineError, type ErrorCode } from '../../domain/errors.js';
import { anyConfig, runtime } from './config-values.js';

const folder = mkdtempSync(join(tmpdir(), 'config-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const shipped = 'temporal.yaml';

/** Settings of a file with this text. */
function settings(text: string, env: Record<string, string> = {}) {
  const file = join(folder, 'temporal.yaml');
  writeFileSync(file, text);
  return loadSettings({ file, env });
}

function refusal(action: () => unknown, code: ErrorCode = 'CONFIG_INVALID'): EngineError {
  try {
    action();
  } catch (error) {
    assert(error instanceof EngineError);
    assert.equal(error.code, code);
    assert.doesNotMatch(error.message, /\n/);
    return error;
  }
  assert.fail('expected an error');
}

function assertFrozen(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  assert(Object.isFrozen(value));
  Object.values(value).forEach(assertFrozen);
}

describe('loadSettings', () => {
  it('reads the shipped file, which states every default', () => {
    assert.deepEqual(loadSettings({ file: shipped, env: {} }), {
      ...settings('# nothing but defaults\n'),
    });
  });

  it('names the path and the line of an unknown key', () => {
    const { details } = refusal(() => settings('retries:\n  chain:\n    maxAttempts: 3\n'));
    assert.equal(details['path'], 'retries.chain.maxAttempts');
    assert.equal(details['got'], 'an unknown key');
    assert.equal(details['line'], 3);
  });

  it('names the path, the expectation and the type of a wrong value', () => {
    const text = 'stickyTimeout: 2s\nretries:\n  chain:\n    maximumAttempts: many\n';
    const error = refusal(() => settings(text));
    assert.equal(
      error.message,
      'the configuration is not valid: path retries.chain.maximumAttempts, expected an integer ' +
        `from 0 to 1000, got a string, line 4, file ${join(folder, 'temporal.yaml')}`,
    );
  });

  const wrong: readonly [text: string, path: string, got: string][] = [
    ['temporal: 7\n', 'temporal', 'a number'],
    ['temporal:\n', 'temporal', 'an empty value'],
    ['temporal:\n  address: http://server:7233\n', 'temporal.address', 'a string'],
    ['stickyTimeout: 2\n', 'stickyTimeout', 'a number'],
    ['stickyTimeout: 2 s\n', 'stickyTimeout', 'a string'],
    ['stickyTimeout: 3m\n', 'stickyTimeout', 'a string'],
    ['models:\n  - name: m\n    pricePerTokenWei: 5\n', 'models[0].pricePerTokenWei', 'a number'],
    ['models: []\n', 'models', 'a list'],
    ['models: [{ name: m, kind: image, pricePerTokenWei: "5" }]\n', 'models[0].kind', 'a string'],
    ['models: [{ name: m, kind: embedding, pricePerTokenWei: "5" }]\n', 'models', 'a list'],
    ['models:\n  - { pricePerTokenWei: "5" }\n', 'models[0].name', 'nothing'],
    ['layers: { service: { preset: mainnet } }\n', 'layers.service.preset', 'a string'],
    ['layers: { service: { preset: base, chainId: 1 } }\n', 'layers.service.chainId', 'a number'],
    ['layers: { health: { rpcUrls: [ws://x] } }\n', 'layers.health.rpcUrls[0]', 'a string'],
    ['ipfs: { apiUrl: "http://me:word@host" }\n', 'ipfs.apiUrl', 'a string'],
    ['database: { url: "postgres://me:hush@host/db" }\n', 'database.url', 'a string'],
    ['sinks: { Mine: { url: env:X } }\n', 'sinks.Mine', 'a mapping'],
    ['schedules: { healthEpoch: { every: 10s } }\n', 'schedules.healthEpoch.jitter', 'nothing'],
    ['oracles: []\n', 'quorum', 'nothing'],
    ['retries: { ipfs: { startToClose: 1h } }\n', 'retries.ipfs.scheduleToClose', 'nothing'],
    ['router: { apiKeys: [{ name: a, sha256: abc }] }\n', 'router.apiKeys[0].sha256', 'a string'],
    ['router: { limits: { headers: 1m } }\n', 'router.limits.request', 'nothing'],
    ['router: { cors: ["https://example.com/"] }\n', 'router.cors[0]', 'a string'],
  ];
  for (const [text, path, got] of wrong) {
    it(`refuses ${text.trim()}`, () => {
      const { details } = refusal(() => settings(text));
      assert.deepEqual([details['path'], details['got']], [path, got]);
    });
  }

  it('refuses two models of one name', () => {
    const model = '{ name: m, pricePerTokenWei: "1" }';
    const { details } = refusal(() => settings(`models:\n  - ${model}\n  - ${model}\n`));
    assert.deepEqual([details['path'], details['line']], ['models[1].name', 3]);
  });

  it('reports the first fault of the file when there are several', () => {
    const { details } = refusal(() => settings('quorum: many\nquota: 3\ntemporal: 1\n'));
    assert.deepEqual([details['path'], details['line']], ['quorum', 1]);
  });

  it('says no value of the file in an error', () => {
    const error = refusal(() => settings('database:\n  url: hush-hush\n'));
    assert.doesNotMatch(error.message, /hush/);
  });

  for (const text of ['a: [', 'quorum: 1\nquorum: 2\n', 'quorum: !secret 1\n']) {
    it(`names the line of text that is not YAML: ${JSON.stringify(text)}`, () => {
      const { details } = refusal(() => settings(text));
      assert.equal(details['expected'], 'valid YAML');
      assert.equal(typeof details['line'], 'number');
    });
  }

  it('refuses a file that is not there', () => {
    const { details } = refusal(() => loadSettings({ file: join(folder, 'no.yaml'), env: {} }));
    assert.equal(details['got'], 'ENOENT');
  });

  it('lets the environment of Temporal win over the file', () => {
    const text = 'temporal: { address: "a:1", namespace: mine, tls: true }\n';
    const env = {
      TEMPORAL_ADDRESS: 'b:2',
      TEMPORAL_NAMESPACE: 'theirs',
      TEMPORAL_API_KEY: 'hush',
      TEMPORAL_TLS: 'false',
    };
    assert.deepEqual(settings(text, env).temporal, {
      address: 'b:2',
      namespace: 'theirs',
      apiKey: 'env:TEMPORAL_API_KEY',
      tls: false,
      codec: null,
    });
  });

  it('takes an empty variable as unset', () => {
    const env = { TEMPORAL_ADDRESS: '', TEMPORAL_TLS: '' };
    assert.equal(settings('temporal: { address: "a:1" }', env).temporal.address, 'a:1');
  });

  it('turns TLS on with an API key unless the file says otherwise', () => {
    const env = { TEMPORAL_API_KEY: 'hush' };
    assert.equal(settings('', env).temporal.tls, true);
    assert.equal(settings('temporal: { tls: false }', env).temporal.tls, false);
    assert.equal(settings('').temporal.tls, false);
  });

  it('refuses a variable that it does not understand', () => {
    const { details } = refusal(() => settings('', { TEMPORAL_TLS: 'perhaps' }));
    assert.equal(details['path'], 'TEMPORAL_TLS');
  });

  /** As the chains themselves answer `eth_chainId`. */
  const chainIds = {
    ethereum: 1,
    'arbitrum-one': 42_161,
    base: 8_453,
    optimism: 10,
    sepolia: 11_155_111,
    'arbitrum-sepolia': 421_614,
    'base-sepolia': 84_532,
    'optimism-sepolia': 11_155_420,
  };
  it('has a preset of every chain that the file names', () => {
    assert.deepEqual(Object.keys(CHAIN_PRESETS), Object.keys(chainIds));
    for (const preset of Object.keys(chainIds)) {
      assert.match(readFileSync(shipped, 'utf8'), new RegExp(`\\b${preset}\\b`));
    }
  });
  for (const [preset, chainId] of Object.entries(chainIds)) {
    it(`knows the chain ${preset}`, () => {
      const { service } = settings(`layers: { service: { preset: ${preset} } }`).layers;
      assert.equal(service.chainId, chainId);
      assert(service.confirmations > 0);
      assert.deepEqual(
        service.rpcUrls?.map((url) => new URL(url).protocol),
        ['https:'],
      );
    });
  }

  it('prefers configured URLs over those of a preset', () => {
    const text = 'layers: { health: { preset: base, rpcUrls: [https://own.example] } }';
    assert.deepEqual(settings(text).layers.health.rpcUrls, ['https://own.example']);
  });

  it('resolves relative paths from the folder of the file', () => {
    writeFileSync(join(folder, 'url'), 'postgres://x');
    const read = settings('database: { url: file:url }\nembedding: { folder: ./model }\n');
    assert.equal(read.database.url, `file:${join(folder, 'url')}`);
    assert.equal(read.embedding.folder, join(folder, 'model'));
  });

  it('freezes all of it', () => {
    assertFrozen(loadSettings({ file: shipped, env: {} }));
  });
});

describe('completeConfig', () => {
  const base = loadSettings({ file: shipped, env: {} });

  it('joins settings and what was found out', () => {
    const config = completeConfig(base, runtime);
    assert.equal(config.temporal.address, runtime.temporal.address);
    assert.deepEqual(config.layers.service.contracts, runtime.layers.service.contracts);
    assert.equal(config.settlement.maxTasks, 100);
    assertFrozen(config);
  });

  it('leaves what it was given as it was', () => {
    completeConfig(base, runtime);
    assert(!Object.isFrozen(runtime.oracles));
  });

  it('names what is still open', () => {
    const { database: _, ...rest } = runtime;
    const { details } = refusal(() => completeConfig(base, rest));
    assert.equal(details['path'], 'database.url');
  });

  it('refuses fewer oracles than the quorum', () => {
    const oracles = runtime.oracles.slice(0, 1);
    const { details } = refusal(() => completeConfig(base, { ...runtime, oracles }));
    assert.equal(details['path'], 'quorum');
  });
});

describe('loadConfig', () => {
  const file = join(folder, 'complete.yaml');
  const complete = completeConfig(loadSettings({ file: shipped, env: {} }), runtime);

  it('reads back what writeConfig wrote, whatever the configuration', () => {
    fc.assert(
      fc.property(anyConfig, (config: EngineConfig) => {
        writeConfig(file, config);
        assert.deepEqual(loadConfig({ file, env: {}, secrets: [] }), config);
      }),
      { numRuns: 50 },
    );
  });

  it('keeps the written file from others', () => {
    writeConfig(file, complete);
    assert.equal(statSync(file).mode & 0o777, 0o600);
  });

  it('freezes all of it', () => {
    writeConfig(file, complete);
    assertFrozen(loadConfig({ file, env: {}, secrets: [] }));
  });

  it('refuses a file that leaves something embedded', () => {
    writeConfig(file, complete);
    const text = readFileSync(file, 'utf8');
    const address = /address: 127.0.0.1:7233/;
    assert.match(text, address);
    writeFileSync(file, text.replace(address, 'address: embedded'));
    const { details } = refusal(() => loadConfig({ file, env: {}, secrets: [] }));
    assert.deepEqual([details['path'], details['line']], ['temporal.address', 3]);
  });

  it('names the key of a missing secret, and its line', () => {
    writeConfig(file, complete);
    const lines = readFileSync(file, 'utf8').split('\n');
    const { details } = refusal(() => loadConfig({ file, env: {} }), 'SECRET_MISSING');
    assert.equal(details['path'], 'temporal.codec.identity');
    assert.equal(details['reference'], 'file:/keys/codec');
    assert.match(lines[Number(details['line']) - 1] ?? '', /identity: file:\/keys\/codec/);
  });

  it('asks only for the secrets that the process uses', () => {
    writeConfig(file, complete);
    const env = { DATABASE_URL: 'postgres://x' };
    assert.doesNotThrow(() => loadConfig({ file, env, secrets: ['database'] }));
    refusal(() => loadConfig({ file, env: {}, secrets: ['database'] }), 'SECRET_MISSING');
    refusal(() => loadConfig({ file, env, secrets: ['layers.service'] }), 'SECRET_MISSING');
  });
});
