/** A chain with the contracts of one layer, real in all parts, that says what each write cost. */
import { id, Wallet, toQuantity } from 'ethers';
import type { JsonRpcProvider } from 'ethers';
import type { Write } from '../../adapters/chain/contract.js';
import { deployLayer } from '../../adapters/chain/deploy.js';
import { Outbox } from '../../adapters/chain/outbox.js';
import { openProvider } from '../../adapters/chain/provider.js';
import { signMessage, type MessageValue } from '../../adapters/chain/sign.js';
import { migrate } from '../../adapters/database/migrate.js';
import { openPool } from '../../adapters/database/pool.js';
import { signingDomain, type MessageType } from '../../domain/attestation.js';
import type { LayerName } from '../../domain/config.js';
import type { Address, Hex } from '../../domain/ids.js';
import { openSupervisor, startAnvil, startPostgres } from '../../servers/start/index.js';
import type { BenchContext } from '../bench.js';

export const CHAIN_ID = 31_337;
/** Unix seconds far ahead. */
export const DEADLINE = 4_000_000_000;
const QUORUM = 2;
const ORACLES = [1, 2, 3].map((n) => new Wallet(id(`bench oracle ${n}`)));

export interface CommitteeChain {
  readonly provider: JsonRpcProvider;
  readonly contracts: Readonly<Record<string, Address>>;
  /** Sends a write through the outbox and waits until it is final.
   * @returns gas of its receipt: base cost, calldata, execution and refunds. */
  execute(write: Write): Promise<number>;
  /** Deploys a contract that is none of the layer's. */
  deploy(data: Hex): Promise<Address>;
  /** Signatures of a quorum, by ascending signer. */
  approve(type: MessageType, contract: Address, value: MessageValue): Promise<Hex[]>;
}

/** Starts Anvil and the outbox's PostgreSQL, and deploys the layer with a committee of three. */
export async function startCommitteeChain(
  context: BenchContext,
  layer: LayerName,
): Promise<CommitteeChain> {
  const { data } = context;
  const supervisor = await openSupervisor({ data });
  context.defer(() => supervisor.stop());
  const [{ rpcUrl }, { engineUrl }] = await Promise.all([
    startAnvil({ data, supervisor, layer: { name: layer, chainId: CHAIN_ID } }),
    startPostgres({ data, supervisor }),
  ]);
  const pool = openPool(engineUrl);
  context.defer(() => pool.end());
  await migrate(pool);
  const provider = openProvider({ chainId: CHAIN_ID, rpcUrls: [rpcUrl] });
  context.defer(async () => provider.destroy());
  const wallet = new Wallet(id('bench engine'));
  await provider.send('anvil_setBalance', [wallet.address, toQuantity(10n ** 24n)]);
  const signer = { provider, chainId: CHAIN_ID, confirmations: 0, wallet };
  const outbox = new Outbox({ pool, layers: { [layer]: signer } });
  const contracts = await deployLayer(outbox, layer, {
    owner: wallet.address as Address,
    tokenCapWei: 10n ** 27n,
    committee: ORACLES.map((oracle) => oracle.address as Address),
    quorum: QUORUM,
    treasury: new Wallet(id('bench treasury')).address as Address,
    minimumStakeWei: 10n ** 20n,
    unbondingSeconds: 60,
    exitSeconds: 60,
  });
  let sent = 0;
  return {
    provider,
    contracts,
    async execute(write) {
      const { hash } = await outbox.execute({ key: `bench-${sent++}`, layer, ...write });
      const receipt = await provider.getTransactionReceipt(hash);
      if (receipt === null) throw new Error(`no receipt of ${hash}`);
      return Number(receipt.gasUsed);
    },
    async deploy(data) {
      const intent = { key: `bench-${sent++}`, layer, to: null, data };
      const { contractAddress } = await outbox.execute(intent);
      if (contractAddress === null) throw new Error('a deployment left no contract');
      return contractAddress;
    },
    async approve(type, contract, value) {
      const signers = ORACLES.slice(0, QUORUM).sort((a, b) =>
        BigInt(a.address) < BigInt(b.address) ? -1 : 1,
      );
      const domain = signingDomain(CHAIN_ID, contract);
      return await Promise.all(signers.map((oracle) => signMessage(oracle, type, domain, value)));
    },
  };
}
