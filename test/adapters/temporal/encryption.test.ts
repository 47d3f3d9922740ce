import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import { Runtime, Worker } from '@temporalio/worker';
import { createIdentityFile } from '../../../adapters/seal/identity-file.js';
import { connectClient, dataConverter, openCodec } from '../../../adapters/temporal/connect.js';
import { connectWorker } from '../../../adapters/temporal/connect-worker.js';
import type { EngineConfig } from '../../../domain/config.js';
import { startCodecServer } from '../../../nodes/codec/codec.js';
import { startTemporal } from '../../../servers/start/index.js';
import { activities } from './fixtures/activities.js';
import * as workflows from './fixtures/workflows.js';

const SECRET = 'the-prompt-that-nobody-may-see';
const taskQueue = 'encryption';
const data = await mkdtemp(join(tmpdir(), 'cortensor-temporal-'));
const temporal = await startTemporal({ data });
await createIdentityFile(join(data, 'identity'));
const config: EngineConfig['temporal'] = {
  address: temporal.address,
  namespace: 'default',
  apiKey: null,
  tls: false,
  codec: { identity: `file:${join(data, 'identity')}`, keys: join(data, 'keys') },
};
Runtime.install({ telemetryOptions: { logging: { filter: 'OFF', forward: {} } } });
const { client, close } = await connectClient(config);
const nativeConnection = await connectWorker(config);
const worker = await Worker.create({
  connection: nativeConnection,
  namespace: config.namespace,
  taskQueue,
  workflowsPath: fileURLToPath(new URL('./fixtures/workflows.js', import.meta.url)),
  activities,
  dataConverter: await dataConverter(config),
});
const running = worker.run();
after(async () => {
  worker.shutdown();
  await running;
  await nativeConnection.close();
  await close();
  await temporal.stop();
  await rm(data, { recursive: true });
});

/** Waits for what is not yet so. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await isSo())) {
    assert.ok(Date.now() < deadline, 'not in 60 s');
    await delay(20);
  }
}

test('a secret comes through every kind of payload as it was', async () => {
  const handle = await client.workflow.start(workflows.everything, {
    workflowId: 'everything',
    taskQueue,
    args: [SECRET],
    memo: { secret: SECRET },
  });
  assert.equal(
    await handle.executeUpdate(workflows.repeatUpdate, { args: [SECRET] }),
    `${SECRET} ${SECRET}`,
  );
  await assert.rejects(
    handle.executeUpdate(workflows.refuseUpdate, { args: [SECRET] }),
    (error) => {
      return error instanceof WorkflowUpdateFailedError && error.cause?.message === SECRET;
    },
  );
  await handle.signal(workflows.tellSignal, SECRET);
  assert.equal((await handle.query(workflows.heardQuery, SECRET))[0], SECRET);
  const failure = `${SECRET} < cause ${SECRET}`;
  const chain = `Activity task failed < ${failure}`;
  assert.deepEqual(await handle.result(), [
    SECRET,
    SECRET,
    chain,
    `Activity task failed < ${SECRET}`,
    failure,
    SECRET,
    `Child Workflow execution failed < ${chain}`,
    SECRET,
    SECRET,
    SECRET,
  ]);
  assert.deepEqual((await handle.describe()).memo, { secret: SECRET });
});

test('a workflow that fails by the failure of an activity tells the client all its causes', async () => {
  const run = client.workflow.execute(workflows.failing, {
    workflowId: 'failing',
    taskQueue,
    args: [SECRET],
  });
  await assert.rejects(run, (error) => {
    assert.ok(error instanceof WorkflowFailedError);
    const inner = error.cause?.cause as Error;
    assert.equal(inner.message, SECRET);
    assert.match(inner.stack ?? '', /fixtures\/activities/);
    assert.equal((inner.cause as Error).message, `cause ${SECRET}`);
    return true;
  });
});

test('a secret survives continuing as new, and a start together with a signal or by a schedule', async () => {
  const workflowId = 'again';
  const options = { workflowId, taskQueue, args: [SECRET, 2] as [string, number] };
  assert.equal(await client.workflow.execute(workflows.again, options), SECRET);

  const signalled = await client.workflow.signalWithStart(workflows.everything, {
    workflowId: 'signalled',
    taskQueue,
    args: [SECRET],
    memo: { secret: SECRET },
    signal: workflows.tellSignal,
    signalArgs: [SECRET],
  });
  assert.ok((await signalled.result()).includes(SECRET));

  const schedule = await client.schedule.create({
    scheduleId: 'scheduled',
    spec: {},
    memo: { secret: SECRET },
    action: {
      type: 'startWorkflow',
      workflowType: workflows.again,
      workflowId: 'scheduled',
      taskQueue,
      args: [SECRET, 1],
      memo: { secret: SECRET },
    },
  });
  await schedule.trigger();
  let started: string | undefined;
  await until(async () => {
    const [action] = (await schedule.describe()).info.recentActions;
    started = action?.action.workflow.workflowId;
    return started !== undefined;
  });
  assert.match(started ?? '', /^scheduled-\d{4}-/);
  assert.equal(await client.workflow.getHandle(started ?? '').result(), SECRET);
  assert.deepEqual((await schedule.describe()).memo, { secret: SECRET });
});

test('every payload of a history opens at the codec server, failures included', async () => {
  const codec = await startCodecServer({
    host: '127.0.0.1',
    port: 0,
    codec: await openCodec(config),
    namespace: config.namespace,
    origin: null,
    token: null,
    log: () => undefined,
  });
  try {
    for (const workflowId of ['everything', 'failing']) {
      const history = await client.workflow.getHandle(workflowId).fetchHistory();
      const payloads = encryptedIn(history.events);
      assert.ok(payloads.length > 1, `${payloads.length} payloads`);
      const response = await fetch(`${codec.url}/decode`, {
        method: 'POST',
        body: JSON.stringify({ payloads }),
      });
      assert.equal(response.status, 200);
      const opened = (await response.json()) as { payloads: { data: string }[] };
      const texts = opened.payloads.map(({ data }) => Buffer.from(data, 'base64').toString());
      assert.equal(texts.length, payloads.length);
      assert.ok(texts.some((text) => text === JSON.stringify(SECRET) || text.includes('message')));
      assert.ok(texts.some((text) => text.includes(SECRET)));
    }
  } finally {
    await codec.close();
  }
});

/** All encrypted payloads in a history, in Temporal's JSON form. */
function encryptedIn(value: unknown): unknown[] {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return [];
  const { metadata, data } = value as { metadata?: Record<string, Uint8Array>; data?: Uint8Array };
  const base64 = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString('base64');
  const isEncrypted = base64(metadata?.['encoding']) === base64(Buffer.from('binary/encrypted'));
  if (!isEncrypted) return Object.values(value).flatMap(encryptedIn);
  const entries = Object.entries(metadata ?? {}).map(([key, bytes]) => [key, base64(bytes)]);
  return [{ metadata: Object.fromEntries(entries), data: base64(data) }];
}

test('a workflow task that breaks is recorded without what it broke on', async () => {
  const handle = await client.workflow.start(workflows.broken, {
    workflowId: 'broken',
    taskQueue,
    args: [SECRET],
  });
  await until(async () => {
    const { events } = await handle.fetchHistory();
    return events?.some((event) => event.workflowTaskFailedEventAttributes) ?? false;
  });
  await handle.terminate();
});

// Last, because it looks at what all tests before it have left.
test('no history and no file of the server holds the secret in plain', async () => {
  let histories = 0;
  for await (const { workflowId, runId } of client.workflow.list()) {
    const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
    assert.deepEqual(secretsIn(history), [], workflowId);
    histories++;
  }
  assert.ok(histories >= 10, `only ${histories} histories`);
  const folder = join(data, 'temporal');
  const names = await readdir(folder);
  assert.ok(names.includes('temporal.db'));
  let bytes = 0;
  for (const name of names) {
    const content = await readFile(join(folder, name));
    assert.equal(content.indexOf(SECRET), -1, name);
    bytes += content.length;
  }
  assert.ok(bytes > 100_000);
});

/** Paths of all texts and bytes below a value that hold the secret. */
function secretsIn(value: unknown, path = ''): string[] {
  if (typeof value === 'string') return value.includes(SECRET) ? [path] : [];
  if (value instanceof Uint8Array) return Buffer.from(value).includes(SECRET) ? [path] : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => secretsIn(item, `${path}.${key}`));
}
