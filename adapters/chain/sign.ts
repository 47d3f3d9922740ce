/**
 * Signatures over the network's messages, EIP-712 (https://eips.ethereum.org/EIPS/eip-712). The types
 * are those of domain/attestation.ts; contracts hash the same ones.
 */
import {
  concat,
  keccak256,
  recoverAddress,
  TypedDataEncoder,
  type BaseWallet,
  type TypedDataField,
} from 'ethers';
import { MESSAGE_TYPES, type MessageType, type SigningDomain } from '../../domain/attestation.js';
import { EngineError } from '../../domain/errors.js';
import type { Address, Hex } from '../../domain/ids.js';

/** Fields of a message by name; amounts as `bigint` or decimal string. */
export type MessageValue = Readonly<Record<string, string | number | bigint | readonly string[]>>;

/** What contracts take: r, s and v of 27 or 28. The 64-byte form of EIP-2098 is refused there too. */
const SIGNATURE = /^0x[0-9a-f]{128}1[bc]$/i;

/** How messages are encoded: worked out once a type. */
const encoders = new Map<MessageType, TypedDataEncoder>();
/** What binds messages to a contract: hashed once a contract. */
const separators = new Map<string, string>();
/** Contracts that are remembered: a deployment has a dozen. */
const MAX_SEPARATORS = 256;

/** The digest that is signed.
 * @throws REQUEST_INVALID — a field is missing or not of its type. */
export function messageHash(type: MessageType, domain: SigningDomain, value: MessageValue): Hex {
  try {
    const parts = ['0x1901', separatorOf(domain), encoderOf(type).hash(value)];
    return keccak256(concat(parts)) as Hex;
  } catch {
    // No cause: ethers puts the value into its message.
    throw new EngineError('REQUEST_INVALID', { message: type });
  }
}

function encoderOf(type: MessageType): TypedDataEncoder {
  let encoder = encoders.get(type);
  if (encoder === undefined) {
    const fields = MESSAGE_TYPES[type] as readonly TypedDataField[];
    encoder = TypedDataEncoder.from({ [type]: [...fields] });
    encoders.set(type, encoder);
  }
  return encoder;
}

function separatorOf(domain: SigningDomain): string {
  const key = JSON.stringify(domain);
  let separator = separators.get(key);
  if (separator === undefined) {
    separator = TypedDataEncoder.hashDomain({ ...domain });
    if (separators.size >= MAX_SEPARATORS) separators.clear();
    separators.set(key, separator);
  }
  return separator;
}

/** Signs a message.
 * @returns 65 bytes: r, s, v. */
export async function signMessage(
  wallet: Pick<BaseWallet, 'signingKey'>,
  type: MessageType,
  domain: SigningDomain,
  value: MessageValue,
): Promise<Hex> {
  return wallet.signingKey.sign(messageHash(type, domain, value)).serialized as Hex;
}

/** Whose key made a signature. Any well-formed signature has somebody's: compare the address.
 * @throws SIGNATURE_INVALID — not 65 bytes, not canonical (high s), or no key at all. */
export function recoverSigner(
  type: MessageType,
  domain: SigningDomain,
  value: MessageValue,
  signature: Hex,
): Address {
  const digest = messageHash(type, domain, value);
  if (!SIGNATURE.test(signature)) {
    throw new EngineError('SIGNATURE_INVALID', { message: type, expected: '65 bytes, v 27 or 28' });
  }
  try {
    return recoverAddress(digest, signature) as Address;
  } catch {
    // ethers refuses a high s and points off the curve.
    throw new EngineError('SIGNATURE_INVALID', { message: type });
  }
}
