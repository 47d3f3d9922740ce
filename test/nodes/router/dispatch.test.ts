/** Choice at dispatch: sticky, but never to a failing or slow miner; speed and load decide the rest. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Address } from '../../../domain/ids.js';
import { conversationOf } from '../../../nodes/router/conversation.js';
import { Dispatch } from '../../../nodes/router/dispatch.js';
import type { MinerLink } from '../../../nodes/router/socket.js';
import { TrackRecord } from '../../../nodes/router/track-record.js';
import { readSse, startWorld } from './support.js';

const addressOf = (index: number): Address => `0x${(index + 1).toString(16).padStart(40, 'a')}`;

interface Fleet {
  readonly dispatch: Dispatch;
  readonly track: TrackRecord;
  /** Load by miner. */
  readonly load: number[];
  readonly gone: Set<number>;
  /** Addresses of miners as numbers, in the order in which a task asks them. */
  readonly order: (conversation?: string) => number[];
  wait(ms: number): void;
}

function fleet(size: number, capacity = 4): Fleet {
  let now = 1_000_000;
  const track = new TrackRecord(() => now);
  const load = Array.from({ length: size }, () => 0);
  const gone = new Set<number>();
  const addresses = load.map((_, i) => addressOf(i));
  const find = (address: Address) => {
    const index = addresses.indexOf(address);
    if (gone.has(index)) return undefined;
    const link = { address, models: ['tiny'], capacity, load: load[index] ?? 0 };
    return link as unknown as MinerLink;
  };
  const reserved = addresses.map((address) => ({ address, recipient: '' }));
  const dispatch = new Dispatch(reserved, 'tiny', find, track);
  return {
    dispatch,
    track,
    load,
    gone,
    order(conversation = '') {
      const asked = new Set<string>();
      const order: number[] = [];
      for (;;) {
        const link = dispatch.next(asked, conversation);
        if (link === undefined) return order;
        asked.add(link.address);
        order.push(addresses.indexOf(link.address));
      }
    },
    wait: (ms) => (now += ms),
  };
}

const measure = ({ track }: Fleet, index: number, answeredMs: number, times = 3) => {
  for (let i = 0; i < times; i++) {
    track.answered(addressOf(index), { firstFrameMs: 10, answeredMs, completionTokens: 100 });
  }
};

test('a conversation keeps to its lead, and another one has its own', () => {
  const f = fleet(3);
  f.load.splice(0, 3, 0, 0, 1);
  f.dispatch.lead(addressOf(2), 'a');
  f.dispatch.lead(addressOf(1), 'b');
  assert.equal(f.order('a')[0], 2);
  assert.equal(f.order('b')[0], 1);
  assert.equal(f.order('c')[0], 0);
});

test('a lead without room is passed over, and leads on later', () => {
  const f = fleet(2);
  f.dispatch.lead(addressOf(1), '');
  f.load[1] = 4;
  assert.equal(f.order()[0], 0);
  f.dispatch.lead(addressOf(0), '');
  f.load[1] = 3;
  assert.equal(f.order()[0], 1);
});

test('a lead that is gone is replaced', () => {
  const f = fleet(2);
  f.dispatch.lead(addressOf(1), '');
  f.gone.add(1);
  f.dispatch.lead(addressOf(0), '');
  f.gone.clear();
  f.load[0] = 1;
  assert.equal(f.order()[0], 0);
});

test('a lead that failed goes to the end for a while, and loses the lead', () => {
  const f = fleet(3);
  f.dispatch.lead(addressOf(0), '');
  f.track.fault(addressOf(0));
  assert.deepEqual(f.order(), [1, 2, 0]);
  f.dispatch.lead(addressOf(1), '');
  f.wait(121_000);
  assert.deepEqual(f.order(), [1, 0, 2]);
});

test('who failed more often comes back later', () => {
  const f = fleet(3);
  for (let i = 0; i < 20; i++) f.track.fault(addressOf(0));
  f.track.fault(addressOf(1));
  assert.deepEqual(f.order(), [2, 1, 0]);
  f.wait(121_000);
  assert.deepEqual(f.order(), [1, 2, 0]);
  f.wait(200_000);
  assert.deepEqual(f.order(), [0, 1, 2]);
});

test('a lead that is much slower than the others loses the lead', () => {
  const f = fleet(3);
  f.dispatch.lead(addressOf(0), '');
  measure(f, 1, 1_000);
  measure(f, 2, 1_200);
  measure(f, 0, 3_000);
  assert.equal(f.order()[0], 0, 'three times as slow is still worth its cache');
  measure(f, 0, 9_000, 9);
  assert.deepEqual(f.order(), [1, 2, 0]);
});

test('among the rest, the quicker comes first unless it has more to do', () => {
  const f = fleet(3);
  measure(f, 0, 1_500);
  measure(f, 1, 1_000);
  measure(f, 2, 1_250);
  assert.deepEqual(f.order(), [1, 2, 0]);
  f.load[1] = 4;
  assert.deepEqual(f.order(), [2, 0, 1]);
});

test('a miner that was never measured is asked, so that it will be', () => {
  const f = fleet(2);
  measure(f, 0, 1_000);
  f.load[0] = 1;
  assert.deepEqual(f.order(), [1, 0]);
});

const event = fc.oneof(
  fc.record({ miner: fc.nat(4), waitMs: fc.nat(100_000) }),
  fc.record({
    miner: fc.nat(4),
    answeredMs: fc.integer({ min: 0, max: 60_000 }),
    tokens: fc.nat(4_096),
  }),
  fc.record({ miner: fc.nat(4), load: fc.nat(8) }),
  fc.record({ miner: fc.nat(4), leads: fc.constantFrom('', 'a', 'b') }),
);

test('whatever was measured: everybody is asked once, the same way each time, failed ones last', () => {
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 40 }),
      fc.constantFrom('', 'a', 'b'),
      (events, name) => {
        const [one, other] = [fleet(5), fleet(5)];
        for (const f of [one, other]) {
          for (const e of events) {
            const address = addressOf(e.miner);
            if ('waitMs' in e) {
              f.wait(e.waitMs);
              f.track.fault(address);
            } else if ('load' in e) f.load[e.miner] = e.load;
            else if ('leads' in e) f.dispatch.lead(address, e.leads);
            else {
              const { answeredMs, tokens } = e;
              const firstFrameMs = answeredMs / 2;
              f.track.answered(address, { firstFrameMs, answeredMs, completionTokens: tokens });
            }
          }
        }
        const order = one.order(name);
        assert.deepEqual(order, other.order(name));
        assert.deepEqual(new Set(order), new Set([0, 1, 2, 3, 4]));
        assert.equal(order.length, 5);
        const penalties = order.map((index) => one.track.penaltyOf(addressOf(index)));
        assert.deepEqual(
          penalties,
          penalties.toSorted((a, b) => a - b),
        );
        assert.ok(penalties.every((penalty) => penalty >= 0 && penalty <= 8));
      },
    ),
  );
});

test('a conversation is told by how it began', () => {
  const system = { role: 'system', content: 'be brief' } as const;
  const hello = { role: 'user', content: 'hello' } as const;
  const answer = { role: 'assistant', content: 'hi' } as const;
  const first = conversationOf([system, hello]);
  assert.equal(conversationOf([system, hello, answer, { role: 'user', content: 'bye' }]), first);
  assert.notEqual(conversationOf([hello]), first);
  assert.notEqual(conversationOf([system, { ...hello, content: 'hallo' }]), first);
});

test('over the wire: a primary that failed, and one that disagreed, do not lead the next task', async (t) => {
  const world = await startWorld([{ declines: 'BACKEND_FAILED' }, {}, {}, {}], {
    policy: { redundancy: 3 },
    judge: async ({ answers }) => ({
      status: 'agreed',
      method: 'embedding',
      medoid: answers[1]?.miner ?? null,
      scores: answers.map(({ miner }, i) => ({ miner, scoreBps: 9_000, isAgreed: i > 0 })),
    }),
  });
  t.after(() => world.close());
  const ask = async () => {
    for (const miner of world.miners) miner.said.length = 0;
    await readSse(await world.chat('one', { stream: true }));
    const primary = world.miners.find(({ said }) => said.includes('frame'));
    assert.ok(primary);
    return primary;
  };
  const first = await ask();
  assert.notEqual(first, world.miner(0));
  world.miner(0).script = {};
  first.script = { answer: () => 'another answer' };
  assert.equal(await ask(), first, 'it led the last task');
  first.script = {};
  const third = await ask();
  assert.ok(third !== first && third !== world.miner(0));
});
