import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';
import { inflateSync } from 'node:zlib';
import * as vectors from 'cctv-age';
import fc from 'fast-check';
import { openAtRest, sealAtRest } from '../../../adapters/seal/at-rest.js';
import { createIdentity } from '../../../adapters/seal/identity.js';
import { EngineError } from '../../../domain/errors.js';

const plain = new TextEncoder().encode('what is at rest');

interface Vector {
  readonly fields: ReadonlyMap<string, string>;
  readonly identities: readonly string[];
  readonly file: Uint8Array;
}

/** Reads the header of a vector; the age file follows after an empty line. */
function parseVector(bytes: Uint8Array): Vector {
  const split = Buffer.from(bytes).indexOf('\n\n');
  const lines = Buffer.from(bytes.subarray(0, split)).toString().split('\n');
  const pairs = lines.map((line) => line.split(': ', 2) as [string, string]);
  const fields = new Map(pairs);
  const identities = pairs.flatMap(([key, value]) => (key === 'identity' ? [value] : []));
  const body = bytes.subarray(split + 2);
  const file = fields.get('compressed') === 'zlib' ? inflateSync(body) : body;
  return { fields, identities, file };
}

/** The digest of the contents, or the code of the error. */
async function outcomeOf(file: Uint8Array, identity: string): Promise<string> {
  try {
    return createHash('sha256')
      .update(await openAtRest(file, identity))
      .digest('hex');
  } catch (error) {
    return error instanceof EngineError ? error.code : 'unknown';
  }
}

test('the published vectors of age open, or fail, as they say', async () => {
  let checked = 0;
  for (const [name, bytes] of Object.entries(vectors as unknown as Record<string, Uint8Array>)) {
    if (!(bytes instanceof Uint8Array)) continue;
    const { fields, identities, file } = parseVector(bytes);
    // Passphrases and armor are not in use here.
    if (identities.length === 0 || fields.has('armored') || fields.has('passphrase')) continue;
    const expect = fields.get('expect');
    const failure = expect === 'no match' ? 'SEAL_NOT_RECIPIENT' : 'SEAL_BROKEN';
    const outcome = expect === 'success' ? fields.get('payload') : failure;
    const outcomes = await Promise.all(identities.map((identity) => outcomeOf(file, identity)));
    // Where a vector names several identities, one of them is the reader.
    assert.ok(outcomes.includes(outcome ?? ''), `${name}: ${outcomes.join()}, not ${outcome}`);
    checked++;
  }
  assert.ok(checked > 70, `only ${checked} vectors were applicable`);
});

test('each recipient of a file opens it alone, whatever its kind, and a stranger does not', async () => {
  const readers = [await createIdentity(), await createIdentity({ postQuantum: true })];
  const file = await sealAtRest(
    plain,
    readers.map((r) => r.recipient),
  );
  for (const { identity } of readers) {
    assert.deepEqual(await openAtRest(file, identity), plain);
  }
  for (const postQuantum of [false, true]) {
    const stranger = await createIdentity({ postQuantum });
    await assert.rejects(openAtRest(file, stranger.identity), { code: 'SEAL_NOT_RECIPIENT' });
  }
});

test('any bytes come back as they were', async () => {
  const { identity, recipient } = await createIdentity();
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 2_000 }), async (bytes) => {
      const opened = await openAtRest(await sealAtRest(bytes, [recipient]), identity);
      assert.deepEqual(opened, new Uint8Array(bytes));
    }),
    { numRuns: 25 },
  );
});

test('a file in which any byte was altered, or that was cut short, is an error and never data', async () => {
  const { identity, recipient } = await createIdentity();
  const file = await sealAtRest(plain, [recipient]);
  for (let at = 0; at < file.length; at++) {
    const altered = file.slice();
    altered[at] = (altered[at] ?? 0) ^ (1 << (at % 8));
    await assert.rejects(openAtRest(altered, identity), isSealError, `byte ${at}`);
    await assert.rejects(openAtRest(file.subarray(0, at), identity), { code: 'SEAL_BROKEN' });
  }
});

test('what is no recipient or identity is refused, and not repeated in the error', async () => {
  const { identity } = await createIdentity();
  for (const recipients of [[], ['age1nonsense'], ['']]) {
    await assert.rejects(sealAtRest(plain, recipients), { code: 'REQUEST_INVALID' });
  }
  const secret = identity.replace('1', '2');
  await assert.rejects(openAtRest(plain, secret), (error: unknown) => {
    assert.ok(error instanceof EngineError && error.code === 'REQUEST_INVALID');
    assert.equal(error.cause, undefined);
    return !`${error.message} ${error.stack}`.includes(secret.slice(20));
  });
});

/** A damaged entry of the reader cannot be told from somebody else's. */
function isSealError(error: unknown): boolean {
  return (
    error instanceof EngineError &&
    (error.code === 'SEAL_BROKEN' || error.code === 'SEAL_NOT_RECIPIENT')
  );
}
