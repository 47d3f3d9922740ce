/** Every route of the router in one table: what it is for, what it takes, what comes back. A test
 * holds it to the app, in both directions. */
import type { z } from 'zod';
import { STREAM_PATH } from '../../../domain/stream.js';
import type { AppDeps } from '../app.js';
import { chatSchema } from '../chat.js';
import { completionsSchema } from '../completions.js';
import { embeddingsSchema } from '../embeddings.js';
import { responsesSchema } from '../responses.js';
import { signInSchema } from '../routes/auth.js';
import { changeSchema, depositSchema, withdrawalSchema } from '../routes/changes.js';
import { exportOrderSchema, exportSchema } from '../routes/exports.js';
import { keyringSchema, openSchema } from '../routes/sessions.js';
import { searchSchema, sourceSchema } from '../routes/sources.js';
import { delegateSchema, validateSchema } from '../routes/jobs.js';
import { taskSchema } from '../routes/tasks.js';
import * as sources from './source-answers.js';
import * as answers from './answers.js';
import { exportView } from './export-answers.js';
import * as openai from './openai-answers.js';

export type ParameterName =
  | 'until'
  | 'waitMs'
  | 'from'
  | 'limit'
  | 'limit:epochs'
  | 'before'
  | 'include'
  | 'idempotency-key'
  | 'x-cortensor-session'
  | 'last-event-id'
  | 'title';

export interface Operation {
  readonly method: 'get' | 'post' | 'put' | 'delete';
  /** As the app has it: `/api/v1/sessions/:id`. */
  readonly path: string;
  readonly tag: 'OpenAI' | 'Sessions' | 'Tasks' | 'Sources' | 'Network' | 'Sign-in' | 'Router';
  readonly summary: string;
  readonly body?: z.ZodType;
  /** Query and headers. */
  readonly parameters?: readonly ParameterName[];
  /** Of the answer when all is well. @defaultValue 200 */
  readonly status?: number;
  /** What the answer is. */
  readonly answer: string;
  /** Of the answer where it is JSON; a component of the document. */
  readonly schema?: z.ZodType;
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
      schema: openai.modelList,
    },
    {
      method: 'post',
      path: '/v1/chat/completions',
      tag: 'OpenAI',
      summary: 'Answer a conversation',
      body: chatSchema,
      parameters: ASK,
      answer: 'OpenAI’s chat.completion, or its chunks when `stream` is true',
      schema: openai.chatCompletion,
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
      schema: openai.textCompletion,
      types: JSON_OR_STREAM,
    },
    {
      method: 'post',
      path: '/v1/embeddings',
      tag: 'OpenAI',
      summary: 'Give vectors of texts',
      body: embeddingsSchema,
      parameters: ['idempotency-key', 'x-cortensor-session'],
      answer: 'OpenAI’s list of embeddings, as numbers or as base64 of float32',
      schema: openai.embeddingList,
    },
    {
      method: 'post',
      path: '/v1/responses',
      tag: 'OpenAI',
      summary: 'Answer a conversation, without keeping it',
      body: responsesSchema,
      parameters: ASK,
      answer: 'OpenAI’s response, or its events when `stream` is true',
      schema: openai.responseAnswer,
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
      schema: answers.sessionView,
    },
    {
      method: 'get',
      path: '/api/v1/sessions/:id',
      tag: 'Sessions',
      summary: 'Show a session, or wait until it has left the states before `until`',
      parameters: ['until', 'waitMs'],
      answer: 'The session as it is then',
      schema: answers.sessionView,
    },
    {
      method: 'put',
      path: '/api/v1/sessions/:id/keyring',
      tag: 'Sessions',
      summary: 'Hand over the keyring of a session that its client seals',
      body: keyringSchema,
      answer: 'The session as it is now',
      schema: answers.sessionView,
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/deposits',
      tag: 'Sessions',
      summary: 'Add a deposit that its payer has signed',
      body: depositSchema,
      status: 202,
      answer: 'The session as it is by then; the rest goes on by itself',
      schema: answers.sessionView,
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/deposits/sync',
      tag: 'Sessions',
      summary: 'Take over what the chain has as the deposit',
      status: 202,
      answer: 'The session as it is by then',
      schema: answers.sessionView,
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/withdrawals',
      tag: 'Sessions',
      summary: 'Give back what is free, signed by the owner',
      body: withdrawalSchema,
      status: 202,
      answer: 'The session as it is by then; the rest goes on by itself',
      schema: answers.sessionView,
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/policy',
      tag: 'Sessions',
      summary: 'Change the policy, signed by the owner',
      body: changeSchema,
      status: 202,
      answer: 'The session as it is by then; the rest goes on by itself',
      schema: answers.sessionView,
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/close',
      tag: 'Sessions',
      summary: 'Close a session when its open tasks have ended',
      status: 202,
      answer: 'The session as it is now',
      schema: answers.sessionView,
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/cancel',
      tag: 'Sessions',
      summary: 'Cancel what has not begun, and close the session',
      status: 202,
      answer: 'The session as it is now',
      schema: answers.sessionView,
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/erasure',
      tag: 'Sessions',
      summary: 'Erase a closed session: keys, content, rows and records',
      status: 202,
      answer: 'How far the erasure is',
      schema: answers.erasureView,
    },
    {
      method: 'get',
      path: '/api/v1/sessions/:id/erasure',
      tag: 'Sessions',
      summary: 'Say how far an erasure is; at its end, with the signed receipt',
      answer: 'How far the erasure is',
      schema: answers.erasureView,
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/exports/:sink',
      tag: 'Sessions',
      summary: 'Export a session to a sink of its policy, once or until its end',
      body: exportSchema,
      status: 202,
      answer: 'The export as it is by then; the rest goes on by itself',
      schema: exportView,
    },
    {
      method: 'get',
      path: '/api/v1/sessions/:id/exports/:sink',
      tag: 'Sessions',
      summary: 'Show how far an export is, and what it waits for',
      answer: 'The export as it is now',
      schema: exportView,
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/exports/:sink/orders',
      tag: 'Sessions',
      summary: 'Pause, resume, retry or stop an export, or have its rows verified or removed',
      body: exportOrderSchema,
      status: 202,
      answer: 'The export as it is by then',
      schema: exportView,
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
      schema: answers.taskRecords,
    },
    {
      method: 'get',
      path: '/api/v1/sessions/:id/tasks/:taskId',
      tag: 'Tasks',
      summary: 'Show a task, with what every miner answered where `include` asks for it',
      parameters: ['include'],
      answer: 'Its record, or that with the verdict and every miner’s output',
      schema: answers.task,
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
      schema: answers.taskProof,
    },
    {
      method: 'post',
      path: '/api/v1/sessions/:id/tasks/:taskId/cancel',
      tag: 'Tasks',
      summary: 'Cancel a task whose answer has not begun',
      answer: 'Its record',
      schema: answers.taskRecord,
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
      method: 'post',
      path: '/api/v1/delegate',
      tag: 'Tasks',
      summary: 'Hand over a job that runs without the connection',
      body: delegateSchema,
      parameters: ['idempotency-key', 'x-cortensor-session'],
      status: 202,
      answer: 'The task that it is, recorded, and where to find what comes of it',
      schema: answers.delegation,
    },
    {
      method: 'post',
      path: '/api/v1/validate',
      tag: 'Tasks',
      summary: 'Have the network judge a task, or a claimed answer',
      body: validateSchema,
      parameters: ['idempotency-key', 'x-cortensor-session'],
      answer: 'VALID, INVALID, RETRY or NEEDS_SPEC, why, and a receipt on IPFS',
      schema: answers.validation,
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
      path: '/api/v1/sources',
      tag: 'Sources',
      summary: 'List the caller’s sources',
      answer: 'How each stands',
      schema: sources.sourceList,
    },
    {
      method: 'put',
      path: '/api/v1/sources/:source',
      tag: 'Sources',
      summary: 'Declare a source, or change what it is',
      body: sourceSchema,
      status: 202,
      answer: 'The source; its ingestion goes on by itself',
      schema: sources.sourceView,
    },
    {
      method: 'get',
      path: '/api/v1/sources/:source',
      tag: 'Sources',
      summary: 'Show a source, and how far its ingestion is',
      answer: 'The source, with its receipt once it is removed',
      schema: sources.sourceView,
    },
    {
      method: 'post',
      path: '/api/v1/sources/:source/documents',
      tag: 'Sources',
      summary: 'Upload a document, in place of the one with its title',
      parameters: ['title'],
      status: 202,
      answer: 'The source; its ingestion goes on by itself',
      schema: sources.sourceView,
    },
    {
      method: 'post',
      path: '/api/v1/sources/:source/cancel',
      tag: 'Sources',
      summary: 'Stop an ingestion; what it has indexed stays',
      status: 202,
      answer: 'The source',
      schema: sources.sourceView,
    },
    {
      method: 'delete',
      path: '/api/v1/sources/:source',
      tag: 'Sources',
      summary: 'Remove a source: its key, its chunks and their vectors',
      status: 202,
      answer: 'The source; the receipt follows',
      schema: sources.sourceView,
    },
    {
      method: 'get',
      path: '/api/v1/sources/:source/chunks/:cid',
      tag: 'Sources',
      summary: 'Read a passage that an answer cites',
      answer: 'Its text',
      types: ['text/plain'],
    },
    {
      method: 'post',
      path: '/api/v1/context',
      tag: 'Sources',
      summary: 'Find the passages that fit a question, without asking it',
      body: searchSchema,
      answer: 'The passages, best first',
      schema: sources.passageList,
    },
    {
      method: 'get',
      path: '/api/v1/miners',
      tag: 'Network',
      summary: 'List the miners of the network, and how each stands',
      answer:
        'Status, level, score, speed and price by the chains; load where it is connected here',
      schema: answers.miners,
    },
    {
      method: 'get',
      path: '/api/v1/epochs',
      tag: 'Network',
      summary: 'List the rounds of verification, the newest first',
      parameters: ['before', 'limit:epochs'],
      answer: 'Report, evidence and number of miners of each',
      schema: answers.epochs,
    },
    {
      method: 'get',
      path: '/api/v1/epochs/:epoch',
      tag: 'Network',
      summary: 'Show a round of verification',
      answer: 'The scores of its miners, its report on chain, its evidence on IPFS',
      schema: answers.epoch,
    },
    {
      method: 'get',
      path: '/api/v1/status',
      tag: 'Network',
      summary: 'Tell what the router depends on, and whether it is there',
      answer: 'Chains, Temporal with its queues, IPFS, database, and what the router holds',
      schema: answers.status,
    },
    {
      method: 'get',
      path: '/api/v1/accounts/:address',
      tag: 'Network',
      summary: 'Show what a wallet must know before it permits a deposit',
      answer: 'Balance and next nonce of a permit',
      schema: answers.account,
    },
    {
      method: 'get',
      path: '/api/v1/network',
      tag: 'Network',
      summary: 'Show what a client must know before it signs',
      answer: 'Chain, contracts, models and fee',
      schema: answers.network,
    },
    {
      method: 'get',
      path: '/api/v1/auth/nonce',
      tag: 'Sign-in',
      summary: 'Get a nonce to sign in with',
      answer: 'The nonce, until when it is good, and the chain and domains to name beside it',
      schema: answers.nonce,
    },
    {
      method: 'post',
      path: '/api/v1/auth/sign-in',
      tag: 'Sign-in',
      summary: 'Sign in with a message of EIP-4361',
      body: signInSchema,
      answer: 'A token for the sessions that the wallet owns',
      schema: answers.walletToken,
    },
    {
      method: 'get',
      path: '/healthz',
      tag: 'Router',
      summary: 'Tell whether the router takes requests',
      answer: 'Its state, with 503 while it is being stopped',
      schema: answers.health,
    },
    {
      method: 'get',
      path: '/openapi.json',
      tag: 'Router',
      summary: 'Get the document of the API',
      answer: 'OpenAPI 3.1',
      schema: answers.openApi,
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
