/** What is acknowledged outlives whatever happens to Kubo; what is not is an error that says so. */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import test, { after } from 'node:test';
import { encode } from '@ipld/dag-cbor';
import { openBlockStore, type BlockStore } from '../../../adapters/ipfs/block-store.js';
import { addContent } from '../../../adapters/ipfs/content-store.js';
import { readWhole } from '../../../adapters/ipfs/read-content.js';
import { EngineError } from '../../../domain/errors.js';
import type { Cid } from '../../../domain/ids.js';
import { startKubo } from '../../../servers/start/index.js';
import { kubo as program, obtain } from '../../../servers/obtain/index.js';
import { api, Fixture, inChunks, pattern } from './kubo-fixture.js';

const fixture = await Fixture.create();
after(() => fixture.close());
const MIB = 1024 * 1024;
/** Blocks of each campaign; more by hand. */
const BLOCKS = Number(process.env['CORTENSOR_FAULT_BLOCKS'] ?? 150);

/** A Kubo whose process can be got at; killed, it is started again. */
async function startVictim(name: string) {
  let pid = 0;
  const kubo = await startKubo({
    data: join(fixture.data, name),
    onEvent: (event) => {
      if (event.kind === 'starting') pid = event.pid;
    },
  });
  return { ...kubo, signal: (signal: NodeJS.Signals) => void process.kill(pid, signal) };
}

/** Writes blocks side by side, single ones and documents; tells which were acknowledged. */
async function writeAll(store: BlockStore, from: number, blocks: number) {
  const acknowledged: Cid[] = [];
  const errors: EngineError[] = [];
  const write = async (i: number): Promise<void> => {
    const bytes = i % 3 === 0 ? encode({ block: i }) : pattern(2_000 + i, i + 1);
    try {
      acknowledged.push(await store.put(bytes, i % 3 === 0 ? { codec: 'dag-cbor' } : {}));
    } catch (error) {
      assert.ok(error instanceof EngineError, String(error));
      errors.push(error);
    }
  };
  for (let i = 0; i < blocks; i += 15) {
    await Promise.all(Array.from({ length: 15 }, (_, j) => write(from + i + j)));
  }
  return { acknowledged, errors };
}

async function readAll(store: BlockStore, cids: readonly Cid[]): Promise<void> {
  for (const cid of cids) await store.get(cid);
}

async function untilUp(kubo: { readonly apiUrl: string }): Promise<void> {
  for (const deadline = Date.now() + 60_000; ; await setTimeout(50)) {
    try {
      await fetch(`${kubo.apiUrl}/api/v0/version`, {
        method: 'POST',
        signal: AbortSignal.timeout(2_000),
      });
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
  }
}

test('garbage collection that never stops takes nothing that is acknowledged', async () => {
  const kubo = await fixture.kubo('collected');
  const config = { apiUrl: kubo.apiUrl, timeoutMs: 20_000 };
  const store = openBlockStore(config);
  let [isOver, collections] = [false, 0];
  const collecting = (async () => {
    for (; !isOver; collections++) await api(kubo, 'repo/gc');
  })();
  const bytes = pattern(24 * MIB, 3);
  const uploading = addContent(config, inChunks(bytes), { maxBytes: bytes.length });
  const held: Cid[] = [];
  // However long a collection takes, some begin and end while blocks are written.
  for (let round = 0; round === 0 || collections < 3; round++) {
    const { acknowledged, errors } = await writeAll(store, round * BLOCKS, BLOCKS);
    assert.deepEqual(errors, []);
    held.push(...acknowledged);
  }
  const content = await uploading;
  isOver = true;
  await collecting;
  await api(kubo, 'repo/gc');
  await readAll(store, held);
  assert.ok(
    Buffer.from(await readWhole(store, content.cid, { maxBytes: bytes.length })).equals(bytes),
  );
});

test('a Kubo that is killed in the middle has all that it acknowledged, collected or not', async () => {
  const victim = await startVictim('killed');
  try {
    const store = openBlockStore({ apiUrl: victim.apiUrl, timeoutMs: 10_000 });
    const held: Cid[] = [];
    for (let round = 0; round < 3; round++) {
      const writing = writeAll(store, round * BLOCKS, BLOCKS);
      await setTimeout(60 + 90 * round);
      victim.signal('SIGKILL');
      const { acknowledged, errors } = await writing;
      for (const { code } of errors) assert.equal(code, 'IPFS_UNREACHABLE');
      held.push(...acknowledged);
      await untilUp(victim);
    }
    await api(victim, 'repo/gc');
    await readAll(store, held);
    // What was refused is written by repeating it.
    const again = await writeAll(store, 0, 3 * BLOCKS);
    assert.deepEqual(again.errors, []);
    assert.equal(new Set([...again.acknowledged, ...held]).size, again.acknowledged.length);
  } finally {
    await victim.stop();
  }
});

test('a Kubo that hangs is unreachable in time, and has all that it acknowledged when it goes on', async () => {
  const victim = await startVictim('hung');
  try {
    const store = openBlockStore({ apiUrl: victim.apiUrl, timeoutMs: 1_000 });
    const patient = openBlockStore({ apiUrl: victim.apiUrl, timeoutMs: 20_000 });
    const { acknowledged } = await writeAll(patient, 0, 30);
    victim.signal('SIGSTOP');
    const { acknowledged: none, errors } = await writeAll(store, 100, 15);
    assert.deepEqual(none, []);
    for (const { code } of errors) assert.equal(code, 'IPFS_UNREACHABLE');
    const upload = addContent(
      { apiUrl: victim.apiUrl, timeoutMs: 1_000 },
      inChunks(pattern(9 * MIB)),
      {
        maxBytes: 9 * MIB,
      },
    );
    await assert.rejects(upload, { code: 'IPFS_UNREACHABLE' });
    const [first = ''] = acknowledged;
    await assert.rejects(store.get(first), { code: 'IPFS_UNREACHABLE' });
    victim.signal('SIGCONT');
    await untilUp(victim);
    await api(victim, 'repo/gc');
    await readAll(patient, acknowledged);
  } finally {
    victim.signal('SIGCONT');
    await victim.stop();
  }
});

/** A mount namespace of one's own: then a disk can be small without being root outside. */
const UNSHARE = ['-r', '-m'];
const canUnshare =
  spawnSync('unshare', [...UNSHARE, 'sh', '-c', 'mount -t tmpfs -o size=1m x /mnt']).status === 0;

test(
  'a full disk is an error, and what was acknowledged before is there',
  { skip: canUnshare ? false : 'needs unshare with user and mount namespaces' },
  async () => {
    // The repository is made as always, and its blocks are then laid on a disk of 24 MiB.
    const kubo = await startKubo({ data: join(fixture.data, 'full') });
    await kubo.stop();
    const repository = join(fixture.data, 'full', 'ipfs');
    const { path } = await obtain(program);
    const script =
      'cp -a "$IPFS_PATH/blocks" "$IPFS_PATH/kept" && mount -t tmpfs -o size=24m x "$IPFS_PATH/blocks" && ' +
      'cp -a "$IPFS_PATH/kept/." "$IPFS_PATH/blocks/" && exec "$0" daemon --offline';
    const daemon: ChildProcess = spawn('unshare', [...UNSHARE, 'sh', '-c', script, path], {
      env: { ...process.env, IPFS_PATH: repository, IPFS_TELEMETRY: 'off' },
      stdio: 'ignore',
    });
    try {
      await untilUp(kubo);
      const config = { apiUrl: kubo.apiUrl, timeoutMs: 20_000 };
      const store = openBlockStore(config);
      const acknowledged: Cid[] = [];
      const full = await (async () => {
        for (let i = 0; i < 64; i++) {
          try {
            acknowledged.push(await store.put(pattern(MIB, i + 1)));
          } catch (error) {
            return error;
          }
        }
        return undefined;
      })();
      assert.ok(full instanceof EngineError);
      assert.equal(full.code, 'IPFS_UNREACHABLE');
      assert.ok(acknowledged.length >= 10, `${acknowledged.length} MiB`);
      const upload = addContent(config, inChunks(pattern(8 * MIB, 99)), { maxBytes: 8 * MIB });
      await assert.rejects(upload, { code: 'IPFS_UNREACHABLE' });
      await api(kubo, 'repo/gc');
      await readAll(store, acknowledged);
      // Room again, and it goes on.
      for (const cid of acknowledged.splice(0, 5)) await store.unpin(cid);
      await api(kubo, 'repo/gc');
      acknowledged.push(await store.put(pattern(MIB, 1_000)));
      await readAll(store, acknowledged);
    } finally {
      daemon.kill('SIGKILL');
    }
  },
);
