/** Connections to Temporal for workers. */
import { NativeConnection } from '@temporalio/worker';
import type { EngineConfig } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import { CONNECT_MS, connectionOptions } from './connect.js';

/** Connects a worker. Nothing is compressed: payloads are ciphertext. The data converter goes to
 * `Worker.create` (`dataConverter` of connect.ts).
 * @throws TEMPORAL_UNREACHABLE — no answer in 10 s.
 * @throws SECRET_MISSING, KEY_FILE_UNSAFE — the API key cannot be read. */
export async function connectWorker(config: EngineConfig['temporal']): Promise<NativeConnection> {
  const options = await connectionOptions(config);
  const connecting = NativeConnection.connect({ ...options, grpcCompression: { codec: 'none' } });
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${CONNECT_MS} ms`)), CONNECT_MS);
  });
  try {
    return await Promise.race([connecting, timeout]);
  } catch (cause) {
    // The native library knows no time-out; a connection that comes too late is not kept.
    connecting.then(
      (late) => late.close(),
      () => {},
    );
    throw new EngineError('TEMPORAL_UNREACHABLE', { address: config.address }, { cause });
  } finally {
    clearTimeout(timer);
  }
}
