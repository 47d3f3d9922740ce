/** `cortensor miner claim`: a miner settles its own work. */
import { deadlineIn } from '../../../domain/deadline.js';
import type { Address } from '../../../domain/ids.js';
import { createOracleActivities } from '../../../activities/oracles.js';
import { EngineError } from '../../../domain/errors.js';
import { formatTokens } from '../../../domain/money.js';
import type { SettledTask } from '../../../domain/task.js';
import { readJournal } from '../../../nodes/miner/journal.js';
import { findClaims } from '../../claim/claimable.js';
import { proveTask } from '../../claim/prove-task.js';
import {
  batchesOf,
  earnedWei,
  settleClaims,
  type SettledClaim,
} from '../../claim/settle-claims.js';
import { defineCommand } from '../../command.js';
import { loadSettings } from '../../config.js';
import { openStore, STORE_OPTIONS } from '../../content.js';
import { Display } from '../../display.js';
import { IDENTITY_OPTION, KEY_OPTION, openIdentity, openSigner } from '../../keys.js';
import { CHAIN_OPTIONS, withServiceLayer } from '../../service-layer.js';
import { engineErrorOf } from '../../workflow-failure.js';
import { JOURNAL_OPTION } from './claims.js';

/** For one task's evidence and request. */
const READ_MS = 60_000;
/** For one oracle, which reads and judges every task of a batch. */
const ORACLE_MS = 120_000;

interface Skipped {
  readonly taskId: string;
  readonly reason: string;
}

export const minerClaim = defineCommand({
  name: 'miner claim',
  about: `Settles what the journal shows as claimable, with routers and workers gone: reads each task's evidence
from IPFS, has the oracles sign a batch a session, and relays it with the miner's key, which pays for
the gas. Everybody who agreed is paid, as ever. The configuration needs oracles, quorum, models,
settlement.feeBps and the service layer. Tasks without readable evidence are named and left.`,
  args: [],
  options: {
    ...JOURNAL_OPTION,
    ...KEY_OPTION,
    ...IDENTITY_OPTION,
    ...CHAIN_OPTIONS,
    ...STORE_OPTIONS,
    config: { value: 'FILE', about: 'temporal.yaml', isRequired: true },
  },
  failure: 'something claimable is not settled',
  async run({ values }) {
    const wallet = await openSigner(values.key);
    const { identity } = await openIdentity(values.identity);
    const miner = wallet.address as Address;
    const { oracles, quorum, models, settlement } = loadSettings({
      file: values.config,
      env: process.env,
      secrets: [],
    });
    if (oracles === null) {
      throw new EngineError('CONFIG_INVALID', { path: 'oracles', expected: 'a list' });
    }
    const store = openStore(values);
    const committee = createOracleActivities({ oracles, quorum, timeoutMs: ORACLE_MS });
    const display = new Display();
    return await withServiceLayer(values, async (layer) => {
      const { service } = layer;
      // The registry is the oracles' to ask.
      const chain = { readNode: async () => null, readSession: service.readSession.bind(service) };
      const deps = { miner, identity, store, chain, models, feeBps: settlement.feeBps };
      const claims = await display.step('look the journal up on chain', async () =>
        findClaims(await readJournal(values.journal), service),
      );
      const tasks: SettledTask[] = [];
      const skipped: Skipped[] = [];
      await display.step('read the evidence', async (note) => {
        for (const { entry, state } of claims) {
          if (state !== 'claimable') continue;
          note(`task ${entry.taskId}`);
          try {
            tasks.push(await proveTask(entry, deps, deadlineIn(READ_MS)));
          } catch (error) {
            skipped.push({ taskId: entry.taskId, reason: reasonOf(error) });
          }
        }
      });
      const settled: SettledClaim[] = [];
      for (const batch of batchesOf(tasks)) {
        const sessionId = batch[0]?.sessionId ?? '';
        try {
          const claim = await display.step(`settle ${batch.length} tasks of ${sessionId}`, () =>
            settleClaims(batch, { sender: { ...layer, wallet }, service, store, committee }),
          );
          if (claim.transaction !== null) settled.push(claim);
          skipped.push(...claim.refused);
        } catch (error) {
          const reason = reasonOf(error);
          skipped.push(...batch.map(({ taskId }) => ({ taskId, reason })));
        }
      }
      return resultOf(miner, settled, skipped);
    });
  },
});

function resultOf(miner: Address, settled: readonly SettledClaim[], skipped: readonly Skipped[]) {
  const tasks = settled.flatMap((claim) => claim.tasks);
  const earned = earnedWei(tasks, miner);
  return {
    lines: [
      ...skipped.map(({ taskId, reason }) => `${taskId} is left: ${reason}`),
      `${tasks.length} tasks are settled, which earned ${miner} ${formatTokens(earned)} tokens.`,
    ],
    json: {
      miner,
      earnedWei: earned.toString(),
      batches: settled.map(({ sessionId, batchId, transaction, tasks: paid }) => {
        return { sessionId, batchId, transaction, tasks: paid.map(({ taskId }) => taskId) };
      }),
      skipped,
    },
    isHeld: skipped.length === 0,
  };
}

/** What is known of an error, without a payload: unknown ones are named only. */
function reasonOf(error: unknown): string {
  const known = engineErrorOf(error);
  if (known !== undefined) return `${known.code}: ${known.message}`;
  return error instanceof Error ? error.message : 'unknown';
}
