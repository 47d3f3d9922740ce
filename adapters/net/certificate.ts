/** What was wrong with the certificate of a server, in words that stay the same whichever client library
 * found it out. */

export type CertificateFault =
  /** Its issuer is none that is trusted. */
  | 'unknown-authority'
  /** It is another host's. */
  | 'wrong-host'
  | 'expired'
  | 'not-yet-valid'
  /** The server does not encrypt. */
  | 'not-encrypted'
  /** The handshake failed for any other reason. */
  | 'handshake-failed';

/** By the codes of Node.js, and by the texts of OpenSSL where a client library has put a code of its own
 * over them, as mysql2 does. @see https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/ */
const FAULTS: readonly (readonly [fault: CertificateFault, code: RegExp, text: RegExp])[] = [
  [
    'unknown-authority',
    /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+)$/,
    /self-signed certificate|unable to (get|verify)/i,
  ],
  ['wrong-host', /^ERR_TLS_CERT_ALTNAME_INVALID$/, /does not match certificate/i],
  ['expired', /^CERT_HAS_EXPIRED$/, /certificate has expired/i],
  ['not-yet-valid', /^CERT_NOT_YET_VALID$/, /certificate is not yet valid/i],
  [
    'not-encrypted',
    /^(HANDSHAKE_NO_SSL_SUPPORT|ERR_SSL_WRONG_VERSION_NUMBER|EPROTO)$/,
    /does not support (SSL|secure)|wrong version number/i,
  ],
  [
    'handshake-failed',
    /^(CERT_\w+|ERR_TLS_\w+|ERR_SSL_\w+|HANDSHAKE_SSL_ERROR)$/,
    /establishing an SSL connection|TLS connection was established/i,
  ],
];

/** Finds a failed handshake in what a client library made of it.
 * @returns `undefined` when the error goes back to none. */
export function certificateFault(error: unknown): CertificateFault | undefined {
  const chain: Error[] = [];
  for (let e = error; e instanceof Error; e = e.cause) chain.push(e);
  return FAULTS.find(([, code, text]) =>
    chain.some((e) => code.test(codeOf(e)) || (speaksOfTls(e) && text.test(e.message))),
  )?.[0];
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** The text of an error with any other code is about something else. */
function speaksOfTls(error: Error): boolean {
  return /^(HANDSHAKE_SSL_ERROR)?$/.test(codeOf(error));
}
