// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CommitteeSigned} from "../signing/CommitteeSigned.sol";
import {IOracleCommittee} from "../signing/IOracleCommittee.sol";
import {INodePool, NodeKind} from "./INodePool.sol";

contract NodePool is INodePool, CommitteeSigned {
    /// @inheritdoc INodePool
    bytes32 public constant ENTER_POOL_TYPEHASH =
        keccak256("EnterPool(address node,uint8 kind,bytes32 evidence)");
    /// @inheritdoc INodePool
    bytes32 public constant LEAVE_POOL_TYPEHASH =
        keccak256("LeavePool(address node,bytes32 evidence)");

    mapping(address node => NodeKind) private _kinds;

    constructor(IOracleCommittee committee_) CommitteeSigned(committee_) {}

    /// @inheritdoc INodePool
    function enterPool(address node, NodeKind kind, bytes32 evidence, bytes[] calldata signatures)
        external
    {
        if (kind == NodeKind.None) revert NodePoolKindInvalid();
        _requireQuorumOnce(
            keccak256(abi.encode(ENTER_POOL_TYPEHASH, node, kind, evidence)), signatures
        );
        _kinds[node] = kind;
        emit NodeEntered(node, kind, evidence);
    }

    /// @inheritdoc INodePool
    function leavePool(address node, bytes32 evidence, bytes[] calldata signatures) external {
        NodeKind kind = _kinds[node];
        if (kind == NodeKind.None) revert NodePoolNotInPool(node);
        _requireQuorumOnce(keccak256(abi.encode(LEAVE_POOL_TYPEHASH, node, evidence)), signatures);
        _kinds[node] = NodeKind.None;
        emit NodeLeft(node, kind, evidence);
    }

    /// @inheritdoc INodePool
    function kindOf(address node) external view returns (NodeKind) {
        return _kinds[node];
    }
}
