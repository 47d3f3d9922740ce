/** The answer of a task that ended before: read from IPFS by its evidence, and checked as if it had
 * just come. */
import { openAtRest } from '../adapters/seal/at-rest.js';
import type { Channel } from '../adapters/seal/channel.js';
import { parseChatResult } from '../domain/chat.js';
import { EngineError } from '../domain/errors.js';
import { sameAddress } from '../domain/ids.js';
import type { TaskRecord } from '../domain/lease.js';
import type { Keyring } from '../domain/sealing.js';
import type { TaskEvidence } from '../domain/task.js';
import { identified, type Answer } from './answer.js';
import type { RouterHttp } from './http.js';
import { readJson, readPayload } from './payloads.js';

/** Of a task that came to no agreement. */
const NOTHING = { text: '', toolCalls: [], finishReason: null, verdictAgreed: false } as const;

/** Reads the agreed answer of an ended task.
 * @param reader - what opens the session's results.
 * @throws TASK_NOT_FOUND — the task has not ended.
 * @throws CONTENT_MISMATCH — a block is not what its CID says.
 * @throws SEAL_BROKEN — the result is not the one that its miner committed to. */
export async function readRecorded(
  http: RouterHttp,
  record: TaskRecord,
  reader: { readonly keyring: Keyring; readonly channel: Channel },
): Promise<Answer> {
  const { taskId, outcome, requestCid, evidenceCid } = record;
  if (outcome === null) throw new EngineError('TASK_NOT_FOUND', { taskId, state: record.state });
  const usage = record.usage ?? { promptTokens: 0, completionTokens: 0 };
  const facts = { taskId, outcome, requestCid, usage };
  if (evidenceCid === null) return { ...facts, ...NOTHING, resultCids: [] };

  // The router wrote it: what matters here is checked below, against the miner's own commitment.
  const evidence = readJson(await readPayload(http, evidenceCid)) as TaskEvidence;
  const { medoid } = evidence.verdict;
  const resultCids = evidence.commitments.map((commitment) => commitment.resultCid);
  const agreed = evidence.commitments.find((c) => medoid !== null && sameAddress(c.miner, medoid));
  if (agreed === undefined) return { ...facts, ...NOTHING, resultCids };
  const block = await readPayload(http, agreed.resultCid);
  const result = parseChatResult(readJson(await openAtRest(block, reader.keyring.identity)));
  if ((await reader.channel.resultHash(result)) !== agreed.resultHash) {
    throw new EngineError('SEAL_BROKEN', { reason: 'not the agreed result', taskId });
  }
  const toolCalls = identified(taskId, result.toolCalls);
  const { text, finishReason } = result;
  return { ...facts, text, toolCalls, finishReason, verdictAgreed: true, resultCids };
}
