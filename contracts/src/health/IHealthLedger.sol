// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICommitteeSigned} from "../signing/ICommitteeSigned.sol";

/// @title Ledger of miners' health
/// @notice One report an epoch, signed by the committee's quorum: the root of a Merkle tree of
/// scores and the digest of the evidence are stored, the scores themselves are in the event.
///
/// A leaf is `keccak256(bytes.concat(keccak256(abi.encode(node, scoreBps, level))))`; pairs are
/// hashed in ascending order, as OpenZeppelin's MerkleProof reads them.
interface IHealthLedger is ICommitteeSigned {
    /// @notice An epoch was reported.
    /// @param root of the tree of scores
    /// @param evidence sha2-256 digest of the evidence's CID
    /// @param scores packed: 20 bytes address, 2 bytes score in basis points, 1 byte level, each
    event EpochReported(uint64 indexed epoch, bytes32 root, bytes32 evidence, bytes scores);

    /// @notice Thrown when an epoch is not after the last one. Epochs are counted from 1.
    error HealthLedgerEpochNotNewer(uint64 epoch, uint64 lastEpoch);
    /// @notice Thrown when the root is zero.
    error HealthLedgerRootInvalid();
    /// @notice Thrown when packed scores are not a multiple of 23 bytes.
    error HealthLedgerScoresInvalid(uint256 length);

    /// @notice EIP-712 type hash of `ReportEpoch`.
    function REPORT_EPOCH_TYPEHASH() external view returns (bytes32);

    /// @notice Stores an epoch's report. Anyone may relay. An epoch may be left out, never reported
    /// late.
    /// @param scores packed as in `EpochReported`; what is signed is their keccak256
    /// @param signatures of a quorum over `ReportEpoch`, by ascending signer
    function reportEpoch(
        uint64 epoch,
        bytes32 root,
        bytes calldata scores,
        bytes32 evidence,
        bytes[] calldata signatures
    ) external;

    /// @notice Whether a score is in an epoch's report; false where the epoch has none.
    function verifyScore(
        uint64 epoch,
        address node,
        uint16 scoreBps,
        uint8 level,
        bytes32[] calldata proof
    ) external view returns (bool);

    /// @notice Root and evidence of an epoch; both zero where it has no report.
    function reportOf(uint64 epoch) external view returns (bytes32 root, bytes32 evidence);

    /// @notice The last reported epoch; 0 before the first.
    function lastEpoch() external view returns (uint64);

    /// @notice The leaf of a score.
    function scoreLeaf(address node, uint16 scoreBps, uint8 level) external pure returns (bytes32);
}
