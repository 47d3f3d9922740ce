/** What failures of sinks mean for an export: wait, ask for other credentials, or give up. */
import type { ErrorDetails } from '../../../domain/errors.js';
import { EngineError } from '../../../domain/errors.js';
import { findRefusal } from '../../net/address-guard.js';

/** Certificates that do not check out, and servers without any; by Node.js' codes and by texts of the
 * client libraries. */
const UNTRUSTED_CODE =
  /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+|CERT_\w+|ERR_TLS_\w+|ERR_SSL_\w+|EPROTO|HANDSHAKE_(NO_SSL_SUPPORT|SSL_ERROR))$/;
const UNTRUSTED_TEXT = /does not support (SSL|secure)|certificate|SSL connection/i;

/** The refusal of an address or of a certificate that an error goes back to; `undefined` when it goes
 * back to neither. */
export function connectionFailure(error: unknown): EngineError | undefined {
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    const refusal = findRefusal(e);
    if (refusal !== undefined) return refusal;
    const code = 'code' in e && typeof e.code === 'string' ? e.code : '';
    if (UNTRUSTED_CODE.test(code)) return untrusted({ reason: code }, error);
    if (!(e instanceof EngineError) && UNTRUSTED_TEXT.test(e.message)) {
      return untrusted({ reason: 'no encrypted connection, or a certificate that fails' }, error);
    }
  }
  return undefined;
}

function untrusted(details: ErrorDetails, cause: unknown): EngineError {
  return new EngineError('SINK_UNTRUSTED', details, { cause });
}
