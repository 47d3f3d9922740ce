/** `cortensor codec`: lets the Temporal UI and the `temporal` command read what is encrypted. */
import { openCodec } from '../../adapters/temporal/connect.js';
import { readSecret } from '../../adapters/seal/secret.js';
import { startCodecServer } from '../../nodes/codec/codec.js';
import type { Command } from '../command.js';
import { parseSecretRef } from '../keys.js';
import { openLog } from '../log.js';
import { CONFIG_HELP, readConfig, readOptions, runUntilSignal } from '../role.js';

const HELP = `Usage: cortensor codec --config FILE --port PORT [options]

Temporal's remote codec, for those who hold the codec's key: POST /decode and /encode.

Options:
${CONFIG_HELP}  --port PORT      to listen on; 0 = any free one
  --host HOST      to listen on; the loopback interface where not given
  --origin URL     of the Temporal UI, so that its page may call from a browser
  --token REF      what callers must show as a bearer token, as file:PATH or env:NAME; needed beyond
                   the loopback interface

Exit codes: 0 stopped · 1 failed · 2 wrong options, configuration or keys
`;

export const codec: Command = {
  help: HELP,
  async run(argv) {
    const options = readOptions(argv, ['config', 'port'], ['host', 'origin', 'token']);
    const { temporal } = readConfig(options.config, ['temporal.codec.identity']);
    const { token } = options;
    const running = await startCodecServer({
      host: options.host ?? '127.0.0.1',
      port: Number(options.port),
      codec: await openCodec(temporal),
      namespace: temporal.namespace,
      origin: options.origin ?? null,
      token: token === undefined ? null : await readSecret(parseSecretRef(token, 'token')),
      log: openLog('codec'),
    });
    return await runUntilSignal(() => running.close());
  },
};
