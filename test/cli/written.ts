/** What code writes to stdout, for tests that run a command in their own process. */
import { mock } from 'node:test';

/** Runs something and gives the text that it has written to stdout. What the test runner writes there
 * meanwhile is bytes, and goes on its way. */
export async function written(act: () => Promise<unknown>): Promise<string> {
  const original = process.stdout.write.bind(process.stdout);
  let text = '';
  const write = mock.method(process.stdout, 'write', (chunk: string | Uint8Array) => {
    if (typeof chunk !== 'string') return original(chunk);
    text += chunk;
    return true;
  });
  try {
    await act();
    return text;
  } finally {
    write.mock.restore();
  }
}
