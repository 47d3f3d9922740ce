/** What the driver does, drawn from a seed alone: the same seed is the same steps. */
import { seededRandom } from '../../../domain/choice.js';

/** How often each step is drawn, against the others. */
const WEIGHTS = {
  open: 14,
  ask: 30,
  'ask again': 8,
  close: 3,
  'cancel session': 2,
  deposit: 4,
  'deposit on chain': 3,
  withdraw: 4,
  'change policy': 3,
  'cancel task': 4,
  'request exit': 2,
  exit: 2,
  'earner withdraws': 4,
  'kill worker': 3,
  'kill router': 3,
  'kill oracle': 2,
  'kill miners': 3,
  'kill temporal': 2,
  'kill ipfs': 2,
  'kill postgres': 2,
  'kill chain': 2,
  reorganise: 4,
  'cut rpc': 2,
  'slow rpc': 2,
  'jump clock': 2,
} as const;

export type StepKind = keyof typeof WEIGHTS;

export interface Step {
  readonly kind: StepKind;
  /** Free numbers in [0, 1) for whatever the step chooses. */
  readonly dice: readonly [number, number, number, number];
  /** Milliseconds until the next step, whether or not this one has come to its end. */
  readonly pauseMs: number;
}

const LONGEST_PAUSE_MS = 1_200;

/** Draws the steps of a run. The first ones open sessions: without any, most others do nothing. */
export function drawSteps(seed: string, count: number): readonly Step[] {
  const random = seededRandom(seed);
  const kinds = Object.keys(WEIGHTS) as StepKind[];
  const total = kinds.reduce((sum, kind) => sum + WEIGHTS[kind], 0);
  return Array.from({ length: count }, (_, i) => {
    let ticket = random() * total;
    const drawn = kinds.find((kind) => (ticket -= WEIGHTS[kind]) < 0) ?? 'ask';
    const dice = [random(), random(), random(), random()] as const;
    const kind = i < 3 ? 'open' : drawn;
    return { kind, dice, pauseMs: Math.floor(random() ** 2 * LONGEST_PAUSE_MS) };
  });
}

/** Picks an item by a number in [0, 1). */
export function pick<T>(items: readonly T[], die: number): T | undefined {
  return items[Math.floor(die * items.length)];
}
