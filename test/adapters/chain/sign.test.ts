import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Signature, verifyTypedData, type TypedDataField } from 'ethers';
import { messageHash, recoverSigner, signMessage } from '../../../adapters/chain/sign.js';
import { MESSAGE_TYPES, signingDomain, type MessageType } from '../../../domain/attestation.js';
import type { Hex } from '../../../domain/ids.js';
import { WALLET } from './anvil.js';

const DOMAIN = signingDomain(31_337, '0x00000000000000000000000000000000000000CC');
const PRECOMMIT = {
  sessionId: '9223372036854775807',
  taskId: `0x${'1'.repeat(64)}`,
  precommitment: `0x${'2'.repeat(64)}`,
};

/** A value for every field, by its type. */
function sampleOf(type: MessageType): Record<string, string | number | string[]> {
  const samples: Record<string, string | string[]> = {
    address: WALLET.address,
    'address[]': [WALLET.address],
    string: 'text',
    bytes32: `0x${'3'.repeat(64)}`,
  };
  return Object.fromEntries(
    MESSAGE_TYPES[type].map((field) => [field.name, samples[field.type] ?? 3]),
  );
}

test('a signature of every message is recovered here and by ethers itself', async () => {
  for (const type of Object.keys(MESSAGE_TYPES) as MessageType[]) {
    const value = sampleOf(type);
    const signature = await signMessage(WALLET, type, DOMAIN, value);
    assert.equal(recoverSigner(type, DOMAIN, value, signature), WALLET.address, type);
    const types = { [type]: [...(MESSAGE_TYPES[type] as readonly TypedDataField[])] };
    assert.equal(verifyTypedData({ ...DOMAIN }, types, value, signature), WALLET.address);
  }
});

test('a signature does not hold for another value, chain or contract', async () => {
  const signature = await signMessage(WALLET, 'Precommit', DOMAIN, PRECOMMIT);
  for (const [domain, value] of [
    [DOMAIN, { ...PRECOMMIT, sessionId: '1' }],
    [{ ...DOMAIN, chainId: 1 }, PRECOMMIT],
    [{ ...DOMAIN, verifyingContract: WALLET.address as Hex }, PRECOMMIT],
  ] as const) {
    assert.notEqual(recoverSigner('Precommit', domain, value, signature), WALLET.address);
  }
});

test('a signature that contracts would refuse is refused here too', async () => {
  const signature = await signMessage(WALLET, 'Precommit', DOMAIN, PRECOMMIT);
  const { r, s, yParity, compactSerialized } = Signature.from(signature);
  const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
  const high = `0x${(order - BigInt(s)).toString(16).padStart(64, '0')}`;
  const malleable = `${r}${high.slice(2)}${yParity === 0 ? '1c' : '1b'}`;
  for (const bad of [
    '0x',
    '',
    'hello',
    signature.slice(0, -2),
    `${signature}00`,
    `${signature.slice(0, -2)}0${yParity}`,
    compactSerialized,
    malleable,
    `0x${'0'.repeat(128)}1b`,
  ]) {
    assert.throws(() => recoverSigner('Precommit', DOMAIN, PRECOMMIT, bad as Hex), {
      code: 'SIGNATURE_INVALID',
    });
  }
});

test('a value that does not fit its message is refused by the name of the message', () => {
  for (const value of [{ ...PRECOMMIT, taskId: 'short' }, { ...PRECOMMIT, sessionId: -1 }, {}]) {
    assert.throws(() => messageHash('Precommit', DOMAIN, value), {
      code: 'REQUEST_INVALID',
      details: { message: 'Precommit' },
    });
  }
});
