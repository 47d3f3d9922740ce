/** `cortensor task prove`: whether the chain has settled a task, and as what. */
import type { TaskProof } from '../../../domain/api.js';
import { deadlineIn } from '../../../domain/deadline.js';
import { formatTokens, parseWei } from '../../../domain/money.js';
import { RouterHttp } from '../../../sdk/http.js';
import { defineCommand } from '../../command.js';
import { openStore, STORE_OPTIONS } from '../../content.js';
import { ROUTER_OPTIONS, routerOptions, sessionOf } from '../../router-access.js';
import { CHAIN_OPTIONS, withServiceLayer } from '../../service-layer.js';
import { parseTask, SESSION_OPTION } from '../../task-options.js';
import { findInBatch, inclusionOf, isProven } from '../../task-proof.js';

/** For the document of a batch. */
const READ_MS = 60_000;

export const taskProve = defineCommand({
  name: 'task prove',
  about: `Proves that a task is in a batch which the chain has settled, with the outcome, the charge, the evidence
and the answer that it says. The router's proof is not believed: the leaf is computed again, and the
contract is asked over an RPC of your own. With --batch no router is asked at all.`,
  args: ['TASK'],
  options: {
    ...SESSION_OPTION,
    batch: { value: 'CID', about: "the batch's document on IPFS, instead of a router" },
    ...ROUTER_OPTIONS,
    ...STORE_OPTIONS,
    ...CHAIN_OPTIONS,
  },
  failure: 'not proven, or a server could not be reached',
  async run({ args: [text], values }) {
    const asked = { sessionId: await sessionOf(values.session), taskId: parseTask(text) };
    const inclusion =
      values.batch === undefined
        ? inclusionOf(await claimOf(values, asked), asked)
        : await findInBatch(openStore(values), values.batch, asked, deadlineIn(READ_MS));
    return await withServiceLayer(values, async ({ service }) => {
      const proven = await isProven(inclusion, service);
      const { task, batchId } = inclusion;
      const charge = formatTokens(parseWei(task.chargeWei));
      return {
        lines: [
          `Task ${task.taskId} is ${proven ? 'proven' : 'NOT proven'} to be settled.`,
          `  ended    ${task.outcome}, number ${task.ordinal} of session ${task.sessionId}`,
          `  charged  ${charge} tokens`,
          `  evidence ${task.evidenceCid ?? 'none'}`,
          `  answer   ${task.resultCid ?? 'none'}`,
          `  batch    ${batchId}`,
        ],
        json: {
          proven,
          ...asked,
          ordinal: task.ordinal,
          outcome: task.outcome,
          chargeWei: task.chargeWei,
          evidenceCid: task.evidenceCid ?? null,
          resultCid: task.resultCid ?? null,
          batchId,
        },
        isHeld: proven,
      };
    });
  },
});

async function claimOf(
  values: Parameters<typeof routerOptions>[0],
  { sessionId, taskId }: { readonly sessionId: string; readonly taskId: string },
): Promise<TaskProof> {
  const http = new RouterHttp(await routerOptions(values));
  return await http.json<TaskProof>(`/api/v1/sessions/${sessionId}/tasks/${taskId}/proof`);
}
