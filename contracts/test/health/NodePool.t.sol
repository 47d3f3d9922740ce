// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {INodePool, NodeKind} from "../../src/health/INodePool.sol";
import {ICommitteeSigned} from "../../src/signing/ICommitteeSigned.sol";
import {World} from "../World.sol";

contract NodePoolTest is World {
    address private constant NODE = address(0xa0de);
    bytes32 private constant EVIDENCE = keccak256("evidence");

    function test_enterPool_setsKind_andChangesIt() public {
        enter(NodeKind.Ephemeral);
        assertKind(NodeKind.Ephemeral);
        enter(NodeKind.Dedicated);
        assertKind(NodeKind.Dedicated);
    }

    function test_enterPool_reverts_whenReplayed() public {
        enter(NodeKind.Reserved);
        bytes[] memory signatures = entering(NODE, NodeKind.Reserved, EVIDENCE);
        vm.expectPartialRevert(ICommitteeSigned.CommitteeSignedDigestUsed.selector);
        pool.enterPool(NODE, NodeKind.Reserved, EVIDENCE, signatures);
    }

    function test_enterPool_reverts_asNone() public {
        bytes[] memory signatures = entering(NODE, NodeKind.None, EVIDENCE);
        vm.expectRevert(INodePool.NodePoolKindInvalid.selector);
        pool.enterPool(NODE, NodeKind.None, EVIDENCE, signatures);
    }

    function test_enterPool_reverts_withSignaturesForAnotherPool() public {
        bytes[] memory signatures = entering(NODE, NodeKind.Reserved, EVIDENCE);
        INodePool other = INodePool(vm.deployCode("NodePool.sol:NodePool", abi.encode(committee)));
        (bool passed,) = address(other)
            .call(
                abi.encodeCall(INodePool.enterPool, (NODE, NodeKind.Reserved, EVIDENCE, signatures))
            );
        vm.assertTrue(!passed, "another pool's signatures passed");
    }

    function test_leavePool_takesOut_once() public {
        enter(NodeKind.Reserved);
        bytes[] memory signatures = leaving(NODE, EVIDENCE);
        vm.expectEmit(address(pool));
        emit INodePool.NodeLeft(NODE, NodeKind.Reserved, EVIDENCE);
        pool.leavePool(NODE, EVIDENCE, signatures);
        assertKind(NodeKind.None);

        vm.expectRevert(abi.encodeWithSelector(INodePool.NodePoolNotInPool.selector, NODE));
        pool.leavePool(NODE, EVIDENCE, signatures);
    }

    function enter(NodeKind kind) private {
        pool.enterPool(NODE, kind, EVIDENCE, entering(NODE, kind, EVIDENCE));
    }

    function assertKind(NodeKind kind) private view {
        vm.assertEq(uint256(pool.kindOf(NODE)), uint256(kind), "kind");
    }
}
