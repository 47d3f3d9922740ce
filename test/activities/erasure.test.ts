import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Wallet } from 'ethers';
import { createErasureActivities, type ErasureActivityDeps } from '../../activities/erasure.js';
import { recoverTextSigner, signText } from '../../adapters/chain/text-signer.js';
import { getJson, putJson } from '../../adapters/ipfs/block-store.js';
import { canonicalJson } from '../../adapters/ipfs/canonical.js';
import { getDocument, putDocument } from '../../adapters/ipfs/manifest.js';
import type { ErasureReceipt } from '../../domain/erasure.js';
import { EngineError } from '../../domain/errors.js';
import type { Cid } from '../../domain/ids.js';
import { parseManifest, type SessionManifest, type TaskList } from '../../domain/manifest.js';
import type { SessionView } from '../../domain/session.js';
import { memoryStore } from './memory-store.js';

const ENGINE = Wallet.createRandom();
const OWNER = '0x00000000000000000000000000000000000000aa';

interface Left {
  readonly state?: SessionView['state'];
  readonly level?: SessionView['policy']['level'];
  readonly manifestCid?: Cid | null;
}

function world(left: Left = {}) {
  const store = memoryStore();
  const { state = 'Closed', level = 'link', manifestCid = null } = left;
  const view = {
    sessionId: '7',
    owner: OWNER,
    state,
    policy: { level },
    keyring: { recipient: 'age1…', cid: 'keyring' },
    tasks: { accepted: 3, open: 0, ended: 3, settled: 3 },
    manifestCid,
  } as unknown as SessionView;
  const removed: Cid[] = [];
  const deps: ErasureActivityDeps = {
    session: { view: async () => view, archive: async () => ['page'] },
    readManifest: (cid) => getDocument(store, cid, (value) => parseManifest('session', value)),
    readTaskList: (cid) => getDocument(store, cid, (value) => parseManifest('tasks', value)),
    unpin: (cid) => store.unpin(cid),
    removeBlock: async (cid) => {
      removed.push(cid);
      await store.remove(cid);
    },
    sinksOf: async () => ['mine'],
    putJson: (value) => putJson(store, value),
    canonicalJson,
    signText: (text) => signText(ENGINE.privateKey, text),
  };
  return { store, removed, deps, activities: createErasureActivities(deps) };
}

/** A manifest of three tasks, with the blocks that it names. */
async function writeManifest(store: ReturnType<typeof memoryStore>): Promise<Cid> {
  const link = async (text: string) => ({ cid: await store.put(Buffer.from(text)), bytes: null });
  const tasks = await Promise.all(['one', 'two', 'three'].map(link));
  const list: TaskList = { version: 1, kind: 'tasks', sessionId: '7', tasks };
  const manifest: SessionManifest = {
    version: 1,
    kind: 'session',
    chainId: 31_337,
    sessionId: '7',
    owner: OWNER,
    policy: await link('policy'),
    keyrings: [await link('an older keyring'), await link('keyring')],
    archive: [await link('page')],
    tasks: [{ cid: await putDocument(store, list), bytes: null }],
    taskCount: 3,
  };
  return await putDocument(store, manifest);
}

const ASK = { sessionId: '7', workflowId: 'session:31337:7' };

test('planErasure: names every keyring that the session has had', async () => {
  const { store } = world();
  const manifestCid = await writeManifest(store);
  const { deps, store: own } = world({ manifestCid });
  for (const [cid, bytes] of store.blocks) own.blocks.set(cid, bytes);
  const plan = await createErasureActivities(deps).planErasure(ASK);
  assert.equal(plan.keyrings.length, 3);
  assert.ok(plan.keyrings.includes('keyring'));
  const { tasks, pages, sinks } = plan;
  assert.deepEqual({ tasks, pages, sinks }, { tasks: 3, pages: ['page'], sinks: ['mine'] });
});

test('planErasure: goes on from the view where the manifest is gone already', async () => {
  const { store } = world();
  const { activities } = world({ manifestCid: await writeManifest(store) });
  assert.deepEqual((await activities.planErasure(ASK)).keyrings, ['keyring']);
});

const refusals: readonly [what: string, left: Left, type: string][] = [
  ['an open session', { state: 'Open' }, 'ERASURE_REFUSED'],
  ['a session that closes', { state: 'Closing' }, 'ERASURE_REFUSED'],
  ['public content', { level: 'open' }, 'ERASURE_REFUSED'],
  ['a session that is still written down', { manifestCid: null }, 'SESSION_BUSY'],
];
for (const [what, left, type] of refusals) {
  test(`planErasure: refuses ${what}`, async () => {
    await assert.rejects(world(left).activities.planErasure(ASK), { type });
  });
}

test('a session that failed before it was open has no manifest, and can be erased', async () => {
  const plan = await world({ state: 'Failed' }).activities.planErasure(ASK);
  assert.deepEqual(plan.keyrings, ['keyring']);
});

test('destroyKeys: takes the files away at once, as often as it is asked', async () => {
  const { activities, store, removed } = world();
  const cid = await store.put(Buffer.from('a keyring'));
  await activities.destroyKeys({ sessionId: '7', keyrings: [cid] });
  await activities.destroyKeys({ sessionId: '7', keyrings: [cid] });
  assert.deepEqual(removed, [cid, cid]);
  assert.equal(store.blocks.size, 0);
});

test('releaseManifest: gives up manifest, lists and tasks, however often it is cut short', async () => {
  const { deps, store } = world();
  const manifestCid = await writeManifest(store);
  const before = store.blocks.size;
  for (let left = 0; left < 5; left++) {
    let calls = left;
    const unpin = async (cid: Cid): Promise<void> => {
      if (calls-- === 0) throw new EngineError('IPFS_UNREACHABLE');
      await store.unpin(cid);
    };
    const cut = createErasureActivities({ ...deps, unpin }).releaseManifest({
      sessionId: '7',
      manifestCid,
    });
    await assert.rejects(cut, { type: 'IPFS_UNREACHABLE' });
  }
  await createErasureActivities(deps).releaseManifest({ sessionId: '7', manifestCid });
  await createErasureActivities(deps).releaseManifest({ sessionId: '7', manifestCid });
  assert.equal(store.blocks.size, before - 5, 'three tasks, their list, and the manifest');
});

test('signErasure: anybody can tell who signed, and that not a letter was changed', async () => {
  const { activities, store } = world();
  const receipt: ErasureReceipt = {
    version: 1,
    kind: 'erasure',
    chainId: 31_337,
    sessionId: '7',
    owner: OWNER,
    level: 'link',
    keyrings: ['keyring'],
    tasks: 3,
    manifestCid: null,
    sinks: [],
    erasedAt: '2026-01-01T00:00:00.000Z',
  };
  const { cid, ...signed } = await activities.signErasure(receipt);
  assert.deepEqual(await getJson(store, cid, (value) => value), signed);
  assert.equal(recoverTextSigner(canonicalJson(signed.receipt), signed.signature), ENGINE.address);
  const other = canonicalJson({ ...signed.receipt, tasks: 2 });
  assert.notEqual(recoverTextSigner(other, signed.signature), ENGINE.address);
  assert.equal((await activities.signErasure(receipt)).cid, cid, 'the same receipt, the same CID');
});
