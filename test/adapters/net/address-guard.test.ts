import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  checkHost,
  findRefusal,
  guardedLookup,
  isAllowed,
} from '../../../adapters/net/address-guard.js';

const STRICT = { allowPrivate: false };
const LOOSE = { allowPrivate: true };

/** Loopback, private (RFC 1918, 4193, 6598), in every form that a socket takes. */
const PRIVATE = [
  '127.0.0.1',
  '127.255.255.254',
  '10.0.0.1',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '100.64.0.1',
  '::1',
  'fd00:ec2::254',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '::ffff:10.1.2.3',
];
/** Nobody's, or the metadata services of clouds. */
const CLOSED = [
  '0.0.0.0',
  '::',
  '169.254.169.254',
  '::ffff:169.254.169.254',
  'fe80::1',
  'fe80::1%eth0',
  '224.0.0.1',
  'ff02::1',
  '255.255.255.255',
  '240.0.0.1',
  '192.0.2.1',
  '64:ff9b::a9fe:a9fe',
  '2002:7f00:1::',
  'not an address',
  '',
];

test('addresses of the machine and its network are closed unless a sink opens them', () => {
  for (const address of PRIVATE) {
    assert.equal(isAllowed(address, STRICT), false, address);
    assert.equal(isAllowed(address, LOOSE), true, address);
  }
});

test('link-local and reserved addresses stay closed whatever a sink allows', () => {
  for (const address of CLOSED) {
    assert.equal(isAllowed(address, STRICT), false, address);
    assert.equal(isAllowed(address, LOOSE), false, address);
  }
});

test('addresses of the public network are open', () => {
  for (const address of ['1.1.1.1', '93.184.216.34', '2606:4700::1111', '[2606:4700::1111]']) {
    assert.equal(isAllowed(address, STRICT), true, address);
  }
});

test('an IPv4 address is judged alike in its own form and as IPv6', () => {
  fc.assert(
    fc.property(fc.ipV4(), fc.boolean(), (address, allowPrivate) => {
      const rules = { allowPrivate };
      assert.equal(isAllowed(`::ffff:${address}`, rules), isAllowed(address, rules));
    }),
  );
});

test('hosts that are written as addresses are checked without a look-up, names are left to it', () => {
  assert.throws(() => checkHost('[::1]', STRICT), { code: 'ADDRESS_REFUSED' });
  assert.throws(() => checkHost('169.254.169.254', LOOSE), { code: 'ADDRESS_REFUSED' });
  checkHost('localhost', STRICT);
});

test('a socket does not connect to a name whose address is closed, and the refusal is found', async () => {
  const socket = connect({ port: 9, host: 'localhost', lookup: guardedLookup(STRICT) });
  const [error] = (await once(socket, 'error').catch((cause: unknown) => [cause])) as [unknown];
  assert.equal(findRefusal(error)?.code, 'ADDRESS_REFUSED');
  assert.equal(findRefusal(new AggregateError([new Error('x'), error]))?.code, 'ADDRESS_REFUSED');
});
