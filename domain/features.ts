/** What a backend can be asked for beyond text: declared by miners, required by requests. */
import type { InferenceRequest } from './task.js';

/** Of a model that chats. `tools`: calls as the model sees fit; `tool-choice`: a call that the request demands. */
export const CHAT_FEATURES = [
  'stop',
  'json-object',
  'json-schema',
  'tools',
  'tool-choice',
] as const;
/** `embedding`: the model gives vectors, and nothing else; `dimensions`: of a length that is asked for. */
export const MODEL_FEATURES = [...CHAT_FEATURES, 'embedding', 'dimensions'] as const;
export type ModelFeature = (typeof MODEL_FEATURES)[number];

/** What a miner must support to answer a request; empty for text as ever. */
export function featuresOf(request: InferenceRequest): readonly ModelFeature[] {
  if ('kind' in request) {
    return request.dimensions === undefined ? ['embedding'] : ['embedding', 'dimensions'];
  }
  const { stop, responseFormat, tools, toolChoice } = request;
  const features: ModelFeature[] = [];
  if (stop !== undefined) features.push('stop');
  if (responseFormat !== undefined) features.push(responseFormat.type);
  if (tools !== undefined && toolChoice !== 'none') {
    features.push(toolChoice === undefined || toolChoice === 'auto' ? 'tools' : 'tool-choice');
  }
  return features;
}
