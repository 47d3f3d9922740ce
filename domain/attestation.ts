/**
 * EIP-712 messages of the network: the one place that names their fields. The contracts hash the
 * same types (contracts/src/**, `*_TYPEHASH`); test/contracts-typehash compares both.
 */
import type { Address } from './ids.js';

/** Domain of every message: `name` and `version` are fixed, the rest is the verifying contract's. */
export interface SigningDomain {
  readonly name: 'Cortensor';
  readonly version: '1';
  readonly chainId: number;
  readonly verifyingContract: Address;
}

export function signingDomain(chainId: number, verifyingContract: Address): SigningDomain {
  return { name: 'Cortensor', version: '1', chainId, verifyingContract };
}

interface TypedField {
  readonly name: string;
  readonly type: string;
}
const fields = (...pairs: readonly (readonly [string, string])[]): readonly TypedField[] =>
  pairs.map(([name, type]) => ({ name, type }));

/** Field lists by primary type. In brackets: who signs, and which contract verifies. */
export const MESSAGE_TYPES = {
  /** [committee → OracleCommittee] Members by ascending address; `nonce` counts the changes. */
  ChangeCommittee: fields(['members', 'address[]'], ['quorum', 'uint32'], ['nonce', 'uint256']),
  /** [node → NodeRegistry] */
  RegisterNode: fields(
    ['node', 'address'],
    ['role', 'uint8'],
    ['stake', 'uint256'],
    ['recipient', 'string'],
    ['metadataCid', 'string'],
    ['deadline', 'uint256'],
  ),
  /** [committee → NodeRegistry] */
  AdmitNode: fields(['node', 'address'], ['evidence', 'bytes32']),
  /** [committee → NodeRegistry] */
  JailNode: fields(['node', 'address'], ['epoch', 'uint64'], ['evidence', 'bytes32']),
  /** [committee → NodeRegistry] */
  ReleaseNode: fields(['node', 'address'], ['epoch', 'uint64'], ['evidence', 'bytes32']),
  /** [committee → NodeRegistry] */
  SlashNode: fields(['node', 'address'], ['amount', 'uint256'], ['evidence', 'bytes32']),
  /** [user → UserRegistry] */
  RegisterUser: fields(
    ['user', 'address'],
    ['recipient', 'string'],
    ['level', 'uint8'],
    ['deadline', 'uint256'],
  ),
  /** [committee → HealthLedger] */
  ReportEpoch: fields(
    ['epoch', 'uint64'],
    ['root', 'bytes32'],
    ['scoresHash', 'bytes32'],
    ['evidence', 'bytes32'],
  ),
  /** [committee → NodePool] */
  EnterPool: fields(['node', 'address'], ['kind', 'uint8'], ['evidence', 'bytes32']),
  /** [committee → NodePool] */
  LeavePool: fields(['node', 'address'], ['evidence', 'bytes32']),
  /** [owner → SessionManager] */
  OpenSession: fields(
    ['owner', 'address'],
    ['clientReference', 'bytes32'],
    ['policyHash', 'bytes32'],
    ['deposit', 'uint256'],
  ),
  /** [committee → SessionPayment] */
  Settle: fields(
    ['batchId', 'bytes32'],
    ['root', 'bytes32'],
    ['chargesHash', 'bytes32'],
    ['paymentsHash', 'bytes32'],
    ['fee', 'uint256'],
  ),
  /** [owner → SessionManager] `nonce` counts the changes of this session's policy. */
  ChangePolicy: fields(['sessionId', 'uint64'], ['policyHash', 'bytes32'], ['nonce', 'uint64']),
  /** [payer → SessionPayment] With a permit, which alone would fit any session. */
  Deposit: fields(
    ['sessionId', 'uint64'],
    ['payer', 'address'],
    ['amount', 'uint256'],
    ['reference', 'bytes32'],
  ),
  /** [owner and committee → SessionPayment] What is not reserved, back to the owner. */
  WithdrawDeposit: fields(['sessionId', 'uint64'], ['amount', 'uint256'], ['reference', 'bytes32']),
  /** [committee → SessionPayment] `charged` is the session's total when it closes. */
  CloseSession: fields(['sessionId', 'uint64'], ['charged', 'uint256']),
  /** [miner → router, oracles, SessionQueue] */
  Precommit: fields(['sessionId', 'uint64'], ['taskId', 'bytes32'], ['precommitment', 'bytes32']),
  /** [miner → router, oracles, SessionQueue] */
  Commit: fields(
    ['sessionId', 'uint64'],
    ['taskId', 'bytes32'],
    ['resultHash', 'bytes32'],
    ['resultDigest', 'bytes32'],
    ['promptTokens', 'uint32'],
    ['completionTokens', 'uint32'],
    ['salt', 'bytes32'],
  ),
  /** [owner → CortensorToken] The spender may take `value` once.
   * @see https://eips.ethereum.org/EIPS/eip-2612 */
  Permit: fields(
    ['owner', 'address'],
    ['spender', 'address'],
    ['value', 'uint256'],
    ['nonce', 'uint256'],
    ['deadline', 'uint256'],
  ),
  /** [miner → router] Answer to a router's challenge. */
  NodeHello: fields(
    ['node', 'address'],
    ['router', 'string'],
    ['nonce', 'bytes32'],
    ['expiresAt', 'uint64'],
  ),
} as const;
export type MessageType = keyof typeof MESSAGE_TYPES;
