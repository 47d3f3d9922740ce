// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ISessionManager} from "../../src/service/ISessionManager.sol";
import {AccountStatus, ISessionPayment} from "../../src/service/ISessionPayment.sol";
import {InferenceRequest, ISessionQueue, RequestState} from "../../src/service/ISessionQueue.sol";
import {ITaskSteps} from "../../src/service/ITaskSteps.sol";
import {SessionId} from "../../src/service/SessionId.sol";
import {Consumer} from "../hostile/Consumers.sol";
import {FeeToken, RefusingToken} from "../hostile/Tokens.sol";
import {ServiceWorld} from "../ServiceWorld.sol";

contract SessionQueueTest is ServiceWorld {
    bytes32 private constant REFERENCE = keccak256("reference");
    address private constant MINER = address(0x314e);
    uint32 private constant GAS = 300_000;
    uint128 private constant FEE = GAS * uint128(CALLBACK_GAS_PRICE);
    Consumer private consumer;

    function setUp() public override {
        super.setUp();
        join();
    }

    // requestInference

    function test_requestInference_opensSessionOfCaller() public {
        SessionId id = manager.sessionIdOf(address(consumer), REFERENCE);
        bytes32 taskId = queue.taskIdOf(id);
        vm.expectEmit(address(manager));
        emit ISessionManager.SessionOpened(
            id, address(consumer), REFERENCE, keccak256("policy"), 10 ether
        );
        vm.expectEmit(address(payment));
        emit ISessionPayment.SessionDeposited(id, address(consumer), 10 ether, 10 ether);
        vm.expectEmit(address(queue));
        emit ITaskSteps.TaskQueued(id, taskId, 1, address(consumer), REFERENCE, 0, "why?");
        SessionId asked = consumer.ask(queue, REFERENCE, 10 ether, GAS);

        vm.assertEq(SessionId.unwrap(asked), SessionId.unwrap(id), "id");
        InferenceRequest memory request = queue.requestOf(id);
        vm.assertEq(request.globalId, 1, "global id");
        vm.assertEq(SessionId.unwrap(request.sessionId), SessionId.unwrap(id), "session");
        vm.assertEq(request.consumer, address(consumer), "consumer");
        vm.assertEq(request.policyHash, keccak256("policy"), "policy");
        vm.assertEq(request.maxTokens, 64, "tokens");
        vm.assertEq(request.callbackGas, GAS, "gas");
        vm.assertEq(request.requestedAt, block.timestamp, "requested at");
        vm.assertEq(request.deadline, block.timestamp + 10 minutes, "deadline");
        vm.assertEq(uint256(request.state), uint256(RequestState.Open), "state");
        vm.assertEq(payment.accountOf(id).owner, address(consumer), "owner");
        assertMoney(10 ether, 0, 0, 10 ether, 0);
    }

    function test_requestInference_countsFromOne_withoutGaps() public {
        vm.assertEq(queue.requestCount(), 0, "none");
        vm.expectRevert(
            abi.encodeWithSelector(ISessionQueue.SessionQueueUnknownRequest.selector, uint64(0))
        );
        queue.requestAt(0);
        for (uint64 i = 1; i <= 9; i++) {
            // One that is refused leaves no gap.
            if (i == 5) {
                vm.expectPartialRevert(ISessionManager.SessionManagerAlreadyOpen.selector);
                consumer.ask(queue, bytes32(uint256(4)), 1 ether, 0);
            }
            SessionId id = consumer.ask(queue, bytes32(uint256(i)), 1 ether, 0);
            vm.assertEq(queue.requestCount(), i, "count");
            InferenceRequest memory request = queue.requestAt(i);
            vm.assertEq(request.globalId, i, "global id");
            vm.assertEq(SessionId.unwrap(request.sessionId), SessionId.unwrap(id), "session");
        }
        vm.expectPartialRevert(ISessionQueue.SessionQueueUnknownRequest.selector);
        queue.requestAt(10);
        vm.assertEq(queue.requestOf(SessionId.wrap(1)).globalId, 0, "unknown session");
    }

    function test_requestInference_reverts_outsideLimits() public {
        vm.expectPartialRevert(ISessionQueue.SessionQueuePromptInvalid.selector);
        askWith("", 64, 1 ether, 0, 10 minutes);
        string memory longest = string(new bytes(8_192));
        string memory tooLong = string(new bytes(8_193));
        vm.expectPartialRevert(ISessionQueue.SessionQueuePromptInvalid.selector);
        askWith(tooLong, 64, 1 ether, 0, 10 minutes);
        vm.expectPartialRevert(ISessionQueue.SessionQueueMaxTokensInvalid.selector);
        askWith("why?", 0, 1 ether, 0, 10 minutes);
        vm.expectPartialRevert(ISessionQueue.SessionQueueMaxTokensInvalid.selector);
        askWith("why?", 4_097, 1 ether, 0, 10 minutes);
        vm.expectPartialRevert(ISessionQueue.SessionQueueTimeoutInvalid.selector);
        askWith("why?", 64, 1 ether, 0, 30 seconds - 1);
        vm.expectPartialRevert(ISessionQueue.SessionQueueTimeoutInvalid.selector);
        askWith("why?", 64, 1 ether, 0, 7 days + 1);
        vm.expectPartialRevert(ISessionQueue.SessionQueueCallbackGasInvalid.selector);
        askWith("why?", 64, 1 ether, 2_000_001, 10 minutes);
        vm.expectPartialRevert(ISessionManager.SessionManagerDepositZero.selector);
        askWith("why?", 64, 0, 0, 10 minutes);
        vm.assertEq(queue.requestCount(), 0, "count");
        token.mint(address(this), 1 ether);
        token.approve(address(payment), 1 ether);
        askWith(longest, 4_096, 1 ether, 2_000_000, 7 days);
        vm.assertEq(queue.requestCount(), 1, "count");
    }

    function test_requestInference_reverts_whenPaymentIsBelowFeeOfCallback() public {
        vm.expectRevert(
            abi.encodeWithSelector(ISessionQueue.SessionQueuePaymentBelowFee.selector, FEE - 1, FEE)
        );
        consumer.ask(queue, REFERENCE, FEE - 1, GAS);
        consumer.ask(queue, REFERENCE, FEE, GAS);
    }

    function test_requestInference_reverts_whenWhatArrivesIsBelowFee_ofFeeToken() public {
        deployAround(address(new FeeToken()));
        join();
        vm.expectPartialRevert(ISessionQueue.SessionQueuePaymentBelowFee.selector);
        consumer.ask(queue, REFERENCE, FEE, GAS);
        SessionId id = consumer.ask(queue, REFERENCE, 100 ether, GAS);
        vm.assertEq(payment.accountOf(id).held, 99 ether, "held");
        vm.warp(block.timestamp + 10 minutes + 1);
        queue.expire(id);
        assertMoney(99 ether, 0, 99 ether, 0, 0);
    }

    function test_requestInference_reverts_withoutAllowanceOrTokens() public {
        Consumer poor = new Consumer();
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        poor.ask(queue, REFERENCE, 1 ether, 0);
        poor.allow(token, address(payment));
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientBalance.selector);
        poor.ask(queue, REFERENCE, 1 ether, 0);
        // An allowance for the queue itself is none: tokens go where the money is held.
        poor = new Consumer();
        token.mint(address(poor), 1 ether);
        poor.allow(token, address(queue));
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        poor.ask(queue, REFERENCE, 1 ether, 0);
    }

    function test_requestInference_reverts_whenTokenReturnsFalse() public {
        RefusingToken refusing = new RefusingToken();
        deployAround(address(refusing));
        join();
        refusing.refuse(true);
        vm.expectPartialRevert(SafeERC20.SafeERC20FailedOperation.selector);
        consumer.ask(queue, REFERENCE, 1 ether, 0);
        vm.assertEq(queue.requestCount(), 0, "count");
    }

    function test_openSessionFor_andCloseFor_revert_byOthers() public {
        vm.expectRevert(
            abi.encodeWithSelector(ISessionManager.SessionManagerNotQueue.selector, address(this))
        );
        manager.openSessionFor(address(consumer), REFERENCE, 0, 1 ether);
        SessionId id = consumer.ask(queue, REFERENCE, 1 ether, 0);
        vm.expectRevert(
            abi.encodeWithSelector(ISessionPayment.SessionPaymentNotQueue.selector, address(this))
        );
        payment.closeFor(id, 0);
    }

    // fulfil

    function test_fulfil_refundsFirst_thenCallsBack() public {
        SessionId id = consumer.ask(queue, REFERENCE, 10 ether, GAS);
        bytes32 taskId = queue.taskIdOf(id);
        settleRequest("batch", id, COMPLETED, 4 ether, MINER);
        bytes memory call = fulfilment("batch", id, COMPLETED, 4 ether);
        vm.expectEmit(address(payment));
        emit ISessionPayment.CallbackCharged(id, FEE);
        vm.expectEmit(address(payment));
        emit ISessionPayment.SessionClosed(id, address(consumer), 4 ether + FEE, 6 ether - FEE);
        vm.expectEmit(address(queue));
        emit ITaskSteps.TaskEnded(id, taskId, COMPLETED, RESULT, true);
        (bool hasPassed,) = address(queue).call(call);
        vm.assertTrue(hasPassed, "fulfil");

        vm.assertEq(consumer.callbacks(), 1, "callbacks");
        vm.assertEq(consumer.taskId(), taskId, "task");
        vm.assertEq(consumer.outcome(), COMPLETED, "outcome");
        vm.assertEq(consumer.resultDigest(), RESULT, "result");
        vm.assertEq(consumer.batchId(), "batch", "batch");
        // Computed with multiformats from keccak256("result").
        vm.assertEq(
            consumer.resultCid(),
            "bafkreiagwcspijxwoezdjmwuwjdimqf4jyf3ojsxveqk2jgfbbyvhrmtza",
            "cid"
        );
        vm.assertEq(consumer.balanceAtCallback(), 996 ether - FEE, "balance at the callback");
        assertMoney(10 ether, 4 ether + FEE, 6 ether - FEE, 0, 0);
        vm.assertEq(payment.earningsOf(FEE_TREASURY), FEE, "treasury");
        InferenceRequest memory request = queue.requestOf(id);
        vm.assertEq(uint256(request.state), uint256(RequestState.Ended), "state");
    }

    function test_fulfil_passesOnce() public {
        SessionId id = consumer.ask(queue, REFERENCE, 10 ether, GAS);
        settleRequest("batch", id, COMPLETED, 4 ether, MINER);
        fulfil("batch", id, COMPLETED, 4 ether);
        bytes memory fault = abi.encodeWithSelector(
            ISessionQueue.SessionQueueRequestNotOpen.selector, id, RequestState.Ended
        );
        bytes memory call = fulfilment("batch", id, COMPLETED, 4 ether);
        expectFault(call, fault);
        vm.warp(block.timestamp + 1 days);
        expectFault(abi.encodeCall(queue.expire, (id)), fault);
        vm.assertEq(consumer.callbacks(), 1, "callbacks");
    }

    function test_fulfil_reverts_forUnknownRequest() public {
        token.mint(vm.addr(1), 1 ether);
        SessionId id = openSession(1, "no request", 1 ether);
        settleRequest("batch", id, COMPLETED, 1 ether, MINER);
        expectFault(
            fulfilment("batch", id, COMPLETED, 1 ether),
            abi.encodeWithSelector(
                ISessionQueue.SessionQueueRequestNotOpen.selector, id, RequestState.None
            )
        );
    }

    function test_fulfil_reverts_withAnythingButTheLeafThatWasSettled() public {
        SessionId id = consumer.ask(queue, REFERENCE, 10 ether, GAS);
        SessionId other = consumer.ask(queue, "other", 10 ether, GAS);
        settleRequest("batch", id, COMPLETED, 4 ether, MINER);
        settleRequest("other batch", other, COMPLETED, 4 ether, MINER);
        bytes32 taskId = queue.taskIdOf(id);
        bytes[8] memory calls = [
            fulfilment("batch", id, REFUSED, 4 ether),
            fulfilment("batch", id, COMPLETED, 3 ether),
            fulfilment("other batch", id, COMPLETED, 4 ether),
            fulfilment("no batch", id, COMPLETED, 4 ether),
            fulfilment("batch", other, COMPLETED, 4 ether),
            claim(id, "other task", EVIDENCE, RESULT),
            claim(id, taskId, RESULT, RESULT),
            claim(id, taskId, EVIDENCE, EVIDENCE)
        ];
        for (uint256 i = 0; i < calls.length; i++) {
            (bool hasPassed, bytes memory reason) = address(queue).call(calls[i]);
            vm.assertTrue(!hasPassed, "passed");
            vm.assertEq(
                bytes32(bytes4(reason)),
                bytes32(ISessionQueue.SessionQueueProofInvalid.selector),
                "reason"
            );
        }
        fulfil("batch", id, COMPLETED, 4 ether);
    }

    function test_fulfil_returnsAll_whenNothingWasCharged() public {
        SessionId id = consumer.ask(queue, REFERENCE, 10 ether, 0);
        settleRequest("batch", id, REFUSED, 0, MINER);
        fulfil("batch", id, REFUSED, 0);
        assertMoney(10 ether, 0, 10 ether, 0, 0);
        vm.assertEq(consumer.callbacks(), 0, "callbacks");
        vm.assertEq(queue.requestOf(id).outcome, REFUSED, "outcome");
    }

    function test_fulfil_tellsOfRefusal_withoutResult() public {
        SessionId id = consumer.ask(queue, REFERENCE, 10 ether, GAS);
        settleRequest("batch", id, REFUSED, 0, MINER);
        fulfil("batch", id, REFUSED, 0);
        vm.assertEq(consumer.callbacks(), 1, "callbacks");
        vm.assertEq(consumer.outcome(), REFUSED, "outcome");
        vm.assertEq(consumer.resultCid(), "", "cid");
        assertMoney(10 ether, FEE, 10 ether - FEE, 0, 0);
    }

    function test_fulfil_takesWhatIsLeft_whenTasksLeftLessThanFee() public {
        SessionId id = consumer.ask(queue, REFERENCE, 10 ether, GAS);
        settleRequest("batch", id, COMPLETED, 10 ether - 7, MINER);
        fulfil("batch", id, COMPLETED, 10 ether - 7);
        assertMoney(10 ether, 10 ether, 0, 0, 0);
        vm.assertEq(payment.earningsOf(FEE_TREASURY), 7, "treasury");
        vm.assertEq(consumer.callbacks(), 1, "callbacks");
    }

    function test_fulfil_passes_afterDeadline() public {
        SessionId id = consumer.ask(queue, REFERENCE, 10 ether, GAS);
        settleRequest("batch", id, COMPLETED, 4 ether, MINER);
        vm.warp(block.timestamp + 1 days);
        fulfil("batch", id, COMPLETED, 4 ether);
        vm.assertEq(consumer.outcome(), COMPLETED, "outcome");
    }

    function test_fulfil_chargesNoCallback_whereThereIsNoCode() public {
        address plain = address(0xe0a);
        token.mint(plain, 10 ether);
        vm.prank(plain);
        token.approve(address(payment), 10 ether);
        vm.prank(plain);
        SessionId id = queue.requestInference(
            REFERENCE, keccak256("policy"), "why?", 64, 10 ether, GAS, 10 minutes
        );
        settleRequest("batch", id, COMPLETED, 4 ether, MINER);
        bytes32 taskId = queue.taskIdOf(id);
        bytes memory call = fulfilment("batch", id, COMPLETED, 4 ether);
        vm.expectEmit(address(queue));
        emit ITaskSteps.TaskEnded(id, taskId, COMPLETED, RESULT, false);
        (bool hasPassed,) = address(queue).call(call);
        vm.assertTrue(hasPassed, "fulfil");
        assertMoney(10 ether, 4 ether, 6 ether, 0, 0);
        vm.assertEq(token.balanceOf(plain), 6 ether, "refund");
    }

    function test_fulfil_passes_whenSessionIsClosedAlready() public {
        SessionId id = consumer.ask(queue, REFERENCE, 10 ether, GAS);
        settleRequest("batch", id, COMPLETED, 4 ether, MINER);
        payment.closeSession(id, 4 ether, closing(id, 4 ether));
        fulfil("batch", id, COMPLETED, 4 ether);
        assertMoney(10 ether, 4 ether, 6 ether, 0, 0);
        vm.assertEq(consumer.callbacks(), 1, "callbacks");
    }

    function test_fulfil_andExpire_revert_whileTokenRefuses_andPassLater() public {
        RefusingToken refusing = new RefusingToken();
        deployAround(address(refusing));
        join();
        SessionId id = consumer.ask(queue, REFERENCE, 10 ether, GAS);
        settleRequest("batch", id, COMPLETED, 4 ether, MINER);
        refusing.refuse(true);
        assertRefused(address(queue), fulfilment("batch", id, COMPLETED, 4 ether));
        vm.warp(block.timestamp + 1 days);
        assertRefused(address(queue), abi.encodeCall(queue.expire, (id)));
        refusing.refuse(false);
        fulfil("batch", id, COMPLETED, 4 ether);
        assertMoney(10 ether, 4 ether + FEE, 6 ether - FEE, 0, 0);
    }

    function test_fuzz_fulfil_closesBooks(uint128 amount, uint128 charge, uint32 gas) public {
        gas = uint32(bound(gas, 0, 2_000_000));
        uint256 fee = gas * CALLBACK_GAS_PRICE;
        amount = uint128(bound(amount, fee == 0 ? 1 : fee, 1_000 ether));
        charge = uint128(bound(charge, 0, amount));
        SessionId id = consumer.ask(queue, REFERENCE, amount, gas);
        settleRequest("batch", id, COMPLETED, charge, MINER);
        fulfil("batch", id, COMPLETED, charge);
        uint256 left = amount - charge;
        if (fee > left) fee = left;
        assertMoney(amount, charge + fee, left - fee, 0, 0);
    }

    // expire

    function test_expire_returnsAll_afterDeadline_byAnyone() public {
        SessionId id = consumer.ask(queue, REFERENCE, 10 ether, GAS);
        uint64 deadline = queue.requestOf(id).deadline;
        vm.warp(deadline);
        vm.expectRevert(
            abi.encodeWithSelector(ISessionQueue.SessionQueueDeadlineAhead.selector, id, deadline)
        );
        queue.expire(id);
        vm.warp(deadline + 1);
        vm.expectEmit(address(queue));
        emit ITaskSteps.TaskEnded(id, 0, EXPIRED, 0, true);
        queue.expire(id);
        assertMoney(10 ether, 0, 10 ether, 0, 0);
        vm.assertEq(token.balanceOf(address(consumer)), 1_000 ether, "consumer");
        vm.assertEq(consumer.outcome(), EXPIRED, "outcome");
        vm.assertEq(queue.requestOf(id).outcome, EXPIRED, "outcome of the request");
        vm.expectPartialRevert(ISessionQueue.SessionQueueRequestNotOpen.selector);
        queue.expire(id);
    }

    function test_expire_returnsWhatIsHeld_whenTaskWasSettledMeanwhile() public {
        SessionId id = consumer.ask(queue, REFERENCE, 10 ether, GAS);
        settleRequest("batch", id, COMPLETED, 4 ether, MINER);
        vm.warp(block.timestamp + 1 days);
        queue.expire(id);
        assertMoney(10 ether, 4 ether, 6 ether, 0, 0);
        assertRefused(address(queue), fulfilment("batch", id, COMPLETED, 4 ether));
    }

    function test_expire_letsNoBatchChargeLater() public {
        SessionId id = consumer.ask(queue, REFERENCE, 10 ether, GAS);
        vm.warp(block.timestamp + 1 days);
        queue.expire(id);
        bytes[] memory signatures =
            settling("late", "root", oneCharge(id, 0, 1, 1), onePayment(MINER, 1), 0);
        vm.expectRevert(
            abi.encodeWithSelector(
                ISessionPayment.SessionPaymentStatusInvalid.selector, id, AccountStatus.Closed
            )
        );
        payment.settle("late", "root", oneCharge(id, 0, 1, 1), onePayment(MINER, 1), 0, signatures);
    }

    function test_exit_isOpenToConsumer_andRequestEndsAllTheSame() public {
        SessionId id = consumer.ask(queue, REFERENCE, 10 ether, GAS);
        vm.assertTrue(
            consumer.call(address(payment), abi.encodeCall(payment.requestExit, (id))), "request"
        );
        vm.warp(block.timestamp + EXIT_DELAY);
        vm.assertTrue(consumer.call(address(payment), abi.encodeCall(payment.exit, (id))), "exit");
        assertMoney(10 ether, 0, 10 ether, 0, 0);
        queue.expire(id);
        assertMoney(10 ether, 0, 10 ether, 0, 0);
        vm.assertEq(consumer.outcome(), EXPIRED, "outcome");
    }

    function claim(SessionId id, bytes32 taskId, bytes32 evidence, bytes32 result)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(
            queue.fulfil,
            (id, taskId, COMPLETED, evidence, result, 4 ether, "batch", new bytes32[](0))
        );
    }

    function join() private {
        consumer = new Consumer();
        token.mint(address(consumer), 1_000 ether);
        consumer.allow(token, address(payment));
    }

    function askWith(
        string memory prompt,
        uint32 maxTokens,
        uint128 amount,
        uint32 gas,
        uint64 timeout
    ) private {
        queue.requestInference(
            REFERENCE, keccak256("policy"), prompt, maxTokens, amount, gas, timeout
        );
    }

    function expectFault(bytes memory call, bytes memory fault) private {
        (bool hasPassed, bytes memory reason) = address(queue).call(call);
        vm.assertTrue(!hasPassed, "passed");
        vm.assertEq(keccak256(reason), keccak256(fault), "fault");
    }
}
