/** A session of many tasks for tests and benchmarks of exports: its records in an archive and in its
 * workflow's hands, its blocks in memory. */
import type { DatabaseActivityDeps, SessionReader } from '../../activities/database.js';
import { digestOf, marksOf } from '../../adapters/database/sink/columns.js';
import { getJson } from '../../adapters/ipfs/block-store.js';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { ARCHIVE_PAGE_TASKS, type ArchivePage } from '../../domain/archive.js';
import { workflowIds, type Address, type Cid } from '../../domain/ids.js';
import type { TaskRecord } from '../../domain/lease.js';
import type { SessionView } from '../../domain/session.js';
import { memoryStore } from '../activities/memory-store.js';

const MINERS: readonly Address[] = [`0x${'01'.repeat(20)}`, `0x${'02'.repeat(20)}`];
/** Of a short answer, sealed. */
const PAYLOAD_BYTES = 400;

/** What the activities of exports need, but for the sink.
 * @param count - tasks, all settled; the last 1,000 of them are not archived.
 * @returns `payloads`: distinct blocks, of the policy and keyring as well. */
export async function exportedSession(sessionId: string, count: number) {
  const store = memoryStore();
  const block = (text: string) => store.put(Buffer.from(text.padEnd(PAYLOAD_BYTES, '.')));
  const policyCid = await block(`policy of ${sessionId}`);
  const keyringCid = await block(`keyring of ${sessionId}`);
  const tasks: TaskRecord[] = [];
  for (let ordinal = 0; ordinal < count; ordinal++) {
    const commitments = [];
    for (const miner of MINERS) {
      const resultCid = await block(`result ${ordinal} of ${miner} for ${sessionId}`);
      commitments.push({ miner, resultCid, resultHash: `0x${'0a'.repeat(32)}` });
    }
    const scores = MINERS.map((miner) => ({ miner, scoreBps: 9_000, isAgreed: true }));
    tasks.push({
      taskId: `0x${(BigInt(sessionId) * 1_000_000n + BigInt(ordinal)).toString(16).padStart(64, '0')}`,
      ordinal,
      state: 'Settled',
      outcome: 'completed',
      requestCid: await block(`request ${ordinal} for ${sessionId}`),
      evidenceCid: await store.put(
        encodeJson({ sessionId, ordinal, commitments, verdict: { scores } }),
      ),
      usage: { promptTokens: 10, completionTokens: 20 },
      chargeWei: '945000000000000000',
      payments: MINERS.map((miner) => ({ miner, amountWei: '450000000000000000' })),
      settlementTx: `0x${'0c'.repeat(32)}`,
      resultCid: commitments[0]?.resultCid ?? null,
      batchCid: null,
    });
  }
  const view = {
    sessionId,
    owner: MINERS[0],
    state: 'Closed',
    policy: { model: 'm', level: 'link', redundancy: MINERS.length },
    policyCid,
    keyring: { recipient: 'age1session', cid: keyringCid },
    pricePerTokenWei: '10',
    budget: { depositedWei: '1000', reservedWei: '0', chargedWei: '945', refundedWei: '55' },
    tasks: { accepted: count, open: 0, ended: count, settled: count },
  } as unknown as SessionView;

  const archive: Cid[] = [];
  const archived = Math.max(0, Math.floor((count - 1_000) / ARCHIVE_PAGE_TASKS));
  for (let page = 0; page < archived; page++) {
    const records = tasks.slice(page * ARCHIVE_PAGE_TASKS, (page + 1) * ARCHIVE_PAGE_TASKS);
    const previous = archive.at(-1) ?? null;
    const content: ArchivePage = { version: 1, sessionId, previous, records };
    archive.push(await store.put(encodeJson(content)));
  }
  const session: SessionReader = {
    view: async () => view,
    tasks: async () => tasks.slice(archived * ARCHIVE_PAGE_TASKS),
    archive: async () => archive,
  };
  const deps = {
    store,
    session,
    readJson: (cid, parse) => getJson(store, cid, parse),
    openerOf: async () => async () => null,
    saveReceipt: async () => {},
    forgetReceipt: async () => {},
    stopExport: async () => {},
    exportId: workflowIds.exportSession,
    marksOf,
    digestOf,
  } satisfies Omit<DatabaseActivityDeps, 'openSink'>;
  return {
    deps,
    tasks,
    view,
    rows: { session: 1, task: count, task_result: 2 * count, payload: 2 + 4 * count },
  };
}
