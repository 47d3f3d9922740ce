// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PriceCommentator} from "../../src/example/PriceCommentator.sol";
import {SessionId} from "../../src/service/SessionId.sol";
import {ServiceWorld} from "../ServiceWorld.sol";

contract PriceCommentatorTest is ServiceWorld {
    address private constant MINER = address(0x314e);
    PriceCommentator private dapp;
    uint128 private fee;

    function setUp() public override {
        super.setUp();
        dapp = new PriceCommentator(queue, keccak256("policy"));
        token.mint(address(dapp), 10 ether);
        fee = dapp.CALLBACK_GAS() * uint128(CALLBACK_GAS_PRICE);
    }

    function test_ask_bringsAnswer_andRefund() public {
        SessionId id = dapp.ask("ETH/USD", 3_200, 2 ether);
        settleRequest("batch", id, COMPLETED, 1 ether, MINER);
        fulfil("batch", id, COMPLETED, 1 ether);
        PriceCommentator.Comment memory comment = dapp.commentOf(id);
        vm.assertTrue(comment.hasEnded, "ended");
        vm.assertEq(comment.outcome, COMPLETED, "outcome");
        vm.assertEq(comment.taskId, queue.taskIdOf(id), "task");
        vm.assertEq(comment.resultDigest, RESULT, "result");
        vm.assertEq(
            comment.resultCid, "bafkreiagwcspijxwoezdjmwuwjdimqf4jyf3ojsxveqk2jgfbbyvhrmtza", "cid"
        );
        // What the contract was told can be proven by anybody.
        bytes32 leaf = payment.taskLeaf(id, comment.taskId, 0, COMPLETED, EVIDENCE, RESULT, 1 ether);
        vm.assertTrue(payment.verifyTask(comment.batchId, leaf, new bytes32[](0)), "proof");
        dapp.withdraw();
        vm.assertEq(token.balanceOf(address(this)), 9 ether - fee, "what is left");
    }

    function test_ask_takesAllBack_whenNobodyAnswers() public {
        SessionId id = dapp.ask("ETH/USD", 3_200, 2 ether);
        vm.warp(block.timestamp + dapp.TIMEOUT() + 1);
        queue.expire(id);
        vm.assertEq(dapp.commentOf(id).outcome, EXPIRED, "outcome");
        dapp.withdraw();
        vm.assertEq(token.balanceOf(address(this)), 10 ether, "all");
    }

    function test_dapp_obeysItsOwner_andTheQueue() public {
        vm.prank(MINER);
        vm.expectRevert(
            abi.encodeWithSelector(PriceCommentator.PriceCommentatorNotOwner.selector, MINER)
        );
        dapp.ask("ETH/USD", 3_200, 2 ether);
        vm.prank(MINER);
        vm.expectPartialRevert(PriceCommentator.PriceCommentatorNotOwner.selector);
        dapp.withdraw();
        vm.expectRevert(
            abi.encodeWithSelector(
                PriceCommentator.PriceCommentatorNotQueue.selector, address(this)
            )
        );
        dapp.onInference(SessionId.wrap(1), 0, 0, 0, "", 0);
    }
}
