import assert from 'node:assert/strict';
import test from 'node:test';
import { AbiCoder, getAddress, sha256 } from 'ethers';
import fc from 'fast-check';
import { cidOf, digestOf } from '../../../adapters/ipfs/cid.js';
import { encodeJson } from '../../../adapters/ipfs/canonical.js';
import { policyHashOf, sessionIdOf } from '../../../adapters/seal/session-id.js';
import { parseSessionId, type Address, type Hex } from '../../../domain/ids.js';
import { parsePolicy } from '../../../domain/session.js';

const hex = (length: number): fc.Arbitrary<Hex> =>
  fc
    .uint8Array({ minLength: length, maxLength: length })
    .map((bytes): Hex => `0x${Buffer.from(bytes).toString('hex')}`);

test('a session id is what the contract computes from the ABI encoding', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
      hex(20),
      hex(20),
      hex(32),
      async (chainId, sessionManager, owner, clientReference) => {
        const encoded = AbiCoder.defaultAbiCoder().encode(
          ['uint256', 'address', 'address', 'bytes32'],
          [chainId, sessionManager, owner, clientReference],
        );
        const id = await sessionIdOf({ chainId, sessionManager, owner, clientReference });
        assert.equal(id, (BigInt(sha256(encoded)) >> 193n).toString());
        assert.equal(parseSessionId(id), id);
      },
    ),
  );
});

test('the case of an address does not change a session id', async () => {
  const owner = getAddress('0xabcdefabcdefabcdefabcdefabcdefabcdefabcd') as Address;
  const origin = {
    chainId: 31337,
    sessionManager: `0x${'1'.repeat(40)}`,
    clientReference: `0x${'2'.repeat(64)}`,
  } as const;
  assert.equal(
    await sessionIdOf({ ...origin, owner }),
    await sessionIdOf({ ...origin, owner: owner.toLowerCase() as Address }),
  );
});

test('fields that do not fit their words are refused', async () => {
  const origin = {
    chainId: 1,
    sessionManager: `0x${'1'.repeat(40)}`,
    owner: `0x${'2'.repeat(40)}`,
    clientReference: `0x${'3'.repeat(64)}`,
  } as const;
  const wrong = [
    { chainId: -1 },
    { chainId: 1.5 },
    { sessionManager: `0x${'1'.repeat(39)}` },
    { owner: `0x${'g'.repeat(40)}` },
    { clientReference: `0x${'3'.repeat(62)}` },
  ] as const;
  for (const field of wrong) {
    await assert.rejects(sessionIdOf({ ...origin, ...field }), { code: 'REQUEST_INVALID' });
  }
});

test('a policy hash is the digest of the CID of the policy', async () => {
  const policy = parsePolicy({
    model: 'smollm2-135m',
    redundancy: 3,
    level: 'sealed',
    priceCeilingWei: '1000000000',
    maxTasks: 1_000,
    idleSeconds: 600,
    taskSeconds: 60,
  });
  assert.equal(await policyHashOf(policy), digestOf(cidOf(encodeJson(policy))));
});
