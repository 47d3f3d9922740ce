/** `cortensor session exit`: the owner's way out, which needs the chain and nothing else. */
import { setTimeout as delay } from 'node:timers/promises';
import { sendDirect } from '../../../adapters/chain/direct.js';
import type { ChainSession } from '../../../adapters/chain/service.js';
import { EngineError } from '../../../domain/errors.js';
import { sameAddress, type Address, type SessionId } from '../../../domain/ids.js';
import { formatTokens } from '../../../domain/money.js';
import { defineCommand, type Result } from '../../command.js';
import { Display } from '../../display.js';
import { KEY_OPTION, openSigner } from '../../keys.js';
import {
  CHAIN_OPTIONS,
  parseSession,
  withServiceLayer,
  type ServiceLayer,
} from '../../service-layer.js';

/** Between two looks at the chain's clock. */
const POLL_MS = 1_000;

export const sessionExit = defineCommand({
  name: 'session exit',
  about: `Takes the deposit back without the engine. The first call asks the contract, which then waits a fixed
delay in which finished tasks are still settled; a call after that closes the session and refunds
what it holds. Every call says how far it is. The owner pays for the gas.`,
  args: ['SESSION'],
  options: {
    ...KEY_OPTION,
    ...CHAIN_OPTIONS,
    wait: { about: 'wait for the delay, then exit' },
  },
  failure: 'the chain refused or could not be reached',
  async run({ args: [text], values }) {
    const sessionId = parseSession(text);
    const wallet = await openSigner(values.key);
    const display = new Display();
    return await withServiceLayer(values, async (layer) => {
      const sender = { ...layer, wallet };
      const session = await readOwn(layer, sessionId, wallet.address as Address);
      if (session.status === 'Closed') return await closedResult(layer, sessionId);
      if (session.status === 'Open') {
        await display.step('ask the contract to exit', (note) =>
          sendDirect(sender, layer.service.encodeRequestExit(sessionId), note),
        );
      }
      const { exitAt } = await layer.service.readExit(sessionId);
      if ((await timeOf(layer)) < exitAt) {
        if (!values.wait) return waitingResult(sessionId, session.heldWei, exitAt);
        await display.step('wait for the delay', async (note) => {
          while ((await timeOf(layer)) < exitAt) {
            note(`until ${at(exitAt)}`);
            await delay(POLL_MS);
          }
        });
      }
      await display.step('exit and take the refund', (note) =>
        sendDirect(sender, layer.service.encodeExit(sessionId), note),
      );
      return await closedResult(layer, sessionId);
    });
  },
});

async function readOwn(
  layer: ServiceLayer,
  sessionId: SessionId,
  owner: Address,
): Promise<ChainSession> {
  const session = await layer.service.readSession(sessionId);
  if (session === null) throw new EngineError('SESSION_NOT_FOUND', { sessionId });
  if (!sameAddress(session.owner, owner)) {
    throw new EngineError('SIGNATURE_INVALID', {
      sessionId,
      expected: `the key of its owner, ${session.owner}`,
    });
  }
  return session;
}

/** Unix seconds by the clock that counts: that of the block which an exit sent now would be in. */
async function timeOf({ provider }: ServiceLayer): Promise<number> {
  const block = (await provider.getBlock('pending')) ?? (await provider.getBlock('latest'));
  return block?.timestamp ?? 0;
}

function waitingResult(sessionId: SessionId, heldWei: bigint, exitAt: number): Result {
  return {
    lines: [
      `Session ${sessionId} holds ${formatTokens(heldWei)} tokens. Repeat the command after ${at(exitAt)}.`,
      'Where there is an engine, `cortensor session sync` lets it settle, close and refund at once.',
    ],
    json: { sessionId, status: 'Exiting', heldWei: heldWei.toString(), exitAt },
  };
}

async function closedResult(layer: ServiceLayer, sessionId: SessionId): Promise<Result> {
  const closing = await layer.service.readClosing(sessionId);
  const [charged, refunded] = [closing?.chargedWei ?? 0n, closing?.refundedWei ?? 0n];
  return {
    lines: [
      `Session ${sessionId} is closed: ${formatTokens(charged)} tokens charged, ${formatTokens(refunded)} refunded.`,
    ],
    json: {
      sessionId,
      status: 'Closed',
      chargedWei: charged.toString(),
      refundedWei: refunded.toString(),
    },
  };
}

function at(seconds: number): string {
  return new Date(seconds * 1_000).toISOString();
}
