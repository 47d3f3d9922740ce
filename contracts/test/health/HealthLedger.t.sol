// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {IHealthLedger} from "../../src/health/IHealthLedger.sol";
import {IOracleCommittee} from "../../src/signing/IOracleCommittee.sol";
import {World} from "../World.sol";

contract HealthLedgerTest is World {
    bytes32 private constant EVIDENCE = keccak256("evidence");
    address private constant A = address(0xa);
    address private constant B = address(0xb);

    bytes private scores = abi.encodePacked(A, uint16(9000), uint8(9), B, uint16(100), uint8(0));
    bytes32 private leafA = keccak256(bytes.concat(keccak256(abi.encode(A, 9000, 9))));
    bytes32 private leafB = keccak256(bytes.concat(keccak256(abi.encode(B, 100, 0))));
    bytes32 private root = Hashes.commutativeKeccak256(leafA, leafB);

    function test_reportEpoch_storesRoot_andEmitsScores() public {
        bytes[] memory signatures = reporting(3, root, scores, EVIDENCE);
        vm.expectEmit(address(ledger));
        emit IHealthLedger.EpochReported(3, root, EVIDENCE, scores);
        ledger.reportEpoch(3, root, scores, EVIDENCE, signatures);

        (bytes32 storedRoot, bytes32 storedEvidence) = ledger.reportOf(3);
        vm.assertEq(storedRoot, root, "root");
        vm.assertEq(storedEvidence, EVIDENCE, "evidence");
        vm.assertEq(ledger.lastEpoch(), 3, "last epoch");
    }

    function test_verifyScore_knowsTrueScoresOnly() public {
        report(1);
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = leafB;
        vm.assertTrue(ledger.verifyScore(1, A, 9000, 9, proof), "true score");
        vm.assertTrue(!ledger.verifyScore(1, A, 9001, 9, proof), "other score");
        vm.assertTrue(!ledger.verifyScore(1, B, 9000, 9, proof), "other node");
        vm.assertTrue(!ledger.verifyScore(2, A, 9000, 9, proof), "other epoch");
        vm.assertEq(ledger.scoreLeaf(A, 9000, 9), leafA, "leaf");
    }

    function test_reportEpoch_reverts_whenEpochIsNotNewer() public {
        report(2);
        bytes[] memory signatures = reporting(2, root, scores, EVIDENCE);
        vm.expectRevert(
            abi.encodeWithSelector(IHealthLedger.HealthLedgerEpochNotNewer.selector, 2, 2)
        );
        ledger.reportEpoch(2, root, scores, EVIDENCE, signatures);
    }

    function test_reportEpoch_reverts_whenScoresAreNotThoseSigned() public {
        bytes[] memory signatures = reporting(1, root, scores, EVIDENCE);
        bytes memory other = scores;
        other[21] = 0xff;
        (bool passed,) = address(ledger)
            .call(abi.encodeCall(IHealthLedger.reportEpoch, (1, root, other, EVIDENCE, signatures)));
        vm.assertTrue(!passed, "other scores passed");
    }

    function test_reportEpoch_reverts_whenScoresAreCutShort() public {
        bytes memory short = hex"00";
        bytes[] memory signatures = reporting(1, root, short, EVIDENCE);
        vm.expectRevert(abi.encodeWithSelector(IHealthLedger.HealthLedgerScoresInvalid.selector, 1));
        ledger.reportEpoch(1, root, short, EVIDENCE, signatures);
    }

    function test_reportEpoch_reverts_withoutRoot() public {
        bytes[] memory signatures = reporting(1, 0, scores, EVIDENCE);
        vm.expectRevert(IHealthLedger.HealthLedgerRootInvalid.selector);
        ledger.reportEpoch(1, 0, scores, EVIDENCE, signatures);
    }

    function test_reportEpoch_reverts_belowQuorum() public {
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = reporting(1, root, scores, EVIDENCE)[0];
        vm.expectPartialRevert(IOracleCommittee.OracleCommitteeBelowQuorum.selector);
        ledger.reportEpoch(1, root, scores, EVIDENCE, signatures);
    }

    function report(uint64 epoch) private {
        ledger.reportEpoch(epoch, root, scores, EVIDENCE, reporting(epoch, root, scores, EVIDENCE));
    }
}
