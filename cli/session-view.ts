/** A session and its tasks, in lines for people. */
import type { TaskRecord } from '../domain/lease.js';
import { formatTokens, parseWei } from '../domain/money.js';
import type { SessionView } from '../domain/session.js';

/** Lines of a session's state, money and tasks. */
export function viewLines(view: SessionView): string[] {
  const { policy, budget, tasks } = view;
  const amount = (wei: string): string => formatTokens(parseWei(wei));
  return [
    `Session ${view.sessionId}: ${view.state}${view.failure === null ? '' : `, ${view.failure}`}`,
    `  model     ${policy.model}, ${policy.redundancy} miners a request, level ${policy.level}`,
    `  policy    ${view.policyCid ?? 'not on IPFS yet'}, changed ${view.policyNonce} times`,
    `  deposited ${amount(budget.depositedWei)}, charged ${amount(budget.chargedWei)}, reserved ` +
      `${amount(budget.reservedWei)}, refunded ${amount(budget.refundedWei)}, free ${amount(budget.freeWei)}`,
    `  tasks     ${tasks.accepted} accepted, ${tasks.open} open, ${tasks.ended} ended, ${tasks.settled} settled`,
    `  manifest  ${view.manifestCid ?? 'written after the close'}`,
    `  ends      ${new Date(view.expiresAtMs).toISOString()} at the latest`,
  ];
}

/** One line a task. */
export function taskLine(task: TaskRecord): string {
  const { ordinal, taskId, state, outcome, failure, chargeWei } = task;
  const charge = `${formatTokens(parseWei(chargeWei))} tokens`;
  const end = failure === undefined ? (outcome ?? '–') : `${outcome} (${failure})`;
  return `${String(ordinal).padStart(5)} ${taskId} ${state} ${end} ${charge}`;
}
