/** Signatures of contracts (ERC-1271), asked for on a chain. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { getCreateAddress, hashMessage, Wallet } from 'ethers';
import { isContractSignature } from '../../../adapters/chain/contract-wallet.js';
import { openProvider } from '../../../adapters/chain/provider.js';
import type { Address, Hex } from '../../../domain/ids.js';
import { CHAIN_ID, startTestAnvil, WALLET, type TestAnvil } from './anvil.js';
import {
  answeringCode,
  ENDLESS_CODE,
  REVERTING_CODE,
  SHORT_CODE,
  walletCode,
} from './contract-wallets.js';

const OWNER = new Wallet(`0x${'01'.repeat(32)}`);
const DIGEST = hashMessage('let me in') as Hex;

let anvil: TestAnvil;
before(async () => {
  anvil = await startTestAnvil();
});
after(async () => {
  await anvil.stop();
});

/** Puts code on chain by a transaction. */
async function deploy(code: Hex): Promise<Address> {
  const length = ((code.length - 2) / 2).toString(16).padStart(2, '0');
  const from = WALLET.connect(anvil.provider);
  const nonce = await from.getNonce();
  const data = `0x60${length}8060095f395ff3${code.slice(2)}`;
  await (await from.sendTransaction({ data })).wait();
  return getCreateAddress({ from: WALLET.address, nonce }) as Address;
}

const sign = (digest: Hex, wallet: Pick<Wallet, 'signingKey'> = OWNER) =>
  wallet.signingKey.sign(digest).serialized as Hex;

test('a contract says what its key has signed, and nothing else', async () => {
  const wallet = await deploy(walletCode(OWNER.address as Address));
  const isSigned = (digest: Hex, signature: Hex) =>
    isContractSignature(anvil.provider, wallet, digest, signature);
  assert.equal(await isSigned(DIGEST, sign(DIGEST)), true);
  assert.equal(await isSigned(hashMessage('let me out') as Hex, sign(DIGEST)), false);
  assert.equal(await isSigned(DIGEST, sign(DIGEST, Wallet.createRandom())), false);
  assert.equal(await isSigned(DIGEST, '0x'), false);
});

for (const [name, code] of [
  ['says no', answeringCode('ffffffff')],
  ['answers true', answeringCode('00000001')],
  ['answers less than a word', SHORT_CODE],
  ['reverts', REVERTING_CODE],
  ['never ends', ENDLESS_CODE],
] as const) {
  test(`a contract that ${name} has signed nothing`, async () => {
    const wallet = await deploy(code);
    assert.equal(await isContractSignature(anvil.provider, wallet, DIGEST, sign(DIGEST)), false);
  });
}

test('an account without code has signed nothing', async () => {
  const plain = OWNER.address as Address;
  assert.equal(await isContractSignature(anvil.provider, plain, DIGEST, sign(DIGEST)), false);
});

test('a chain that cannot be reached, or is another one, is no refusal', async () => {
  const wallet = await deploy(walletCode(OWNER.address as Address));
  const ask = async (chainId: number, url: string) => {
    const provider = openProvider({ chainId, rpcUrls: [url] });
    try {
      return await isContractSignature(provider, wallet, DIGEST, sign(DIGEST));
    } finally {
      provider.destroy();
    }
  };
  await assert.rejects(ask(CHAIN_ID, 'http://127.0.0.1:2'), { code: 'CHAIN_UNREACHABLE' });
  await assert.rejects(ask(CHAIN_ID + 1, anvil.url), { code: 'CHAIN_MISMATCH' });
});
