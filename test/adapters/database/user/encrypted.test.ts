/** Databases of users that are encrypted to, as sinks and as sources, on a real PostgreSQL and a real
 * MariaDB with the certificates of an authority that lives as long as this file. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { chown, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import { openPool, query } from '../../../../adapters/database/pool.js';
import { openMysqlSink } from '../../../../adapters/database/sink/mysql.js';
import { openPostgresSink } from '../../../../adapters/database/sink/postgres.js';
import { openSinks } from '../../../../adapters/database/sink/sinks.js';
import type { Sink, SinkAccess } from '../../../../adapters/database/sink/sink.js';
import { openUserDatabase } from '../../../../adapters/database/user/database.js';
import { readTable } from '../../../../adapters/database/user/table.js';
import type { SinkConfig } from '../../../../domain/config.js';
import type { EngineError } from '../../../../domain/errors.js';
import { startMariadb, startPostgres } from '../../../../servers/start/index.js';
import {
  createAuthority,
  type Authority,
  type Certificate,
} from '../../../support/certificates.js';
import { batch, SESSION, task } from '../sink/rows.js';

const OPTIONS = { maxConnections: 1, statementTimeoutMs: 30_000 };
const LIMITS = { rows: 10, bytes: 1_000, statementMs: 10_000 };

let folder: string;
let authority: Authority;
let stranger: Authority;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cortensor-test-tls-'));
  authority = createAuthority(join(folder, 'authority'));
  stranger = createAuthority(join(folder, 'stranger'));
});
after(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }));

interface Server {
  /** At `localhost`. */
  readonly url: string;
  /** Has new connections meet another certificate. */
  present(certificate: Certificate): Promise<void>;
  /** The protocol of a connection's encryption, as the server sees it; empty where there is none. */
  readonly protocolQuery: string;
  stop(): Promise<void>;
}

interface Kind {
  readonly name: string;
  readonly sinkKind: SinkConfig['kind'];
  openSink(access: SinkAccess): Sink;
  start(certificate: Certificate): Promise<Server>;
}

function atLocalhost(url: string): string {
  return Object.assign(new URL(url), { hostname: 'localhost' }).href;
}

const kinds: readonly Kind[] = [
  {
    name: 'postgresql',
    sinkKind: 'postgresql',
    openSink: openPostgresSink,
    async start(certificate) {
      const data = join(folder, 'postgresql');
      const server = await startPostgres({ data });
      const cluster = join(data, 'postgres');
      const { uid, gid } = await stat(cluster);
      const password = (await readFile(join(data, 'keys', 'postgres-admin'), 'utf8')).trim();
      const admin = Object.assign(new URL(server.userUrl), { username: 'postgres', password });
      const pool = openPool(admin.href, { maxConnections: 1 });
      let shown = 0;
      const present = async ({ cert, key }: Certificate): Promise<void> => {
        const name = `server-${shown++}`;
        for (const [ending, text] of Object.entries({ crt: cert, key })) {
          const file = join(cluster, `${name}.${ending}`);
          await writeFile(file, text, { mode: 0o600 });
          await chown(file, uid, gid);
        }
        await query(pool, `alter system set ssl_cert_file = '${name}.crt'`);
        await query(pool, `alter system set ssl_key_file = '${name}.key'`);
        await query(pool, 'alter system set ssl = on');
        await query(pool, 'select pg_reload_conf()');
        // Connections that are made from then on have it.
        for (const deadline = Date.now() + 60_000; ;) {
          const fresh = openPool(admin.href, { maxConnections: 1 });
          const [row] = await query<{ ssl_cert_file: string }>(fresh, 'show ssl_cert_file');
          await fresh.end();
          if (row?.ssl_cert_file === `${name}.crt`) return;
          if (Date.now() > deadline) throw new Error('the server keeps its certificate');
          await delay(20);
        }
      };
      await present(certificate);
      return {
        url: atLocalhost(server.userUrl),
        present,
        protocolQuery: 'select version as protocol from pg_stat_ssl where pid = pg_backend_pid()',
        async stop() {
          await pool.end();
          await server.stop();
        },
      };
    },
  },
  {
    name: 'mysql',
    sinkKind: 'mysql',
    openSink: openMysqlSink,
    async start(certificate) {
      const files = { certFile: join(folder, 'mariadb.crt'), keyFile: join(folder, 'mariadb.key') };
      const write = async ({ cert, key }: Certificate) => {
        await writeFile(files.certFile, cert);
        await writeFile(files.keyFile, key, { mode: 0o600 });
      };
      await write(certificate);
      const server = await startMariadb({ data: join(folder, 'mysql'), tls: files });
      const { hostname, port } = new URL(server.url);
      const on = { host: hostname, port: Number(port), user: 'root' };
      const root = await mysql.createConnection(on);
      await root.query('create database shop');
      await root.query(`create user owner@'%' identified by 'secret'`);
      await root.query(`grant all on shop.* to owner@'%'`);
      return {
        url: `mysql://owner:secret@localhost:${port}/shop`,
        async present(other) {
          await write(other);
          await root.query('flush ssl');
        },
        protocolQuery: `select variable_value as protocol from information_schema.session_status
          where variable_name = 'Ssl_version'`,
        async stop() {
          await root.end();
          await server.stop();
        },
      };
    },
  },
];

for (const kind of kinds) {
  describe(kind.name, () => {
    let server: Server;
    before(async () => {
      server = await kind.start(authority.issue('localhost'));
    });
    after(() => server.stop());

    const access = (change: Partial<SinkAccess> = {}): SinkAccess => ({
      url: server.url,
      schema: 'shop',
      tls: true,
      ca: authority.cert,
      allowPrivate: true,
      ...change,
    });

    /** The protocol that a source's query travels by. */
    async function protocolOf(on: SinkAccess): Promise<string | undefined> {
      const database = openUserDatabase(on, OPTIONS);
      try {
        const spec = { kind: 'table', database: 'x', query: server.protocolQuery } as const;
        const [row] = await readTable(database, { ...spec, title: 'protocol' }, LIMITS);
        return row?.title;
      } finally {
        await database.close();
      }
    }

    async function writeTo(on: SinkAccess): Promise<void> {
      const sink = kind.openSink(on);
      try {
        await sink.prepare();
        await sink.write(SESSION, batch([task(0)]));
      } finally {
        await sink.close();
      }
    }

    async function refused(on: SinkAccess, reason: string): Promise<void> {
      const check = (code: string) => (error: EngineError) => {
        assert.deepEqual([error.code, error.details['reason']], [code, reason]);
        assert.doesNotMatch(error.message, /secret|BEGIN/);
        return true;
      };
      await assert.rejects(protocolOf(on), check('DATABASE_UNTRUSTED'));
      await assert.rejects(writeTo(on), check('SINK_UNTRUSTED'));
    }

    test(`${kind.name}: a certificate of an authority that the user trusts is encrypted to`, async () => {
      assert.match((await protocolOf(access())) ?? '', /^TLSv1\.[23]$/);
      await writeTo(access());
    });

    test(`${kind.name}: an authority that nobody named is not trusted, and neither is what is none`, async () => {
      await refused(access({ ca: null }), 'unknown-authority');
      await refused(access({ ca: stranger.cert }), 'unknown-authority');
      await refused(access({ ca: 'not a certificate' }), 'unknown-authority');
    });

    test(`${kind.name}: a bare address is none of the names in a certificate`, async () => {
      const url = Object.assign(new URL(server.url), { hostname: '127.0.0.1' }).href;
      if (kind.name === 'postgresql') return refused(access({ url }), 'wrong-host');
      // Its client library would check nothing.
      const invalid = { code: 'CONFIG_INVALID', message: /a host name/ };
      assert.throws(() => openUserDatabase(access({ url }), OPTIONS), invalid);
      assert.throws(() => kind.openSink(access({ url })), invalid);
    });

    test(`${kind.name}: a certificate of another host is refused`, async () => {
      await server.present(authority.issue('database.example'));
      await refused(access(), 'wrong-host');
    });

    test(`${kind.name}: a certificate that has expired is refused`, async () => {
      await server.present(authority.issue('localhost', { isExpired: true }));
      await refused(access(), 'expired');
    });

    test(`${kind.name}: a certificate that was renewed is taken without a restart`, async () => {
      const renewed = authority.issue('localhost');
      assert.ok(Date.parse(new X509Certificate(renewed.cert).validTo) > Date.now());
      await server.present(renewed);
      await writeTo(access());
    });

    test(`${kind.name}: the configuration of a sink names its certificates by a file that may be public`, async () => {
      const file = join(folder, `${kind.name}-ca.pem`);
      await writeFile(file, authority.cert, { mode: 0o644 });
      const config = (ca: string): SinkConfig => ({
        kind: kind.sinkKind,
        url: 'env:URL',
        schema: 'shop',
        tls: true,
        ca: `file:${ca}`,
        allowPrivate: true,
        secret: null,
        open: [],
        identity: null,
      });
      const pool = openPool('postgres://nobody@localhost:9/none');
      const readSecret = async () => server.url;
      const sinks = openSinks({
        configs: { good: config(file), gone: config(join(folder, 'gone.pem')) },
        readSecret,
        pool,
      });
      try {
        const sink = await sinks.open('good');
        await sink.prepare();
        await assert.rejects(sinks.open('gone'), { code: 'SINK_UNTRUSTED' });
      } finally {
        await sinks.close();
        await pool.end();
      }
    });
  });
}
