import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { EngineError } from '../../domain/errors.js';
import { claimPort, isFree } from '../../servers/ports.js';
import { temporaryFolder } from './support.js';

describe('claimPort', () => {
  it('gives the same port again, and others to others', async (t) => {
    const data = temporaryFolder(t);
    const names = ['a', 'b', 'c', 'd'];
    const first = await Promise.all(names.map((name) => claimPort(data, name)));
    assert.equal(new Set(first).size, names.length);
    const second = await Promise.all(names.map((name) => claimPort(data, name)));
    assert.deepEqual(second, first);
  });

  it('takes a new port when a stranger sits on the remembered one', async (t) => {
    const data = temporaryFolder(t);
    const remembered = await claimPort(data, 'a');
    await occupy(t, remembered);
    const next = await claimPort(data, 'a');
    assert.notEqual(next, remembered);
    assert.equal(await claimPort(data, 'a'), next);
  });

  it('refuses a configured port that is taken, and names it', async (t) => {
    const data = temporaryFolder(t);
    const port = await claimPort(data, 'a');
    await occupy(t, port);
    assert.equal(await isFree(port), false);
    await assert.rejects(claimPort(data, 'b', port), (error) => {
      assert.ok(error instanceof EngineError);
      assert.equal(error.code, 'PORT_TAKEN');
      assert.equal(error.details['port'], port);
      return true;
    });
  });
});

async function occupy(t: TestContext, port: number): Promise<void> {
  const stranger = createServer();
  t.after(() => stranger.close());
  stranger.listen(port, '127.0.0.1');
  await once(stranger, 'listening');
}
