import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Wallet } from 'ethers';
import { sendDirect, type Sender } from '../../../adapters/chain/direct.js';
import { EngineError } from '../../../domain/errors.js';
import type { Address, Hex } from '../../../domain/ids.js';
import { CHAIN_ID, startTestAnvil, WALLET, type TestAnvil } from './anvil.js';

/** Stores nothing and returns. */
const CODE = '0x00';
/** revert(0, 0) */
const REVERTS = '0x60006000fd';
const TO: Address = `0x${'c0'.repeat(20)}`;
const WRITE = { to: TO, data: '0x1234' as Hex };

let anvil: TestAnvil;
let sender: Sender;
before(async () => {
  anvil = await startTestAnvil('--no-mining');
  sender = { provider: anvil.provider, chainId: CHAIN_ID, confirmations: 0, wallet: WALLET };
});
after(() => anvil.stop());

function mine(): void {
  anvil.rpc('anvil_mine').catch(() => {});
}

async function refusal(sending: Promise<unknown>): Promise<EngineError> {
  try {
    await sending;
  } catch (error) {
    assert.ok(error instanceof EngineError, String(error));
    return error;
  }
  assert.fail('expected an error');
}

test('sendDirect: sends a call once, and waits until it is final', async () => {
  await anvil.rpc('anvil_setCode', TO, CODE);
  const sent: Hex[] = [];
  const receipt = await sendDirect({ ...sender, confirmations: 2 }, WRITE, (hash) => {
    sent.push(hash);
    anvil.rpc('anvil_mine', '0x3').catch(() => {});
  });
  assert.deepEqual(sent, [receipt.hash]);
  assert.ok((await anvil.provider.getBlockNumber()) >= receipt.blockNumber + 2);
  const transaction = await anvil.provider.getTransaction(receipt.hash);
  assert.deepEqual([transaction?.to, transaction?.data], [transaction?.to, WRITE.data]);
});

test('sendDirect: sends nothing that the contract would refuse', async () => {
  await anvil.rpc('anvil_setCode', TO, REVERTS);
  const nonce = await anvil.provider.getTransactionCount(WALLET.address, 'pending');
  const { code, details } = await refusal(sendDirect(sender, WRITE));
  assert.equal(code, 'TRANSACTION_REVERTED');
  assert.equal(details['stage'], 'simulation');
  assert.equal(await anvil.provider.getTransactionCount(WALLET.address, 'pending'), nonce);
});

test('sendDirect: names the transaction that reverted when it was mined', async () => {
  await anvil.rpc('anvil_setCode', TO, CODE);
  let sent = '';
  const sending = sendDirect(sender, WRITE, (hash) => {
    sent = hash;
    anvil.rpc('anvil_setCode', TO, REVERTS).then(mine, () => {});
  });
  const { code, details } = await refusal(sending);
  assert.equal(code, 'TRANSACTION_REVERTED');
  assert.equal(details['hash'], sent);
});

test('sendDirect: says that the sender cannot pay for gas', async () => {
  const wallet = new Wallet(`0x${'77'.repeat(32)}`);
  await anvil.rpc('anvil_setCode', TO, CODE);
  const { code, message } = await refusal(sendDirect({ ...sender, wallet }, WRITE));
  assert.equal(code, 'TRANSACTION_PENDING');
  assert.match(message, /gas/);
});
