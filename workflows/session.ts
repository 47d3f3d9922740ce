/**
 * `session`: a session's whole life. Fund on chain → reserve miners → keyring → serve → settle →
 * close with refund → export. No activity runs per task: a router holds the lease and talks to the
 * workflow in updates that carry many tasks. Every end, failures included, gives the rest of the
 * money back.
 */
import {
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  isCancellation,
  log,
  sleep,
} from '@temporalio/workflow';
import { needsClientKeyring, type SessionView } from '../domain/session.js';
import { codeOf } from './failure.js';
import { isRunLong } from './run-length.js';
import { archiveTasks, startRelease, writeManifest } from './session-archive.js';
import { SessionContext, UPDATES_PER_RUN, type SessionInput } from './session-context.js';
import { carryOutOrders } from './session-deposit.js';
import { startExports } from './session-export.js';
import { endInference, runInference } from './session-inference.js';
import { SessionLease } from './session-lease.js';
import { handleMessages } from './session-messages.js';
import { keepReservation, linkReaders, reserveMiners } from './session-miners.js';
import { deliverRest, deliverResults } from './session-host.js';
import { closeOnChain, openOnChain, reportEnded } from './session-money.js';
import { changePolicies, keyOfChange } from './session-policy.js';

export type { SessionInput } from './session-context.js';

/** While tasks are open, idleness is looked at no more often than this. */
const IDLE_CHECK_MS = 30_000;
/** The keyring is awaited this long. */
const KEYRING_TIMEOUT = '1 hour';

export async function session(input: SessionInput): Promise<SessionView> {
  const self = new SessionContext(input);
  const lease = new SessionLease(self);
  handleMessages(self, lease);

  if (input.inference !== undefined) {
    await runInference(self, input.inference, lease);
    self.enter('Closing');
    await endInference(self, input.inference);
  } else {
    if (input.carried === undefined) {
      if (!(await openOnChain(self, input.request))) {
        self.enter('Failed');
        return self.view();
      }
      await prepare(self);
    }
    if (!self.isCloseAsked && self.failure === null) await serve(self, lease);
    self.enter('Closing');
    await closeOnChain(self);
  }
  self.enter(self.failure === null ? 'Closed' : 'Failed');
  await writeManifest(self);
  await startExports(self);
  await startRelease(self);
  if (self.hosting !== null) await deliverRest(self, self.hosting);
  await condition(allHandlersFinished);
  return self.view();
}

/** Reserves miners and settles who can read; leaves `failure` when that cannot be had. */
async function prepare(self: SessionContext): Promise<void> {
  const { policy, sessionId } = self;
  try {
    self.enter('Reserving');
    await reserveMiners(self);
    if (policy.level === 'open') return;
    if (needsClientKeyring(policy)) {
      self.enter('AwaitingKeyring');
      await condition(() => self.keyring !== null || self.isCloseAsked, KEYRING_TIMEOUT);
      if (self.keyring === null && !self.isCloseAsked) self.failure = 'SESSION_NOT_OPEN';
      return;
    }
    const readers = linkReaders(self, self.miners);
    self.keyring = await self.ipfs.createKeyring({ sessionId, readers });
  } catch (error) {
    self.failure = codeOf(error);
  }
}

/** Takes tasks until the session is asked to close, idles or lives too long, or its tasks are used
 * up. */
async function serve(self: SessionContext, lease: SessionLease): Promise<void> {
  self.enter('Open');
  const { hosting } = self;
  let isEnding = false;
  const background = inScope(() =>
    Promise.all([
      lease.hold(),
      expireTasks(self),
      reportEnded(self),
      archiveTasks(self),
      keepReservation(self, lease),
      changePolicies(self, lease),
      ...(hosting === null ? [] : [deliverResults(self, hosting)]),
    ]),
  );
  const orders = inScope(() => carryOutOrders(self, () => isEnding));
  await untilDone(self);
  if (!self.isCloseAsked && isRunUsedUp(self)) {
    await background.stop();
    await orders.stop();
    await continueInNewRun(self);
  }
  self.enter('Closing');
  isEnding = true;
  await endTasks(self, lease);
  await background.stop();
  if (self.change !== null) self.answers.set(keyOfChange(self.change), 'SESSION_NOT_OPEN');
  // The order under way may be on chain or not; the close must know.
  await orders.ended;
}

/** Runs something beside the rest, until it ends or is stopped. */
function inScope(run: () => Promise<unknown>) {
  const scope = new CancellationScope();
  const ended = scope.run(run);
  ended.catch(() => {
    // Read by whoever waits for its end.
  });
  const stop = async (): Promise<void> => {
    scope.cancel();
    try {
      await ended;
    } catch (error) {
      if (!isCancellation(error)) throw error;
    }
  };
  return { ended, stop };
}

async function untilDone(self: SessionContext): Promise<void> {
  const { ledger } = self;
  for (;;) {
    const { policy } = self;
    const isBusy = ledger.openTasks.length > 0 || self.orders.length > 0 || self.change !== null;
    const idleLeftMs = self.lastTaskAtMs + policy.idleSeconds * 1_000 - Date.now();
    const lifeLeftMs = self.expiresAtMs - Date.now();
    if (lifeLeftMs <= 0 || (idleLeftMs <= 0 && !isBusy)) return;
    const waitMs = Math.min(Math.max(idleLeftMs, IDLE_CHECK_MS), lifeLeftMs);
    await condition(() => isDone(self) || self.policy !== policy, waitMs);
    if (isDone(self)) return;
  }
}

function isDone(self: SessionContext): boolean {
  const { ledger, policy, change } = self;
  const isUsedUp = ledger.accepted >= policy.maxTasks && ledger.openTasks.length === 0;
  return self.isCloseAsked || (isUsedUp && change === null) || isRunUsedUp(self);
}

function isRunUsedUp(self: SessionContext): boolean {
  return self.updates >= UPDATES_PER_RUN || isRunLong();
}

async function continueInNewRun(self: SessionContext): Promise<never> {
  await condition(allHandlersFinished);
  const { policyCid } = self;
  if (policyCid === null) throw ApplicationFailure.nonRetryable('no policy', 'INTERNAL');
  return await continueAsNew<typeof session>({ ...self.input, carried: self.carry(policyCid) });
}

/** Tasks under way may end; who is still open after its time has expired. A cancelled session does
 * not wait for a router that it does not have. */
async function endTasks(self: SessionContext, lease: SessionLease): Promise<void> {
  const { ledger, policy } = self;
  const isOver = () => ledger.openTasks.length === 0 || (self.isCancelled && !lease.isHeld);
  await condition(isOver, policy.taskSeconds * 2_000);
  if (self.isCancelled) ledger.cancel(ledger.openTasks.map((task) => task.taskId));
  else ledger.expire(Number.MAX_SAFE_INTEGER);
}

/** The last resort: routers end tasks in time; without any router, the workflow does. */
async function expireTasks(self: SessionContext): Promise<never> {
  const { ledger } = self;
  for (;;) {
    await condition(() => ledger.openTasks.length > 0);
    const lateMs = self.policy.taskSeconds * 2_000;
    await sleep(lateMs);
    const expired = ledger.expire(Date.now() - lateMs);
    if (expired.length > 0) log.warn('tasks expired', { tasks: expired.length });
  }
}
