/** `cortensor worker`: the engine's Temporal workers, all of them or those named. */
import { parseArgs } from 'node:util';
import {
  deleteExportReceipt,
  listExportReceipts,
  writeExportReceipt,
} from '../../adapters/database/export-receipt.js';
import { migrate } from '../../adapters/database/migrate.js';
import { openPool } from '../../adapters/database/pool.js';
import { openSinks } from '../../adapters/database/sink/sinks.js';
import { connectClient } from '../../adapters/temporal/connect.js';
import { LAYERS } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import { ENGINE_QUEUES, startEngineWorkers, type EngineQueue } from '../../workers/engine.js';
import { createStarter } from '../../workers/starter.js';
import { openChains, openOutbox } from '../chains.js';
import type { Command } from '../command.js';
import { openEngineStore } from '../engine-store.js';
import { openSources } from '../sources.js';
import { openLog } from '../log.js';
import { CONFIG_HELP, readConfig, runUntilSignal } from '../role.js';
import { readSecret } from '../../adapters/seal/secret.js';

const HELP = `Usage: cortensor worker --config FILE [--queue NAME]…

Runs workflows and their side effects. Start as many processes as there is work for.

Options:
${CONFIG_HELP}  --queue NAME    ${ENGINE_QUEUES.join(' | ')}; may be repeated; default: all

Exit codes: 0 stopped · 1 failed · 2 wrong options or configuration
`;

/** How often chains are looked at for transactions that they have forgotten. */
const RECONCILE_MS = 5_000;

export const worker: Command = {
  help: HELP,
  async run(argv) {
    const { values } = parseArgs({
      args: [...argv],
      options: { config: { type: 'string' }, queue: { type: 'string', multiple: true } },
      strict: true,
    });
    if (values.config === undefined) throw new EngineError('USAGE', { expected: '--config' });
    const queues = values.queue?.map(parseQueue) ?? ENGINE_QUEUES;
    const config = readConfig(values.config, [
      'temporal',
      'database',
      'layers',
      'sinks',
      'databases',
    ]);
    const log = openLog('worker');

    const pool = openPool(await readSecret(config.database.url));
    await migrate(pool);
    const chains = openChains(config.layers);
    const outbox = await openOutbox(config.layers, chains.providers, pool);
    const temporal = await connectClient(config.temporal);
    const sinks = openSinks({ configs: config.sinks, readSecret, pool });
    const store = openEngineStore(config, pool);
    const sources = await openSources({ config, pool, store });
    const workers = await startEngineWorkers(
      {
        config,
        client: temporal.client,
        store,
        outbox,
        onboarding: chains.onboarding,
        health: chains.health,
        service: chains.service,
        queue: chains.queue,
        sources: sources.activities,
        openSink: sinks.open,
        saveReceipt: (receipt) => writeExportReceipt(pool, receipt),
        exportedTo: (sessionId) => listExportReceipts(pool, sessionId),
        forgetReceipt: (sessionId, sink) => deleteExportReceipt(pool, sessionId, sink),
      },
      queues,
    );
    const starter = createStarter({ config, client: temporal.client });
    await Promise.all([
      starter.startSettlement(),
      starter.startDappRequests(),
      starter.startRepairs(),
    ]);
    const reconciling = setInterval(() => {
      for (const layer of LAYERS) {
        outbox.reconcile(layer).then(
          ({ rebroadcast }) => {
            if (rebroadcast > 0) log('warn', 'transactions sent again', { layer, rebroadcast });
          },
          () => log('warn', 'chain not reconciled', { layer }),
        );
      }
    }, RECONCILE_MS);
    return await runUntilSignal(async () => {
      clearInterval(reconciling);
      await workers.stop();
      await temporal.close();
      await sources.close();
      await sinks.close();
      await pool.end();
      chains.close();
    }, workers.done);
  },
};

function parseQueue(name: string): EngineQueue {
  const queue = ENGINE_QUEUES.find((q) => q === name);
  if (queue === undefined) {
    throw new EngineError('USAGE', { expected: ENGINE_QUEUES.join(' | '), got: name });
  }
  return queue;
}
