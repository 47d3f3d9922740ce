/** The contracts against the domain: one list of messages, one order of every enum. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { id, Interface, TypedDataEncoder, type InterfaceAbi } from 'ethers';
import { sessionIdOf } from '../../adapters/seal/session-id.js';
import { taskIdOf } from '../../adapters/seal/task-id.js';
import * as artifacts from '../../contracts/abi.js';
import { ROOT } from '../../contracts/forge.js';
import { MESSAGE_TYPES, type MessageType } from '../../domain/attestation.js';
import type { Address, Hex } from '../../domain/ids.js';
import { NODE_KINDS, NODE_ROLES, NODE_STATUSES } from '../../domain/node.js';
import { SEALING_LEVELS } from '../../domain/sealing.js';
import { TASK_STATES } from '../../domain/task.js';
import { CHAIN_ID, startTestAnvil, WALLET, type TestAnvil } from '../adapters/chain/anvil.js';

/** Messages that no contract of ours names: miners and routers check one among themselves, and the
 * other is OpenZeppelin's, which keeps its hash to itself. */
const OFF_CHAIN: readonly MessageType[] = ['NodeHello', 'Permit'];

const { address: SOMEONE } = WALLET as { address: Address };
/** Contracts that verify messages, with what their constructors take. */
const CONSTRUCTORS = {
  oracleCommittee: [[SOMEONE], 1],
  nodeRegistry: [SOMEONE, SOMEONE, SOMEONE, 0, 0],
  userRegistry: [],
  healthLedger: [SOMEONE],
  nodePool: [SOMEONE],
  sessionManager: [SOMEONE, 0],
  sessionPayment: [SOMEONE, SOMEONE, SOMEONE, 0, SOMEONE, 0],
  sessionQueue: [SOMEONE, SOMEONE, 0],
} as const;
type ContractName = keyof typeof CONSTRUCTORS;
const NAMES = Object.keys(CONSTRUCTORS) as ContractName[];

const interfaceOf = (name: ContractName) => new Interface(artifacts[`${name}Abi`] as InterfaceAbi);

/** `ADMIT_NODE_TYPEHASH` of `AdmitNode`. */
const constantOf = (type: string) =>
  `${type.replace(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}_TYPEHASH`;

describe('contracts/abi', () => {
  let anvil: TestAnvil;
  const deployed = new Map<ContractName, Address>();

  const call = async (name: ContractName, method: string, args: readonly unknown[] = []) => {
    const abi = interfaceOf(name);
    const data = abi.encodeFunctionData(method, args);
    const result = await anvil.provider.call({ to: deployed.get(name) ?? null, data });
    return abi.decodeFunctionResult(method, result);
  };

  before(async () => {
    anvil = await startTestAnvil();
    for (const name of NAMES) {
      const args = interfaceOf(name).encodeDeploy(CONSTRUCTORS[name]).slice(2);
      const data = `${artifacts[`${name}Bytecode`]}${args}`;
      // Answers once the transaction is in a block, with its receipt (EIP-7966).
      const receipt = await anvil.rpc('eth_sendTransactionSync', { from: SOMEONE, data });
      deployed.set(name, (receipt as { contractAddress: Address }).contractAddress);
    }
  });
  after(() => anvil.stop());

  it('names a type hash for every message that a contract verifies, and for no other', () => {
    const inContracts = NAMES.flatMap((name) => {
      const constants: string[] = [];
      interfaceOf(name).forEachFunction((f) => constants.push(f.name));
      return constants.filter((constant) => constant.endsWith('_TYPEHASH'));
    });
    const inDomain = Object.keys(MESSAGE_TYPES)
      .filter((type) => !OFF_CHAIN.some((offChain) => offChain === type))
      .map(constantOf);
    assert.deepEqual(inContracts.toSorted(), inDomain.toSorted());
  });

  it('hashes the types that the domain lists', async () => {
    for (const [type, fields] of Object.entries(MESSAGE_TYPES)) {
      const name = NAMES.find((n) => interfaceOf(n).hasFunction(constantOf(type)));
      if (name === undefined) continue;
      const encoded = TypedDataEncoder.from({ [type]: [...fields] }).encodeType(type);
      assert.equal((await call(name, constantOf(type)))[0], id(encoded), `${name} ${type}`);
    }
  });

  it('verifies messages in the domain of the network, bound to chain and contract', async () => {
    // The queue verifies in the payment contract's domain, which miners sign for anyway.
    for (const name of NAMES.filter((n) => n !== 'sessionQueue')) {
      const {
        name: domainName,
        version,
        chainId,
        verifyingContract,
      } = await call(name, 'eip712Domain');
      assert.deepEqual([domainName, version, chainId], ['Cortensor', '1', BigInt(CHAIN_ID)]);
      assert.equal(verifyingContract.toLowerCase(), deployed.get(name), name);
    }
  });

  it('gives a session the number that its owner computes', async () => {
    const clientReference = id('reference') as Hex;
    const sessionManager = deployed.get('sessionManager') as Address;
    const onChain = await call('sessionManager', 'sessionIdOf', [SOMEONE, clientReference]);
    const expected = { chainId: CHAIN_ID, sessionManager, owner: SOMEONE, clientReference };
    assert.equal(onChain[0].toString(), await sessionIdOf(expected));
  });

  it('gives the task of a request the id that clients compute', async () => {
    for (const sessionId of ['0', '7', '9223372036854775807']) {
      const [taskId] = await call('sessionQueue', 'taskIdOf', [sessionId]);
      assert.equal(taskId, await taskIdOf(sessionId, 'request'));
    }
  });

  it('orders its enums as the domain does', () => {
    const enumOf = (path: string, name: string) => {
      const source = readFileSync(`${ROOT}contracts/src/${path}`, 'utf8');
      const body = new RegExp(`enum ${name} \\{([^}]*)\\}`).exec(source)?.[1] ?? '';
      return body.split(',').map((member) => member.trim().toLowerCase());
    };
    const plain = (list: readonly string[]) =>
      list.map((member) => member.replaceAll('-', '').toLowerCase());
    assert.deepEqual(enumOf('onboarding/INodeRegistry.sol', 'NodeRole'), plain(NODE_ROLES));
    assert.deepEqual(enumOf('onboarding/INodeRegistry.sol', 'NodeStatus'), plain(NODE_STATUSES));
    assert.deepEqual(enumOf('onboarding/IUserRegistry.sol', 'SealingLevel'), plain(SEALING_LEVELS));
    assert.deepEqual(enumOf('health/INodePool.sol', 'NodeKind'), plain(NODE_KINDS));
    const states = ['none', ...plain(TASK_STATES)];
    assert.deepEqual(enumOf('service/ITaskSteps.sol', 'TaskState'), states);
  });
});
