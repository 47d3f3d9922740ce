/**
 * Histories as files that a person can read and a review can compare: events as they are, payloads
 * as text. Not Temporal's own JSON form, whose reader fails ("type must be a Type") in an install
 * that has several copies of protobufjs, as npm makes them.
 */
import type { WorkflowHandle } from '@temporalio/client';

export type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>;

/** Writes a history whose payloads are in plain form. */
export function writeHistory(history: History): string {
  return `${JSON.stringify(toPlain(history), null, 1)}\n`;
}

/** Reads what `writeHistory` wrote. */
export function readHistory(json: string): History {
  return JSON.parse(json, (_, value: unknown) => {
    const isBytes = typeof value === 'object' && value !== null && 'utf8' in value;
    return isBytes ? Buffer.from(String(value.utf8)) : value;
  }) as History;
}

/** Numbers of 64 bits are ids, sizes and seconds here: all of them fit. */
function toPlain(value: unknown): unknown {
  if (value instanceof Uint8Array) return { utf8: Buffer.from(value).toString() };
  if (Array.isArray(value)) return value.map(toPlain);
  if (typeof value !== 'object' || value === null) return value ?? undefined;
  if ('toNumber' in value && typeof value.toNumber === 'function') return value.toNumber();
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, toPlain(child)]));
}
