/** `/v1`: what any OpenAI client speaks. */
import type { AppDeps, RouterApp } from '../app.js';
import { answer } from '../answer.js';
import { readJson } from '../body.js';
import { answerEmbeddings, embeddingsSchema } from '../embeddings.js';
import { askOfChat, CHAT_UNSUPPORTED, chatSchema, chatShape } from '../chat.js';
import {
  askOfCompletions,
  COMPLETIONS_UNSUPPORTED,
  completionsSchema,
  completionsShape,
} from '../completions.js';
import {
  askOfResponses,
  RESPONSES_UNSUPPORTED,
  responsesSchema,
  responsesShape,
} from '../responses.js';

export function addOpenAiRoutes(app: RouterApp, deps: AppDeps): void {
  const { network, limits } = deps;
  const bodyLimits = (unsupported: ReadonlySet<string>) => ({
    maxBytes: limits.maxBodyBytes,
    tooLarge: 'PROMPT_TOO_LARGE' as const,
    notText: 'PROMPT_INVALID' as const,
    unsupported,
  });

  app.get('/v1/models', (c) =>
    c.json({
      object: 'list',
      data: network.models.map(({ name, kind }) => ({
        id: name,
        object: 'model',
        created: 0,
        owned_by: 'cortensor',
        kind,
      })),
    }),
  );

  app.post('/v1/chat/completions', async (c) => {
    const body = await readJson(c.req.raw, chatSchema, bodyLimits(CHAT_UNSUPPORTED));
    return answer(c, deps, {
      ask: askOfChat(body),
      shape: chatShape(body.stream_options?.include_usage === true),
      isStream: body.stream === true,
      sessionId: body.session_id,
      context: body.context,
    });
  });

  app.post('/v1/completions', async (c) => {
    const body = await readJson(c.req.raw, completionsSchema, bodyLimits(COMPLETIONS_UNSUPPORTED));
    return answer(c, deps, {
      ask: askOfCompletions(body),
      shape: completionsShape(body.stream_options?.include_usage === true),
      isStream: body.stream === true,
      sessionId: body.session_id,
      context: body.context,
    });
  });

  app.post('/v1/embeddings', async (c) => {
    const body = await readJson(c.req.raw, embeddingsSchema, bodyLimits(new Set()));
    return answerEmbeddings(c, deps, body);
  });

  app.post('/v1/responses', async (c) => {
    const body = await readJson(c.req.raw, responsesSchema, bodyLimits(RESPONSES_UNSUPPORTED));
    return answer(c, deps, {
      ask: askOfResponses(body),
      shape: responsesShape(body),
      isStream: body.stream === true,
      sessionId: body.session_id,
      context: body.context,
    });
  });
}
