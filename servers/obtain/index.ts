/** Everything that can be obtained, and how. */
export { cacheRoot } from './cache.js';
export { locate, obtain } from './chain.js';
export { anvil, forge } from './foundry.js';
export { go } from './go.js';
export { kubo } from './kubo.js';
export { chatModel, embeddingModel } from './models.js';
export { postgres } from './postgres.js';
export { temporal } from './temporal.js';
export { temporalTestServer } from './test-server.js';
export type {
  Artefact,
  Attempt,
  FoundReport,
  MissingReport,
  ObtainOptions,
  ObtainProgress,
  ObtainReport,
  Recipe,
  Step,
} from './types.js';
