/**
 * A contract at an address, with its ABI's types: a misspelt function or a wrong argument does not
 * compile. Reads give plain values (structs as objects, small integers as numbers, addresses with
 * checksum); writes only encode, since sending is the outbox's business.
 */
import { Interface } from 'ethers';
import type { InterfaceAbi, JsonRpcProvider, Log, ParamType } from 'ethers';
import type {
  Abi,
  AbiParametersToPrimitiveTypes,
  AbiStateMutability,
  ExtractAbiFunction,
  ExtractAbiFunctionNames,
} from 'abitype';
import type { LayerConfig } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import type { Address, Hex } from '../../domain/ids.js';
import type { Call } from './account.js';
import { describeRevert, nodeMessage, revertDataOf } from './revert.js';

/** An encoded write, ready for the outbox. */
export type Write = Call & { readonly to: Address };

type Inputs<A extends Abi, Name extends string> = AbiParametersToPrimitiveTypes<
  ExtractAbiFunction<A, Name>['inputs']
>;
type Outputs<A extends Abi, Name extends string> = AbiParametersToPrimitiveTypes<
  ExtractAbiFunction<A, Name>['outputs'],
  'outputs'
>;
type Names<A extends Abi, Mutability extends AbiStateMutability> = ExtractAbiFunctionNames<
  A,
  Mutability
>;

/** An event, by the names of its arguments. */
export interface FoundEvent {
  readonly args: Record<string, unknown>;
  /** Hash of the transaction that emitted it. */
  readonly transaction: Hex;
}

/** Blocks asked for logs at once: what public nodes allow. */
const LOG_WINDOW = 10_000;

export class BoundContract<const A extends Abi> {
  readonly address: Address;
  readonly #provider: JsonRpcProvider;
  readonly #abi: Interface;

  constructor(provider: JsonRpcProvider, address: Address, abi: A) {
    this.address = address;
    this.#provider = provider;
    this.#abi = new Interface(abi as unknown as InterfaceAbi);
  }

  encode<Name extends Names<A, 'nonpayable'>>(name: Name, args: Inputs<A, Name>): Write {
    const data = this.#abi.encodeFunctionData(name, args as readonly unknown[]) as Hex;
    return { to: this.address, data };
  }

  /** Reads at the newest block, or at the end of the one with this number.
   * @returns all outputs of the function, in order.
   * @throws CHAIN_MISMATCH — no such contract lies at the address.
   * @throws TRANSACTION_REVERTED — the function refused. @throws CHAIN_UNREACHABLE */
  async read<Name extends Names<A, 'view' | 'pure'>>(
    name: Name,
    args: Inputs<A, Name>,
    block?: number,
  ): Promise<Outputs<A, Name>> {
    const fragment = this.#abi.getFunction(name);
    if (fragment === null) throw new EngineError('INTERNAL', { function: name });
    const data = this.#abi.encodeFunctionData(fragment, args as readonly unknown[]);
    const result = await this.#call(name, data, block);
    try {
      const values = this.#abi.decodeFunctionResult(fragment, result);
      return fragment.outputs.map((type, i) => plain(type, values[i])) as Outputs<A, Name>;
    } catch {
      // Nothing came back, or something else than the ABI says.
      throw new EngineError('CHAIN_MISMATCH', { contract: this.address, function: name });
    }
  }

  async #call(name: string, data: string, block?: number): Promise<string> {
    try {
      return await this.#provider.call({ to: this.address, data, blockTag: block ?? 'latest' });
    } catch (error) {
      if (error instanceof EngineError) throw error;
      const data = revertDataOf(error);
      if (data === undefined) {
        throw new EngineError(
          'CHAIN_UNREACHABLE',
          { reason: nodeMessage(error) },
          { cause: error },
        );
      }
      const details = { ...describeRevert(data), to: this.address, function: name };
      throw new EngineError('TRANSACTION_REVERTED', details, { cause: error });
    }
  }

  /** The arguments of an event in a receipt's logs, by name; `null` when the contract did not emit it. */
  parseEvent(
    logs: readonly { readonly address: string; readonly topics: readonly string[]; data: string }[],
    event: string,
  ): Record<string, unknown> | null {
    for (const log of logs) {
      if (log.address.toLowerCase() !== this.address.toLowerCase()) continue;
      const parsed = this.#abi.parseLog(log);
      if (parsed?.name === event) return parsed.args.toObject();
    }
    return null;
  }

  /** Finds the last event whose first indexed argument has a value, from the newest block back.
   * @throws CHAIN_UNREACHABLE — also where the node refuses to search. */
  async findEvent(event: string, firstTopic: bigint): Promise<FoundEvent | null> {
    const topics = this.#abi.encodeFilterTopics(event, [firstTopic]);
    for (let to = await this.#provider.getBlockNumber(); to >= 0; to -= LOG_WINDOW) {
      const fromBlock = Math.max(0, to - LOG_WINDOW + 1);
      const logs = await this.#logs({ address: this.address, topics, fromBlock, toBlock: to });
      const found = logs.at(-1);
      if (found === undefined) continue;
      const args = this.parseEvent([found], event);
      return args === null ? null : { args, transaction: found.transactionHash as Hex };
    }
    return null;
  }

  /** Finds the first event with these indexed arguments (`null`: any) in a few blocks.
   * @returns its data, undecoded: texts in it need not be well-formed. `null`: the node has none.
   * @throws CHAIN_UNREACHABLE — also where the node refuses to search. */
  async findEventData(
    event: string,
    indexed: readonly (bigint | null)[],
    range: { readonly fromBlock: number; readonly toBlock: number },
  ): Promise<Hex | null> {
    const topics = this.#abi.encodeFilterTopics(event, indexed);
    const [found] = await this.#logs({ address: this.address, topics, ...range });
    return (found?.data ?? null) as Hex | null;
  }

  async #logs(filter: Parameters<JsonRpcProvider['getLogs']>[0]): Promise<Log[]> {
    try {
      return await this.#provider.getLogs(filter);
    } catch (cause) {
      if (cause instanceof EngineError) throw cause;
      throw new EngineError('CHAIN_UNREACHABLE', { reason: 'logs were refused' }, { cause });
    }
  }
}

/** Looks up a contract's address in a layer's configuration.
 * @throws CONFIG_INVALID — it is not there. */
export function addressOf(contracts: LayerConfig['contracts'], name: string): Address {
  const address = contracts[name];
  if (address === undefined) {
    throw new EngineError('CONFIG_INVALID', { what: 'address of a contract', contract: name });
  }
  return address;
}

/** Largest integer type whose values are read as `number`, as abitype has it. */
const MAX_NUMBER_BITS = 48;

function plain(type: ParamType, value: unknown): unknown {
  if (type.isArray()) return [...(value as unknown[])].map((v) => plain(type.arrayChildren, v));
  if (type.isTuple()) {
    const values = value as readonly unknown[];
    return Object.fromEntries(
      type.components.map((part, i) => [part.name, plain(part, values[i])]),
    );
  }
  const bits = /^u?int(\d+)$/.exec(type.type)?.[1];
  return bits !== undefined && Number(bits) <= MAX_NUMBER_BITS ? Number(value) : value;
}
