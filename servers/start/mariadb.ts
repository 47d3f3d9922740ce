/** MariaDB on loopback, playing a user's own database in tests and benchmarks. */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { mariadb, mariadbBase, obtain } from '../obtain/index.js';
import { claimPort } from '../ports.js';
import { run } from '../run.js';
import type { ServerSpec } from '../spec.js';
import { accepts, untilAnswer } from './answer.js';
import type { Prepared, StartOptions } from './options.js';

export interface MariadbOptions extends StartOptions {
  readonly port?: number;
  /** PEM files to encrypt with; without them it does not. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
}

export interface MariadbHandle {
  /** `mysql://root@…`: the server trusts its machine. */
  readonly url: string;
}

/**
 * Makes ready to run MariaDB on `<data>/mariadb`, creating the tables of the system on the first call.
 * @throws SERVER_NOT_FOUND, PORT_TAKEN
 */
export async function prepareMariadb(options: MariadbOptions): Promise<Prepared<MariadbHandle>> {
  const { data, tls } = options;
  const { path } = await obtain(mariadb, options.obtain);
  const port = await claimPort(data, 'mariadb', options.port);
  const base = mariadbBase(path);
  const tables = join(data, 'mariadb');
  // As root it insists on being told who to be.
  const common = ['--no-defaults', `--basedir=${base}`, ...(isRoot() ? ['--user=root'] : [])];
  if (!existsSync(tables)) {
    const aside = `${tables}.new`;
    rmSync(aside, { recursive: true, force: true });
    mkdirSync(data, { recursive: true });
    const install = ['--auth-root-authentication-method=normal', '--skip-test-db'];
    const script = join(base, 'scripts', 'mariadb-install-db');
    await run('sh', [script, ...common, `--datadir=${aside}`, ...install], { timeoutMs: 120_000 });
    renameSync(aside, tables);
  }
  const settings = [
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    '--innodb-log-file-size=32M',
    ...(tls === undefined
      ? // At each start it would draw an RSA key, which takes a busy machine a minute.
        ['--skip-ssl']
      : [`--ssl-cert=${tls.certFile}`, `--ssl-key=${tls.keyFile}`]),
  ];
  const spec: ServerSpec = {
    name: 'mariadb',
    command: path,
    args: [
      ...common,
      `--datadir=${tables}`,
      `--socket=${join(tables, 'server.sock')}`,
      ...settings,
    ],
    ready: (signal) => untilAnswer(signal, () => accepts(port)),
    readyTimeoutMs: 60_000,
  };
  return { spec, handle: { url: `mysql://root@127.0.0.1:${port}` } };
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}
