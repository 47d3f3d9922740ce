/** `/api/v1`: the network and this router: what a client must know, miners, epochs, and what is up. */
import { MAX_EPOCHS_A_PAGE, readNumber } from './query.js';
import { EngineError } from '../../../domain/errors.js';
import type { MinerInfo } from '../../../domain/api.js';
import { sameAddress } from '../../../domain/ids.js';
import type { AppDeps, RouterApp } from '../app.js';
import type { MinerStanding } from '../network/chain-reader.js';
import { statusOf } from '../network/status.js';
import type { MinerLink } from '../socket.js';
import { address } from './signed.js';

export function addNetworkRoutes(app: RouterApp, deps: AppDeps): void {
  const { network, chainReader } = deps;

  app.get('/api/v1/network', (c) => c.json(network));

  app.get('/api/v1/status', async (c) => {
    const { guard, hub, sessions, routerId } = deps;
    const held = sessions.all();
    const router = {
      id: routerId,
      requests: guard.gate.inside,
      miners: hub.connected().length,
      leases: held.length,
      openTasks: held.reduce((sum, { openTasks }) => sum + openTasks, 0),
    };
    c.header('cache-control', 'no-store');
    const dependencies = await deps.readDependencies();
    return c.json(statusOf(network.version, router, guard.gate.isDraining, dependencies));
  });

  app.get('/api/v1/miners', async (c) => c.json(await listMiners(deps)));

  app.get('/api/v1/epochs', async (c) => {
    const max = Number.MAX_SAFE_INTEGER;
    const before = readNumber(c.req.query('before'), 'before', { min: 1, max, absent: null });
    const bounds = { min: 1, max: MAX_EPOCHS_A_PAGE, absent: MAX_EPOCHS_A_PAGE };
    const limit = readNumber(c.req.query('limit'), 'limit', bounds);
    return c.json(await chainReader.epochs({ before, limit }));
  });

  app.get('/api/v1/epochs/:epoch', async (c) => {
    const bounds = { min: 1, max: Number.MAX_SAFE_INTEGER, absent: 1 };
    return c.json(await chainReader.epoch(readNumber(c.req.param('epoch'), 'epoch', bounds)));
  });

  app.get('/api/v1/accounts/:address', async (c) => {
    const account = address.safeParse(c.req.param('address'));
    if (!account.success) {
      throw new EngineError('REQUEST_INVALID', { field: 'address', expected: 'an address' });
    }
    return c.json(await deps.accounts.readAccount(account.data));
  });
}

/** All that are registered, and whoever is connected besides: it has registered just now. */
async function listMiners({ chainReader, hub, sessions }: AppDeps): Promise<MinerInfo[]> {
  const standings = await chainReader.miners();
  const links = hub.connected();
  const unread = links.filter(
    (link) => !standings.some(({ miner }) => sameAddress(miner, link.address)),
  );
  const reserved = sessions.all().flatMap(({ lease }) => lease.miners);
  return [...standings, ...unread.map(standingOf)].map((standing) => {
    const { miner } = standing;
    const link = hub.find(miner);
    return {
      ...standing,
      // What it serves now, where it says so itself.
      models: link?.models ?? standing.models,
      isConnected: link !== undefined,
      capacity: link?.capacity ?? null,
      load: link?.load ?? null,
      sessions: reserved.filter((r) => sameAddress(r.address, miner)).length,
    };
  });
}

function standingOf({ address: miner, models }: MinerLink): MinerStanding {
  return {
    miner,
    models,
    status: null,
    stakeWei: null,
    kind: null,
    scoreBps: null,
    level: null,
    tokensPerSecond: null,
    pricePerTokenWei: null,
  };
}
