/** A task as settlement needs it, put together by a miner alone: from the evidence on IPFS, the terms on
 * chain, and the request, which its identity opens. Oracles check all of it again. */
import { openAtRest } from '../../adapters/seal/at-rest.js';
import { openKeyring } from '../../adapters/seal/keyring.js';
import { chargeOf } from '../../domain/charge.js';
import { maxPromptTokensOf, maxTokensOf, parseInferenceRequest } from '../../domain/chat.js';
import { EngineError } from '../../domain/errors.js';
import { sameAddress, type Address } from '../../domain/ids.js';
import type { InferenceRequest, SettledTask, TaskEvidence } from '../../domain/task.js';
import type { JournalEntry } from '../../nodes/miner/journal.js';
import type { OracleDeps } from '../../nodes/oracle/ports.js';
import { readDocument } from '../../nodes/oracle/results.js';
import { parseTaskEvidence } from '../../nodes/oracle/schema.js';
import { TermsReader } from '../../nodes/oracle/session-terms.js';
import { completionOf, conclude } from '../../nodes/router/outcome.js';

export interface ProveDeps extends Pick<OracleDeps, 'store' | 'chain' | 'models' | 'feeBps'> {
  readonly miner: Address;
  /** Of the miner: keyrings are wrapped for it. */
  readonly identity: string;
}

/** Builds the record of a task that a miner claims.
 * @throws REQUEST_INVALID — the evidence is of another task, or does not have this miner agree.
 * @throws CONTENT_MISSING, CONTENT_MISMATCH, IPFS_UNREACHABLE, CHAIN_UNREACHABLE
 * @throws SEAL_NOT_RECIPIENT, SEAL_BROKEN — the request does not open for this miner.
 * @throws Refusal — as `TermsReader.read`. */
export async function proveTask(
  entry: JournalEntry,
  deps: ProveDeps,
  signal: AbortSignal,
): Promise<SettledTask> {
  const { sessionId, taskId, ordinal, evidenceCid } = entry;
  if (evidenceCid === null) throw unfit('an entry with evidence');
  const evidence = await readDocument(deps.store, evidenceCid, parseTaskEvidence, signal);
  if (evidence.sessionId !== sessionId || !sameAddress(evidence.taskId, taskId)) {
    throw unfit('the evidence of this task');
  }
  const terms = await new TermsReader(deps).read(sessionId, signal);
  const request = await openRequest(evidence, deps, signal);
  const bounds = { maxPromptTokens: maxPromptTokensOf(request), maxTokens: maxTokensOf(request) };
  const completion = completionOf(evidence, evidenceCid, bounds);
  const { agreed } = conclude(completion, evidence.requestCid, evidence);
  if (agreed === null || !completion.paidMiners.some((miner) => sameAddress(miner, deps.miner))) {
    throw unfit('evidence in which this miner agreed');
  }
  const { pricePerTokenWei } = terms;
  const { usage, paidMiners: miners } = completion;
  return {
    sessionId,
    taskId,
    ordinal,
    outcome: 'completed',
    requestCid: evidence.requestCid,
    evidenceCid,
    resultCid: agreed.resultCid,
    ...chargeOf({ usage, pricePerTokenWei, miners, feeBps: deps.feeBps }),
  };
}

async function openRequest(
  { requestCid, keyringCid }: TaskEvidence,
  { store, identity }: ProveDeps,
  signal: AbortSignal,
): Promise<InferenceRequest> {
  if (keyringCid === undefined)
    return readDocument(store, requestCid, parseInferenceRequest, signal);
  const keyring = await openKeyring(await store.get(keyringCid, { signal }), identity);
  const bytes = await openAtRest(await store.get(requestCid, { signal }), keyring.identity);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    // No cause: the parser quotes the plaintext.
    throw new EngineError('REQUEST_INVALID', { field: 'content', expected: 'JSON' });
  }
  return parseInferenceRequest(value);
}

function unfit(expected: string): EngineError {
  return new EngineError('REQUEST_INVALID', { field: 'evidence', expected });
}
