import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Client, Connection } from '@temporalio/client';
import { startTemporal } from '../../servers/start/index.js';
import { Supervisor } from '../../servers/supervise.js';
import { startTimeSkipping } from '../support/workflows.js';
import { temporaryFolder, waitUntil } from './support.js';

describe('startTemporal', () => {
  it('keeps workflows when it is killed, and comes back at the same address', async (t) => {
    const data = temporaryFolder(t);
    const supervisor = await Supervisor.open(data);
    t.after(() => supervisor.stop());
    const options = {
      data,
      supervisor,
      dynamicConfig: { 'history.transferProcessorMaxPollRPS': 2000 },
      searchAttributes: { SessionState: 'Keyword' },
    } as const;
    const { address, uiUrl } = await startTemporal(options);
    assert.ok((await fetch(uiUrl)).ok);
    await withClient(address, async (client) => {
      await client.workflow.start('none', { taskQueue: 'nobody', workflowId: 'kept' });
    });

    const killed = supervisor.pid('temporal') as number;
    process.kill(killed, 'SIGKILL');
    const status = await waitUntil(async () => {
      if (supervisor.pid('temporal') === killed) return false;
      return withClient(address, async (client) => {
        return (await client.workflow.getHandle('kept').describe()).status.name;
      });
    }, 'Temporal to be back');
    assert.equal(status, 'RUNNING');
  });

  it('registers an added search attribute, and refuses another type for one', async (t) => {
    const data = temporaryFolder(t);
    const first = await startTemporal({ data, searchAttributes: { One: 'Keyword' } });
    await first.stop();
    await assert.rejects(
      startTemporal({ data, searchAttributes: { One: 'Int' } }),
      /different type/,
    );
    const searchAttributes = { One: 'Keyword', Two: 'Int' } as const;
    const second = await startTemporal({ data, searchAttributes });
    t.after(second.stop);
    assert.equal(second.address, first.address);
    await withClient(second.address, async ({ connection }) => {
      const { customAttributes } = await connection.operatorService.listSearchAttributes({
        namespace: 'default',
      });
      assert.ok('One' in customAttributes && 'Two' in customAttributes);
    });
  });
});

describe('temporalTestServer', () => {
  it('skips a month in no time', async (t) => {
    const environment = await startTimeSkipping();
    t.after(() => environment.teardown());
    const startMs = await environment.currentTimeMs();
    await environment.sleep('30 days');
    assert.ok((await environment.currentTimeMs()) - startMs >= 30 * 24 * 3_600_000);
  });
});

async function withClient<T>(
  address: string,
  use: (client: Client & { readonly connection: Connection }) => Promise<T>,
): Promise<T> {
  const connection = await Connection.connect({ address, connectTimeout: '20s' });
  try {
    return await use(Object.assign(new Client({ connection }), { connection }));
  } finally {
    await connection.close();
  }
}
