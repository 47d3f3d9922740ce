/** The service layer on an Anvil of our own, without a database: a wallet sends what the engine's
 * outbox would, a committee signs, and accounts ask for inferences as contracts do. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { AbiCoder, concat, getAddress, id, Interface, MaxUint256, Wallet } from 'ethers';
import type { InterfaceAbi, TransactionReceipt, TransactionResponse } from 'ethers';
import { deployLayer } from '../../../adapters/chain/deploy.js';
import { merkleRoot, taskLeaf } from '../../../adapters/chain/merkle.js';
import type { Intent } from '../../../adapters/chain/outbox.js';
import { QueueChain } from '../../../adapters/chain/queue.js';
import type { ReceiptSummary } from '../../../adapters/chain/receipt.js';
import { describeRevert, revertDataOf } from '../../../adapters/chain/revert.js';
import { ServiceChain } from '../../../adapters/chain/service.js';
import { settleMessage } from '../../../adapters/chain/settle-message.js';
import { signMessage } from '../../../adapters/chain/sign.js';
import { sessionIdOf } from '../../../adapters/seal/session-id.js';
import { TokenChain } from '../../../adapters/chain/token.js';
import { cortensorTokenAbi, sessionQueueAbi } from '../../../contracts/abi.js';
import { signingDomain } from '../../../domain/attestation.js';
import { EngineError } from '../../../domain/errors.js';
import type { Address, Hex, SessionId } from '../../../domain/ids.js';
import { sumBatch, type SettlementBatch } from '../../../domain/settlement.js';
import type { SettledTask } from '../../../domain/task.js';
import { CHAIN_ID, KEYS, startTestAnvil, type TestAnvil } from './anvil.js';

export const CALLBACK_GAS_PRICE_WEI = 3n;
export const PAYMENT_WEI = 10n ** 18n;
export const TREASURY: Address = '0x00000000000000000000000000000000000000DD';

/** As `requestInference`, but for the prompt as bytes, which are encoded alike. */
const ASK_TYPES = ['bytes32', 'bytes32', 'bytes', 'uint32', 'uint128', 'uint32', 'uint64'];
const ASK =
  new Interface(sessionQueueAbi as unknown as InterfaceAbi).getFunction('requestInference')
    ?.selector ?? '0x';

const MINED_MS = 60_000;

/** What is asked, with defaults. */
export interface Ask {
  readonly reference?: string;
  readonly policyHash?: Hex;
  /** Or bytes that are no text. */
  readonly prompt?: string | Uint8Array;
  readonly maxTokens?: number;
  readonly paymentWei?: bigint;
  readonly callbackGas?: number;
  /** Seconds. */
  readonly timeout?: number;
}

export interface ServiceWorld {
  readonly anvil: TestAnvil;
  readonly contracts: Readonly<Record<string, Address>>;
  readonly queue: QueueChain;
  readonly service: ServiceChain;
  readonly token: TokenChain;
  /** Who asks; an account without code, so it is never called. */
  readonly consumer: Address;
  /** Sends an intent once a key, and waits for its receipt. */
  execute(intent: Intent): Promise<ReceiptSummary>;
  /** How many transactions `execute` has sent. */
  readonly sent: () => number;
  ask(request?: Ask): Promise<SessionId>;
  /** Settles tasks as the committee would, in one batch. */
  settle(...tasks: readonly SettledTask[]): Promise<SettlementBatch>;
  stop(): Promise<void>;
}

export async function startServiceWorld(...args: string[]): Promise<ServiceWorld> {
  const anvil = await startTestAnvil(...args);
  const engine = new Wallet(KEYS[0], anvil.provider);
  const asker = new Wallet(KEYS[1], anvil.provider);
  const oracles = [1, 2].map((n) => new Wallet(id(`oracle ${n}`)));
  const receipts = new Map<string, ReceiptSummary>();

  async function execute(intent: Intent): Promise<ReceiptSummary> {
    const known = receipts.get(intent.key);
    if (known !== undefined) return known;
    const { to, data } = intent;
    try {
      const sent = await engine.sendTransaction({ to, data });
      const summary = toSummary(await mined(sent));
      receipts.set(intent.key, summary);
      return summary;
    } catch (error) {
      const revert = revertDataOf(error);
      if (revert === undefined) throw error;
      throw new EngineError('TRANSACTION_REVERTED', {
        ...describeRevert(revert),
        stage: 'simulation',
      });
    }
  }

  const contracts = await deployLayer({ execute }, 'service', {
    owner: engine.address as Address,
    tokenCapWei: 1_000_000n * PAYMENT_WEI,
    committee: oracles.map(({ address }) => address as Address),
    quorum: 2,
    treasury: TREASURY,
    minimumStakeWei: 1n,
    unbondingSeconds: 60,
    exitSeconds: 60,
    callbackGasPriceWei: CALLBACK_GAS_PRICE_WEI,
  });
  const queue = new QueueChain(anvil.provider, contracts);
  const service = new ServiceChain(anvil.provider, contracts);
  const token = new TokenChain(anvil.provider, contracts);
  const consumer = asker.address as Address;
  await execute({
    key: 'mint',
    layer: 'service',
    ...token.encodeMint(consumer, 1_000n * PAYMENT_WEI),
  });
  const approval = new Interface(cortensorTokenAbi as unknown as InterfaceAbi).encodeFunctionData(
    'approve',
    [service.sessionPayment, MaxUint256],
  );
  await mined(await asker.sendTransaction({ to: token.address, data: approval }));

  let asks = 0;
  return {
    anvil,
    contracts,
    queue,
    service,
    token,
    consumer,
    execute,
    sent: () => receipts.size,

    async ask(request = {}) {
      const { prompt = 'Why is the sky blue?' } = request;
      const clientReference = id(request.reference ?? `request ${++asks}`) as Hex;
      const terms = AbiCoder.defaultAbiCoder().encode(ASK_TYPES, [
        clientReference,
        request.policyHash ?? id('policy'),
        typeof prompt === 'string' ? new TextEncoder().encode(prompt) : prompt,
        request.maxTokens ?? 16,
        request.paymentWei ?? PAYMENT_WEI,
        request.callbackGas ?? 0,
        request.timeout ?? 3_600,
      ]);
      const sent = await asker.sendTransaction({
        to: queue.sessionQueue,
        data: concat([ASK, terms]),
      });
      await mined(sent);
      const { sessionManager } = service;
      return await sessionIdOf({
        chainId: CHAIN_ID,
        sessionManager,
        owner: consumer,
        clientReference,
      });
    },

    async settle(...tasks) {
      const root = merkleRoot(tasks.map(taskLeaf));
      const batch: SettlementBatch = { version: 1, batchId: root, root, tasks, ...sumBatch(tasks) };
      const domain = signingDomain(CHAIN_ID, service.sessionPayment);
      const signatures = await Promise.all(
        oracles
          .toSorted((a, b) => (BigInt(a.address) < BigInt(b.address) ? -1 : 1))
          .map((oracle) => signMessage(oracle, 'Settle', domain, settleMessage(batch))),
      );
      const write = service.encodeSettle(batch, signatures);
      await execute({ key: `settle:${root}`, layer: 'service', ...write });
      return batch;
    },

    stop: () => anvil.stop(),
  };
}

/** Anvil mines at once; ethers' own wait looks every four seconds only. */
async function mined(sent: TransactionResponse): Promise<TransactionReceipt> {
  for (const deadline = Date.now() + MINED_MS; ; await delay(2)) {
    const receipt = await sent.provider.getTransactionReceipt(sent.hash);
    if (receipt !== null) return receipt;
    assert.ok(Date.now() < deadline, `${sent.hash} is not mined`);
  }
}

function toSummary(receipt: TransactionReceipt): ReceiptSummary {
  return {
    hash: receipt.hash as Hex,
    blockNumber: receipt.blockNumber,
    contractAddress: receipt.contractAddress as Address | null,
    logs: receipt.logs.map((log) => ({
      address: getAddress(log.address) as Address,
      topics: log.topics as readonly Hex[],
      data: log.data as Hex,
    })),
  };
}
