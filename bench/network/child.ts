/** Processes of a benchmark: sides that are compared must not share a thread with who measures. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const READY_MS = 90_000;

/** A process that is ready, with what it said of itself. */
export interface Child<Ready> {
  readonly ready: Ready;
  readonly pid: number;
  readonly process: ChildProcess;
  /** Kills it: what it leaves is thrown away, and a router's leases would be waited for otherwise. */
  stop(): Promise<void>;
}

/** Starts `bench/network/<name>.js` with an input that JSON can carry.
 * @param readyMs - it is killed when it is not ready by then.
 * @throws when it ends before it is ready, or is not in time. */
export async function startChild<Input, Ready>(
  name: string,
  input: Input,
  readyMs: number = READY_MS,
): Promise<Child<Ready>> {
  const child = fork(join(import.meta.dirname, `${name}.js`), { stdio: ['ignore', 2, 2, 'ipc'] });
  let isStopping = false;
  const exited = once(child, 'exit').then(([code, signal]: (number | string | null)[]) => {
    if (!isStopping) console.error(`${name} ended by itself: ${signal ?? code}`);
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), readyMs);
  try {
    child.send(input as object);
    const ready = await Promise.race([
      once(child, 'message').then(([message]) => (message as { ready: Ready }).ready),
      exited.then(() => Promise.reject(new Error(`${name} ended before it was ready`))),
    ]);
    return {
      ready,
      pid: child.pid ?? 0,
      process: child,
      async stop() {
        if (child.exitCode !== null || child.signalCode !== null) return;
        isStopping = true;
        child.kill('SIGKILL');
        await exited;
      },
    };
  } finally {
    clearTimeout(timer);
  }
}

/** The child's side: gets its input, starts, says that it is ready, and never outlives its parent. */
export function runChild<Input, Ready>(start: (input: Input) => Promise<Ready>): void {
  process.once('disconnect', () => process.exit(0));
  process.once('message', (input) => {
    start(input as Input).then(
      (ready) => process.send?.({ ready }),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
}
