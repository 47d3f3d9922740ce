import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { test } from 'node:test';
import { WORKFLOW_BUNDLE } from '../../workers/bundle.js';
import { WORKFLOWS } from '../../workflows/messages.js';

const MAX_BYTES = 2_500_000;
const code = readFileSync(WORKFLOW_BUNDLE, 'utf8');
/** Paths of the modules that webpack has put in. */
const modules = [...code.matchAll(/^\/\*\*\*\/ "([^"]+)":?/gm)].map(([, path]) => path ?? '');

test('workflow bundle: is small enough to load quickly and to be replayed fast', () => {
  const bytes = Buffer.byteLength(code);
  assert.ok(bytes < MAX_BYTES, `${bytes} bytes`);
});

test('workflow bundle: holds no client library and no module of the engine that does effects', () => {
  assert.ok(modules.length > 50, `${modules.length} modules`);
  const foreign = modules.filter((path) =>
    /node_modules\/(ethers|zod|kubo|multiformats|pg|age|hono|ws|yaml)|\/(activities|nodes|workers|servers|cli|sdk)\/|\/adapters\/(?!temporal\/failure-converter)/.test(
      path,
    ),
  );
  // Only its types are imported: the file of proxies is the workflows' own.
  assert.deepEqual(foreign, []);
});

test('workflow bundle: needs nothing of Node', () => {
  const required = [...code.matchAll(/\brequire\("((?:node:)?[a-z_/]+)"\)/g)].map(([, id]) => id);
  const builtins = required.filter((id) => builtinModules.includes(id?.replace('node:', '') ?? ''));
  assert.deepEqual(builtins, []);
  assert.deepEqual(
    modules.filter((path) => path.startsWith('node:')),
    [],
  );
});

test('workflow bundle: writes failures with the converter that leaves no plain text', () => {
  const converters = modules.filter((path) => path.includes('failure-converter'));
  assert.ok(
    converters.some((path) => path.endsWith('adapters/temporal/failure-converter.js')),
    converters.join(),
  );
  assert.match(code, /encodeCommonAttributes: true/);
});

test('workflow bundle: exports every workflow that clients start', () => {
  for (const type of Object.values(WORKFLOWS)) {
    assert.match(code, new RegExp(`\\b${type}: \\(\\) => `), type);
  }
});
