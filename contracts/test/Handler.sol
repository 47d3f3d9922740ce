// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {NodeKind} from "../src/health/INodePool.sol";
import {NodeRole, NodeStatus, NodeView} from "../src/onboarding/INodeRegistry.sol";
import {
    Account,
    AccountStatus,
    ISessionPayment,
    MinerPayment,
    SessionCharge
} from "../src/service/ISessionPayment.sol";
import {SessionId} from "../src/service/SessionId.sol";
import {World} from "./World.sol";

/// @dev Everything that owners, nodes, miners and the committee do, in any order: each action folds
/// its fuzzed numbers into a valid call, or does nothing where there is none. Attempts to settle
/// twice are made as well and must fail.
contract Handler is World {
    uint256 private constant OWNERS = 4;
    uint256 private constant NODES = 5;
    uint256 private constant MINERS = 6;

    SessionId[] public sessions;
    /// @dev Tasks settled by session, as the handler counts them.
    mapping(SessionId => uint256) public settledTasks;
    mapping(SessionId => uint256) public nextOrdinal;
    uint256 public doublePayments;

    uint256 public totalDeposited;
    uint256 public totalStaked;

    bytes32[] private _batches;
    /// @dev Kept, since deriving an address from its key costs more than all else here.
    address[] private _nodes;
    uint256 private _salt;
    uint64 private _epoch;

    function setUp() public override {
        super.setUp();
        for (uint256 i = 0; i < NODES; i++) {
            _nodes.push(vm.addr(100 + i));
        }
    }

    function openSession(uint256 who, uint256 amount) public {
        uint256 key = 1 + who % OWNERS;
        amount = bound(amount, 1, 1_000 ether);
        token.mint(vm.addr(key), amount);
        sessions.push(openSession(key, nextSalt(), amount));
        totalDeposited += amount;
    }

    function deposit(uint256 which, uint256 amount) external {
        (bool found, SessionId id) = pick(which, AccountStatus.Open);
        if (!found) return;
        amount = bound(amount, 1, 1_000 ether);
        token.mint(address(this), amount);
        token.approve(address(payment), amount);
        payment.deposit(id, amount);
        totalDeposited += amount;
    }

    /// @dev One or two sessions, opened where there is none, one to eight fresh tasks each, now and
    /// then in a new word.
    function settle(uint256 which, uint256 tasks, uint256 amount, uint256 feeBps) external {
        (bool found, SessionId first) = pickOpen(which);
        if (!found) {
            openSession(which, amount);
            first = sessions[sessions.length - 1];
        }
        (, SessionId second) = pick(which / 2, AccountStatus.Open);
        bool isPair =
            SessionId.unwrap(second) != 0 && SessionId.unwrap(first) != SessionId.unwrap(second);
        SessionCharge[] memory charges = new SessionCharge[](isPair ? 2 : 1);
        uint256 total;
        for (uint256 i = 0; i < charges.length; i++) {
            SessionId id = i == 0 ? first : second;
            // Half of what is held, mostly: a session should live to see more than one batch.
            uint256 most = payment.accountOf(id).held / (amount % 8 == 0 ? 1 : 2);
            charges[i] = SessionCharge(id, 0, 0, uint128(bound(amount, 0, most)));
            total += charges[i].amount;
        }
        for (uint256 i = 0; i < charges.length; i++) {
            (charges[i].word, charges[i].mask) = takeTasks(charges[i].sessionId, tasks);
        }
        uint128 fee = uint128(total * bound(feeBps, 0, 10_000) / 10_000);
        MinerPayment[] memory payments = split(total - fee, which);
        bytes32 batchId = nextSalt();
        payment.settle(
            batchId,
            batchId,
            charges,
            payments,
            fee,
            settling(batchId, batchId, charges, payments, fee)
        );
        _batches.push(batchId);
    }

    /// @dev A quorum signs a task again, in a batch of its own.
    function settleTaskAgain(uint256 which, uint256 ordinal) external {
        (bool found, SessionId id) = pickOpen(which);
        if (!found || nextOrdinal[id] == 0) return;
        ordinal = ordinal % nextOrdinal[id];
        if (!payment.isTaskSettled(id, ordinal)) return;
        trySettle(nextSalt(), oneCharge(id, uint32(ordinal / 256), 1 << (ordinal % 256), 0));
    }

    /// @dev A quorum signs a batch again, with a fresh task in it.
    function settleBatchAgain(uint256 which, uint256 batch) external {
        (bool found, SessionId id) = pickOpen(which);
        if (!found || _batches.length == 0) return;
        uint256 ordinal = nextOrdinal[id];
        trySettle(
            _batches[batch % _batches.length],
            oneCharge(id, uint32(ordinal / 256), 1 << (ordinal % 256), 0)
        );
    }

    function closeSession(uint256 which) external {
        (bool found, SessionId id) = pickOpen(which);
        if (!found) return;
        uint256 charged = payment.accountOf(id).charged;
        payment.closeSession(id, charged, closing(id, charged));
    }

    function requestExitOfSession(uint256 which) external {
        (bool found, SessionId id) = pick(which, AccountStatus.Open);
        if (!found) return;
        vm.prank(payment.accountOf(id).owner);
        payment.requestExit(id);
    }

    function exitSession(uint256 which) external {
        (bool found, SessionId id) = pick(which, AccountStatus.Exiting);
        if (!found) return;
        Account memory account = payment.accountOf(id);
        if (block.timestamp < account.exitAt) vm.warp(account.exitAt);
        vm.prank(account.owner);
        payment.exit(id);
    }

    function withdrawEarnings(uint256 who) external {
        address account = who % (MINERS + 1) == 0 ? FEE_TREASURY : minerAt(who);
        if (payment.earningsOf(account) == 0) return;
        vm.prank(account);
        payment.withdraw();
    }

    function registerNode(uint256 who, uint256 stake) external {
        uint256 key = 100 + who % NODES;
        NodeStatus status = registry.nodeOf(nodeAt(who)).status;
        if (status != NodeStatus.None && status != NodeStatus.Exited) return;
        stake = bound(stake, MINIMUM_STAKE, 10 * MINIMUM_STAKE);
        token.mint(nodeAt(who), stake);
        register(key, NodeRole.Miner, stake, block.timestamp + ++_salt);
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

    /// @dev The actions above; `setUp` and the views are none.
    function actions() external pure returns (bytes4[] memory list) {
        list = new bytes4[](18);
        list[0] = this.openSession.selector;
        list[1] = this.deposit.selector;
        list[2] = this.settle.selector;
        list[3] = this.settleTaskAgain.selector;
        list[4] = this.settleBatchAgain.selector;
        list[5] = this.closeSession.selector;
        list[6] = this.requestExitOfSession.selector;
        list[7] = this.exitSession.selector;
        list[8] = this.withdrawEarnings.selector;
        list[9] = this.registerNode.selector;
        list[10] = this.admitNode.selector;
        list[11] = this.jailNode.selector;
        list[12] = this.releaseNode.selector;
        list[13] = this.slashNode.selector;
        list[14] = this.requestExitOfNode.selector;
        list[15] = this.withdrawStake.selector;
        list[16] = this.reportEpoch.selector;
        list[17] = this.enterPool.selector;
    }

    // What the invariants look at

    function contracts() external view returns (address, address, address) {
        return (address(token), address(registry), address(payment));
    }

    function treasuries() external pure returns (address, address) {
        return (SLASH_TREASURY, FEE_TREASURY);
    }

    function sessionCount() external view returns (uint256) {
        return sessions.length;
    }

    function sumOfEarnings() external view returns (uint256 sum) {
        sum = payment.earningsOf(FEE_TREASURY);
        for (uint256 i = 0; i < MINERS; i++) {
            sum += payment.earningsOf(minerAt(i));
        }
    }

    function sumOfStakes() external view returns (uint256 sum) {
        for (uint256 i = 0; i < NODES; i++) {
            sum += registry.nodeOf(nodeAt(i)).stake;
        }
    }

    // Helpers

    function minerAt(uint256 which) private pure returns (address) {
        return address(uint160(0x314e00 + which % MINERS));
    }

    function nodeAt(uint256 which) private view returns (address) {
        return _nodes[which % NODES];
    }

    function nextSalt() private returns (bytes32) {
        return keccak256(abi.encode("salt", ++_salt));
    }

    function pick(uint256 which, AccountStatus status) private view returns (bool, SessionId) {
        for (uint256 i = 0; i < sessions.length; i++) {
            SessionId id = sessions[addmod(which, i, sessions.length)];
            if (payment.accountOf(id).status == status) return (true, id);
        }
        return (false, SessionId.wrap(0));
    }

    /// @dev A session that can be settled and closed.
    function pickOpen(uint256 which) private view returns (bool found, SessionId id) {
        if (which % 4 == 0) (found, id) = pick(which, AccountStatus.Exiting);
        if (!found) (found, id) = pick(which, AccountStatus.Open);
    }

    function pickNode(uint256 which, NodeStatus status) private view returns (bool, address) {
        for (uint256 i = 0; i < NODES; i++) {
            address node = nodeAt(addmod(which, i, NODES));
            if (registry.nodeOf(node).status == status) return (true, node);
        }
        return (false, address(0));
    }

    function takeTasks(SessionId id, uint256 tasks) private returns (uint32 word, uint256 mask) {
        uint256 first = nextOrdinal[id];
        if (tasks % 5 == 0) first = (first / 256 + 1) * 256;
        uint256 count = bound(tasks, 1, 8);
        if (first % 256 + count > 256) count = 256 - first % 256;
        word = uint32(first / 256);
        mask = ((1 << count) - 1) << (first % 256);
        nextOrdinal[id] = first + count;
        settledTasks[id] += count;
    }

    function split(uint256 total, uint256 seed)
        private
        pure
        returns (MinerPayment[] memory payments)
    {
        payments = new MinerPayment[](3);
        payments[0] = MinerPayment(minerAt(seed), uint128(total / 3));
        payments[1] = MinerPayment(minerAt(addmod(seed, 1, MINERS)), uint128(total / 3));
        payments[2] =
            MinerPayment(minerAt(addmod(seed, 2, MINERS)), uint128(total - 2 * (total / 3)));
    }

    function trySettle(bytes32 batchId, SessionCharge[] memory charges) private {
        MinerPayment[] memory none = new MinerPayment[](0);
        bytes[] memory signatures = settling(batchId, batchId, charges, none, 0);
        try payment.settle(batchId, batchId, charges, none, 0, signatures) {
            doublePayments++;
        } catch {}
    }
}
