import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SourceView } from '../../domain/source.js';
import { CortensorClient } from '../../sdk/index.js';

test('a client declares, uploads to, searches and removes its sources', async () => {
  const calls: string[] = [];
  const view = { source: 'notes', state: 'waiting' } as SourceView;
  const client = new CortensorClient({
    baseUrl: 'http://router.test',
    apiKey: 'k',
    fetch: async (input, init) => {
      const { pathname, search } = new URL(String(input as URL));
      const type = new Headers(init?.headers).get('content-type') ?? '';
      const body =
        init?.body instanceof Uint8Array ? Buffer.from(init.body).toString() : init?.body;
      calls.push(`${init?.method} ${pathname}${search} ${type} ${String(body as string)}`);
      return Response.json(pathname.endsWith('/context') ? { passages: [] } : view);
    },
  });
  const { sources } = client;
  await sources.declare('notes', { spec: { kind: 'documents' } });
  await sources.upload('notes', { title: 'A b', type: 'text/plain', bytes: Buffer.from('hi') });
  assert.deepEqual(await sources.passages('q', { sources: ['notes'], topK: 1 }), []);
  await sources.remove('notes');
  assert.deepEqual(calls, [
    'PUT /api/v1/sources/notes application/json {"spec":{"kind":"documents"}}',
    'POST /api/v1/sources/notes/documents?title=A+b text/plain hi',
    'POST /api/v1/context application/json {"query":"q","context":{"sources":["notes"],"topK":1}}',
    'DELETE /api/v1/sources/notes undefined'.replace(' undefined', '  undefined'),
  ]);
});
