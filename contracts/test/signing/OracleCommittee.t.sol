// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracleCommittee} from "../../src/signing/IOracleCommittee.sol";
import {World} from "../World.sol";

contract OracleCommitteeTest is World {
    bytes32 private constant DIGEST = keccak256("a message");

    function test_requireQuorum_passes_withQuorum() public view {
        committee.requireQuorum(DIGEST, signBy(QUORUM, DIGEST));
    }

    function test_requireQuorum_passes_withAllMembers() public view {
        committee.requireQuorum(DIGEST, signBy(5, DIGEST));
    }

    function test_requireQuorum_reverts_belowQuorum() public {
        bytes[] memory signatures = signBy(QUORUM - 1, DIGEST);
        vm.expectRevert(
            abi.encodeWithSelector(
                IOracleCommittee.OracleCommitteeBelowQuorum.selector, QUORUM - 1, QUORUM
            )
        );
        committee.requireQuorum(DIGEST, signatures);
    }

    function test_requireQuorum_reverts_whenOrderIsWrong() public {
        bytes[] memory signatures = signBy(QUORUM, DIGEST);
        (signatures[0], signatures[1]) = (signatures[1], signatures[0]);
        vm.expectRevert(
            abi.encodeWithSelector(
                IOracleCommittee.OracleCommitteeSignersNotAscending.selector,
                vm.addr(oracleKeys[1]),
                vm.addr(oracleKeys[0])
            )
        );
        committee.requireQuorum(DIGEST, signatures);
    }

    function test_requireQuorum_reverts_whenSignerIsTwice() public {
        bytes[] memory signatures = signBy(QUORUM, DIGEST);
        signatures[1] = signatures[0];
        vm.expectRevert(
            abi.encodeWithSelector(
                IOracleCommittee.OracleCommitteeSignersNotAscending.selector,
                vm.addr(oracleKeys[0]),
                vm.addr(oracleKeys[0])
            )
        );
        committee.requireQuorum(DIGEST, signatures);
    }

    function test_requireQuorum_reverts_whenOneOfManyIsNoMember() public {
        uint256[] memory strangers = sortedKeys(1, 2);
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = sign(strangers[0], DIGEST);
        IOracleCommittee single = deploy(addressesOf(oracleKeys), 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IOracleCommittee.OracleCommitteeNotMember.selector, vm.addr(strangers[0])
            )
        );
        single.requireQuorum(DIGEST, signatures);
    }

    function test_requireQuorum_reverts_whenSignatureIsMalformed() public {
        bytes[] memory signatures = signBy(QUORUM, DIGEST);
        signatures[2] = hex"1234";
        vm.expectRevert(
            abi.encodeWithSelector(IOracleCommittee.OracleCommitteeSignatureInvalid.selector, 2)
        );
        committee.requireQuorum(DIGEST, signatures);
    }

    function test_requireQuorum_reverts_whenSignatureIsMalleable() public {
        IOracleCommittee single = deploy(addressesOf(oracleKeys), 1);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(oracleKeys[0], DIGEST);
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        bytes[] memory signatures = new bytes[](1);
        signatures[0] =
            abi.encodePacked(r, bytes32(order - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        vm.expectRevert(
            abi.encodeWithSelector(IOracleCommittee.OracleCommitteeSignatureInvalid.selector, 0)
        );
        single.requireQuorum(DIGEST, signatures);
    }

    function test_fuzz_requireQuorum_reverts_forAnotherDigest(bytes32 other) public view {
        if (other == DIGEST) other = ~other;
        bytes[] memory signatures = signBy(QUORUM, DIGEST);
        (bool passed,) = address(committee)
            .staticcall(abi.encodeCall(IOracleCommittee.requireQuorum, (other, signatures)));
        vm.assertTrue(!passed, "another digest passed");
    }

    function test_change_replacesMembers_bySittingQuorum() public {
        address[] memory next = addressesOf(sortedKeys(2, 3));
        bytes[] memory signatures = changing(next, 2);
        vm.expectEmit(address(committee));
        emit IOracleCommittee.CommitteeChanged(1, next, 2);
        committee.change(next, 2, signatures);

        vm.assertEq(committee.members().length, 2, "members");
        vm.assertEq(committee.quorum(), 2, "quorum");
        vm.assertTrue(committee.isMember(next[1]), "new member");
        vm.assertTrue(!committee.isMember(vm.addr(oracleKeys[0])), "old member");
    }

    function test_change_reverts_whenReplayed() public {
        address[] memory same = addressesOf(oracleKeys);
        bytes[] memory signatures = changing(same, QUORUM);
        committee.change(same, QUORUM, signatures);
        // Over the nonce that is past, the signatures recover to no member, or in no order.
        (bool passed,) = address(committee)
            .call(abi.encodeCall(IOracleCommittee.change, (same, QUORUM, signatures)));
        vm.assertTrue(!passed, "replay passed");
    }

    function test_constructor_reverts_whenMembersAreNotAscending() public {
        address[] memory list = addressesOf(oracleKeys);
        (list[0], list[1]) = (list[1], list[0]);
        bytes4 invalid = IOracleCommittee.OracleCommitteeMembersInvalid.selector;
        expectNoDeployment(list, 1, invalid);
        list[1] = list[0];
        expectNoDeployment(list, 1, invalid);
        expectNoDeployment(new address[](0), 1, invalid);
        expectNoDeployment(new address[](1), 1, invalid);
        expectNoDeployment(addressesOf(sortedKeys(65, 9)), 1, invalid);
    }

    function test_constructor_reverts_whenQuorumIsOutOfRange() public {
        bytes4 invalid = IOracleCommittee.OracleCommitteeQuorumInvalid.selector;
        expectNoDeployment(addressesOf(oracleKeys), 0, invalid);
        expectNoDeployment(addressesOf(oracleKeys), 6, invalid);
    }

    function test_leaderOf_goesRound() public view {
        address[] memory list = committee.members();
        for (uint64 epoch = 0; epoch < 12; epoch++) {
            vm.assertEq(committee.leaderOf(epoch), list[epoch % 5], "leader");
        }
    }

    function deploy(address[] memory list, uint32 quorum) public returns (IOracleCommittee) {
        return IOracleCommittee(
            vm.deployCode("OracleCommittee.sol:OracleCommittee", abi.encode(list, quorum))
        );
    }

    function expectNoDeployment(address[] memory list, uint32 quorum, bytes4 selector) private {
        try this.deploy(list, quorum) {
            vm.assertTrue(false, "an invalid committee was deployed");
        } catch (bytes memory reason) {
            vm.assertEq(bytes32(bytes4(reason)), bytes32(selector), "reason");
        }
    }

    function changing(address[] memory list, uint32 quorum) private view returns (bytes[] memory) {
        return quorumOver(
            address(committee),
            keccak256(
                abi.encode(
                    committee.CHANGE_COMMITTEE_TYPEHASH(),
                    keccak256(abi.encodePacked(list)),
                    quorum,
                    committee.nonce()
                )
            )
        );
    }
}
