// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {TokenIntake} from "../money/TokenIntake.sol";
import {CommitteeSigned} from "../signing/CommitteeSigned.sol";
import {IOracleCommittee} from "../signing/IOracleCommittee.sol";
import {ISessionManager} from "./ISessionManager.sol";
import {
    Account,
    AccountStatus,
    ISessionPayment,
    MinerPayment,
    SessionCharge
} from "./ISessionPayment.sol";
import {ISessionQueue} from "./ISessionQueue.sol";
import {SessionId} from "./SessionId.sol";
import {SessionManager} from "./SessionManager.sol";
import {hashTaskLeaf} from "./TaskLeaf.sol";

contract SessionPayment is ISessionPayment, CommitteeSigned, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;
    using TokenIntake for IERC20;

    /// @dev `paid` and `held` move with every batch and share a slot.
    struct Money {
        uint128 paid;
        uint128 held;
        uint128 deposited;
        uint128 refunded;
        uint128 withdrawn;
    }

    /// @inheritdoc ISessionPayment
    bytes32 public constant SETTLE_TYPEHASH = keccak256(
        "Settle(bytes32 batchId,bytes32 root,bytes32 chargesHash,bytes32 paymentsHash,uint256 fee)"
    );
    /// @inheritdoc ISessionPayment
    bytes32 public constant CLOSE_SESSION_TYPEHASH =
        keccak256("CloseSession(uint64 sessionId,uint256 charged)");

    /// @inheritdoc ISessionPayment
    bytes32 public constant DEPOSIT_TYPEHASH =
        keccak256("Deposit(uint64 sessionId,address payer,uint256 amount,bytes32 reference)");
    /// @inheritdoc ISessionPayment
    bytes32 public constant WITHDRAW_DEPOSIT_TYPEHASH =
        keccak256("WithdrawDeposit(uint64 sessionId,uint256 amount,bytes32 reference)");

    ISessionManager private immutable _manager;
    ISessionQueue private immutable _queue;
    IERC20 private immutable _token;
    address private immutable _treasury;
    uint64 private immutable _exitDelay;

    Money private _money;
    /// @dev The first slot of an account holds all that settling reads and writes of it.
    mapping(SessionId sessionId => Account) private _accounts;
    mapping(SessionId sessionId => mapping(uint256 word => uint256)) private _settledTasks;
    mapping(address account => uint256) private _earnings;
    mapping(bytes32 batchId => bytes32) private _roots;

    /// @param operator records steps of tasks in `queue`
    /// @param callbackGasPrice token units that a unit of callback gas costs
    constructor(
        IERC20 token_,
        IOracleCommittee committee_,
        address treasury_,
        uint64 exitDelay_,
        address operator,
        uint256 callbackGasPrice
    ) CommitteeSigned(committee_) {
        _token = token_;
        _treasury = treasury_;
        _exitDelay = exitDelay_;
        _manager = new SessionManager(operator, callbackGasPrice);
        _queue = _manager.queue();
    }

    /// @inheritdoc ISessionPayment
    function openAccount(
        SessionId sessionId,
        address owner,
        uint256 deposit_,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        if (msg.sender != address(_manager)) revert SessionPaymentNotManager(msg.sender);
        Account storage account = _accounts[sessionId];
        account.status = AccountStatus.Open;
        account.owner = owner;
        _token.tryPermit(owner, deposit_, permitDeadline, v, r, s);
        _deposit(sessionId, owner, deposit_);
    }

    /// @inheritdoc ISessionPayment
    function deposit(SessionId sessionId, uint256 amount) external nonReentrant {
        _requireOpen(_accounts[sessionId], sessionId);
        _deposit(sessionId, msg.sender, amount);
    }

    /// @inheritdoc ISessionPayment
    function depositFor(
        SessionId sessionId,
        address payer,
        uint256 amount,
        bytes32 clientReference,
        bytes calldata payerSignature,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        _requireOpen(_accounts[sessionId], sessionId);
        bytes32 digest = _useOnce(
            keccak256(abi.encode(DEPOSIT_TYPEHASH, sessionId, payer, amount, clientReference))
        );
        _requireSignature(payer, digest, payerSignature);
        _token.tryPermit(payer, amount, permitDeadline, v, r, s);
        _deposit(sessionId, payer, amount);
    }

    /// @inheritdoc ISessionPayment
    function withdrawDeposit(
        SessionId sessionId,
        uint256 amount,
        bytes32 clientReference,
        bytes calldata ownerSignature,
        bytes[] calldata signatures
    ) external nonReentrant {
        Account storage account = _accounts[sessionId];
        _requireOpen(account, sessionId);
        (uint112 held, address owner) = (account.held, account.owner);
        if (amount == 0 || amount > held) {
            revert SessionPaymentAmountInvalid(sessionId, amount, held);
        }
        bytes32 structHash =
            keccak256(abi.encode(WITHDRAW_DEPOSIT_TYPEHASH, sessionId, amount, clientReference));
        _requireQuorumOnce(structHash, signatures);
        _requireSignature(owner, _hashTypedDataV4(structHash), ownerSignature);
        // Safe: at most `held`, which is 112 bits.
        uint112 taken = uint112(amount);
        account.held = held - taken;
        _money.refunded += taken;
        _money.held -= taken;
        emit DepositWithdrawn(sessionId, owner, amount, held - taken);
        _token.safeTransfer(owner, amount);
    }

    /// @inheritdoc ISessionPayment
    function settle(
        bytes32 batchId,
        bytes32 root,
        SessionCharge[] calldata charges,
        MinerPayment[] calldata payments,
        uint128 fee,
        bytes[] calldata signatures
    ) external nonReentrant {
        if (root == 0) revert SessionPaymentRootInvalid();
        if (_roots[batchId] != 0) revert SessionPaymentBatchSettled(batchId);
        bytes32 structHash = keccak256(
            abi.encode(
                SETTLE_TYPEHASH,
                batchId,
                root,
                keccak256(abi.encode(charges)),
                keccak256(abi.encode(payments)),
                fee
            )
        );
        _requireQuorum(structHash, signatures);

        _roots[batchId] = root;
        uint256 charged = _charge(batchId, charges);
        uint256 paid = _pay(batchId, payments) + fee;
        if (charged != paid) revert SessionPaymentSumsUnequal(charged, paid);
        _earnings[_treasury] += fee;
        _money.paid += charged.toUint128();
        _money.held -= charged.toUint128();
        emit BatchSettled(batchId, root, charged, fee);
    }

    /// @inheritdoc ISessionPayment
    function closeSession(SessionId sessionId, uint256 charged, bytes[] calldata signatures)
        external
        nonReentrant
    {
        Account storage account = _accounts[sessionId];
        AccountStatus status = account.status;
        if (!_isActive(status)) revert SessionPaymentStatusInvalid(sessionId, status);
        if (charged != account.charged) {
            revert SessionPaymentChargedUnequal(sessionId, charged, account.charged);
        }
        _requireQuorum(
            keccak256(abi.encode(CLOSE_SESSION_TYPEHASH, sessionId, charged)), signatures
        );
        _close(sessionId, account);
    }

    /// @inheritdoc ISessionPayment
    function closeFor(SessionId sessionId, uint256 callbackFee) external nonReentrant {
        if (msg.sender != address(_queue)) revert SessionPaymentNotQueue(msg.sender);
        Account storage account = _accounts[sessionId];
        if (!_isActive(account.status)) return;
        uint112 held = account.held;
        // Safe: at most `held`, which is 112 bits.
        uint112 fee = callbackFee < held ? uint112(callbackFee) : held;
        if (fee != 0) {
            account.held = held - fee;
            account.charged += fee;
            _earnings[_treasury] += fee;
            _money.paid += fee;
            _money.held -= fee;
            emit CallbackCharged(sessionId, fee);
        }
        _close(sessionId, account);
    }

    /// @inheritdoc ISessionPayment
    function requestExit(SessionId sessionId) external {
        Account storage account = _requireOwner(sessionId);
        _requireOpen(account, sessionId);
        account.status = AccountStatus.Exiting;
        account.exitAt = uint64(block.timestamp) + _exitDelay;
        emit SessionExitRequested(sessionId, account.exitAt);
    }

    /// @inheritdoc ISessionPayment
    function exit(SessionId sessionId) external nonReentrant {
        Account storage account = _requireOwner(sessionId);
        if (account.status != AccountStatus.Exiting) {
            revert SessionPaymentStatusInvalid(sessionId, account.status);
        }
        if (block.timestamp < account.exitAt) {
            revert SessionPaymentExitTooEarly(sessionId, account.exitAt);
        }
        _close(sessionId, account);
    }

    /// @inheritdoc ISessionPayment
    function withdraw() external nonReentrant returns (uint256 amount) {
        amount = _earnings[msg.sender];
        if (amount == 0) revert SessionPaymentNothingEarned(msg.sender);
        _earnings[msg.sender] = 0;
        _money.withdrawn += amount.toUint128();
        emit EarningsWithdrawn(msg.sender, amount);
        _token.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc ISessionPayment
    function accountOf(SessionId sessionId) external view returns (Account memory) {
        return _accounts[sessionId];
    }

    /// @inheritdoc ISessionPayment
    function isTaskSettled(SessionId sessionId, uint256 ordinal) external view returns (bool) {
        return _settledTasks[sessionId][ordinal / 256] & (1 << (ordinal % 256)) != 0;
    }

    /// @inheritdoc ISessionPayment
    function rootOf(bytes32 batchId) external view returns (bytes32) {
        return _roots[batchId];
    }

    /// @inheritdoc ISessionPayment
    function verifyTask(bytes32 batchId, bytes32 leaf, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        bytes32 root = _roots[batchId];
        return root != 0 && MerkleProof.verifyCalldata(proof, root, leaf);
    }

    /// @inheritdoc ISessionPayment
    function taskLeaf(
        SessionId sessionId,
        bytes32 taskId,
        uint256 ordinal,
        uint8 outcome,
        bytes32 evidenceDigest,
        bytes32 resultDigest,
        uint256 charge
    ) external pure returns (bytes32) {
        return hashTaskLeaf(
            sessionId, taskId, ordinal, outcome, evidenceDigest, resultDigest, charge
        );
    }

    /// @inheritdoc ISessionPayment
    function earningsOf(address account) external view returns (uint256) {
        return _earnings[account];
    }

    /// @inheritdoc ISessionPayment
    function money()
        external
        view
        returns (uint256 deposited, uint256 paid, uint256 refunded, uint256 held, uint256 withdrawn)
    {
        Money storage m = _money;
        return (m.deposited, m.paid, m.refunded, m.held, m.withdrawn);
    }

    /// @inheritdoc ISessionPayment
    function manager() external view returns (ISessionManager) {
        return _manager;
    }

    /// @inheritdoc ISessionPayment
    function queue() external view returns (ISessionQueue) {
        return _queue;
    }

    /// @inheritdoc ISessionPayment
    function token() external view returns (IERC20) {
        return _token;
    }

    /// @inheritdoc ISessionPayment
    function treasury() external view returns (address) {
        return _treasury;
    }

    /// @inheritdoc ISessionPayment
    function exitDelay() external view returns (uint64) {
        return _exitDelay;
    }

    function _deposit(SessionId sessionId, address payer, uint256 amount) private {
        uint256 received = _token.pull(payer, amount);
        if (received == 0) revert SessionPaymentDepositZero();
        uint112 held = _accounts[sessionId].held + received.toUint112();
        _accounts[sessionId].held = held;
        _money.deposited += received.toUint128();
        _money.held += received.toUint128();
        emit SessionDeposited(sessionId, payer, received, held);
    }

    function _charge(bytes32 batchId, SessionCharge[] calldata charges)
        private
        returns (uint256 charged)
    {
        for (uint256 i = 0; i < charges.length; i++) {
            SessionCharge calldata charge = charges[i];
            Account storage account = _accounts[charge.sessionId];
            (uint112 held, AccountStatus status) = (account.held, account.status);
            if (!_isActive(status)) revert SessionPaymentStatusInvalid(charge.sessionId, status);
            if (charge.amount > held) {
                revert SessionPaymentChargeAboveHeld(charge.sessionId, charge.amount, held);
            }
            if (charge.mask == 0) revert SessionPaymentMaskZero(charge.sessionId);
            uint256 settled = _settledTasks[charge.sessionId][charge.word];
            if (settled & charge.mask != 0) {
                revert SessionPaymentTaskSettled(
                    charge.sessionId, charge.word, settled & charge.mask
                );
            }
            _settledTasks[charge.sessionId][charge.word] = settled | charge.mask;
            // Both casts are safe: the amount is at most `held`, which is 112 bits.
            account.held = held - uint112(charge.amount);
            account.charged += uint112(charge.amount);
            charged += charge.amount;
            emit SessionCharged(charge.sessionId, batchId, charge.word, charge.mask, charge.amount);
        }
    }

    function _pay(bytes32 batchId, MinerPayment[] calldata payments)
        private
        returns (uint256 paid)
    {
        for (uint256 i = 0; i < payments.length; i++) {
            MinerPayment calldata payment = payments[i];
            _earnings[payment.miner] += payment.amount;
            paid += payment.amount;
            emit MinerPaid(payment.miner, batchId, payment.amount);
        }
    }

    function _close(SessionId sessionId, Account storage account) private {
        uint112 refund = account.held;
        address owner = account.owner;
        account.held = 0;
        account.status = AccountStatus.Closed;
        _money.refunded += refund;
        _money.held -= refund;
        emit SessionClosed(sessionId, owner, account.charged, refund);
        _token.safeTransfer(owner, refund);
    }

    function _isActive(AccountStatus status) private pure returns (bool) {
        return status == AccountStatus.Open || status == AccountStatus.Exiting;
    }

    function _requireOpen(Account storage account, SessionId sessionId) private view {
        if (account.status != AccountStatus.Open) {
            revert SessionPaymentStatusInvalid(sessionId, account.status);
        }
    }

    function _requireSignature(address signer, bytes32 digest, bytes calldata signature)
        private
        view
    {
        if (!SignatureChecker.isValidSignatureNowCalldata(signer, digest, signature)) {
            revert SessionPaymentSignatureInvalid(signer);
        }
    }

    function _requireOwner(SessionId sessionId) private view returns (Account storage account) {
        account = _accounts[sessionId];
        if (msg.sender != account.owner) revert SessionPaymentNotOwner(sessionId, msg.sender);
    }
}
