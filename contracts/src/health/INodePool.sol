// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICommitteeSigned} from "../signing/ICommitteeSigned.sol";

/// @notice How a node of the pool is given work. Same order as `NODE_KINDS` in domain/node.ts.
enum NodeKind {
    None,
    Ephemeral,
    Reserved,
    Dedicated
}

/// @title Pool of nodes that may be given work
/// @notice The committee's quorum moves nodes in, between kinds, and out; each message applies once.
interface INodePool is ICommitteeSigned {
    /// @notice A node entered the pool, or changed its kind.
    /// @param evidence sha2-256 digest of the evidence's CID, here and below
    event NodeEntered(address indexed node, NodeKind indexed kind, bytes32 evidence);
    /// @notice A node left the pool.
    event NodeLeft(address indexed node, NodeKind indexed kind, bytes32 evidence);

    /// @notice Thrown when a node shall enter as `None`.
    error NodePoolKindInvalid();
    /// @notice Thrown when a node that is not in the pool shall leave it.
    error NodePoolNotInPool(address node);

    /// @notice EIP-712 type hash of `EnterPool`.
    function ENTER_POOL_TYPEHASH() external view returns (bytes32);
    /// @notice EIP-712 type hash of `LeavePool`.
    function LEAVE_POOL_TYPEHASH() external view returns (bytes32);

    /// @notice Puts a node into the pool, or changes its kind.
    /// @param signatures of a quorum over `EnterPool`, by ascending signer
    function enterPool(address node, NodeKind kind, bytes32 evidence, bytes[] calldata signatures)
        external;

    /// @notice Takes a node out of the pool.
    /// @param signatures of a quorum over `LeavePool`, by ascending signer
    function leavePool(address node, bytes32 evidence, bytes[] calldata signatures) external;

    /// @notice A node's kind; `None` where it is not in the pool.
    function kindOf(address node) external view returns (NodeKind);
}
