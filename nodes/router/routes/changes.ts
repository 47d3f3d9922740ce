/** `/api/v1/sessions/:id/…`: what changes an open session: money in and out, its policy, its end. */
import type { Context } from 'hono';
import { z } from 'zod';
import { policyHashOf } from '../../../adapters/seal/session-id.js';
import { signingDomain } from '../../../domain/attestation.js';
import { EngineError } from '../../../domain/errors.js';
import { parseSessionId, sameAddress, type SessionId } from '../../../domain/ids.js';
import {
  parsePolicy,
  type DepositRequest,
  type PolicyChange,
  type WithdrawalRequest,
} from '../../../domain/session.js';
import type { AppDeps, AppEnv, RouterApp } from '../app.js';
import { readJson } from '../body.js';
import { address, bytes32, limitsOf, parseAmount, permit, signature } from './signed.js';

/** A permit that was used is an older one: the request that carried it may be repeated. */
const USED_PERMITS = 3n;

export const depositSchema = z.object({
  sessionId: z.string(),
  payer: address,
  amountWei: z.string(),
  reference: bytes32,
  signature,
  permit,
});
export const withdrawalSchema = z.object({
  sessionId: z.string(),
  amountWei: z.string(),
  reference: bytes32,
  signature,
});
export const changeSchema = z.object({
  sessionId: z.string(),
  policy: z.unknown(),
  nonce: z.number().int().min(0),
  signature,
});

export function addChangeRoutes(app: RouterApp, deps: AppDeps): void {
  const { gateway } = deps;
  const limits = limitsOf(deps);

  app.post('/api/v1/sessions/:id/deposits', async (c) => {
    const sessionId = readSession(c);
    const request = await readJson(c.req.raw, depositSchema, limits);
    requireSame(request.sessionId, sessionId);
    await gateway.view(sessionId);
    await checkDeposit(request, deps);
    return c.json(await gateway.addDeposit(request), 202);
  });

  app.post('/api/v1/sessions/:id/deposits/sync', async (c) =>
    c.json(await gateway.syncDeposit(readSession(c)), 202),
  );

  app.post('/api/v1/sessions/:id/withdrawals', async (c) => {
    const sessionId = readSession(c);
    const request: WithdrawalRequest = await readJson(c.req.raw, withdrawalSchema, limits);
    requireSame(request.sessionId, sessionId);
    const amount = parseAmount(request.amountWei, 'amountWei');
    const { reference } = request;
    const { owner } = await gateway.view(sessionId);
    await deps.signers.require(owner, {
      type: 'WithdrawDeposit',
      domain: signingDomain(deps.network.chainId, deps.network.contracts.sessionPayment),
      value: { sessionId, amount, reference },
      signature: request.signature,
    });
    return c.json(await gateway.withdrawDeposit(request), 202);
  });

  app.post('/api/v1/sessions/:id/policy', async (c) => {
    const sessionId = readSession(c);
    const body = await readJson(c.req.raw, changeSchema, limits);
    requireSame(body.sessionId, sessionId);
    const change: PolicyChange = { ...body, policy: parsePolicy(body.policy) };
    const { policy, nonce } = change;
    if (!deps.network.models.some(({ name }) => name === policy.model)) {
      throw new EngineError('MODEL_UNKNOWN', { model: policy.model });
    }
    const { owner } = await gateway.view(sessionId);
    await deps.signers.require(owner, {
      type: 'ChangePolicy',
      domain: signingDomain(deps.network.chainId, deps.network.contracts.sessionManager),
      value: { sessionId, policyHash: await policyHashOf(policy), nonce },
      signature: change.signature,
    });
    return c.json(await gateway.changePolicy(change), 202);
  });

  app.post('/api/v1/sessions/:id/close', async (c) =>
    c.json(await gateway.close(readSession(c)), 202),
  );

  app.post('/api/v1/sessions/:id/cancel', async (c) => {
    const sessionId = readSession(c);
    // Looked up first: a session that closes without open tasks is not here any more afterwards.
    const host = deps.sessions.find(sessionId);
    const view = await gateway.close(sessionId, { isCancelled: true });
    host?.cancelAll();
    return c.json(view, 202);
  });
}

/** The session that a path names.
 * @throws REQUEST_INVALID */
function readSession(c: Context<AppEnv, '/:id'>): SessionId {
  const sessionId = parseSessionId(c.req.param('id'));
  return sessionId;
}

function requireSame(named: SessionId, sessionId: SessionId): void {
  if (named === sessionId) return;
  throw new EngineError('REQUEST_INVALID', { field: 'sessionId', expected: sessionId });
}

/** Holds a deposit to what the contracts will hold it to, before anything is started.
 * @throws AMOUNT_INVALID, REQUEST_INVALID
 * @throws SIGNATURE_INVALID — deposit or permit are not signed by the payer, or for another token. */
async function checkDeposit(request: DepositRequest, deps: AppDeps): Promise<void> {
  const { sessionId, payer, reference } = request;
  const { chainId, contracts } = deps.network;
  const amount = parseAmount(request.amountWei, 'amountWei');
  const { owner, valueWei, deadline } = request.permit;
  if (!sameAddress(owner, payer)) {
    throw new EngineError('REQUEST_INVALID', { field: 'permit.owner', expected: payer });
  }
  if (valueWei !== request.amountWei) {
    throw new EngineError('REQUEST_INVALID', { field: 'permit.valueWei', expected: 'the amount' });
  }
  if (deadline * 1_000 <= Date.now()) {
    throw new EngineError('REQUEST_INVALID', {
      field: 'permit.deadline',
      expected: 'a later time',
    });
  }
  const kind = await deps.signers.require(payer, {
    type: 'Deposit',
    domain: signingDomain(chainId, contracts.sessionPayment),
    value: { sessionId, payer, amount, reference },
    signature: request.signature,
  });
  // The token takes permits of keys alone: a contract has approved the amount, or the chain refuses.
  if (kind === 'contract') return;
  const { permitNonce } = await deps.accounts.readAccount(payer);
  const next = BigInt(permitNonce);
  const checks = Array.from({ length: Number(min(next, USED_PERMITS)) + 1 }, (_, used) => ({
    type: 'Permit' as const,
    domain: signingDomain(chainId, contracts.token),
    value: {
      owner,
      spender: contracts.sessionPayment,
      value: amount,
      nonce: next - BigInt(used),
      deadline,
    },
    signature: request.permit.signature,
  }));
  const signers = await deps.crypto.recover(checks);
  if (!signers.some((signer) => sameAddress(signer, payer))) {
    throw new EngineError('SIGNATURE_INVALID', { message: 'Permit', signer: payer });
  }
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
