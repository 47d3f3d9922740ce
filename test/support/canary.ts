/** Looks for a text wherever a process may have left it: in files and in the memory of processes. */
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { run } from '../../servers/run.js';

const CHUNK_BYTES = 8 * 1024 * 1024;
const HEX = 'hex';
const DUMP_MS = 60_000;

/** How a text may lie about: as it is, in UTF-16 as V8 keeps some strings, in hex of either case, and
 * in base64 and base64url at each of the three ways that it can fall into groups of three bytes.
 * @param text - at least 8 ASCII letters, digits and hyphens, so that JSON escapes none of them. */
export function formsOf(text: string): readonly Buffer[] {
  const plain = Buffer.from(text);
  const hex = plain.toString(HEX);
  const base64 = [0, 1, 2].map((offset) => {
    const shifted = Buffer.concat([Buffer.alloc(offset), plain]).toString('base64');
    // The first and the last group hold bits of what is beside the text.
    return shifted.slice(offset === 0 ? 0 : 4, -4);
  });
  const texts = [text, hex, hex.toUpperCase(), ...base64];
  texts.push(...base64.map((form) => form.replaceAll('+', '-').replaceAll('/', '_')));
  return [...new Set(texts)].map((form) => Buffer.from(form)).concat(Buffer.from(text, 'utf16le'));
}

/** True when the bytes hold the text in any form. */
export function holds(bytes: Uint8Array, forms: readonly Buffer[]): boolean {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return forms.some((form) => buffer.includes(form));
}

/** For each of several texts, the paths of the files below a folder that hold it in any form. */
export async function filesHolding<Name extends string>(
  folder: string,
  texts: Readonly<Record<Name, readonly Buffer[]>>,
): Promise<Record<Name, string[]>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const names = Object.keys(texts) as Name[];
  const found = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<
    Name,
    string[]
  >;
  for (const entry of entries.filter((one) => one.isFile())) {
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path);
    for (const name of names) if (holds(bytes, texts[name])) found[name].push(path);
  }
  return found;
}

/** The bytes that a running process has to itself, a piece at a time, as a core dump would hold them:
 * heap, stacks with arguments and environment, and whatever is mapped privately. Linux only.
 * @param overlap - bytes that each piece repeats of the one before. */
export async function* memoryOf(pid: number, overlap: number): AsyncGenerator<Buffer> {
  const maps = await readFile(`/proc/${pid}/maps`, 'utf8');
  const memory = await open(`/proc/${pid}/mem`, 'r');
  const buffer = Buffer.alloc(CHUNK_BYTES);
  try {
    for (const line of maps.split('\n')) {
      const [, from = '', to = ''] = /^([0-9a-f]+)-([0-9a-f]+) r..p .* (?!.*\[v)/.exec(line) ?? [];
      const end = Number.parseInt(to, 16);
      for (let at = Number.parseInt(from, 16); at < end; at += CHUNK_BYTES - overlap) {
        const length = Math.min(CHUNK_BYTES, end - at);
        try {
          const { bytesRead } = await memory.read(buffer, 0, length, at);
          yield buffer.subarray(0, bytesRead);
        } catch (error) {
          // EIO: it was given back since the list was made, or nothing can be read there.
          if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
        }
      }
    }
  } finally {
    await memory.close();
  }
}

/** What a search has found, and in how much. */
export interface Findings<Name extends string> {
  readonly found: ReadonlySet<Name>;
  readonly bytes: number;
}

/** Which of several texts a running process's memory holds in any form. */
export async function memoryHolding<Name extends string>(
  pid: number,
  texts: Readonly<Record<Name, readonly Buffer[]>>,
): Promise<Findings<Name>> {
  return await search((overlap) => memoryOf(pid, overlap), texts);
}

/** Which of several texts a file of any size holds in any form. */
export async function fileHolding<Name extends string>(
  path: string,
  texts: Readonly<Record<Name, readonly Buffer[]>>,
): Promise<Findings<Name>> {
  return await search((overlap) => piecesOf(path, overlap), texts);
}

async function* piecesOf(path: string, overlap: number): AsyncGenerator<Buffer> {
  const file = await open(path, 'r');
  const buffer = Buffer.alloc(CHUNK_BYTES);
  try {
    for (let at = 0; ; at += CHUNK_BYTES - overlap) {
      const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, at);
      yield buffer.subarray(0, bytesRead);
      if (bytesRead < CHUNK_BYTES) return;
    }
  } finally {
    await file.close();
  }
}

/** Why no core dumps can be had from processes here; `undefined` where they can. */
export async function whyNoCoreDumps(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'core dumps are made on Linux';
  const pattern = (await readFile('/proc/sys/kernel/core_pattern', 'utf8')).trim();
  if (/[|/]/.test(pattern)) return `core dumps are sent to ${pattern}`;
  const limits = await readFile('/proc/self/limits', 'utf8');
  return /^Max core file size +\w+ +unlimited /m.test(limits)
    ? undefined
    : 'core dumps are limited';
}

/** Aborts a process so that it leaves a core dump, and waits until it has.
 * @param folder - its working directory, in which there is nothing else.
 * @returns the dump's path. */
export async function dumpCore(pid: number, folder: string): Promise<string> {
  await run('prlimit', ['--pid', String(pid), '--core=unlimited:'], { timeoutMs: 10_000 });
  process.kill(pid, 'SIGABRT');
  for (const deadline = Date.now() + DUMP_MS; isRunning(pid); await delay(50)) {
    if (Date.now() > deadline) throw new Error(`process ${pid} has not ended`);
  }
  const [name] = await readdir(folder);
  if (name === undefined) throw new Error(`process ${pid} has left no core dump`);
  return join(folder, name);
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function search<Name extends string>(
  pieces: (overlap: number) => AsyncIterable<Buffer>,
  texts: Readonly<Record<Name, readonly Buffer[]>>,
): Promise<Findings<Name>> {
  const names = Object.keys(texts) as Name[];
  const longest = Math.max(...names.flatMap((name) => texts[name].map((form) => form.length)));
  const found = new Set<Name>();
  let bytes = 0;
  for await (const piece of pieces(longest)) {
    bytes += piece.length;
    for (const name of names) if (!found.has(name) && holds(piece, texts[name])) found.add(name);
  }
  return { found, bytes };
}
