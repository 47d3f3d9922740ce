/** Onboarding in the main job: the parties of the development network, on its terms. */
import { onboardMiner, onboardUser, type OnboardingDeps } from '../onboarding.js';
import type { BlockStore } from '../../adapters/ipfs/block-store.js';
import type { SealingLevel } from '../../domain/sealing.js';
import { openWallet } from '../role.js';
import { DEV_TERMS } from '../up/contracts.js';
import type { Parties } from '../up/parties.js';

/** Onboards all miners and the user, or finds that they have been.
 * @throws as the workflows failed, with their code. */
export async function onboardParties(
  deps: OnboardingDeps & { readonly store: BlockStore },
  parties: Pick<Parties, 'miners' | 'user'>,
  level: SealingLevel,
): Promise<void> {
  const models = deps.config.models.map((model) => model.name);
  const { user } = parties;
  await Promise.all([
    ...parties.miners.map(async ({ keyFile, recipient }) =>
      onboardMiner(deps, {
        wallet: await openWallet(keyFile),
        recipient,
        stakeWei: DEV_TERMS.minimumStake,
        models,
        capacity: 1,
      }),
    ),
    onboardUser(deps, {
      wallet: await openWallet(user.keyFile),
      recipient: user.recipient,
      level,
    }),
  ]);
}
