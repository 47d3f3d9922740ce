/**
 * Dishonest miners, for tests and for demonstrations of what the network does with them. Each is a
 * wrapper of an honest backend: everything but the answer is as the protocol wants it.
 */
import type { EmbeddingBackend, EmbeddingTask } from '../../adapters/embedding/backend.js';
import type { GenerateOptions, InferenceBackend } from '../../adapters/model/backend.js';
import { namedVector } from '../../adapters/embedding/scripted.js';
import { seededRandom } from '../../domain/choice.js';
import { EngineError } from '../../domain/errors.js';
import type { ChatRequest, StreamEvent } from '../../domain/task.js';

const CANNED = 'The quarterly figures of the fishing fleet were presented in Reykjavik last week.';
const GARBAGE_WORDS = 24;

type Generate = InferenceBackend['generate'];

/** What a wrapped backend answers instead. */
const WRAPPERS = {
  honest: (backend) => (request, options) => backend.generate(request, options),
  /** The same unrelated text for everything. */
  canned: () => (request) => say(CANNED, request),
  /** Syllables without a meaning, others for each seed. */
  garbage:
    () =>
    (request, { seed }) =>
      say(babble(seed), request),
  /** The first words of the honest answer, as if it ended there. */
  truncated: (backend) => (request, options) => cutShort(backend, request, options),
} as const satisfies Record<string, (backend: InferenceBackend) => Generate>;

export type Behaviour = keyof typeof WRAPPERS;
export const BEHAVIOURS = Object.keys(WRAPPERS) as readonly Behaviour[];

/** Reads a behaviour's name, as the option `--behaviour` gives it.
 * @throws USAGE — not one of `BEHAVIOURS`. */
export function parseBehaviour(name: string): Behaviour {
  const behaviour = BEHAVIOURS.find((b) => b === name);
  if (behaviour === undefined) {
    throw new EngineError('USAGE', { option: 'behaviour', expected: BEHAVIOURS.join(' | ') });
  }
  return behaviour;
}

/** Makes a backend behave; `honest` leaves it as it is. */
export function withBehaviour(backend: InferenceBackend, behaviour: Behaviour): InferenceBackend {
  return {
    model: backend.model,
    features: backend.features,
    generate: WRAPPERS[behaviour](backend),
    close: () => backend.close(),
  };
}

type Vectors = readonly Float32Array[];

/** What a wrapped backend gives in place of its vectors. */
const VECTOR_WRAPPERS = {
  honest: (vectors) => vectors,
  /** The same vector for every text. */
  canned: (vectors) => vectors.map((vector) => namedVector(CANNED, vector.length)),
  /** A vector of no model for each text. */
  garbage: (vectors, { input }) =>
    vectors.map((vector, i) => namedVector(`garbage:${input[i] ?? ''}`, vector.length)),
  /** One vector less than there are texts. */
  truncated: (vectors) => vectors.slice(0, -1),
} as const satisfies Record<Behaviour, (vectors: Vectors, task: EmbeddingTask) => Vectors>;

/** Makes a backend of vectors behave; `honest` leaves it as it is. */
export function withVectorBehaviour(
  backend: EmbeddingBackend,
  behaviour: Behaviour,
): EmbeddingBackend {
  const { model, features } = backend;
  return {
    model,
    features,
    async embed(task, options) {
      const { vectors, promptTokens } = await backend.embed(task, options);
      return { vectors: VECTOR_WRAPPERS[behaviour](vectors, task), promptTokens };
    },
    close: () => backend.close(),
  };
}

/** Generations of a truncated answer stop after this many tokens. */
const TRUNCATED_TOKENS = 3;

async function* say(text: string, request: ChatRequest): AsyncGenerator<StreamEvent> {
  const words = text.match(/\s*\S+/g) ?? [];
  const written = words.slice(0, request.maxTokens);
  for (const word of written) yield { type: 'delta', text: word };
  yield end(request, written.length);
}

async function* cutShort(
  backend: InferenceBackend,
  request: ChatRequest,
  options: GenerateOptions,
): AsyncGenerator<StreamEvent> {
  let tokens = 0;
  for await (const event of backend.generate(request, options)) {
    if (event.type === 'end') {
      yield event;
      return;
    }
    yield event;
    if (++tokens >= TRUNCATED_TOKENS) break;
  }
  yield end(request, tokens);
}

function end(request: ChatRequest, completionTokens: number): StreamEvent {
  const promptTokens = request.messages.reduce((n, m) => n + m.content.split(/\s+/).length, 0);
  return { type: 'end', finishReason: 'stop', usage: { promptTokens, completionTokens } };
}

function babble(seed: number): string {
  const random = seededRandom(`garbage:${seed}`);
  const letter = (from: string): string => from[Math.floor(random() * from.length)] ?? '';
  const word = (): string =>
    Array.from({ length: 3 }, () => letter('bdfgklmnprstvz') + letter('aeiou')).join('');
  return Array.from({ length: GARBAGE_WORDS }, word).join(' ');
}
