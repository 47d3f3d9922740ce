import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { PROJECT_FOLDER } from '../../../cli/project.js';
import { API_SCOPES } from '../../../domain/config.js';
import { ERRORS, isErrorCode } from '../../../domain/errors.js';
import { operationsOf, type Operation } from '../../../nodes/router/openapi/operations.js';
import { valueOf, wrongValueOf, type JsonSchema } from './schema-values.js';
import { SESSION, startWorld, viewOf, type World } from './support.js';

interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, JsonSchema>> };
}
interface DocumentedOperation {
  readonly operationId: string;
  readonly parameters: readonly { name: string; in: string; schema: JsonSchema }[];
  readonly security: readonly object[];
  readonly requestBody?: {
    readonly content: { readonly 'application/json': { readonly schema: JsonSchema } };
  };
}

async function documentOf(world: World): Promise<Document> {
  const response = await fetch(`${world.router.url}/openapi.json`);
  assert.equal(response.status, 200);
  return (await response.json()) as Document;
}

test('the document has every route of the app, and the app every route of the document', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const { paths, openapi } = await documentOf(world);
  assert.equal(openapi, '3.1.0');
  const documented = Object.entries(paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method} ${path}`),
  );
  const routes = world.router.app.routes
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => `${method.toLowerCase()} ${path.replaceAll(/:(\w+)/g, '{$1}')}`);
  assert.deepEqual(documented.sort(), [...new Set(routes)].sort());
  const ids = Object.values(paths).flatMap((path) =>
    Object.values(path).map(({ operationId }) => operationId),
  );
  assert.equal(new Set(ids).size, ids.length);
});

test('the table of routes in the README is that of the document, but for files of the page', () => {
  const readme = readFileSync(join(PROJECT_FOLDER, 'README.md'), 'utf8');
  const listed = [...readme.matchAll(/^\| `(GET|POST|PUT|DELETE) ([^`]+)` \| (.+) \|$/gm)];
  const operations = operationsOf({ maxBodyBytes: 1 }).filter(({ path }) => path !== '/docs/:file');
  assert.deepEqual(
    listed.map(([, method, path, summary]) => [method, path, summary]),
    operations.map(({ method, path, summary }) => [method.toUpperCase(), path, summary]),
  );
});

test('the table of scopes in the operations is that of the code', () => {
  const page = readFileSync(join(PROJECT_FOLDER, 'docs', 'operations.md'), 'utf8');
  const table = page.split('| scope | allows |')[1]?.split('\n\n')[0] ?? '';
  const listed = [...table.matchAll(/^\| `([^`]+)` \|/gm)].map(([, scope]) => scope);
  assert.deepEqual(listed, API_SCOPES);
});

test('what the document says is open needs no key, and everything else does', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const { paths } = await documentOf(world);
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, { security }] of Object.entries(operations)) {
      const url = world.router.url + path.replaceAll(/\{\w+\}/g, '1');
      const { status } = await fetch(url, { method: method.toUpperCase() });
      assert.equal(status === 401, security.length > 0, `${method} ${path}: ${status}`);
    }
  }
});

test('the page is served with all that it loads, and nothing else', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const get = (path: string) => fetch(world.router.url + path);
  const page = await get('/docs');
  assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'self'/);
  const html = await page.text();
  const loaded = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = '']) => path);
  assert.equal(loaded.length, 3);
  for (const path of loaded) {
    const file = await get(path);
    assert.equal(file.status, 200, path);
    assert.ok((await file.text()).length > 20);
  }
  for (const path of ['/docs/package.json', '/docs/..%2fpackage.json', '/docs/__proto__']) {
    assert.equal((await get(path)).status, 400, path);
  }
});

/** Runs for each route and each kind of body. */
const RUNS = 12;

test('no body and no path makes a route fail in a way that is not its own, or hang', async (t) => {
  const world = await startWorld([{}]);
  t.after(() => world.close());
  const { owner } = world.lease;
  world.gateway.views.set(SESSION, viewOf({ owner }));
  const { paths } = await documentOf(world);
  for (const operation of operationsOf({ maxBodyBytes: 64 * 1024 })) {
    const path = operation.path.replaceAll(/:(\w+)/g, '{$1}');
    const documented = paths[path]?.[operation.method];
    assert.ok(documented);
    await fc.assert(
      fc.asyncProperty(requestOf(documented), async (request) => {
        await send(world, operation, request);
      }),
      { numRuns: operation.body === undefined ? RUNS : RUNS * 3, endOnFailure: true },
    );
  }
});

interface FuzzRequest {
  readonly path: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

function requestOf({ parameters, requestBody }: DocumentedOperation): fc.Arbitrary<FuzzRequest> {
  const of = (place: string) =>
    fc.record(
      Object.fromEntries(
        parameters
          .filter((parameter) => parameter.in === place)
          .map(({ name, schema }) => [
            name,
            fc.oneof(
              // The session that there is, most of the time: else nothing is ever looked at behind it.
              { weight: name === 'id' ? 6 : 0, arbitrary: fc.constant(SESSION as string) },
              { weight: 3, arbitrary: valueOf(schema).map(String) },
              { weight: 1, arbitrary: fc.string({ minLength: 1, maxLength: 30, unit: 'binary' }) },
            ),
          ]),
      ),
    );
  const schema = requestBody?.content['application/json'].schema;
  const body =
    schema === undefined
      ? fc.constant(undefined)
      : fc.oneof(
          { weight: 4, arbitrary: valueOf(schema).map((value) => JSON.stringify(value)) },
          { weight: 4, arbitrary: wrongValueOf(schema).map((value) => JSON.stringify(value)) },
          { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
        );
  return fc.record({ path: of('path'), query: of('query'), body });
}

async function send(world: World, operation: Operation, request: FuzzRequest): Promise<void> {
  const path = operation.path.replaceAll(/:(\w+)/g, (_, name: string) =>
    encode(request.path[name]),
  );
  const query = Object.entries(request.query).map(([name, value]) => `${name}=${encode(value)}`);
  const response = await world.ask(`${path}?${query.join('&')}`, {
    method: operation.method.toUpperCase(),
    ...(request.body === undefined ? {} : { body: request.body }),
    signal: AbortSignal.timeout(10_000),
  });
  const text = await response.text();
  const what = `${operation.method} ${path} ${request.body}: ${response.status} ${text}`;
  if (response.status < 400) return;
  const { error } = JSON.parse(text) as { error: { code: string; requestId: string } };
  assert.ok(isErrorCode(error.code), what);
  assert.equal(error.requestId, response.headers.get('x-request-id'), what);
  if (response.status >= 500) assert.ok(isNamed(error.code), what);
}

/** A failure that says what failed, and that it may be tried again. */
function isNamed(code: keyof typeof ERRORS): boolean {
  return code !== 'INTERNAL' && ERRORS[code].retryable;
}

/** A lone surrogate has no place in a URL; a dot of its own would be taken for a folder. */
function encode(value: string | undefined): string {
  const text = (value ?? '').replaceAll(/\p{Surrogate}/gu, '');
  return /^\.+$/.test(text) ? 'dots' : encodeURIComponent(text);
}
