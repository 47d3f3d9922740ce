/**
 * Connections to Temporal for who starts and asks workflows, and how payloads and failures are
 * written on all of them. Workers connect by connect-worker.ts, apart because it loads Temporal's
 * native library.
 */
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import type { DataConverter, PayloadCodec } from '@temporalio/common';
import type { EngineConfig } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import { readIdentity } from '../seal/identity-file.js';
import { readSecret } from '../seal/secret.js';
import { openPayloadCodec } from './codec.js';

/** Path of the failure converter; whoever bundles workflows ahead of time hands it to the bundler.
 * A bundle without it writes failures of workflows in plain. */
export const FAILURE_CONVERTER_PATH = fileURLToPath(
  new URL('./failure-converter.js', import.meta.url),
);

/** Opens the data converter of a deployment, for `Client`, `Worker.create` and
 * `TestWorkflowEnvironment`.
 * @throws SECRET_MISSING, KEY_FILE_UNSAFE, SEAL_NOT_RECIPIENT, SEAL_BROKEN — the identity or a data
 *   key cannot be used. */
export async function dataConverter(config: EngineConfig['temporal']): Promise<DataConverter> {
  return {
    failureConverterPath: FAILURE_CONVERTER_PATH,
    payloadCodecs: [await openCodec(config)],
  };
}

/** Opens the codec of a deployment. @throws as `dataConverter` */
export async function openCodec(config: EngineConfig['temporal']): Promise<PayloadCodec> {
  const { identity } = await readIdentity(config.codec.identity);
  return await openPayloadCodec({
    identity,
    keysFolder: config.codec.keys,
    namespace: config.namespace,
  });
}

/** Milliseconds in which Temporal must answer the first call. */
export const CONNECT_MS = 10_000;

export interface TemporalClient {
  readonly client: Client;
  readonly connection: Connection;
  /** Ends the connection; calls under way fail. */
  close(): Promise<void>;
}

/** Connects a client that encrypts. Nothing is compressed: payloads are ciphertext.
 * @throws TEMPORAL_UNREACHABLE — no answer in 10 s.
 * @throws SECRET_MISSING, KEY_FILE_UNSAFE, SEAL_NOT_RECIPIENT, SEAL_BROKEN — the API key, the
 *   identity or a data key cannot be used. */
export async function connectClient(config: EngineConfig['temporal']): Promise<TemporalClient> {
  const options = { ...(await connectionOptions(config)), connectTimeout: CONNECT_MS };
  const converter = await dataConverter(config);
  let connection: Connection;
  try {
    connection = await Connection.connect(options);
  } catch (cause) {
    throw new EngineError('TEMPORAL_UNREACHABLE', { address: config.address }, { cause });
  }
  const client = new Client({
    connection,
    namespace: config.namespace,
    dataConverter: converter,
  });
  return { client, connection, close: () => connection.close() };
}

/** Reads what clients and workers connect with alike.
 * @throws SECRET_MISSING, KEY_FILE_UNSAFE — the API key cannot be read. */
export async function connectionOptions(
  config: EngineConfig['temporal'],
): Promise<{ address: string; tls: boolean; apiKey?: string }> {
  const { address, tls, apiKey } = config;
  return { address, tls, ...(apiKey === null ? {} : { apiKey: await readSecret(apiKey) }) };
}
