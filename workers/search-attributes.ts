/**
 * What sessions are found by, made known to the namespace: a workflow that sets an attribute which is
 * not known there cannot go on.
 */
import { isGrpcServiceError, type ConnectionLike } from '@temporalio/client';
import { EngineError } from '../domain/errors.js';
import { SEARCH_ATTRIBUTES } from '../workflows/messages.js';

/** `INDEXED_VALUE_TYPE_KEYWORD` of Temporal's API. */
const KEYWORD = 2;
/** gRPC statuses that leave it to an operator, or find it done: ALREADY_EXISTS, PERMISSION_DENIED,
 * UNIMPLEMENTED (Temporal Cloud has a command of its own, see docs/operations.md). */
const LEFT: ReadonlySet<number> = new Set([6, 7, 12]);
const DEADLINE_MS = 30_000;

/** Registers the attributes that are missing, where the namespace lets its workers do so.
 * @throws TEMPORAL_UNREACHABLE — no answer in 30 s. */
export async function registerSearchAttributes(
  connection: ConnectionLike,
  namespace: string,
): Promise<void> {
  for (const { name } of Object.values(SEARCH_ATTRIBUTES)) {
    const request = { namespace, searchAttributes: { [name]: KEYWORD } };
    try {
      await connection.withDeadline(Date.now() + DEADLINE_MS, () =>
        connection.operatorService.addSearchAttributes(request),
      );
    } catch (cause) {
      if (isGrpcServiceError(cause) && LEFT.has(cause.code)) continue;
      throw new EngineError('TEMPORAL_UNREACHABLE', { namespace }, { cause });
    }
  }
}
