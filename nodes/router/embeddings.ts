/**
 * OpenAI's embeddings: vectors of texts, which miners agree on as they do on words.
 * @see https://platform.openai.com/docs/api-reference/embeddings
 */
import type { Context } from 'hono';
import { z } from 'zod';
import {
  EMBEDDING_LIMITS,
  fitsRequest,
  parseEmbeddingRequest,
  vectorsOf,
  vectorToBase64,
} from '../../domain/embedding.js';
import { EngineError } from '../../domain/errors.js';
import type { EmbeddingRequest } from '../../domain/task.js';
import { answerWhole, openSession, takeOn } from './answer.js';
import type { AppDeps, AppEnv } from './app.js';
import { promptBytes, type AnswerShape } from './chat.js';
import { requireModel } from './models.js';

const { inputs, dimensions } = EMBEDDING_LIMITS;
const token = z.number().int().min(0);

/** Body of `POST /v1/embeddings`. Tokens are known, so that who sends some is told what is the matter:
 * each model has its own. */
export const embeddingsSchema = z.looseObject({
  model: z.string().min(1).max(200),
  input: z.union([
    z.string(),
    z.array(z.string()).min(1).max(inputs),
    z.array(token).min(1).max(EMBEDDING_LIMITS.inputBytes),
    z.array(z.array(token).min(1)).min(1).max(inputs),
  ]),
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: z.number().int().min(1).max(dimensions).nullish(),
  /** Ours: the session that pays. */
  session_id: z.string().optional(),
});
type EmbeddingsBody = z.infer<typeof embeddingsSchema>;

/** Answers a request.
 * @throws MODEL_UNFIT — the model does not embed.
 * @throws FEATURE_UNSUPPORTED — tokens in place of texts.
 * @throws PROMPT_INVALID, PROMPT_TOO_LARGE
 * @throws MINER_PROTOCOL — what was agreed on are no vectors of these texts.
 * @throws as `openSession`, `takeOn` and `readTranscript` */
export async function answerEmbeddings(
  c: Context<AppEnv>,
  deps: AppDeps,
  body: EmbeddingsBody,
): Promise<Response> {
  const request = toEmbeddingRequest(body, deps.limits.maxPromptBytes);
  requireModel(deps.network, request.model, 'embedding');
  const held = await openSession(c, deps, body.session_id);
  const task = await takeOn(c, deps, held, request, c.req.header('idempotency-key'));
  const head = { taskId: task.taskId, created: 0, model: request.model };
  const shape = embeddingsShape(request, body.encoding_format ?? 'float');
  return answerWhole(c, { deps, ...held, task, head, shape });
}

function toEmbeddingRequest(
  { model, input, dimensions: length }: EmbeddingsBody,
  maxPromptBytes: number,
): EmbeddingRequest {
  const texts = typeof input === 'string' ? [input] : input;
  if (texts.some((text) => typeof text !== 'string')) {
    const expected = 'texts: each model has tokens of its own';
    throw new EngineError('FEATURE_UNSUPPORTED', { field: 'input', expected });
  }
  const request = parseEmbeddingRequest({
    model,
    input: texts,
    ...(length == null ? {} : { dimensions: length }),
  });
  if (promptBytes(request) > maxPromptBytes) {
    throw new EngineError('PROMPT_TOO_LARGE', { maxPromptBytes });
  }
  return request;
}

function embeddingsShape(
  request: EmbeddingRequest,
  format: 'float' | 'base64',
): Pick<AnswerShape, 'whole'> {
  const write = format === 'base64' ? vectorToBase64 : (vector: Float32Array) => [...vector];
  return {
    whole({ model }, { text }, { finishReason, usage }) {
      const answer = { text, finishReason };
      // The oracles see this too, and do not let it be paid.
      if (!fitsRequest(answer, request)) {
        throw new EngineError('MINER_PROTOCOL', { expected: 'vectors of the asked texts' });
      }
      const vectors = vectorsOf(answer) ?? [];
      const { promptTokens: tokens } = usage;
      return {
        object: 'list',
        data: vectors.map((vector, index) => ({
          object: 'embedding',
          index,
          embedding: write(vector),
        })),
        model,
        usage: { prompt_tokens: tokens, total_tokens: tokens },
      };
    },
  };
}
