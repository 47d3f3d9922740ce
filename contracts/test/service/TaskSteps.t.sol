// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    ITaskSteps,
    MinerProgress,
    MinerStep,
    TaskProgress,
    TaskState
} from "../../src/service/ITaskSteps.sol";
import {SessionId} from "../../src/service/SessionId.sol";
import {ServiceWorld} from "../ServiceWorld.sol";

contract TaskStepsTest is ServiceWorld {
    uint256 private constant KEY = 0xa11ce;
    bytes32 private constant TASK = keccak256("task");
    bytes32 private constant SALT = keccak256("salt");
    bytes32 private constant PRECOMMIT =
        keccak256("Precommit(uint64 sessionId,bytes32 taskId,bytes32 precommitment)");
    bytes32 private constant COMMIT = keccak256(
        "Commit(uint64 sessionId,bytes32 taskId,bytes32 resultHash,bytes32 resultDigest,uint32 promptTokens,uint32 completionTokens,bytes32 salt)"
    );
    address private owner = vm.addr(KEY);
    SessionId private id;
    /// @dev By ascending address.
    uint256[] private keys;
    address[] private miners;

    function setUp() public override {
        super.setUp();
        token.mint(owner, 10 ether);
        id = openSession(KEY, "session", 10 ether);
        keys = sortedKeys(3, 7);
        miners = addressesOf(keys);
    }

    function test_steps_leadFromQueuedToEnded() public {
        assertState(TaskState.None);
        vm.expectEmit(address(queue));
        emit ITaskSteps.TaskQueued(id, TASK, 0, OPERATOR, 0, EVIDENCE, "");
        enqueue();
        assertState(TaskState.Queued);
        vm.expectEmit(address(queue));
        emit ITaskSteps.TaskAssigned(id, TASK, miners);
        assign();
        assertState(TaskState.Assigned);
        for (uint256 i = 0; i < 3; i++) {
            vm.expectEmit(address(queue));
            emit ITaskSteps.TaskAcked(id, TASK, miners[i]);
            ack(i);
        }
        assertState(TaskState.Acked);
        for (uint256 i = 0; i < 3; i++) {
            vm.expectEmit(address(queue));
            emit ITaskSteps.TaskPrecommitted(id, TASK, miners[i], precommitmentFor(i));
            if (i == 2) {
                vm.expectEmit(address(queue));
                emit ITaskSteps.TaskAllPrecommitted(id, TASK);
            }
            precommit(i);
        }
        assertState(TaskState.Precommitted);
        for (uint256 i = 0; i < 3; i++) {
            vm.expectEmit(address(queue));
            emit ITaskSteps.TaskCommitted(id, TASK, miners[i], RESULT, RESULT, 10, 20);
            if (i == 2) {
                vm.expectEmit(address(queue));
                emit ITaskSteps.TaskAllCommitted(id, TASK);
            }
            commit(i);
        }
        assertState(TaskState.Committed);
        vm.expectEmit(address(queue));
        emit ITaskSteps.TaskEnded(id, TASK, COMPLETED, 0, false);
        end(COMPLETED);
        TaskProgress memory task = queue.taskOf(id, TASK);
        vm.assertEq(uint256(task.state), uint256(TaskState.Ended), "state");
        vm.assertEq(task.assigned, 3, "assigned");
        vm.assertEq(task.committed, 3, "committed");
        MinerProgress memory miner = queue.minerOf(id, TASK, miners[1]);
        vm.assertEq(uint256(miner.step), uint256(MinerStep.Committed), "miner");
        vm.assertEq(miner.precommitment, precommitmentFor(1), "precommitment");
        assertMoney(10 ether, 0, 0, 10 ether, 0);
    }

    function test_steps_passOnceEach() public {
        enqueue();
        expectState(TaskState.Queued);
        enqueue();
        assign();
        expectState(TaskState.Assigned);
        assign();
        ack(0);
        expectStep(0, MinerStep.Acked);
        ack(0);
        precommit(0);
        expectStep(0, MinerStep.Precommitted);
        precommit(0);
        ack(1);
        ack(2);
        expectState(TaskState.Acked);
        ack(2);
        precommit(1);
        precommit(2);
        commit(0);
        expectStep(0, MinerStep.Committed);
        commit(0);
        end(COMPLETED);
        expectState(TaskState.Ended);
        end(COMPLETED);
        expectState(TaskState.Ended);
        commit(1);
    }

    function test_steps_areTakenInOrder() public {
        expectState(TaskState.None);
        assign();
        expectState(TaskState.None);
        end(COMPLETED);
        enqueue();
        expectState(TaskState.Queued);
        ack(0);
        assign();
        expectStep(0, MinerStep.Assigned);
        precommit(0);
        expectState(TaskState.Assigned);
        commit(0);
        ack(0);
        precommit(0);
        // Two have not precommitted: revealing now would let them copy.
        expectState(TaskState.Assigned);
        commit(0);
    }

    function test_enqueueTask_reverts_byOthers_orWithoutOpenSession() public {
        vm.expectRevert(
            abi.encodeWithSelector(ITaskSteps.TaskStepsNotAllowed.selector, address(this))
        );
        queue.enqueueTask(id, TASK, EVIDENCE);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskSteps.TaskStepsSessionNotOpen.selector, SessionId.wrap(1))
        );
        vm.prank(OPERATOR);
        queue.enqueueTask(SessionId.wrap(1), TASK, EVIDENCE);
        payment.closeSession(id, 0, closing(id, 0));
        vm.expectPartialRevert(ITaskSteps.TaskStepsSessionNotOpen.selector);
        enqueue();
    }

    function test_operatorsSteps_areOpenToOwner_andToNobodyElse() public {
        vm.prank(owner);
        queue.enqueueTask(id, TASK, EVIDENCE);
        vm.expectPartialRevert(ITaskSteps.TaskStepsNotAllowed.selector);
        queue.assignTask(id, TASK, miners);
        vm.prank(owner);
        queue.assignTask(id, TASK, miners);
        vm.expectPartialRevert(ITaskSteps.TaskStepsNotAllowed.selector);
        queue.ackTask(id, TASK, miners[0]);
        vm.prank(miners[0]);
        queue.ackTask(id, TASK, miners[0]);
        vm.expectPartialRevert(ITaskSteps.TaskStepsNotAllowed.selector);
        vm.prank(miners[0]);
        queue.ackTask(id, TASK, miners[1]);
        vm.expectPartialRevert(ITaskSteps.TaskStepsNotAllowed.selector);
        queue.endTask(id, TASK, REFUSED);
        vm.prank(owner);
        queue.endTask(id, TASK, REFUSED);
    }

    function test_assignTask_reverts_withMinersOutOfOrder_noneOrTooMany() public {
        enqueue();
        (miners[0], miners[1]) = (miners[1], miners[0]);
        vm.expectRevert(ITaskSteps.TaskStepsMinersInvalid.selector);
        assign();
        miners[0] = miners[1];
        vm.expectRevert(ITaskSteps.TaskStepsMinersInvalid.selector);
        assign();
        delete miners;
        vm.expectRevert(ITaskSteps.TaskStepsMinersInvalid.selector);
        assign();
        for (uint160 i = 1; i <= 33; i++) {
            miners.push(address(i));
        }
        vm.expectRevert(ITaskSteps.TaskStepsMinersInvalid.selector);
        assign();
        miners.pop();
        assign();
        vm.assertEq(queue.taskOf(id, TASK).assigned, 32, "assigned");
    }

    function test_minersSteps_passByMinerItself_withoutSignature() public {
        enqueueAndAck();
        for (uint256 i = 0; i < 3; i++) {
            vm.prank(miners[i]);
            queue.precommitTask(id, TASK, miners[i], precommitmentFor(i), "");
        }
        vm.prank(miners[0]);
        queue.commitTask(id, TASK, miners[0], RESULT, RESULT, 10, 20, SALT, "");
        vm.assertEq(queue.taskOf(id, TASK).committed, 1, "committed");
    }

    function test_precommitTask_reverts_withSignatureOverAnythingElse() public {
        enqueueAndAck();
        bytes32 mine = precommitmentFor(0);
        bytes memory signature = signPrecommit(keys[1], id, TASK, mine);
        expectSignature(0);
        queue.precommitTask(id, TASK, miners[0], mine, signature);
        signature = signPrecommit(keys[0], id, keccak256("other task"), mine);
        expectSignature(0);
        queue.precommitTask(id, TASK, miners[0], mine, signature);
        signature = signPrecommit(keys[0], SessionId.wrap(1), TASK, mine);
        expectSignature(0);
        queue.precommitTask(id, TASK, miners[0], mine, signature);
        signature = signPrecommit(keys[0], id, TASK, mine);
        vm.chainId(block.chainid + 1);
        expectSignature(0);
        queue.precommitTask(id, TASK, miners[0], mine, signature);
        vm.chainId(31337);
        queue.precommitTask(id, TASK, miners[0], mine, signature);
    }

    function test_precommitTask_reverts_whenSignedForAnotherContract() public {
        bytes memory signature = signPrecommit(keys[0], id, TASK, precommitmentFor(0));
        deployAround(address(token));
        token.mint(owner, 1 ether);
        openSession(KEY, "session", 1 ether);
        SessionId first = id;
        id = manager.sessionIdOf(owner, "session");
        vm.assertTrue(SessionId.unwrap(first) != SessionId.unwrap(id), "ids");
        enqueueAndAck();
        bytes32 mine = precommitmentOf(first, TASK, miners[0], SALT);
        expectSignature(0);
        queue.precommitTask(id, TASK, miners[0], mine, signature);
    }

    function test_precommitTask_reverts_withZero() public {
        enqueueAndAck();
        bytes memory signature = signPrecommit(keys[0], id, TASK, 0);
        expectPrecommitment(0);
        queue.precommitTask(id, TASK, miners[0], 0, signature);
    }

    function test_commitTask_reverts_whenItDoesNotHashToPrecommitment() public {
        enqueueAndAck();
        // The second miner copied the first one's precommitment, and cannot open it.
        precommit(0);
        bytes32 copied = precommitmentFor(0);
        vm.prank(miners[1]);
        queue.precommitTask(id, TASK, miners[1], copied, "");
        precommit(2);
        expectPrecommitment(1);
        vm.prank(miners[1]);
        queue.commitTask(id, TASK, miners[1], RESULT, RESULT, 10, 20, SALT, "");
        expectPrecommitment(2);
        vm.prank(miners[2]);
        queue.commitTask(id, TASK, miners[2], RESULT, EVIDENCE, 10, 20, SALT, "");
        expectPrecommitment(2);
        vm.prank(miners[2]);
        queue.commitTask(id, TASK, miners[2], RESULT, RESULT, 10, 20, EVIDENCE, "");
        commit(2);
    }

    function test_commitTask_reverts_whenUsageIsNotThatSigned() public {
        enqueueAndAck();
        for (uint256 i = 0; i < 3; i++) {
            precommit(i);
        }
        bytes memory signature = signCommit(keys[0], id, TASK, SALT);
        expectSignature(0);
        queue.commitTask(id, TASK, miners[0], RESULT, RESULT, 10, 21, SALT, signature);
    }

    function test_endTask_reverts_withUnknownOutcome_orCompletedWithoutCommitment() public {
        enqueue();
        vm.expectRevert(
            abi.encodeWithSelector(ITaskSteps.TaskStepsOutcomeInvalid.selector, uint8(7))
        );
        end(7);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskSteps.TaskStepsOutcomeInvalid.selector, COMPLETED)
        );
        end(COMPLETED);
        end(6);
        vm.assertEq(queue.taskOf(id, TASK).outcome, 6, "outcome");
    }

    function test_endTask_passes_onceEnoughAgree() public {
        enqueueAndAck();
        for (uint256 i = 0; i < 3; i++) {
            precommit(i);
        }
        commit(0);
        commit(1);
        end(COMPLETED);
        assertState(TaskState.Ended);
    }

    function test_stranger_isNoMiner() public {
        enqueueAndAck();
        address stranger = address(this);
        vm.expectRevert(
            abi.encodeWithSelector(
                ITaskSteps.TaskStepsMinerInvalid.selector, id, TASK, stranger, MinerStep.None
            )
        );
        queue.precommitTask(id, TASK, stranger, EVIDENCE, "");
    }

    function enqueueAndAck() private {
        enqueue();
        assign();
        for (uint256 i = 0; i < 3; i++) {
            ack(i);
        }
    }

    function enqueue() private {
        vm.prank(OPERATOR);
        queue.enqueueTask(id, TASK, EVIDENCE);
    }

    function assign() private {
        vm.prank(OPERATOR);
        queue.assignTask(id, TASK, miners);
    }

    function ack(uint256 i) private {
        vm.prank(OPERATOR);
        queue.ackTask(id, TASK, miners[i]);
    }

    /// @dev What is signed is hashed here, so that an expected revert or event is the step's own.
    function precommit(uint256 i) private {
        bytes32 structHash = keccak256(abi.encode(PRECOMMIT, id, TASK, precommitmentFor(i)));
        bytes memory signature = sign(keys[i], digestOf(address(payment), structHash));
        queue.precommitTask(id, TASK, miners[i], precommitmentFor(i), signature);
    }

    function commit(uint256 i) private {
        bytes32 structHash = keccak256(abi.encode(COMMIT, id, TASK, RESULT, RESULT, 10, 20, SALT));
        bytes memory signature = sign(keys[i], digestOf(address(payment), structHash));
        queue.commitTask(id, TASK, miners[i], RESULT, RESULT, 10, 20, SALT, signature);
    }

    function end(uint8 outcome) private {
        vm.prank(OPERATOR);
        queue.endTask(id, TASK, outcome);
    }

    function precommitmentFor(uint256 i) private view returns (bytes32) {
        return precommitmentOf(id, TASK, miners[i], SALT);
    }

    function assertState(TaskState state) private view {
        vm.assertEq(uint256(queue.taskOf(id, TASK).state), uint256(state), "state");
    }

    function expectState(TaskState state) private {
        vm.expectRevert(
            abi.encodeWithSelector(ITaskSteps.TaskStepsStateInvalid.selector, id, TASK, state)
        );
    }

    function expectStep(uint256 i, MinerStep step) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                ITaskSteps.TaskStepsMinerInvalid.selector, id, TASK, miners[i], step
            )
        );
    }

    function expectSignature(uint256 i) private {
        vm.expectRevert(
            abi.encodeWithSelector(ITaskSteps.TaskStepsSignatureInvalid.selector, miners[i])
        );
    }

    function expectPrecommitment(uint256 i) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                ITaskSteps.TaskStepsPrecommitmentInvalid.selector, id, TASK, miners[i]
            )
        );
    }
}
