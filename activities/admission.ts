/**
 * Whether the network serves a contract's request, judged before anything is spent on it: policy by
 * its hash, model, price, and what the payment covers. What is asked comes to rest in plain form, as
 * it is on chain anyway.
 */
import type { ChainRequest, RequestText } from '../adapters/chain/queue.js';
import type { ChainSession } from '../adapters/chain/service.js';
import { maxPromptTokensOf } from '../domain/chat.js';
import type { ModelConfig } from '../domain/config.js';
import { EngineError, type ErrorCode } from '../domain/errors.js';
import type { Cid, Hex, SessionId, TaskId } from '../domain/ids.js';
import { parseWei, type WeiString } from '../domain/money.js';
import {
  maxChargeWei,
  parsePolicy,
  type AdmittedInference,
  type SessionPolicy,
} from '../domain/session.js';
import type { ChatRequest, SettledTask } from '../domain/task.js';

export type Admission =
  | {
      readonly status: 'admitted';
      readonly inference: AdmittedInference;
      readonly pricePerTokenWei: WeiString;
    }
  | {
      readonly status: 'refused';
      readonly reason: ErrorCode;
      /** The request's task as it is settled, free: the proof by which the request ends. */
      readonly task: SettledTask;
    }
  /** It has ended, or a reorganisation has taken it. */
  | { readonly status: 'gone' };

export interface AdmissionDeps {
  readonly readText: (request: ChainRequest, block: number) => Promise<RequestText>;
  readonly readSession: (sessionId: SessionId) => Promise<ChainSession | null>;
  readonly readCallbackGasPriceWei: () => Promise<bigint>;
  /** Reads a JSON document by CID; its bytes are re-hashed, its shape is `parse`'s to check. */
  readonly readJson: <T>(cid: Cid, parse: (value: unknown) => T) => Promise<T>;
  /** Pins a document as canonical JSON. */
  readonly putJson: (value: unknown) => Promise<Cid>;
  readonly cidOfDigest: (digest: Hex) => Cid;
  readonly taskIdOf: (sessionId: SessionId, key: string) => Promise<TaskId>;
  readonly seedOf: (taskId: TaskId) => number;
  readonly models: readonly ModelConfig[];
  readonly feeBps: number;
}

/** A policy that IPFS has not found this long after the request is not waited for. */
const POLICY_SECONDS = 120;
/** The key that the task's id is made of, in every session of a contract. */
const TASK_KEY = 'request';

/** What refuses a request for good, as opposed to an outage. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set([
  'POLICY_INVALID',
  'AMOUNT_INVALID',
  'REQUEST_INVALID',
  'CONTENT_MISSING',
  'CONTENT_TOO_LARGE',
  'MODEL_UNKNOWN',
  'MODEL_UNFIT',
  'PROMPT_INVALID',
  'BUDGET_EXHAUSTED',
]);

/** @returns a function that judges a request which is there at a block. What it throws may pass. */
export function createAdmission(
  deps: AdmissionDeps,
): (request: ChainRequest, block: number) => Promise<Admission> {
  const { models, readJson, putJson, cidOfDigest } = deps;

  return async (request, block) => {
    const { globalId, sessionId, consumer, policyHash, maxTokens, deadline } = request;
    const text = await deps.readText(request, block);
    const taskId = await deps.taskIdOf(sessionId, TASK_KEY);
    try {
      const policyCid = cidOfDigest(policyHash);
      const policy = checkPolicy(await readJson(policyCid, parsePolicy));
      const model = modelOf(policy);
      const chat = chatOf(policy.model, decode(text.prompt), maxTokens);
      const depositWei = await readDepositWei(request);
      const maxPromptTokens = maxPromptTokensOf(chat);
      const bounds = {
        maxPromptTokens,
        maxTokens,
        pricePerTokenWei: BigInt(model.pricePerTokenWei),
        miners: policy.redundancy,
        feeBps: deps.feeBps,
      };
      if (maxChargeWei(bounds) > depositWei) throw new EngineError('BUDGET_EXHAUSTED');
      const requestCid = await putJson(chat);
      return {
        status: 'admitted',
        pricePerTokenWei: model.pricePerTokenWei,
        inference: {
          globalId,
          sessionId,
          consumer,
          clientReference: text.clientReference,
          policyHash,
          depositWei: depositWei.toString(),
          maxTokens,
          deadline,
          policy,
          policyCid,
          task: {
            taskId,
            requestCid,
            model: policy.model,
            maxPromptTokens,
            maxTokens,
            seed: deps.seedOf(taskId),
          },
        },
      };
    } catch (error) {
      if (!(error instanceof EngineError) || !REFUSALS.has(error.code)) throw error;
      if (error.code === 'CONTENT_MISSING' && !isOld(request)) throw error;
      const requestCid = await putJson(chatOf('', decodeLossy(text.prompt), maxTokens));
      return {
        status: 'refused',
        reason: error.code,
        task: freeTask(sessionId, taskId, requestCid),
      };
    }
  };

  function modelOf({ model, priceCeilingWei }: SessionPolicy): ModelConfig {
    const served = models.find(({ name }) => name === model);
    if (served === undefined) throw new EngineError('MODEL_UNKNOWN', { model });
    // What a contract asks is a prompt.
    if (served.kind !== 'chat') throw new EngineError('MODEL_UNFIT', { model, kind: served.kind });
    if (BigInt(served.pricePerTokenWei) > parseWei(priceCeilingWei)) {
      const expected = `at least the price, ${served.pricePerTokenWei}`;
      throw new EngineError('POLICY_INVALID', { field: 'priceCeilingWei', expected });
    }
    return served;
  }

  /** The callback's fee is kept back, so that the task cannot use it up. */
  async function readDepositWei({ sessionId, callbackGas }: ChainRequest): Promise<bigint> {
    const [session, priceWei] = await Promise.all([
      deps.readSession(sessionId),
      deps.readCallbackGasPriceWei(),
    ]);
    if (session === null)
      throw new EngineError('CHAIN_UNREACHABLE', { reason: 'a node is behind' });
    const left = session.heldWei - BigInt(callbackGas) * priceWei;
    return left > 0n ? left : 0n;
  }
}

/** What holds for sessions of contracts beyond what holds for all. */
function checkPolicy(policy: SessionPolicy): SessionPolicy {
  if (policy.level !== 'open') {
    throw new EngineError('POLICY_INVALID', { field: 'level', expected: 'open' });
  }
  // Nobody signs for whose database a sink is.
  if (policy.sinks.length > 0) {
    throw new EngineError('POLICY_INVALID', { field: 'sinks', expected: 'none' });
  }
  return policy;
}

function chatOf(model: string, content: string, maxTokens: number): ChatRequest {
  return { model, messages: [{ role: 'user', content }], maxTokens, temperature: 0, topP: 1 };
}

/** @throws PROMPT_INVALID — the bytes are not UTF-8. */
function decode(prompt: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(prompt);
  } catch (cause) {
    throw new EngineError('PROMPT_INVALID', { field: 'prompt', expected: 'UTF-8' }, { cause });
  }
}

function decodeLossy(prompt: Uint8Array): string {
  return new TextDecoder().decode(prompt);
}

function isOld({ requestedAt }: ChainRequest): boolean {
  return Date.now() / 1_000 - requestedAt > POLICY_SECONDS;
}

function freeTask(sessionId: SessionId, taskId: TaskId, requestCid: Cid): SettledTask {
  return {
    sessionId,
    taskId,
    ordinal: 0,
    outcome: 'refused',
    requestCid,
    chargeWei: '0',
    feeWei: '0',
    payments: [],
  };
}
