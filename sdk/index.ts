/** The SDK's public surface. */
export {
  CortensorClient,
  type ClientOptions,
  type OpenOptions,
  type RecipientReader,
} from './client.js';
export { SessionHandle, type AskOptions, type ExportedSession } from './session.js';
export type { Answer, AnswerStream } from './answer.js';
export type { EmbedOptions, Embeddings } from './embed.js';
export type { OwnContext, OwnPassage, SourceContext } from './passages.js';
export { SourceClient } from './sources.js';
export type { RouterSocket, SocketOptions } from './socket.js';
export type { SocketConstructor, SocketLike } from './socket-connection.js';
export type { DepositOptions, PolicyOptions, WithdrawOptions } from './changes.js';
export type { OwnerSigner } from './signing.js';
export { EngineError, type ErrorCode } from '../domain/errors.js';
export type {
  DelegateRequest,
  Delegation,
  EpochInfo,
  EpochSummary,
  MinerInfo,
  NetworkInfo,
  RouterStatus,
  TaskDetail,
  TaskProof,
  ValidateRequest,
  Validation,
} from '../domain/api.js';
export { STREAM_PATH, STREAM_PROTOCOL } from '../domain/stream.js';
export type { ChatDelta, ClientMessage, ServerMessage } from '../domain/stream.js';
export type { ErasureView, SignedErasure } from '../domain/erasure.js';
export type { TaskRecord } from '../domain/lease.js';
export type { SessionPolicy, SessionView } from '../domain/session.js';
export type {
  CalledTool,
  ChatMessage,
  ChatRequest,
  ResponseFormat,
  TokenUsage,
  Tool,
  ToolCall,
  ToolChoice,
} from '../domain/task.js';
