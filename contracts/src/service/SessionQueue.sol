// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {contentIdOf} from "./ContentId.sol";
import {IInferenceConsumer} from "./IInferenceConsumer.sol";
import {ISessionManager} from "./ISessionManager.sol";
import {ISessionPayment} from "./ISessionPayment.sol";
import {InferenceRequest, ISessionQueue, RequestState} from "./ISessionQueue.sol";
import {SessionId} from "./SessionId.sol";
import {hashTaskLeaf} from "./TaskLeaf.sol";
import {TaskSteps} from "./TaskSteps.sol";

contract SessionQueue is ISessionQueue, TaskSteps, ReentrancyGuardTransient {
    /// @dev Two slots; what the manager knows is not kept twice.
    struct StoredRequest {
        uint64 globalId;
        uint64 requestedAt;
        uint64 deadline;
        uint32 maxTokens;
        uint32 callbackGas;
        address consumer;
        RequestState state;
        uint8 outcome;
    }

    /// @inheritdoc ISessionQueue
    uint256 public constant MAX_PROMPT_BYTES = 8_192;
    /// @inheritdoc ISessionQueue
    uint32 public constant MAX_TOKENS = 4_096;
    /// @inheritdoc ISessionQueue
    uint64 public constant MIN_TIMEOUT = 30 seconds;
    /// @inheritdoc ISessionQueue
    uint64 public constant MAX_TIMEOUT = 7 days;
    /// @inheritdoc ISessionQueue
    uint32 public constant MAX_CALLBACK_GAS = 2_000_000;
    /// @dev For the call itself, and for what follows it.
    uint256 private constant GAS_AROUND_CALLBACK = 20_000;

    ISessionManager private immutable _manager;
    uint256 private immutable _callbackGasPrice;
    mapping(SessionId sessionId => StoredRequest) private _requests;
    /// @dev By global id, less 1.
    SessionId[] private _sessionIds;

    /// @dev Created by the manager while `payment_` creates that, so each knows the others from the
    /// start.
    constructor(ISessionPayment payment_, address operator_, uint256 callbackGasPrice_)
        TaskSteps(payment_, operator_)
    {
        _manager = ISessionManager(msg.sender);
        _callbackGasPrice = callbackGasPrice_;
    }

    /// @inheritdoc ISessionQueue
    function requestInference(
        bytes32 clientReference,
        bytes32 policyHash,
        string calldata prompt,
        uint32 maxTokens,
        uint128 payment_,
        uint32 callbackGas,
        uint64 timeout
    ) external nonReentrant returns (SessionId sessionId) {
        uint256 length = bytes(prompt).length;
        if (length == 0 || length > MAX_PROMPT_BYTES) revert SessionQueuePromptInvalid(length);
        if (maxTokens == 0 || maxTokens > MAX_TOKENS) {
            revert SessionQueueMaxTokensInvalid(maxTokens);
        }
        if (timeout < MIN_TIMEOUT || timeout > MAX_TIMEOUT) {
            revert SessionQueueTimeoutInvalid(timeout);
        }
        if (callbackGas > MAX_CALLBACK_GAS) revert SessionQueueCallbackGasInvalid(callbackGas);

        sessionId = _manager.openSessionFor(msg.sender, clientReference, policyHash, payment_);
        uint256 received = _payment.accountOf(sessionId).held;
        uint256 fee = callbackGas * _callbackGasPrice;
        if (received < fee) revert SessionQueuePaymentBelowFee(received, fee);
        _sessionIds.push(sessionId);
        uint64 globalId = uint64(_sessionIds.length);
        _requests[sessionId] = StoredRequest({
            globalId: globalId,
            requestedAt: uint64(block.timestamp),
            deadline: uint64(block.timestamp) + timeout,
            maxTokens: maxTokens,
            callbackGas: callbackGas,
            consumer: msg.sender,
            state: RequestState.Open,
            outcome: 0
        });
        emit TaskQueued(
            sessionId, taskIdOf(sessionId), globalId, msg.sender, clientReference, 0, prompt
        );
    }

    /// @inheritdoc ISessionQueue
    function fulfil(
        SessionId sessionId,
        bytes32 taskId,
        uint8 outcome,
        bytes32 evidenceDigest,
        bytes32 resultDigest,
        uint256 charge,
        bytes32 batchId,
        bytes32[] calldata proof
    ) external nonReentrant {
        StoredRequest storage request = _requireOpen(sessionId);
        bytes32 leaf =
            hashTaskLeaf(sessionId, taskId, 0, outcome, evidenceDigest, resultDigest, charge);
        if (!_payment.verifyTask(batchId, leaf, proof)) {
            revert SessionQueueProofInvalid(sessionId, batchId);
        }
        uint256 fee = _isCallable(request) ? request.callbackGas * _callbackGasPrice : 0;
        _end(sessionId, request, taskId, outcome, resultDigest, batchId, fee);
    }

    /// @inheritdoc ISessionQueue
    function expire(SessionId sessionId) external nonReentrant {
        StoredRequest storage request = _requireOpen(sessionId);
        if (block.timestamp <= request.deadline) {
            revert SessionQueueDeadlineAhead(sessionId, request.deadline);
        }
        _end(sessionId, request, 0, OUTCOME_EXPIRED, 0, 0, 0);
    }

    /// @inheritdoc ISessionQueue
    function requestCount() external view returns (uint64) {
        return uint64(_sessionIds.length);
    }

    /// @inheritdoc ISessionQueue
    function requestAt(uint64 globalId) external view returns (InferenceRequest memory) {
        if (globalId == 0 || globalId > _sessionIds.length) {
            revert SessionQueueUnknownRequest(globalId);
        }
        return requestOf(_sessionIds[globalId - 1]);
    }

    /// @inheritdoc ISessionQueue
    function requestOf(SessionId sessionId) public view returns (InferenceRequest memory request) {
        StoredRequest storage stored = _requests[sessionId];
        if (stored.state == RequestState.None) return request;
        return InferenceRequest({
            globalId: stored.globalId,
            sessionId: sessionId,
            consumer: stored.consumer,
            policyHash: _manager.sessionOf(sessionId).policyHash,
            maxTokens: stored.maxTokens,
            callbackGas: stored.callbackGas,
            requestedAt: stored.requestedAt,
            deadline: stored.deadline,
            state: stored.state,
            outcome: stored.outcome
        });
    }

    /// @inheritdoc ISessionQueue
    function taskIdOf(SessionId sessionId) public pure returns (bytes32) {
        string memory number = Strings.toString(SessionId.unwrap(sessionId));
        return sha256(bytes(string.concat("cortensor/task/1|", number, "|request")));
    }

    /// @inheritdoc ISessionQueue
    function callbackGasPrice() external view returns (uint256) {
        return _callbackGasPrice;
    }

    /// @inheritdoc ISessionQueue
    function manager() external view returns (ISessionManager) {
        return _manager;
    }

    /// @inheritdoc ISessionQueue
    function payment() external view returns (ISessionPayment) {
        return _payment;
    }

    function _requireOpen(SessionId sessionId)
        private
        view
        returns (StoredRequest storage request)
    {
        request = _requests[sessionId];
        if (request.state != RequestState.Open) {
            revert SessionQueueRequestNotOpen(sessionId, request.state);
        }
    }

    /// @dev All is written and all money has moved when the consumer gets its turn.
    function _end(
        SessionId sessionId,
        StoredRequest storage request,
        bytes32 taskId,
        uint8 outcome,
        bytes32 resultDigest,
        bytes32 batchId,
        uint256 fee
    ) private {
        request.state = RequestState.Ended;
        request.outcome = outcome;
        _payment.closeFor(sessionId, fee);
        bool hasSucceeded = false;
        if (_isCallable(request)) {
            bytes memory data = abi.encodeCall(
                IInferenceConsumer.onInference,
                (sessionId, taskId, outcome, resultDigest, contentIdOf(resultDigest), batchId)
            );
            hasSucceeded = _callBack(request.consumer, request.callbackGas, data);
        }
        emit TaskEnded(sessionId, taskId, outcome, resultDigest, hasSucceeded);
    }

    function _isCallable(StoredRequest storage request) private view returns (bool) {
        return request.callbackGas != 0 && request.consumer.code.length != 0;
    }

    /// @dev A call gets at most 63/64 of what is left (EIP-150): without the check, a relayer could
    /// make the callback run out of gas and yet end the request. What comes back is not copied,
    /// since copying it would be at the relayer's cost.
    function _callBack(address consumer, uint256 callbackGas, bytes memory data)
        private
        returns (bool hasSucceeded)
    {
        uint256 needed = callbackGas + callbackGas / 63 + GAS_AROUND_CALLBACK;
        if (gasleft() < needed) revert SessionQueueGasTooLow(gasleft(), needed);
        assembly ("memory-safe") {
            hasSucceeded := call(callbackGas, consumer, 0, add(data, 0x20), mload(data), 0, 0)
        }
    }
}
