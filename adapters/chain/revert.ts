/**
 * Revert data to the name of the contract's error. All contracts' errors are tried, since a contract
 * passes on the errors of those it calls.
 */
import { AbiCoder, Interface, type InterfaceAbi } from 'ethers';
import type { ErrorDetails } from '../../domain/errors.js';
import type { Hex } from '../../domain/ids.js';
import * as artifacts from '../../contracts/abi.js';

/** By contract name, such as `sessionPayment`. */
const CONTRACTS: readonly (readonly [string, Interface])[] = Object.entries(artifacts).flatMap(
  ([name, value]) =>
    name.endsWith('Abi')
      ? [[name.slice(0, -'Abi'.length), new Interface(value as InterfaceAbi)] as const]
      : [],
);

const ERROR_SELECTOR = '0x08c379a0';
const PANIC_SELECTOR = '0x4e487b71';

/**
 * Names what a contract reverted with, as details of TRANSACTION_REVERTED: `error`, the error's
 * arguments by name, and `contract`, the first one that declares it.
 * @param data - revert data; `null` when the node gave none.
 */
export function describeRevert(data: Hex | null): ErrorDetails {
  if (data === null || data === '0x') return { error: 'none', reason: 'reverted without data' };
  for (const [contract, abi] of CONTRACTS) {
    const error = abi.getError(data.slice(0, 10));
    if (error === null) continue;
    const values = abi.decodeErrorResult(error, data);
    const named = error.inputs.map((input, i) => [input.name, String(values[i])] as const);
    return { ...Object.fromEntries(named), error: error.name, contract };
  }
  try {
    const rest = `0x${data.slice(10)}`;
    const coder = AbiCoder.defaultAbiCoder();
    if (data.startsWith(ERROR_SELECTOR)) {
      return { error: 'Error', reason: String(coder.decode(['string'], rest)[0]) };
    }
    if (data.startsWith(PANIC_SELECTOR)) {
      return { error: 'Panic', panicCode: String(coder.decode(['uint256'], rest)[0]) };
    }
  } catch {
    // Data that only looks like one of Solidity's own errors is unknown like any other.
  }
  return { error: 'unknown', selector: data.slice(0, 10) };
}

/**
 * Finds revert data in what ethers throws for a call; ethers itself calls every failure of one a
 * revert, so without data the node's words decide.
 * @returns `null` for a revert without data; `undefined` when the node could not run the call.
 */
export function revertDataOf(error: unknown): Hex | null | undefined {
  if (!(error instanceof Error) || !('code' in error) || error.code !== 'CALL_EXCEPTION') {
    return undefined;
  }
  const data = (error as { data?: unknown }).data;
  if (typeof data === 'string' && data.startsWith('0x')) return data as Hex;
  return /revert|invalid opcode|out of gas/i.test(nodeMessage(error)) ? null : undefined;
}

/** The node's own words in an error of ethers, cut short; ethers' text repeats the whole payload. */
export function nodeMessage(error: unknown): string {
  const { info, error: inner } = error as { info?: { error?: unknown }; error?: unknown };
  const message = ((info?.error ?? inner) as { message?: unknown } | undefined)?.message;
  return typeof message === 'string' ? message.slice(0, 200) : 'the node gave no reason';
}
