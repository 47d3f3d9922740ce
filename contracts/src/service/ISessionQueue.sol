// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISessionManager} from "./ISessionManager.sol";
import {ISessionPayment} from "./ISessionPayment.sol";
import {ITaskSteps} from "./ITaskSteps.sol";
import {SessionId} from "./SessionId.sol";

/// @notice Where a request stands.
enum RequestState {
    None,
    Open,
    Ended
}

/// @notice An inference that a contract asked for; its prompt is in `TaskQueued`, its money in
/// `ISessionPayment.accountOf`.
struct InferenceRequest {
    /// From 1, without gaps.
    uint64 globalId;
    SessionId sessionId;
    /// Who asked, pays, gets back what is left, and is called.
    address consumer;
    /// SHA-256 of the policy's canonical JSON.
    bytes32 policyHash;
    uint32 maxTokens;
    /// Gas of the callback; 0 for none.
    uint32 callbackGas;
    /// Unix seconds.
    uint64 requestedAt;
    /// Unix seconds; later anyone may end the request with all its money back.
    uint64 deadline;
    RequestState state;
    /// Index in `TASK_OUTCOMES` of domain/task.ts; counts in state `Ended`.
    uint8 outcome;
}

/// @title Requests of contracts, and steps of tasks
/// @notice A contract asks for one inference; that opens a session with one task, paid from the
/// contract's allowance to `payment`. When the task is settled, anyone ends the request with the
/// proof: what is left goes back and the contract is called with the answer. A request that nobody
/// ends can be expired by anyone after its deadline. `manager` created this contract.
interface ISessionQueue is ITaskSteps {
    /// @notice Thrown when a prompt is empty or above `MAX_PROMPT_BYTES`.
    error SessionQueuePromptInvalid(uint256 length);
    /// @notice Thrown when the tokens to answer with are 0 or above `MAX_TOKENS`.
    error SessionQueueMaxTokensInvalid(uint256 maxTokens);
    /// @notice Thrown when a timeout is not within `MIN_TIMEOUT` and `MAX_TIMEOUT`.
    error SessionQueueTimeoutInvalid(uint256 timeout);
    /// @notice Thrown when the callback's gas is above `MAX_CALLBACK_GAS`.
    error SessionQueueCallbackGasInvalid(uint256 callbackGas);
    /// @notice Thrown when what arrived does not cover the callback's fee.
    error SessionQueuePaymentBelowFee(uint256 received, uint256 fee);
    /// @notice Thrown when a request does not exist or has ended.
    error SessionQueueRequestNotOpen(SessionId sessionId, RequestState state);
    /// @notice Thrown when a proof does not lead to the batch's root, or the batch is not settled.
    error SessionQueueProofInvalid(SessionId sessionId, bytes32 batchId);
    /// @notice Thrown when a request is expired too early.
    error SessionQueueDeadlineAhead(SessionId sessionId, uint64 deadline);
    /// @notice Thrown when the transaction has not the gas left that the callback was promised.
    error SessionQueueGasTooLow(uint256 left, uint256 needed);
    /// @notice Thrown when a request is asked for that is not there.
    error SessionQueueUnknownRequest(uint64 globalId);

    /// @notice Longest prompt, bytes of UTF-8.
    function MAX_PROMPT_BYTES() external view returns (uint256);
    /// @notice Most tokens of an answer.
    function MAX_TOKENS() external view returns (uint32);
    /// @notice Shortest time to answer in, seconds.
    function MIN_TIMEOUT() external view returns (uint64);
    /// @notice Longest time to answer in, seconds.
    function MAX_TIMEOUT() external view returns (uint64);
    /// @notice Most gas of a callback.
    function MAX_CALLBACK_GAS() external view returns (uint32);

    /// @notice Asks for one inference, in the name of the caller. `TaskQueued` names the request;
    /// `SessionOpened` and `SessionDeposited` come before.
    /// @param clientReference chosen by the caller; the same reference is the same session, once
    /// @param policyHash SHA-256 of the policy's canonical JSON, which lies on IPFS
    /// @param prompt UTF-8, public
    /// @param maxTokens most tokens of the answer
    /// @param payment_ tokens, which the caller has allowed `payment` to take; at least the
    /// callback's fee, `callbackGas * callbackGasPrice`
    /// @param callbackGas gas of the call of `onInference`; 0 for none
    /// @param timeout seconds
    function requestInference(
        bytes32 clientReference,
        bytes32 policyHash,
        string calldata prompt,
        uint32 maxTokens,
        uint128 payment_,
        uint32 callbackGas,
        uint64 timeout
    ) external returns (SessionId sessionId);

    /// @notice Ends a request whose task was settled: refunds what is left and calls the consumer
    /// with exactly the gas that it asked for. The treasury earns the callback's fee if there is
    /// code to call, be it from what is left. Anyone may call, also after the deadline.
    /// @param taskId of the request's task, which has ordinal 0
    /// @param outcome with `evidenceDigest`, `resultDigest`, `charge`: the rest of the task's leaf
    /// @param proof from the leaf to the root of the batch
    function fulfil(
        SessionId sessionId,
        bytes32 taskId,
        uint8 outcome,
        bytes32 evidenceDigest,
        bytes32 resultDigest,
        uint256 charge,
        bytes32 batchId,
        bytes32[] calldata proof
    ) external;

    /// @notice Ends a request after its deadline: refunds all that is held, without a fee, and calls
    /// the consumer as `fulfil` does, with outcome expired. Anyone may call.
    function expire(SessionId sessionId) external;

    /// @notice Number of requests so far, which is the last one's global id.
    function requestCount() external view returns (uint64);

    /// @notice A request by its global id, 1 to `requestCount`.
    function requestAt(uint64 globalId) external view returns (InferenceRequest memory);

    /// @notice A request by its session; state `None` and all zero where there is none.
    function requestOf(SessionId sessionId) external view returns (InferenceRequest memory);

    /// @notice Id of the task of a request, as clients compute it: the SHA-256 of
    /// `cortensor/task/1|<sessionId>|request`.
    function taskIdOf(SessionId sessionId) external pure returns (bytes32);

    /// @notice Token units that a unit of callback gas costs.
    function callbackGasPrice() external view returns (uint256);
    /// @notice The contract that opens sessions.
    function manager() external view returns (ISessionManager);
    /// @notice The contract that holds the money.
    function payment() external view returns (ISessionPayment);
}
