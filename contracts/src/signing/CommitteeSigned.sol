// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ICommitteeSigned} from "./ICommitteeSigned.sol";
import {IOracleCommittee} from "./IOracleCommittee.sol";

/// @dev Binds messages to this contract and chain by its EIP-712 domain, then asks the committee.
abstract contract CommitteeSigned is ICommitteeSigned, EIP712 {
    IOracleCommittee private immutable _committee;
    mapping(bytes32 digest => bool) private _isUsed;

    constructor(IOracleCommittee committee_) EIP712("Cortensor", "1") {
        _committee = committee_;
    }

    /// @inheritdoc ICommitteeSigned
    function committee() external view returns (IOracleCommittee) {
        return _committee;
    }

    /// @inheritdoc ICommitteeSigned
    function isUsed(bytes32 digest) external view returns (bool) {
        return _isUsed[digest];
    }

    /// @dev For messages whose own rule refuses a repetition.
    function _requireQuorum(bytes32 structHash, bytes[] calldata signatures) internal view {
        _committee.requireQuorum(_hashTypedDataV4(structHash), signatures);
    }

    /// @dev For messages that could apply again otherwise: each digest passes once.
    function _requireQuorumOnce(bytes32 structHash, bytes[] calldata signatures) internal {
        _committee.requireQuorum(_useOnce(structHash), signatures);
    }

    /// @dev For messages of others than the committee that pass once, too.
    function _useOnce(bytes32 structHash) internal returns (bytes32 digest) {
        digest = _hashTypedDataV4(structHash);
        if (_isUsed[digest]) revert CommitteeSignedDigestUsed(digest);
        _isUsed[digest] = true;
    }
}
