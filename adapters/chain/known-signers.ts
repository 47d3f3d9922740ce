/**
 * Who signed, quicker for signers that were seen before. Recovering a key from a signature takes
 * two milliseconds; checking a signature against a key whose multiples are at hand takes a quarter of
 * that. A router checks two signatures of the same few miners for every task.
 */
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { computeAddress, SigningKey } from 'ethers';
import type { MessageType, SigningDomain } from '../../domain/attestation.js';
import type { Address, Hex } from '../../domain/ids.js';
import { messageHash, recoverSigner, type MessageValue } from './sign.js';

const { Point } = secp256k1;
type Point = InstanceType<typeof Point>;
const { n: ORDER } = Point.CURVE();
const SCALARS = Point.Fn;

/** Keys whose multiples are kept: a third of a megabyte each. */
const MAX_KEYS = 64;
/** Bits of a scalar that one addition covers; more would cost memory, and a slower first time. */
const WINDOW = 6;
/** r, s and a v of 27 or 28, as contracts take them. */
const SIGNATURE = /^0x([0-9a-f]{64})([0-9a-f]{64})(1[bc])$/i;

/** Recovers signers like `recoverSigner`, with the same answers and the same errors. */
export class KnownSigners {
  /** By address in lower case; the one used longest ago is first. */
  readonly #keys = new Map<string, Point>();

  /** Whose key made a signature.
   * @param expected - who is said to have signed; another's signature is found out as well, slower.
   * @throws SIGNATURE_INVALID, REQUEST_INVALID — as `recoverSigner`. */
  recover(
    type: MessageType,
    domain: SigningDomain,
    value: MessageValue,
    signature: Hex,
    expected: Address,
  ): Address {
    const name = expected.toLowerCase();
    const key = this.#keys.get(name);
    if (key !== undefined) {
      this.#keys.delete(name);
      this.#keys.set(name, key);
      if (isSigned(messageHash(type, domain, value), signature, key)) return expected;
    }
    const signer = recoverSigner(type, domain, value, signature);
    if (key === undefined && signer.toLowerCase() === name) {
      this.#learn(name, messageHash(type, domain, value), signature);
    }
    return signer;
  }

  #learn(name: string, digest: Hex, signature: Hex): void {
    const text = SigningKey.recoverPublicKey(digest, signature);
    if (computeAddress(text).toLowerCase() !== name) return;
    this.#keys.set(name, Point.fromHex(text.slice(2)).precompute(WINDOW, false));
    if (this.#keys.size <= MAX_KEYS) return;
    for (const oldest of this.#keys.keys()) {
      this.#keys.delete(oldest);
      return;
    }
  }
}

/** ECDSA's check (SEC 1, 4.1.4), held to the very point that `v` names: a signature that passes is
 * one that contracts recover to this key. False says nothing but that it did not pass. */
function isSigned(digest: Hex, signature: Hex, key: Point): boolean {
  const [, rText, sText, v] = SIGNATURE.exec(signature) ?? [];
  if (rText === undefined || sText === undefined) return false;
  const [r, s] = [BigInt(`0x${rText}`), BigInt(`0x${sText}`)];
  if (r === 0n || r >= ORDER || s === 0n || s > ORDER / 2n) return false;
  const inverse = SCALARS.inv(s);
  const ofBase = SCALARS.mul(SCALARS.create(BigInt(digest)), inverse);
  const sum = Point.BASE.multiplyUnsafe(ofBase).add(key.multiplyUnsafe(SCALARS.mul(r, inverse)));
  if (sum.is0()) return false;
  const { x, y } = sum.toAffine();
  // Without the carry of a v beyond 28, r is the whole x.
  return x === r && (y & 1n) === (v?.toLowerCase() === '1c' ? 1n : 0n);
}
