/** `cortensor source …` against a router that says what it was told. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import type { SourceView } from '../../domain/source.js';
import { cortensorJson } from './cortensor.js';

const VIEW: SourceView = {
  source: 'products',
  kind: 'table',
  level: 'open',
  state: 'waiting',
  revision: 1,
  documents: [],
  chunks: 0,
  counts: { items: 0, added: 0, unchanged: 0, removed: 0 },
  failure: null,
  failureText: null,
  receipt: null,
};

const heard: string[] = [];
const server = createServer((request, response) => {
  let body = '';
  request.on('data', (part: Buffer) => (body += part.toString()));
  request.on('end', () => {
    heard.push(`${request.method} ${request.url} ${body}`);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(VIEW));
  });
});
let router: readonly string[];
before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  process.env['CORTENSOR_TEST_KEY'] = 'sk-test';
  const { port } = server.address() as AddressInfo;
  router = ['--router', `http://127.0.0.1:${port}`, '--api-key', 'env:CORTENSOR_TEST_KEY'];
});
after(() => server.close());

test('a table becomes a source by its database, its query and the column that titles a row', async () => {
  const query = "select name, price from product where note <> 'old'";
  const named = ['--title', 'name', '--level', 'open'];
  const argv = ['source', 'table', 'products', 'shop', query, ...named, ...router];
  assert.deepEqual(await cortensorJson(argv), { source: VIEW });
  await cortensorJson(['source', 'table', 'products', 'shop', 'select 1', ...router]);
  const spec = { kind: 'table', database: 'shop' };
  assert.deepEqual(heard, [
    `PUT /api/v1/sources/products ${JSON.stringify({ level: 'open', spec: { ...spec, query, title: 'name' } })}`,
    `PUT /api/v1/sources/products ${JSON.stringify({ level: 'link', spec: { ...spec, query: 'select 1' } })}`,
  ]);
  const wrong = ['source', 'table', 'x', 'shop', 'select 1', '--level', 'sealed', ...router];
  await assert.rejects(cortensorJson(wrong), { code: 'USAGE' });
});
