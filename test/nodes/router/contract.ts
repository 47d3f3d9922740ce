/** The document of the API held against what the router says: each JSON answer must be, field by
 * field, what its route's schema has. */
import assert from 'node:assert/strict';
import { errorAnswer } from '../../../nodes/router/openapi/answers.js';
import { operationsOf, type Operation } from '../../../nodes/router/openapi/operations.js';

const OPERATIONS = operationsOf({ maxBodyBytes: 64 * 1024 });

/** Routes whose answers have been held against their schemas, in this process. */
export const CHECKED = new Set<string>();

/** The name of a route, as `CHECKED` has it. */
export function routeName({ method, path }: Pick<Operation, 'method' | 'path'>): string {
  return `${method.toUpperCase()} ${path}`;
}

/** Holds an answer to the document; the response can still be read.
 * @param path - without the query. */
export async function checkAnswer(method: string, path: string, response: Response): Promise<void> {
  if (response.headers.get('content-type')?.startsWith('application/json') !== true) return;
  const answer: unknown = await response.clone().json();
  const operation = OPERATIONS.find((o) => o.method === method.toLowerCase() && isAt(o, path));
  const isError = response.status >= 400 && operation?.path !== '/healthz';
  const schema = isError ? errorAnswer : operation?.schema;
  const what = `${method} ${path}: ${response.status} ${JSON.stringify(answer)}`;
  assert.ok(schema, `the document has no schema for ${what}`);
  const parsed = schema.safeParse(answer);
  assert.ok(parsed.success, `${what}\n${parsed.error?.message}`);
  // What a schema does not name is not in its output.
  assert.deepEqual(parsed.data, answer, what);
  assert.match(response.headers.get('x-request-id') ?? '', /^[\w-]{8,64}$/, what);
  if (isError || operation === undefined) return;
  assert.equal(response.status, operation.status ?? 200, what);
  CHECKED.add(routeName(operation));
}

function isAt({ path }: Operation, asked: string): boolean {
  const [parts, given] = [path.split('/'), asked.split('/')];
  return (
    parts.length === given.length &&
    parts.every((part, i) => (part.startsWith(':') ? given[i] !== '' : part === given[i]))
  );
}
