/** The driver's users: what they have opened, asked and been promised. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { createIdentity } from '../../../adapters/seal/identity.js';
import type { Account } from '../../../bench/network/people.js';
import type { WholeNetwork } from '../../../bench/network/whole-network.js';
import { findEngineError } from '../../../domain/errors.js';
import type { Hex, SessionId, TaskId } from '../../../domain/ids.js';
import type { PolicyInput } from '../../../domain/session.js';
import type { TaskOutcome } from '../../../domain/task.js';
import { CortensorClient, type Answer, type SessionHandle } from '../../../sdk/index.js';

const ATTEMPTS = 20;
const RETRY_MS = 500;

export interface User extends Account {
  /** One at each router. */
  readonly clients: readonly CortensorClient[];
  /** True while a permit of the user is under way: its nonce is taken. */
  isPaying: boolean;
}

/** A question, with what came back from the first time it was answered. */
export interface Ask {
  readonly key: string;
  readonly prompt: string;
  acknowledged: { readonly taskId: TaskId; readonly outcome: TaskOutcome; text: string } | null;
}

export interface OpenedSession {
  readonly id: SessionId;
  readonly owner: User;
  readonly redundancy: number;
  /** Of the same session, one at each router. */
  readonly handles: readonly SessionHandle[];
  readonly asks: Ask[];
  /** Nothing more is asked of it. */
  isEnding: boolean;
  /** Since when its owner wants out by the chain alone, by `Date.now`; `null`: it does not. */
  exitingSinceMs: number | null;
}

export async function openUsers(network: WholeNetwork): Promise<User[]> {
  return await Promise.all(
    network.users.map(async (account) => {
      const { identity } = await createIdentity();
      const clients = network.routerUrls.map(
        (baseUrl) => new CortensorClient({ baseUrl, apiKey: network.apiKey, identity }),
      );
      return { ...account, clients, isPaying: false };
    }),
  );
}

/** Opens a session through one router, and takes it up at the others.
 * @param onId - called with the session's id before anything is sent. */
export async function openSession(
  user: User,
  terms: { readonly policy: PolicyInput; readonly depositWei: bigint; readonly router: number },
  onId: (id: SessionId) => void,
): Promise<OpenedSession> {
  const { policy, depositWei, router } = terms;
  const client = clientAt(user, router);
  const clientReference: Hex = `0x${randomBytes(32).toString('hex')}`;
  const owner = user.address;
  const prepared = await patiently(() => client.prepareSession({ owner, policy, clientReference }));
  onId(prepared.sessionId);
  const options = { signer: user.wallet, policy, depositWei, clientReference, prepared };
  const opened = await patiently(() => client.openSession(options));
  const exported = await opened.export();
  const handles = await Promise.all(
    user.clients.map((other) => patiently(() => other.importSession(exported))),
  );
  return {
    id: opened.id,
    owner: user,
    redundancy: policy.redundancy ?? 3,
    handles,
    asks: [],
    isEnding: false,
    exitingSinceMs: null,
  };
}

/** Asks at one router, and waits for the whole answer. */
export async function ask(session: OpenedSession, question: Ask, router: number): Promise<Answer> {
  const handle = session.handles[router % session.handles.length] as SessionHandle;
  const messages = [{ role: 'user', content: question.prompt }] as const;
  const options = { idempotencyKey: question.key };
  return await handle.ask({ messages, maxTokens: 24 }, options).done;
}

export function handleAt(session: OpenedSession, router: number): SessionHandle {
  return session.handles[router % session.handles.length] as SessionHandle;
}

function clientAt(user: User, router: number): CortensorClient {
  return user.clients[router % user.clients.length] as CortensorClient;
}

/** As a client does that wants what it has asked for: again, under the same reference. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === ATTEMPTS || findEngineError(error)?.retryable === false) throw error;
      await delay(RETRY_MS);
    }
  }
}
