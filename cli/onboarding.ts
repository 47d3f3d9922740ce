/** Joining the network: an application is signed with the key of who joins, its workflow does the rest. */
import type { Wallet } from 'ethers';
import { signMessage } from '../adapters/chain/sign.js';
import { TokenChain, signPermit } from '../adapters/chain/token.js';
import { putJson, type BlockStore } from '../adapters/ipfs/block-store.js';
import { signingDomain } from '../domain/attestation.js';
import type { EngineConfig } from '../domain/config.js';
import { EngineError } from '../domain/errors.js';
import type { Address } from '../domain/ids.js';
import { NODE_ROLES, type MinerMetadata } from '../domain/node.js';
import { SEALING_LEVELS, type SealingLevel } from '../domain/sealing.js';
import type { Starter } from '../workers/starter.js';
import type { Chains } from './chains.js';
import { failureCode } from './workflow-failure.js';

/** Applications hold for a day: a start that was cut off goes on with the same one. */
const APPLICATION_SECONDS = 86_400;

export interface OnboardingDeps {
  readonly config: EngineConfig;
  readonly chains: Chains;
  readonly starter: Starter;
}

/** Onboards a miner, or finds that it has been: stake, assessment, admission, pool.
 * @throws JOB_FAILED — the workflow failed; `code` says of what. */
export async function onboardMiner(
  deps: OnboardingDeps & { readonly store: BlockStore },
  miner: {
    readonly wallet: Wallet;
    /** age recipient. */
    readonly recipient: string;
    readonly stakeWei: bigint;
    readonly models: readonly string[];
    /** Tasks at once. */
    readonly capacity: number;
  },
): Promise<void> {
  const { config, chains, store, starter } = deps;
  const { wallet, recipient, stakeWei, models, capacity } = miner;
  const node = wallet.address as Address;
  const known = await chains.onboarding.readNode(node);
  if (known !== null && known.status !== 'Pending') return;

  const { chainId, contracts } = config.layers.onboarding;
  const registry = chains.onboarding.nodeRegistry;
  const token = new TokenChain(chains.providers.onboarding, contracts);
  const metadata: MinerMetadata = { version: 1, address: node, models, capacity };
  const deadline = now() + APPLICATION_SECONDS;
  const fields = { recipient, metadataCid: await putJson(store, metadata), deadline };
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

/** Onboards a user, or finds that it has been. @throws JOB_FAILED — as `onboardMiner` */
export async function onboardUser(
  deps: OnboardingDeps,
  joining: {
    readonly wallet: Wallet;
    /** age recipient. */
    readonly recipient: string;
    readonly level: SealingLevel;
  },
): Promise<void> {
  const { config, chains, starter } = deps;
  const { wallet, recipient, level } = joining;
  const user = wallet.address as Address;
  if ((await chains.onboarding.readUser(user)) !== null) return;
  const domain = signingDomain(config.layers.onboarding.chainId, chains.onboarding.userRegistry);
  const fields = { recipient, deadline: now() + APPLICATION_SECONDS };
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
