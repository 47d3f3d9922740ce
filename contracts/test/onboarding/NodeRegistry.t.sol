// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {
    INodeRegistry,
    NodeRole,
    NodeStatus,
    NodeView
} from "../../src/onboarding/INodeRegistry.sol";
import {ICommitteeSigned} from "../../src/signing/ICommitteeSigned.sol";
import {World} from "../World.sol";
import {FeeToken, ReentrantToken, RefusingToken} from "../hostile/Tokens.sol";

contract NodeRegistryTest is World {
    uint256 private constant KEY = 0xa0de;
    bytes32 private constant EVIDENCE = keccak256("evidence");
    address private node = vm.addr(KEY);

    function setUp() public override {
        super.setUp();
        token.mint(node, 1000 ether);
    }

    // register

    function test_register_takesStake_withPermit() public {
        register(KEY, MINIMUM_STAKE);
        NodeView memory self = registry.nodeOf(node);
        vm.assertEq(uint256(self.status), uint256(NodeStatus.Pending), "status");
        vm.assertEq(uint256(self.role), uint256(NodeRole.Miner), "role");
        vm.assertEq(self.stake, MINIMUM_STAKE, "stake");
        vm.assertEq(self.recipient, "age1node", "recipient");
        vm.assertEq(self.metadataCid, "bafknode", "metadata");
        vm.assertEq(token.balanceOf(address(registry)), MINIMUM_STAKE, "balance");
        vm.assertEq(registry.nodeCount(), 1, "count");
        vm.assertEq(registry.nodeAt(0), node, "first");
    }

    function test_register_takesStake_whenPermitWasUsedBefore() public {
        bytes memory signature =
            signRegistration(KEY, NodeRole.Miner, MINIMUM_STAKE, block.timestamp);
        vm.prank(node);
        token.approve(address(registry), MINIMUM_STAKE);
        registerWith(signature, block.timestamp);
        vm.assertEq(registry.nodeOf(node).stake, MINIMUM_STAKE, "stake");
    }

    function test_register_reverts_withoutPermitOrAllowance() public {
        bytes memory signature =
            signRegistration(KEY, NodeRole.Miner, MINIMUM_STAKE, block.timestamp);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        registerWith(signature, block.timestamp);
    }

    function test_register_reverts_belowMinimumStake() public {
        bytes memory signature =
            signRegistration(KEY, NodeRole.Miner, MINIMUM_STAKE - 1, block.timestamp);
        vm.prank(node);
        token.approve(address(registry), MINIMUM_STAKE);
        vm.expectRevert(
            abi.encodeWithSelector(
                INodeRegistry.NodeRegistryStakeTooLow.selector, MINIMUM_STAKE - 1, MINIMUM_STAKE
            )
        );
        registry.register(
            node,
            NodeRole.Miner,
            MINIMUM_STAKE - 1,
            "age1node",
            "bafknode",
            block.timestamp,
            signature,
            0,
            0,
            0,
            0
        );
    }

    function test_register_reverts_whenExpired() public {
        uint256 deadline = block.timestamp - 1;
        bytes memory signature = signRegistration(KEY, NodeRole.Miner, MINIMUM_STAKE, deadline);
        vm.expectRevert(
            abi.encodeWithSelector(INodeRegistry.NodeRegistryExpired.selector, deadline)
        );
        registerWith(signature, deadline);
    }

    function test_register_reverts_whenSignedByAnother() public {
        bytes memory signature =
            signRegistration(0xbad, NodeRole.Miner, MINIMUM_STAKE, block.timestamp);
        vm.expectRevert(
            abi.encodeWithSelector(INodeRegistry.NodeRegistrySignatureInvalid.selector, node)
        );
        registerWith(signature, block.timestamp);
    }

    function test_register_reverts_whenSignedForAnotherChainOrContract() public {
        bytes memory signature =
            signRegistration(KEY, NodeRole.Miner, MINIMUM_STAKE, block.timestamp);
        vm.chainId(block.chainid + 1);
        vm.expectPartialRevert(INodeRegistry.NodeRegistrySignatureInvalid.selector);
        registerWith(signature, block.timestamp);

        vm.chainId(31337);
        deployAround(address(token));
        vm.expectPartialRevert(INodeRegistry.NodeRegistrySignatureInvalid.selector);
        registerWith(signature, block.timestamp);
    }

    function test_register_reverts_twice() public {
        register(KEY, MINIMUM_STAKE);
        bytes memory signature =
            signRegistration(KEY, NodeRole.Miner, MINIMUM_STAKE, block.timestamp);
        vm.expectRevert(
            abi.encodeWithSelector(
                INodeRegistry.NodeRegistryStatusInvalid.selector, node, NodeStatus.Pending
            )
        );
        registerWith(signature, block.timestamp);
    }

    function test_register_countsWhatArrived_ofFeeToken() public {
        FeeToken fee = new FeeToken();
        deployAround(address(fee));
        fee.mint(node, 1000 ether);
        register(KEY, 200 ether);
        vm.assertEq(registry.nodeOf(node).stake, 198 ether, "stake");
        assertBooks(198 ether, 0, 0, 198 ether);

        vm.prank(node);
        registry.requestExit();
        vm.warp(block.timestamp + UNBONDING);
        vm.prank(node);
        registry.withdraw();
        assertBooks(198 ether, 198 ether, 0, 0);
    }

    function test_register_reverts_whenFeeTokenFallsBelowMinimum() public {
        FeeToken fee = new FeeToken();
        deployAround(address(fee));
        fee.mint(node, 1000 ether);
        bytes memory signature =
            signRegistration(KEY, NodeRole.Miner, MINIMUM_STAKE, block.timestamp);
        vm.prank(node);
        fee.approve(address(registry), MINIMUM_STAKE);
        vm.expectPartialRevert(INodeRegistry.NodeRegistryStakeTooLow.selector);
        registerWith(signature, block.timestamp);
    }

    function test_register_reverts_whenTokenReturnsFalse() public {
        RefusingToken refusing = new RefusingToken();
        deployAround(address(refusing));
        refusing.refuse(true);
        bytes memory signature =
            signRegistration(KEY, NodeRole.Miner, MINIMUM_STAKE, block.timestamp);
        vm.expectRevert(
            abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(refusing))
        );
        registerWith(signature, block.timestamp);
    }

    function test_withdraw_isNotReentered_byToken() public {
        ReentrantToken evil = new ReentrantToken();
        deployAround(address(evil));
        evil.mint(node, 1000 ether);
        register(KEY, MINIMUM_STAKE);
        vm.prank(node);
        registry.requestExit();
        vm.warp(block.timestamp + UNBONDING);
        evil.attack(address(registry), abi.encodeCall(INodeRegistry.withdraw, ()));
        vm.prank(node);
        registry.withdraw();
        vm.assertEq(evil.attempts(), 1, "attempts");
        vm.assertEq(evil.successes(), 0, "successes");
        vm.assertEq(
            bytes32(bytes4(evil.lastReason())),
            bytes32(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "reason"
        );
        assertBooks(MINIMUM_STAKE, MINIMUM_STAKE, 0, 0);
    }

    // admit, jail, release

    function test_admit_activates_pendingNode() public {
        register(KEY, MINIMUM_STAKE);
        registry.admit(node, EVIDENCE, admission(node, EVIDENCE));
        assertStatus(NodeStatus.Active);
    }

    function test_admit_reverts_whenReplayedAfterReturn() public {
        registerAndAdmit();
        exitAfterDelay();
        register(KEY, NodeRole.Miner, MINIMUM_STAKE, block.timestamp + 2 hours);
        bytes[] memory signatures = admission(node, EVIDENCE);
        vm.expectPartialRevert(ICommitteeSigned.CommitteeSignedDigestUsed.selector);
        registry.admit(node, EVIDENCE, signatures);
    }

    function test_admit_reverts_unknownNode() public {
        bytes[] memory signatures = admission(node, EVIDENCE);
        vm.expectRevert(
            abi.encodeWithSelector(
                INodeRegistry.NodeRegistryStatusInvalid.selector, node, NodeStatus.None
            )
        );
        registry.admit(node, EVIDENCE, signatures);
    }

    function test_jail_and_release_followEpochs() public {
        registerAndAdmit();
        registry.jail(node, 7, EVIDENCE, jailing(node, 7, EVIDENCE));
        assertStatus(NodeStatus.Jailed);

        bytes[] memory old = releasing(node, 6, EVIDENCE);
        vm.expectRevert(
            abi.encodeWithSelector(INodeRegistry.NodeRegistryEpochTooOld.selector, 6, 7)
        );
        registry.release(node, 6, EVIDENCE, old);

        registry.release(node, 7, EVIDENCE, releasing(node, 7, EVIDENCE));
        assertStatus(NodeStatus.Active);
        vm.assertEq(registry.nodeOf(node).epoch, 7, "epoch");

        bytes[] memory replay = jailing(node, 7, EVIDENCE);
        vm.expectPartialRevert(ICommitteeSigned.CommitteeSignedDigestUsed.selector);
        registry.jail(node, 7, EVIDENCE, replay);
    }

    function test_jail_reverts_pendingNode() public {
        register(KEY, MINIMUM_STAKE);
        bytes[] memory signatures = jailing(node, 1, EVIDENCE);
        vm.expectPartialRevert(INodeRegistry.NodeRegistryStatusInvalid.selector);
        registry.jail(node, 1, EVIDENCE, signatures);
    }

    // slash

    function test_slash_paysTreasury_andIsCapped() public {
        registerAndAdmit();
        registry.slash(node, 30 ether, EVIDENCE, slashing(node, 30 ether, EVIDENCE));
        vm.assertEq(token.balanceOf(SLASH_TREASURY), 30 ether, "treasury");
        registry.slash(
            node, type(uint256).max, EVIDENCE, slashing(node, type(uint256).max, EVIDENCE)
        );
        vm.assertEq(token.balanceOf(SLASH_TREASURY), MINIMUM_STAKE, "treasury at the cap");
        assertBooks(MINIMUM_STAKE, 0, MINIMUM_STAKE, 0);

        bytes[] memory signatures = slashing(node, 1, EVIDENCE);
        vm.expectRevert(
            abi.encodeWithSelector(INodeRegistry.NodeRegistryNothingToSlash.selector, node)
        );
        registry.slash(node, 1, EVIDENCE, signatures);
    }

    function test_slash_reverts_whenReplayed() public {
        registerAndAdmit();
        bytes[] memory signatures = slashing(node, 1, EVIDENCE);
        registry.slash(node, 1, EVIDENCE, signatures);
        vm.expectPartialRevert(ICommitteeSigned.CommitteeSignedDigestUsed.selector);
        registry.slash(node, 1, EVIDENCE, signatures);
    }

    function test_slash_takes_whileExiting() public {
        registerAndAdmit();
        registry.jail(node, 1, EVIDENCE, jailing(node, 1, EVIDENCE));
        vm.prank(node);
        registry.requestExit();
        vm.warp(block.timestamp + UNBONDING);
        registry.slash(node, 40 ether, EVIDENCE, slashing(node, 40 ether, EVIDENCE));
        vm.prank(node);
        registry.withdraw();
        assertBooks(MINIMUM_STAKE, 60 ether, 40 ether, 0);
    }

    // requestExit, withdraw

    function test_withdraw_reverts_whileBonded() public {
        registerAndAdmit();
        vm.prank(node);
        registry.requestExit();
        uint64 unbondedAt = uint64(block.timestamp) + UNBONDING;
        vm.warp(unbondedAt - 1);
        vm.prank(node);
        vm.expectRevert(
            abi.encodeWithSelector(INodeRegistry.NodeRegistryStillBonded.selector, unbondedAt)
        );
        registry.withdraw();
    }

    function test_withdraw_reverts_withoutRequest() public {
        registerAndAdmit();
        vm.prank(node);
        vm.expectPartialRevert(INodeRegistry.NodeRegistryStatusInvalid.selector);
        registry.withdraw();
    }

    function test_requestExit_reverts_twice() public {
        registerAndAdmit();
        vm.prank(node);
        registry.requestExit();
        vm.prank(node);
        vm.expectPartialRevert(INodeRegistry.NodeRegistryStatusInvalid.selector);
        registry.requestExit();
    }

    function test_register_returns_afterExit() public {
        registerAndAdmit();
        exitAfterDelay();
        assertStatus(NodeStatus.Exited);
        register(KEY, NodeRole.Miner, MINIMUM_STAKE, block.timestamp + 2 hours);
        assertStatus(NodeStatus.Pending);
        vm.assertEq(registry.nodeCount(), 1, "count");
    }

    function test_register_reverts_whenReplayedAfterExit() public {
        vm.prank(node);
        token.approve(address(registry), type(uint256).max);
        uint256 deadline = block.timestamp + 30 days;
        bytes memory signature = signRegistration(KEY, NodeRole.Miner, MINIMUM_STAKE, deadline);
        registerWith(signature, deadline);
        exitAfterDelay();
        vm.expectRevert(
            abi.encodeWithSelector(
                INodeRegistry.NodeRegistryDeadlineNotNewer.selector, deadline, deadline
            )
        );
        registerWith(signature, deadline);
    }

    function test_register_reverts_inAnotherRole() public {
        registerAndAdmit();
        exitAfterDelay();
        uint256 deadline = block.timestamp + 2 hours;
        bytes memory signature = signRegistration(KEY, NodeRole.Router, MINIMUM_STAKE, deadline);
        vm.expectRevert(
            abi.encodeWithSelector(
                INodeRegistry.NodeRegistryRoleFixed.selector, node, NodeRole.Miner
            )
        );
        registry.register(
            node,
            NodeRole.Router,
            MINIMUM_STAKE,
            "age1node",
            "bafknode",
            deadline,
            signature,
            0,
            0,
            0,
            0
        );
    }

    // nodesOf

    function test_nodesOf_pages() public {
        for (uint256 i = 1; i <= 5; i++) {
            token.mint(vm.addr(i), MINIMUM_STAKE);
            register(i, i == 3 ? NodeRole.Router : NodeRole.Miner, MINIMUM_STAKE, block.timestamp);
        }
        NodeView[] memory page = registry.nodesOf(NodeRole.Miner, 1, 2);
        vm.assertEq(page.length, 2, "length");
        vm.assertEq(page[0].node, vm.addr(2), "first");
        vm.assertEq(page[1].node, vm.addr(4), "second");
        vm.assertEq(registry.nodesOf(NodeRole.Miner, 3, 9).length, 1, "last page");
        vm.assertEq(registry.nodesOf(NodeRole.Miner, 9, type(uint256).max).length, 0, "beyond");
        vm.assertEq(registry.nodesOf(NodeRole.Router, 0, 9).length, 1, "routers");
    }

    function registerAndAdmit() private {
        register(KEY, MINIMUM_STAKE);
        registry.admit(node, EVIDENCE, admission(node, EVIDENCE));
    }

    function exitAfterDelay() private {
        vm.prank(node);
        registry.requestExit();
        vm.warp(block.timestamp + UNBONDING);
        vm.prank(node);
        registry.withdraw();
    }

    /// @dev Registers without a usable permit.
    function registerWith(bytes memory signature, uint256 deadline) private {
        registry.register(
            node,
            NodeRole.Miner,
            MINIMUM_STAKE,
            "age1node",
            "bafknode",
            deadline,
            signature,
            0,
            0,
            0,
            0
        );
    }

    function assertStatus(NodeStatus status) private view {
        vm.assertEq(uint256(registry.nodeOf(node).status), uint256(status), "status");
    }

    function assertBooks(uint256 staked, uint256 withdrawn, uint256 slashed, uint256 held)
        private
        view
    {
        (uint256 a, uint256 b, uint256 c, uint256 d) = registry.money();
        vm.assertEq(a, staked, "staked");
        vm.assertEq(b, withdrawn, "withdrawn");
        vm.assertEq(c, slashed, "slashed");
        vm.assertEq(d, held, "held");
        vm.assertEq(token.balanceOf(address(registry)), held, "balance");
    }
}
