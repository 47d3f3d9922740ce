// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MinerPayment, SessionCharge} from "../src/service/ISessionPayment.sol";
import {SessionId} from "../src/service/SessionId.sol";
import {World} from "./World.sol";

/// @dev What owners, payers and miners sign on the service layer, and batches of one task.
abstract contract ServiceWorld is World {
    bytes32 internal constant EVIDENCE = keccak256("evidence");
    bytes32 internal constant RESULT = keccak256("result");
    uint8 internal constant COMPLETED = 0;
    uint8 internal constant EXPIRED = 2;
    uint8 internal constant REFUSED = 3;

    function signDeposit(uint256 key, SessionId id, uint256 amount, bytes32 clientReference)
        internal
        view
        returns (bytes memory)
    {
        bytes32 typehash = payment.DEPOSIT_TYPEHASH();
        return sign(
            key,
            digestOf(
                address(payment),
                keccak256(abi.encode(typehash, id, vm.addr(key), amount, clientReference))
            )
        );
    }

    /// @dev With a permit of the same amount.
    function depositFor(uint256 key, SessionId id, uint256 amount, bytes32 clientReference)
        internal
    {
        bytes memory signature = signDeposit(key, id, amount, clientReference);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(key, address(payment), amount);
        payment.depositFor(
            id, vm.addr(key), amount, clientReference, signature, NO_DEADLINE, v, r, s
        );
    }

    function withdrawalHash(SessionId id, uint256 amount, bytes32 clientReference)
        internal
        view
        returns (bytes32)
    {
        return
            keccak256(abi.encode(payment.WITHDRAW_DEPOSIT_TYPEHASH(), id, amount, clientReference));
    }

    /// @dev The owner's signature and a quorum's.
    function withdrawing(uint256 key, SessionId id, uint256 amount, bytes32 clientReference)
        internal
        view
        returns (bytes memory, bytes[] memory)
    {
        bytes32 structHash = withdrawalHash(id, amount, clientReference);
        return (
            sign(key, digestOf(address(payment), structHash)),
            quorumOver(address(payment), structHash)
        );
    }

    function signPolicy(uint256 key, SessionId id, bytes32 policyHash, uint64 nonce)
        internal
        view
        returns (bytes memory)
    {
        bytes32 structHash =
            keccak256(abi.encode(manager.CHANGE_POLICY_TYPEHASH(), id, policyHash, nonce));
        return sign(key, digestOf(address(manager), structHash));
    }

    function signPrecommit(uint256 key, SessionId id, bytes32 taskId, bytes32 precommitment)
        internal
        view
        returns (bytes memory)
    {
        bytes32 structHash =
            keccak256(abi.encode(queue.PRECOMMIT_TYPEHASH(), id, taskId, precommitment));
        return sign(key, digestOf(address(payment), structHash));
    }

    /// @dev Of a result with hash and digest `RESULT`, 10 and 20 tokens.
    function signCommit(uint256 key, SessionId id, bytes32 taskId, bytes32 salt)
        internal
        view
        returns (bytes memory)
    {
        bytes32 structHash = keccak256(
            abi.encode(queue.COMMIT_TYPEHASH(), id, taskId, RESULT, RESULT, 10, 20, salt)
        );
        return sign(key, digestOf(address(payment), structHash));
    }

    function precommitmentOf(SessionId id, bytes32 taskId, address miner, bytes32 salt)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(id, taskId, miner, RESULT, RESULT, salt));
    }

    /// @dev Settles the one task of a request in a batch of its own, whose root is its leaf.
    function settleRequest(
        bytes32 batchId,
        SessionId id,
        uint8 outcome,
        uint128 charge,
        address miner
    ) internal {
        bytes32 leaf = payment.taskLeaf(
            id, queue.taskIdOf(id), 0, outcome, EVIDENCE, resultOf(outcome), charge
        );
        settleWhole(
            batchId,
            leaf,
            oneCharge(id, 0, 1, charge),
            charge == 0 ? new MinerPayment[](0) : onePayment(miner, charge)
        );
    }

    /// @dev A batch that leaves no fee.
    function settleWhole(
        bytes32 batchId,
        bytes32 root,
        SessionCharge[] memory charges,
        MinerPayment[] memory payments
    ) internal {
        bytes[] memory signatures = settling(batchId, root, charges, payments, 0);
        payment.settle(batchId, root, charges, payments, 0, signatures);
    }

    /// @dev Only a completed task has an answer.
    function resultOf(uint8 outcome) private pure returns (bytes32) {
        return outcome == COMPLETED ? RESULT : bytes32(0);
    }

    /// @dev The call that ends a request which `settleRequest` settled.
    function fulfilment(bytes32 batchId, SessionId id, uint8 outcome, uint128 charge)
        internal
        view
        returns (bytes memory)
    {
        return abi.encodeCall(
            queue.fulfil,
            (
                id,
                queue.taskIdOf(id),
                outcome,
                EVIDENCE,
                resultOf(outcome),
                charge,
                batchId,
                new bytes32[](0)
            )
        );
    }

    function fulfil(bytes32 batchId, SessionId id, uint8 outcome, uint128 charge) internal {
        queue.fulfil(
            id,
            queue.taskIdOf(id),
            outcome,
            EVIDENCE,
            resultOf(outcome),
            charge,
            batchId,
            new bytes32[](0)
        );
    }

    function assertRefused(address target, bytes memory call) internal {
        (bool hasPassed,) = target.call(call);
        vm.assertTrue(!hasPassed, "a call passed that must not");
    }

    function assertMoney(
        uint256 deposited,
        uint256 paid,
        uint256 refunded,
        uint256 held,
        uint256 withdrawn
    ) internal view {
        (uint256 a, uint256 b, uint256 c, uint256 d, uint256 e) = payment.money();
        vm.assertEq(a, deposited, "deposited");
        vm.assertEq(b, paid, "paid");
        vm.assertEq(c, refunded, "refunded");
        vm.assertEq(d, held, "held");
        vm.assertEq(e, withdrawn, "withdrawn");
        vm.assertEq(token.balanceOf(address(payment)), held + paid - withdrawn, "balance");
    }
}
