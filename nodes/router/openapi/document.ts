/** The document of the API, made of the schemas that check the input.
 * @see https://spec.openapis.org/oas/v3.1.1.html */
import { z } from 'zod';
import { isPublic, scopeOf } from '../guard/caller.js';
import type { Operation, ParameterName } from './operations.js';

/** The sixth field of every error answer is what to quote to an operator. */
const errorSchema = z.object({
  error: z.object({
    code: z.string().meta({ description: 'Stable; docs/errors.md lists all of them' }),
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
    requestId: z.string(),
  }),
});

interface Parameter {
  readonly in: 'query' | 'header' | 'path';
  readonly description: string;
  readonly schema: object;
}

const PARAMETERS: Readonly<Record<ParameterName, Parameter>> = {
  until: { in: 'query', description: 'State to wait for', schema: { type: 'string' } },
  waitMs: {
    in: 'query',
    description: 'Milliseconds to wait at most',
    schema: { type: 'integer', minimum: 1, maximum: 20_000 },
  },
  from: {
    in: 'query',
    description: 'Number of the first task',
    schema: { type: 'integer', minimum: 0 },
  },
  limit: {
    in: 'query',
    description: 'Tasks at most',
    schema: { type: 'integer', minimum: 1, maximum: 1_000 },
  },
  'idempotency-key': {
    in: 'header',
    description: 'Requests of one key are one task',
    schema: { type: 'string' },
  },
  'x-cortensor-session': {
    in: 'header',
    description: 'Session that pays; a key with only one session needs none',
    schema: { type: 'string' },
  },
  'last-event-id': {
    in: 'header',
    description: 'Last event of the stream that is there already',
    schema: { type: 'string' },
  },
};

const PATH_SCHEMAS: Readonly<Record<string, { description: string; schema: object }>> = {
  id: { description: 'Session', schema: { type: 'string', pattern: '^[1-9][0-9]{0,18}$' } },
  taskId: { description: 'Task', schema: { type: 'string', pattern: '^0x[0-9a-f]{64}$' } },
  address: {
    description: 'Address',
    schema: { type: 'string', pattern: '^0x[0-9a-fA-F]{40}$' },
  },
  cid: { description: 'CID of a block', schema: { type: 'string' } },
  file: { description: 'Name', schema: { type: 'string' } },
};

/** Builds the document.
 * @param version - of the engine. */
export function openApiDocument(operations: readonly Operation[], version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of operations) {
    const path = operation.path.replaceAll(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [operation.method]: describe(operation) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Cortensor router',
      version,
      description: 'What any OpenAI client speaks under /v1, and the network’s own API.',
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas: { Error: schemaOf(errorSchema) },
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'An API key, or the token of a wallet that has signed in',
        },
      },
    },
  };
}

function describe(operation: Operation): object {
  const { method, path, tag, summary, body, status = 200, answer } = operation;
  const { parameters = [], types = ['application/json'] } = operation;
  const open = isPublic(path);
  const inPath = [...path.matchAll(/:(\w+)/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    ...PATH_SCHEMAS[name],
  }));
  return {
    operationId: operationId(method, path),
    tags: [tag],
    summary,
    ...(open
      ? { security: [] }
      : { security: [{ bearer: [] }], 'x-scope': scopeOf(method.toUpperCase(), path) }),
    parameters: [...inPath, ...parameters.map((name) => ({ name, ...PARAMETERS[name] }))],
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: schemaOf(body) } },
          },
        }),
    responses: {
      [status]: {
        description: answer,
        content: Object.fromEntries(types.map((type) => [type, {}])),
      },
      default: {
        description: 'An error',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
  };
}

function operationId(method: string, path: string): string {
  const words = path.split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
  return [method, ...words.map((word) => word.charAt(0).toUpperCase() + word.slice(1))].join('');
}

function schemaOf(schema: z.ZodType): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input' });
  return rest;
}
