/**
 * Deployment of a layer's contracts. Each goes through the outbox under its own key, so that a
 * deployment that was cut off goes on where it stopped, and a second one changes nothing.
 */
import { getCreateAddress, Interface, type InterfaceAbi } from 'ethers';
import * as artifacts from '../../contracts/abi.js';
import type { LayerName } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';
import type { Address, Hex } from '../../domain/ids.js';
import type { ConfirmOptions, Outbox } from './outbox.js';

export interface DeployParams {
  /** Owner of the token on layers that have one: may mint. */
  readonly owner: Address;
  /** Most tokens that there will ever be. */
  readonly tokenCapWei: bigint;
  readonly committee: readonly Address[];
  readonly quorum: number;
  /** Earns fees and slashed stakes. */
  readonly treasury: Address;
  readonly minimumStakeWei: bigint;
  /** From a node's request to exit to its withdrawal. */
  readonly unbondingSeconds: number;
  /** From an owner's request to exit a session to its refund. */
  readonly exitSeconds: number;
  /** The engine's account, which records steps of tasks on chain.
   * @defaultValue `owner` */
  readonly operator?: Address;
  /** Token wei that a unit of gas costs in the callback of a contract's request.
   * @defaultValue 0 */
  readonly callbackGasPriceWei?: bigint;
}

/**
 * Deploys what the layer lacks, in order.
 * @returns addresses by the keys of `LayerConfig.contracts`.
 * @throws IDEMPOTENCY_CONFLICT — the layer was deployed before with other parameters or code.
 * @throws TRANSACTION_REVERTED — a constructor refused its parameters.
 * @throws CHAIN_UNREACHABLE, CHAIN_MISMATCH, DATABASE_UNREACHABLE, DATABASE_REFUSED
 */
export async function deployLayer(
  outbox: Pick<Outbox, 'execute'>,
  layer: LayerName,
  params: DeployParams,
  options: ConfirmOptions = {},
): Promise<Record<string, Address>> {
  const deploy = async (name: Deployable, args: readonly unknown[]): Promise<Address> => {
    const intent = { key: `deploy:${layer}:${name}`, layer, to: null, data: initCode(name, args) };
    const { contractAddress } = await outbox.execute(intent, options);
    if (contractAddress === null) throw new EngineError('INVARIANT_BROKEN', { contract: name });
    return contractAddress;
  };
  const { owner, tokenCapWei, quorum, treasury, minimumStakeWei } = params;
  // The contract wants its members in ascending order.
  const members = params.committee.toSorted((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
  const committee = await deploy('oracleCommittee', [members, quorum]);
  if (layer === 'health') {
    const healthLedger = await deploy('healthLedger', [committee]);
    return { committee, healthLedger, nodePool: await deploy('nodePool', [committee]) };
  }
  const token = await deploy('cortensorToken', [owner, tokenCapWei]);
  if (layer === 'onboarding') {
    const terms = [treasury, minimumStakeWei, params.unbondingSeconds];
    const nodeRegistry = await deploy('nodeRegistry', [token, committee, ...terms]);
    return { token, committee, nodeRegistry, userRegistry: await deploy('userRegistry', []) };
  }
  const { exitSeconds, operator = owner, callbackGasPriceWei = 0n } = params;
  const terms = [treasury, exitSeconds, operator, callbackGasPriceWei];
  const sessionPayment = await deploy('sessionPayment', [token, committee, ...terms]);
  return { token, committee, ...contractsOf(sessionPayment) };
}

/** The contracts that came with a SessionPayment: its constructor creates the manager, and that the
 * queue; a contract's first creation has nonce 1 (EIP-161). */
export function contractsOf(
  sessionPayment: Address,
): Readonly<Record<'sessionPayment' | 'sessionManager' | 'sessionQueue', Address>> {
  const sessionManager = getCreateAddress({ from: sessionPayment, nonce: 1 }) as Address;
  const sessionQueue = getCreateAddress({ from: sessionManager, nonce: 1 }) as Address;
  return { sessionManager, sessionPayment, sessionQueue };
}

type Deployable =
  | 'oracleCommittee'
  | 'healthLedger'
  | 'nodePool'
  | 'cortensorToken'
  | 'nodeRegistry'
  | 'userRegistry'
  | 'sessionPayment';

function initCode(name: Deployable, args: readonly unknown[]): Hex {
  const abi = new Interface(artifacts[`${name}Abi`] as InterfaceAbi);
  return `${artifacts[`${name}Bytecode`]}${abi.encodeDeploy(args).slice(2)}` as Hex;
}
