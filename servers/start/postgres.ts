/**
 * PostgreSQL on loopback, with two databases: the engine's, and one that plays a user's own database
 * and belongs to another role.
 */
import { chownSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { EngineError } from '../../domain/errors.js';
import { readOrCreateSecret } from '../files.js';
import { obtain, postgres } from '../obtain/index.js';
import { claimPort } from '../ports.js';
import { run } from '../run.js';
import type { ServerSpec } from '../spec.js';
import { accepts, untilAnswer } from './answer.js';
import type { Prepared, StartOptions } from './options.js';
import { clearKilledRun, statusOf } from './postgres-pid.js';
import { unprivileged, type Unprivileged } from './unprivileged.js';

export interface PostgresOptions extends StartOptions {
  readonly port?: number;
}

export interface PostgresHandle {
  /** The engine's database; its role may create further databases. Holds a password: never log it. */
  readonly engineUrl: string;
  /** The database that plays the user's. Holds a password: never log it. */
  readonly userUrl: string;
}

/** Databases, each owned by the role of the same name. */
const DATABASES = {
  cortensor: { keyFile: 'postgres-engine', rights: 'createdb' },
  userdata: { keyFile: 'postgres-user', rights: '' },
} as const;

/** Settings of a development machine. Durability stays on: `fsync` and `synchronous_commit` by default. */
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  // Everything goes over loopback; a socket's path has a length limit that data folders may exceed.
  unix_socket_directories: '',
  max_connections: '100',
  shared_buffers: '64MB',
  log_min_messages: 'warning',
  // A failed statement may hold user data, which is not for the log.
  log_min_error_statement: 'panic',
} as const;

/**
 * Makes ready to run PostgreSQL on `<data>/postgres`, creating the cluster on the first call (about
 * 1.5 s). Passwords are made once and kept in `<data>/keys`. As root it runs under an unprivileged user,
 * since PostgreSQL refuses root.
 * @throws SERVER_NOT_FOUND, PORT_TAKEN
 * @throws SERVER_FAILED — the cluster could not be created, or no unprivileged user can reach it.
 */
export async function preparePostgres(options: PostgresOptions): Promise<Prepared<PostgresHandle>> {
  const { data } = options;
  const { path } = await obtain(postgres, options.obtain);
  const port = await claimPort(data, 'postgres', options.port);
  const cluster = join(data, 'postgres');
  const runner = unprivileged([dirname(path), data], cluster);
  if (!existsSync(cluster)) await createCluster(path, data, cluster, runner);

  const settings = Object.entries({ ...SETTINGS, port: `${port}` });
  const flags = settings.flatMap(([key, value]) => ['-c', `${key}=${value}`]);
  const spec: ServerSpec = {
    name: 'postgres',
    ...runner.launch(path, ['-D', cluster, ...flags]),
    cwd: '/', // Ours may be closed to the user it runs as.
    prepare: async () => {
      await clearKilledRun(cluster);
      return [];
    },
    ready: (signal) =>
      untilAnswer(signal, async () => statusOf(cluster) === 'ready' && (await accepts(port))),
    stopSignal: 'SIGINT', // A fast shutdown: open connections are ended, not waited for.
  };
  return {
    spec,
    handle: { engineUrl: url(data, 'cortensor', port), userUrl: url(data, 'userdata', port) },
  };
}

/** Made aside and renamed, so that a cluster is whole, with its roles and databases, or absent. */
async function createCluster(
  path: string,
  data: string,
  cluster: string,
  runner: Unprivileged,
): Promise<void> {
  const work = `${cluster}.new`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { mode: 0o700 });
  const passwordFile = join(work, 'password');
  writeFileSync(passwordFile, `${password(data, 'postgres-admin')}\n`, { mode: 0o600 });
  const { owner } = runner;
  if (owner !== undefined) {
    for (const path of [work, passwordFile]) chownSync(path, owner.uid, owner.gid);
  }

  const aside = join(work, 'cluster');
  const execute = (program: string, args: readonly string[], input = ''): Promise<string> => {
    const { command, args: all, ...user } = runner.launch(program, args);
    return run(command, all, { timeoutMs: 60_000, input, cwd: '/', ...user });
  };
  try {
    await execute(join(dirname(path), 'initdb'), [
      ...['-D', aside, '--username=postgres', '--auth=scram-sha-256', '--pwfile', passwordFile],
      ...['--encoding=UTF8', '--locale=C', '--no-instructions'],
    ]);
    // In single-user mode, before the cluster is ever open to connections; one statement a line.
    const strict = ['-c', 'exit_on_error=on', '-c', 'log_min_error_statement=panic'];
    await execute(path, ['--single', '-D', aside, ...strict, 'postgres'], setUp(data));
  } catch (cause) {
    const reason = `its cluster could not be created: ${(cause as Error).message}`;
    throw new EngineError('SERVER_FAILED', { server: 'postgres', reason }, { cause });
  }
  renameSync(aside, cluster);
  rmSync(work, { recursive: true, force: true });
}

function setUp(data: string): string {
  return Object.entries(DATABASES)
    .flatMap(([name, { keyFile, rights }]) => [
      `create role ${name} login ${rights} password '${password(data, keyFile)}';`,
      `create database ${name} owner ${name};`,
      `revoke connect on database ${name} from public;`,
    ])
    .map((statement) => `${statement}\n`)
    .join('');
}

function url(data: string, name: keyof typeof DATABASES, port: number): string {
  const secret = password(data, DATABASES[name].keyFile);
  return `postgresql://${name}:${secret}@127.0.0.1:${port}/${name}`;
}

function password(data: string, keyFile: string): string {
  return readOrCreateSecret(join(data, 'keys', keyFile));
}
