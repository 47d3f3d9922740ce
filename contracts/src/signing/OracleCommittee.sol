// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IOracleCommittee} from "./IOracleCommittee.sol";

contract OracleCommittee is IOracleCommittee, EIP712 {
    /// @inheritdoc IOracleCommittee
    bytes32 public constant CHANGE_COMMITTEE_TYPEHASH =
        keccak256("ChangeCommittee(address[] members,uint32 quorum,uint256 nonce)");
    /// @inheritdoc IOracleCommittee
    uint256 public constant MAX_MEMBERS = 64;

    address[] private _members;
    mapping(address account => bool) private _isMember;
    uint32 private _quorum;
    uint256 private _nonce;

    constructor(address[] memory members_, uint32 quorum_) EIP712("Cortensor", "1") {
        _set(members_, quorum_);
    }

    /// @inheritdoc IOracleCommittee
    function change(address[] calldata members_, uint32 quorum_, bytes[] calldata signatures)
        external
    {
        bytes32 structHash = keccak256(
            abi.encode(
                CHANGE_COMMITTEE_TYPEHASH, keccak256(abi.encodePacked(members_)), quorum_, _nonce
            )
        );
        requireQuorum(_hashTypedDataV4(structHash), signatures);
        for (uint256 i = 0; i < _members.length; i++) {
            _isMember[_members[i]] = false;
        }
        _set(members_, quorum_);
    }

    /// @inheritdoc IOracleCommittee
    function requireQuorum(bytes32 digest, bytes[] calldata signatures) public view {
        if (signatures.length < _quorum) {
            revert OracleCommitteeBelowQuorum(signatures.length, _quorum);
        }
        address previous = address(0);
        for (uint256 i = 0; i < signatures.length; i++) {
            (address signer, ECDSA.RecoverError fault,) =
                ECDSA.tryRecoverCalldata(digest, signatures[i]);
            if (fault != ECDSA.RecoverError.NoError) revert OracleCommitteeSignatureInvalid(i);
            if (signer <= previous) revert OracleCommitteeSignersNotAscending(previous, signer);
            if (!_isMember[signer]) revert OracleCommitteeNotMember(signer);
            previous = signer;
        }
    }

    /// @inheritdoc IOracleCommittee
    function leaderOf(uint64 epoch) external view returns (address) {
        return _members[epoch % _members.length];
    }

    /// @inheritdoc IOracleCommittee
    function members() external view returns (address[] memory) {
        return _members;
    }

    /// @inheritdoc IOracleCommittee
    function isMember(address account) external view returns (bool) {
        return _isMember[account];
    }

    /// @inheritdoc IOracleCommittee
    function quorum() external view returns (uint32) {
        return _quorum;
    }

    /// @inheritdoc IOracleCommittee
    function nonce() external view returns (uint256) {
        return _nonce;
    }

    function _set(address[] memory members_, uint32 quorum_) private {
        if (members_.length == 0 || members_.length > MAX_MEMBERS) {
            revert OracleCommitteeMembersInvalid();
        }
        if (quorum_ == 0 || quorum_ > members_.length) {
            revert OracleCommitteeQuorumInvalid(quorum_, members_.length);
        }
        address previous = address(0);
        for (uint256 i = 0; i < members_.length; i++) {
            if (members_[i] <= previous) revert OracleCommitteeMembersInvalid();
            previous = members_[i];
            _isMember[previous] = true;
        }
        _members = members_;
        _quorum = quorum_;
        emit CommitteeChanged(_nonce++, members_, quorum_);
    }
}
