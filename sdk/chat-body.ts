/** A request in the words of OpenAI's chat completions, for routers that seal for their client. */
import type { ChatMessage, ChatRequest } from '../domain/task.js';

/** Writes the body of `POST /v1/chat/completions`, but for whether it is streamed. Schemas keep the order
 * of their authors. */
export function chatBodyOf(request: ChatRequest): Readonly<Record<string, unknown>> {
  const { toolChoice } = request;
  return {
    model: request.model,
    messages: request.messages.map(messageOf),
    max_tokens: request.maxTokens,
    temperature: request.temperature,
    top_p: request.topP,
    stop: request.stop,
    tools: request.tools?.map((tool) => ({ type: 'function', function: tool })),
    tool_choice:
      typeof toolChoice === 'object' ? { type: 'function', function: toolChoice } : toolChoice,
    parallel_tool_calls: request.parallelToolCalls,
    response_format: formatOf(request),
  };
}

function messageOf({ role, content, toolCalls, toolCallId }: ChatMessage): object {
  const calls = toolCalls?.map(({ id, ...called }) => ({ id, type: 'function', function: called }));
  return { role, content, tool_calls: calls, tool_call_id: toolCallId };
}

function formatOf({ responseFormat }: ChatRequest): unknown {
  if (responseFormat?.type !== 'json-schema') {
    return responseFormat === undefined ? undefined : { type: 'json_object' };
  }
  const { type: _, ...schema } = responseFormat;
  return { type: 'json_schema', json_schema: schema };
}
