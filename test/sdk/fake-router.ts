/** A router in memory, with a miner behind it that holds the session's keys as a real one would. */
import { Hono } from 'hono';
import { Wallet } from 'ethers';
import { cidOf } from '../../adapters/ipfs/cid.js';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { sealAtRest, openAtRest } from '../../adapters/seal/at-rest.js';
import { fromBase64, toUtf8 } from '../../adapters/seal/bytes.js';
import { openChannel, type Channel } from '../../adapters/seal/channel.js';
import { createIdentity } from '../../adapters/seal/identity.js';
import { openKeyring } from '../../adapters/seal/keyring.js';
import { taskIdOf } from '../../adapters/seal/task-id.js';
import type { NetworkInfo, SetKeyringRequest } from '../../domain/api.js';
import { EngineError } from '../../domain/errors.js';
import type { Address, Cid, TaskId } from '../../domain/ids.js';
import type { TaskRecord } from '../../domain/lease.js';
import type { Keyring } from '../../domain/sealing.js';
import type { OpenSessionRequest, SessionState, SessionView } from '../../domain/session.js';
import type { ChatRequest, ChatResult, StreamEvent } from '../../domain/task.js';
import type { SealedTaskRequest, TaskStreamEvent } from '../../domain/wire.js';

export const NETWORK: NetworkInfo = {
  version: '0',
  chainId: 31_337,
  contracts: {
    token: `0x${'a1'.repeat(20)}`,
    sessionManager: `0x${'a2'.repeat(20)}`,
    sessionPayment: `0x${'a3'.repeat(20)}`,
  },
  models: [{ name: 'scripted-1', kind: 'chat', pricePerTokenWei: '3' }],
  feeBps: 500,
  gatewayUrl: 'http://gateway',
};
const EVIDENCE_COMMITMENTS = [{ resultCid: 'bafkone' }, { resultCid: 'bafktwo' }];

/** A task as its miners see it, for a test to script their answers. */
export interface Asked {
  readonly taskId: TaskId;
  readonly request: ChatRequest;
  readonly channel: Channel;
  readonly keyring: Keyring;
  /** Counts from 1 over attempts. */
  readonly attempt: number;
}

/** What the router sends for one attempt; `cut` breaks the connection where it stands. */
export type Script = (asked: Asked) => AsyncGenerator<TaskStreamEvent | 'cut'>;

export async function createFakeRouter() {
  const node = await createIdentity({ postQuantum: true });
  const miners = [new Wallet(`0x${'21'.repeat(32)}`), new Wallet(`0x${'22'.repeat(32)}`)];
  const blocks = new Map<Cid, Uint8Array>();
  const seen = {
    opened: [] as OpenSessionRequest[],
    tasks: [] as SealedTaskRequest[],
    completions: [] as { key: string | undefined; session: string | undefined; body: unknown }[],
    /** Of routes that change a session or a task, by the path behind the session's id. */
    changes: [] as { path: string; body: unknown }[],
    keyrings: 0,
    fetches: 0,
  };
  let state: SessionState = 'Opening';
  let opening: OpenSessionRequest | undefined;
  let keyring: Keyring | undefined;
  let keyringView: SessionView['keyring'] = null;
  const router = {
    script: undefined as Script | undefined,
    /** Body of a chat completion's attempt, as text parts; `cut` as in `Script`. */
    completion: undefined as ((attempt: number, stream: boolean) => readonly string[]) | undefined,
    outcome: 'completed' as TaskRecord['outcome'],
    /** Attempts to fail before anything is answered. */
    refuseConnections: 0,
  };
  const address = (index: number): Address => miners[index]?.address as Address;
  const put = (bytes: Uint8Array): Cid => {
    const cid = cidOf(bytes);
    blocks.set(cid, bytes);
    return cid;
  };
  const view = (): SessionView => {
    if (opening === undefined) throw new EngineError('SESSION_NOT_FOUND');
    const reserved = [0, 1].map((i) => ({ address: address(i), recipient: node.recipient }));
    return {
      sessionId: opening.sessionId,
      owner: opening.owner,
      state,
      policy: opening.policy,
      policyCid: null,
      policyNonce: 0,
      expiresAtMs: 0,
      pricePerTokenWei: '3',
      miners: reserved,
      validators: [],
      keyring: keyringView,
      budget: {
        depositedWei: opening.depositWei,
        reservedWei: '0',
        chargedWei: '0',
        refundedWei: '0',
        freeWei: opening.depositWei,
      },
      tasks: { accepted: 0, open: 0, ended: 0, settled: 0 },
      manifestCid: null,
      failure: null,
    };
  };

  const app = new Hono();
  app.onError((error, c) => {
    const known = error instanceof EngineError ? error : new EngineError('INTERNAL');
    const { code, message, details } = known;
    const body = { code, message, type: 'api_error', param: null, details, requestId: 'r' };
    return c.json({ error: body }, known.status as 400);
  });
  app.use(async (c, next) => {
    if (c.req.header('authorization') !== 'Bearer key') throw new EngineError('API_KEY_INVALID');
    await next();
  });
  app.get('/api/v1/network', (c) => c.json(NETWORK));
  app.get('/api/v1/accounts/:address', (c) =>
    c.json({ address: c.req.param('address'), balanceWei: '1000', permitNonce: '7' }),
  );
  app.post('/api/v1/sessions', async (c) => {
    opening = await c.req.json<OpenSessionRequest>();
    seen.opened.push(opening);
    state = opening.policy.level.startsWith('sealed') ? 'AwaitingKeyring' : 'Open';
    return c.json(view(), 201);
  });
  app.get('/api/v1/sessions/:id', (c) => c.json(view()));
  app.put('/api/v1/sessions/:id/keyring', async (c) => {
    const body = await c.req.json<SetKeyringRequest>();
    const file = fromBase64(body.keyring);
    seen.keyrings++;
    keyring = await openKeyring(file, node.identity);
    keyringView = { recipient: body.recipient, cid: put(file) };
    state = 'Open';
    return c.json(view());
  });
  app.post('/api/v1/sessions/:id/close', (c) => {
    state = 'Closing';
    return c.json(view(), 202);
  });
  for (const path of ['deposits', 'deposits/sync', 'withdrawals', 'policy', 'cancel']) {
    app.post(`/api/v1/sessions/:id/${path}`, async (c) => {
      const text = await c.req.text();
      seen.changes.push({ path, body: text === '' ? null : (JSON.parse(text) as unknown) });
      return c.json(view(), 202);
    });
  }
  app.post('/api/v1/sessions/:id/tasks/:taskId/cancel', (c) => {
    seen.changes.push({ path: 'tasks/cancel', body: c.req.param('taskId') });
    return c.json({ taskId: c.req.param('taskId'), outcome: 'cancelled' });
  });
  app.get('/api/v1/sessions/:id/tasks/:taskId/proof', (c) =>
    c.json({ taskId: c.req.param('taskId'), root: '0x1' }),
  );
  app.get('/api/v1/sessions/:id/tasks', (c) => c.json([{ query: c.req.query() }]));
  app.get('/api/v1/payloads/:cid', (c) => {
    const bytes = blocks.get(c.req.param('cid'));
    if (bytes === undefined) throw new EngineError('CONTENT_MISSING');
    return c.body(new Uint8Array(bytes));
  });
  app.get('/api/v1/sessions/:id/tasks/:taskId', (c) =>
    c.json({
      taskId: c.req.param('taskId') as TaskId,
      ordinal: 0,
      state: 'Ended',
      outcome: router.outcome,
      requestCid: 'bafkrequest',
      evidenceCid: put(encodeJson({ commitments: EVIDENCE_COMMITMENTS })),
      resultCid: null,
      usage: { promptTokens: 4, completionTokens: 2 },
      chargeWei: '0',
      payments: [],
      settlementTx: null,
      batchCid: null,
    } satisfies TaskRecord),
  );
  app.post('/api/v1/sessions/:id/tasks', async (c) => {
    const body = await c.req.json<SealedTaskRequest>();
    seen.tasks.push(body);
    if (keyring === undefined || router.script === undefined) throw new EngineError('INTERNAL');
    const channel = await openChannel(keyring);
    const taskId = await taskIdOf(keyring.sessionId, body.idempotencyKey);
    const opener = await channel.opener(taskId, 'client');
    const decode = (bytes: Uint8Array) =>
      JSON.parse(new TextDecoder().decode(bytes)) as ChatRequest;
    const request = decode(await opener.open(body.request));
    const atRest = decode(await openAtRest(fromBase64(body.sealedRequest), keyring.identity));
    if (JSON.stringify(atRest) !== JSON.stringify(request)) throw new EngineError('INTERNAL');
    const asked = { taskId, request, channel, keyring, attempt: seen.tasks.length };
    return sse(textOf(router.script(asked)));
  });
  app.post('/v1/chat/completions', async (c) => {
    const body = await c.req.json<{ stream: boolean }>();
    const header = (name: string) => c.req.header(name);
    seen.completions.push({
      key: header('idempotency-key'),
      session: header('x-cortensor-session'),
      body,
    });
    const parts = router.completion?.(seen.completions.length, body.stream) ?? [];
    if (!body.stream) return c.json(JSON.parse(parts.join('')) as object);
    return sse(each(parts));
  });

  return {
    address,
    app,
    blocks,
    miners,
    put,
    recipient: node.recipient,
    router,
    seen,
    async fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
      seen.fetches++;
      if (router.refuseConnections > 0) {
        router.refuseConnections--;
        throw new TypeError('fetch failed');
      }
      const url = new URL(input instanceof Request ? input.url : input);
      return app.request(url.pathname + url.search, init);
    },
  };
}

/** Frames of a whole answer, sealed as its miner seals them. */
export async function* framesOf(
  asked: Asked,
  author: Address,
  words: readonly string[],
): AsyncGenerator<TaskStreamEvent> {
  const sealer = await asked.channel.sealer(asked.taskId, author);
  const seal = async (event: StreamEvent): Promise<TaskStreamEvent> => ({
    type: 'frame',
    author,
    frame: await sealer.seal(toUtf8(JSON.stringify(event)), event.type === 'end'),
  });
  for (const text of words) yield await seal({ type: 'delta', text });
  const usage = { promptTokens: 4, completionTokens: words.length };
  yield await seal({ type: 'end', finishReason: 'stop', usage });
}

/** A result block as its miner leaves it on IPFS. */
export async function resultBlock(
  text: string,
  recipient: string,
): Promise<{ readonly block: Uint8Array; readonly result: ChatResult }> {
  const usage = { promptTokens: 4, completionTokens: 2 };
  const result: ChatResult = { model: 'scripted-1', text, finishReason: 'stop', usage };
  return { block: await sealAtRest(encodeJson(result), [recipient]), result };
}

async function* textOf(events: AsyncGenerator<TaskStreamEvent | 'cut'>): AsyncGenerator<string> {
  let index = 0;
  for await (const event of events) {
    yield event === 'cut' ? event : `id: ${index++}\ndata: ${JSON.stringify(event)}\n\n`;
  }
}

async function* each(parts: readonly string[]): AsyncGenerator<string> {
  for (const part of parts) yield part === 'cut' ? part : `data: ${part}\n\n`;
}

function sse(parts: AsyncGenerator<string>): Response {
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await parts.next();
      if (done === true) controller.close();
      else if (value === 'cut') controller.error(new TypeError('terminated'));
      else controller.enqueue(toUtf8(value));
    },
  });
  return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
}
