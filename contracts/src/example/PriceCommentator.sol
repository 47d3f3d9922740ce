// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {IInferenceConsumer} from "../service/IInferenceConsumer.sol";
import {ISessionQueue} from "../service/ISessionQueue.sol";
import {SessionId} from "../service/SessionId.sol";

/// @title A contract that has prices commented, as an example of one that asks for inferences
/// @notice Its owner sends it tokens and asks; the answer's digest and CID come back by callback,
/// and what the answer did not cost comes back to this contract. The page docs/dapps.md walks
/// through it.
contract PriceCommentator is IInferenceConsumer {
    using SafeERC20 for IERC20;

    /// @notice What came of a question.
    struct Comment {
        bool hasEnded;
        /// Index in `TASK_OUTCOMES` of domain/task.ts; 0 is completed.
        uint8 outcome;
        bytes32 taskId;
        bytes32 resultDigest;
        bytes32 batchId;
        string resultCid;
    }

    /// @notice A question was asked.
    event CommentAsked(SessionId indexed sessionId, string prompt);
    /// @notice A question was answered, or not: see the outcome.
    event CommentReceived(SessionId indexed sessionId, uint8 outcome, string resultCid);

    /// @notice Thrown when another than the owner asks or withdraws.
    error PriceCommentatorNotOwner(address caller);
    /// @notice Thrown when another contract than the queue brings an answer.
    error PriceCommentatorNotQueue(address caller);

    /// @notice Enough to store a comment: seven new slots, and an event.
    uint32 public constant CALLBACK_GAS = 250_000;
    /// @notice Most tokens of an answer.
    uint32 public constant MAX_TOKENS = 64;
    /// @notice Seconds to answer in.
    uint64 public constant TIMEOUT = 10 minutes;

    address public immutable owner;
    ISessionQueue public immutable queue;
    IERC20 public immutable token;
    /// @notice Policy of every request.
    bytes32 public immutable policyHash;
    uint256 private _asked;
    mapping(SessionId sessionId => Comment) private _comments;

    /// @param policyHash_ SHA-256 of a policy's canonical JSON, which lies on IPFS
    constructor(ISessionQueue queue_, bytes32 policyHash_) {
        owner = msg.sender;
        queue = queue_;
        token = queue_.payment().token();
        policyHash = policyHash_;
    }

    /// @notice Asks for a comment, and pays from the tokens of this contract.
    /// @param pair such as `ETH/USD`
    /// @param price in whole units
    /// @param payment most that the answer may cost, in token units
    function ask(string calldata pair, uint256 price, uint128 payment)
        external
        returns (SessionId sessionId)
    {
        if (msg.sender != owner) revert PriceCommentatorNotOwner(msg.sender);
        string memory prompt = string.concat(
            "Comment in one sentence on ", pair, " at a price of ", Strings.toString(price), "."
        );
        token.forceApprove(address(queue.payment()), payment);
        sessionId = queue.requestInference(
            bytes32(++_asked), policyHash, prompt, MAX_TOKENS, payment, CALLBACK_GAS, TIMEOUT
        );
        emit CommentAsked(sessionId, prompt);
    }

    /// @inheritdoc IInferenceConsumer
    function onInference(
        SessionId sessionId,
        bytes32 taskId,
        uint8 outcome,
        bytes32 resultDigest,
        string calldata resultCid,
        bytes32 batchId
    ) external {
        if (msg.sender != address(queue)) {
            revert PriceCommentatorNotQueue(msg.sender);
        }
        _comments[sessionId] = Comment(true, outcome, taskId, resultDigest, batchId, resultCid);
        emit CommentReceived(sessionId, outcome, resultCid);
    }

    /// @notice Pays all tokens of this contract to its owner: unused ones and refunds.
    function withdraw() external {
        if (msg.sender != owner) revert PriceCommentatorNotOwner(msg.sender);
        token.safeTransfer(owner, token.balanceOf(address(this)));
    }

    /// @notice What came of a question; all zero before it ends.
    function commentOf(SessionId sessionId) external view returns (Comment memory) {
        return _comments[sessionId];
    }
}
