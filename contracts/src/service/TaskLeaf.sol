// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SessionId} from "./SessionId.sol";

/// @dev Leaf of a task in its batch's tree, as `ISessionPayment` describes it. Hashed twice, so that
/// no inner node can pose as a leaf.
function hashTaskLeaf(
    SessionId sessionId,
    bytes32 taskId,
    uint256 ordinal,
    uint8 outcome,
    bytes32 evidenceDigest,
    bytes32 resultDigest,
    uint256 charge
) pure returns (bytes32) {
    bytes32 inner = keccak256(
        abi.encode(sessionId, taskId, ordinal, outcome, evidenceDigest, resultDigest, charge)
    );
    return keccak256(bytes.concat(inner));
}
