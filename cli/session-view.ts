/** A session and its tasks, in lines for people. */
import type { HostView } from '../domain/hosting.js';
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
    ...(view.host === undefined ? [] : [hostLine(view.host)]),
    `  manifest  ${view.manifestCid ?? 'written after the close'}`,
    `  ends      ${new Date(view.expiresAtMs).toISOString()} at the latest`,
  ];
}

function hostLine({ name, code, sinceMs, waiting, held, givenUp }: HostView): string {
  const counts = `${held} tasks held, ${waiting} waiting, ${givenUp} given up`;
  const since = sinceMs === null ? '' : ` since ${new Date(sinceMs).toISOString()}`;
  return `  host      ${name}: ${counts}${code === null ? '' : `, ${code}${since}`}`;
}

/** One line a task. */
export function taskLine(task: TaskRecord): string {
  const { ordinal, taskId, state, outcome, failure, chargeWei, host } = task;
  const charge = `${formatTokens(parseWei(chargeWei))} tokens`;
  const end = failure === undefined ? (outcome ?? '–') : `${outcome} (${failure})`;
  const hosting = host?.code == null ? '' : ` ${host.code}`;
  return `${String(ordinal).padStart(5)} ${taskId} ${state} ${end} ${charge}${hosting}`;
}
