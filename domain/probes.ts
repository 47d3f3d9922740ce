/**
 * Probes of a health epoch: open questions whose answers are compared (Proof of Inference), and
 * useful tasks whose answers can be checked (Proof of Useful Work). Which of them an epoch asks
 * follows from its seed, so every oracle can tell that the right ones were asked.
 */
import { sample, seededRandom } from './choice.js';
import type { PouwTask, Probe } from './health.js';
import type { Hex } from './ids.js';

const POI_PROMPTS: readonly string[] = [
  'Explain in two sentences why the sky is blue.',
  'What is photosynthesis? Answer in two sentences.',
  'Describe how a bicycle stays upright.',
  'Why do we have seasons on Earth? Answer briefly.',
  'What does a compiler do? Answer in two sentences.',
  'Explain what a rainbow is to a child.',
  'Why is regular sleep good for people?',
  'What is the difference between weather and climate?',
];

const POUW_TASKS: readonly PouwTask[] = [
  extraction(
    'capital',
    'The capital of France is Paris.',
    'What is the capital of France?',
    'paris',
  ),
  extraction('owner', 'The red car belongs to Maria.', 'Who owns the red car?', 'maria'),
  extraction('day', 'The meeting takes place on Friday.', 'On which day is the meeting?', 'friday'),
  extraction('animal', 'Tom has a dog that is called Rex.', 'What is the name of the dog?', 'rex'),
  extraction(
    'city',
    'Anna was born in Berlin and works as a nurse.',
    'Where was Anna born?',
    'berlin',
  ),
  extraction('colour', 'The door of the house is green.', 'What colour is the door?', 'green'),
  extraction('fruit', 'John bought apples at the market.', 'What did John buy?', 'apples'),
  extraction(
    'river',
    'The river Nile flows through Egypt.',
    'Which country does the Nile flow through?',
    'egypt',
  ),
];

function extraction(id: string, text: string, question: string, answer: string): PouwTask {
  return {
    id,
    prompt: `Text: ${text}\nQuestion: ${question}\nAnswer in a few words.`,
    accepted: [answer],
  };
}

/** The probes of one epoch.
 * @param seed - public and fixed before the epoch, such as `epoch:<n>`. */
export function buildProbes(input: {
  readonly seed: string;
  readonly model: string;
  readonly poi: number;
  readonly pouw: number;
}): Probe[] {
  const { seed, model } = input;
  const poi = sample(POI_PROMPTS, input.poi, `${seed}:poi`).map((prompt, i) =>
    probe('poi', probeId(`${seed}:poi:${i}`), prompt, 48),
  );
  const pouw = sample(POUW_TASKS, input.pouw, `${seed}:pouw`).map((task, i) => ({
    ...probe('pouw', probeId(`${seed}:pouw:${i}`), task.prompt, 24),
    accepted: task.accepted,
  }));
  return [...poi, ...pouw];

  function probe(kind: Probe['kind'], id: Hex, prompt: string, maxTokens: number): Probe {
    return {
      id,
      kind,
      request: {
        model,
        messages: [{ role: 'user', content: prompt }],
        maxTokens,
        temperature: 0,
        topP: 1,
      },
      seed: Number.parseInt(id.slice(2, 9), 16),
    };
  }
}

/** 0x and 64 hex digits that name a probe; unique in its epoch, which is all that is asked of it. */
function probeId(text: string): Hex {
  const random = seededRandom(text);
  const words = Array.from({ length: 8 }, () => Math.floor(random() * 4_294_967_296));
  return `0x${words.map((word) => word.toString(16).padStart(8, '0')).join('')}`;
}
