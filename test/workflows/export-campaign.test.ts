/**
 * Exports into databases that are killed at random moments. `EXPORT_TASKS` and `EXPORT_KILLS` make the
 * campaign as large as the promise: 10,000 and 100.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { createDatabaseActivities } from '../../activities/database.js';
import { openMysqlSink } from '../../adapters/database/sink/mysql.js';
import { openPostgresSink } from '../../adapters/database/sink/postgres.js';
import type { Sink, SinkAccess } from '../../adapters/database/sink/sink.js';
import type { ExportView } from '../../domain/export.js';
import { TASK_QUEUES, workflowIds } from '../../domain/ids.js';
import {
  startMariadb,
  startPostgres,
  type HostOptions,
  type Running,
} from '../../servers/start/index.js';
import type { ExportSessionInput } from '../../workflows/export-session.js';
import { exportOrderedSignal } from '../../workflows/messages.js';
import { writeHistory } from '../replay/history-file.js';
import { RETRIES, startLocal, withWorkers } from '../support/workflows.js';
import { exportedSession } from './exported-session.js';

const TASKS = Number(process.env['EXPORT_TASKS'] ?? 600);
const KILLS = Number(process.env['EXPORT_KILLS'] ?? 4);
const FAST = {
  ...RETRIES,
  database: { ...RETRIES.database, initialIntervalMs: 100 },
};
const ACCESS = { schema: 'cortensor', tls: false, ca: null, allowPrivate: true } as const;

let env: TestWorkflowEnvironment;
before(async () => {
  env = await startLocal();
});
after(() => env.teardown());

interface Server {
  readonly name: string;
  start(options: HostOptions): Promise<Running & { readonly url: string }>;
  open(access: SinkAccess): Sink;
}
const servers: readonly Server[] = [
  {
    name: 'PostgreSQL',
    start: async (options) => {
      const server = await startPostgres(options);
      return { ...server, url: server.userUrl };
    },
    open: openPostgresSink,
  },
  { name: 'MariaDB', start: startMariadb, open: openMysqlSink },
];

for (const [i, { name, start, open }] of servers.entries()) {
  test(`${name} killed ${KILLS} times during an export of ${TASKS} tasks holds exactly its rows`, async () => {
    const sessionId = String(i + 1);
    const data = await mkdtemp(join(tmpdir(), 'cortensor-test-export-'));
    let pid: number | null = null;
    let onReady = (): void => {};
    const server = await start({
      data,
      onEvent: (event) => {
        if (event.kind === 'ready') {
          ({ pid } = event);
          // As an operator would, who sees it come back; without it, pauses grow with each outage.
          onReady();
        }
        if (event.kind === 'exited') pid = null;
      },
    });
    const sink = open({ ...ACCESS, url: server.url });
    try {
      const { deps, rows } = await exportedSession(sessionId, TASKS);
      let kills = 0;
      let pages = TASKS / 100;
      const kill = async (): Promise<void> => {
        // Of a write on a quiet machine, somewhere from its beginning to after its end.
        await delay(Math.random() * 120);
        if (pid === null || kills === KILLS) return;
        kills++;
        process.kill(pid, 'SIGKILL');
        pid = null;
      };
      const killed: Promise<void>[] = [];
      const harassed: Sink = {
        ...sink,
        write: async (session, batch) => {
          const isDue = Math.random() < (KILLS - kills) / Math.max(1, pages);
          if (isDue && kills < KILLS) killed.push(kill());
          await sink.write(session, batch);
          pages--;
        },
      };
      const database = createDatabaseActivities({ ...deps, openSink: async () => harassed });
      await withWorkers(env, { database }, async () => {
        const input: ExportSessionInput = {
          sessionId,
          workflowId: workflowIds.session(1, sessionId),
          sink: 'mine',
          mode: 'once',
          retries: FAST,
        };
        const begin = (mode: ExportSessionInput['mode']) =>
          env.client.workflow.start('exportSession', {
            workflowId: workflowIds.exportSession(sessionId, name.toLowerCase()),
            taskQueue: TASK_QUEUES.workflows,
            args: [{ ...input, mode }],
          });
        const run = async (mode: ExportSessionInput['mode']): Promise<ExportView> =>
          (await (await begin(mode)).result()) as ExportView;
        const startedMs = Date.now();
        const exporting = await begin('once');
        onReady = () => {
          exporting.signal(exportOrderedSignal, { order: 'retry', id: 'ready' }).catch(() => {
            // It has ended meanwhile.
          });
        };
        const { receipt } = (await exporting.result()) as ExportView;
        // Errors of the outages, and all that the activities were given and gave back.
        const history = writeHistory(await exporting.fetchHistory());
        const { password } = new URL(server.url);
        assert.doesNotMatch(history, /(postgres|mysql):\/\//);
        assert.ok(password === '' || !history.includes(password), 'the history holds a password');
        await Promise.all(killed);
        const seconds = ((Date.now() - startedMs) / 1_000).toFixed(1);
        const held = `${JSON.stringify(receipt?.rows)} ${receipt?.digest}`;
        console.log(`# ${name}: ${kills} kills, ${TASKS} tasks in ${seconds} s: ${held}`);
        assert.ok(kills >= Math.min(KILLS, 1), 'it was killed');
        assert.deepEqual(receipt?.rows, rows);
        const { verification } = await run('verify');
        assert.deepEqual(verification?.faults, { missing: 0, extra: 0, altered: 0 });
        assert.deepEqual(
          [verification?.rows, verification?.digest],
          [receipt?.rows, receipt?.digest],
        );
      });
    } finally {
      await sink.close();
      await server.stop();
      await rm(data, { recursive: true, force: true });
    }
  });
}
