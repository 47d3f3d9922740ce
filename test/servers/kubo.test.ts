import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startKubo } from '../../servers/start/index.js';
import { Supervisor } from '../../servers/supervise.js';
import { temporaryFolder, waitUntil } from './support.js';

describe('startKubo', () => {
  it('keeps what was added when it is killed, and comes back on the same ports', async (t) => {
    const data = temporaryFolder(t);
    const supervisor = await Supervisor.open(data);
    t.after(() => supervisor.stop());
    const { apiUrl, gatewayUrl } = await startKubo({ data, supervisor });
    const body = new FormData();
    body.append('file', new Blob(['kept']));
    const added = await fetch(`${apiUrl}/api/v0/add?cid-version=1`, { method: 'POST', body });
    const { Hash: cid } = (await added.json()) as { Hash: string };

    const killed = supervisor.pid('ipfs') as number;
    process.kill(killed, 'SIGKILL');
    const text = await waitUntil(async () => {
      if (supervisor.pid('ipfs') === killed) return false;
      const response = await fetch(`${apiUrl}/api/v0/cat?arg=${cid}`, { method: 'POST' });
      return response.ok && response.text();
    }, 'Kubo to be back');
    assert.equal(text, 'kept');
    assert.equal(await (await fetch(`${gatewayUrl}/ipfs/${cid}`)).text(), 'kept');
  });

  it('talks to nobody', async (t) => {
    const { apiUrl, stop } = await startKubo({ data: temporaryFolder(t) });
    t.after(stop);
    const ask = async (command: string): Promise<unknown> =>
      (await fetch(`${apiUrl}/api/v0/${command}`, { method: 'POST' })).json();
    assert.deepEqual(await ask('bootstrap/list'), { Peers: [] });
    const swarm = (await ask('config?arg=Addresses.Swarm')) as { Value: unknown };
    assert.deepEqual(swarm.Value, []);
  });
});
