/** A relayed stream: whatever becomes of its sources, its reader gets every event once, in order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SseTail } from '../../../nodes/router/sse-tail.js';

const END = 'data: [DONE]\n\n';
/** What a router says whose session has gone to another one. */
const HANDED_OVER = 'data: {"error":{"code":"ROUTER_LEASE_LOST"}}\n\n';

/** How a source breaks off, at a share of what it has to say. */
interface Fault {
  readonly at: number;
  readonly how: 'error' | 'end' | 'handed over';
}

/** All events from a number on, as they are on the wire. */
function wireOf(texts: readonly string[], from: number): string {
  const events = texts.map((text, n) => `id: ${n}\ndata: ${JSON.stringify({ text })}\n\n`);
  return events.slice(from).join('') + END;
}

/** A source that is cut into pieces of so many bytes, through characters too. */
function sourceOf(wire: string, pieceBytes: number, fault?: Fault): ReadableStream<Uint8Array> {
  const whole = Buffer.from(wire);
  let bytes = fault === undefined ? whole : whole.subarray(0, Math.floor(fault.at * whole.length));
  if (fault?.how === 'handed over') {
    const ends = bytes.lastIndexOf('\n\n');
    bytes = Buffer.concat([bytes.subarray(0, ends < 0 ? 0 : ends + 2), Buffer.from(HANDED_OVER)]);
  }
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at < bytes.length) {
        controller.enqueue(new Uint8Array(bytes.subarray(at, at + pieceBytes)));
        at += pieceBytes;
      } else if (fault?.how === 'error') controller.error(new TypeError('terminated'));
      else controller.close();
    },
  });
}

test('every event comes once and in order, wherever and however its sources break off', async () => {
  const texts = fc.array(fc.string({ maxLength: 12, unit: 'grapheme' }), { maxLength: 10 });
  const how = fc.constantFrom<Fault['how'][]>('error', 'end', 'handed over');
  const at = fc.double({ min: 0, max: 1, noNaN: true });
  const faults = fc.array(fc.record({ at, how }), { maxLength: 6 });
  const piece = fc.integer({ min: 1, max: 60 });
  await fc.assert(
    fc.asyncProperty(texts, faults, piece, async (said, broken, pieceBytes) => {
      const left = [...broken];
      const tail = new SseTail(sourceOf(wireOf(said, 0), pieceBytes, left.shift()), async (last) =>
        sourceOf(wireOf(said, last === null ? 0 : Number(last) + 1), pieceBytes, left.shift()),
      );
      assert.equal(await new Response(tail.body).text(), wireOf(said, 0));
    }),
  );
});

test('a stream whose sources all break is an error in the end', async () => {
  let sources = 1;
  const fault = { at: 0, how: 'end' } as const;
  const tail = new SseTail(sourceOf(END, 10, fault), async () => {
    assert.ok(++sources < 100, 'it never gives up');
    return sourceOf(END, 10, fault);
  });
  await assert.rejects(new Response(tail.body).text(), /always breaks/);
  assert.ok(sources > 2 && sources < 20, `${sources} sources`);
});

test('a reader that leaves lets the source go', async () => {
  let reason: unknown;
  const source = new ReadableStream<Uint8Array>({ cancel: (why) => void (reason = why) });
  const tail = new SseTail(source, () => assert.fail('nobody reads any more'));
  await tail.body.cancel('enough');
  assert.equal(reason, 'enough');
});
