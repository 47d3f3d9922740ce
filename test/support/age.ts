/** The stock `age` program, as a neighbour that reads and writes the same files. */
import { goRecipe } from '../../servers/obtain/go.js';
import type { Artefact } from '../../servers/obtain/types.js';
import { run } from '../../servers/run.js';

const VERSION = '1.3.2';

/** `age` 1.3 or later, which knows identities and recipients of the post-quantum kind. */
export const age: Artefact = {
  name: 'age',
  version: VERSION,
  file: 'age',
  variable: 'CORTENSOR_AGE',
  command: 'age',
  check: async (path) => {
    const out = await run(path, ['--version'], { timeoutMs: 20_000 });
    const [version, minor] = /v?1\.(\d+)\.\d+|\(devel\)/.exec(out) ?? [];
    if (version === undefined) throw new Error(`${path} does not say its version`);
    if (Number(minor) < 3) throw new Error(`${path} is ${version}, older than 1.3`);
    return version;
  },
  recipes: [
    goRecipe({
      program: 'filippo.io/age/cmd/age',
      version: `v${VERSION}`,
      file: 'age',
      packages: 150,
    }),
  ],
  remedy: 'install age 1.3 or later, or Go 1.21 or later to build it',
};
