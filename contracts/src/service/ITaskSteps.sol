// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SessionId} from "./SessionId.sol";

/// @notice The furthest step that all miners of a task have taken.
enum TaskState {
    None,
    Queued,
    Assigned,
    Acked,
    Precommitted,
    Committed,
    Ended
}

/// @notice The furthest step that one miner has taken.
enum MinerStep {
    None,
    Assigned,
    Acked,
    Precommitted,
    Committed
}

/// @notice A task whose steps are on chain: how many miners there are, and how many took each step.
struct TaskProgress {
    TaskState state;
    uint8 assigned;
    uint8 acked;
    uint8 precommitted;
    uint8 committed;
    /// Index in `TASK_OUTCOMES` of domain/task.ts; counts in state `Ended`.
    uint8 outcome;
}

/// @notice How far a miner is with a task.
struct MinerProgress {
    MinerStep step;
    /// Zero before step `Precommitted`.
    bytes32 precommitment;
}

/// @title Steps of tasks, each on chain, for sessions that ask for it
/// @notice Queue, assign, ack, precommit, commit, end, in this order, a transaction each. Money never
/// depends on it: that moves by settling. Signatures are the ones that miners give anyway, in the
/// domain of `SessionPayment`, so a miner that a router ignores can put its own work here.
interface ITaskSteps {
    /// @notice A task waits for miners: one whose steps are on chain, or a contract's request.
    /// @param globalId number of the request, from 1; 0 where it is none
    /// @param client who put it here
    /// @param clientReference of the request; zero where it is none
    /// @param requestDigest sha2-256 of the request at rest; zero where `prompt` has it all
    /// @param prompt of the request; empty where it is none
    event TaskQueued(
        SessionId indexed sessionId,
        bytes32 indexed taskId,
        uint64 indexed globalId,
        address client,
        bytes32 clientReference,
        bytes32 requestDigest,
        string prompt
    );
    /// @notice A task has its miners.
    event TaskAssigned(SessionId indexed sessionId, bytes32 indexed taskId, address[] miners);
    /// @notice A miner took the task.
    event TaskAcked(SessionId indexed sessionId, bytes32 indexed taskId, address indexed miner);
    /// @notice A miner has a result, which its precommitment hides.
    event TaskPrecommitted(
        SessionId indexed sessionId,
        bytes32 indexed taskId,
        address indexed miner,
        bytes32 precommitment
    );
    /// @notice Every miner has precommitted: results may be revealed.
    event TaskAllPrecommitted(SessionId indexed sessionId, bytes32 indexed taskId);
    /// @notice A miner revealed its result.
    event TaskCommitted(
        SessionId indexed sessionId,
        bytes32 indexed taskId,
        address indexed miner,
        bytes32 resultHash,
        bytes32 resultDigest,
        uint32 promptTokens,
        uint32 completionTokens
    );
    /// @notice Every miner has committed.
    event TaskAllCommitted(SessionId indexed sessionId, bytes32 indexed taskId);
    /// @notice A task ended: one whose steps are on chain, or a contract's request.
    /// @param outcome index in `TASK_OUTCOMES` of domain/task.ts
    /// @param resultDigest sha2-256 of a request's answer at rest; zero where it has none, and for
    /// steps, where the commitments say it
    /// @param callbackSucceeded whether a request's contract was called back and did not revert
    event TaskEnded(
        SessionId indexed sessionId,
        bytes32 indexed taskId,
        uint8 outcome,
        bytes32 resultDigest,
        bool callbackSucceeded
    );

    /// @notice Thrown when neither the operator nor the session's owner makes a step that is theirs,
    /// or, for an ack, the miner.
    error TaskStepsNotAllowed(address caller);
    /// @notice Thrown when a task is queued in a session that takes none.
    error TaskStepsSessionNotOpen(SessionId sessionId);
    /// @notice Thrown when a task's state does not allow the step.
    error TaskStepsStateInvalid(SessionId sessionId, bytes32 taskId, TaskState state);
    /// @notice Thrown when a miner's own progress does not allow the step.
    error TaskStepsMinerInvalid(SessionId sessionId, bytes32 taskId, address miner, MinerStep step);
    /// @notice Thrown when assigned miners are none, above `MAX_MINERS`, or not by strictly ascending
    /// address.
    error TaskStepsMinersInvalid();
    /// @notice Thrown when another than the miner makes its step without its signature.
    error TaskStepsSignatureInvalid(address miner);
    /// @notice Thrown when a precommitment is zero, or a commitment does not hash to it.
    error TaskStepsPrecommitmentInvalid(SessionId sessionId, bytes32 taskId, address miner);
    /// @notice Thrown when an outcome has no name, or a task without commitment is to be completed.
    error TaskStepsOutcomeInvalid(uint8 outcome);

    /// @notice EIP-712 type hash of `Precommit`.
    function PRECOMMIT_TYPEHASH() external view returns (bytes32);
    /// @notice EIP-712 type hash of `Commit`.
    function COMMIT_TYPEHASH() external view returns (bytes32);
    /// @notice Most miners of a task.
    function MAX_MINERS() external view returns (uint256);

    /// @notice Queues a task of an open session, once; by the operator or the session's owner.
    /// @param requestDigest sha2-256 of the request at rest
    function enqueueTask(SessionId sessionId, bytes32 taskId, bytes32 requestDigest) external;

    /// @notice Assigns a queued task, once; by the operator or the session's owner.
    /// @param miners by strictly ascending address, at most `MAX_MINERS`
    function assignTask(SessionId sessionId, bytes32 taskId, address[] calldata miners) external;

    /// @notice Notes that a miner took the task; by the operator, the session's owner or the miner.
    function ackTask(SessionId sessionId, bytes32 taskId, address miner) external;

    /// @notice Notes a miner's precommitment, after its ack; by the miner, or anyone with its
    /// signature.
    /// @param precommitment `keccak256(abi.encode(sessionId, taskId, miner, resultHash, resultDigest,
    /// salt))`, not zero
    /// @param signature over `Precommit`; unread where the miner calls
    function precommitTask(
        SessionId sessionId,
        bytes32 taskId,
        address miner,
        bytes32 precommitment,
        bytes calldata signature
    ) external;

    /// @notice Notes a miner's commitment, once all miners have precommitted; by the miner, or anyone
    /// with its signature. It must hash to the miner's precommitment.
    /// @param resultHash of the answer, as miners compare it
    /// @param resultDigest sha2-256 of the answer at rest
    /// @param salt of the precommitment
    /// @param signature over `Commit`; unread where the miner calls
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
    ) external;

    /// @notice Ends a task, in any state; by the operator or the session's owner.
    /// @param outcome index in `TASK_OUTCOMES` of domain/task.ts; completed only with a commitment
    function endTask(SessionId sessionId, bytes32 taskId, uint8 outcome) external;

    /// @notice A task's steps so far; state `None` where it was never queued.
    function taskOf(SessionId sessionId, bytes32 taskId) external view returns (TaskProgress memory);

    /// @notice A miner's steps so far; step `None` where it is not assigned.
    function minerOf(SessionId sessionId, bytes32 taskId, address miner)
        external
        view
        returns (MinerProgress memory);

    /// @notice The engine's account, which records steps for all sessions.
    function operator() external view returns (address);
}
