/** The service chain as whoever drives the whole network handles it: blocks that come by the clock, transactions of users and
 * miners, and what chains do to those who trust them too early. */
import { Interface, isError, toQuantity, type InterfaceAbi, type Wallet } from 'ethers';
import type { WholeNetwork } from './whole-network.js';
import { cortensorTokenAbi, sessionPaymentAbi } from '../../contracts/abi.js';
import { EngineError } from '../../domain/errors.js';
import type { Address, SessionId } from '../../domain/ids.js';

const TOKEN = new Interface(cortensorTokenAbi as unknown as InterfaceAbi);
const PAYMENT = new Interface(sessionPaymentAbi as unknown as InterfaceAbi);

const BLOCK_MS = 400;
const GAS_WEI = 10n ** 20n;

/** Blocks come from its construction until `stop`. */
export class ServiceChainHand {
  readonly #network: WholeNetwork;
  readonly #token: Address;
  readonly #payment: Address;
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #clock: NodeJS.Timeout;
  #isMining = false;
  /** Blocks up to this one have no state to go back to: Anvil keeps it for what it has run itself. */
  #loadedBlock = 0;
  #aheadSeconds = 0;

  constructor(network: WholeNetwork) {
    this.#network = network;
    this.#payment = network.chains.service.sessionPayment;
    this.#token = network.config.layers.service.contracts['token'] as Address;
    this.#clock = setInterval(() => void this.#mine(), BLOCK_MS);
  }

  get token(): Address {
    return this.#token;
  }

  get payment(): Address {
    return this.#payment;
  }

  stop(): void {
    clearInterval(this.#clock);
  }

  /** Gives everybody who sends transactions of their own the gas for them. */
  async fundGas(): Promise<void> {
    const { users, miners } = this.#network;
    for (const { address } of [...users, ...miners]) {
      await this.#send('anvil_setBalance', [address, toQuantity(GAS_WEI)]);
    }
    this.#loadedBlock = await this.#network.service.getBlockNumber();
  }

  /** Called when the chain has come back from disk. */
  async restarted(): Promise<void> {
    this.#loadedBlock = await this.#network.service.getBlockNumber();
    // Its clock is the machine's again; time that has passed on a chain does not come back.
    if (this.#aheadSeconds > 0) await this.#send('evm_increaseTime', [this.#aheadSeconds]);
  }

  async jump(seconds: number): Promise<void> {
    await this.#send('evm_increaseTime', [seconds]);
    this.#aheadSeconds += seconds;
    await this.#mine();
  }

  /** Takes the newest blocks back, and puts others in their place.
   * @param isForked - other transactions than those that were there; empty blocks otherwise.
   * @returns how many blocks were taken back. */
  async reorganise(depth: number, isForked: boolean): Promise<number> {
    const head = await this.#network.service.getBlockNumber();
    const blocks = Math.min(depth, head - this.#loadedBlock - 1);
    if (blocks < 1) return 0;
    if (isForked) {
      await this.#send('anvil_rollback', [blocks]);
      const [from, to] = this.#network.users;
      if (from !== undefined && to !== undefined) await this.transfer(from.wallet, to.address, 1n);
    } else {
      await this.#send('anvil_reorg', [blocks, []]);
    }
    return blocks;
  }

  transfer(from: Wallet, to: Address, amountWei: bigint): Promise<void> {
    return this.#transact(from, this.#token, TOKEN.encodeFunctionData('transfer', [to, amountWei]));
  }

  /** Approves and deposits as any wallet does, without a word to the engine. */
  async deposit(from: Wallet, sessionId: SessionId, amountWei: bigint): Promise<void> {
    const approval = TOKEN.encodeFunctionData('approve', [this.#payment, amountWei]);
    await this.#transact(from, this.#token, approval);
    await this.#call(from, 'deposit', [BigInt(sessionId), amountWei]);
  }

  requestExit(owner: Wallet, sessionId: SessionId): Promise<void> {
    return this.#call(owner, 'requestExit', [BigInt(sessionId)]);
  }

  exit(owner: Wallet, sessionId: SessionId): Promise<void> {
    return this.#call(owner, 'exit', [BigInt(sessionId)]);
  }

  withdrawEarnings(earner: Wallet): Promise<void> {
    return this.#call(earner, 'withdraw', []);
  }

  #call(from: Wallet, name: string, args: readonly unknown[]): Promise<void> {
    return this.#transact(from, this.#payment, PAYMENT.encodeFunctionData(name, args));
  }

  /** One transaction of an account at a time, so that each finds its nonce. It is mined at once. */
  async #transact(from: Wallet, to: Address, data: string): Promise<void> {
    const { service } = this.#network;
    const before = this.#turns.get(from.address) ?? Promise.resolve();
    const turn = before.then(async () => {
      await from.connect(service).sendTransaction({ to, data }).catch(fail);
    });
    this.#turns.set(
      from.address,
      turn.catch(() => undefined),
    );
    await turn;
  }

  async #mine(): Promise<void> {
    if (this.#isMining) return;
    this.#isMining = true;
    try {
      await this.#send('evm_mine', []);
    } catch {
      // It was killed, and comes back; the clock goes on.
    } finally {
      this.#isMining = false;
    }
  }

  #send(method: string, params: unknown[]): Promise<unknown> {
    return this.#network.service.send(method, params).catch(fail);
  }
}

/** @throws EngineError — the contract refused, or the chain is away, restarted or reorganised. */
function fail(cause: unknown): never {
  const code = isError(cause, 'CALL_EXCEPTION') ? 'TRANSACTION_REVERTED' : 'CHAIN_UNREACHABLE';
  throw new EngineError(code, {}, { cause });
}
