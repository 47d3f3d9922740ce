/**
 * The deposit of a session while it serves: what is added, and what its owner takes out of it. One
 * order at a time goes to the chain, so that what the chain says of the deposit is never ambiguous.
 */
import { condition } from '@temporalio/workflow';
import type { Hex } from '../domain/ids.js';
import type { DepositRequest, WithdrawalRequest } from '../domain/session.js';
import { untilKnown } from './failure.js';
import type { SessionContext } from './session-context.js';

/** Orders that may wait: each takes transactions, and its update a place among ten. */
export const MAX_ORDERS = 4;

export type DepositOrder =
  | { readonly kind: 'deposit'; readonly request: DepositRequest }
  | {
      readonly kind: 'withdrawal';
      readonly request: WithdrawalRequest;
      /** Of the committee, once it has signed: then a transaction may be out. */
      readonly signatures: readonly Hex[] | null;
    }
  | { readonly kind: 'sync' };

/** Names an order: the same key is the same order. */
export function keyOfOrder(order: DepositOrder): string {
  return order.kind === 'sync' ? 'sync' : `${order.kind}:${order.request.reference}`;
}

/** Puts an order behind those that wait, unless it is among them. */
export function placeOrder(session: SessionContext, order: DepositOrder): void {
  const key = keyOfOrder(order);
  if (session.orders.some((waiting) => keyOfOrder(waiting) === key)) return;
  session.answers.delete(key);
  session.orders = [...session.orders, order];
}

/** Carries out orders while the session serves, and answers each. Once it closes, the one under way
 * is the last: the others end as refused, and the close gives everything back. */
export async function carryOutOrders(
  session: SessionContext,
  isEnding: () => boolean,
): Promise<void> {
  for (;;) {
    await condition(() => session.orders.length > 0 || isEnding());
    const [order] = session.orders;
    if (isEnding() || order === undefined) break;
    const refusal = await carryOut(session, order);
    session.orders = session.orders.slice(1);
    session.answers.set(keyOfOrder(order), refusal);
  }
  for (const order of session.orders) {
    if (order.kind === 'withdrawal') session.ledger.endWithdrawal(order.request.reference, false);
    session.answers.set(keyOfOrder(order), 'SESSION_NOT_OPEN');
  }
  session.orders = [];
}

/** @returns the code of a final refusal, or `null`. */
async function carryOut(session: SessionContext, order: DepositOrder): Promise<string | null> {
  const { ledger, chain, sessionId } = session;
  let refusal: string | null = null;
  if (order.kind === 'deposit') {
    refusal = await untilKnown('deposit', () => chain.depositFor(order.request));
  } else if (order.kind === 'withdrawal') {
    refusal = await withdraw(session, order);
    ledger.endWithdrawal(order.request.reference, refusal === null);
    if (refusal === null) return null;
  }
  // What was refused may be there all the same: anyone may hand in what has been signed.
  const unread = await untilKnown('reading the deposit', async () => {
    const { depositedWei, isOpen } = await chain.readDeposit(sessionId);
    ledger.setDeposit(BigInt(depositedWei));
    session.isCloseAsked ||= !isOpen;
  });
  return refusal ?? unread;
}

async function withdraw(
  session: SessionContext,
  order: DepositOrder & { readonly kind: 'withdrawal' },
): Promise<string | null> {
  const { oracles, chain } = session;
  const { request } = order;
  let { signatures } = order;
  if (signatures === null) {
    const refusal = await untilKnown('attestation of a withdrawal', async () => {
      signatures = await oracles.collectAttestations({ kind: 'withdraw-deposit', ...request });
    });
    if (refusal !== null) return refusal;
    // The next run sends the same: asked again, the committee might find it withdrawn, and refuse.
    session.orders = [{ ...order, signatures }, ...session.orders.slice(1)];
  }
  return await untilKnown('withdrawal', () =>
    chain.withdrawDeposit({ request, signatures: signatures ?? [] }),
  );
}
