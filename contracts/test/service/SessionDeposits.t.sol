// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {AccountStatus, ISessionPayment} from "../../src/service/ISessionPayment.sol";
import {SessionId} from "../../src/service/SessionId.sol";
import {ICommitteeSigned} from "../../src/signing/ICommitteeSigned.sol";
import {IOracleCommittee} from "../../src/signing/IOracleCommittee.sol";
import {FeeToken, ReentrantToken, RefusingToken} from "../hostile/Tokens.sol";
import {Wallet} from "../hostile/Wallets.sol";
import {ServiceWorld} from "../ServiceWorld.sol";

/// @dev Deposits by relay, and what an owner takes back while its session goes on.
contract SessionDepositsTest is ServiceWorld {
    uint256 private constant KEY = 0xa11ce;
    uint256 private constant PAYER_KEY = 0xb0b;
    bytes32 private constant REFERENCE = keccak256("reference");
    address private owner = vm.addr(KEY);
    address private payer = vm.addr(PAYER_KEY);
    SessionId private id;

    function setUp() public override {
        super.setUp();
        token.mint(owner, 100 ether);
        token.mint(payer, 100 ether);
        id = openSession(KEY, "session", 100 ether);
    }

    // depositFor

    function test_depositFor_adds_withPermit_byAnyone() public {
        bytes memory signature = signDeposit(PAYER_KEY, id, 5 ether, REFERENCE);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(PAYER_KEY, address(payment), 5 ether);
        vm.expectEmit(address(payment));
        emit ISessionPayment.SessionDeposited(id, payer, 5 ether, 105 ether);
        payment.depositFor(id, payer, 5 ether, REFERENCE, signature, NO_DEADLINE, v, r, s);
        assertMoney(105 ether, 0, 0, 105 ether, 0);
    }

    function test_depositFor_passes_whenPermitWasFrontRun() public {
        bytes memory signature = signDeposit(PAYER_KEY, id, 5 ether, REFERENCE);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(PAYER_KEY, address(payment), 5 ether);
        (bool hasPassed,) = address(token)
            .call(
                abi.encodeWithSignature(
                    "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
                    payer,
                    address(payment),
                    5 ether,
                    NO_DEADLINE,
                    v,
                    r,
                    s
                )
            );
        vm.assertTrue(hasPassed, "permit");
        payment.depositFor(id, payer, 5 ether, REFERENCE, signature, NO_DEADLINE, v, r, s);
        assertMoney(105 ether, 0, 0, 105 ether, 0);
    }

    function test_depositFor_reverts_secondTime() public {
        depositFor(PAYER_KEY, id, 5 ether, REFERENCE);
        bytes memory signature = signDeposit(PAYER_KEY, id, 5 ether, REFERENCE);
        vm.prank(payer);
        token.approve(address(payment), 5 ether);
        vm.expectPartialRevert(ICommitteeSigned.CommitteeSignedDigestUsed.selector);
        deposit(signature, 5 ether);
        depositFor(PAYER_KEY, id, 5 ether, "another");
        assertMoney(110 ether, 0, 0, 110 ether, 0);
    }

    function test_depositFor_reverts_whenFieldDiffers() public {
        bytes memory signature = signDeposit(PAYER_KEY, id, 5 ether, REFERENCE);
        vm.prank(payer);
        token.approve(address(payment), 100 ether);
        vm.expectRevert(
            abi.encodeWithSelector(ISessionPayment.SessionPaymentSignatureInvalid.selector, payer)
        );
        deposit(signature, 6 ether);
        // Another session of the same payer: the approval would cover it, the signature does not.
        token.mint(owner, 1 ether);
        id = openSession(KEY, "other", 1 ether);
        vm.expectPartialRevert(ISessionPayment.SessionPaymentSignatureInvalid.selector);
        deposit(signature, 5 ether);
    }

    function test_depositFor_reverts_whenSignedForAnotherChainOrContract() public {
        bytes memory signature = signDeposit(PAYER_KEY, id, 5 ether, REFERENCE);
        vm.prank(payer);
        token.approve(address(payment), 100 ether);
        vm.chainId(block.chainid + 1);
        vm.expectPartialRevert(ISessionPayment.SessionPaymentSignatureInvalid.selector);
        deposit(signature, 5 ether);

        vm.chainId(31337);
        address original = address(payment);
        SessionId first = id;
        deployAround(address(token));
        token.mint(owner, 1 ether);
        id = openSession(KEY, "session", 1 ether);
        vm.prank(payer);
        token.approve(address(payment), 100 ether);
        vm.expectPartialRevert(ISessionPayment.SessionPaymentSignatureInvalid.selector);
        deposit(signature, 5 ether);
        (bool hasPassed,) = original.call(
            abi.encodeCall(
                payment.depositFor, (first, payer, 5 ether, REFERENCE, signature, 0, 0, 0, 0)
            )
        );
        vm.assertTrue(hasPassed, "the contract it was signed for refused");
    }

    function test_depositFor_reverts_withoutPermitOrAllowance() public {
        bytes memory signature = signDeposit(PAYER_KEY, id, 5 ether, REFERENCE);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        deposit(signature, 5 ether);
    }

    function test_depositFor_reverts_withExpiredPermit() public {
        bytes memory signature = signDeposit(PAYER_KEY, id, 5 ether, REFERENCE);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(PAYER_KEY, address(payment), 5 ether);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        payment.depositFor(id, payer, 5 ether, REFERENCE, signature, block.timestamp - 1, v, r, s);
    }

    function test_depositFor_reverts_withNothing() public {
        bytes memory signature = signDeposit(PAYER_KEY, id, 0, REFERENCE);
        vm.expectRevert(ISessionPayment.SessionPaymentDepositZero.selector);
        deposit(signature, 0);
    }

    function test_depositFor_reverts_whenSessionIsNotOpen() public {
        payment.closeSession(id, 0, closing(id, 0));
        bytes memory signature = signDeposit(PAYER_KEY, id, 5 ether, REFERENCE);
        vm.expectRevert(
            abi.encodeWithSelector(
                ISessionPayment.SessionPaymentStatusInvalid.selector, id, AccountStatus.Closed
            )
        );
        deposit(signature, 5 ether);
    }

    function test_depositFor_reverts_withMoreThanBooksHold() public {
        bytes memory signature = signDeposit(PAYER_KEY, id, type(uint256).max, REFERENCE);
        vm.prank(payer);
        token.approve(address(payment), type(uint256).max);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientBalance.selector);
        deposit(signature, type(uint256).max);
    }

    function test_depositFor_passes_whenPayerIsContract() public {
        Wallet wallet = new Wallet();
        token.mint(address(wallet), 5 ether);
        wallet.call(address(token), abi.encodeCall(token.approve, (address(payment), 5 ether)));
        bytes32 structHash = keccak256(
            abi.encode(payment.DEPOSIT_TYPEHASH(), id, address(wallet), 5 ether, REFERENCE)
        );
        vm.expectPartialRevert(ISessionPayment.SessionPaymentSignatureInvalid.selector);
        payment.depositFor(id, address(wallet), 5 ether, REFERENCE, "", 0, 0, 0, 0);
        wallet.approveDigest(digestOf(address(payment), structHash));
        payment.depositFor(id, address(wallet), 5 ether, REFERENCE, "", 0, 0, 0, 0);
        assertMoney(105 ether, 0, 0, 105 ether, 0);
    }

    function test_depositFor_creditsWhatArrived_ofFeeToken() public {
        FeeToken fee = new FeeToken();
        deployAround(address(fee));
        fee.mint(owner, 100 ether);
        fee.mint(payer, 100 ether);
        id = openSession(KEY, "session", 100 ether);
        depositFor(PAYER_KEY, id, 100 ether, REFERENCE);
        vm.assertEq(payment.accountOf(id).held, 198 ether, "held");
        assertMoney(198 ether, 0, 0, 198 ether, 0);
    }

    function test_depositFor_reverts_whenTokenReturnsFalse() public {
        RefusingToken refusing = new RefusingToken();
        deployAround(address(refusing));
        refusing.mint(owner, 100 ether);
        id = openSession(KEY, "session", 100 ether);
        refusing.refuse(true);
        bytes memory signature = signDeposit(PAYER_KEY, id, 5 ether, REFERENCE);
        vm.expectPartialRevert(SafeERC20.SafeERC20FailedOperation.selector);
        deposit(signature, 5 ether);
        vm.assertEq(payment.accountOf(id).held, 100 ether, "held");
    }

    function test_depositFor_isNotReentered_byToken() public {
        ReentrantToken evil = new ReentrantToken();
        deployAround(address(evil));
        evil.mint(owner, 1 ether);
        evil.mint(payer, 5 ether);
        evil.mint(address(evil), 5 ether);
        id = openSession(KEY, "session", 1 ether);
        evil.attack(address(payment), abi.encodeCall(payment.deposit, (id, 1 ether)));
        depositFor(PAYER_KEY, id, 5 ether, REFERENCE);
        vm.assertEq(evil.attempts(), 1, "attempts");
        vm.assertEq(evil.successes(), 0, "successes");
        assertMoney(6 ether, 0, 0, 6 ether, 0);
    }

    // withdrawDeposit

    function test_withdrawDeposit_paysOwner_byAnyone() public {
        (bytes memory mine, bytes[] memory theirs) = withdrawing(KEY, id, 30 ether, REFERENCE);
        vm.expectEmit(address(payment));
        emit ISessionPayment.DepositWithdrawn(id, owner, 30 ether, 70 ether);
        payment.withdrawDeposit(id, 30 ether, REFERENCE, mine, theirs);
        vm.assertEq(token.balanceOf(owner), 30 ether, "owner");
        vm.assertEq(payment.accountOf(id).held, 70 ether, "held");
        assertMoney(100 ether, 0, 30 ether, 70 ether, 0);

        vm.expectPartialRevert(ICommitteeSigned.CommitteeSignedDigestUsed.selector);
        payment.withdrawDeposit(id, 30 ether, REFERENCE, mine, theirs);
    }

    function test_fuzz_withdrawDeposit_closesBooks(uint128 first, uint128 second) public {
        first = uint128(bound(first, 1, 50 ether));
        second = uint128(bound(second, 1, 50 ether));
        withdraw(first, "first");
        withdraw(second, "second");
        uint256 left = 100 ether - uint256(first) - second;
        assertMoney(100 ether, 0, uint256(first) + second, left, 0);
        payment.closeSession(id, 0, closing(id, 0));
        assertMoney(100 ether, 0, 100 ether, 0, 0);
        vm.assertEq(token.balanceOf(owner), 100 ether, "owner");
    }

    function test_withdrawDeposit_reverts_withZeroOrMoreThanHeld() public {
        for (uint256 i = 0; i < 3; i++) {
            uint256 amount = i == 0 ? 0 : i == 1 ? 100 ether + 1 : type(uint256).max;
            (bytes memory mine, bytes[] memory theirs) = withdrawing(KEY, id, amount, REFERENCE);
            vm.expectRevert(
                abi.encodeWithSelector(
                    ISessionPayment.SessionPaymentAmountInvalid.selector, id, amount, 100 ether
                )
            );
            payment.withdrawDeposit(id, amount, REFERENCE, mine, theirs);
        }
        withdraw(100 ether, "all");
        assertMoney(100 ether, 0, 100 ether, 0, 0);
    }

    function test_withdrawDeposit_reverts_withoutOwnerOrQuorum() public {
        (bytes memory mine, bytes[] memory theirs) = withdrawing(KEY, id, 1 ether, REFERENCE);
        (bytes memory foreign,) = withdrawing(PAYER_KEY, id, 1 ether, REFERENCE);
        vm.expectRevert(
            abi.encodeWithSelector(ISessionPayment.SessionPaymentSignatureInvalid.selector, owner)
        );
        payment.withdrawDeposit(id, 1 ether, REFERENCE, foreign, theirs);
        bytes[] memory none = new bytes[](0);
        vm.expectPartialRevert(IOracleCommittee.OracleCommitteeBelowQuorum.selector);
        payment.withdrawDeposit(id, 1 ether, REFERENCE, mine, none);
        vm.assertTrue(
            !payment.isUsed(digestOf(address(payment), withdrawalHash(id, 1 ether, REFERENCE))),
            "used"
        );
    }

    function test_withdrawDeposit_reverts_forAnotherSessionChainOrContract() public {
        (bytes memory mine, bytes[] memory theirs) = withdrawing(KEY, id, 1 ether, REFERENCE);
        token.mint(owner, 2 ether);
        SessionId other = openSession(KEY, "other", 1 ether);
        vm.expectPartialRevert(IOracleCommittee.OracleCommitteeNotMember.selector);
        payment.withdrawDeposit(other, 1 ether, REFERENCE, mine, theirs);
        vm.chainId(block.chainid + 1);
        vm.expectPartialRevert(IOracleCommittee.OracleCommitteeNotMember.selector);
        payment.withdrawDeposit(id, 1 ether, REFERENCE, mine, theirs);

        vm.chainId(31337);
        address original = address(payment);
        deployAround(address(token));
        SessionId twin = openSession(KEY, "session", 1 ether);
        vm.expectPartialRevert(IOracleCommittee.OracleCommitteeNotMember.selector);
        payment.withdrawDeposit(twin, 1 ether, REFERENCE, mine, theirs);
        (bool hasPassed,) = original.call(
            abi.encodeCall(payment.withdrawDeposit, (id, 1 ether, REFERENCE, mine, theirs))
        );
        vm.assertTrue(hasPassed, "the contract it was signed for refused");
    }

    function test_withdrawDeposit_reverts_whileExiting_andOnceClosed() public {
        (bytes memory mine, bytes[] memory theirs) = withdrawing(KEY, id, 1 ether, REFERENCE);
        vm.prank(owner);
        payment.requestExit(id);
        vm.expectPartialRevert(ISessionPayment.SessionPaymentStatusInvalid.selector);
        payment.withdrawDeposit(id, 1 ether, REFERENCE, mine, theirs);
        payment.closeSession(id, 0, closing(id, 0));
        vm.expectPartialRevert(ISessionPayment.SessionPaymentStatusInvalid.selector);
        payment.withdrawDeposit(id, 1 ether, REFERENCE, mine, theirs);
    }

    function test_withdrawDeposit_passes_whenOwnerIsContract() public {
        Wallet wallet = new Wallet();
        token.mint(address(wallet), 5 ether);
        wallet.call(address(token), abi.encodeCall(token.approve, (address(payment), 5 ether)));
        bytes32 opening = keccak256(
            abi.encode(
                manager.OPEN_SESSION_TYPEHASH(), address(wallet), REFERENCE, bytes32(0), 5 ether
            )
        );
        wallet.approveDigest(digestOf(address(manager), opening));
        SessionId its = manager.openSession(address(wallet), REFERENCE, 0, 5 ether, "", 0, 0, 0, 0);
        bytes32 structHash = withdrawalHash(its, 2 ether, REFERENCE);
        wallet.approveDigest(digestOf(address(payment), structHash));
        payment.withdrawDeposit(
            its, 2 ether, REFERENCE, "", quorumOver(address(payment), structHash)
        );
        vm.assertEq(token.balanceOf(address(wallet)), 2 ether, "wallet");
    }

    function test_withdrawDeposit_isNotReentered_byToken() public {
        ReentrantToken evil = new ReentrantToken();
        deployAround(address(evil));
        evil.mint(owner, 10 ether);
        id = openSession(KEY, "session", 10 ether);
        (bytes memory mine, bytes[] memory theirs) = withdrawing(KEY, id, 1 ether, "second");
        evil.attack(
            address(payment),
            abi.encodeCall(payment.withdrawDeposit, (id, 1 ether, "second", mine, theirs))
        );
        withdraw(1 ether, "first");
        vm.assertEq(evil.attempts(), 1, "attempts");
        vm.assertEq(evil.successes(), 0, "successes");
        assertMoney(10 ether, 0, 1 ether, 9 ether, 0);
    }

    function test_withdrawDeposit_reverts_whenTokenReturnsFalse() public {
        RefusingToken refusing = new RefusingToken();
        deployAround(address(refusing));
        refusing.mint(owner, 10 ether);
        id = openSession(KEY, "session", 10 ether);
        refusing.refuse(true);
        (bytes memory mine, bytes[] memory theirs) = withdrawing(KEY, id, 1 ether, REFERENCE);
        vm.expectPartialRevert(SafeERC20.SafeERC20FailedOperation.selector);
        payment.withdrawDeposit(id, 1 ether, REFERENCE, mine, theirs);
        refusing.refuse(false);
        payment.withdrawDeposit(id, 1 ether, REFERENCE, mine, theirs);
        assertMoney(10 ether, 0, 1 ether, 9 ether, 0);
    }

    function deposit(bytes memory signature, uint256 amount) private {
        payment.depositFor(id, payer, amount, REFERENCE, signature, 0, 0, 0, 0);
    }

    function withdraw(uint256 amount, bytes32 clientReference) private {
        (bytes memory mine, bytes[] memory theirs) = withdrawing(KEY, id, amount, clientReference);
        payment.withdrawDeposit(id, amount, clientReference, mine, theirs);
    }
}
