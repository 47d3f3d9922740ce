// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ISessionManager, Session} from "../../src/service/ISessionManager.sol";
import {Account, AccountStatus, ISessionPayment} from "../../src/service/ISessionPayment.sol";
import {SessionId} from "../../src/service/SessionId.sol";
import {ServiceWorld} from "../ServiceWorld.sol";
import {Wallet} from "../hostile/Wallets.sol";
import {FeeToken, ReentrantToken, RefusingToken} from "../hostile/Tokens.sol";

contract SessionManagerTest is ServiceWorld {
    uint256 private constant KEY = 0xa11ce;
    bytes32 private constant REFERENCE = keccak256("reference");
    address private owner = vm.addr(KEY);

    function setUp() public override {
        super.setUp();
        token.mint(owner, 1000 ether);
    }

    function test_openSession_escrowsDeposit_withPermit() public {
        SessionId expected = manager.sessionIdOf(owner, REFERENCE);
        bytes memory signature = signOpening(KEY, REFERENCE, 10 ether);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(KEY, address(payment), 10 ether);
        vm.expectEmit(address(manager));
        emit ISessionManager.SessionOpened(
            expected, owner, REFERENCE, keccak256("policy"), 10 ether
        );
        vm.expectEmit(address(payment));
        emit ISessionPayment.SessionDeposited(expected, owner, 10 ether, 10 ether);
        SessionId id = manager.openSession(
            owner, REFERENCE, keccak256("policy"), 10 ether, signature, NO_DEADLINE, v, r, s
        );

        vm.assertEq(SessionId.unwrap(id), SessionId.unwrap(expected), "id");
        Session memory session = manager.sessionOf(id);
        vm.assertEq(session.owner, owner, "owner");
        vm.assertEq(session.policyHash, keccak256("policy"), "policy");
        vm.assertEq(session.openedAt, block.timestamp, "opened at");
        Account memory account = payment.accountOf(id);
        vm.assertEq(account.owner, owner, "owner of the account");
        vm.assertEq(account.held, 10 ether, "held");
        vm.assertEq(uint256(account.status), uint256(AccountStatus.Open), "status");
        vm.assertEq(token.balanceOf(address(payment)), 10 ether, "balance");
    }

    /// @dev The same vector is in test/contracts/abi.test.ts, computed without Solidity.
    function test_sessionIdOf_isFirst63BitsOfSha256() public view {
        bytes32 hash = sha256(abi.encode(block.chainid, address(manager), owner, REFERENCE));
        uint64 id = SessionId.unwrap(manager.sessionIdOf(owner, REFERENCE));
        vm.assertEq(id, uint256(hash) >> 193, "id");
        vm.assertLe(id, type(uint64).max >> 1, "63 bits");
    }

    function test_openSession_reverts_secondTime() public {
        SessionId id = openSession(KEY, REFERENCE, 10 ether);
        bytes memory signature = signOpening(KEY, REFERENCE, 10 ether);
        vm.expectRevert(
            abi.encodeWithSelector(ISessionManager.SessionManagerAlreadyOpen.selector, id)
        );
        openWithoutPermit(signature, 10 ether);
    }

    function test_openSession_reverts_withoutDeposit() public {
        bytes memory signature = signOpening(KEY, REFERENCE, 0);
        vm.expectRevert(ISessionManager.SessionManagerDepositZero.selector);
        openWithoutPermit(signature, 0);
    }

    function test_openSession_reverts_whenFieldDiffers() public {
        bytes memory signature = signOpening(KEY, REFERENCE, 10 ether);
        vm.expectRevert(
            abi.encodeWithSelector(ISessionManager.SessionManagerSignatureInvalid.selector, owner)
        );
        openWithoutPermit(signature, 11 ether);
    }

    function test_openSession_reverts_whenSignedForAnotherChainOrContract() public {
        bytes memory signature = signOpening(KEY, REFERENCE, 10 ether);
        vm.chainId(block.chainid + 1);
        vm.expectPartialRevert(ISessionManager.SessionManagerSignatureInvalid.selector);
        openWithoutPermit(signature, 10 ether);

        vm.chainId(31337);
        deployAround(address(token));
        vm.expectPartialRevert(ISessionManager.SessionManagerSignatureInvalid.selector);
        openWithoutPermit(signature, 10 ether);
    }

    function test_openSession_reverts_withoutPermitOrAllowance() public {
        bytes memory signature = signOpening(KEY, REFERENCE, 10 ether);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        openWithoutPermit(signature, 10 ether);
    }

    function test_openSession_passes_whenPermitWasFrontRun() public {
        bytes memory signature = signOpening(KEY, REFERENCE, 10 ether);
        vm.prank(owner);
        token.approve(address(payment), 10 ether);
        openWithoutPermit(signature, 10 ether);
        vm.assertEq(token.balanceOf(address(payment)), 10 ether, "balance");
    }

    function test_openAccount_reverts_byOthers() public {
        vm.expectRevert(
            abi.encodeWithSelector(ISessionPayment.SessionPaymentNotManager.selector, address(this))
        );
        payment.openAccount(SessionId.wrap(1), owner, 1, 0, 0, 0, 0);
    }

    function test_openSession_creditsWhatArrived_ofFeeToken() public {
        FeeToken fee = new FeeToken();
        deployAround(address(fee));
        fee.mint(owner, 1000 ether);
        SessionId id = openSession(KEY, REFERENCE, 100 ether);
        vm.assertEq(payment.accountOf(id).held, 99 ether, "held");
        vm.assertEq(fee.balanceOf(address(payment)), 99 ether, "balance");

        payment.closeSession(id, 0, closing(id, 0));
        vm.assertEq(fee.balanceOf(address(payment)), 0, "balance after");
        (uint256 deposited,, uint256 refunded, uint256 held,) = payment.money();
        vm.assertEq(deposited, refunded, "refunded");
        vm.assertEq(held, 0, "held after");
    }

    function test_openSession_reverts_whenTokenReturnsFalse() public {
        RefusingToken refusing = new RefusingToken();
        deployAround(address(refusing));
        refusing.refuse(true);
        bytes memory signature = signOpening(KEY, REFERENCE, 10 ether);
        vm.expectRevert(
            abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(refusing))
        );
        openWithoutPermit(signature, 10 ether);
    }

    function test_openSession_isNotReentered_byToken() public {
        ReentrantToken evil = new ReentrantToken();
        deployAround(address(evil));
        evil.mint(owner, 10 ether);
        evil.mint(address(evil), 10 ether);
        SessionId id = openSession(KEY, "first", 1 ether);
        // A deposit inside the transfer would be counted by both, if it were let in.
        evil.attack(address(payment), abi.encodeCall(ISessionPayment.deposit, (id, 1 ether)));
        openSession(KEY, REFERENCE, 2 ether);
        vm.assertEq(evil.attempts(), 1, "attempts");
        vm.assertEq(evil.successes(), 0, "successes");
        vm.assertEq(
            bytes32(bytes4(evil.lastReason())),
            bytes32(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "reason"
        );
    }

    // changePolicy

    function relay(
        ISessionManager target,
        SessionId id,
        bytes32 policyHash,
        uint64 nonce,
        bytes memory signature
    ) private {
        vm.prank(OPERATOR);
        target.changePolicy(id, policyHash, nonce, signature);
    }

    function test_changePolicy_reverts_byAnyoneButOperator() public {
        SessionId id = openSession(KEY, REFERENCE, 10 ether);
        bytes memory signature = signPolicy(KEY, id, "new", 0);
        vm.expectRevert(
            abi.encodeWithSelector(ISessionManager.SessionManagerNotOperator.selector, owner)
        );
        vm.prank(owner);
        manager.changePolicy(id, "new", 0, signature);
    }

    function test_changePolicy_replacesHash_andCounts_byOperator() public {
        SessionId id = openSession(KEY, REFERENCE, 10 ether);
        for (uint64 nonce = 0; nonce < 3; nonce++) {
            bytes32 policy = keccak256(abi.encode(nonce));
            bytes memory signature = signPolicy(KEY, id, policy, nonce);
            vm.expectEmit(address(manager));
            emit ISessionManager.SessionUpdated(id, policy, nonce);
            relay(manager, id, policy, nonce, signature);
            vm.assertEq(manager.sessionOf(id).policyHash, policy, "policy");
            vm.assertEq(manager.sessionOf(id).policyNonce, nonce + 1, "nonce");
        }
        vm.assertEq(payment.accountOf(id).held, 10 ether, "held");
    }

    function test_changePolicy_reverts_whenNonceIsNotNext() public {
        SessionId id = openSession(KEY, REFERENCE, 10 ether);
        bytes memory signature = signPolicy(KEY, id, "new", 0);
        bytes memory ahead = signPolicy(KEY, id, "new", 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                ISessionManager.SessionManagerNonceInvalid.selector, id, uint64(1), uint64(0)
            )
        );
        relay(manager, id, "new", 1, ahead);
        relay(manager, id, "new", 0, signature);
        vm.expectPartialRevert(ISessionManager.SessionManagerNonceInvalid.selector);
        relay(manager, id, "new", 0, signature);
        // The signature over nonce 0 does not pass as one over nonce 1.
        vm.expectPartialRevert(ISessionManager.SessionManagerSignatureInvalid.selector);
        relay(manager, id, "new", 1, signature);
    }

    function test_changePolicy_reverts_byOthers_andForOtherSessions() public {
        SessionId id = openSession(KEY, REFERENCE, 10 ether);
        SessionId other = openSession(KEY, "other", 10 ether);
        bytes memory foreign = signPolicy(0xb0b, id, "new", 0);
        bytes memory signature = signPolicy(KEY, id, "new", 0);
        vm.expectRevert(
            abi.encodeWithSelector(ISessionManager.SessionManagerSignatureInvalid.selector, owner)
        );
        relay(manager, id, "new", 0, foreign);
        vm.expectPartialRevert(ISessionManager.SessionManagerSignatureInvalid.selector);
        relay(manager, other, "new", 0, signature);
        vm.expectPartialRevert(ISessionManager.SessionManagerSignatureInvalid.selector);
        relay(manager, id, "newer", 0, signature);
        vm.expectRevert(
            abi.encodeWithSelector(
                ISessionManager.SessionManagerNotOpen.selector, SessionId.wrap(1)
            )
        );
        relay(manager, SessionId.wrap(1), "new", 0, signature);
    }

    function test_changePolicy_reverts_whenSignedForAnotherChainOrContract() public {
        SessionId id = openSession(KEY, REFERENCE, 10 ether);
        bytes memory signature = signPolicy(KEY, id, "new", 0);
        vm.chainId(block.chainid + 1);
        vm.expectPartialRevert(ISessionManager.SessionManagerSignatureInvalid.selector);
        relay(manager, id, "new", 0, signature);
        vm.chainId(31337);
        ISessionManager original = manager;
        deployAround(address(token));
        SessionId twin = openSession(KEY, REFERENCE, 10 ether);
        vm.expectPartialRevert(ISessionManager.SessionManagerSignatureInvalid.selector);
        relay(manager, twin, "new", 0, signature);
        relay(original, id, "new", 0, signature);
    }

    function test_changePolicy_passes_whileExiting_andRevertsOnceClosed() public {
        SessionId id = openSession(KEY, REFERENCE, 10 ether);
        vm.prank(owner);
        payment.requestExit(id);
        relay(manager, id, "new", 0, signPolicy(KEY, id, "new", 0));
        payment.closeSession(id, 0, closing(id, 0));
        bytes memory signature = signPolicy(KEY, id, "newer", 1);
        vm.expectPartialRevert(ISessionManager.SessionManagerNotOpen.selector);
        relay(manager, id, "newer", 1, signature);
    }

    function test_changePolicy_passes_whenOwnerIsContract() public {
        Wallet wallet = new Wallet();
        token.mint(address(wallet), 1 ether);
        wallet.call(address(token), abi.encodeCall(token.approve, (address(payment), 1 ether)));
        bytes32 opening = keccak256(
            abi.encode(
                manager.OPEN_SESSION_TYPEHASH(), address(wallet), REFERENCE, bytes32(0), 1 ether
            )
        );
        wallet.approveDigest(digestOf(address(manager), opening));
        SessionId id = manager.openSession(address(wallet), REFERENCE, 0, 1 ether, "", 0, 0, 0, 0);
        bytes32 change =
            keccak256(abi.encode(manager.CHANGE_POLICY_TYPEHASH(), id, bytes32("new"), uint64(0)));
        vm.expectPartialRevert(ISessionManager.SessionManagerSignatureInvalid.selector);
        relay(manager, id, "new", 0, "");
        wallet.approveDigest(digestOf(address(manager), change));
        relay(manager, id, "new", 0, "");
        vm.assertEq(manager.sessionOf(id).policyHash, "new", "policy");
    }

    function openWithoutPermit(bytes memory signature, uint256 deposit) private {
        manager.openSession(owner, REFERENCE, keccak256("policy"), deposit, signature, 0, 0, 0, 0);
    }
}
