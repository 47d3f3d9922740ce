/**
 * OpenAI's older completions: a prompt and the text that follows. Models here are chat models, so the
 * prompt is a user's message, and the answer is the text.
 * @see https://platform.openai.com/docs/api-reference/completions
 */
import { z } from 'zod';
import {
  answerId,
  chunkWriter,
  citedIn,
  DONE,
  finishOf,
  nothing,
  sampling,
  streamOptions,
  tokenLimit,
  usageOf,
  type AnswerHead,
  type AnswerShape,
  type Ask,
} from './chat.js';
import { sseEvent } from './sse.js';
import { stopSchema } from './tools.js';

/** OpenAI's own. */
const DEFAULT_MAX_TOKENS = 16;

/** Body of `POST /v1/completions`. */
export const completionsSchema = z.looseObject({
  ...sampling,
  prompt: z.union([z.string(), z.array(z.string()).length(1)]),
  max_tokens: tokenLimit.nullish(),
  stream_options: streamOptions,
  n: z.literal(1).nullish(),
  best_of: z.literal(1).nullish(),
  echo: z.literal(false).nullish(),
  suffix: nothing,
  stop: stopSchema,
  seed: nothing,
  logprobs: nothing,
  logit_bias: z.strictObject({}).nullish(),
  presence_penalty: z.literal(0).nullish(),
  frequency_penalty: z.literal(0).nullish(),
});
export type CompletionsBody = z.infer<typeof completionsSchema>;

export const COMPLETIONS_UNSUPPORTED: ReadonlySet<string> = new Set([
  'n',
  'best_of',
  'echo',
  'suffix',
  'seed',
  'logprobs',
  'logit_bias',
  'presence_penalty',
  'frequency_penalty',
]);

/** What such a body asks for. */
export function askOfCompletions(body: CompletionsBody): Ask {
  const { model, prompt, max_tokens: maxTokens, temperature, top_p: topP } = body;
  const content = typeof prompt === 'string' ? prompt : prompt.join('');
  const messages = [{ role: 'user', content }] as const;
  const stop = typeof body.stop === 'string' ? [body.stop] : (body.stop ?? []);
  return {
    model,
    messages,
    maxTokens: maxTokens ?? DEFAULT_MAX_TOKENS,
    temperature,
    topP,
    extras: stop.length === 0 ? {} : { stop },
  };
}

/** `text_completion`, whole and in chunks; `task_id` is the network's. */
export function completionsShape(hasUsage: boolean): AnswerShape {
  const headOf = (head: AnswerHead) => ({
    id: answerId('cmpl-', head),
    object: 'text_completion',
    created: head.created,
    model: head.model,
    task_id: head.taskId,
  });
  const choice = (text: string, reason: string | null) => ({
    index: 0,
    text,
    logprobs: null,
    finish_reason: reason,
  });
  return {
    whole: (head, { text }, end) => ({
      ...headOf(head),
      choices: [choice(text, finishOf(end))],
      usage: usageOf(end.usage),
      ...citedIn(head),
    }),
    stream: (head) =>
      chunkWriter(head, headOf(head), hasUsage, (event) =>
        choice(
          event.type === 'delta' ? event.text : '',
          event.type === 'end' ? finishOf(event) : null,
        ),
      ),
    last: DONE,
    failure: (error) => sseEvent(error),
  };
}
