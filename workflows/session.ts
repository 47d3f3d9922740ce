/**
 * `session`: a session's whole life. Fund on chain → reserve miners → keyring → serve → settle →
 * close with refund. No activity runs per task: a router holds the lease and talks to the workflow
 * in updates that carry many tasks. Every end, failures included, gives the rest of the money back.
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
  workflowInfo,
} from '@temporalio/workflow';
import { needsClientKeyring, type SessionView } from '../domain/session.js';
import { codeOf } from './failure.js';
import { archiveTasks } from './session-archive.js';
import { SessionContext, type SessionInput } from './session-context.js';
import { SessionLease } from './session-lease.js';
import { handleMessages } from './session-messages.js';
import { linkReaders, reserveMiners } from './session-miners.js';
import { closeOnChain, openOnChain, reportEnded } from './session-money.js';

export type { SessionInput } from './session-context.js';

/** Updates that one run takes before it continues as new; Temporal allows 2,000. */
const UPDATES_PER_RUN = 1_500;
/** While tasks are open, idleness is looked at no more often than this. */
const IDLE_CHECK_MS = 30_000;
/** The keyring is awaited this long. */
const KEYRING_TIMEOUT = '1 hour';

export async function session(input: SessionInput): Promise<SessionView> {
  const self = new SessionContext(input);
  const lease = new SessionLease(self);
  handleMessages(self, lease);

  if (input.carried === undefined) {
    if (!(await openOnChain(self))) {
      self.state = 'Failed';
      return self.view();
    }
    await prepare(self);
  }
  if (!self.isCloseAsked && self.failure === null) {
    self.state = 'Open';
    await serve(self, lease);
  }
  self.state = 'Closing';
  await closeOnChain(self);
  self.state = self.failure === null ? 'Closed' : 'Failed';
  await condition(allHandlersFinished);
  return self.view();
}

/** Reserves miners and settles who can read; leaves `failure` when that cannot be had. */
async function prepare(self: SessionContext): Promise<void> {
  const { policy, sessionId } = self;
  try {
    self.state = 'Reserving';
    self.miners = await reserveMiners(self);
    if (policy.level === 'open') return;
    if (needsClientKeyring(policy)) {
      self.state = 'AwaitingKeyring';
      await condition(() => self.keyring !== null || self.isCloseAsked, KEYRING_TIMEOUT);
      if (self.keyring === null && !self.isCloseAsked) self.failure = 'SESSION_NOT_OPEN';
      return;
    }
    self.keyring = await self.ipfs.createKeyring({ sessionId, readers: linkReaders(self) });
  } catch (error) {
    self.failure = codeOf(error);
  }
}

/** Takes tasks until the session is asked to close, idles too long, or its tasks are used up. */
async function serve(self: SessionContext, lease: SessionLease): Promise<void> {
  const { policy, ledger } = self;
  const background = new CancellationScope();
  const running = background.run(() =>
    Promise.all([lease.hold(), expireTasks(self), reportEnded(self), archiveTasks(self)]),
  );
  running.catch(() => {
    // Read below: the scope's end is awaited after its cancellation.
  });
  for (;;) {
    const idleMs = Date.now() - self.lastTaskAtMs;
    const leftMs = policy.idleSeconds * 1_000 - idleMs;
    if (leftMs <= 0 && ledger.openTasks.length === 0) break;
    await condition(() => isDone(self), Math.max(leftMs, IDLE_CHECK_MS));
    if (isDone(self)) break;
  }
  const isRunFull = !self.isCloseAsked && isRunUsedUp(self);
  if (!isRunFull) {
    self.state = 'Closing';
    // Tasks under way may end; who is still open after its time has expired.
    await condition(() => ledger.openTasks.length === 0, policy.taskSeconds * 2_000);
    ledger.expire(Number.MAX_SAFE_INTEGER);
  }
  background.cancel();
  try {
    await running;
  } catch (error) {
    if (!isCancellation(error)) throw error;
  }
  if (isRunFull) await continueInNewRun(self);
}

function isDone(self: SessionContext): boolean {
  const { ledger, policy } = self;
  const isUsedUp = ledger.accepted >= policy.maxTasks && ledger.openTasks.length === 0;
  return self.isCloseAsked || isUsedUp || isRunUsedUp(self);
}

function isRunUsedUp(self: SessionContext): boolean {
  return self.updates >= UPDATES_PER_RUN || workflowInfo().continueAsNewSuggested;
}

async function continueInNewRun(self: SessionContext): Promise<never> {
  await condition(allHandlersFinished);
  const { policyCid, miners, keyring } = self;
  if (policyCid === null) throw ApplicationFailure.nonRetryable('no policy', 'INTERNAL');
  return await continueAsNew<typeof session>({
    ...self.input,
    carried: {
      policyCid,
      miners,
      keyring,
      ledger: self.ledger.state(),
      archive: self.archive,
      isClosing: self.isCloseAsked,
    },
  });
}

/** The last resort: routers end tasks in time; without any router, the workflow does. */
async function expireTasks({ ledger, policy }: SessionContext): Promise<never> {
  for (;;) {
    await condition(() => ledger.openTasks.length > 0);
    await sleep(policy.taskSeconds * 2_000);
    const expired = ledger.expire(Date.now() - policy.taskSeconds * 2_000);
    if (expired.length > 0) log.warn('tasks expired', { tasks: expired.length });
  }
}
