// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISessionPayment, MinerPayment, SessionCharge} from "../src/service/ISessionPayment.sol";
import {IHealthLedger} from "../src/health/IHealthLedger.sol";
import {SessionId} from "../src/service/SessionId.sol";
import {PriceCommentator} from "../src/example/PriceCommentator.sol";
import {ServiceWorld} from "./ServiceWorld.sol";

/// @dev What the batched transactions cost, and those of a session, in full: each runs as a transaction of its own, with
/// its base cost, its calldata and cold storage; where the calldata floor of EIP-7623 is higher, that
/// counts. Figures are in snapshots/, so that a change of cost shows as a diff.
contract GasTest is ServiceWorld {
    uint256 private constant SESSIONS = 10;
    uint256 private constant MINERS = 10;
    uint256 private constant MINERS_A_TASK = 3;
    uint128 private constant PRICE = 1e15;
    uint128 private constant FEE = 3e13;

    SessionId[] private sessions;
    uint256 private batches;

    function setUp() public override {
        super.setUp();
        token.mint(vm.addr(1), 1e6 ether);
        for (uint256 i = 0; i < SESSIONS; i++) {
            sessions.push(openSession(1, bytes32(i), 1000 ether));
        }
    }

    /// forge-config: default.isolate = true
    function test_settle_gas_1() public {
        measureSettle(1, "1");
    }

    /// forge-config: default.isolate = true
    function test_settle_gas_10() public {
        measureSettle(10, "10");
    }

    /// forge-config: default.isolate = true
    function test_settle_gas_100() public {
        vm.assertLe(measureSettle(100, "100"), 5_000, "gas a task at 100 tasks");
    }

    /// forge-config: default.isolate = true
    function test_settle_gas_1000() public {
        measureSettle(1000, "1000");
    }

    /// forge-config: default.isolate = true
    function test_reportEpoch_gas_10() public {
        measureReport(10, "10");
    }

    /// forge-config: default.isolate = true
    function test_reportEpoch_gas_100() public {
        measureReport(100, "100");
    }

    /// forge-config: default.isolate = true
    function test_reportEpoch_gas_1000() public {
        vm.assertLe(measureReport(1000, "1000"), 1_500, "gas a miner at 1,000 miners");
    }

    /// @dev The first batch finds every balance and every word of the task bitmap at zero; the
    /// second is what a running network pays.
    function measureSettle(uint256 tasks, string memory name) private returns (uint256 steady) {
        vm.snapshotValue("settle-first-touch", name, settleBatch(tasks, 0) / tasks);
        steady = settleBatch(tasks, tasks) / tasks;
        vm.snapshotValue("settle", name, steady);
    }

    function settleBatch(uint256 tasks, uint256 from) private returns (uint256) {
        uint256 sessionCount = tasks < SESSIONS ? tasks : SESSIONS;
        uint256 tasksEach = tasks / sessionCount;
        uint256 first = from / sessionCount;
        SessionCharge[] memory charges = new SessionCharge[](sessionCount);
        uint256 mask = ((1 << tasksEach) - 1) << first;
        uint128 each = PRICE * uint128(MINERS_A_TASK) + FEE;
        for (uint256 i = 0; i < sessionCount; i++) {
            charges[i] = SessionCharge(sessions[i], 0, mask, each * uint128(tasksEach));
        }
        uint256 minerCount = tasks == 1 ? MINERS_A_TASK : MINERS;
        MinerPayment[] memory payments = new MinerPayment[](minerCount);
        uint128 share = PRICE * uint128(MINERS_A_TASK * tasks / minerCount);
        for (uint256 i = 0; i < minerCount; i++) {
            payments[i] = MinerPayment(address(uint160(uint256(keccak256(abi.encode(i))))), share);
        }
        bytes32 batchId = keccak256(abi.encode(batches++));
        bytes32 root = keccak256(abi.encode("root", batchId));
        uint128 fee = FEE * uint128(tasks);
        bytes[] memory signatures = settling(batchId, root, charges, payments, fee);
        payment.settle(batchId, root, charges, payments, fee, signatures);
        return costOf(
            abi.encodeCall(
                ISessionPayment.settle, (batchId, root, charges, payments, fee, signatures)
            )
        );
    }

    /// @dev What a session costs beside its tasks: each figure is a transaction of its own, on
    /// balances that are not zero.
    /// forge-config: default.isolate = true
    function test_session_gas() public {
        SessionId id = openSession(1, "warm", 100 ether);
        token.mint(vm.addr(2), 1e6 ether);

        bytes memory signature = signOpening(1, "measured", 100 ether);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(1, address(payment), 100 ether);
        bytes memory call = abi.encodeCall(
            manager.openSession,
            (
                vm.addr(1),
                "measured",
                keccak256("policy"),
                100 ether,
                signature,
                NO_DEADLINE,
                v,
                r,
                s
            )
        );
        measure(address(manager), call, "openSession");

        signature = signDeposit(2, id, 1 ether, "deposit");
        (v, r, s) = signPermit(2, address(payment), 1 ether);
        call = abi.encodeCall(
            payment.depositFor,
            (id, vm.addr(2), 1 ether, "deposit", signature, NO_DEADLINE, v, r, s)
        );
        measure(address(payment), call, "depositFor");

        (bytes memory mine, bytes[] memory theirs) = withdrawing(1, id, 1 ether, "back");
        call = abi.encodeCall(payment.withdrawDeposit, (id, 1 ether, "back", mine, theirs));
        measure(address(payment), call, "withdrawDeposit");

        call = abi.encodeCall(
            manager.changePolicy, (id, keccak256("new"), 0, signPolicy(1, id, keccak256("new"), 0))
        );
        vm.prank(OPERATOR);
        measure(address(manager), call, "changePolicy");
        call = abi.encodeCall(payment.closeSession, (id, 0, closing(id, 0)));
        measure(address(payment), call, "closeSession");
    }

    /// @dev A contract's request, from the asking to the callback of the example.
    /// forge-config: default.isolate = true
    function test_request_gas() public {
        PriceCommentator dapp = new PriceCommentator(queue, keccak256("policy"));
        token.mint(address(dapp), 1e6 ether);
        settleRequest("warm", dapp.ask("ETH/USD", 1, 1 ether), COMPLETED, 1e15, FEE_TREASURY);

        SessionId id = manager.sessionIdOf(address(dapp), bytes32(uint256(2)));
        measure(
            address(dapp), abi.encodeCall(dapp.ask, ("ETH/USD", 3_200, 1 ether)), "requestInference"
        );
        settleRequest("batch", id, COMPLETED, 1e15, FEE_TREASURY);
        measure(address(queue), fulfilment("batch", id, COMPLETED, 1e15), "fulfil");
        dapp.ask("ETH/USD", 1, 1 ether);
        id = manager.sessionIdOf(address(dapp), bytes32(uint256(3)));
        vm.warp(block.timestamp + 1 days);
        measure(address(queue), abi.encodeCall(queue.expire, (id)), "expire");
    }

    function measure(address target, bytes memory data, string memory name) private {
        (bool hasPassed,) = target.call(data);
        uint256 cost = costOf(data);
        vm.assertTrue(hasPassed, name);
        vm.snapshotValue("session", name, cost);
    }

    function measureReport(uint256 miners, string memory name) private returns (uint256 each) {
        reportOn(miners, 1);
        each = reportOn(miners, 2) / miners;
        vm.snapshotValue("report-epoch", name, each);
    }

    function reportOn(uint256 miners, uint64 epoch) private returns (uint256) {
        bytes memory scores;
        for (uint256 i = 0; i < miners; i++) {
            bytes20 miner = bytes20(keccak256(abi.encode(i)));
            scores = bytes.concat(scores, abi.encodePacked(miner, uint16(9100 + i % 900), uint8(9)));
        }
        bytes32 root = keccak256(abi.encode("root", epoch));
        bytes32 evidence = keccak256(abi.encode("evidence", epoch));
        bytes[] memory signatures = reporting(epoch, root, scores, evidence);
        ledger.reportEpoch(epoch, root, scores, evidence, signatures);
        return costOf(
            abi.encodeCall(IHealthLedger.reportEpoch, (epoch, root, scores, evidence, signatures))
        );
    }

    /// @dev Gas of the call just made, or the floor that its calldata sets.
    function costOf(bytes memory data) private view returns (uint256) {
        uint256 used = vm.lastCallGas().gasTotalUsed;
        uint256 tokens;
        for (uint256 i = 0; i < data.length; i++) {
            tokens += data[i] == 0 ? 1 : 4;
        }
        uint256 floor = 21_000 + 10 * tokens;
        return used > floor ? used : floor;
    }
}
