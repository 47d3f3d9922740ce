/** The Temporal CLI, whose `server start-dev` is the whole server on a SQLite file. */
import { run } from '../run.js';
import { downloadRecipe, type Download } from './download.js';
import { goRecipe } from './go.js';
import { goPlatform } from './platform.js';
import type { Artefact } from './types.js';

/** Later tags of the module cannot be built as a dependency. */
const VERSION = '1.5.1';
const RELEASES = `https://github.com/temporalio/cli/releases/download/v${VERSION}`;

/** The release's own published SHA-256 checksums. */
const CHECKSUMS: Readonly<Record<string, string>> = {
  linux_amd64: 'ddc95e08b0b076efd4ea9733a3f488eb7d2be875f8834e616cd2a37358b4852d',
  linux_arm64: 'bd1b0db9f18b051026de8bf6cc1505f2510f14bbb7a8b9a4a91fff46c77454f5',
  darwin_amd64: 'bbb73e2a31135abe50a1f1cdb35030c42961df618e8ce9c60ae89f201540c5d9',
  darwin_arm64: 'cca01b7ea35ad56e2a328d9ae596bf716bd22313ef63c7a761c88354457c2415',
};

/** Temporal CLI with server 1.29 or later; `file` runs as `temporal server start-dev`. */
export const temporal: Artefact = {
  name: 'temporal',
  version: VERSION,
  file: 'temporal',
  variable: 'CORTENSOR_TEMPORAL',
  command: 'temporal',
  check: async (path) => {
    const out = await run(path, ['--version'], { timeoutMs: 20_000 });
    const [, version, server, major, minor] =
      /^temporal version (\S+) \(Server ((\d+)\.(\d+)\.\d+)/.exec(out) ?? [];
    if (version === undefined) throw new Error(`${path} does not say its server's version`);
    if (Number(major) !== 1 || Number(minor) < 29) {
      throw new Error(`${path} has server ${server}, needed is 1.29 or a later 1.x`);
    }
    return version;
  },
  recipes: [
    downloadRecipe(release(), 'temporal'),
    goRecipe({
      program: 'github.com/temporalio/cli/cmd/temporal',
      version: `v${VERSION}`,
      ldflags: `-X github.com/temporalio/cli/temporalcli.Version=${VERSION}`,
      file: 'temporal',
      packages: 1_000,
    }),
  ],
  remedy:
    'install the Temporal CLI 1.5 (https://docs.temporal.io/cli), or Go 1.21 or later to build it',
};

function release(): Download | undefined {
  const platform = goPlatform('_');
  const checksum = CHECKSUMS[platform];
  if (checksum === undefined) return undefined;
  const url = `${RELEASES}/temporal_cli_${VERSION}_${platform}.tar.gz`;
  return { url, digest: `sha256:${checksum}`, member: 'temporal' };
}
