// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {CommitteeSigned} from "../signing/CommitteeSigned.sol";
import {IOracleCommittee} from "../signing/IOracleCommittee.sol";
import {IHealthLedger} from "./IHealthLedger.sol";

contract HealthLedger is IHealthLedger, CommitteeSigned {
    struct Report {
        bytes32 root;
        bytes32 evidence;
    }

    /// @inheritdoc IHealthLedger
    bytes32 public constant REPORT_EPOCH_TYPEHASH =
        keccak256("ReportEpoch(uint64 epoch,bytes32 root,bytes32 scoresHash,bytes32 evidence)");

    uint256 private constant SCORE_BYTES = 23;

    uint64 private _lastEpoch;
    mapping(uint64 epoch => Report) private _reports;

    constructor(IOracleCommittee committee_) CommitteeSigned(committee_) {}

    /// @inheritdoc IHealthLedger
    function reportEpoch(
        uint64 epoch,
        bytes32 root,
        bytes calldata scores,
        bytes32 evidence,
        bytes[] calldata signatures
    ) external {
        if (epoch <= _lastEpoch) {
            revert HealthLedgerEpochNotNewer(epoch, _lastEpoch);
        }
        if (root == 0) revert HealthLedgerRootInvalid();
        if (scores.length % SCORE_BYTES != 0) revert HealthLedgerScoresInvalid(scores.length);
        _requireQuorum(
            keccak256(abi.encode(REPORT_EPOCH_TYPEHASH, epoch, root, keccak256(scores), evidence)),
            signatures
        );
        _lastEpoch = epoch;
        _reports[epoch] = Report({root: root, evidence: evidence});
        emit EpochReported(epoch, root, evidence, scores);
    }

    /// @inheritdoc IHealthLedger
    function verifyScore(
        uint64 epoch,
        address node,
        uint16 scoreBps,
        uint8 level,
        bytes32[] calldata proof
    ) external view returns (bool) {
        bytes32 root = _reports[epoch].root;
        return
            root != 0 && MerkleProof.verifyCalldata(proof, root, scoreLeaf(node, scoreBps, level));
    }

    /// @inheritdoc IHealthLedger
    function reportOf(uint64 epoch) external view returns (bytes32 root, bytes32 evidence) {
        return (_reports[epoch].root, _reports[epoch].evidence);
    }

    /// @inheritdoc IHealthLedger
    function lastEpoch() external view returns (uint64) {
        return _lastEpoch;
    }

    /// @inheritdoc IHealthLedger
    function scoreLeaf(address node, uint16 scoreBps, uint8 level) public pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(node, scoreBps, level))));
    }
}
