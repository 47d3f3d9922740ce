/** `cortensor oracle`: checks evidence by itself, and signs what it finds true. */
import { openEmbedder } from '../../adapters/embedding/embedder.js';
import { openBlockStore } from '../../adapters/ipfs/block-store.js';
import { readIdentityFile } from '../../adapters/seal/identity-file.js';
import { signingDomain } from '../../domain/attestation.js';
import { startOracle } from '../../nodes/oracle/oracle.js';
import { openChains } from '../chains.js';
import type { Command } from '../command.js';
import { openLog } from '../log.js';
import { CONFIG_HELP, openWallet, readConfig, readOptions, runUntilSignal } from '../role.js';

const HELP = `Usage: cortensor oracle --config FILE --key FILE --identity FILE --port PORT

Recomputes what it is asked to sign from the evidence on IPFS, and signs it if it is true.

Options:
${CONFIG_HELP}  --key FILE       the oracle's signing key, 0x and 64 hex digits
  --identity FILE  the oracle's age identity: it reads sealed results
  --port PORT      to listen on, on the loopback interface

Exit codes: 0 stopped · 1 failed · 2 wrong options, configuration or keys
`;

export const oracle: Command = {
  help: HELP,
  async run(argv) {
    const options = readOptions(argv, ['config', 'key', 'identity', 'port']);
    const config = readConfig(options.config, []);
    const { onboarding, health, service } = config.layers;
    const chains = openChains(config.layers);
    const embedder = await openEmbedder(config.embedding.folder);
    const running = await startOracle({
      host: '127.0.0.1',
      port: Number(options.port),
      wallet: await openWallet(options.key),
      identity: (await readIdentityFile(options.identity)).identity,
      store: openBlockStore(config.ipfs),
      chain: {
        readNode: (address) => chains.onboarding.readNode(address),
        readSession: (sessionId) => chains.service.readSession(sessionId),
      },
      embedder,
      domains: {
        nodeRegistry: signingDomain(onboarding.chainId, chains.onboarding.nodeRegistry),
        healthLedger: signingDomain(health.chainId, chains.health.healthLedger),
        nodePool: signingDomain(health.chainId, chains.health.nodePool),
        sessionPayment: signingDomain(service.chainId, chains.service.sessionPayment),
      },
      models: config.models,
      feeBps: config.settlement.feeBps,
      log: openLog('oracle'),
    });
    return await runUntilSignal(async () => {
      await running.close();
      await embedder.close();
      chains.close();
    });
  },
};
