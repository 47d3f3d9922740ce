/**
 * Scripted miners as a process of the whole network: `cortensor miner` in all but the model, connected
 * to every router, and dishonest on request. Answers come from the prompt alone, so that honest miners
 * agree word by word.
 */
import { Wallet } from 'ethers';
import { openScriptedBackend } from '../../adapters/model/scripted.js';
import type { InferenceBackend } from '../../adapters/model/backend.js';
import { readIdentityFile, readKeyFile } from '../../adapters/seal/identity-file.js';
import { loadConfig } from '../../cli/config.js';
import { openLog } from '../../cli/log.js';
import { signingDomain } from '../../domain/attestation.js';
import type { Address } from '../../domain/ids.js';
import type { Log } from '../../domain/log.js';
import { withBehaviour } from '../../nodes/miner/behaviours.js';
import { startMiner } from '../../nodes/miner/miner.js';
import { exitWithParent } from '../../servers/supervise.js';
import { openMinerLine, type LineBehaviour } from './miner-line.js';
import { scriptedAnswer } from './scripted-answer.js';

/** What a miner of the whole network may be. */
export const MINER_BEHAVIOURS = [
  'honest',
  /** Repeats what it is asked: all of them agree, and what was asked is in the answer. */
  'echo',
  /** Another answer than everybody's, as a miner would that runs nothing. */
  'canned',
  /** Acknowledges tasks, and never says a word of them. */
  'silent',
  /** Precommits, and does not reveal. */
  'mute',
  /** Reveals something else than it has precommitted. */
  'faithless',
  /** Hangs up in the middle of some answers. */
  'dropping',
] as const;
export type MinerBehaviour = (typeof MINER_BEHAVIOURS)[number];

export interface MinersProcessInput {
  readonly config: string;
  readonly routers: readonly string[];
  readonly miners: readonly {
    readonly keyFile: string;
    readonly identityFile: string;
    readonly behaviour: MinerBehaviour;
  }[];
}

const CONCURRENCY = 64;
const TOKENS_PER_SECOND = 60;

function openBackend(model: string, behaviour: MinerBehaviour): InferenceBackend {
  const honest = openScriptedBackend({
    model,
    answer: ({ messages }) => scriptedAnswer(messages.at(-1)?.content ?? ''),
    tokensPerSecond: TOKENS_PER_SECOND,
  });
  if (behaviour === 'echo') {
    return openScriptedBackend({ model, answer: ({ messages }) => messages.at(-1)?.content ?? '' });
  }
  if (behaviour === 'canned') return withBehaviour(honest, 'canned');
  if (behaviour !== 'silent') return honest;
  return {
    model,
    features: [],
    async *generate(_request, { signal }) {
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      signal.throwIfAborted();
      yield { type: 'delta', text: '' };
    },
    async close() {},
  };
}

/** What the wire must do, where the backend cannot. */
function lineOf(behaviour: MinerBehaviour): LineBehaviour | null {
  return behaviour === 'mute' || behaviour === 'faithless' || behaviour === 'dropping'
    ? behaviour
    : null;
}

async function run({ config: file, routers, miners }: MinersProcessInput): Promise<void> {
  const config = loadConfig({ file, env: process.env, secrets: [] });
  const { chainId, contracts } = config.layers.service;
  const domain = signingDomain(chainId, contracts['sessionPayment'] as Address);
  const log: Log = openLog('miner', 'warn');
  for (const { keyFile, identityFile, behaviour } of miners) {
    const wallet = new Wallet(await readKeyFile(keyFile));
    const { identity } = await readIdentityFile(identityFile);
    const backend = openBackend(config.models[0]?.name ?? '', behaviour);
    const line = lineOf(behaviour);
    const routerUrls =
      line === null
        ? routers
        : await Promise.all(routers.map((router) => openMinerLine(router, line)));
    startMiner({
      wallet,
      identity,
      backend,
      domain,
      routerUrls,
      concurrency: CONCURRENCY,
      waits: { firstMs: 100, mostMs: 1_000, unregisteredMs: 500 },
      log,
    });
  }
}

exitWithParent();
await run(JSON.parse(process.argv[2] ?? '') as MinersProcessInput);
