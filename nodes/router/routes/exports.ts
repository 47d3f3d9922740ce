/** `/api/v1/sessions/:id/exports/:sink`: a session in its user's own store. The store is named in the
 * deployment's configuration; nobody brings one in a request. */
import type { Context } from 'hono';
import { z } from 'zod';
import { EngineError } from '../../../domain/errors.js';
import { EXPORT_ORDERS, type ExportControl } from '../../../domain/export.js';
import { parseSessionId } from '../../../domain/ids.js';
import type { AppDeps, AppEnv, RouterApp } from '../app.js';
import { readJson } from '../body.js';
import { limitsOf } from './signed.js';

/** What has an answer is waited for this long; then it goes on by itself. */
const ANSWER_MS = 15_000;

export const exportSchema = z.strictObject({ follow: z.boolean().default(false) });
export const exportOrderSchema = z.strictObject({ order: z.enum(EXPORT_ORDERS) });

export function addExportRoutes(app: RouterApp, deps: AppDeps): void {
  const bodyLimits = limitsOf(deps);
  const path = '/api/v1/sessions/:id/exports/:sink';

  app.post(path, async (c) => {
    const { sessionId, sink } = await placeOf(c, deps);
    const { follow } = await readJson(c.req.raw, exportSchema, bodyLimits);
    return c.json(await control(deps).start(sessionId, sink, follow ? 'follow' : 'once'), 202);
  });

  app.get(path, async (c) => {
    const { sessionId, sink } = await placeOf(c, deps);
    return c.json(await control(deps).view(sessionId, sink));
  });

  app.post(`${path}/orders`, async (c) => {
    const { sessionId, sink } = await placeOf(c, deps);
    const { order } = await readJson(c.req.raw, exportOrderSchema, bodyLimits);
    const exports = control(deps);
    if (order !== 'verify' && order !== 'remove') {
      return c.json(await exports.order(sessionId, sink, order), 202);
    }
    const { view } = await exports.ask(sessionId, sink, order, ANSWER_MS);
    return c.json(view, 202);
  });
}

/** A session goes to the sinks that its owner has signed for, and to no other one's.
 * @throws REQUEST_INVALID — the policy does not name the sink. @throws SESSION_NOT_FOUND */
async function placeOf(c: Context<AppEnv>, { gateway }: Pick<AppDeps, 'gateway'>) {
  const sessionId = parseSessionId(c.req.param('id') ?? '');
  const { policy } = await gateway.view(sessionId);
  const sink = policy.sinks.find((name) => name === c.req.param('sink'));
  if (sink === undefined) {
    throw new EngineError('REQUEST_INVALID', {
      field: 'sink',
      expected: "a sink of the session's policy",
    });
  }
  return { sessionId, sink };
}

/** @throws EXPORT_NOT_FOUND — this router was started without exports. */
function control({ exports }: Pick<AppDeps, 'exports'>): ExportControl {
  if (exports === undefined) throw new EngineError('EXPORT_NOT_FOUND');
  return exports;
}
