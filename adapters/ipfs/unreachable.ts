import { EngineError } from '../../domain/errors.js';

/** What no success, or no answer in time, from a Kubo is. */
export function unreachable(cause: unknown, reason: string): EngineError {
  return new EngineError('IPFS_UNREACHABLE', { reason }, { cause });
}
