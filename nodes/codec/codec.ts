/** Starts the codec server: its routes on a socket. */
import { EngineError } from '../../domain/errors.js';
import { serveApp, type ServedApp } from '../serve-app.js';
import { createCodecApp, type CodecDeps } from './app.js';

/** Listens for payloads.
 * @param deps - `port`: 0 takes any free one.
 * @throws PORT_TAKEN — another process listens there.
 * @throws USAGE — others could reach it, and no token keeps them out. */
export async function startCodecServer(
  deps: CodecDeps & { readonly host: string; readonly port: number },
): Promise<ServedApp> {
  const { host, token, log } = deps;
  if (token === null && !['127.0.0.1', '::1', 'localhost'].includes(host)) {
    throw new EngineError('USAGE', { expected: '--token REF, or the loopback interface', host });
  }
  const served = await serveApp(createCodecApp(deps), deps);
  log('info', 'codec server started', { url: served.url });
  return served;
}
