// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISessionQueue, RequestState} from "../../src/service/ISessionQueue.sol";
import {ITaskSteps} from "../../src/service/ITaskSteps.sol";
import {SessionId} from "../../src/service/SessionId.sol";
import {Conduct, Consumer, SilentConsumer} from "../hostile/Consumers.sol";
import {ServiceWorld} from "../ServiceWorld.sol";

/// @dev Consumers that misbehave when they are called back, and relayers that give too little gas.
contract SessionCallbacksTest is ServiceWorld {
    address private constant MINER = address(0x314e);
    uint32 private constant GAS = 400_000;
    uint128 private constant FEE = GAS * uint128(CALLBACK_GAS_PRICE);
    uint128 private constant CHARGE = 4 ether;
    Consumer private consumer;
    SessionId private id;
    uint256 private lastGas;

    function setUp() public override {
        super.setUp();
        consumer = new Consumer();
        token.mint(address(consumer), 100 ether);
        consumer.allow(token, address(payment));
        id = consumer.ask(queue, "first", 10 ether, GAS);
        settleRequest("batch", id, COMPLETED, CHARGE, MINER);
    }

    function test_callback_thatReverts_costsNobodyElse() public {
        assertEndsWithoutCallback(Conduct.Reverts);
    }

    function test_callback_thatRevertsWithBomb_costsNobodyElse() public {
        assertEndsWithoutCallback(Conduct.RevertsWithBomb);
    }

    function test_callback_thatBurnsGas_costsWhatWasAskedFor() public {
        assertEndsWithoutCallback(Conduct.BurnsGas);
        // Ending the request takes a third of this without the callback.
        vm.assertLe(lastGas, GAS + 300_000, "gas of a relayer");
    }

    function test_callback_thatReturnsBomb_isNotCopied() public {
        consumer.behave(Conduct.ReturnsBomb);
        bytes memory call = fulfilment("batch", id, COMPLETED, CHARGE);
        uint256 before = gasleft();
        (bool hasPassed,) = address(queue).call(call);
        uint256 used = before - gasleft();
        vm.assertTrue(hasPassed, "fulfil");
        vm.assertEq(consumer.callbacks(), 1, "callbacks");
        // It takes 217,000 gas; copying 200,000 bytes would make it 332,000.
        vm.assertLe(used, 270_000, "gas of a relayer");
        assertEnded();
    }

    function test_callback_isNotMade_toContractWithoutIt() public {
        SilentConsumer silent = new SilentConsumer();
        token.mint(address(silent), 10 ether);
        id = silent.ask(queue, 10 ether, GAS);
        settleRequest("silent", id, COMPLETED, CHARGE, MINER);
        bytes32 taskId = queue.taskIdOf(id);
        bytes memory call = fulfilment("silent", id, COMPLETED, CHARGE);
        vm.expectEmit(address(queue));
        emit ITaskSteps.TaskEnded(id, taskId, COMPLETED, RESULT, false);
        (bool hasPassed,) = address(queue).call(call);
        vm.assertTrue(hasPassed, "fulfil");
        vm.assertEq(token.balanceOf(address(silent)), 6 ether - FEE, "refund");
    }

    function test_callback_cannotReenter() public {
        SessionId second = consumer.ask(queue, "second", 10 ether, GAS);
        settleRequest("second", second, COMPLETED, CHARGE, MINER);
        consumer.plan(address(queue), fulfilment("batch", id, COMPLETED, CHARGE));
        consumer.plan(address(queue), fulfilment("second", second, COMPLETED, CHARGE));
        consumer.plan(address(queue), abi.encodeCall(queue.expire, (second)));
        consumer.plan(
            address(queue),
            abi.encodeCall(
                queue.requestInference,
                ("third", keccak256("policy"), "why?", 64, 1 ether, 0, 10 minutes)
            )
        );
        consumer.plan(address(payment), abi.encodeCall(payment.requestExit, (id)));
        consumer.plan(address(payment), abi.encodeCall(payment.exit, (id)));
        consumer.plan(address(payment), abi.encodeCall(payment.closeFor, (second, 0)));
        consumer.plan(address(payment), abi.encodeCall(payment.deposit, (id, 1)));
        consumer.plan(address(payment), abi.encodeCall(payment.withdraw, ()));
        vm.warp(block.timestamp + 1 days);
        fulfil("batch", id, COMPLETED, CHARGE);
        vm.assertEq(consumer.callbacks(), 1, "callbacks");
        vm.assertEq(consumer.intrusions(), 0, "intrusions");
        vm.assertEq(queue.requestCount(), 2, "requests");
        assertMoney(20 ether, 2 * CHARGE + FEE, 6 ether - FEE, 6 ether, 0);
        fulfil("second", second, COMPLETED, CHARGE);
        assertMoney(20 ether, 2 * (CHARGE + FEE), 2 * (6 ether - FEE), 0, 0);
    }

    function test_expire_survivesEveryConduct() public {
        for (uint256 i = 0; i < 5; i++) {
            consumer.behave(Conduct(i));
            SessionId next = consumer.ask(queue, bytes32(i), 10 ether, GAS);
            vm.warp(block.timestamp + 1 days);
            queue.expire(next);
            vm.assertEq(uint256(queue.requestOf(next).state), uint256(RequestState.Ended), "state");
            vm.assertEq(payment.accountOf(next).held, 0, "held");
        }
    }

    /// @dev Whatever gas a relayer gives: the call fails as a whole, or the consumer has all its gas.
    function test_fuzz_callback_getsAllItsGas_orNothingHappens(uint256 gas) public {
        gas = bound(gas, 50_000, 900_000);
        bytes memory call = fulfilment("batch", id, COMPLETED, CHARGE);
        (bool hasPassed,) = address(queue).call{gas: gas}(call);
        if (hasPassed) {
            vm.assertEq(consumer.callbacks(), 1, "callbacks");
            // What the consumer's own dispatch and decoding took is missing.
            vm.assertLe(GAS - 2_000, consumer.gasAtCallback(), "gas");
            vm.assertLe(consumer.gasAtCallback(), GAS, "no more gas");
        } else {
            vm.assertEq(uint256(queue.requestOf(id).state), uint256(RequestState.Open), "state");
            vm.assertEq(payment.accountOf(id).held, 6 ether, "held");
        }
    }

    function test_fulfil_saysSo_whenGasIsTooLow() public {
        bytes memory call = fulfilment("batch", id, COMPLETED, CHARGE);
        (bool hasPassed, bytes memory reason) = address(queue).call{gas: 500_000}(call);
        vm.assertTrue(!hasPassed, "passed");
        vm.assertEq(
            bytes32(bytes4(reason)), bytes32(ISessionQueue.SessionQueueGasTooLow.selector), "reason"
        );
    }

    function assertEndsWithoutCallback(Conduct conduct) private {
        consumer.behave(conduct);
        bytes32 taskId = queue.taskIdOf(id);
        bytes memory call = fulfilment("batch", id, COMPLETED, CHARGE);
        vm.expectEmit(address(queue));
        emit ITaskSteps.TaskEnded(id, taskId, COMPLETED, RESULT, false);
        uint256 before = gasleft();
        (bool hasPassed,) = address(queue).call(call);
        lastGas = before - gasleft();
        vm.assertTrue(hasPassed, "fulfil");
        vm.assertEq(consumer.callbacks(), 0, "callbacks");
        assertEnded();
    }

    function assertEnded() private view {
        vm.assertEq(uint256(queue.requestOf(id).state), uint256(RequestState.Ended), "state");
        vm.assertEq(token.balanceOf(address(consumer)), 96 ether - FEE, "refund");
        assertMoney(10 ether, CHARGE + FEE, 6 ether - FEE, 0, 0);
    }
}
