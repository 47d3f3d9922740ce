import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';

/** The import rule, as the README draws it; written down a second time to test the linter's. */
interface Rule {
  readonly from: string;
  readonly allowed: readonly string[];
  /** Allowed with `import type` only. */
  readonly asType?: readonly string[];
  readonly refused: readonly string[];
}

const targets = {
  domain: 'domain/ids.js',
  abi: 'contracts/abi.js',
  generator: 'contracts/generate.js',
  servers: 'servers/run.js',
  chain: 'adapters/chain/sign.js',
  seal: 'adapters/seal/channel.js',
  keyFiles: 'adapters/seal/identity-file.js',
  messages: 'workflows/messages.js',
  workflow: 'workflows/session.js',
  activities: 'activities/chain.js',
  workers: 'workers/worker.js',
  router: 'nodes/router/app.js',
  sdk: 'sdk/client.js',
  cli: 'cli/config.js',
  test: 'test/support/servers.js',
  bench: 'bench/run.js',
  node: 'node:fs',
  nodeSub: 'node:fs/promises',
  ethers: 'ethers',
  kubo: 'kubo-rpc-client',
  age: 'age-encryption',
  pg: 'pg',
  zod: 'zod',
  workflowSdk: '@temporalio/workflow',
  activitySdk: '@temporalio/activity',
  clientSdk: '@temporalio/client',
} as const;
type Target = keyof typeof targets;

/** Everything but `names`. */
const but = (...names: Target[]) =>
  (Object.keys(targets) as Target[]).filter((name) => !names.includes(name));

const above = ['workers', 'router', 'sdk', 'cli', 'test', 'bench'] as const;

const rules: readonly Rule[] = [
  { from: 'domain/task.ts', allowed: [], refused: but('domain') },
  {
    from: 'servers/start/anvil.ts',
    allowed: ['domain', 'node', 'pg'],
    refused: ['abi', 'chain', 'seal', 'messages', 'activities', ...above],
  },
  {
    from: 'contracts/forge.ts',
    allowed: ['domain', 'servers', 'node'],
    refused: ['chain', 'messages', 'activities', ...above],
  },
  {
    from: 'adapters/chain/outbox.ts',
    allowed: ['domain', 'abi', 'seal', 'node', 'nodeSub', 'ethers'],
    asType: ['pg'],
    refused: but('domain', 'abi', 'chain', 'seal', 'keyFiles', 'node', 'nodeSub', 'ethers'),
  },
  {
    from: 'adapters/ipfs/block-store.ts',
    allowed: ['domain', 'node', 'kubo'],
    refused: ['generator', 'servers', 'messages', 'activities', 'ethers', 'pg', 'zod', ...above],
  },
  {
    from: 'adapters/database/sink.ts',
    allowed: ['domain', 'node', 'pg'],
    refused: ['generator', 'servers', 'messages', 'activities', 'ethers', 'kubo', ...above],
  },
  {
    from: 'adapters/seal/keyring.ts',
    allowed: ['domain', 'node', 'age'],
    refused: ['generator', 'servers', 'messages', 'activities', 'ethers', 'pg', ...above],
  },
  {
    from: 'adapters/temporal/connect.ts',
    allowed: ['domain', 'node', 'clientSdk'],
    refused: ['messages', 'activities', 'ethers', 'workflowSdk', ...above],
  },
  {
    from: 'adapters/model/embedded.ts',
    allowed: ['domain', 'node'],
    refused: ['messages', 'activities', 'ethers', 'pg', ...above],
  },
  {
    from: 'adapters/embedding/embedder.ts',
    allowed: ['domain', 'node'],
    refused: ['messages', 'activities', 'ethers', 'pg', ...above],
  },
  {
    from: 'workflows/session.ts',
    allowed: ['domain', 'workflowSdk'],
    asType: ['activities'],
    refused: but('domain', 'workflowSdk', 'messages', 'workflow'),
  },
  {
    from: 'activities/chain.ts',
    allowed: ['domain', 'node', 'activitySdk'],
    asType: ['chain', 'seal', 'keyFiles'],
    refused: but('domain', 'node', 'nodeSub', 'keyFiles', 'activitySdk', 'activities'),
  },
  {
    from: 'workers/worker.ts',
    allowed: ['domain', 'node', 'activities', 'chain', 'keyFiles', 'messages', 'clientSdk'],
    asType: ['pg', 'workflow'],
    refused: ['generator', 'servers', 'router', 'sdk', 'cli', 'ethers'],
  },
  {
    from: 'nodes/miner/miner.ts',
    allowed: ['domain', 'node', 'chain', 'keyFiles', 'messages', 'zod'],
    refused: ['servers', 'generator', 'workflow', 'activities', 'workers', 'router', 'sdk', 'cli'],
  },
  {
    from: 'sdk/client.ts',
    allowed: ['domain', 'seal'],
    refused: but('domain', 'seal', 'sdk'),
  },
  {
    from: 'cli/commands/up.ts',
    allowed: but('test', 'bench'),
    refused: ['test', 'bench'],
  },
  { from: 'test/chain.ts', allowed: but(), refused: [] },
  { from: 'bench/ttft.ts', allowed: but(), refused: [] },
];

interface Diagnostic {
  readonly code: string;
  readonly filename: string;
}

interface Case {
  readonly file: string;
  readonly code: string;
}

const specifierOf = (from: string, name: string): string => {
  const target = targets[name as Target];
  const isFile = /^[a-z]+\/.*\.js$/.test(target);
  return isFile ? '../'.repeat(from.split('/').length - 1) + target : target;
};

const caseOf = (from: string, name: string, kind: 'value' | 'type' | 'export'): Case => {
  const specifier = specifierOf(from, name);
  const code = {
    value: `import * as x from '${specifier}';\nexport const y = x;\n`,
    type: `import type * as x from '${specifier}';\nexport type Y = typeof x;\n`,
    export: `export * from '${specifier}';\n`,
  }[kind];
  return { file: `${dirname(from)}/${name}-${kind}.ts`, code };
};

/** Rules of the linter beside the imports, each with code that breaks it. */
const broken: readonly (Case & { readonly rule: string })[] = [
  {
    rule: 'typescript(no-floating-promises)',
    file: 'nodes/floats.ts',
    code: 'const work = async () => 1;\nexport const go = () => {\n  work();\n};\n',
  },
  {
    rule: 'typescript(switch-exhaustiveness-check)',
    file: 'nodes/misses.ts',
    code: `export function f(x: 'a' | 'b') {\n  switch (x) {\n    case 'a':\n      return 1;\n  }\n  return 2;\n}\n`,
  },
  {
    rule: 'typescript(consistent-type-imports)',
    file: 'nodes/imports.ts',
    code: `import { Server } from 'node:http';\nexport type S = Server;\n`,
  },
  {
    rule: 'typescript(no-explicit-any)',
    file: 'nodes/any.ts',
    code: 'export const x = (y: any) => y;\n',
  },
  {
    rule: 'typescript(no-non-null-assertion)',
    file: 'nodes/asserts.ts',
    code: 'export const x = (y: string | null) => y!;\n',
  },
  {
    rule: 'import(no-cycle)',
    file: 'nodes/cycle-a.ts',
    code: `import { b } from './cycle-b.js';\nexport const a = (): number => b();\n`,
  },
  { rule: 'import(no-default-export)', file: 'nodes/default.ts', code: 'export default 1;\n' },
];
const cycleEnd: Case = {
  file: 'nodes/cycle-b.ts',
  code: `import { a } from './cycle-a.js';\nexport const b = (): number => a();\n`,
};

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'rules-')));
/** `file rule` of everything that the linter refused. */
const refused = new Set<string>();

before(async () => {
  const cases = rules.flatMap(({ from, allowed, asType = [], refused: no }) => [
    ...[...allowed, ...asType, ...no].map((name) => caseOf(from, name, 'value')),
    ...[...allowed, ...asType, ...no].map((name) => caseOf(from, name, 'type')),
    ...[...asType, ...no].map((name) => caseOf(from, name, 'export')),
  ]);
  for (const { file, code } of [...cases, ...broken, cycleEnd]) {
    mkdirSync(join(folder, dirname(file)), { recursive: true });
    writeFileSync(join(folder, file), code);
  }
  copyFileSync('.oxlintrc.json', join(folder, '.oxlintrc.json'));
  const compilerOptions = { strict: true, module: 'nodenext', types: [] };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
  for (const { code, filename } of await lint()) {
    refused.add(`${filename} ${code}`);
  }
});
after(() => rmSync(folder, { recursive: true, force: true }));

async function lint(): Promise<readonly Diagnostic[]> {
  const programs = resolve('node_modules/.bin');
  const oxlint = join(programs, 'oxlint');
  // It looks for the type-aware half on PATH, as npm sets it.
  const env = { ...process.env, PATH: `${programs}${delimiter}${process.env['PATH'] ?? ''}` };
  const options = { cwd: folder, env, maxBuffer: 1 << 26 };
  // It ends with code 1, as there are violations; its report is on standard output all the same.
  const { stdout } = await promisify(execFile)(oxlint, ['--format', 'json'], options).catch(
    (error: Error & { stdout: string }) => error,
  );
  return (JSON.parse(stdout) as { diagnostics: Diagnostic[] }).diagnostics;
}

const isRefused = (from: string, name: string, kind: 'value' | 'type' | 'export') =>
  refused.has(`${caseOf(from, name, kind).file} eslint(no-restricted-imports)`);

describe('the linter', () => {
  for (const { from, allowed, asType = [], refused: no } of rules) {
    const top = from.startsWith('adapters/') ? dirname(from) : from.split('/')[0];
    for (const name of allowed) {
      it(`lets ${top} import ${targets[name as Target]}`, () => {
        assert(!isRefused(from, name, 'value'));
        assert(!isRefused(from, name, 'type'));
      });
    }
    for (const name of asType) {
      it(`lets ${top} import ${targets[name as Target]} as a type only`, () => {
        assert(!isRefused(from, name, 'type'));
        assert(isRefused(from, name, 'value'));
        assert(isRefused(from, name, 'export'));
      });
    }
    for (const name of no.filter((n) => !asType.includes(n))) {
      it(`refuses that ${top} imports ${targets[name as Target]}`, () => {
        assert(isRefused(from, name, 'value'));
        assert(isRefused(from, name, 'type'));
        assert(isRefused(from, name, 'export'));
      });
    }
  }

  for (const { rule, file } of broken) {
    it(`enforces ${rule}`, () => {
      assert(refused.has(`${file} ${rule}`));
    });
  }
});
