/** The document of the API, made of the schemas that check the input.
 * @see https://spec.openapis.org/oas/v3.1.1.html */
import { z } from 'zod';
import { EngineError } from '../../../domain/errors.js';
import { isPublic, scopeOf } from '../guard/caller.js';
import { MAX_EPOCHS_A_PAGE } from '../routes/query.js';
import { API_SCHEMA_VERSION } from '../../../domain/api.js';
import { COMPONENTS, errorAnswer } from './answers.js';
import type { Operation, ParameterName } from './operations.js';

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
  'limit:epochs': {
    in: 'query',
    description: 'Epochs at most',
    schema: { type: 'integer', minimum: 1, maximum: MAX_EPOCHS_A_PAGE },
  },
  before: {
    in: 'query',
    description: 'Only epochs before this one',
    schema: { type: 'integer', minimum: 1 },
  },
  include: {
    in: 'query',
    description: 'What every miner committed to, or that with the answers in plain',
    schema: { type: 'string', enum: ['evidence', 'outputs'] },
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
  title: {
    in: 'query',
    description: 'Names a document in its source',
    schema: { type: 'string', minLength: 1, maxLength: 300 },
  },
  'last-event-id': {
    in: 'header',
    description: 'Last event of the stream that is there already',
    schema: { type: 'string' },
  },
};

const PATH_SCHEMAS: Readonly<Record<string, { description: string; schema: object }>> = {
  id: { description: 'Session', schema: { type: 'string', pattern: '^[1-9][0-9]{0,18}$' } },
  source: {
    description: 'Source',
    schema: { type: 'string', pattern: '^[a-z0-9][a-z0-9-]{0,63}$' },
  },
  sink: { description: 'Sink', schema: { type: 'string', pattern: '^[a-z][a-z0-9-]{0,63}$' } },
  taskId: { description: 'Task', schema: { type: 'string', pattern: '^0x[0-9a-f]{64}$' } },
  address: {
    description: 'Address',
    schema: { type: 'string', pattern: '^0x[0-9a-fA-F]{40}$' },
  },
  cid: { description: 'CID of a block', schema: { type: 'string' } },
  epoch: { description: 'Number of the epoch', schema: { type: 'integer', minimum: 1 } },
  file: { description: 'Name', schema: { type: 'string' } },
};

const JSON_TYPE = 'application/json';

const HEADERS = {
  RequestId: {
    description: 'To quote to an operator; the client’s own where it sent a fitting one',
    schema: { type: 'string', pattern: '^[\\w-]{8,64}$' },
  },
  OverheadMs: {
    description: 'Milliseconds until miners were asked, or the answer was ready',
    schema: { type: 'string', pattern: '^\\d+\\.\\d$' },
  },
};
const EVERY_ANSWER = {
  'x-request-id': { $ref: '#/components/headers/RequestId' },
  'x-cortensor-overhead-ms': { $ref: '#/components/headers/OverheadMs' },
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
      'x-schema-version': API_SCHEMA_VERSION,
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas: componentsOf(),
      headers: HEADERS,
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
  const { parameters = [], types = [JSON_TYPE], schema } = operation;
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
    parameters: [...inPath, ...parameters.map(parameterOf)],
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
        headers: EVERY_ANSWER,
        content: Object.fromEntries(
          types.map((type) => [
            type,
            type === JSON_TYPE && schema !== undefined ? { schema: refOf(schema) } : {},
          ]),
        ),
      },
      default: {
        description: 'An error',
        headers: EVERY_ANSWER,
        content: { [JSON_TYPE]: { schema: refOf(errorAnswer) } },
      },
    },
  };
}

function operationId(method: string, path: string): string {
  const words = path.split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
  return [method, ...words.map((word) => word.charAt(0).toUpperCase() + word.slice(1))].join('');
}

/** A name after a colon tells apart parameters of one name. */
function parameterOf(key: ParameterName): object {
  return { name: key.split(':')[0], ...PARAMETERS[key] };
}

function uriOf(id: string): string {
  return `#/components/schemas/${id}`;
}

/** @throws INVARIANT_BROKEN — the schema is no component. */
function refOf(schema: z.ZodType): object {
  const id = COMPONENTS.get(schema)?.id;
  if (id === undefined) throw new EngineError('INVARIANT_BROKEN', { what: 'a component' });
  return { $ref: uriOf(id) };
}

/** Clients must let unknown fields be, so the schemas of answers forbid none: those of their input. */
function componentsOf(): Record<string, object> {
  const { schemas } = z.toJSONSchema(COMPONENTS, { io: 'input', uri: uriOf });
  return Object.fromEntries(
    Object.entries(schemas).map(([id, { $schema: _, $id: __, ...schema }]) => [id, schema]),
  );
}

function schemaOf(schema: z.ZodType): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input' });
  return rest;
}
