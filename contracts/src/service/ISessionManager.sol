// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISessionPayment} from "./ISessionPayment.sol";
import {SessionId} from "./SessionId.sol";

/// @notice A session as it was opened; its money and state are in `ISessionPayment`.
struct Session {
    address owner;
    /// Unix seconds; 0 where the session does not exist.
    uint64 openedAt;
    /// SHA-256 of the policy's canonical JSON, the digest of its CID.
    bytes32 policyHash;
}

/// @title Opening of sessions
/// @notice An owner signs what it wants and anyone relays it, so that a client needs no gas. The
/// deposit goes to `payment`, which created this contract.
interface ISessionManager {
    /// @notice A session was opened. `SessionDeposited` of the payment contract follows.
    /// @param deposit tokens that the owner signed for
    event SessionOpened(
        SessionId indexed sessionId,
        address indexed owner,
        bytes32 clientReference,
        bytes32 policyHash,
        uint256 deposit
    );

    /// @notice Thrown when the owner has a session with this client reference; what a relay that
    /// comes second gets.
    error SessionManagerAlreadyOpen(SessionId sessionId);
    /// @notice Thrown when the opening was not signed by the owner.
    error SessionManagerSignatureInvalid(address owner);
    /// @notice Thrown when a session is opened without a deposit.
    error SessionManagerDepositZero();

    /// @notice EIP-712 type hash of `OpenSession`.
    function OPEN_SESSION_TYPEHASH() external view returns (bytes32);

    /// @notice Opens a session and takes its deposit from the owner. Anyone may relay.
    /// @param owner signs, pays, and gets what is left
    /// @param clientReference chosen by the client; the same reference is the same session
    /// @param policyHash SHA-256 of the policy's canonical JSON
    /// @param deposit tokens, above 0
    /// @param ownerSignature over `OpenSession` in this contract's domain, by the owner's key or
    /// contract (ERC-1271)
    /// @param permitDeadline with `v`, `r`, `s`: the owner's EIP-2612 permit of `deposit` for
    /// `payment()`. An unusable permit is ignored where the allowance is there already.
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

    /// @notice The number that a session of this owner and reference has, opened or not: the first
    /// 63 bits of `sha256(abi.encode(block.chainid, address(this), owner, clientReference))`.
    function sessionIdOf(address owner, bytes32 clientReference) external view returns (SessionId);

    /// @notice A session by its number; all zero where it does not exist.
    function sessionOf(SessionId sessionId) external view returns (Session memory);

    /// @notice The contract that holds the deposits.
    function payment() external view returns (ISessionPayment);
}
