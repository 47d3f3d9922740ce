/**
 * `export`: the rows of a session into users' stores, by the same adapters that exports use, beside
 * PostgreSQL's own `COPY` of the same pages into the same tables, with the same keys and one transaction
 * a page. The receiver of the webhook is in this process and answers at once; its figure is that of
 * making, signing and noting messages.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { migrate } from '../adapters/database/migrate.js';
import { openPool } from '../adapters/database/pool.js';
import { countRows, digestOf, TABLES, valuesOf } from '../adapters/database/sink/columns.js';
import { openDeliveryLog } from '../adapters/database/sink/delivery-log.js';
import { openMysqlSink } from '../adapters/database/sink/mysql.js';
import { openPostgresSink } from '../adapters/database/sink/postgres.js';
import type { Sink } from '../adapters/database/sink/sink.js';
import { openWebhookSink } from '../adapters/database/sink/webhook.js';
import type { ExportRows } from '../domain/export.js';
import { startMariadb, startPostgres } from '../servers/start/index.js';
import type { Bench, BenchContext } from './bench.js';

/** A hundred tasks a page as exports have it, three miners each, payloads of a short answer's size. */
const PAGES = 20;
const PAGE_TASKS = 100;
const MINERS = ['0x01', '0x02', '0x03'] as const;
const PAYLOAD_BYTES = 600;
const ROUNDS = 3;
const ACCESS = { tls: false, ca: null, allowPrivate: true } as const;
const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

export const exportRows: Bench = {
  name: 'export',
  what: 'rows a second into PostgreSQL, MySQL and a webhook, beside COPY of the same rows',
  target: {},
  run,
};

async function run({ data, say, defer }: BenchContext) {
  const postgres = await startPostgres({ data: join(data, 'postgres') });
  defer(() => postgres.stop());
  const mariadb = await startMariadb({ data: join(data, 'mariadb') });
  defer(() => mariadb.stop());
  const pool = openPool(postgres.engineUrl);
  defer(() => pool.end());
  await migrate(pool);
  const hook = createServer((request, response) => {
    request.resume();
    request.on('end', () => response.writeHead(204).end());
  });
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve));
  defer(async () => void hook.close());
  const hookUrl = `http://127.0.0.1:${(hook.address() as AddressInfo).port}/`;

  const rates: Record<'copy' | 'postgresql' | 'mysql' | 'webhook', number[]> = {
    copy: [],
    postgresql: [],
    mysql: [],
    webhook: [],
  };
  for (let round = 0; round < ROUNDS; round++) {
    const pages = pagesOf(String(round + 1));
    const rows = pages.reduce((sum, page) => sum + rowsOf(page), 0);
    const schema = `round_${round}`;
    const sinks: readonly (readonly ['postgresql' | 'mysql' | 'webhook', Sink])[] = [
      ['postgresql', openPostgresSink({ ...ACCESS, url: postgres.userUrl, schema })],
      ['mysql', openMysqlSink({ ...ACCESS, url: mariadb.url, schema })],
      [
        'webhook',
        openWebhookSink({
          access: { ...ACCESS, url: hookUrl },
          secret: SECRET,
          log: openDeliveryLog(pool, schema),
        }),
      ],
    ];
    for (const [name, sink] of sinks) {
      await sink.prepare();
      const startedMs = performance.now();
      for (const page of pages) await sink.write(String(round + 1), page);
      rates[name].push(rows / ((performance.now() - startedMs) / 1_000));
      const { rows: found } = await digestOf(sink.readMarks(String(round + 1)));
      if (countRows(found) !== rows)
        throw new Error(`${name} holds ${countRows(found)} of ${rows}`);
      await sink.close();
    }
    rates.copy.push(rows / (await copySeconds(postgres.userUrl, `copy_${round}`, pages)));
    const said = Object.entries(rates).map(
      ([name, all]) => `${name} ${Math.round(all.at(-1) ?? 0)}`,
    );
    say(`rows a second: ${said.join(', ')}`);
  }
  const [rowsPerS, copyPerS] = [median(rates.postgresql), median(rates.copy)];
  return {
    rows_per_s: rowsPerS,
    ratio_vs_copy: rowsPerS / copyPerS,
    copy_rows_per_s: copyPerS,
    mysql_rows_per_s: median(rates.mysql),
    webhook_rows_per_s: median(rates.webhook),
  };
}

/** Copies the same pages, each table of a page by one `COPY`, all of a page in one transaction.
 * @returns seconds. */
async function copySeconds(
  url: string,
  schema: string,
  pages: readonly ExportRows[],
): Promise<number> {
  const sink = openPostgresSink({ ...ACCESS, url, schema });
  await sink.prepare();
  await sink.close();
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    let first = true;
    const startedMs = performance.now();
    for (const page of pages) {
      await client.query('begin');
      for (const table of TABLES) {
        // The session's row comes with every page, and is there after the first.
        if (table.name === 'session' && !first) continue;
        const columns = Object.keys(table.columns).join(', ');
        const text = valuesOf(page, table)
          .map((row) => row.map(copyField).join('\t'))
          .join('\n');
        await copy(client, `copy ${schema}.${table.name} (${columns}) from stdin`, `${text}\n`);
      }
      await client.query('commit');
      first = false;
    }
    return (performance.now() - startedMs) / 1_000;
  } finally {
    await client.end();
  }
}

/** One `COPY … FROM STDIN`, by the client library's own messages. */
async function copy(client: pg.Client, text: string, data: string): Promise<void> {
  const statement = {
    submit(connection: pg.Connection) {
      connection.query(text);
    },
    handleCopyInResponse(connection: CopyConnection) {
      connection.sendCopyFromChunk(Buffer.from(data));
      connection.endCopyFrom();
    },
  };
  await new Promise<void>((resolve, reject) => {
    client.query(
      Object.assign(statement, {
        handleCommandComplete: () => {},
        handleReadyForQuery: () => resolve(),
        handleError: (error: Error) => reject(error),
      }),
    );
  });
}

interface CopyConnection {
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

function copyField(value: unknown): string {
  if (value === null) return '\\N';
  if (value instanceof Uint8Array) return `\\\\x${Buffer.from(value).toString('hex')}`;
  return String(value as string | number | boolean)
    .replaceAll('\\', '\\\\')
    .replaceAll('\t', '\\t')
    .replaceAll('\n', '\\n');
}

function pagesOf(sessionId: string): ExportRows[] {
  return Array.from({ length: PAGES }, (_, page) => {
    const ordinals = Array.from({ length: PAGE_TASKS }, (__, i) => page * PAGE_TASKS + i);
    const name = (kind: string, ordinal: number) => `bafkrei${kind}${sessionId}-${ordinal}`;
    const bytes = () => crypto.getRandomValues(new Uint8Array(PAYLOAD_BYTES));
    const id = (ordinal: number) =>
      `0x${(Number(sessionId) * 1e6 + ordinal).toString(16).padStart(64, '0')}` as const;
    return {
      session: [
        {
          sessionId,
          owner: `0x${'aa'.repeat(20)}`,
          state: 'Closed',
          model: 'm',
          level: 'link',
          redundancy: MINERS.length,
          policyCid: null,
          keyringCid: null,
          pricePerTokenWei: '1',
          depositedWei: '1000000000000000000',
          chargedWei: '0',
          refundedWei: '0',
        },
      ],
      task: ordinals.map((ordinal) => ({
        sessionId,
        taskId: id(ordinal),
        ordinal,
        state: 'Settled',
        outcome: 'completed',
        requestCid: name('request', ordinal),
        evidenceCid: name('evidence', ordinal),
        promptTokens: 12,
        completionTokens: 34,
        chargeWei: '945000000000000000',
        settlementTx: `0x${'0c'.repeat(32)}`,
      })),
      task_result: ordinals.flatMap((ordinal) =>
        MINERS.map((miner, i) => ({
          sessionId,
          taskId: id(ordinal),
          miner,
          resultCid: name(`result${i}`, ordinal),
          resultHash: `0x${'0a'.repeat(32)}` as const,
          scoreBps: 9_000,
          isAgreed: true,
          paidWei: '300000000000000000',
        })),
      ),
      payload: ordinals.flatMap((ordinal) => [
        { cid: name('request', ordinal), kind: 'request', bytes: bytes(), text: null },
        { cid: name('evidence', ordinal), kind: 'evidence', bytes: bytes(), text: null },
        ...MINERS.map((_miner, i) => ({
          cid: name(`result${i}`, ordinal),
          kind: 'result' as const,
          bytes: bytes(),
          text: null,
        })),
      ]),
    };
  });
}

/** The session's row is one, however many pages bring it. */
function rowsOf(page: ExportRows): number {
  const isFirst = page.task[0]?.ordinal === 0;
  return (isFirst ? 1 : 0) + page.task.length + page.task_result.length + page.payload.length;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
