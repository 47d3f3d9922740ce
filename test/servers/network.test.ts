import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { EngineError } from '../../domain/errors.js';
import type { SupervisorEvent } from '../../servers/spec.js';
import { startServers } from '../../servers/network.js';
import { rpc } from '../../servers/start/rpc.js';
import { Supervisor } from '../../servers/supervise.js';
import { isAlive, temporaryFolder } from './support.js';

const layers = [
  { name: 'onboarding', chainId: 31_337 },
  { name: 'health', chainId: 31_338 },
];

describe('startServers', () => {
  it('starts only what is named, under the supervisor that is given', async (t) => {
    const data = temporaryFolder(t);
    const supervisor = await Supervisor.open(data);
    t.after(() => supervisor.stop());
    const servers = await startServers({ data, supervisor, layers, which: ['chains'] });
    const ids = await Promise.all(
      Object.values(servers.chains).map((url) => rpc(url, 'eth_chainId', [])),
    );
    assert.deepEqual(ids, ['0x7a69', '0x7a6a']);
    assert.equal(supervisor.pid('postgres'), undefined);
    await servers.stop();
    assert.equal(supervisor.pid('chain-health'), undefined);
  });

  it('leaves none behind when one of them fails', async (t) => {
    const data = temporaryFolder(t);
    const stranger = createServer().listen(0, '127.0.0.1');
    t.after(() => stranger.close());
    await once(stranger, 'listening');
    const { port } = stranger.address() as AddressInfo;
    const events: SupervisorEvent[] = [];
    const start = startServers({
      data,
      which: ['chains', 'ipfs'],
      layers,
      configured: { ipfs: { port } },
      onEvent: (event) => events.push(event),
    });
    await assert.rejects(
      start,
      (error) => error instanceof EngineError && error.code === 'PORT_TAKEN',
    );
    const started = events.flatMap((event) => (event.kind === 'ready' ? [event.pid] : []));
    assert.equal(started.length, layers.length);
    assert.ok(started.every((pid) => !isAlive(pid)));
    assert.deepEqual(readdirSync(join(data, 'run')), []);
  });
});
