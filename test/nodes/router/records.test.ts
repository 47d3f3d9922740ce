/** Records of old tasks, and proofs of settled ones. */
import assert from 'node:assert/strict';
import { before, after, test } from 'node:test';
import { merkleRoot, taskLeaf } from '../../../adapters/chain/merkle.js';
import { encodeJson } from '../../../adapters/ipfs/canonical.js';
import { cidOf, digestOf } from '../../../adapters/ipfs/cid.js';
import type { TaskProof } from '../../../domain/api.js';
import type { ArchivePage } from '../../../domain/archive.js';
import type { Cid, TaskId } from '../../../domain/ids.js';
import type { TaskRecord } from '../../../domain/lease.js';
import { sumBatch, type SettlementBatch } from '../../../domain/settlement.js';
import type { SettledTask } from '../../../domain/task.js';
import { SESSION, startWorld, type World } from './support.js';

const ARCHIVED = 1_200;
const RECENT = 30;
const TX = `0x${'7c'.repeat(32)}` as const;
const idOf = (ordinal: number): TaskId => `0x${(ordinal + 1).toString(16).padStart(64, '0')}`;
const cid = (text: string): Cid => cidOf(Buffer.from(text));

const settled = (ordinal: number): SettledTask => ({
  sessionId: SESSION,
  taskId: idOf(ordinal),
  ordinal,
  outcome: 'completed',
  requestCid: cid(`request ${ordinal}`),
  evidenceCid: cid(`evidence ${ordinal}`),
  resultCid: cid(`result ${ordinal}`),
  chargeWei: '1',
  feeWei: '1',
  payments: [],
});

let world: World;
let batchCid: Cid;
let batch: SettlementBatch;

before(async () => {
  world = await startWorld([]);
  // Another session's task lies between them.
  const tasks = [settled(3), { ...settled(3), sessionId: '9' }, settled(ARCHIVED), settled(7)];
  const root = merkleRoot(tasks.map(taskLeaf));
  batch = { version: 1, batchId: `0x${'ba'.repeat(32)}`, root, tasks, ...sumBatch(tasks) };
  batchCid = await world.blocks.put(encodeJson(batch));
  let previous: Cid | null = null;
  // Tasks end in another order than they come in, and at some page the two mix.
  const ordinals = Array.from({ length: ARCHIVED }, (_, i) => (i % 2 === 0 ? i + 1 : i - 1));
  for (let at = 0; at < ARCHIVED; at += 400) {
    const records = ordinals.slice(at, at + 400).map(record);
    const page: ArchivePage = { version: 1, sessionId: SESSION, previous, records };
    previous = await world.blocks.put(encodeJson(page));
    world.gateway.pages.push(previous);
  }
  for (let i = ARCHIVED; i < ARCHIVED + RECENT; i++) world.gateway.records.set(idOf(i), record(i));
});
after(() => world.close());

function record(ordinal: number): TaskRecord {
  const { taskId, outcome, requestCid, evidenceCid = null, resultCid = null } = settled(ordinal);
  const isOurs = [3, 7, ARCHIVED].includes(ordinal);
  return {
    taskId,
    ordinal,
    state: isOurs ? 'Settled' : 'Ended',
    outcome,
    requestCid,
    evidenceCid,
    resultCid,
    usage: null,
    chargeWei: '1',
    payments: [],
    settlementTx: isOurs ? TX : null,
    batchCid: isOurs ? batchCid : null,
  };
}

async function get<T>(path: string): Promise<{ status: number; body: T }> {
  const response = await world.ask(`/api/v1/sessions/${SESSION}/tasks${path}`);
  return { status: response.status, body: (await response.json()) as T };
}
const list = async (query: string) =>
  (await get<TaskRecord[]>(query)).body.map(({ ordinal }) => ordinal);
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

test('tasks are listed by ordinal, over archive and workflow alike', async () => {
  assert.deepEqual(await list(''), range(0, 1_000));
  assert.deepEqual(await list('?from=1000'), range(1_000, ARCHIVED + RECENT));
  assert.deepEqual(await list('?from=398&limit=4'), range(398, 402));
  assert.deepEqual(await list(`?from=${ARCHIVED - 1}&limit=2`), [ARCHIVED - 1, ARCHIVED]);
  assert.deepEqual(await list('?from=99999'), []);
});

test('pages that hold nothing of what is asked for are not read again', async () => {
  await list('?from=0&limit=1');
  const read: Cid[] = [];
  const { get: original } = world.blocks;
  world.blocks.get = (asked) => (read.push(asked), original.call(world.blocks, asked));
  assert.deepEqual(await list('?from=900&limit=10'), range(900, 910));
  world.blocks.get = original;
  assert.deepEqual(read, [world.gateway.pages[2]]);
});

test('a range that is none is refused with the field', async () => {
  for (const [query, field] of [
    ['?from=-1', 'from'],
    ['?from=1e3', 'from'],
    ['?limit=0', 'limit'],
    ['?limit=1001', 'limit'],
  ] as const) {
    const { status, body } = await get<{ error: { details: { field: string } } }>(query);
    assert.deepEqual([status, body.error.details.field], [400, field]);
  }
});

test('an archived task is found by its id', async () => {
  assert.equal((await get<TaskRecord>(`/${idOf(5)}`)).body.ordinal, 5);
  assert.equal((await get(`/${idOf(5_000)}`)).status, 404);
});

test('a settled task has a proof that leads from its leaf to the root of its batch', async () => {
  for (const ordinal of [3, 7, ARCHIVED]) {
    const { body } = await get<TaskProof>(`/${idOf(ordinal)}/proof`);
    const { proof, ...facts } = body;
    assert.deepEqual(facts, {
      sessionId: SESSION,
      taskId: idOf(ordinal),
      ordinal,
      outcome: 'completed',
      evidenceDigest: digestOf(cid(`evidence ${ordinal}`)),
      resultDigest: digestOf(cid(`result ${ordinal}`)),
      chargeWei: '1',
      batchId: batch.batchId,
      batchCid,
      root: batch.root,
      leaf: taskLeaf(settled(ordinal)),
      settlementTx: TX,
    });
    assert.equal(proof.length, 2);
  }
});

test('a task that is not settled has no proof, and a document that does not fit gives none', async () => {
  type Failure = { error: { code: string } };
  const { status, body } = await get<Failure>(`/${idOf(4)}/proof`);
  assert.deepEqual([status, body.error.code], [409, 'TASK_NOT_SETTLED']);
  const forged = { ...batch, tasks: batch.tasks.map((task) => ({ ...task, chargeWei: '2' })) };
  const forgedCid = await world.blocks.put(encodeJson(forged));
  const kept = record(ARCHIVED);
  world.gateway.records.set(kept.taskId, { ...kept, batchCid: forgedCid });
  const answer = await get<Failure>(`/${kept.taskId}/proof`);
  world.gateway.records.set(kept.taskId, kept);
  assert.deepEqual([answer.status, answer.body.error.code], [500, 'INVARIANT_BROKEN']);
});
