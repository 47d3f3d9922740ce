/** The stock `age` program, as a neighbour that reads and writes the same files. */
import { goRecipe } from '../../servers/obtain/go.js';
import type { Artefact } from '../../servers/obtain/types.js';
import { run } from '../../servers/run.js';

const VERSION = '1.2.1';

/** `age` 1.x; identities and recipients of the post-quantum kind need 1.3. */
export const age: Artefact = {
  name: 'age',
  version: VERSION,
  file: 'age',
  variable: 'CORTENSOR_AGE',
  command: 'age',
  check: async (path) => {
    const out = await run(path, ['--version'], { timeoutMs: 20_000 });
    const version = /v?(1\.\d+\.\d+)|\(devel\)/.exec(out)?.[0];
    if (version === undefined) throw new Error(`${path} does not say its version`);
    return version;
  },
  recipes: [
    goRecipe({
      program: 'filippo.io/age/cmd/age',
      version: `v${VERSION}`,
      file: 'age',
      packages: 60,
    }),
  ],
  remedy: 'install age 1.x, or Go 1.21 or later to build it',
};
