/** `/api/v1/sessions`: opening and watching a session. */
import { z } from 'zod';
import { policyHashOf, sessionIdOf } from '../../../adapters/seal/session-id.js';
import { signingDomain } from '../../../domain/attestation.js';
import { sessionHolder } from '../../../domain/content.js';
import { EngineError } from '../../../domain/errors.js';
import { parseSessionId } from '../../../domain/ids.js';
import { parseWei } from '../../../domain/money.js';
import { parsePolicy, SESSION_STATES, type OpenSessionRequest } from '../../../domain/session.js';
import type { AppDeps, RouterApp } from '../app.js';
import { readJson } from '../body.js';
import { authorise, noteOwnership } from '../guard/caller.js';
import { address, bytes32, limitsOf, permit, signature } from './signed.js';

/** A long poll ends after this, whatever the session's state. */
const MAX_WAIT_MS = 20_000;

export const openSchema = z.object({
  sessionId: z.string(),
  owner: address,
  clientReference: bytes32,
  policy: z.unknown(),
  depositWei: z.string(),
  signature,
  permit,
});

export const keyringSchema = z.object({
  recipient: z.string().regex(/^age1[a-z0-9]{10,4000}$/),
  keyring: z.base64().max(256 * 1024),
});

export function addSessionRoutes(app: RouterApp, deps: AppDeps): void {
  const { gateway, blockStore } = deps;
  const bodyLimits = limitsOf(deps);

  app.post('/api/v1/sessions', async (c) => {
    const body = await readJson(c.req.raw, openSchema, bodyLimits);
    const request: OpenSessionRequest = { ...body, policy: parsePolicy(body.policy) };
    await checkRequest(request, deps);
    const caller = c.get('apiKey');
    noteOwnership(caller, request.sessionId, request.owner);
    authorise(caller, request.sessionId);
    await gateway.start(request);
    return c.json(await gateway.view(request.sessionId), 201);
  });

  app.get('/api/v1/sessions/:id', async (c) => {
    const sessionId = parseSessionId(c.req.param('id'));
    const until = c.req.query('until');
    if (until === undefined) return c.json(await gateway.view(sessionId));
    const state = SESSION_STATES.find((s) => s === until);
    if (state === undefined) {
      const expected = SESSION_STATES.join(' | ');
      throw new EngineError('REQUEST_INVALID', { field: 'until', expected });
    }
    const asked = Number(c.req.query('waitMs') ?? MAX_WAIT_MS);
    const waitMs = Number.isFinite(asked) ? Math.min(Math.max(asked, 1), MAX_WAIT_MS) : MAX_WAIT_MS;
    return c.json(await gateway.awaitState(sessionId, state, waitMs));
  });

  app.put('/api/v1/sessions/:id/keyring', async (c) => {
    const sessionId = parseSessionId(c.req.param('id'));
    const { recipient, keyring } = await readJson(c.req.raw, keyringSchema, bodyLimits);
    // Looked up first, so that keyrings of sessions that do not exist are not stored.
    await gateway.view(sessionId);
    // Noted as this session's alone: neither may it be another's, nor can another keep it.
    const cid = await blockStore.put(Buffer.from(keyring, 'base64'), {
      holder: sessionHolder(sessionId),
      isKey: true,
      signal: c.req.raw.signal,
    });
    return c.json(await gateway.setKeyring(sessionId, { recipient, cid }));
  });
}

/** Holds a request to what the contracts will hold it to, before anything is started.
 * @throws REQUEST_INVALID — the id is not that of owner and reference.
 * @throws MODEL_UNKNOWN, SESSION_UNFUNDED
 * @throws SIGNATURE_INVALID — not signed by the owner. */
async function checkRequest(request: OpenSessionRequest, deps: AppDeps): Promise<void> {
  const { owner, clientReference, policy } = request;
  const { chainId, contracts, models } = deps.network;
  const { sessionManager } = contracts;
  if (!models.some(({ name }) => name === policy.model)) {
    throw new EngineError('MODEL_UNKNOWN', { model: policy.model });
  }
  const deposit = parseWei(request.depositWei);
  parseWei(request.permit.valueWei);
  if (deposit === 0n) throw new EngineError('SESSION_UNFUNDED');
  const sessionId = await sessionIdOf({ chainId, sessionManager, owner, clientReference });
  if (sessionId !== request.sessionId) {
    throw new EngineError('REQUEST_INVALID', { field: 'sessionId', expected: sessionId });
  }
  const policyHash = await policyHashOf(policy);
  await deps.signers.require(owner, {
    type: 'OpenSession',
    domain: signingDomain(chainId, sessionManager),
    value: { owner, clientReference, policyHash, deposit },
    signature: request.signature,
  });
}
