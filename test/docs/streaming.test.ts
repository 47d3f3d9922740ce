/** The page on streaming, held against the types and schemas of the protocol. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import {
  STREAM_CLOSES,
  STREAM_LIMITS,
  STREAM_PATH,
  STREAM_PROTOCOL,
  type ServerMessage,
} from '../../domain/stream.js';
import { clientMessageSchema } from '../../nodes/router/client-socket/messages.js';
import { codeSpans, readPage, rows, section } from './markdown.js';

const page = readPage('docs/streaming.md');
const [, fromClient = '', fromRouter = ''] =
  /From the client:\n([^]*?)From the router:\n([^]*)/.exec(section(page, 'Messages')) ?? [];

interface Shape {
  readonly oneOf?: readonly Shape[];
  readonly properties?: Readonly<Record<string, { readonly const?: string }>>;
  readonly required?: readonly string[];
}

/** Name and fields of each message, as the tables have them. */
function listed(table: string): [string, string[]][] {
  return rows(table).map(([name = '', fields = '']) => [
    codeSpans(name).join(' '),
    codeSpans(fields).toSorted(),
  ]);
}

test('the messages of a client are those that the schemas take', () => {
  const schema = z.toJSONSchema(clientMessageSchema, { io: 'input', unrepresentable: 'any' });
  const each = ({ oneOf, ...shape }: Shape): Shape[] =>
    oneOf === undefined ? [shape] : oneOf.flatMap(each);
  const taken = each(schema as Shape).map(({ properties = {}, required = [] }) => {
    const name = [properties['type']?.const, properties['kind']?.const].filter(Boolean).join(' ');
    const fields = Object.keys(properties)
      .filter((field) => field !== 'type')
      .map((field) => (required.includes(field) ? field : `${field}?`));
    return [name, fields.toSorted()];
  });
  assert.deepEqual(listed(fromClient), taken);
});

/** Fields of a message, and whether each must be there: complete, or it does not compile. */
type FieldsOf<M> = {
  readonly [F in Exclude<keyof M, 'type'>]-?: M extends Record<F, M[F]> ? '' : '?';
};
type Of<T extends ServerMessage['type']> = Extract<ServerMessage, { readonly type: T }>;

test('the messages of a router are those of the types', () => {
  const ready: FieldsOf<Of<'ready'>> = {
    router: '',
    maxRequests: '',
    maxMessageBytes: '',
    heartbeatMs: '',
  };
  const accepted: FieldsOf<Of<'accepted'>> = { id: '', taskId: '' };
  const delta: FieldsOf<Of<'delta'>> = { id: '', index: '', delta: '' };
  const event: FieldsOf<Of<'event'>> = { id: '', index: '', event: '' };
  const chat: FieldsOf<Extract<Of<'ended'>, { kind: 'chat' }>> = {
    kind: '',
    id: '',
    index: '',
    taskId: '',
    outcome: '',
    finishReason: '',
    usage: '',
    citations: '?',
  };
  const sealed: FieldsOf<Extract<Of<'ended'>, { kind: 'sealed' }>> = {
    kind: '',
    id: '',
    index: '',
    event: '',
  };
  const error: FieldsOf<Of<'error'>> = { id: '', ends: '', error: '', retryAfterMs: '?' };
  const types: Record<ServerMessage['type'], readonly [string, object][]> = {
    ready: [['ready', ready]],
    accepted: [['accepted', accepted]],
    delta: [['delta', delta]],
    event: [['event', event]],
    ended: [
      ['ended chat', chat],
      ['ended sealed', sealed],
    ],
    error: [['error', error]],
    pong: [['pong', {}]],
    draining: [['draining', {}]],
  };
  const expected = Object.values(types)
    .flat()
    .map(([name, fields]) => [
      name,
      Object.entries(fields)
        .map(([field, mark]) => `${field}${String(mark)}`)
        .toSorted(),
    ]);
  assert.deepEqual(listed(fromRouter), expected);
});

test('its figures are those of the code', () => {
  const connecting = section(page, 'Connecting');
  assert.ok(connecting.includes(`\`GET ${STREAM_PATH}\``));
  assert.ok(connecting.includes(`\`${STREAM_PROTOCOL}\``));
  assert.ok(connecting.includes(`within ${STREAM_LIMITS.authMs / 1_000} seconds`));
  const flow = section(page, 'Flow control');
  assert.ok(flow.includes(`takes ${STREAM_LIMITS.requests} requests at once`));
  assert.ok(flow.includes(`after ${STREAM_LIMITS.stalledMs / 1_000} seconds without`));
  const closes = section(page, 'Close codes');
  assert.ok(closes.includes(`${STREAM_LIMITS.faults} messages that were not understood`));
  const codes = rows(closes).map(([code]) => Number(code));
  for (const code of Object.values(STREAM_CLOSES)) assert.ok(codes.includes(code), String(code));
});
