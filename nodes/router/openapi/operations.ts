/** Every route of the router in one table: what it is for, what it takes, what comes back. A test
 * holds it to the app, in both directions. */
import type { z } from 'zod';
import { STREAM_PATH } from '../../../domain/stream.js';
import type { AppDeps } from '../app.js';
import { chatSchema } from '../chat.js';
import { completionsSchema } from '../completions.js';
import { responsesSchema } from '../responses.js';
import { signInSchema } from '../routes/auth.js';
import { changeSchema, depositSchema, withdrawalSchema } from '../routes/changes.js';
import { keyringSchema, openSchema } from '../routes/sessions.js';
import { taskSchema } from '../routes/tasks.js';

export type ParameterName =
  | 'until'
  | 'waitMs'
  | 'from'
  | 'limit'
  | 'idempotency-key'
  | 'x-cortensor-session'
  | 'last-event-id';

export interface Operation {
  readonly method: 'get' | 'post' | 'put';
  /** As the app has it: `/api/v1/sessions/:id`. */
  readonly path: string;
  readonly tag: 'OpenAI' | 'Sessions' | 'Tasks' | 'Network' | 'Sign-in' | 'Router';
  readonly summary: string;
  readonly body?: z.ZodType;
  /** Query and headers. */
  readonly parameters?: readonly ParameterName[];
  /** Of the answer when all is well. @defaultValue 200 */
  readonly status?: number;
  /** What the answer is. */
  readonly answer: string;
  /** Content types of the answer. @defaultValue application/json */
  readonly types?: readonly string[];
}

const JSON_OR_STREAM = ['application/json', 'text/event-stream'];
const ASK = ['idempotency-key', 'x-cortensor-session', 'last-event-id'] as const;

export function operationsOf(
  limits: Pick<AppDeps['limits'], 'maxBodyBytes'>,
): readonly Operation[] {
  return [
    {
      method: 'get',
      path: '/v1/models',
      tag: 'OpenAI',
      summary: 'List the models that the network serves',
      answer: 'OpenAI’s list of models',
    },
    {
      method: 'post',
      path: '/v1/chat/completions',
      tag: 'OpenAI',
      summary: 'Answer a conversation',
      body: chatSchema,
      parameters: ASK,
      answer: 'OpenAI’s chat.completion, or its chunks when `stream` is true',
      types: JSON_OR_STREAM,
    },
    {
      method: 'post',
      path: '/v1/completions',
      tag: 'OpenAI',
      summary: 'Answer a prompt',
      body: completionsSchema,
      parameters: ASK,
      answer: 'OpenAI’s text_completion with `task_id`, or its chunks when `stream` is true',
      types: JSON_OR_STREAM,
    },
    {
      method: 'post',
      path: '/v1/responses',
      tag: 'OpenAI',
      summary: 'Answer a conversation, without keeping it',
      body: responsesSchema,
      parameters: ASK,
      answer: 'OpenAI’s response, or its events when `stream` is true',
      types: JSON_OR_STREAM,
    },
    {
      method: 'post',
      path: '/api/v1/sessions',
      tag: 'Sessions',
      summary: 'Open a session that its owner has signed for',
      body: openSchema,
      status: 201,
      answer: 'The session as it is now',
    },
    {
      method: 'get',
      path: '/api/v1/sessions/:id',
      tag: 'Sessions',
      summary: 'Show a session, or wait until it has left the states before `until`',
      parameters: ['until', 'waitMs'],
      answer: 'The session as it is then',
    },
    {
      method: 'put',
      path: '/api/v1/sessions/:id/keyring',
      tag: 'Sessions',
      summary: 'Hand over the keyring of a session that its client seals',
      body: keyringSchema,
      answer: 'The session as it is now',
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/deposits',
      tag: 'Sessions',
      summary: 'Add a deposit that its payer has signed',
      body: depositSchema,
      status: 202,
      answer: 'The session as it is by then; the rest goes on by itself',
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/deposits/sync',
      tag: 'Sessions',
      summary: 'Take over what the chain has as the deposit',
      status: 202,
      answer: 'The session as it is by then',
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/withdrawals',
      tag: 'Sessions',
      summary: 'Give back what is free, signed by the owner',
      body: withdrawalSchema,
      status: 202,
      answer: 'The session as it is by then; the rest goes on by itself',
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/policy',
      tag: 'Sessions',
      summary: 'Change the policy, signed by the owner',
      body: changeSchema,
      status: 202,
      answer: 'The session as it is by then; the rest goes on by itself',
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/close',
      tag: 'Sessions',
      summary: 'Close a session when its open tasks have ended',
      status: 202,
      answer: 'The session as it is now',
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/cancel',
      tag: 'Sessions',
      summary: 'Cancel what has not begun, and close the session',
      status: 202,
      answer: 'The session as it is now',
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/tasks',
      tag: 'Tasks',
      summary: 'Ask, with a request that the client has sealed',
      body: taskSchema(limits),
      parameters: ['last-event-id'],
      answer: 'The events of the task',
      types: ['text/event-stream'],
    },
    {
      method: 'get',
      path: '/api/v1/sessions/:id/tasks',
      tag: 'Tasks',
      summary: 'List the tasks of a session, from a number on',
      parameters: ['from', 'limit'],
      answer: 'Their records, in the order in which they came',
    },
    {
      method: 'get',
      path: '/api/v1/sessions/:id/tasks/:taskId',
      tag: 'Tasks',
      summary: 'Show a task',
      answer: 'Its record',
    },
    {
      method: 'get',
      path: '/api/v1/sessions/:id/tasks/:taskId/events',
      tag: 'Tasks',
      summary: 'Follow a task',
      parameters: ['last-event-id'],
      answer: 'The events of the task',
      types: ['text/event-stream'],
    },
    {
      method: 'get',
      path: '/api/v1/sessions/:id/tasks/:taskId/answer',
      tag: 'Tasks',
      summary: 'Follow the answer to a task, where the router seals',
      parameters: ['last-event-id'],
      answer: 'OpenAI’s chat.completion.chunk, with the usage in a last one',
      types: ['text/event-stream'],
    },
    {
      method: 'get',
      path: '/api/v1/sessions/:id/tasks/:taskId/proof',
      tag: 'Tasks',
      summary: 'Prove that a task is settled on chain',
      answer: 'What the contract needs to check it',
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/tasks/:taskId/cancel',
      tag: 'Tasks',
      summary: 'Cancel a task whose answer has not begun',
      answer: 'Its record',
    },
    {
      method: 'get',
      path: STREAM_PATH,
      tag: 'Tasks',
      summary: 'Ask, resume and cancel over a WebSocket, many requests at once',
      status: 101,
      answer: 'Messages of the subprotocol cortensor.v1, which docs/streaming.md describes',
      types: [],
    },
    {
      method: 'get',
      path: '/api/v1/payloads/:cid',
      tag: 'Tasks',
      summary: 'Fetch a block of IPFS, sealed as it is there',
      answer: 'Its bytes, which are what the CID says',
      types: ['application/octet-stream'],
    },
    {
      method: 'get',
      path: '/api/v1/miners',
      tag: 'Network',
      summary: 'List the miners that are connected here',
      answer: 'Address, models, capacity and load of each',
    },
    {
      method: 'get',
      path: '/api/v1/accounts/:address',
      tag: 'Network',
      summary: 'Show what a wallet must know before it permits a deposit',
      answer: 'Balance and next nonce of a permit',
    },
    {
      method: 'get',
      path: '/api/v1/network',
      tag: 'Network',
      summary: 'Show what a client must know before it signs',
      answer: 'Chain, contracts, models and fee',
    },
    {
      method: 'get',
      path: '/api/v1/auth/nonce',
      tag: 'Sign-in',
      summary: 'Get a nonce to sign in with',
      answer: 'The nonce, until when it is good, and the chain and domains to name beside it',
    },
    {
      method: 'post',
      path: '/api/v1/auth/sign-in',
      tag: 'Sign-in',
      summary: 'Sign in with a message of EIP-4361',
      body: signInSchema,
      answer: 'A token for the sessions that the wallet owns',
    },
    {
      method: 'get',
      path: '/healthz',
      tag: 'Router',
      summary: 'Tell whether the router takes requests',
      answer: 'Its state, with 503 while it is being stopped',
    },
    {
      method: 'get',
      path: '/openapi.json',
      tag: 'Router',
      summary: 'Get the document of the API',
      answer: 'OpenAPI 3.1',
    },
    {
      method: 'get',
      path: '/docs',
      tag: 'Router',
      summary: 'Read that document as a page',
      answer: 'HTML',
      types: ['text/html'],
    },
    {
      method: 'get',
      path: '/docs/:file',
      tag: 'Router',
      summary: 'Get a file of that page',
      answer: 'A script or a style sheet',
      types: ['text/javascript', 'text/css'],
    },
  ];
}
