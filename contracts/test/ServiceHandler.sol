// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    Account,
    AccountStatus,
    MinerPayment,
    SessionCharge
} from "../src/service/ISessionPayment.sol";
import {RequestState} from "../src/service/ISessionQueue.sol";
import {TaskProgress, TaskState} from "../src/service/ITaskSteps.sol";
import {SessionId} from "../src/service/SessionId.sol";
import {Conduct, Consumer} from "./hostile/Consumers.sol";
import {ServiceWorld} from "./ServiceWorld.sol";

/// @dev The actions on the service layer, of which `Handler` has all. Sessions are opened by owners,
/// who sign, and by contracts, which ask for an inference.
abstract contract ServiceHandler is ServiceWorld {
    uint256 private constant OWNERS = 4;
    uint256 private constant MINERS = 6;
    uint256 private constant STEP_MINERS = 3;
    bytes32 private constant STEP_TASK = keccak256("steps");

    /// @dev How the one task of a request was settled.
    struct SettledRequest {
        bytes32 batchId;
        uint8 outcome;
        uint128 charge;
    }

    SessionId[] public sessions;
    /// @dev Tasks settled by session, as the handler counts them.
    mapping(SessionId => uint256) public settledTasks;
    mapping(SessionId => uint256) public nextOrdinal;
    mapping(SessionId => uint256) public policyChanges;
    /// @dev Whether a request was ended; it may be once.
    mapping(SessionId => bool) public isEnded;
    mapping(SessionId => bool) public isRequest;
    uint256 public doublePayments;
    uint256 public requestsEnded;

    uint256 public totalDeposited;

    /// @dev Of the owners that sign; the one of a request's session is `consumer`.
    mapping(SessionId => uint256) private _keys;
    mapping(SessionId => SettledRequest) private _settled;
    bytes32[] private _batches;
    uint256[] private _stepKeys;
    address[] private _stepMiners;
    uint256 private _salt;
    Consumer public consumer;

    function setUp() public virtual override {
        super.setUp();
        _stepKeys = sortedKeys(STEP_MINERS, 7);
        _stepMiners = addressesOf(_stepKeys);
        consumer = new Consumer();
        consumer.allow(token, address(payment));
    }

    function openSession(uint256 who, uint256 amount) public {
        uint256 key = 1 + who % OWNERS;
        amount = bound(amount, 1, 1_000 ether);
        token.mint(vm.addr(key), amount);
        SessionId id = openSession(key, nextSalt(), amount);
        sessions.push(id);
        _keys[id] = key;
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

    /// @dev And the same once more, with an allowance that would cover it.
    function depositFor(uint256 which, uint256 who, uint256 amount) external {
        (bool found, SessionId id) = pick(which, AccountStatus.Open);
        if (!found) return;
        uint256 key = 1 + who % OWNERS;
        address payer = vm.addr(key);
        amount = bound(amount, 1, 1_000 ether);
        token.mint(payer, amount);
        bytes32 salt = nextSalt();
        depositFor(key, id, amount, salt);
        totalDeposited += amount;
        bytes memory signature = signDeposit(key, id, amount, salt);
        try payment.depositFor(id, payer, amount, salt, signature, 0, 0, 0, 0) {
            doublePayments++;
        } catch {}
    }

    /// @dev And the same once more.
    function withdrawDeposit(uint256 which, uint256 amount) external {
        (bool found, SessionId id) = pick(which, AccountStatus.Open);
        if (!found || isRequest[id]) return;
        uint256 held = payment.accountOf(id).held;
        if (held == 0) return;
        amount = bound(amount, 1, amount % 8 == 0 ? held : (held + 1) / 2);
        bytes32 salt = nextSalt();
        (bytes memory mine, bytes[] memory theirs) = withdrawing(_keys[id], id, amount, salt);
        payment.withdrawDeposit(id, amount, salt, mine, theirs);
        try payment.withdrawDeposit(id, amount, salt, mine, theirs) {
            doublePayments++;
        } catch {}
    }

    function changePolicy(uint256 which, bytes32 policyHash) external {
        (bool found, SessionId id) = pickOpen(which);
        if (!found || isRequest[id]) return;
        uint64 nonce = uint64(policyChanges[id]++);
        bytes memory signature = signPolicy(_keys[id], id, policyHash, nonce);
        vm.prank(OPERATOR);
        manager.changePolicy(id, policyHash, nonce, signature);
    }

    /// @dev One or two sessions, opened where there is none, one to eight fresh tasks each, now and
    /// then in a new word.
    function settle(uint256 which, uint256 tasks, uint256 amount, uint256 feeBps) external {
        (bool found, SessionId first) = pickOwned(which);
        if (!found) {
            openSession(which, amount);
            first = sessions[sessions.length - 1];
        }
        (bool isPair, SessionId second) = pickOwned(which / 2);
        isPair = isPair && SessionId.unwrap(first) != SessionId.unwrap(second);
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

    // Requests of a contract

    function requestInference(uint256 amount, uint256 gas) external {
        gas = bound(gas, 0, 400_000);
        uint256 fee = gas * CALLBACK_GAS_PRICE;
        amount = bound(amount, fee == 0 ? 1 : fee, 1_000 ether);
        token.mint(address(consumer), amount);
        SessionId id = consumer.ask(queue, nextSalt(), uint128(amount), uint32(gas));
        sessions.push(id);
        isRequest[id] = true;
        totalDeposited += amount;
    }

    /// @dev Settles the one task of a request, charged or not.
    function settleTaskOfRequest(uint256 which, uint256 charge) external {
        (bool found, SessionId id) = pickRequest(which);
        Account memory account = payment.accountOf(id);
        if (!found || nextOrdinal[id] != 0 || account.status == AccountStatus.Closed) return;
        charge = charge % 3 == 0 ? 0 : bound(charge, 0, account.held);
        uint8 outcome = charge == 0 ? REFUSED : COMPLETED;
        bytes32 batchId = nextSalt();
        settleRequest(batchId, id, outcome, uint128(charge), minerAt(which));
        _settled[id] = SettledRequest(batchId, outcome, uint128(charge));
        _batches.push(batchId);
        nextOrdinal[id] = settledTasks[id] = 1;
    }

    /// @dev The contract behaves well or badly.
    function fulfil(uint256 which, uint256 conduct) external {
        (bool found, SessionId id) = pickRequest(which);
        if (!found || nextOrdinal[id] == 0) return;
        consumer.behave(Conduct(conduct % 5));
        SettledRequest memory settled = _settled[id];
        fulfil(settled.batchId, id, settled.outcome, settled.charge);
        noteEnd(id);
    }

    function expire(uint256 which, uint256 conduct) external {
        (bool found, SessionId id) = pickRequest(which);
        if (!found) return;
        consumer.behave(Conduct(conduct % 5));
        uint64 deadline = queue.requestOf(id).deadline;
        if (block.timestamp <= deadline) vm.warp(deadline + 1);
        queue.expire(id);
        noteEnd(id);
    }

    /// @dev Whoever tries to end a request again.
    function endRequestAgain(uint256 which) external {
        if (sessions.length == 0) return;
        SessionId id = sessions[which % sessions.length];
        if (!isEnded[id]) return;
        SettledRequest memory settled = _settled[id];
        bytes memory call = fulfilment(settled.batchId, id, settled.outcome, settled.charge);
        (bool hasPassed,) = address(queue).call(call);
        if (hasPassed) doublePayments++;
        (hasPassed,) = address(queue).call(abi.encodeCall(queue.expire, (id)));
        if (hasPassed) doublePayments++;
    }

    // Steps on chain

    /// @dev The next step of one task a session; miners make theirs themselves, or by signature.
    function stepTask(uint256 which, uint256 how) external {
        if (sessions.length == 0) return;
        SessionId id = sessions[which % sessions.length];
        TaskProgress memory task = queue.taskOf(id, STEP_TASK);
        if (task.state == TaskState.None) {
            if (payment.accountOf(id).status == AccountStatus.Closed) return;
            vm.prank(OPERATOR);
            queue.enqueueTask(id, STEP_TASK, EVIDENCE);
        } else if (how % 11 == 0 && task.state != TaskState.Ended) {
            vm.prank(OPERATOR);
            queue.endTask(id, STEP_TASK, task.committed == 0 ? REFUSED : COMPLETED);
        } else if (task.state == TaskState.Queued) {
            vm.prank(OPERATOR);
            queue.assignTask(id, STEP_TASK, _stepMiners);
        } else if (task.state == TaskState.Assigned) {
            vm.prank(OPERATOR);
            queue.ackTask(id, STEP_TASK, _stepMiners[task.acked]);
        } else if (task.state == TaskState.Acked) {
            precommit(id, task.precommitted, how % 2 == 0);
        } else if (task.state == TaskState.Precommitted) {
            commit(id, task.committed, how % 2 == 0);
        }
    }

    function stepsOf(SessionId id) external view returns (TaskProgress memory) {
        return queue.taskOf(id, STEP_TASK);
    }

    /// @dev The actions above; `setUp` and the views are none.
    function serviceActions() internal pure returns (bytes4[] memory list) {
        list = new bytes4[](18);
        list[0] = this.openSession.selector;
        list[1] = this.deposit.selector;
        list[2] = this.depositFor.selector;
        list[3] = this.withdrawDeposit.selector;
        list[4] = this.changePolicy.selector;
        list[5] = this.settle.selector;
        list[6] = this.settleTaskAgain.selector;
        list[7] = this.settleBatchAgain.selector;
        list[8] = this.closeSession.selector;
        list[9] = this.requestExitOfSession.selector;
        list[10] = this.exitSession.selector;
        list[11] = this.withdrawEarnings.selector;
        list[12] = this.requestInference.selector;
        list[13] = this.settleTaskOfRequest.selector;
        list[14] = this.fulfil.selector;
        list[15] = this.expire.selector;
        list[16] = this.endRequestAgain.selector;
        list[17] = this.stepTask.selector;
    }

    // What the invariants look at

    function sessionCount() external view returns (uint256) {
        return sessions.length;
    }

    function sumOfEarnings() external view returns (uint256 sum) {
        sum = payment.earningsOf(FEE_TREASURY);
        for (uint256 i = 0; i < MINERS; i++) {
            sum += payment.earningsOf(minerAt(i));
        }
    }

    /// @dev Whether the chain thinks of a request's end as the handler does.
    function isEndedOnChain(SessionId id) external view returns (bool) {
        return queue.requestOf(id).state == RequestState.Ended;
    }

    // Helpers

    function nextSalt() internal returns (bytes32) {
        return keccak256(abi.encode("salt", ++_salt));
    }

    function minerAt(uint256 which) private pure returns (address) {
        return address(uint160(0x314e00 + which % MINERS));
    }

    function noteEnd(SessionId id) private {
        isEnded[id] = true;
        requestsEnded++;
    }

    function precommit(SessionId id, uint256 i, bool isSigned) private {
        address miner = _stepMiners[i];
        bytes32 hidden = precommitmentOf(id, STEP_TASK, miner, "salt");
        bytes memory signature;
        if (isSigned) signature = signPrecommit(_stepKeys[i], id, STEP_TASK, hidden);
        else vm.prank(miner);
        queue.precommitTask(id, STEP_TASK, miner, hidden, signature);
    }

    function commit(SessionId id, uint256 i, bool isSigned) private {
        address miner = _stepMiners[i];
        bytes memory signature;
        if (isSigned) signature = signCommit(_stepKeys[i], id, STEP_TASK, "salt");
        else vm.prank(miner);
        queue.commitTask(id, STEP_TASK, miner, RESULT, RESULT, 10, 20, "salt", signature);
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

    /// @dev Such a session that is no request: those have one task, which has an action of its own.
    function pickOwned(uint256 which) private view returns (bool, SessionId) {
        for (uint256 i = 0; i < sessions.length; i++) {
            SessionId id = sessions[addmod(which, i, sessions.length)];
            if (!isRequest[id] && payment.accountOf(id).status != AccountStatus.Closed) {
                return (true, id);
            }
        }
        return (false, SessionId.wrap(0));
    }

    /// @dev A request that has not ended, whatever became of its session's money.
    function pickRequest(uint256 which) private view returns (bool, SessionId) {
        for (uint256 i = 0; i < sessions.length; i++) {
            SessionId id = sessions[addmod(which, i, sessions.length)];
            if (isRequest[id] && !isEnded[id]) return (true, id);
        }
        return (false, SessionId.wrap(0));
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
