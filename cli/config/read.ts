/** From the file's words to the engine's: durations in milliseconds, paths absolute. */
import { dirname, resolve } from 'node:path';
import { firstOfKind, type SecretRef } from '../../domain/config.js';
import { applyEnvironment, type Environment } from './environment.js';
import { fileSchema, type FileContent } from './schema.js';
import type { Settings } from './settings.js';
import type { Source } from './source.js';

/**
 * Checks a file's content and applies the environment.
 * @throws CONFIG_INVALID — with the path of the first key that is wrong.
 */
export function readSettings(source: Source, env: Environment): Settings {
  const checked = fileSchema.safeParse(source.content);
  if (!checked.success) throw source.firstError(checked.error);
  const content = checked.data;
  checkAcross(source, content);
  const folder = dirname(resolve(source.file));
  const { tls, ...temporal } = content.temporal;
  const { timeout, repairEvery, ...ipfs } = content.ipfs;
  const { firstToken, hedge, limits, signIn, ...router } = content.router;
  const { wait, headers, request, ...limitsRest } = limits;
  const { healthEpoch } = content.schedules;
  const { maxAge, ...settlement } = content.settlement;
  const file = (path: string) => resolve(folder, path);
  const fileOrNull = (path: string | null) => (path === null ? null : file(path));
  const secret = (ref: SecretRef): SecretRef =>
    ref.startsWith('file:') ? `file:${file(ref.slice('file:'.length))}` : ref;
  const secretOrNull = (ref: SecretRef | null) => (ref === null ? null : secret(ref));
  const layer = (settings: FileContent['layers']['service']) => ({
    ...settings,
    signer: secretOrNull(settings.signer),
  });
  return {
    temporal: applyEnvironment(
      {
        ...temporal,
        apiKey: secretOrNull(temporal.apiKey),
        codec: temporal.codec && {
          identity: secret(temporal.codec.identity),
          keys: file(temporal.codec.keys),
        },
      },
      tls,
      env,
    ),
    taskQueues: content.taskQueues,
    stickyTimeoutMs: content.stickyTimeout,
    retries: content.retries,
    schedules: { healthEpoch: { everyMs: healthEpoch.every, jitterMs: healthEpoch.jitter } },
    settlement: { ...settlement, maxAgeMs: maxAge },
    dapps: { everyMs: content.dapps.every },
    layers: {
      onboarding: layer(content.layers.onboarding),
      health: layer(content.layers.health),
      service: layer(content.layers.service),
    },
    ipfs: { ...ipfs, timeoutMs: timeout, repairEveryMs: repairEvery },
    database: { url: secretOrNull(content.database.url) },
    router: {
      ...router,
      limits: { ...limitsRest, waitMs: wait, headersMs: headers, requestMs: request },
      signIn: { domains: signIn.domains, tokenMs: signIn.token },
      identity: secretOrNull(router.identity),
      firstTokenMs: firstToken,
      hedgeMs: hedge,
    },
    models: content.models.map((model) => ({ ...model, file: fileOrNull(model.file) })),
    embedding: { folder: fileOrNull(content.embedding.folder) },
    oracles: content.oracles,
    quorum: content.quorum,
    databases: Object.fromEntries(
      Object.entries(content.databases).map(([key, database]) => [
        key,
        { ...database, url: secret(database.url), ca: secretOrNull(database.ca) },
      ]),
    ),
    sinks: Object.fromEntries(
      Object.entries(content.sinks).map(([key, sink]) => [
        key,
        {
          ...sink,
          url: secret(sink.url),
          ca: secretOrNull(sink.ca),
          secret: secretOrNull(sink.secret),
          identity: secretOrNull(sink.identity),
        },
      ]),
    ),
    hosts: Object.fromEntries(
      Object.entries(content.hosts).map(([key, host]) => [
        key,
        { ...host, credentials: secretOrNull(host.credentials) },
      ]),
    ),
    servers: {
      temporal: {
        ...content.servers.temporal,
        binary: fileOrNull(content.servers.temporal.binary),
      },
      ipfs: { binary: fileOrNull(content.servers.ipfs.binary) },
      anvil: { binary: fileOrNull(content.servers.anvil.binary) },
      postgres: { binary: fileOrNull(content.servers.postgres.binary) },
    },
  };
}

/** What no single field can see. */
function checkAcross(source: Source, content: FileContent): void {
  const { every, jitter } = content.schedules.healthEpoch;
  if (jitter >= every) {
    throw source.error(['schedules', 'healthEpoch', 'jitter'], 'less than the time between epochs');
  }
  for (const key of ['models', 'router.apiKeys'] as const) {
    const list = key === 'models' ? content.models : content.router.apiKeys;
    const twin = list.findIndex(({ name }, i) => list.findIndex((x) => x.name === name) < i);
    if (twin >= 0)
      throw source.error([...key.split('.'), twin, 'name'], 'a name that is not taken');
  }
  if (firstOfKind(content.models, 'chat') === undefined) {
    throw source.error(['models'], 'at least one chat model, which miners are verified by');
  }
  for (const [kind, policy] of Object.entries(content.retries)) {
    if (policy.scheduleToCloseMs < policy.startToCloseMs) {
      throw source.error(['retries', kind, 'scheduleToClose'], 'at least startToClose');
    }
    if (policy.maximumIntervalMs < policy.initialIntervalMs) {
      throw source.error(['retries', kind, 'maximumInterval'], 'at least initialInterval');
    }
  }
  for (const [key, sink] of Object.entries(content.sinks)) {
    if ((sink.kind === 'webhook') !== (sink.secret !== null)) {
      throw source.error(['sinks', key, 'secret'], 'a key of a webhook, and of nothing else');
    }
    if (sink.open.length > 0 !== (sink.identity !== null)) {
      throw source.error(['sinks', key, 'identity'], 'an identity where something is opened');
    }
  }
  const { replicas, minReplicas } = content.ipfs;
  if (minReplicas > replicas.length + 1) {
    throw source.error(['ipfs', 'minReplicas'], 'at most the number of nodes');
  }
  for (const [key, host] of Object.entries(content.hosts)) {
    if ((host.kind === 's3') !== (host.credentials !== null)) {
      throw source.error(['hosts', key, 'credentials'], 'a key of a bucket, and of nothing else');
    }
  }
  const { headers, request } = content.router.limits;
  if (request < headers) {
    throw source.error(['router', 'limits', 'request'], 'at least the time for headers');
  }
  if (content.oracles !== null && content.quorum > content.oracles.length) {
    throw source.error(['quorum'], 'at most the number of oracles');
  }
}
