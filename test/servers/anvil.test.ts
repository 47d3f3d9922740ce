import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { startAnvil } from '../../servers/start/index.js';
import { rpc } from '../../servers/start/rpc.js';
import { Supervisor } from '../../servers/supervise.js';
import { temporaryFolder, waitUntil } from './support.js';

/** Deploys a contract that emits an empty log whenever it is called (LOG0 of nothing). */
const LOGGER = '0x6560006000a000600052600660 1af3'.replace(' ', '');

describe('startAnvil', () => {
  it('keeps blocks, receipts, logs and balances when it is killed', async (t) => {
    const data = temporaryFolder(t);
    const supervisor = await Supervisor.open(data);
    t.after(() => supervisor.stop());
    const { rpcUrl } = await startAnvil({
      data,
      supervisor,
      layer: { name: 'main', chainId: 777 },
    });
    const call = (method: string, ...params: unknown[]): Promise<unknown> =>
      rpc(rpcUrl, method, params);
    const [from] = (await call('eth_accounts')) as [string];
    const deployed = await receiptOf(
      rpcUrl,
      await call('eth_sendTransaction', { from, data: LOGGER }),
    );
    const to = deployed.contractAddress;
    const sent = await call('eth_sendTransaction', { from, to });
    const before = await receiptOf(rpcUrl, sent);
    const rich = `0x${'12'.repeat(20)}`;
    await call('anvil_setBalance', rich, '0x64');
    const head = await call('eth_getBlockByNumber', 'latest', false);

    const state = join(data, 'chain/main.json.gz');
    const saved = () => gunzipSync(readFileSync(state)).toString();
    await waitUntil(() => saved().includes(rich), 'the state to be saved, up to the last of it');
    const killed = supervisor.pid('chain-main') as number;
    process.kill(killed, 'SIGKILL');
    await waitUntil(async () => {
      return supervisor.pid('chain-main') !== killed && (await call('eth_chainId')) === '0x309';
    }, 'Anvil to be back');

    assert.deepEqual(await call('eth_getBlockByNumber', 'latest', false), head);
    assert.deepEqual(await call('eth_getTransactionReceipt', sent), before);
    const logs = await call('eth_getLogs', { fromBlock: '0x0', toBlock: 'latest' });
    assert.equal((logs as unknown[]).length, 1);
    assert.equal(await call('eth_getBalance', rich, 'latest'), '0x64');
    const next = await receiptOf(rpcUrl, await call('eth_sendTransaction', { from, to }));
    assert.equal(Number(next.blockNumber), Number(before.blockNumber) + 1);
  });

  it('keeps the last transaction when it is stopped at once', async (t) => {
    const data = temporaryFolder(t);
    const layer = { name: 'main', chainId: 1 };
    const first = await startAnvil({ data, layer });
    const [from] = (await rpc(first.rpcUrl, 'eth_accounts', [])) as [string];
    const sent = await rpc(first.rpcUrl, 'eth_sendTransaction', [{ from, to: from }]);
    await receiptOf(first.rpcUrl, sent);
    await first.stop();
    const second = await startAnvil({ data, layer });
    t.after(second.stop);
    assert.equal(second.rpcUrl, first.rpcUrl);
    assert.equal((await receiptOf(second.rpcUrl, sent)).blockNumber, '0x1');
  });
});

interface Receipt {
  readonly blockNumber: string;
  readonly contractAddress: string;
}

function receiptOf(url: string, hash: unknown): Promise<Receipt> {
  return waitUntil(async () => {
    const receipt = (await rpc(url, 'eth_getTransactionReceipt', [hash])) as Receipt | null;
    return receipt ?? undefined;
  }, 'the receipt');
}
