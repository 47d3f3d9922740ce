// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {AccountStatus, ISessionPayment} from "./ISessionPayment.sol";
import {ITaskSteps, MinerProgress, MinerStep, TaskProgress, TaskState} from "./ITaskSteps.sol";
import {SessionId} from "./SessionId.sol";

/// @dev Holds no money and moves none.
abstract contract TaskSteps is ITaskSteps {
    /// @inheritdoc ITaskSteps
    bytes32 public constant PRECOMMIT_TYPEHASH =
        keccak256("Precommit(uint64 sessionId,bytes32 taskId,bytes32 precommitment)");
    /// @inheritdoc ITaskSteps
    bytes32 public constant COMMIT_TYPEHASH = keccak256(
        "Commit(uint64 sessionId,bytes32 taskId,bytes32 resultHash,bytes32 resultDigest,uint32 promptTokens,uint32 completionTokens,bytes32 salt)"
    );
    bytes32 private constant DOMAIN_TYPEHASH = keccak256(
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    );
    /// @inheritdoc ITaskSteps
    uint256 public constant MAX_MINERS = 32;
    /// @dev Indices in `TASK_OUTCOMES` of domain/task.ts.
    uint8 internal constant OUTCOME_COMPLETED = 0;
    uint8 internal constant OUTCOME_EXPIRED = 2;
    uint8 private constant LAST_OUTCOME = 6;

    ISessionPayment internal immutable _payment;
    address private immutable _operator;
    mapping(SessionId sessionId => mapping(bytes32 taskId => TaskProgress)) private _tasks;
    mapping(
        SessionId sessionId => mapping(bytes32 taskId => mapping(address => MinerProgress))
    ) private _miners;

    constructor(ISessionPayment payment_, address operator_) {
        _payment = payment_;
        _operator = operator_;
    }

    /// @inheritdoc ITaskSteps
    function enqueueTask(SessionId sessionId, bytes32 taskId, bytes32 requestDigest) external {
        _requireOperator(sessionId);
        AccountStatus status = _payment.accountOf(sessionId).status;
        if (status != AccountStatus.Open && status != AccountStatus.Exiting) {
            revert TaskStepsSessionNotOpen(sessionId);
        }
        _requireState(sessionId, taskId, TaskState.None).state = TaskState.Queued;
        emit TaskQueued(sessionId, taskId, 0, msg.sender, 0, requestDigest, "");
    }

    /// @inheritdoc ITaskSteps
    function assignTask(SessionId sessionId, bytes32 taskId, address[] calldata miners) external {
        _requireOperator(sessionId);
        if (miners.length == 0 || miners.length > MAX_MINERS) revert TaskStepsMinersInvalid();
        TaskProgress storage task = _requireState(sessionId, taskId, TaskState.Queued);
        task.state = TaskState.Assigned;
        // Safe: at most MAX_MINERS.
        task.assigned = uint8(miners.length);
        address previous = address(0);
        for (uint256 i = 0; i < miners.length; i++) {
            if (miners[i] <= previous) revert TaskStepsMinersInvalid();
            previous = miners[i];
            _miners[sessionId][taskId][previous].step = MinerStep.Assigned;
        }
        emit TaskAssigned(sessionId, taskId, miners);
    }

    /// @inheritdoc ITaskSteps
    function ackTask(SessionId sessionId, bytes32 taskId, address miner) external {
        if (msg.sender != miner) _requireOperator(sessionId);
        TaskProgress storage task = _requireState(sessionId, taskId, TaskState.Assigned);
        _requireStep(sessionId, taskId, miner, MinerStep.Assigned).step = MinerStep.Acked;
        if (++task.acked == task.assigned) task.state = TaskState.Acked;
        emit TaskAcked(sessionId, taskId, miner);
    }

    /// @inheritdoc ITaskSteps
    function precommitTask(
        SessionId sessionId,
        bytes32 taskId,
        address miner,
        bytes32 precommitment,
        bytes calldata signature
    ) external {
        TaskProgress storage task = _tasks[sessionId][taskId];
        // A miner need not wait for the others to ack.
        if (task.state != TaskState.Assigned) {
            _requireState(sessionId, taskId, TaskState.Acked);
        }
        MinerProgress storage progress = _requireStep(sessionId, taskId, miner, MinerStep.Acked);
        if (precommitment == 0) revert TaskStepsPrecommitmentInvalid(sessionId, taskId, miner);
        _requireMiner(
            miner,
            keccak256(abi.encode(PRECOMMIT_TYPEHASH, sessionId, taskId, precommitment)),
            signature
        );
        progress.step = MinerStep.Precommitted;
        progress.precommitment = precommitment;
        bool isLast = ++task.precommitted == task.assigned;
        if (isLast) task.state = TaskState.Precommitted;
        emit TaskPrecommitted(sessionId, taskId, miner, precommitment);
        if (isLast) emit TaskAllPrecommitted(sessionId, taskId);
    }

    /// @inheritdoc ITaskSteps
    function commitTask(
        SessionId sessionId,
        bytes32 taskId,
        address miner,
        bytes32 resultHash,
        bytes32 resultDigest,
        uint32 promptTokens,
        uint32 completionTokens,
        bytes32 salt,
        bytes calldata signature
    ) external {
        TaskProgress storage task = _requireState(sessionId, taskId, TaskState.Precommitted);
        MinerProgress storage progress =
            _requireStep(sessionId, taskId, miner, MinerStep.Precommitted);
        bytes32 opened =
            keccak256(abi.encode(sessionId, taskId, miner, resultHash, resultDigest, salt));
        if (opened != progress.precommitment) {
            revert TaskStepsPrecommitmentInvalid(sessionId, taskId, miner);
        }
        bytes32 structHash = keccak256(
            abi.encode(
                COMMIT_TYPEHASH,
                sessionId,
                taskId,
                resultHash,
                resultDigest,
                promptTokens,
                completionTokens,
                salt
            )
        );
        _requireMiner(miner, structHash, signature);
        progress.step = MinerStep.Committed;
        bool isLast = ++task.committed == task.assigned;
        if (isLast) task.state = TaskState.Committed;
        emit TaskCommitted(
            sessionId, taskId, miner, resultHash, resultDigest, promptTokens, completionTokens
        );
        if (isLast) emit TaskAllCommitted(sessionId, taskId);
    }

    /// @inheritdoc ITaskSteps
    function endTask(SessionId sessionId, bytes32 taskId, uint8 outcome) external {
        _requireOperator(sessionId);
        TaskProgress storage task = _tasks[sessionId][taskId];
        if (task.state == TaskState.None || task.state == TaskState.Ended) {
            revert TaskStepsStateInvalid(sessionId, taskId, task.state);
        }
        bool isUnfounded = outcome == OUTCOME_COMPLETED && task.committed == 0;
        if (outcome > LAST_OUTCOME || isUnfounded) revert TaskStepsOutcomeInvalid(outcome);
        task.state = TaskState.Ended;
        task.outcome = outcome;
        emit TaskEnded(sessionId, taskId, outcome, 0, false);
    }

    /// @inheritdoc ITaskSteps
    function taskOf(SessionId sessionId, bytes32 taskId)
        external
        view
        returns (TaskProgress memory)
    {
        return _tasks[sessionId][taskId];
    }

    /// @inheritdoc ITaskSteps
    function minerOf(SessionId sessionId, bytes32 taskId, address miner)
        external
        view
        returns (MinerProgress memory)
    {
        return _miners[sessionId][taskId][miner];
    }

    /// @inheritdoc ITaskSteps
    function operator() external view returns (address) {
        return _operator;
    }

    function _requireState(SessionId sessionId, bytes32 taskId, TaskState state)
        private
        view
        returns (TaskProgress storage task)
    {
        task = _tasks[sessionId][taskId];
        if (task.state != state) revert TaskStepsStateInvalid(sessionId, taskId, task.state);
    }

    function _requireStep(SessionId sessionId, bytes32 taskId, address miner, MinerStep step)
        private
        view
        returns (MinerProgress storage progress)
    {
        progress = _miners[sessionId][taskId][miner];
        if (progress.step != step) {
            revert TaskStepsMinerInvalid(sessionId, taskId, miner, progress.step);
        }
    }

    function _requireOperator(SessionId sessionId) private view {
        if (msg.sender != _operator && msg.sender != _payment.accountOf(sessionId).owner) {
            revert TaskStepsNotAllowed(msg.sender);
        }
    }

    /// @dev Miners sign for the contract that pays them, so that one signature serves everywhere.
    function _requireMiner(address miner, bytes32 structHash, bytes calldata signature)
        private
        view
    {
        if (msg.sender == miner) return;
        bytes32 separator = keccak256(
            abi.encode(
                DOMAIN_TYPEHASH, keccak256("Cortensor"), keccak256("1"), block.chainid, _payment
            )
        );
        bytes32 digest = MessageHashUtils.toTypedDataHash(separator, structHash);
        if (!SignatureChecker.isValidSignatureNowCalldata(miner, digest, signature)) {
            revert TaskStepsSignatureInvalid(miner);
        }
    }
}
