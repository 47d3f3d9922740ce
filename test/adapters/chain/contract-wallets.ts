/** Accounts that are contracts, in as few instructions as they take. */
import type { Address, Hex } from '../../../domain/ids.js';

/** Code of a wallet with one key: `ecrecover` of the 65 bytes must give the owner. */
export function walletCode(owner: Address): Hex {
  const readHash = '600435' + '5f52';
  const readV = '60a435' + '60f81c' + '602052';
  const readRAndS = '606435' + '604052' + '608435' + '606052';
  const recover = '60205f60805f60015afa' + '50';
  const jumpIfOwner = '5f51' + `73${owner.slice(2).toLowerCase()}` + '14' + '604e57';
  return `0x${readHash}${readV}${readRAndS}${recover}${jumpIfOwner}${answer('ffffffff')}5b${answer('1626ba7e')}`;
}

/** Code that answers every call with four bytes, padded to a word. */
export function answeringCode(bytes4: string): Hex {
  return `0x${answer(bytes4)}`;
}

/** Code that never ends by itself. */
export const ENDLESS_CODE: Hex = '0x5b5f56';
/** Code that reverts without a word. */
export const REVERTING_CODE: Hex = '0x5f5ffd';
/** Code that answers with the four bytes alone. */
export const SHORT_CODE: Hex = '0x631626ba7e60e01b5f5260045ff3';

function answer(bytes4: string): string {
  return `63${bytes4}60e01b5f5260205ff3`;
}
