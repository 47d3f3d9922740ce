/** What every server's start has in common. */
import type { ObtainOptions } from '../obtain/index.js';
import type { ServerSpec } from '../spec.js';

export interface StartOptions {
  /** The data folder; ports, keys, logs and databases live in it. */
  readonly data: string;
  /** How to obtain the server's program; `configured` is its path. */
  readonly obtain?: ObtainOptions;
}

/** A server that is ready to be given to a supervisor. */
export interface Prepared<Handle> {
  readonly spec: ServerSpec;
  /** Where it answers, once it runs. */
  readonly handle: Handle;
}
