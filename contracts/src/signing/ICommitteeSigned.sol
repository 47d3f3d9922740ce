// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracleCommittee} from "./IOracleCommittee.sol";

/// @title A contract that acts on messages of its layer's committee
interface ICommitteeSigned {
    /// @notice Thrown when a message that may be applied once comes again.
    error CommitteeSignedDigestUsed(bytes32 digest);

    /// @notice The committee whose quorum this contract obeys.
    function committee() external view returns (IOracleCommittee);

    /// @notice Whether the message with this EIP-712 digest was applied.
    function isUsed(bytes32 digest) external view returns (bool);
}
