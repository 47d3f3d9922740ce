/**
 * Sign-in with a wallet: it signs a text that names this router, its chain and a nonce, and gets a
 * token for a while. Nonces and tokens are sealed with a key that all routers of a deployment have,
 * so that any of them takes what another gave out; only that a nonce was used is stored.
 * @see https://eips.ethereum.org/EIPS/eip-4361
 */
import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';
import { SiweMessage } from 'siwe';
import { EngineError } from '../../../domain/errors.js';
import type { Address, Hex } from '../../../domain/ids.js';
import type { Signers } from '../signers.js';
import { WALLET_TOKEN_PREFIX } from './caller.js';

/** Time from the nonce to the signature: a person reads what it signs. */
const NONCE_MS = 5 * 60_000;
const RANDOM_BYTES = 12;
const TIME_DIGITS = 12;
const MAC_DIGITS = 32;

export interface SignInDeps {
  /** Shared by all routers of the deployment, and by nobody else. */
  readonly secret: string;
  /** Of the service layer. */
  readonly chainId: number;
  readonly tokenMs: number;
  readonly signers: Pick<Signers, 'requireText'>;
  /** Marks a nonce as used, for all routers.
   * @returns false when it was used before. */
  readonly useNonce: (nonce: string, expiresAtMs: number) => Promise<boolean>;
}

export interface WalletToken {
  readonly token: string;
  readonly address: Address;
  /** Unix milliseconds. */
  readonly expiresAtMs: number;
}

export class SignIn {
  readonly #deps: SignInDeps;
  readonly #key: Buffer;

  constructor(deps: SignInDeps) {
    this.#deps = deps;
    const info = 'cortensor router sign-in';
    this.#key = Buffer.from(hkdfSync('sha256', deps.secret, '', info, 32));
  }

  /** Makes a nonce: random, until when it is good, and that it is ours, in 68 hex digits. */
  nonce(): { readonly nonce: string; readonly expiresAtMs: number } {
    const expiresAtMs = Date.now() + NONCE_MS;
    const time = expiresAtMs.toString(16).padStart(TIME_DIGITS, '0');
    const body = randomBytes(RANDOM_BYTES).toString('hex') + time;
    return { nonce: body + this.#mac(`nonce:${body}`), expiresAtMs };
  }

  /** Gives the wallet that signed a message its token.
   * @param message - as the wallet showed it, in the form of EIP-4361.
   * @param domains - `host:port` that it may be for.
   * @throws REQUEST_INVALID — not such a message, for another domain or chain, or not in its time.
   * @throws SIGNATURE_INVALID — not signed by the address in it, or its nonce was used.
   * @throws CHAIN_UNREACHABLE, ROUTER_BUSY — the address is no key's, and its contract could not be asked.
   * @throws DATABASE_UNREACHABLE, DATABASE_REFUSED */
  async signIn(message: string, signature: Hex, domains: readonly string[]): Promise<WalletToken> {
    const { chainId, tokenMs, signers, useNonce } = this.#deps;
    const said = parseMessage(message);
    const refuse = (field: string, expected: string) =>
      new EngineError('REQUEST_INVALID', { field: `message.${field}`, expected });
    if (!domains.includes(said.domain)) throw refuse('domain', domains.join(' | '));
    if (said.chainId !== chainId) throw refuse('chainId', String(chainId));
    const now = Date.now();
    if (said.notBefore !== undefined && Date.parse(said.notBefore) > now) {
      throw refuse('notBefore', 'a time that has come');
    }
    if (said.expirationTime !== undefined && Date.parse(said.expirationTime) <= now) {
      throw refuse('expirationTime', 'a later time');
    }
    const nonceEndsMs = this.#openNonce(said.nonce);
    const signer = said.address as Address;
    await signers.requireText(signer, message, signature);
    if (!(await useNonce(said.nonce, nonceEndsMs))) {
      throw new EngineError('SIGNATURE_INVALID', { reason: 'the nonce was used before' });
    }
    const expiresAtMs = now + tokenMs;
    const body = `${signer.slice(2).toLowerCase()}.${expiresAtMs.toString(36)}`;
    const token = `${WALLET_TOKEN_PREFIX}${body}.${this.#mac(`token:${body}`)}`;
    return { token, address: signer, expiresAtMs };
  }

  /** @throws API_KEY_INVALID — no token of this deployment, or it has expired. */
  openToken(token: string): Address {
    const parts = /^cw_(([0-9a-f]{40})\.([0-9a-z]{1,11}))\.([0-9a-f]{32})$/.exec(token);
    const [, body = '', wallet = '', time = '', mac = ''] = parts ?? [];
    if (!this.#isOurs(`token:${body}`, mac)) throw new EngineError('API_KEY_INVALID');
    const expiresAtMs = Number.parseInt(time, 36);
    if (expiresAtMs <= Date.now()) {
      throw new EngineError('API_KEY_INVALID', { expiredAt: new Date(expiresAtMs).toISOString() });
    }
    return `0x${wallet}`;
  }

  /** @returns until when it is good. */
  #openNonce(nonce: string): number {
    const split = nonce.length - MAC_DIGITS;
    const body = nonce.slice(0, split);
    if (!this.#isOurs(`nonce:${body}`, nonce.slice(split))) {
      throw new EngineError('SIGNATURE_INVALID', { reason: 'the nonce is not of this network' });
    }
    const expiresAtMs = Number.parseInt(body.slice(-TIME_DIGITS), 16);
    if (expiresAtMs <= Date.now()) {
      throw new EngineError('SIGNATURE_INVALID', { reason: 'the nonce has expired' });
    }
    return expiresAtMs;
  }

  #mac(text: string): string {
    return createHmac('sha256', this.#key).update(text).digest('hex').slice(0, MAC_DIGITS);
  }

  #isOurs(text: string, mac: string): boolean {
    const expected = Buffer.from(this.#mac(text));
    const given = Buffer.from(mac);
    return given.length === expected.length && timingSafeEqual(given, expected);
  }
}

function parseMessage(message: string): SiweMessage {
  try {
    return new SiweMessage(message);
  } catch {
    // No cause: the parser's error quotes the message, and prints as a table.
    throw new EngineError('REQUEST_INVALID', {
      field: 'message',
      expected: 'a message of EIP-4361',
    });
  }
}
