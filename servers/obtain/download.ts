/** Downloads from a project's official host, checked against the checksum that the project published. */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, rmSync } from 'node:fs';
import { lookup } from 'node:dns/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { EngineError } from '../../domain/errors.js';
import { run } from '../run.js';
import type { Kitchen, Recipe } from './types.js';

/** A host that cannot be resolved in this time cannot be reached at all; resolvers may hang far longer. */
const RESOLVE_MS = 3_000;
/** Longest silence of the host, before the answer and inside it. */
const SILENCE_MS = 20_000;
const SAY_EVERY_MS = 1_000;

/** One file to download. */
export interface Download {
  readonly url: string;
  /** Published checksum, such as `sha256:…` in hexadecimal. */
  readonly digest: `sha256:${string}` | `sha512:${string}`;
  /** Path of the wanted file inside a `.tar.gz`; without it, the download is the file itself. */
  readonly member?: string;
}

/**
 * A recipe that downloads one file.
 * @param release - `undefined` when the project published none for this platform.
 * @param file - its name in the cache entry.
 */
export function downloadRecipe(release: Download | undefined, file: string): Recipe {
  return {
    step: 'download',
    make: async (folder, kitchen) => {
      if (release === undefined) {
        throw new Error(`no release for ${process.platform} on ${process.arch}`);
      }
      if (release.member === undefined) {
        await fetchChecked(release, join(folder, file), kitchen);
        return;
      }
      const archive = join(folder, 'archive.tar.gz');
      await fetchChecked(release, archive, kitchen);
      await run('tar', ['-xzf', archive, '-C', folder, release.member], { timeoutMs: 120_000 });
      if (release.member !== file) {
        await run('mv', [join(folder, release.member), join(folder, file)], { timeoutMs: 60_000 });
      }
      rmSync(archive);
    },
  };
}

/**
 * Hashes a file.
 * @throws DOWNLOAD_CORRUPT — it does not have the pinned checksum.
 */
export async function checkDigest(path: string, digest: Download['digest']): Promise<void> {
  const [algorithm, expected] = digest.split(':') as [string, string];
  const hash = createHash(algorithm);
  await pipeline(createReadStream(path), hash);
  const actual = hash.digest('hex');
  if (actual === expected) return;
  throw new EngineError('DOWNLOAD_CORRUPT', { algorithm, expected, actual });
}

async function fetchChecked(
  { url, digest }: Download,
  to: string,
  kitchen: Kitchen,
): Promise<void> {
  const { hostname } = new URL(url);
  await resolveHost(hostname);
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const response = await fetch(url, { signal: silence.signal });
    if (!response.ok || response.body === null) {
      throw new Error(`${hostname} answered ${response.status}`);
    }
    const total = Number(response.headers.get('content-length') ?? 0);
    const meter = progressMeter(total, kitchen, () => timer.refresh());
    await pipeline(Readable.fromWeb(response.body as never), meter, createWriteStream(to));
  } catch (error) {
    if (silence.signal.aborted) {
      throw new Error(`${hostname} was silent for ${SILENCE_MS} ms`, { cause: error });
    }
    if (error instanceof TypeError) throw unreachable(hostname, error);
    throw error;
  } finally {
    clearTimeout(timer);
  }
  await checkDigest(to, digest);
}

/** Says how far a download is, about once a second, and that bytes still come. */
function progressMeter(total: number, { report }: Kitchen, alive: () => void): Transform {
  let bytes = 0;
  let saidMs = 0;
  return new Transform({
    transform(chunk: Uint8Array, _encoding, next) {
      alive();
      bytes += chunk.length;
      if (Date.now() - saidMs >= SAY_EVERY_MS) {
        saidMs = Date.now();
        const megabytes = (bytes / 1e6).toFixed(0);
        report(`downloaded ${megabytes} MB`, total > 0 ? bytes / total : undefined);
      }
      next(null, chunk);
    },
  });
}

async function resolveHost(hostname: string): Promise<void> {
  const late = new AbortController();
  const limit = delay(RESOLVE_MS, undefined, { signal: late.signal }).then(() => {
    throw new Error(`${hostname} was not resolved within ${RESOLVE_MS} ms`);
  });
  try {
    await Promise.race([
      lookup(hostname).catch((error: unknown) => {
        throw unreachable(hostname, error);
      }),
      limit,
    ]);
  } finally {
    limit.catch(() => {
      // Aborted just below, or thrown above already.
    });
    late.abort();
  }
}

function unreachable(hostname: string, cause: unknown): Error {
  const { code } = ((cause as Error).cause ?? cause) as NodeJS.ErrnoException;
  return new Error(`${hostname} could not be reached (${code ?? String(cause)})`, { cause });
}
