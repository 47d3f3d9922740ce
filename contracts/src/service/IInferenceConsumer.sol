// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SessionId} from "./SessionId.sol";

/// @title A contract that asks for inferences
interface IInferenceConsumer {
    /// @notice A request of this contract has ended; what was left of its payment is here already.
    /// `SessionQueue` calls once a request, with the gas that was asked for. Check that the caller
    /// is the queue. A revert changes nothing but `callbackSucceeded` of its event.
    /// @param taskId of the request's one task; zero where it expired
    /// @param outcome index in `TASK_OUTCOMES` of domain/task.ts: 0 is completed, 2 expired
    /// @param resultDigest sha2-256 of the answer at rest; zero where there is none
    /// @param resultCid the same as text, for IPFS; empty where there is none
    /// @param batchId the batch whose root proves task and answer; zero where the request expired
    function onInference(
        SessionId sessionId,
        bytes32 taskId,
        uint8 outcome,
        bytes32 resultDigest,
        string calldata resultCid,
        bytes32 batchId
    ) external;
}
