/** `cortensor miner`: one model, one key, one router. */
import { signingDomain } from '../../domain/attestation.js';
import { EngineError } from '../../domain/errors.js';
import { openEmbeddedModel } from '../../adapters/model/embedded.js';
import { openOpenAiBackend } from '../../adapters/model/openai.js';
import type { InferenceBackend } from '../../adapters/model/backend.js';
import { readIdentityFile } from '../../adapters/seal/identity-file.js';
import { BEHAVIOURS, parseBehaviour, withBehaviour } from '../../nodes/miner/behaviours.js';
import { openJournal } from '../../nodes/miner/journal.js';
import { startMiner } from '../../nodes/miner/miner.js';
import type { Command } from '../command.js';
import { openLog } from '../log.js';
import { CONFIG_HELP, openWallet, readConfig, readOptions, runUntilSignal } from '../role.js';

const HELP = `Usage: cortensor miner --config FILE --key FILE --identity FILE --model NAME [options]

Connects to the router, proves its key, and answers requests with its model.

Options:
${CONFIG_HELP}  --key FILE       the node's signing key, 0x and 64 hex digits
  --identity FILE  the node's age identity
  --model NAME     a model of the configuration
  --router URL     the router; default: the one of the configuration
  --backend URL    an OpenAI-compatible server that runs the model; default: the embedded model
  --journal FILE   where ended tasks are put down, to claim what is never settled; default: the
                   key's file with .journal behind its name
  --behaviour NAME ${BEHAVIOURS.join(' | ')}: answer dishonestly, to see it caught

Exit codes: 0 stopped · 1 failed · 2 wrong options, configuration or keys
`;

export const miner: Command = {
  help: HELP,
  async run(argv) {
    const options = readOptions(
      argv,
      ['config', 'key', 'identity', 'model'],
      ['router', 'backend', 'behaviour', 'journal'],
    );
    const config = readConfig(options.config, []);
    const wallet = await openWallet(options.key);
    const { identity } = await readIdentityFile(options.identity);
    const honest = await openBackend(config, options.model, options.backend);
    const backend =
      options.behaviour === undefined
        ? honest
        : withBehaviour(honest, parseBehaviour(options.behaviour));
    const { chainId, contracts } = config.layers.service;
    const payment = contracts['sessionPayment'];
    if (payment === undefined) {
      throw new EngineError('CONFIG_INVALID', { path: 'layers.service.contracts.sessionPayment' });
    }
    const node = startMiner({
      wallet,
      identity,
      backend,
      domain: signingDomain(chainId, payment),
      routerUrl: options.router ?? `http://${config.router.host}:${config.router.port}`,
      concurrency: 1,
      journal: openJournal(options.journal ?? `${options.key}.journal`),
      log: openLog('miner'),
    });
    return await runUntilSignal(async () => {
      await node.close();
      await backend.close();
    }, node.closed);
  },
};

async function openBackend(
  config: ReturnType<typeof readConfig>,
  name: string,
  url: string | undefined,
): Promise<InferenceBackend> {
  if (url !== undefined) {
    const apiKey = process.env['BACKEND_API_KEY'];
    return openOpenAiBackend({
      baseUrl: url,
      model: name,
      ...(apiKey === undefined ? {} : { apiKey }),
    });
  }
  const model = config.models.find((m) => m.name === name);
  if (model === undefined) throw new EngineError('MODEL_UNKNOWN', { model: name });
  if (model.file === null) {
    throw new EngineError('USAGE', { model: name, expected: '--backend, since it has no file' });
  }
  return await openEmbeddedModel({ path: model.file, name });
}
