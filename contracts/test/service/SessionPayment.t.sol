// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {
    Account,
    AccountStatus,
    ISessionPayment,
    MinerPayment,
    SessionCharge
} from "../../src/service/ISessionPayment.sol";
import {SessionId} from "../../src/service/SessionId.sol";
import {IOracleCommittee} from "../../src/signing/IOracleCommittee.sol";
import {ServiceWorld} from "../ServiceWorld.sol";
import {ReentrantToken, RefusingToken} from "../hostile/Tokens.sol";

contract SessionPaymentTest is ServiceWorld {
    uint256 private constant KEY = 0xa11ce;
    bytes32 private constant ROOT = keccak256("root");
    address private constant MINER = address(0x314e);
    address private owner = vm.addr(KEY);
    SessionId private id;

    function setUp() public override {
        super.setUp();
        token.mint(owner, 1000 ether);
        id = openSession(KEY, "reference", 100 ether);
    }

    // deposit

    function test_deposit_adds_byAnyone() public {
        token.mint(address(this), 5 ether);
        token.approve(address(payment), 5 ether);
        vm.expectEmit(address(payment));
        emit ISessionPayment.SessionDeposited(id, address(this), 5 ether, 105 ether);
        payment.deposit(id, 5 ether);
        assertMoney(105 ether, 0, 0, 105 ether, 0);
    }

    function test_deposit_reverts_whenSessionIsNotOpen() public {
        vm.expectRevert(
            abi.encodeWithSelector(
                ISessionPayment.SessionPaymentStatusInvalid.selector,
                SessionId.wrap(1),
                AccountStatus.None
            )
        );
        payment.deposit(SessionId.wrap(1), 1);
    }

    function test_deposit_reverts_withNothing() public {
        vm.expectRevert(ISessionPayment.SessionPaymentDepositZero.selector);
        payment.deposit(id, 0);
    }

    // settle

    function test_settle_movesMoney_andMarksTasks() public {
        SessionCharge[] memory charges = oneCharge(id, 1, 5, 11 ether);
        MinerPayment[] memory payments = onePayment(MINER, 10 ether);
        bytes[] memory signatures = settling("batch", ROOT, charges, payments, 1 ether);
        vm.expectEmit(address(payment));
        emit ISessionPayment.SessionCharged(id, "batch", 1, 5, 11 ether);
        vm.expectEmit(address(payment));
        emit ISessionPayment.MinerPaid(MINER, "batch", 10 ether);
        vm.expectEmit(address(payment));
        emit ISessionPayment.BatchSettled("batch", ROOT, 11 ether, 1 ether);
        payment.settle("batch", ROOT, charges, payments, 1 ether, signatures);

        assertMoney(100 ether, 11 ether, 0, 89 ether, 0);
        vm.assertEq(payment.earningsOf(MINER), 10 ether, "miner");
        vm.assertEq(payment.earningsOf(FEE_TREASURY), 1 ether, "treasury");
        vm.assertEq(payment.accountOf(id).charged, 11 ether, "charged");
        vm.assertEq(payment.rootOf("batch"), ROOT, "root");
        vm.assertTrue(payment.isTaskSettled(id, 256), "task 256");
        vm.assertTrue(!payment.isTaskSettled(id, 257), "task 257");
        vm.assertTrue(payment.isTaskSettled(id, 258), "task 258");
    }

    function test_settle_reverts_whenTaskWasSettled() public {
        settleOne("first", 0, 6, 1 ether);
        SessionCharge[] memory charges = oneCharge(id, 0, 3, 1 ether);
        MinerPayment[] memory payments = onePayment(MINER, 1 ether);
        bytes[] memory signatures = settling("second", ROOT, charges, payments, 0);
        vm.expectRevert(
            abi.encodeWithSelector(
                ISessionPayment.SessionPaymentTaskSettled.selector, id, uint32(0), uint256(2)
            )
        );
        payment.settle("second", ROOT, charges, payments, 0, signatures);
    }

    function test_settle_reverts_whenTaskIsTwiceInOneBatch() public {
        SessionCharge[] memory charges = new SessionCharge[](2);
        charges[0] = SessionCharge(id, 0, 1, 1 ether);
        charges[1] = charges[0];
        MinerPayment[] memory payments = onePayment(MINER, 2 ether);
        bytes[] memory signatures = settling("batch", ROOT, charges, payments, 0);
        vm.expectPartialRevert(ISessionPayment.SessionPaymentTaskSettled.selector);
        payment.settle("batch", ROOT, charges, payments, 0, signatures);
    }

    function test_settle_reverts_whenBatchWasSettled() public {
        settleOne("batch", 0, 1, 1 ether);
        SessionCharge[] memory charges = oneCharge(id, 0, 2, 1 ether);
        MinerPayment[] memory payments = onePayment(MINER, 1 ether);
        bytes[] memory signatures = settling("batch", ROOT, charges, payments, 0);
        vm.expectRevert(
            abi.encodeWithSelector(
                ISessionPayment.SessionPaymentBatchSettled.selector, bytes32("batch")
            )
        );
        payment.settle("batch", ROOT, charges, payments, 0, signatures);
    }

    function test_settle_reverts_whenChargeIsAboveHeld() public {
        SessionCharge[] memory charges = oneCharge(id, 0, 1, 100 ether + 1);
        MinerPayment[] memory payments = onePayment(MINER, 100 ether + 1);
        bytes[] memory signatures = settling("batch", ROOT, charges, payments, 0);
        vm.expectRevert(
            abi.encodeWithSelector(
                ISessionPayment.SessionPaymentChargeAboveHeld.selector, id, 100 ether + 1, 100 ether
            )
        );
        payment.settle("batch", ROOT, charges, payments, 0, signatures);
    }

    function test_settle_reverts_whenDustIsLeftOver() public {
        SessionCharge[] memory charges = oneCharge(id, 0, 1, 10);
        MinerPayment[] memory payments = onePayment(MINER, 8);
        bytes[] memory signatures = settling("batch", ROOT, charges, payments, 1);
        vm.expectRevert(
            abi.encodeWithSelector(ISessionPayment.SessionPaymentSumsUnequal.selector, 10, 9)
        );
        payment.settle("batch", ROOT, charges, payments, 1, signatures);
    }

    function test_settle_reverts_whenChargeNamesNoTask() public {
        SessionCharge[] memory charges = oneCharge(id, 0, 0, 0);
        MinerPayment[] memory payments = new MinerPayment[](0);
        bytes[] memory signatures = settling("batch", ROOT, charges, payments, 0);
        vm.expectRevert(abi.encodeWithSelector(ISessionPayment.SessionPaymentMaskZero.selector, id));
        payment.settle("batch", ROOT, charges, payments, 0, signatures);
    }

    function test_settle_reverts_withoutRoot() public {
        SessionCharge[] memory charges = oneCharge(id, 0, 1, 0);
        MinerPayment[] memory payments = new MinerPayment[](0);
        bytes[] memory signatures = settling("batch", 0, charges, payments, 0);
        vm.expectRevert(ISessionPayment.SessionPaymentRootInvalid.selector);
        payment.settle("batch", 0, charges, payments, 0, signatures);
    }

    function test_settle_marksTasks_withoutCharge() public {
        SessionCharge[] memory charges = oneCharge(id, 0, 1, 0);
        MinerPayment[] memory payments = new MinerPayment[](0);
        payment.settle(
            "batch", ROOT, charges, payments, 0, settling("batch", ROOT, charges, payments, 0)
        );
        vm.assertTrue(payment.isTaskSettled(id, 0), "task");
        assertMoney(100 ether, 0, 0, 100 ether, 0);
    }

    function test_settle_reverts_forClosedSession() public {
        payment.closeSession(id, 0, closing(id, 0));
        SessionCharge[] memory charges = oneCharge(id, 0, 1, 0);
        MinerPayment[] memory payments = new MinerPayment[](0);
        bytes[] memory signatures = settling("batch", ROOT, charges, payments, 0);
        vm.expectRevert(
            abi.encodeWithSelector(
                ISessionPayment.SessionPaymentStatusInvalid.selector, id, AccountStatus.Closed
            )
        );
        payment.settle("batch", ROOT, charges, payments, 0, signatures);
    }

    function test_settle_reverts_belowQuorum() public {
        SessionCharge[] memory charges = oneCharge(id, 0, 1, 1 ether);
        MinerPayment[] memory payments = onePayment(MINER, 1 ether);
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = settling("batch", ROOT, charges, payments, 0)[0];
        vm.expectPartialRevert(IOracleCommittee.OracleCommitteeBelowQuorum.selector);
        payment.settle("batch", ROOT, charges, payments, 0, signatures);
    }

    function test_settle_reverts_whenSignedForAnotherChainOrContract() public {
        SessionCharge[] memory charges = oneCharge(id, 0, 1, 1 ether);
        MinerPayment[] memory payments = onePayment(MINER, 1 ether);
        bytes[] memory signatures = settling("batch", ROOT, charges, payments, 0);
        bytes memory call = abi.encodeCall(
            ISessionPayment.settle, ("batch", ROOT, charges, payments, 0, signatures)
        );
        vm.chainId(block.chainid + 1);
        assertRefused(address(payment), call);
        vm.chainId(31337);
        address original = address(payment);
        deployAround(address(token));
        openSession(KEY, "reference", 100 ether);
        assertRefused(address(payment), call);
        (bool passed,) = original.call(call);
        vm.assertTrue(passed, "the contract it was signed for refused");
    }

    function test_fuzz_settle_reverts_whenAmountsAreNotThoseSigned(uint128 amount) public {
        amount = uint128(bound(amount, 0, 100 ether));
        if (amount == 1 ether) amount++;
        SessionCharge[] memory charges = oneCharge(id, 0, 1, 1 ether);
        MinerPayment[] memory payments = onePayment(MINER, 1 ether);
        bytes[] memory signatures = settling("batch", ROOT, charges, payments, 0);
        charges[0].amount = amount;
        payments[0].amount = amount;
        assertRefused(
            address(payment),
            abi.encodeCall(
                ISessionPayment.settle, ("batch", ROOT, charges, payments, 0, signatures)
            )
        );
    }

    function test_fuzz_settle_closesBooks(uint128 first, uint128 second, uint128 fee) public {
        first = uint128(bound(first, 0, 60 ether));
        second = uint128(bound(second, 0, 40 ether));
        fee = uint128(bound(fee, 0, first));
        SessionCharge[] memory charges = new SessionCharge[](2);
        charges[0] = SessionCharge(id, 0, 1, first);
        charges[1] = SessionCharge(id, 7, 1 << 255, second);
        MinerPayment[] memory payments = new MinerPayment[](2);
        payments[0] = MinerPayment(MINER, first - fee);
        payments[1] = MinerPayment(MINER, second);
        payment.settle(
            "batch", ROOT, charges, payments, fee, settling("batch", ROOT, charges, payments, fee)
        );
        uint256 charged = uint256(first) + second;
        assertMoney(100 ether, charged, 0, 100 ether - charged, 0);
        payment.closeSession(id, charged, closing(id, charged));
        assertMoney(100 ether, charged, 100 ether - charged, 0, 0);
        vm.assertEq(token.balanceOf(address(payment)), charged, "balance");
    }

    // withdraw

    function test_withdraw_paysMinerAndTreasury() public {
        SessionCharge[] memory charges = oneCharge(id, 0, 1, 3 ether);
        MinerPayment[] memory payments = onePayment(MINER, 2 ether);
        payment.settle(
            "b", ROOT, charges, payments, 1 ether, settling("b", ROOT, charges, payments, 1 ether)
        );
        vm.prank(MINER);
        vm.assertEq(payment.withdraw(), 2 ether, "amount");
        vm.prank(FEE_TREASURY);
        payment.withdraw();
        vm.assertEq(token.balanceOf(MINER), 2 ether, "miner");
        vm.assertEq(token.balanceOf(FEE_TREASURY), 1 ether, "treasury");
        assertMoney(100 ether, 3 ether, 0, 97 ether, 3 ether);

        vm.prank(MINER);
        vm.expectRevert(
            abi.encodeWithSelector(ISessionPayment.SessionPaymentNothingEarned.selector, MINER)
        );
        payment.withdraw();
    }

    function test_withdraw_isNotReentered_byToken() public {
        ReentrantToken evil = new ReentrantToken();
        deployAround(address(evil));
        evil.mint(owner, 100 ether);
        id = openSession(KEY, "reference", 100 ether);
        // The token itself is the miner, so that its call back comes from the one who is paid.
        SessionCharge[] memory charges = oneCharge(id, 0, 1, 2 ether);
        MinerPayment[] memory payments = onePayment(address(evil), 2 ether);
        payment.settle("b", ROOT, charges, payments, 0, settling("b", ROOT, charges, payments, 0));
        evil.attack(address(payment), abi.encodeCall(ISessionPayment.withdraw, ()));
        vm.prank(address(evil));
        payment.withdraw();
        vm.assertEq(evil.attempts(), 1, "attempts");
        vm.assertEq(evil.successes(), 0, "successes");
        vm.assertEq(evil.balanceOf(address(payment)), 98 ether, "balance");
    }

    function test_withdraw_reverts_whenTokenReturnsFalse() public {
        RefusingToken refusing = new RefusingToken();
        deployAround(address(refusing));
        refusing.mint(owner, 100 ether);
        id = openSession(KEY, "reference", 100 ether);
        settleOne("batch", 0, 1, 2 ether);
        refusing.refuse(true);
        vm.prank(MINER);
        vm.expectPartialRevert(SafeERC20.SafeERC20FailedOperation.selector);
        payment.withdraw();
        vm.assertEq(payment.earningsOf(MINER), 2 ether, "earnings are kept");
    }

    // closeSession

    function test_closeSession_refundsOwner() public {
        settleOne("batch", 0, 1, 30 ether);
        bytes[] memory signatures = closing(id, 30 ether);
        vm.expectEmit(address(payment));
        emit ISessionPayment.SessionClosed(id, owner, 30 ether, 70 ether);
        payment.closeSession(id, 30 ether, signatures);
        vm.assertEq(token.balanceOf(owner), 970 ether, "owner");
        vm.assertEq(uint256(payment.accountOf(id).status), uint256(AccountStatus.Closed), "status");
        assertMoney(100 ether, 30 ether, 70 ether, 0, 0);

        vm.expectPartialRevert(ISessionPayment.SessionPaymentStatusInvalid.selector);
        payment.closeSession(id, 30 ether, signatures);
    }

    function test_closeSession_reverts_whileTasksAreNotSettled() public {
        settleOne("batch", 0, 1, 30 ether);
        bytes[] memory signatures = closing(id, 31 ether);
        vm.expectRevert(
            abi.encodeWithSelector(
                ISessionPayment.SessionPaymentChargedUnequal.selector, id, 31 ether, 30 ether
            )
        );
        payment.closeSession(id, 31 ether, signatures);
    }

    // requestExit, exit

    function test_exit_refundsOwner_afterDelay() public {
        vm.prank(owner);
        payment.requestExit(id);
        settleOne("late", 0, 1, 1 ether);
        uint64 exitAt = uint64(block.timestamp) + EXIT_DELAY;
        vm.warp(exitAt - 1);
        vm.prank(owner);
        vm.expectRevert(
            abi.encodeWithSelector(ISessionPayment.SessionPaymentExitTooEarly.selector, id, exitAt)
        );
        payment.exit(id);

        vm.warp(exitAt);
        vm.prank(owner);
        payment.exit(id);
        vm.assertEq(token.balanceOf(owner), 999 ether, "owner");
        assertMoney(100 ether, 1 ether, 99 ether, 0, 0);
        assertRefused(
            address(payment),
            abi.encodeCall(ISessionPayment.closeSession, (id, 1 ether, closing(id, 1 ether)))
        );
    }

    function test_exit_reverts_withoutRequest() public {
        vm.prank(owner);
        vm.expectPartialRevert(ISessionPayment.SessionPaymentStatusInvalid.selector);
        payment.exit(id);
    }

    function test_requestExit_reverts_byOthers() public {
        vm.expectRevert(
            abi.encodeWithSelector(
                ISessionPayment.SessionPaymentNotOwner.selector, id, address(this)
            )
        );
        payment.requestExit(id);
    }

    function test_requestExit_reverts_twice() public {
        vm.prank(owner);
        payment.requestExit(id);
        vm.prank(owner);
        vm.expectPartialRevert(ISessionPayment.SessionPaymentStatusInvalid.selector);
        payment.requestExit(id);
    }

    function test_deposit_reverts_whileExiting() public {
        vm.prank(owner);
        payment.requestExit(id);
        vm.expectPartialRevert(ISessionPayment.SessionPaymentStatusInvalid.selector);
        payment.deposit(id, 1);
    }

    function test_closeSession_refunds_whileExiting() public {
        vm.prank(owner);
        payment.requestExit(id);
        payment.closeSession(id, 0, closing(id, 0));
        assertMoney(100 ether, 0, 100 ether, 0, 0);
    }

    // verifyTask

    function test_verifyTask_knowsLeavesOfTheBatchOnly() public {
        bytes32 leaf = payment.taskLeaf(id, "task", 0, 0, "evidence", "result", 1 ether);
        vm.assertEq(
            leaf,
            keccak256(
                bytes.concat(
                    keccak256(
                        abi.encode(
                            id,
                            bytes32("task"),
                            0,
                            0,
                            bytes32("evidence"),
                            bytes32("result"),
                            1 ether
                        )
                    )
                )
            ),
            "leaf"
        );
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = keccak256("sibling");
        bytes32 root = Hashes.commutativeKeccak256(leaf, proof[0]);
        SessionCharge[] memory charges = oneCharge(id, 0, 1, 1 ether);
        MinerPayment[] memory payments = onePayment(MINER, 1 ether);
        payment.settle("b", root, charges, payments, 0, settling("b", root, charges, payments, 0));
        vm.assertTrue(payment.verifyTask("b", leaf, proof), "leaf of the batch");
        vm.assertTrue(!payment.verifyTask("b", keccak256("other"), proof), "other leaf");
        vm.assertTrue(!payment.verifyTask("c", leaf, proof), "other batch");
    }

    function settleOne(bytes32 batchId, uint32 word, uint256 mask, uint128 amount) private {
        SessionCharge[] memory charges = oneCharge(id, word, mask, amount);
        MinerPayment[] memory payments = onePayment(MINER, amount);
        payment.settle(
            batchId, ROOT, charges, payments, 0, settling(batchId, ROOT, charges, payments, 0)
        );
    }
}
