/** Onboarding in the main job: miners and a user sign their applications, the workflows do the rest. */
import { TokenChain, signPermit } from '../../adapters/chain/token.js';
import { signMessage } from '../../adapters/chain/sign.js';
import { putJson, type BlockStore } from '../../adapters/ipfs/block-store.js';
import { signingDomain } from '../../domain/attestation.js';
import type { EngineConfig } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import { NODE_ROLES, type MinerMetadata } from '../../domain/node.js';
import { SEALING_LEVELS, type SealingLevel } from '../../domain/sealing.js';
import type { Starter } from '../../workers/starter.js';
import type { Chains } from '../chains.js';
import { openWallet } from '../role.js';
import { failureCode } from './failure.js';
import { DEV_TERMS } from '../up/contracts.js';
import type { Party } from '../up/parties.js';

/** Applications hold for a day: a start that was cut off goes on with the same one. */
const APPLICATION_SECONDS = 86_400;

interface OnboardingDeps {
  readonly config: EngineConfig;
  readonly chains: Chains;
  readonly store: BlockStore;
  readonly starter: Starter;
}

/** Onboards a miner, or finds that it has been: stake, assessment, admission, pool.
 * @throws as the workflow failed, with its code. */
export async function onboardMiner(deps: OnboardingDeps, party: Party): Promise<void> {
  const { config, chains, store, starter } = deps;
  const known = await chains.onboarding.readNode(party.address);
  if (known !== null && known.status !== 'Pending') return;

  const wallet = await openWallet(party.keyFile);
  const { chainId, contracts } = config.layers.onboarding;
  const registry = chains.onboarding.nodeRegistry;
  const token = new TokenChain(chains.providers.onboarding, contracts);
  const metadata: MinerMetadata = {
    version: 1,
    address: party.address,
    models: config.models.map((model) => model.name),
    capacity: 1,
  };
  const deadline = now() + APPLICATION_SECONDS;
  const stakeWei = DEV_TERMS.minimumStake;
  const fields = {
    recipient: party.recipient,
    metadataCid: await putJson(store, metadata),
    deadline,
  };
  const node = party.address;
  const role = 'miner';
  const application = {
    node,
    role,
    stakeWei: stakeWei.toString(),
    ...fields,
    signature: await signMessage(wallet, 'RegisterNode', signingDomain(chainId, registry), {
      node,
      role: NODE_ROLES.indexOf(role),
      stake: stakeWei,
      ...fields,
    }),
    permitSignature: await signPermit(
      wallet,
      { chainId, address: token.address },
      {
        spender: registry,
        valueWei: stakeWei,
        nonce: await token.readPermitNonce(node),
        deadline,
      },
    ),
  } as const;
  await finish(await starter.onboardMiner(application), 'a miner is not onboarded', node);
}

/** Onboards the user, or finds that it has been.
 * @throws as the workflow failed, with its code. */
export async function onboardUser(
  deps: OnboardingDeps,
  party: Party,
  level: SealingLevel,
): Promise<void> {
  const { config, chains, starter } = deps;
  if ((await chains.onboarding.readUser(party.address)) !== null) return;
  const wallet = await openWallet(party.keyFile);
  const domain = signingDomain(config.layers.onboarding.chainId, chains.onboarding.userRegistry);
  const user = party.address;
  const fields = { recipient: party.recipient, deadline: now() + APPLICATION_SECONDS };
  const signature = await signMessage(wallet, 'RegisterUser', domain, {
    user,
    level: SEALING_LEVELS.indexOf(level),
    ...fields,
  });
  const handle = await starter.onboardUser({ user, level, ...fields, signature });
  await finish(handle, 'the user is not onboarded', user);
}

async function finish(
  handle: { result(): Promise<unknown> },
  what: string,
  address: string,
): Promise<void> {
  try {
    await handle.result();
  } catch (cause) {
    throw new EngineError('JOB_FAILED', { what, address, code: failureCode(cause) }, { cause });
  }
}

function now(): number {
  return Math.floor(Date.now() / 1_000);
}
