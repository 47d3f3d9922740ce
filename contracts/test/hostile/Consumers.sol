// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IInferenceConsumer} from "../../src/service/IInferenceConsumer.sol";
import {ISessionQueue} from "../../src/service/ISessionQueue.sol";
import {SessionId} from "../../src/service/SessionId.sol";

/// @dev How a consumer behaves when it is called back, after it noted what came.
enum Conduct {
    Honest,
    Reverts,
    RevertsWithBomb,
    ReturnsBomb,
    BurnsGas,
    Reenters
}

/// @dev A contract that asks, and answers the callback as it is told to.
contract Consumer is IInferenceConsumer {
    Conduct private _conduct;
    address[] private _targets;
    bytes[] private _calls;

    uint256 public callbacks;
    uint256 public gasAtCallback;
    uint256 public balanceAtCallback;
    uint256 public intrusions;
    uint8 public outcome;
    bytes32 public taskId;
    bytes32 public resultDigest;
    bytes32 public batchId;
    string public resultCid;

    function behave(Conduct conduct) external {
        _conduct = conduct;
    }

    /// @dev A call to make from inside the callback.
    function plan(address target, bytes calldata data) external {
        _conduct = Conduct.Reenters;
        _targets.push(target);
        _calls.push(data);
    }

    function allow(IERC20 token, address spender) external {
        token.approve(spender, type(uint256).max);
    }

    function ask(ISessionQueue queue, bytes32 clientReference, uint128 amount, uint32 callbackGas)
        external
        returns (SessionId)
    {
        return queue.requestInference(
            clientReference, keccak256("policy"), "why?", 64, amount, callbackGas, 10 minutes
        );
    }

    function call(address target, bytes calldata data) external returns (bool hasPassed) {
        (hasPassed,) = target.call(data);
    }

    function onInference(
        SessionId,
        bytes32 taskId_,
        uint8 outcome_,
        bytes32 resultDigest_,
        string calldata resultCid_,
        bytes32 batchId_
    ) external {
        uint256 gas = gasleft();
        if (_conduct == Conduct.Reverts) revert("no");
        if (_conduct == Conduct.RevertsWithBomb) {
            assembly ("memory-safe") { revert(0, 200000) }
        }
        if (_conduct == Conduct.ReturnsBomb) {
            callbacks++;
            assembly ("memory-safe") { return(0, 200000) }
        }
        if (_conduct == Conduct.BurnsGas) {
            while (true) {}
        }
        callbacks++;
        gasAtCallback = gas;
        balanceAtCallback = ISessionQueue(msg.sender).payment().token().balanceOf(address(this));
        (taskId, outcome, resultDigest) = (taskId_, outcome_, resultDigest_);
        (batchId, resultCid) = (batchId_, resultCid_);
        for (uint256 i = 0; i < _targets.length; i++) {
            (bool hasPassed,) = _targets[i].call(_calls[i]);
            if (hasPassed) intrusions++;
        }
    }
}

/// @dev A contract that asks but cannot be called back.
contract SilentConsumer {
    function ask(ISessionQueue queue, uint128 amount, uint32 callbackGas)
        external
        returns (SessionId)
    {
        queue.payment().token().approve(address(queue.payment()), amount);
        return queue.requestInference(
            "silent", keccak256("policy"), "why?", 64, amount, callbackGas, 10 minutes
        );
    }
}
