// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {NodeKind} from "../src/health/INodePool.sol";
import {NodeRole, NodeStatus} from "../src/onboarding/INodeRegistry.sol";
import {ServiceHandler} from "./ServiceHandler.sol";

/// @dev Everything that owners, nodes, miners, contracts and the committee do, in any order: each
/// action folds its fuzzed numbers into a valid call, or does nothing where there is none. Attempts
/// to do twice what may happen once are made as well and must fail.
contract Handler is ServiceHandler {
    uint256 private constant NODES = 5;

    uint256 public totalStaked;

    /// @dev Kept, since deriving an address from its key costs more than all else here.
    address[] private _nodes;
    uint64 private _epoch;

    function setUp() public override {
        super.setUp();
        for (uint256 i = 0; i < NODES; i++) {
            _nodes.push(vm.addr(100 + i));
        }
    }

    function registerNode(uint256 who, uint256 stake) external {
        uint256 key = 100 + who % NODES;
        NodeStatus status = registry.nodeOf(nodeAt(who)).status;
        if (status != NodeStatus.None && status != NodeStatus.Exited) return;
        stake = bound(stake, MINIMUM_STAKE, 10 * MINIMUM_STAKE);
        token.mint(nodeAt(who), stake);
        register(key, NodeRole.Miner, stake, block.timestamp + uint256(nextSalt()) % 1 days);
        totalStaked += stake;
    }

    function admitNode(uint256 who) external {
        (bool found, address node) = pickNode(who, NodeStatus.Pending);
        if (!found) return;
        bytes32 evidence = nextSalt();
        registry.admit(node, evidence, admission(node, evidence));
    }

    function jailNode(uint256 who) external {
        (bool found, address node) = pickNode(who, NodeStatus.Active);
        if (!found) return;
        bytes32 evidence = nextSalt();
        registry.jail(node, _epoch, evidence, jailing(node, _epoch, evidence));
    }

    function releaseNode(uint256 who) external {
        (bool found, address node) = pickNode(who, NodeStatus.Jailed);
        if (!found) return;
        bytes32 evidence = nextSalt();
        registry.release(node, _epoch, evidence, releasing(node, _epoch, evidence));
    }

    function slashNode(uint256 who, uint256 amount) external {
        address node = nodeAt(who);
        if (registry.nodeOf(node).stake == 0) return;
        amount = bound(amount, 0, 11 * MINIMUM_STAKE);
        bytes32 evidence = nextSalt();
        registry.slash(node, amount, evidence, slashing(node, amount, evidence));
    }

    function requestExitOfNode(uint256 who) external {
        address node = nodeAt(who);
        NodeStatus status = registry.nodeOf(node).status;
        if (
            status == NodeStatus.None || status == NodeStatus.Exiting || status == NodeStatus.Exited
        ) return;
        vm.prank(node);
        registry.requestExit();
    }

    function withdrawStake(uint256 who) external {
        (bool found, address node) = pickNode(who, NodeStatus.Exiting);
        if (!found) return;
        uint64 unbondedAt = registry.nodeOf(node).unbondedAt;
        if (block.timestamp < unbondedAt) vm.warp(unbondedAt);
        vm.prank(node);
        registry.withdraw();
    }

    function reportEpoch(uint256 who) external {
        bytes32 root = nextSalt();
        bytes memory scores = abi.encodePacked(nodeAt(who), uint16(5000), uint8(5));
        ledger.reportEpoch(++_epoch, root, scores, root, reporting(_epoch, root, scores, root));
    }

    function enterPool(uint256 who, uint256 kind) external {
        bytes32 evidence = nextSalt();
        NodeKind to = NodeKind(bound(kind, 1, 3));
        pool.enterPool(nodeAt(who), to, evidence, entering(nodeAt(who), to, evidence));
    }

    /// @dev The actions above and those on the service layer; `setUp` and the views are none.
    function actions() external pure returns (bytes4[] memory list) {
        bytes4[] memory service = serviceActions();
        bytes4[9] memory own = [
            this.registerNode.selector,
            this.admitNode.selector,
            this.jailNode.selector,
            this.releaseNode.selector,
            this.slashNode.selector,
            this.requestExitOfNode.selector,
            this.withdrawStake.selector,
            this.reportEpoch.selector,
            this.enterPool.selector
        ];
        list = new bytes4[](service.length + own.length);
        for (uint256 i = 0; i < list.length; i++) {
            list[i] = i < service.length ? service[i] : own[i - service.length];
        }
    }

    // What the invariants look at

    function contracts() external view returns (address, address, address, address) {
        return (address(token), address(registry), address(payment), address(manager));
    }

    function treasuries() external pure returns (address, address) {
        return (SLASH_TREASURY, FEE_TREASURY);
    }

    function sumOfStakes() external view returns (uint256 sum) {
        for (uint256 i = 0; i < NODES; i++) {
            sum += registry.nodeOf(nodeAt(i)).stake;
        }
    }

    // Helpers

    function nodeAt(uint256 which) private view returns (address) {
        return _nodes[which % NODES];
    }

    function pickNode(uint256 which, NodeStatus status) private view returns (bool, address) {
        for (uint256 i = 0; i < NODES; i++) {
            address node = nodeAt(addmod(which, i, NODES));
            if (registry.nodeOf(node).status == status) return (true, node);
        }
        return (false, address(0));
    }
}
