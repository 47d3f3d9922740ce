/** `cortensor router`: HTTP front, hub of the miners, and holder of sessions' leases. */
import { randomBytes } from 'node:crypto';
import { isContractSignature } from '../../adapters/chain/contract-wallet.js';
import { TokenChain } from '../../adapters/chain/token.js';
import { openGuardStore } from '../../adapters/database/api-guard.js';
import { migrate } from '../../adapters/database/migrate.js';
import { openPool } from '../../adapters/database/pool.js';
import { connectClient } from '../../adapters/temporal/connect.js';
import { readIdentity } from '../../adapters/seal/identity-file.js';
import { signingDomain } from '../../domain/attestation.js';
import { openSessionGateway } from '../../nodes/router/gateway.js';
import { createJudge } from '../../nodes/router/judge.js';
import { openNetworkReader } from '../../nodes/router/network/chain-reader.js';
import { createStatusProbes } from '../../nodes/router/network/probes.js';
import { openStatusReader } from '../../nodes/router/network/status.js';
import { startRouter } from '../../nodes/router/router.js';
import { createErasures } from '../../workers/erasures.js';
import { startRouterWorkers } from '../../workers/router.js';
import { createExports } from '../../workers/exports.js';
import { createStarter } from '../../workers/starter.js';
import { openChains } from '../chains.js';
import type { Command } from '../command.js';
import { openEngineStore } from '../engine-store.js';
import { openSources } from '../sources.js';
import { openLog } from '../log.js';
import { networkInfo } from '../network-info.js';
import { CONFIG_HELP, readConfig, readOptions, runUntilSignal } from '../role.js';
import { readSecret } from '../../adapters/seal/secret.js';

const HELP = `Usage: cortensor router --config FILE

Serves OpenAI clients and the native API, and gives their requests to miners.

Options:
${CONFIG_HELP}
Exit codes: 0 stopped · 1 failed · 2 wrong options or configuration
`;

/** Longest time for one oracle's verdict. */
const JUDGE_MS = 30_000;

export const router: Command = {
  help: HELP,
  async run(argv) {
    const { config: file } = readOptions(argv, ['config']);
    const config = readConfig(file, ['temporal', 'router', 'database', 'databases']);
    const log = openLog('router');
    const chains = openChains(config.layers);
    const { contracts } = config.layers.service;
    const token = new TokenChain(chains.providers.service, contracts);
    const temporal = await connectClient(config.temporal);
    // Of this process alone, on whatever machine: leases are claimed under it.
    const routerId = `router-${randomBytes(6).toString('hex')}`;
    const { identity } = await readIdentity(config.router.identity);
    const pool = openPool(await readSecret(config.database.url));
    await migrate(pool);
    const starter = createStarter({ config, client: temporal.client });
    const blockStore = openEngineStore(config, pool);
    const { client } = temporal;
    const { providers, onboarding, health } = chains;
    const probes = createStatusProbes({ config, providers, client, pool, routerId });
    const sources = await openSources({ config, pool, store: blockStore });
    const running = await startRouter({
      routerId,
      config: config.router,
      network: networkInfo(config, chains),
      signingDomain: signingDomain(config.layers.service.chainId, chains.service.sessionPayment),
      identity,
      blockStore,
      sources: sources.desk(client),
      chainReader: openNetworkReader({ onboarding, health, blockStore }),
      readDependencies: openStatusReader(probes),
      registry: chains.onboarding,
      accounts: {
        readAccount: async (address) => ({
          address,
          balanceWei: (await token.readBalanceWei(address)).toString(),
          permitNonce: (await token.readPermitNonce(address)).toString(),
        }),
      },
      isContractSignature: (wallet, digest, signature) =>
        isContractSignature(chains.providers.service, wallet, digest, signature),
      gateway: openSessionGateway({
        client: temporal.client,
        chainId: config.layers.service.chainId,
        startSession: async (request) => {
          const owner = await chains.onboarding.readUser(request.owner);
          await starter.startSession(request, owner?.recipient ?? null);
        },
      }),
      judge: createJudge(config.oracles, JUDGE_MS),
      erasures: createErasures({ config, client: temporal.client }),
      exports: createExports({ config, client: temporal.client }),
      guardStore: openGuardStore(pool),
      log,
    });
    const { workerName, activities } = running;
    const workers = await startRouterWorkers({ config, routerId, workerName, activities });
    return await runUntilSignal(async () => {
      await running.drain();
      await workers.stop();
      await running.close();
      await temporal.close();
      await sources.close();
      await pool.end();
      chains.close();
    }, workers.done);
  },
};
