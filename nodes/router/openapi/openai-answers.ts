/**
 * OpenAI's answers, as far as clients rely on them; what these leave out may be there as well.
 * @see https://platform.openai.com/docs/api-reference
 */
import { z } from 'zod';
import { MODEL_KINDS } from '../../../domain/config.js';
import { component } from './answers.js';
import { cited } from './source-answers.js';

const unixSeconds = z.number().int().meta({ description: 'Unix seconds' });
const count = z.number().int().min(0);

export const modelList = component(
  'ModelList',
  z.object({
    object: z.literal('list'),
    data: z.array(
      z.looseObject({
        id: z.string(),
        object: z.literal('model'),
        created: unixSeconds,
        owned_by: z.string(),
        kind: z.enum(MODEL_KINDS),
      }),
    ),
  }),
);

const usage = z.looseObject({
  prompt_tokens: count,
  completion_tokens: count,
  total_tokens: count,
});

export const chatCompletion = component(
  'ChatCompletion',
  z.looseObject({
    id: z.string().regex(/^chatcmpl-/),
    object: z.literal('chat.completion'),
    created: unixSeconds,
    model: z.string(),
    choices: z
      .array(
        z.looseObject({
          index: z.literal(0),
          message: z.looseObject({
            role: z.literal('assistant'),
            content: z.string().nullable(),
            refusal: z.null(),
          }),
          logprobs: z.null(),
          finish_reason: z.enum(['stop', 'length', 'tool_calls']),
        }),
      )
      .length(1),
    usage,
    cortensor: cited.optional(),
  }),
);

export const textCompletion = component(
  'TextCompletion',
  z.looseObject({
    id: z.string().regex(/^cmpl-/),
    object: z.literal('text_completion'),
    created: unixSeconds,
    model: z.string(),
    task_id: z.string(),
    choices: z
      .array(
        z.looseObject({
          index: z.literal(0),
          text: z.string(),
          logprobs: z.null(),
          finish_reason: z.enum(['stop', 'length']),
        }),
      )
      .length(1),
    usage,
    cortensor: cited.optional(),
  }),
);

export const embeddingList = component(
  'EmbeddingList',
  z.object({
    object: z.literal('list'),
    data: z.array(
      z.object({
        object: z.literal('embedding'),
        index: count,
        embedding: z.union([z.array(z.number()), z.base64()]),
      }),
    ),
    model: z.string(),
    usage: z.object({ prompt_tokens: count, total_tokens: count }),
  }),
);

export const responseAnswer = component(
  'Response',
  z.looseObject({
    id: z.string().regex(/^resp_/),
    object: z.literal('response'),
    created_at: unixSeconds,
    status: z.enum(['completed', 'incomplete']),
    model: z.string(),
    output: z.array(z.looseObject({ type: z.string(), id: z.string() })),
    usage: z.looseObject({ input_tokens: count, output_tokens: count, total_tokens: count }),
    cortensor: cited.optional(),
  }),
);
