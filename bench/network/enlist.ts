/**
 * Puts miners into registry and pool, and money into users' hands, without the workflows that assess
 * them first: scripted miners have no model. All through the engine's outbox, so that no transaction
 * of its signer is unknown to it.
 */
import { Wallet } from 'ethers';
import type pg from 'pg';
import { signMessage } from '../../adapters/chain/sign.js';
import { signPermit, TokenChain } from '../../adapters/chain/token.js';
import { openBlockStore, putJson } from '../../adapters/ipfs/block-store.js';
import { digestOf } from '../../adapters/ipfs/cid.js';
import { readKeyFile } from '../../adapters/seal/identity-file.js';
import { openOutbox, type Chains } from '../../cli/chains.js';
import type { Party } from '../../cli/up/parties.js';
import { signingDomain } from '../../domain/attestation.js';
import type { EngineConfig } from '../../domain/config.js';
import type { Address, Hex } from '../../domain/ids.js';
import { NODE_KINDS, NODE_ROLES, type MinerMetadata } from '../../domain/node.js';

/** Applications and permits hold for a day. */
const DEADLINE_SECONDS = 86_400;

export interface Enlistment {
  readonly config: EngineConfig;
  readonly chains: Chains;
  readonly pool: pg.Pool;
  /** Key files of the committee; a quorum of it signs. */
  readonly oracleKeys: readonly string[];
  readonly miners: readonly Party[];
  /** Who gets tokens on the service layer. */
  readonly funded: readonly Address[];
  readonly amountWei: bigint;
  readonly stakeWei: bigint;
}

/** Brings everybody in, side by side.
 * @throws as `Outbox.execute`. */
export async function enlist(enlistment: Enlistment): Promise<void> {
  const { config, chains, pool, miners, funded, amountWei } = enlistment;
  const outbox = await openOutbox(config.layers, chains.providers, pool);
  const { contracts } = config.layers.service;
  const token = new TokenChain(chains.providers.service, contracts);
  const committee = await openCommittee(enlistment);
  const enter = async (party: Party): Promise<void> => {
    const { onboarding, health } = chains;
    const node = party.address;
    const application = await apply(enlistment, party);
    const { metadataCid: evidenceCid } = application;
    const evidence = digestOf(evidenceCid);
    const kind = 'Ephemeral';
    const poolFields = { node, kind: NODE_KINDS.indexOf(kind), evidence };
    const admitted = await committee('AdmitNode', { node, evidence });
    const entered = await committee('EnterPool', poolFields);
    const register = onboarding.encodeRegisterNode(application);
    const admit = onboarding.encodeAdmitNode({ node, evidenceCid, signatures: admitted });
    const enterPool = health.encodeEnterPool({ node, evidenceCid, kind, signatures: entered });
    const layer = 'onboarding';
    await outbox.execute({ ...register, layer, key: `scripted:register:${node}` });
    await outbox.execute({ ...admit, layer, key: `scripted:admit:${node}` });
    await outbox.execute({ ...enterPool, layer: 'health', key: `scripted:pool:${node}` });
  };
  await Promise.all([
    ...miners.map(enter),
    ...funded.map((to) =>
      outbox.execute({
        ...token.encodeMint(to, amountWei),
        layer: 'service',
        key: `faucet:service:${to}`,
      }),
    ),
  ]);
}

type Committee = (
  type: 'AdmitNode' | 'EnterPool',
  value: Readonly<Record<string, string | number>>,
) => Promise<readonly Hex[]>;

async function openCommittee({ config, chains, oracleKeys }: Enlistment): Promise<Committee> {
  const oracles = await Promise.all(
    oracleKeys.map(async (file) => new Wallet(await readKeyFile(file))),
  );
  const quorum = oracles
    .toSorted((a, b) => (BigInt(a.address) < BigInt(b.address) ? -1 : 1))
    .slice(0, config.quorum);
  const { onboarding, health } = config.layers;
  const domains = {
    AdmitNode: signingDomain(onboarding.chainId, chains.onboarding.nodeRegistry),
    EnterPool: signingDomain(health.chainId, chains.health.nodePool),
  };
  return (type, value) =>
    Promise.all(quorum.map((oracle) => signMessage(oracle, type, domains[type], value)));
}

async function apply({ config, chains, stakeWei }: Enlistment, party: Party) {
  const { chainId, contracts } = config.layers.onboarding;
  const wallet = new Wallet(await readKeyFile(party.keyFile));
  const deadline = Math.floor(Date.now() / 1_000) + DEADLINE_SECONDS;
  const { address: node, recipient } = party;
  const role = 'miner';
  const models = config.models.map(({ name }) => name);
  const metadata: MinerMetadata = { version: 1, address: node, models, capacity: 8 };
  const metadataCid = await putJson(openBlockStore(config.ipfs), metadata);
  const fields = { recipient, metadataCid, deadline };
  const registry = chains.onboarding.nodeRegistry;
  const value = { node, role: NODE_ROLES.indexOf(role), stake: stakeWei, ...fields };
  const token = new TokenChain(chains.providers.onboarding, contracts);
  const permit = { spender: registry, valueWei: stakeWei, nonce: 0n, deadline };
  return {
    node,
    role,
    stakeWei: stakeWei.toString(),
    ...fields,
    signature: await signMessage(wallet, 'RegisterNode', signingDomain(chainId, registry), value),
    permitSignature: await signPermit(wallet, { chainId, address: token.address }, permit),
  } as const;
}
