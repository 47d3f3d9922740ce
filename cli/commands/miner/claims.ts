/** `cortensor miner claims`: what a miner did and was not paid for. */
import { CLAIM_STATES, countClaims, findClaims } from '../../claim/claimable.js';
import { defineCommand } from '../../command.js';
import { readJournal } from '../../../nodes/miner/journal.js';
import { CHAIN_OPTIONS, withServiceLayer } from '../../service-layer.js';

export const JOURNAL_OPTION = {
  journal: { value: 'FILE', about: "the miner's journal of ended tasks", isRequired: true },
} as const;

export const minerClaims = defineCommand({
  name: 'miner claims',
  about: `Looks every task of a miner's journal up on chain: claimable, that is completed, not settled, in a
session that is not closed; settled; free, since it did not complete; or closed, too late to be claimed.`,
  args: [],
  options: { ...JOURNAL_OPTION, ...CHAIN_OPTIONS },
  failure: 'the chain could not be reached, or there is no journal',
  async run({ values }) {
    const entries = await readJournal(values.journal);
    return await withServiceLayer(values, async ({ service }) => {
      const claims = await findClaims(entries, service);
      const counts = countClaims(claims);
      const claimable = claims.filter(({ state }) => state === 'claimable');
      return {
        lines: [
          ...claimable.map(({ entry }) => `${entry.sessionId} ${entry.ordinal} ${entry.taskId}`),
          CLAIM_STATES.map((state) => `${counts[state]} ${state}`).join(', '),
        ],
        json: { ...counts, tasks: claims.map(({ entry, state }) => ({ ...entry, state })) },
      };
    });
  },
});
