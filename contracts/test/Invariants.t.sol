// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {INodeRegistry} from "../src/onboarding/INodeRegistry.sol";
import {ISessionManager} from "../src/service/ISessionManager.sol";
import {Account, ISessionPayment} from "../src/service/ISessionPayment.sol";
import {SessionId} from "../src/service/SessionId.sol";
import {TaskProgress} from "../src/service/ITaskSteps.sol";
import {Base} from "./Base.sol";
import {Handler} from "./Handler.sol";

/// @dev What holds in every state that any order of actions leads to.
contract InvariantsTest is Base {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Handler private handler;
    IERC20 private token;
    INodeRegistry private registry;
    ISessionPayment private payment;
    ISessionManager private manager;

    function setUp() public {
        handler = new Handler();
        handler.setUp();
        (address a, address b, address c, address d) = handler.contracts();
        (token, registry) = (IERC20(a), INodeRegistry(b));
        (payment, manager) = (ISessionPayment(c), ISessionManager(d));
    }

    /// @dev Read by forge: the contracts that it calls.
    function targetContracts() external view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(handler);
    }

    /// @dev Read by forge: the functions that it calls.
    function targetSelectors() external view returns (FuzzSelector[] memory list) {
        list = new FuzzSelector[](1);
        list[0] = FuzzSelector(address(handler), handler.actions());
    }

    /// @dev One invariant, so that one campaign serves all: deposits and stakes are paid, refunded,
    /// withdrawn, slashed or held, to the last unit; the tokens are there; nothing is paid twice.
    function invariant_booksClose() external view {
        checkDeposits();
        checkStakes();
        checkSessions();
        vm.assertEq(handler.doublePayments(), 0, "double payments");
    }

    /// @dev Run by forge at the end of each run: exactly the tasks that were settled are marked, a
    /// request is over when it was ended, and no step on chain comes before the one it needs.
    function afterInvariant() external view {
        for (uint256 i = 0; i < handler.sessionCount(); i++) {
            SessionId id = handler.sessions(i);
            uint256 count;
            for (uint256 ordinal = 0; ordinal < handler.nextOrdinal(id); ordinal++) {
                if (payment.isTaskSettled(id, ordinal)) count++;
            }
            vm.assertEq(count, handler.settledTasks(id), "settled tasks");
            vm.assertEq(
                manager.sessionOf(id).policyNonce, handler.policyChanges(id), "changes of policy"
            );
            vm.assertTrue(handler.isEndedOnChain(id) == handler.isEnded(id), "end of a request");
            if (handler.isEnded(id)) {
                vm.assertEq(payment.accountOf(id).held, 0, "held by a request");
            }
            TaskProgress memory steps = handler.stepsOf(id);
            vm.assertLe(steps.acked, steps.assigned, "acked");
            vm.assertLe(steps.precommitted, steps.acked, "precommitted");
            vm.assertLe(steps.committed, steps.precommitted, "committed");
        }
        vm.assertLe(handler.consumer().callbacks(), handler.requestsEnded(), "callbacks");
    }

    function checkDeposits() private view {
        (uint256 deposited, uint256 paid, uint256 refunded, uint256 held, uint256 withdrawn) =
            payment.money();
        vm.assertEq(deposited, handler.totalDeposited(), "deposited");
        vm.assertEq(deposited, paid + refunded + held, "service books");
        vm.assertEq(token.balanceOf(address(payment)), held + paid - withdrawn, "service balance");
        vm.assertEq(handler.sumOfEarnings(), paid - withdrawn, "earnings");
    }

    function checkStakes() private view {
        (uint256 staked, uint256 withdrawn, uint256 slashed, uint256 held) = registry.money();
        (address slashTreasury,) = handler.treasuries();
        vm.assertEq(staked, handler.totalStaked(), "staked");
        vm.assertEq(staked, withdrawn + slashed + held, "registry books");
        vm.assertEq(token.balanceOf(address(registry)), held, "registry balance");
        vm.assertEq(token.balanceOf(slashTreasury), slashed, "treasury");
        vm.assertEq(handler.sumOfStakes(), held, "stakes");
    }

    function checkSessions() private view {
        (, uint256 paid,, uint256 held,) = payment.money();
        uint256 sumHeld;
        uint256 sumCharged;
        for (uint256 i = 0; i < handler.sessionCount(); i++) {
            Account memory account = payment.accountOf(handler.sessions(i));
            sumHeld += account.held;
            sumCharged += account.charged;
        }
        vm.assertEq(sumHeld, held, "held");
        vm.assertEq(sumCharged, paid, "charged");
    }
}
