/** Runs one command to its end, with a time limit, and says line by line what it prints. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface RunOptions {
  /** Limit for the whole run, in milliseconds; the command is killed when it is over. */
  readonly timeoutMs: number;
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Written to the command's standard input; the place for secrets, which `ps` would show as arguments. */
  readonly input?: string;
  /** System user to run as; only root may. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Called with every line of both outputs. */
  onLine?(line: string): void;
}

/**
 * Runs a command without a shell.
 * @returns what it printed, standard output and error together.
 * @throws Error — it could not be started, ended with another code than 0, or ran past the limit; the
 * message names the command and holds its last line.
 */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions,
): Promise<string> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
    ...options.user,
  });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      options.onLine?.(line);
    });
  }
  child.stdin.on('error', () => {
    // EPIPE: the command ended without reading its input; its exit code tells the story.
  });
  child.stdin.end(options.input ?? '');
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, options.timeoutMs);
  try {
    const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>(
      (resolve, reject) => {
        child.once('error', (error: NodeJS.ErrnoException) => {
          const missing = error.code === 'ENOENT' && !command.includes('/');
          reject(missing ? new Error(`${command} is not installed`) : error);
        });
        child.once('close', (...end) => resolve(end));
      },
    );
    if (code === 0) return lines.join('\n');
    const ending = late ? `ran past ${options.timeoutMs} ms` : `ended with ${code ?? signal}`;
    const last = lines.findLast((line) => line.trim() !== '') ?? 'no output';
    throw new Error(`${command} ${ending}: ${last.trim().slice(0, 300)}`);
  } finally {
    clearTimeout(timer);
  }
}
