/** `cortensor miner`: one model that chats, and one that embeds if it is to; one key, and all its routers. */
import { signingDomain } from '../../domain/attestation.js';
import { EngineError } from '../../domain/errors.js';
import { openEmbeddedModel } from '../../adapters/model/embedded.js';
import { openOpenAiBackend } from '../../adapters/model/openai.js';
import type { EmbeddingBackend } from '../../adapters/embedding/backend.js';
import { openLocalEmbedding } from '../../adapters/embedding/local.js';
import { openOpenAiEmbedding } from '../../adapters/embedding/openai.js';
import type { InferenceBackend } from '../../adapters/model/backend.js';
import type { EngineConfig, ModelKind } from '../../domain/config.js';
import { readIdentityFile } from '../../adapters/seal/identity-file.js';
import {
  BEHAVIOURS,
  parseBehaviour,
  withBehaviour,
  withVectorBehaviour,
} from '../../nodes/miner/behaviours.js';
import { openJournal } from '../../nodes/miner/journal.js';
import { startMiner } from '../../nodes/miner/miner.js';
import type { Command } from '../command.js';
import { openLog } from '../log.js';
import { CONFIG_HELP, openWallet, readConfig, readOptions, runUntilSignal } from '../role.js';

const HELP = `Usage: cortensor miner --config FILE --key FILE --identity FILE --model NAME [options]

Connects to its routers, proves its key, and answers requests with its model.

Options:
${CONFIG_HELP}  --key FILE       the node's signing key, 0x and 64 hex digits
  --identity FILE  the node's age identity
  --model NAME     a chat model of the configuration, which it is verified by
  --embedding NAME an embedding model of the configuration, to give vectors too
  --router URL,…   the routers, all at once; default: the one of the configuration
  --backend URL    an OpenAI-compatible server that runs the model; default: the embedded model
  --embedding-backend URL
                   the same for the embedding model
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
      ['router', 'backend', 'embedding', 'embedding-backend', 'behaviour', 'journal'],
    );
    const config = readConfig(options.config, []);
    const wallet = await openWallet(options.key);
    const { identity } = await readIdentityFile(options.identity);
    const behaviour = parseBehaviour(options.behaviour ?? 'honest');
    const chat = await openBackend(config, options.model, options.backend);
    const backend = withBehaviour(chat, behaviour);
    const vectors = openEmbedding(config, options.embedding, options['embedding-backend']);
    const embedding = vectors === null ? null : withVectorBehaviour(vectors, behaviour);
    const { chainId, contracts } = config.layers.service;
    const payment = contracts['sessionPayment'];
    if (payment === undefined) {
      throw new EngineError('CONFIG_INVALID', { path: 'layers.service.contracts.sessionPayment' });
    }
    const node = startMiner({
      wallet,
      identity,
      backend,
      ...(embedding === null ? {} : { embedding }),
      domain: signingDomain(chainId, payment),
      routerUrls: readRouters(options.router, config),
      concurrency: 1,
      journal: openJournal(options.journal ?? `${options.key}.journal`),
      log: openLog('miner'),
    });
    return await runUntilSignal(async () => {
      await node.close();
      await Promise.all([backend.close(), embedding?.close()]);
    }, node.closed);
  },
};

/** @throws USAGE — not a list of URLs. */
function readRouters(list: string | undefined, { router }: EngineConfig): readonly string[] {
  if (list === undefined) return [`http://${router.host}:${router.port}`];
  const urls = list.split(',').map((url) => url.trim());
  if (urls.every((url) => URL.canParse(url) && /^(http|ws)s?:/.test(url))) return urls;
  throw new EngineError('USAGE', { option: '--router', expected: 'URLs, with commas in between' });
}

async function openBackend(
  config: EngineConfig,
  name: string,
  url: string | undefined,
): Promise<InferenceBackend> {
  if (url !== undefined) {
    return openOpenAiBackend({ baseUrl: url, model: name, ...keyOf('BACKEND_API_KEY') });
  }
  return await openEmbeddedModel({ path: fileOf(config, name, 'chat', '--backend'), name });
}

function openEmbedding(
  config: EngineConfig,
  model: string | undefined,
  url: string | undefined,
): EmbeddingBackend | null {
  if (model === undefined) {
    if (url === undefined) return null;
    throw new EngineError('USAGE', { option: '--embedding-backend', expected: '--embedding' });
  }
  if (url !== undefined) {
    return openOpenAiEmbedding({ baseUrl: url, model, ...keyOf('EMBEDDING_API_KEY') });
  }
  const folder = fileOf(config, model, 'embedding', '--embedding-backend');
  return openLocalEmbedding({ model, folder });
}

function keyOf(variable: string): { readonly apiKey?: string } {
  const apiKey = process.env[variable];
  return apiKey === undefined ? {} : { apiKey };
}

/** Where a model lies that runs in this process.
 * @throws MODEL_UNKNOWN, MODEL_UNFIT — none of the configuration, or of another kind.
 * @throws USAGE — it lies nowhere. */
function fileOf({ models }: EngineConfig, name: string, kind: ModelKind, option: string): string {
  const model = models.find((m) => m.name === name);
  if (model === undefined) throw new EngineError('MODEL_UNKNOWN', { model: name });
  if (model.kind !== kind) throw new EngineError('MODEL_UNFIT', { model: name, kind: model.kind });
  if (model.file === null) {
    throw new EngineError('USAGE', { model: name, expected: `${option}, since it has no file` });
  }
  return model.file;
}
