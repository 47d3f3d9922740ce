/** Temporal's dev server on a database file. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { obtain, temporal } from '../obtain/index.js';
import { claimPort } from '../ports.js';
import { run } from '../run.js';
import type { ServerSpec } from '../spec.js';
import { untilAnswer } from './answer.js';
import type { Prepared, StartOptions } from './options.js';

/** A developer's own Temporal profile is for other servers. */
const NO_PROFILE = ['--disable-config-file', '--disable-config-env'] as const;

/** What the dev server is told beyond its data folder. */
export interface TemporalOptions extends StartOptions {
  /** Server settings, key to JSON value, such as `history.transferProcessorMaxPollRPS: 2000`. */
  readonly dynamicConfig?: Readonly<Record<string, string | number | boolean>>;
  /** Search attributes of the namespace `default`, name to type, such as `SessionState: 'Keyword'`. */
  readonly searchAttributes?: Readonly<Record<string, SearchAttributeType>>;
  readonly port?: number;
  readonly uiPort?: number;
}

export type SearchAttributeType =
  | 'Text'
  | 'Keyword'
  | 'Int'
  | 'Double'
  | 'Bool'
  | 'Datetime'
  | 'KeywordList';

export interface TemporalHandle {
  /** `host:port` of the gRPC service. */
  readonly address: string;
  readonly uiUrl: string;
  /** Prometheus metrics of the server. */
  readonly metricsUrl: string;
}

/**
 * Makes ready to run the Temporal dev server: namespace `default`, everything in
 * `<data>/temporal/temporal.db`.
 * @throws SERVER_NOT_FOUND, PORT_TAKEN
 */
export async function prepareTemporal(options: TemporalOptions): Promise<Prepared<TemporalHandle>> {
  const { data } = options;
  const { path } = await obtain(temporal, options.obtain);
  const port = await claimPort(data, 'temporal', options.port);
  const uiPort = await claimPort(data, 'temporal-ui', options.uiPort);
  const httpPort = await claimPort(data, 'temporal-http');
  const metricsPort = await claimPort(data, 'temporal-metrics');
  const address = `127.0.0.1:${port}`;
  const folder = join(data, 'temporal');
  mkdirSync(folder, { recursive: true, mode: 0o700 });

  const spec: ServerSpec = {
    name: 'temporal',
    command: path,
    args: [
      ...['server', 'start-dev', '--ip', '127.0.0.1', '--port', `${port}`],
      ...['--ui-port', `${uiPort}`, '--http-port', `${httpPort}`],
      ...['--metrics-port', `${metricsPort}`, '--db-filename', join(folder, 'temporal.db')],
      // In WAL mode NORMAL keeps every commit when the process is killed; only a power cut may take
      // the last moments, and a commit costs no fsync.
      ...['--sqlite-pragma', 'journal_mode=WAL', '--sqlite-pragma', 'synchronous=NORMAL'],
      ...['--log-level', 'warn', '--log-format', 'json', '--color', 'never'],
      ...NO_PROFILE,
      ...Object.entries(options.dynamicConfig ?? {}).flatMap(([key, value]) => {
        return ['--dynamic-config-value', `${key}=${JSON.stringify(value)}`];
      }),
    ],
    ready: async (signal) => {
      await untilAnswer(signal, async () => {
        // The namespace is what clients need; the service itself answers a little earlier.
        const url = `http://127.0.0.1:${httpPort}/api/v1/namespaces/default`;
        return (await fetch(url, { signal })).ok;
      });
      await registerSearchAttributes(path, address, options.searchAttributes ?? {}, signal);
    },
    readyTimeoutMs: 60_000,
  };
  const handle = {
    address,
    uiUrl: `http://127.0.0.1:${uiPort}`,
    metricsUrl: `http://127.0.0.1:${metricsPort}/metrics`,
  };
  return { spec, handle };
}

/**
 * Creates the search attributes that are missing; those of the same type are left as they are. The
 * server's own `--search-attribute` only counts when the database is new.
 */
async function registerSearchAttributes(
  path: string,
  address: string,
  attributes: Readonly<Record<string, SearchAttributeType>>,
  signal: AbortSignal,
): Promise<void> {
  const named = Object.entries(attributes).flatMap(([name, type]) => {
    return ['--name', name, '--type', type];
  });
  if (named.length === 0) return;
  const command = ['operator', 'search-attribute', 'create', '--address', address, ...NO_PROFILE];
  let refusal: Error | undefined;
  await untilAnswer(signal, async () => {
    try {
      await run(path, [...command, ...named], { timeoutMs: 10_000 });
    } catch (error) {
      // A server that has just started may refuse for a moment; another type stays another type.
      if (!(error instanceof Error && /different type/.test(error.message))) throw error;
      refusal = error;
    }
    return true;
  });
  if (refusal !== undefined) throw refusal;
}
