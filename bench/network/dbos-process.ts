/**
 * The other side of the benchmark `pipeline`: a task's five steps as a DBOS Transact workflow, in one
 * process that is HTTP front, miners' hub and workflow executor. Seal, store on Kubo, dispatch to the
 * miners, check, record: each step is `DBOS.runStep`, its output is in PostgreSQL before the next one
 * begins, and the client has its answer when the workflow has ended. Sealing, blocks, miners' hub,
 * runs, signatures and evidence are the engine's own code, with its own crypto thread.
 *
 * What it does as DBOS recommends: small references as outputs, one pool for its system database, the
 * task's id as the workflow's, no tracing. What it leaves out, to its advantage: authentication,
 * limits, budgets, streaming (the answer comes in one piece), settlement, encryption of what the
 * workflow engine stores, notes of who needs which block, and a second process that could take over.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { DBOS } from '@dbos-inc/dbos-sdk';
import pg from 'pg';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { openBlockStore, putJson } from '../../adapters/ipfs/block-store.js';
import { toBase64 } from '../../adapters/seal/bytes.js';
import { openChannel, type Channel } from '../../adapters/seal/channel.js';
import { createKeyring, wrapKeyring } from '../../adapters/seal/keyring.js';
import { seedOf } from '../../adapters/seal/task-id.js';
import { signingDomain } from '../../domain/attestation.js';
import type { EngineConfig } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import {
  sameAddress,
  type Address,
  type Cid,
  type SessionId,
  type TaskId,
} from '../../domain/ids.js';
import type { LeaseInput } from '../../domain/lease.js';
import { parsePolicy, type ReservedMiner } from '../../domain/session.js';
import type { ChatRequest, TaskEvidence } from '../../domain/task.js';
import { CryptoPool } from '../../nodes/router/crypto-pool.js';
import { Dispatch } from '../../nodes/router/dispatch.js';
import { gatherEvidence } from '../../nodes/router/evidence.js';
import { listen } from '../../nodes/router/http-server.js';
import { MinerHub } from '../../nodes/router/hub.js';
import { completionOf } from '../../nodes/router/outcome.js';
import { TaskRun, type RunResult } from '../../nodes/router/task-run.js';
import { TrackRecord } from '../../nodes/router/track-record.js';
import { runChild } from './child.js';

export interface DbosInput {
  readonly config: EngineConfig;
  readonly miners: readonly ReservedMiner[];
  readonly databaseUrl: string;
  readonly model: string;
  /** Miners a task, of each session. */
  readonly sessions: readonly { readonly sessionId: SessionId; readonly redundancy: number }[];
}

export interface DbosReady {
  readonly url: string;
}

/** Connections for workflows and steps; more only wait for the same two cores. */
const POOL_SIZE = 20;
const TASK_MS = 60_000;
const MAX_PROMPT_TOKENS = 64;
const DECIMALS = '1000000000000000000000000000000';

interface Session {
  readonly lease: LeaseInput;
  readonly channel: Channel;
  readonly recipient: string;
  /** age file, base64. */
  readonly keyring: string;
  readonly dispatch: Dispatch;
}

/** What a workflow is given. */
interface Order {
  readonly taskId: TaskId;
  readonly sessionId: SessionId;
  readonly request: ChatRequest;
}

/** What the step of the dispatch leaves: results are at rest, and named. */
interface Dispatched {
  readonly text: string;
  readonly result: Omit<RunResult, 'answers'> & {
    readonly answers: readonly Omit<RunResult['answers'][number], 'result'>[];
  };
}

runChild<DbosInput, DbosReady>(async ({ config, miners, databaseUrl, model, sessions }) => {
  const { chainId, contracts } = config.layers.service;
  const domain = signingDomain(chainId, contracts['sessionPayment'] as Address);
  const store = openBlockStore(config.ipfs);
  const crypto = new CryptoPool();
  const hub = new MinerHub({
    routerId: 'dbos',
    crypto,
    signingDomain: domain,
    registry: {
      readNode: async (address) => {
        const miner = miners.find((known) => sameAddress(known.address, address));
        if (miner === undefined) return null;
        return { ...miner, role: 'miner', status: 'Active', stakeWei: 1n, metadataCid: '' };
      },
    },
    log: () => undefined,
  });
  const track = new TrackRecord();
  const open = new Map<SessionId, Session>();
  for (const { sessionId, redundancy } of sessions) {
    open.set(sessionId, await openSession(sessionId, redundancy));
  }

  async function openSession(sessionId: SessionId, redundancy: number): Promise<Session> {
    const { keyring, recipient } = await createKeyring(sessionId);
    const wrapped = await wrapKeyring(
      keyring,
      miners.map((miner) => miner.recipient),
    );
    const policy = parsePolicy({
      model,
      redundancy,
      level: 'link',
      priceCeilingWei: DECIMALS,
      maxTasks: 100_000,
      idleSeconds: 3_600,
      taskSeconds: TASK_MS / 1_000,
    });
    const lease: LeaseInput = {
      sessionId,
      workflowId: '',
      owner: '0x00000000000000000000000000000000000000aa',
      policy,
      miners,
      validators: [],
      keyring: { cid: await store.put(wrapped), recipient },
      pricePerTokenWei: '1',
      openTasks: [],
      leaving: [],
    };
    return {
      lease,
      channel: await openChannel({ sessionId, channelKey: keyring.channelKey }),
      recipient,
      keyring: toBase64(wrapped),
      dispatch: new Dispatch(miners, model, (address) => hub.find(address), track),
    };
  }

  function sessionOf(sessionId: SessionId): Session {
    const session = open.get(sessionId);
    if (session === undefined) throw new EngineError('SESSION_NOT_FOUND', { sessionId });
    return session;
  }

  async function dispatch({ taskId, sessionId, request }: Order): Promise<Dispatched> {
    const { lease, channel, keyring, dispatch: choice } = sessionOf(sessionId);
    const { redundancy } = lease.policy;
    const sealer = await channel.sealer(taskId, 'client');
    const frame = await sealer.seal(encodeJson(request), true);
    const pins: Promise<unknown>[] = [];
    let opener = await channel.opener(taskId, '');
    let text = Promise.resolve('');
    const run = new TaskRun(
      {
        sessionId,
        taskId,
        seed: seedOf(taskId),
        maxTokens: request.maxTokens,
        redundancy,
        quorum: Math.floor(redundancy / 2) + 1,
        hasPrimary: true,
        waitsForAll: false,
        deadlineMs: TASK_MS,
        firstTokenMs: config.router.firstTokenMs,
        hedgeMs: config.router.hedgeMs,
      },
      {
        signingDomain: domain,
        crypto,
        next: (asked) => {
          const link = choice.next(asked, '', []);
          link?.grant({ sessionId, level: 'link', keyring });
          return link;
        },
        mayCome: (asked) => choice.mayCome(asked),
        onConnected: (listener) => hub.onConnected(listener),
        onPrimary: (primary) => {
          const opened = channel.opener(taskId, primary);
          text = opened.then((fresh) => {
            opener = fresh;
            return '';
          });
        },
        onFrame: (_, sealed) => {
          text = text.then(async (sofar) => {
            const event = JSON.parse(Buffer.from(await opener.open(sealed)).toString()) as {
              type: string;
              text?: string;
            };
            return event.type === 'delta' ? sofar + (event.text ?? '') : sofar;
          });
        },
        onAnswer: (answer) => void pins.push(store.put(answer.result)),
        onFault: (miner) => track.fault(miner),
      },
    );
    run.start({ request: frame });
    const { answers, ...result } = await run.done;
    if (result.status !== 'committed') throw new EngineError(result.failure ?? 'MINER_FAILED');
    await Promise.all(pins);
    return {
      text: await text,
      result: { ...result, answers: answers.map(({ result: _, ...rest }) => rest) },
    };
  }

  async function check(
    { taskId, sessionId }: Order,
    requestCid: Cid,
    { result }: Dispatched,
  ): Promise<{ readonly evidence: TaskEvidence; readonly cid: Cid }> {
    const answers = result.answers.map((answer) => ({ ...answer, result: new Uint8Array() }));
    const evidence = await gatherEvidence(
      { taskId, seed: seedOf(taskId), requestCid, result: { ...result, answers } },
      sessionOf(sessionId).lease,
      async () => {
        throw new EngineError('ORACLE_UNREACHABLE');
      },
    );
    return { evidence, cid: await putJson(store, evidence) };
  }

  const pool = new pg.Pool({ connectionString: databaseUrl, max: POOL_SIZE });
  await pool.query(
    `create table tasks (
       task text primary key, session text not null, outcome text not null,
       evidence text not null, tokens integer not null
     );
     create table sessions (session text primary key, tasks integer not null, tokens bigint not null)`,
  );
  await pool.query(`insert into sessions select unnest($1::text[]), 0, 0`, [[...open.keys()]]);

  /** The task's row and the session's books, in one statement: both or neither. */
  async function record(
    { taskId, sessionId, request }: Order,
    { evidence, cid }: { readonly evidence: TaskEvidence; readonly cid: Cid },
  ): Promise<string> {
    const { maxTokens } = request;
    const bounds = { maxPromptTokens: MAX_PROMPT_TOKENS, maxTokens };
    const { outcome, usage } = completionOf(evidence, cid, bounds);
    await pool.query(
      `with added as (
         insert into tasks values ($1, $2, $3, $4, $5) on conflict do nothing returning tokens
       )
       update sessions set tasks = tasks + 1, tokens = sessions.tokens + added.tokens
       from added where session = $2`,
      [taskId, sessionId, outcome, cid, usage.promptTokens + usage.completionTokens],
    );
    return outcome;
  }

  const serve = DBOS.registerWorkflow(
    async (order: Order): Promise<string> => {
      const { recipient } = sessionOf(order.sessionId);
      const sealed = await DBOS.runStep(
        async () => toBase64(await crypto.seal(encodeJson(order.request), [recipient])),
        { name: 'seal' },
      );
      const requestCid = await DBOS.runStep(() => store.put(Buffer.from(sealed, 'base64')), {
        name: 'store',
      });
      const dispatched = await DBOS.runStep(() => dispatch(order), { name: 'dispatch' });
      const judged = await DBOS.runStep(() => check(order, requestCid, dispatched), {
        name: 'check',
      });
      const outcome = await DBOS.runStep(() => record(order, judged), { name: 'record' });
      if (outcome !== 'completed') throw new EngineError('NO_QUORUM');
      return dispatched.text;
    },
    { name: 'serve' },
  );
  DBOS.setConfig({
    name: 'bench',
    systemDatabaseUrl: databaseUrl,
    systemDatabasePoolSize: POOL_SIZE,
    logLevel: 'error',
  });
  await DBOS.launch();

  let tasks = 0;
  const server: Server = createServer((incoming, outgoing) => {
    const answer = async (): Promise<void> => {
      const { messages, max_tokens: maxTokens } = await bodyOf(incoming);
      const sessionId = String(incoming.headers['x-cortensor-session']);
      const digest = createHash('sha256').update(`${sessionId}:${tasks++}`).digest('hex');
      const taskId: TaskId = `0x${digest}`;
      const request: ChatRequest = { model, messages, maxTokens, temperature: 0, topP: 1 };
      const handle = await DBOS.startWorkflow(serve, { workflowID: taskId })({
        taskId,
        sessionId,
        request,
      });
      const content = await handle.getResult();
      outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
      const chunk = { choices: [{ index: 0, delta: { content } }] };
      outgoing.end(`data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n`);
    };
    answer().catch((error: unknown) => {
      console.error('dbos: a task failed', error);
      outgoing.destroy();
    });
  });
  server.on('upgrade', (request, socket, head) => hub.upgrade(request, socket, head));
  return { url: `http://127.0.0.1:${await listen(server, '127.0.0.1', 0)}` };
});

async function bodyOf(
  incoming: IncomingMessage,
): Promise<{ readonly messages: ChatRequest['messages']; readonly max_tokens: number }> {
  let text = '';
  for await (const part of incoming.setEncoding('utf8')) text += part;
  return JSON.parse(text) as { messages: ChatRequest['messages']; max_tokens: number };
}
