/** Turns a session's records into rows: evidence is read by CID, and every sealed block comes along,
 * so that the user's database stands on its own when IPFS is gone. */
import type { BlockStore } from '../adapters/ipfs/block-store.js';
import type { ExportRows, PayloadKind, PayloadRow, TaskResultRow } from '../domain/export.js';
import { sameAddress, type Cid } from '../domain/ids.js';
import type { TaskRecord } from '../domain/lease.js';
import type { SessionView } from '../domain/session.js';
import type { TaskEvidence } from '../domain/task.js';

/** Opens payloads for a sink: their text, or `null` where their kind stays sealed. */
export type Opener = (kind: PayloadKind, bytes: Uint8Array) => Promise<string | null>;

/** Rows of the session and of the given tasks, by ordinal.
 * @param store - reads are re-hashed: a row never holds bytes that are not its CID's.
 * @throws CONTENT_MISSING, CONTENT_MISMATCH, IPFS_UNREACHABLE
 * @throws as `open` */
export async function collectRows(
  store: BlockStore,
  view: SessionView,
  records: readonly TaskRecord[],
  open: Opener,
): Promise<ExportRows> {
  const tasks = records.toSorted((a, b) => a.ordinal - b.ordinal);
  const payloads = new Map<Cid, PayloadRow>();
  const read = async (cid: Cid, kind: PayloadKind): Promise<Uint8Array> => {
    const known = payloads.get(cid);
    if (known !== undefined) return known.bytes;
    const bytes = await store.get(cid);
    payloads.set(cid, { cid, kind, bytes, text: await open(kind, bytes) });
    return bytes;
  };

  if (view.policyCid !== null) await read(view.policyCid, 'policy');
  if (view.keyring !== null) await read(view.keyring.cid, 'keyring');
  const results: TaskResultRow[] = [];
  for (const task of tasks) {
    await read(task.requestCid, 'request');
    if (task.evidenceCid === null) continue;
    const bytes = await read(task.evidenceCid, 'evidence');
    const evidence = JSON.parse(new TextDecoder().decode(bytes)) as TaskEvidence;
    for (const commitment of evidence.commitments) {
      await read(commitment.resultCid, 'result');
      results.push(resultRow(task, evidence, commitment));
    }
  }
  return {
    session: [sessionRow(view)],
    task: tasks.map((task) => ({
      sessionId: view.sessionId,
      taskId: task.taskId,
      ordinal: task.ordinal,
      state: task.state,
      outcome: task.outcome,
      requestCid: task.requestCid,
      evidenceCid: task.evidenceCid,
      promptTokens: task.usage?.promptTokens ?? null,
      completionTokens: task.usage?.completionTokens ?? null,
      chargeWei: task.chargeWei,
      settlementTx: task.settlementTx,
    })),
    task_result: results,
    payload: [...payloads.values()],
  };
}

function resultRow(
  task: TaskRecord,
  evidence: TaskEvidence,
  commitment: TaskEvidence['commitments'][number],
): TaskResultRow {
  const { miner, resultCid, resultHash } = commitment;
  const score = evidence.verdict.scores.find((s) => sameAddress(s.miner, miner));
  const payment = task.payments.find((p) => sameAddress(p.miner, miner));
  return {
    sessionId: evidence.sessionId,
    taskId: task.taskId,
    miner,
    resultCid,
    resultHash,
    scoreBps: score?.scoreBps ?? null,
    isAgreed: score?.isAgreed ?? false,
    paidWei: payment?.amountWei ?? '0',
  };
}

function sessionRow(view: SessionView): ExportRows['session'][number] {
  return {
    sessionId: view.sessionId,
    owner: view.owner,
    state: view.state,
    model: view.policy.model,
    level: view.policy.level,
    redundancy: view.policy.redundancy,
    policyCid: view.policyCid,
    keyringCid: view.keyring?.cid ?? null,
    pricePerTokenWei: view.pricePerTokenWei,
    depositedWei: view.budget.depositedWei,
    chargedWei: view.budget.chargedWei,
    refundedWei: view.budget.refundedWei,
  };
}
