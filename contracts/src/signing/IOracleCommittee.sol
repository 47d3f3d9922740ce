// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The oracles that a layer trusts
/// @notice Members and quorum of one layer, and the check of a quorum's signatures that every other
/// contract of that layer relies on. The first committee is set at deployment; after that only a
/// quorum of the sitting committee changes it. One is deployed on each layer.
interface IOracleCommittee {
    /// @notice The committee changed.
    /// @param nonce number of changes before this one, from 0
    /// @param members all members, by ascending address
    /// @param quorum signatures that a message needs
    event CommitteeChanged(uint256 indexed nonce, address[] members, uint32 quorum);

    /// @notice Thrown when members are not by strictly ascending address (zero counts as lowest), or
    /// are none, or more than `MAX_MEMBERS`.
    error OracleCommitteeMembersInvalid();

    /// @notice Thrown when a quorum is zero or above the number of members.
    error OracleCommitteeQuorumInvalid(uint256 quorum, uint256 members);

    /// @notice Thrown when a message comes with fewer signatures than the quorum.
    error OracleCommitteeBelowQuorum(uint256 given, uint256 quorum);

    /// @notice Thrown when a signature is malformed.
    /// @param index position in the list that was given
    error OracleCommitteeSignatureInvalid(uint256 index);

    /// @notice Thrown when signatures are not by strictly ascending signer, which also refuses one
    /// signer twice.
    error OracleCommitteeSignersNotAscending(address previous, address signer);

    /// @notice Thrown when a signer is no member; also what a signature over other data, another
    /// contract or another chain comes to.
    error OracleCommitteeNotMember(address signer);

    /// @notice EIP-712 type hash of `ChangeCommittee(address[] members,uint32 quorum,uint256 nonce)`.
    function CHANGE_COMMITTEE_TYPEHASH() external view returns (bytes32);

    /// @notice Most members that a committee can have.
    function MAX_MEMBERS() external view returns (uint256);

    /// @notice Replaces members and quorum by decision of the sitting committee. Anyone may relay.
    /// @param members_ new members, by strictly ascending address
    /// @param quorum_ signatures that a message needs from now on
    /// @param signatures over `ChangeCommittee` with the current `nonce`, by ascending signer
    function change(address[] calldata members_, uint32 quorum_, bytes[] calldata signatures)
        external;

    /// @notice Reverts unless a quorum signed `digest`.
    /// @param digest EIP-712 digest, of the calling contract's domain
    /// @param signatures 65 bytes each, by strictly ascending signer; all must be members'
    function requireQuorum(bytes32 digest, bytes[] calldata signatures) external view;

    /// @notice The member whose turn it is to lead an epoch: round robin over `members`.
    function leaderOf(uint64 epoch) external view returns (address);

    /// @notice All members, by ascending address.
    function members() external view returns (address[] memory);

    /// @notice Whether an address sits on the committee.
    function isMember(address account) external view returns (bool);

    /// @notice Signatures that a message needs.
    function quorum() external view returns (uint32);

    /// @notice Number of changes so far; the nonce of the next `ChangeCommittee`.
    function nonce() external view returns (uint256);
}
