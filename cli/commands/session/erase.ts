/** `cortensor session erase`: takes away what is left of a closed session. */
import { setTimeout as delay } from 'node:timers/promises';
import type { ErasureView } from '../../../domain/erasure.js';
import { EngineError } from '../../../domain/errors.js';
import { NO_WAIT_OPTION } from '../../closing.js';
import { defineCommand } from '../../command.js';
import { Display } from '../../display.js';
import { openAsManager, ROUTER_OPTIONS } from '../../router-access.js';

const WAIT_MS = 300_000;
const POLL_MS = 500;

export const sessionErase = defineCommand({
  name: 'session erase',
  about: `Takes away what is left of a closed session, for good: its keys first, so that no copy can be read from
then on, then its content on IPFS, its rows in every sink, and its records. What the chain holds stays. Waits for
the signed receipt, unless told not to; repeated, it goes on, and brings the receipt again.`,
  args: ['SESSION'],
  options: { ...NO_WAIT_OPTION, ...ROUTER_OPTIONS },
  failure: 'it is not erased yet, or the router could not be reached',
  async run({ args: [text], values }) {
    const handle = await openAsManager(values, text);
    let view = await handle.erase();
    if (!values['no-wait']) {
      view = await new Display().step('erase keys, content, rows and records', async (note) => {
        for (const deadline = Date.now() + WAIT_MS; ; await delay(POLL_MS)) {
          const now = await handle.erasure();
          if (now.stage === 'Done' || Date.now() > deadline) return now;
          note(lineOf(now));
        }
      });
      if (view.stage !== 'Done') {
        throw new EngineError('ROUTER_UNREACHABLE', { stage: view.stage, reason: view.waitingFor });
      }
    }
    return { lines: linesOf(view), json: { erasure: view } };
  },
});

function lineOf({ stage, waitingFor }: ErasureView): string {
  return waitingFor === null ? stage : `${stage}, waiting: ${waitingFor}`;
}

function linesOf(view: ErasureView): string[] {
  if (view.signed === null) return [`The erasure of session ${view.sessionId}: ${lineOf(view)}.`];
  const { receipt, signer, cid } = view.signed;
  const sinks = receipt.sinks.map(({ sink }) => sink).join(', ') || 'none';
  return [
    `Session ${view.sessionId} is erased, ${receipt.erasedAt}.`,
    `  keyrings destroyed  ${receipt.keyrings.length}`,
    `  tasks given up      ${receipt.tasks}`,
    `  rows deleted at     ${sinks}`,
    ...(receipt.host === undefined ? [] : [`  left, sealed, at    ${receipt.host}`]),
    `  receipt             ${cid}, signed by ${signer}`,
  ];
}
