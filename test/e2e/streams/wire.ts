/** Streams as any client sees them. */
import assert from 'node:assert/strict';

/** Reads a stream of chat chunks as it is on the wire, until it ends, breaks, or is enough. */
export async function readWire(
  url: string,
  apiKey: string,
  init: RequestInit,
  isEnough: (text: string) => boolean = () => false,
) {
  const response = await fetch(url, {
    ...init,
    headers: {
      authorization: `Bearer ${apiKey}`,
      'content-type': 'application/json',
      ...(init.headers as Record<string, string>),
    },
  });
  assert.equal(response.status, 200, response.ok ? '' : await response.text());
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let wire = '';
  let isDone = false;
  const events = () => wire.split('\n\n').slice(0, -1);
  const text = () =>
    events()
      .map((event) => /"delta":\{[^}]*"content":"([^"]*)"/.exec(event)?.[1] ?? '')
      .join('');
  try {
    while (!isDone && !isEnough(text())) {
      const { done, value = '' } = (await reader?.read()) ?? { done: true };
      isDone = done;
      wire += value;
    }
  } catch {
    // The router has died: what was whole until then counts.
  }
  const lastEventId = events().map((event) => /^id: (\d+)$/m.exec(event)?.[1]);
  return {
    text: text(),
    isWhole: wire.endsWith('data: [DONE]\n\n'),
    lastEventId: lastEventId.findLast((id) => id !== undefined) ?? '',
    taskId: response.headers.get('x-cortensor-task') ?? '',
  };
}
