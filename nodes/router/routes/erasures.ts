/** `/api/v1/sessions/:id/erasure`: all that is left of a closed session, taken away for good. */
import { EngineError } from '../../../domain/errors.js';
import { parseSessionId } from '../../../domain/ids.js';
import type { AppDeps, RouterApp } from '../app.js';

export function addErasureRoutes(app: RouterApp, deps: AppDeps): void {
  const { erasures, gateway } = deps;

  app.post('/api/v1/sessions/:id/erasure', async (c) => {
    const sessionId = parseSessionId(c.req.param('id'));
    const { state, policy } = await gateway.view(sessionId);
    if (state !== 'Closed' && state !== 'Failed') {
      throw new EngineError('ERASURE_REFUSED', { sessionId, state });
    }
    const { level } = policy;
    if (level === 'open') throw new EngineError('ERASURE_REFUSED', { sessionId, level });
    return c.json(await erasures.start(sessionId), 202);
  });

  app.get('/api/v1/sessions/:id/erasure', async (c) =>
    c.json(await erasures.view(parseSessionId(c.req.param('id')))),
  );
}
