/** How connections to a user's own database are made: to no address that is closed, and encrypted,
 * with a certificate that is checked, unless the user wants neither. */
import { readFile } from 'node:fs/promises';
import type { SecretRef } from '../../../domain/config.js';
import { EngineError } from '../../../domain/errors.js';

/** What connections are made with. */
export interface DatabaseAccess {
  /** Credentials included; never part of an error. Its query is left aside. */
  readonly url: string;
  /** Encrypts, and checks the certificate against the host's name. */
  readonly tls: boolean;
  /** Certificates to trust in place of the system's, PEM; `null` = the system's. */
  readonly ca: string | null;
  /** Lets it be on this machine or in its network. */
  readonly allowPrivate: boolean;
}

/** Reads certificates to trust. They are public: a file that others may read is all right.
 * @throws SECRET_MISSING — there is no such file, or variable. */
export async function readCertificates(
  ref: SecretRef,
  readSecret: (ref: SecretRef) => Promise<string>,
): Promise<string> {
  if (!ref.startsWith('file:')) return await readSecret(ref);
  try {
    return await readFile(ref.slice('file:'.length), 'utf8');
  } catch (cause) {
    throw new EngineError('SECRET_MISSING', { reference: ref }, { cause });
  }
}
