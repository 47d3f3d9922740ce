// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISessionPayment} from "./ISessionPayment.sol";
import {ISessionQueue} from "./ISessionQueue.sol";
import {SessionId} from "./SessionId.sol";

/// @notice A session as it was opened; its money and state are in `ISessionPayment`.
struct Session {
    address owner;
    /// Unix seconds; 0 where the session does not exist.
    uint64 openedAt;
    /// Changes of the policy so far.
    uint32 policyNonce;
    /// SHA-256 of the policy's canonical JSON, the digest of its CID.
    bytes32 policyHash;
}

/// @title Sessions and their policies
/// @notice An owner signs what it wants and anyone relays it, so that a client needs no gas. A
/// contract, which cannot sign, asks through `queue`. The deposit goes to `payment`, which created
/// this contract; this contract created `queue`.
interface ISessionManager {
    /// @notice A session was opened. `SessionDeposited` of the payment contract follows.
    /// @param deposit tokens that the owner signed for, or asked with
    event SessionOpened(
        SessionId indexed sessionId,
        address indexed owner,
        bytes32 clientReference,
        bytes32 policyHash,
        uint256 deposit
    );

    /// @notice An owner gave its session another policy.
    /// @param nonce changes of this policy before this one
    event SessionUpdated(SessionId indexed sessionId, bytes32 policyHash, uint64 nonce);

    /// @notice Thrown when the owner has a session with this client reference; what a relay that
    /// comes second gets.
    error SessionManagerAlreadyOpen(SessionId sessionId);
    /// @notice Thrown when the message was not signed by the owner.
    error SessionManagerSignatureInvalid(address owner);
    /// @notice Thrown when a session is opened without a deposit.
    error SessionManagerDepositZero();
    /// @notice Thrown when another contract than `queue` opens a session for somebody.
    error SessionManagerNotQueue(address caller);
    /// @notice Thrown when another than the queue's operator relays a change of policy.
    error SessionManagerNotOperator(address caller);
    /// @notice Thrown when the policy of a session is changed that does not exist or is closed.
    error SessionManagerNotOpen(SessionId sessionId);
    /// @notice Thrown when a change of policy is not the next one.
    /// @param nonce that was signed
    /// @param expected the session's
    error SessionManagerNonceInvalid(SessionId sessionId, uint64 nonce, uint64 expected);

    /// @notice EIP-712 type hash of `OpenSession`.
    function OPEN_SESSION_TYPEHASH() external view returns (bytes32);
    /// @notice EIP-712 type hash of `ChangePolicy`.
    function CHANGE_POLICY_TYPEHASH() external view returns (bytes32);

    /// @notice Opens a session and takes its deposit from the owner. Anyone may relay.
    /// @param owner signs, pays, and gets what is left
    /// @param clientReference chosen by the client; the same reference is the same session
    /// @param policyHash SHA-256 of the policy's canonical JSON
    /// @param deposit tokens, above 0
    /// @param ownerSignature over `OpenSession` in this contract's domain, by the owner's key or
    /// contract (ERC-1271)
    /// @param permitDeadline with `v`, `r`, `s`: the owner's EIP-2612 permit of `deposit` for
    /// `payment()`; 0 for none. An unusable permit is ignored where the allowance is there already.
    function openSession(
        address owner,
        bytes32 clientReference,
        bytes32 policyHash,
        uint256 deposit,
        bytes calldata ownerSignature,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external returns (SessionId sessionId);

    /// @notice Opens a session whose owner asked by a transaction of its own; `queue` only. Takes the
    /// deposit from the owner's allowance to `payment`.
    function openSessionFor(
        address owner,
        bytes32 clientReference,
        bytes32 policyHash,
        uint256 deposit
    ) external returns (SessionId sessionId);

    /// @notice Gives a session another policy, which its tasks are judged by from now on. The operator
    /// relays, once all that was done under the old one is settled: an owner that could choose the
    /// moment could leave miners unpaid.
    /// @param policyHash SHA-256 of the new policy's canonical JSON
    /// @param nonce the session's `policyNonce`
    /// @param ownerSignature over `ChangePolicy` in this contract's domain, by the owner's key or
    /// contract (ERC-1271)
    function changePolicy(
        SessionId sessionId,
        bytes32 policyHash,
        uint64 nonce,
        bytes calldata ownerSignature
    ) external;

    /// @notice The number that a session of this owner and reference has, opened or not: the first
    /// 63 bits of `sha256(abi.encode(block.chainid, address(this), owner, clientReference))`.
    function sessionIdOf(address owner, bytes32 clientReference) external view returns (SessionId);

    /// @notice A session by its number; all zero where it does not exist.
    function sessionOf(SessionId sessionId) external view returns (Session memory);

    /// @notice The contract that holds the deposits.
    function payment() external view returns (ISessionPayment);
    /// @notice The contract that takes contracts' requests.
    function queue() external view returns (ISessionQueue);
}
