import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import fc from 'fast-check';
import { cidOf, cidOfDigest, digestOf } from '../../../adapters/ipfs/cid.js';

test('well-known blocks have their well-known CIDs', () => {
  const known = {
    // `ipfs add --cid-version 1 --raw-leaves` of an empty file, and of `hello world`.
    '': 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku',
    'hello world': 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e',
  };
  for (const [text, cid] of Object.entries(known)) assert.equal(cidOf(Buffer.from(text)), cid);
});

test('a CID, the digest in it and the hash of the bytes are one', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const cid = cidOf(bytes);
      const digest = `0x${createHash('sha256').update(bytes).digest('hex')}` as const;
      assert.equal(digestOf(cid), digest);
      assert.equal(cidOfDigest(digest), cid);
    }),
  );
});

test('every other kind of CID, and what is none, is refused', () => {
  const others = [
    'QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n',
    'bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354',
    'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvykv1',
    'BAFKREIHDWDCEFGH4DQKJV67UZCMW7OJEE6XEDZDETOJUZJEVTENXQUVYKU',
    '../../etc/passwd',
    '',
  ];
  for (const cid of others) assert.throws(() => digestOf(cid), { code: 'REQUEST_INVALID' }, cid);
  assert.throws(() => cidOfDigest('0x12'), { code: 'REQUEST_INVALID' });
});
