/** API keys: who may speak, and for which sessions. Only their hashes are configured. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { ApiKeyConfig } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import type { SessionId } from '../../domain/ids.js';

/** Finds the key that an `Authorization: Bearer` header carries.
 * @throws API_KEY_INVALID — no header, or no configured key. */
export function authenticate(
  header: string | undefined,
  keys: readonly ApiKeyConfig[],
): ApiKeyConfig {
  const token = /^Bearer (\S+)$/i.exec(header ?? '')?.[1] ?? '';
  const digest = createHash('sha256').update(token).digest();
  // All keys are compared, so that the time taken tells nothing about which one matched.
  let found: ApiKeyConfig | undefined;
  for (const key of keys) {
    const expected = Buffer.from(key.sha256, 'hex');
    if (expected.length === digest.length && timingSafeEqual(expected, digest)) found = key;
  }
  if (found === undefined || token === '') throw new EngineError('API_KEY_INVALID');
  return found;
}

/** @throws API_KEY_INVALID — the key is good, but not for this session. */
export function authorise(key: ApiKeyConfig, sessionId: SessionId): void {
  if (key.sessions.length > 0 && !key.sessions.includes(sessionId)) {
    throw new EngineError('API_KEY_INVALID', { sessionId });
  }
}
