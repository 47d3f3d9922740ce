/** Server-sent events: written when the client takes them, so that a slow one holds only itself up.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html */

/** A reader of a task's stream that has waited so long gets a comment: proxies stay awake. */
export const KEEP_ALIVE_MS = 10_000;
export const KEEP_ALIVE = ': keep-alive\n\n';

/** One event: `data` is JSON, so it has no line breaks. */
export function sseEvent(data: unknown, id?: number, name?: string): string {
  const text = typeof data === 'string' ? data : JSON.stringify(data);
  const head =
    (id === undefined ? '' : `id: ${id}\n`) + (name === undefined ? '' : `event: ${name}\n`);
  return `${head}data: ${text}\n\n`;
}

/** The event to go on with, after the one that `Last-Event-ID` names. */
export function resumeFrom(lastEventId: string | undefined): number {
  return lastEventId !== undefined && /^\d{1,15}$/.test(lastEventId) ? Number(lastEventId) + 1 : 0;
}

/** Answers with a stream of text parts. Each is asked for when the one before it has been taken: the
 * server around the app reads on only when its socket, which holds 16 KiB, has room.
 * @param parts - given a signal that aborts when the client has gone; what it reads from runs on. */
export function sseResponse(
  parts: (signal: AbortSignal) => AsyncGenerator<string>,
  headers: Record<string, string>,
): Response {
  const gone = new AbortController();
  const encoder = new TextEncoder();
  const iterator = parts(gone.signal);
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done === true) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
    cancel() {
      gone.abort();
    },
  });
  return new Response(body, {
    headers: {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
      ...headers,
    },
  });
}
