import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import fc from 'fast-check';
import { openChannel, type Channel, type FrameOpener } from '../../../adapters/seal/channel.js';
import { createKeyring } from '../../../adapters/seal/keyring.js';
import { taskIdOf } from '../../../adapters/seal/task-id.js';
import type { Frame } from '../../../domain/sealing.js';

const sessionId = '42';
const miner = '0x00000000000000000000000000000000000000AA';
const { channelKey } = (await createKeyring(sessionId)).keyring;
const taskId = await taskIdOf(sessionId, 'task');
const sealed = await openChannel({ sessionId, channelKey });
const open = await openChannel({ sessionId, channelKey: null });

async function sealAll(channel: Channel, messages: readonly Uint8Array[]): Promise<Frame[]> {
  const sealer = await channel.sealer(taskId, miner);
  return Promise.all(messages.map((m, i) => sealer.seal(m, i === messages.length - 1)));
}

async function openAll(opener: FrameOpener, frames: readonly Frame[]): Promise<Uint8Array[]> {
  const opened: Uint8Array[] = [];
  for (const frame of frames) opened.push(await opener.open(frame));
  return opened;
}

const messages = fc.array(fc.uint8Array({ maxLength: 100 }), { minLength: 1, maxLength: 8 });
const three = ['one', 'two', 'three'].map((text) => new TextEncoder().encode(text));

for (const [level, channel] of Object.entries({ sealed, open })) {
  test(`at level ${level} a stream comes back as it was, numbered from 0 and with its end marked`, async () => {
    await fc.assert(
      fc.asyncProperty(messages, async (plain) => {
        const frames = await sealAll(channel, plain);
        assert.deepEqual(
          frames.map((f) => f.seq),
          plain.map((_, i) => i),
        );
        assert.deepEqual(
          frames.map((f) => f.isLast),
          plain.map((_, i) => i === plain.length - 1),
        );
        const opener = await channel.opener(taskId, miner.toLowerCase());
        const opened = await openAll(opener, frames);
        assert.deepEqual(
          opened,
          plain.map((bytes) => new Uint8Array(bytes)),
        );
        assert.equal(opener.isEnded, true);
      }),
      { numRuns: 50 },
    );
  });

  test(`at level ${level} frames that are dropped, repeated, swapped or added are errors`, async () => {
    const [a, b, c] = (await sealAll(channel, three)) as [Frame, Frame, Frame];
    const broken = { dropped: [a, c], first: [b], again: [a, a], swapped: [a, c, b] };
    for (const [how, frames] of Object.entries({ ...broken, after: [a, b, c, { ...c, seq: 3 }] })) {
      const opener = await channel.opener(taskId, miner);
      await assert.rejects(openAll(opener, frames), { code: 'SEAL_BROKEN' }, how);
    }
  });

  test(`at level ${level} a stream that was cut short has not ended`, async () => {
    const frames = await sealAll(channel, three);
    const opener = await channel.opener(taskId, miner);
    await openAll(opener, frames.slice(0, 2));
    assert.equal(opener.isEnded, false);
  });

  test(`at level ${level} nothing follows the last frame, and calls that overlap keep their order`, async () => {
    const sealer = await channel.sealer(taskId, miner);
    const frames = await Promise.all(three.map((m, i) => sealer.seal(m, i === 2)));
    await assert.rejects(sealer.seal(new Uint8Array(), true), { code: 'INVARIANT_BROKEN' });
    const opener = await channel.opener(taskId, miner);
    assert.deepEqual(await Promise.all(frames.map((f) => opener.open(f))), three);
  });
}

test('a frame in which any bit was altered is an error, and so is every frame after it', async () => {
  const frames = await sealAll(sealed, three);
  for (const [index, frame] of frames.entries()) {
    const bytes = Buffer.from(frame.data, 'base64');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const altered = Buffer.from(bytes);
      altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const opener = await sealed.opener(taskId, miner);
      await openAll(opener, frames.slice(0, index));
      const data = altered.toString('base64');
      await assert.rejects(opener.open({ ...frame, data }), { code: 'SEAL_BROKEN' });
      await assert.rejects(opener.open(frame), { code: 'SEAL_BROKEN' });
      assert.equal(opener.isEnded, false);
    }
  }
});

test('frames that overlap a broken one are errors too', async () => {
  const [a, b, c] = (await sealAll(sealed, three)) as [Frame, Frame, Frame];
  const opener = await sealed.opener(taskId, miner);
  await opener.open(a);
  const data = Buffer.from(b.data, 'base64');
  data[0] = (data[0] ?? 0) ^ 1;
  const outcomes = await Promise.allSettled([
    opener.open({ ...b, data: data.toString('base64') }),
    opener.open(c),
  ]);
  assert.deepEqual(
    outcomes.map((o) => o.status),
    ['rejected', 'rejected'],
  );
});

test('a frame whose end mark was altered is an error', async () => {
  const [a, b] = (await sealAll(sealed, three)) as [Frame, Frame, Frame];
  const opener = await sealed.opener(taskId, miner);
  await opener.open(a);
  await assert.rejects(opener.open({ ...b, isLast: true }), { code: 'SEAL_BROKEN' });
});

test('a stream cut to any length of bytes is an error', async () => {
  const [frame] = (await sealAll(sealed, [new Uint8Array(3)])) as [Frame];
  const bytes = Buffer.from(frame.data, 'base64');
  for (let length = 0; length < bytes.length; length++) {
    const opener = await sealed.opener(taskId, miner);
    const data = bytes.subarray(0, length).toString('base64');
    await assert.rejects(opener.open({ ...frame, data }), { code: 'SEAL_BROKEN' });
  }
});

test('frames of another task, author, session or run are errors', async () => {
  const [a, b] = (await sealAll(sealed, three)) as [Frame, Frame, Frame];
  const otherTask = await taskIdOf(sessionId, 'other');
  const otherSession = await openChannel({ sessionId: '43', channelKey });
  const strangers = [
    await sealed.opener(otherTask, miner),
    await sealed.opener(taskId, 'client'),
    await otherSession.opener(taskId, miner),
    await (
      await openChannel({ sessionId, channelKey: (await createKeyring('1')).keyring.channelKey })
    ).opener(taskId, miner),
  ];
  for (const opener of strangers) await assert.rejects(opener.open(a), { code: 'SEAL_BROKEN' });
  const secondRun = await sealAll(sealed, three);
  const opener = await sealed.opener(taskId, miner);
  await opener.open(secondRun[0] as Frame);
  await assert.rejects(opener.open(b), { code: 'SEAL_BROKEN' });
});

test('one task that is sealed twice shares no bytes, so no nonce is used twice under one key', async () => {
  const [first, second] = [await sealAll(sealed, three), await sealAll(sealed, three)];
  for (const [i, frame] of first.entries()) assert.notEqual(frame.data, second[i]?.data);
});

test('a result hash shows equality of text and finish reason, and is not the plain hash', async () => {
  const result = { text: 'Paris', finishReason: 'stop' } as const;
  const plain = createHash('sha256').update('{"finishReason":"stop","text":"Paris"}').digest('hex');
  assert.equal(await open.resultHash(result), `0x${plain}`);
  const again = await openChannel({ sessionId, channelKey });
  assert.equal(await sealed.resultHash(result), await again.resultHash(result));
  const others = [
    await open.resultHash(result),
    await sealed.resultHash({ ...result, text: 'Rome' }),
    await sealed.resultHash({ ...result, finishReason: 'length' }),
    await (await openChannel({ sessionId: '43', channelKey })).resultHash(result),
  ];
  for (const other of others) assert.notEqual(await sealed.resultHash(result), other);
});

test('a channel key that is not 32 bytes is refused', async () => {
  for (const key of ['', 'AAAA', 'not base64']) {
    await assert.rejects(openChannel({ sessionId, channelKey: key }), { code: 'SEAL_BROKEN' });
  }
});
