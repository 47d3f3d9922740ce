/**
 * What a job must remember to go on after a crash: which session it opened. The prompts themselves
 * are never written down; their digest tells whether an unfinished job is the one that is asked for.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Hex } from '../../domain/ids.js';
import type { ExportedSession } from '../../sdk/index.js';

export interface JobRecord {
  /** The session's client reference; tasks' idempotency keys are made of it. */
  readonly reference: Hex;
  /** SHA-256 over reference and prompts. */
  readonly promptsDigest: string;
  /** The session's keys, sealed to the user; `null` until they are made, before it is opened. */
  readonly session: ExportedSession | null;
  readonly isFinished: boolean;
}

export class Journal {
  readonly #file: string;

  constructor(data: string) {
    this.#file = join(data, 'job.json');
  }

  /** The unfinished job, or a new one.
   * @returns `abandoned`: an unfinished job that asked other prompts; its session should be closed. */
  async open(
    prompts: readonly string[],
  ): Promise<{ readonly job: JobRecord; readonly abandoned: JobRecord | null }> {
    const last = await this.#read();
    if (last !== null && !last.isFinished) {
      if (last.promptsDigest === digestOf(last.reference, prompts)) {
        return { job: last, abandoned: null };
      }
    }
    const reference: Hex = `0x${randomBytes(32).toString('hex')}`;
    const promptsDigest = digestOf(reference, prompts);
    const job = { reference, promptsDigest, session: null, isFinished: false };
    await this.#write(job);
    return { job, abandoned: last === null || last.isFinished ? null : last };
  }

  async update(job: JobRecord): Promise<void> {
    await this.#write(job);
  }

  /** Notes that the job is done; its keys stay, so that its results can be read. */
  async finish(): Promise<void> {
    const job = await this.#read();
    if (job !== null) await this.#write({ ...job, isFinished: true });
  }

  async #read(): Promise<JobRecord | null> {
    try {
      return JSON.parse(await readFile(this.#file, 'utf8')) as JobRecord;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  }

  async #write(job: JobRecord): Promise<void> {
    const temporary = `${this.#file}.new`;
    await writeFile(temporary, `${JSON.stringify(job)}\n`, { mode: 0o600 });
    await rename(temporary, this.#file);
  }
}

function digestOf(reference: Hex, prompts: readonly string[]): string {
  return createHash('sha256')
    .update(JSON.stringify([reference, prompts]))
    .digest('hex');
}
