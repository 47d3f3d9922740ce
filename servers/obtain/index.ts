/** Everything that can be obtained, and how. */
export { locate, obtain } from './chain.js';
export { anvil } from './foundry.js';
export { kubo } from './kubo.js';
export { mariadb, mariadbBase } from './mariadb.js';
export { chatModel, embeddingModel } from './models.js';
export { postgres } from './postgres.js';
export { questionSet } from './question-set.js';
export { temporal } from './temporal.js';
export { temporalTestServer } from './test-server.js';
export { vectorPostgres } from './vector-postgres.js';
export type { Artefact, ObtainOptions, ObtainProgress, ObtainReport, Recipe } from './types.js';
