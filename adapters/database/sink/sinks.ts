/** The sinks of a deployment by name. Secrets are read at every use: one that has changed opens the sink
 * anew, so that mended credentials count without a restart. */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import type { SecretRef, SinkConfig } from '../../../domain/config.js';
import { EngineError } from '../../../domain/errors.js';
import { readCertificates } from '../user/access.js';
import { openDeliveryLog } from './delivery-log.js';
import { openMysqlSink } from './mysql.js';
import { openPostgresSink } from './postgres.js';
import type { Sink } from './sink.js';
import { openWebhookSink } from './webhook.js';

export interface Sinks {
  /** @throws CONFIG_INVALID — no sink of that name, or a URL of another kind.
   * @throws SINK_CREDENTIALS — a secret is missing, or not safe where it is. */
  open(name: string): Promise<Sink>;
  close(): Promise<void>;
}

export interface SinksDeps {
  readonly configs: Readonly<Record<string, SinkConfig>>;
  /** @throws SECRET_MISSING, KEY_FILE_UNSAFE */
  readonly readSecret: (ref: SecretRef) => Promise<string>;
  /** Of the engine's own database; webhooks' acknowledgements lie there. */
  readonly pool: pg.Pool;
}

/** Keeps one open sink a name. */
export function openSinks({ configs, readSecret, pool }: SinksDeps): Sinks {
  const opened = new Map<string, { readonly mark: string; readonly sink: Sink }>();

  async function secretOf(ref: SecretRef): Promise<string> {
    try {
      return await readSecret(ref);
    } catch (cause) {
      const reason = cause instanceof EngineError ? cause.code : 'INTERNAL';
      throw new EngineError('SINK_CREDENTIALS', { reference: ref, reason }, { cause });
    }
  }

  async function certificatesOf(ref: SecretRef): Promise<string> {
    try {
      return await readCertificates(ref, readSecret);
    } catch (cause) {
      const reason = cause instanceof EngineError ? cause.code : 'INTERNAL';
      throw new EngineError('SINK_UNTRUSTED', { reference: ref, reason }, { cause });
    }
  }

  return {
    async open(name) {
      const config = Object.hasOwn(configs, name) ? configs[name] : undefined;
      if (config === undefined) throw new EngineError('CONFIG_INVALID', { path: `sinks.${name}` });
      const { kind, schema, tls, allowPrivate } = config;
      const url = await secretOf(config.url);
      const ca = config.ca === null ? null : await certificatesOf(config.ca);
      const secret = config.secret === null ? '' : await secretOf(config.secret);
      const mark = createHash('sha256')
        .update(JSON.stringify([url, ca, secret]))
        .digest('hex');
      const known = opened.get(name);
      if (known?.mark === mark) return known.sink;
      const access = { url, schema, tls, ca, allowPrivate };
      const sink =
        kind === 'webhook'
          ? openWebhookSink({ access, secret, log: openDeliveryLog(pool, name) })
          : kind === 'mysql'
            ? openMysqlSink(access)
            : openPostgresSink(access);
      opened.set(name, { mark, sink });
      // Writes that are under way finish first; what goes wrong with the old one is no matter.
      known?.sink.close().catch(() => {});
      return sink;
    },
    async close() {
      await Promise.all([...opened.values()].map(({ sink }) => sink.close()));
    },
  };
}
