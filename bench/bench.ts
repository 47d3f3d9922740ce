/** What a benchmark is, and when it has met its target. */

/** By the names that design and README use, units included. `null`: not measured, and so not met. */
export type Metrics = Readonly<Record<string, number | null>>;

/** Bounds of metrics that decide; both ends belong to them. */
export type Target = Readonly<Record<string, { readonly max: number } | { readonly min: number }>>;

/** What a benchmark is given to work with. */
export interface BenchContext {
  /** A folder of its own, absolute, that is removed after the run. */
  readonly data: string;
  /** Prints a line about what happens. */
  say(line: string): void;
  /** Registers what must be stopped after the run, in the reverse order of the calls. */
  defer(stop: () => Promise<unknown>): void;
}

export interface Bench {
  readonly name: string;
  /** What is compared, in a line. */
  readonly what: string;
  readonly target: Target;
  /** Measures all sides in one run. @throws when it could not. */
  run(context: BenchContext): Promise<Metrics>;
}

/** True when every metric of the target was measured and is within its bound. */
export function isMet(metrics: Metrics, target: Target): boolean {
  return Object.entries(target).every(([name, bound]) => {
    const value = metrics[name];
    if (value === null || value === undefined || Number.isNaN(value)) return false;
    return 'max' in bound ? value <= bound.max : value >= bound.min;
  });
}
