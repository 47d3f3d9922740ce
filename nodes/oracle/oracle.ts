/** Starts an oracle: its routes on a socket. */
import { serveApp, type ServedApp } from '../serve-app.js';
import { createOracleApp } from './app.js';
import type { OracleDeps } from './ports.js';

/** Listens for requests. Chain, store and embedder stay the caller's to close.
 * @param deps - `port`: 0 takes any free one.
 * @throws PORT_TAKEN — another process listens there. */
export async function startOracle(
  deps: OracleDeps & { readonly host: string; readonly port: number },
): Promise<ServedApp> {
  const served = await serveApp(createOracleApp(deps), deps);
  deps.log('info', 'oracle started', { oracle: deps.wallet.address, url: served.url });
  return served;
}
