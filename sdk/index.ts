/** The SDK's public surface. */
export {
  CortensorClient,
  type ClientOptions,
  type OpenOptions,
  type RecipientReader,
} from './client.js';
export { SessionHandle, type AskOptions, type ExportedSession } from './session.js';
export type { Answer, AnswerStream } from './answer.js';
export type { DepositOptions, PolicyOptions, WithdrawOptions } from './changes.js';
export type { OwnerSigner } from './signing.js';
export { EngineError, type ErrorCode } from '../domain/errors.js';
export type { NetworkInfo, TaskProof } from '../domain/api.js';
export type { TaskRecord } from '../domain/lease.js';
export type { SessionPolicy, SessionView } from '../domain/session.js';
export type { ChatMessage, ChatRequest, TokenUsage } from '../domain/task.js';
