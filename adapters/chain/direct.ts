/**
 * One transaction of a person with a key, without the engine's outbox: nothing is stored, so nobody
 * but the chain knows whether an earlier attempt went through. Callers look at its state first.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { BaseWallet, JsonRpcProvider } from 'ethers';
import { EngineError } from '../../domain/errors.js';
import type { Hex } from '../../domain/ids.js';
import { ChainAccount } from './account.js';
import type { Write } from './contract.js';
import { explainRevert, summarise, type ReceiptSummary } from './receipt.js';

/** Pause between two looks at the chain. */
const POLL_MS = 250;
/** Limit for one transaction, from its broadcast until it is final. */
const CONFIRM_MS = 300_000;

/** Who sends, and where. */
export interface Sender {
  readonly provider: JsonRpcProvider;
  readonly chainId: number;
  /** Blocks on top of a receipt's before it is final. */
  readonly confirmations: number;
  readonly wallet: Pick<BaseWallet, 'address' | 'signingKey'>;
}

/**
 * Simulates, signs and sends a call, and waits until it is final.
 * @param onSent - called with the transaction's hash once the node has it.
 * @throws TRANSACTION_REVERTED — the contract refuses; from the simulation nothing was sent.
 * @throws TRANSACTION_PENDING — the sender cannot pay for gas, or it is not final in five minutes;
 *   `hash` in the details names what was sent.
 * @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH
 */
export async function sendDirect(
  sender: Sender,
  write: Write,
  onSent: (hash: Hex) => void = () => {},
): Promise<ReceiptSummary> {
  const { provider, confirmations } = sender;
  const account = new ChainAccount(provider, sender.chainId, sender.wallet);
  const fees = await account.suggestFees();
  const [gasLimit, nonce] = await Promise.all([
    account.simulate(write, fees),
    provider.getTransactionCount(account.address, 'pending'),
  ]);
  const attempt = account.sign(write, nonce, gasLimit, fees);
  if ((await account.broadcast(attempt)) !== 'accepted') {
    throw new EngineError('TRANSACTION_PENDING', {
      reason: 'another transaction of the signer was first; repeat the command',
      hash: attempt.hash,
    });
  }
  onSent(attempt.hash);
  for (const deadline = Date.now() + CONFIRM_MS; Date.now() < deadline; await delay(POLL_MS)) {
    const receipt = await provider.getTransactionReceipt(attempt.hash);
    if (receipt === null) continue;
    if ((await provider.getBlockNumber()) < receipt.blockNumber + confirmations) continue;
    if (receipt.status === 1) return summarise({ signer: account.address, nonce }, receipt);
    const sent = { signer: account.address, attempts: [attempt] };
    const revert = await explainRevert(provider, sent, receipt);
    throw new EngineError('TRANSACTION_REVERTED', { ...revert, hash: attempt.hash });
  }
  throw new EngineError('TRANSACTION_PENDING', { hash: attempt.hash });
}
