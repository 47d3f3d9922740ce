import assert from 'node:assert/strict';
import test from 'node:test';
import { Signature, Wallet } from 'ethers';
import fc from 'fast-check';
import { KnownSigners } from '../../../adapters/chain/known-signers.js';
import { recoverSigner, signMessage, type MessageValue } from '../../../adapters/chain/sign.js';
import { signingDomain } from '../../../domain/attestation.js';
import type { Address, Hex } from '../../../domain/ids.js';
import { WALLET } from './anvil.js';

const DOMAIN = signingDomain(31_337, '0x00000000000000000000000000000000000000CC');
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const signer = WALLET.address as Address;
const known = new KnownSigners();

const word = (n: bigint): string => n.toString(16).padStart(64, '0');
const precommitOf = (n: bigint): MessageValue => ({
  sessionId: '7',
  taskId: `0x${'1'.repeat(64)}`,
  precommitment: `0x${word(n)}`,
});

/** The signer, or the code of the error. */
function outcome(recover: () => Address): string {
  try {
    return recover();
  } catch (error) {
    return (error as { code?: string }).code ?? 'unknown';
  }
}

function assertSame(value: MessageValue, signature: string, expected: Address): string {
  const terms = ['Precommit', DOMAIN, value, signature as Hex] as const;
  const quick = outcome(() => known.recover(...terms, expected));
  assert.equal(quick.toLowerCase(), outcome(() => recoverSigner(...terms)).toLowerCase());
  return quick;
}

test('a signer that was seen before is recovered as one that was not', async () => {
  await fc.assert(
    fc.asyncProperty(fc.bigInt({ min: 0n, max: (1n << 256n) - 1n }), async (n) => {
      const value = precommitOf(n);
      const signature = await signMessage(WALLET, 'Precommit', DOMAIN, value);
      assert.equal(assertSame(value, signature, signer), signer);
    }),
    { numRuns: 30 },
  );
});

test('what is not the known signer’s comes out as recovering it has it', async () => {
  const value = precommitOf(1n);
  const good = await signMessage(WALLET, 'Precommit', DOMAIN, value);
  const { r, s, v } = Signature.from(good);
  const [low, high] = [BigInt(s), ORDER - BigInt(s)];
  const make = (r: string, s: bigint, v: number) => `${r}${word(s)}${v.toString(16)}`;
  const stranger = await signMessage(Wallet.createRandom(), 'Precommit', DOMAIN, value);
  assert.equal(assertSame(value, good, signer), signer);
  const other = v === 27 ? 28 : 27;
  const bad = [
    make(r, low, other),
    make(r, high, v),
    make(r, high, other),
    make(r, low, v + 2),
    make(r, low + 1n, v),
    make(r, 0n, v),
    make(r, ORDER, v),
    make(`0x${word(0n)}`, low, v),
    make(`0x${word(ORDER)}`, low, v),
    make(`0x${word(5n)}`, low, v),
    stranger,
    good.slice(0, -2),
    '0x',
    '',
  ];
  for (const signature of bad) {
    assert.notEqual(assertSame(value, signature, signer), signer, signature);
  }
  assert.notEqual(assertSame(precommitOf(2n), good, signer), signer);
});

test('a signature is its maker’s, whoever was expected', async () => {
  const value = precommitOf(3n);
  const signature = await signMessage(WALLET, 'Precommit', DOMAIN, value);
  const stranger = Wallet.createRandom().address as Address;
  for (let i = 0; i < 2; i++) assert.equal(assertSame(value, signature, stranger), signer);
});
