/** The answer about an export, typed by what the router gives out. */
import { z } from 'zod';
import {
  EXPORT_MODES,
  EXPORT_STATES,
  EXPORT_TABLES,
  ROW_FAULTS,
  type ExportView,
} from '../../../domain/export.js';
import { component } from './answers.js';

const count = z.number().int().min(0);
const digest = z.templateLiteral(['0x', z.string().regex(/^[0-9a-f]{64}$/)]);
const place = { sessionId: z.string(), sink: z.string() };
const rows = z.object({ session: count, task: count, task_result: count, payload: count });
const time = z.iso.datetime();

export const exportView = component(
  'Export',
  z.object({
    ...place,
    mode: z.enum(EXPORT_MODES),
    state: z.enum(EXPORT_STATES),
    lastError: z.string().nullable(),
    retryAtMs: z.number().nullable(),
    tasks: count,
    rows: count,
    lag: count,
    receipt: z.object({ ...place, rows, digest, writtenAt: time }).nullable(),
    removal: z.object({ ...place, rows, digest, removedAt: time }).nullable(),
    verification: z
      .object({
        ...place,
        rows,
        digest,
        faults: z.object({ missing: count, extra: count, altered: count }),
        found: z.array(
          z.object({
            fault: z.enum(ROW_FAULTS),
            table: z.enum(EXPORT_TABLES),
            key: z.string(),
          }),
        ),
        verifiedAt: time,
      })
      .nullable(),
    answered: z.string().nullable(),
  }) satisfies z.ZodType<ExportView>,
);
