import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chooseMiners, type ChoiceTerms } from '../../domain/choice.js';
import type { Address } from '../../domain/ids.js';
import { NODE_KINDS, type Candidate } from '../../domain/node.js';
import { SESSION_MODES } from '../../domain/session.js';

const address = (n: number): Address => `0x${n.toString(16).padStart(40, '0')}`;

function candidate(n: number, changes: Partial<Candidate> = {}): Candidate {
  return {
    address: address(n),
    recipient: 'age1',
    models: ['m'],
    scoreBps: 5_000,
    level: 5,
    kind: 'Ephemeral',
    tokensPerSecond: null,
    pricePerTokenWei: null,
    ...changes,
  };
}

const ANY: ChoiceTerms = {
  policy: { mode: 'ephemeral', dedicated: [], minNodeLevel: 0 },
  pricePerTokenWei: 10n,
};

/** Candidates of all sorts, with different addresses, in any order. */
const candidates = fc
  .uniqueArray(
    fc.record({
      n: fc.nat(30),
      scoreBps: fc.nat(10_000),
      level: fc.nat(10),
      kind: fc.constantFrom(...NODE_KINDS.filter((kind) => kind !== 'None')),
      tokensPerSecond: fc.option(fc.double({ min: 0.1, max: 1_000, noNaN: true })),
      pricePerTokenWei: fc.option(fc.nat(20).map(String)),
    }),
    { selector: ({ n }) => n, maxLength: 30 },
  )
  .map((list) => list.map(({ n, ...rest }) => candidate(n, rest)));

const terms: fc.Arbitrary<ChoiceTerms> = fc.record({
  policy: fc.record({
    mode: fc.constantFrom(...SESSION_MODES),
    dedicated: fc.uniqueArray(fc.nat(30).map(address), { maxLength: 6 }),
    minNodeLevel: fc.nat(10),
  }),
  pricePerTokenWei: fc.nat(20).map(BigInt),
  kept: fc.uniqueArray(fc.nat(30).map(address), { maxLength: 6 }),
});

test('chooseMiners: takes able miners only, as many as there are up to the count, and each once', () => {
  fc.assert(
    fc.property(candidates, fc.nat(12), fc.string(), terms, (all, count, seed, asked) => {
      const { mode, dedicated, minNodeLevel } = asked.policy;
      const isNamed = (c: Candidate) => dedicated.includes(c.address);
      const able = all.filter(
        (c) =>
          c.level >= minNodeLevel &&
          BigInt(c.pricePerTokenWei ?? '0') <= asked.pricePerTokenWei &&
          (isNamed(c) || (mode !== 'dedicated' && c.kind !== 'Dedicated')),
      );
      const chosen = chooseMiners(all, count, seed, asked);
      assert.equal(chosen.length, Math.min(count, able.length));
      assert.equal(new Set(chosen.map((c) => c.address)).size, chosen.length);
      for (const c of chosen) assert.ok(able.includes(c), `${c.address} is not able`);
    }),
  );
});

test('chooseMiners: is the same choice from the same seed, whatever the order of the candidates', () => {
  fc.assert(
    fc.property(candidates, fc.nat(12), fc.string(), terms, (all, count, seed, asked) => {
      const chosen = chooseMiners(all, count, seed, asked);
      assert.deepEqual(chooseMiners([...all].reverse(), count, seed, asked), chosen);
    }),
  );
});

test('chooseMiners: keeps who serves already, then takes the owner’s own, before any other', () => {
  fc.assert(
    fc.property(candidates, fc.nat(12), fc.string(), terms, (all, count, seed, asked) => {
      const rank = (c: Candidate): number => {
        if (asked.kept?.includes(c.address) === true) return 0;
        return asked.policy.dedicated.includes(c.address) ? 1 : 2;
      };
      const chosen = chooseMiners(all, count, seed, asked);
      const everybody = chooseMiners(all, all.length, seed, asked);
      const left = everybody.filter((c) => !chosen.some((other) => other.address === c.address));
      const worst = Math.max(0, ...chosen.map(rank));
      for (const c of left) assert.ok(rank(c) >= worst, `${c.address} was passed over`);
    }),
  );
});

/** Share of first places over many seeds. */
function shareOf(first: Address, all: readonly Candidate[], draws = 2_000): number {
  let won = 0;
  for (let i = 0; i < draws; i++) {
    if (chooseMiners(all, 1, `seed ${i}`, ANY)[0]?.address === first) won++;
  }
  return won / draws;
}

/** Four standard deviations of a share of 2,000 draws. */
const near = (share: number, expected: number): boolean =>
  Math.abs(share - expected) < 4 * Math.sqrt((expected * (1 - expected)) / 2_000);

test('chooseMiners: gives places by score, and a tenth of the best to one without any', () => {
  const all = [
    candidate(0, { scoreBps: 10_000 }),
    ...Array.from({ length: 9 }, (_, i) => candidate(i + 1, { scoreBps: 0 })),
  ];
  assert.ok(near(shareOf(address(0), all), 10 / 19));
  assert.ok(near(shareOf(address(5), all), 1 / 19));
});

test('chooseMiners: counts a fast miner twice at most, a slow one half at least', () => {
  const all = [
    candidate(0, { tokensPerSecond: 1_000 }),
    candidate(1, { tokensPerSecond: 10 }),
    candidate(2, { tokensPerSecond: 10 }),
    candidate(3, { tokensPerSecond: 0.01 }),
    candidate(4),
  ];
  assert.ok(near(shareOf(address(0), all), 2 / 5.5));
  assert.ok(near(shareOf(address(3), all), 0.5 / 5.5));
  assert.ok(near(shareOf(address(4), all), 1 / 5.5), 'a miner that was not measured counts once');
});

test('chooseMiners: a miner that is set aside for somebody serves who names it, and nobody else', () => {
  const all = [candidate(0, { kind: 'Dedicated' }), candidate(1)];
  const asked = (mode: 'ephemeral' | 'hybrid' | 'dedicated', named: readonly Address[]) =>
    chooseMiners(all, 2, 's', {
      ...ANY,
      policy: { mode, dedicated: named, minNodeLevel: 0 },
    }).map((c) => c.address);
  assert.deepEqual(asked('ephemeral', []), [address(1)]);
  assert.deepEqual(asked('hybrid', [address(0)]), [address(0), address(1)]);
  assert.deepEqual(asked('dedicated', [address(0)]), [address(0)]);
  assert.deepEqual(asked('dedicated', [address(9)]), []);
});
