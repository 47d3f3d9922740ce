// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ICommitteeSigned} from "../signing/ICommitteeSigned.sol";
import {ISessionManager} from "./ISessionManager.sol";
import {ISessionQueue} from "./ISessionQueue.sol";
import {SessionId} from "./SessionId.sol";

/// @notice What one session pays in a batch, and for which tasks: bit `i` of `mask` is the task with
/// ordinal `word * 256 + i`.
struct SessionCharge {
    SessionId sessionId;
    uint32 word;
    uint256 mask;
    uint128 amount;
}

/// @notice What one miner earns in a batch.
struct MinerPayment {
    address miner;
    uint128 amount;
}

/// @notice Where a session's money stands. `Exiting`: its owner wants out and waits for the delay;
/// settling and closing go on as in `Open`.
enum AccountStatus {
    None,
    Open,
    Exiting,
    Closed
}

/// @notice A session's money, in the token's smallest unit.
struct Account {
    /// Deposited, and neither charged nor refunded.
    uint112 held;
    /// Charged by all batches so far, and for the callback of a contract's request.
    uint112 charged;
    AccountStatus status;
    address owner;
    /// When the owner may exit, Unix seconds; 0 where it has not asked to.
    uint64 exitAt;
}

/// @title Escrow of sessions and payment of miners
/// @notice Deposits of sessions come in; batches that a quorum of the committee signed move them to
/// miners and to the protocol; what is left goes back to the owner: on its wish while the session
/// goes on, when the committee closes the session, when a contract's request ends, or, without
/// anybody's help, when the owner exits. In every state
/// `deposited = paid + refunded + held`, and the token balance is `held + paid - withdrawn`.
///
/// The root of a batch is that of a Merkle tree with one leaf a task,
/// `keccak256(bytes.concat(keccak256(abi.encode(sessionId, taskId, ordinal, outcome, evidenceDigest,
/// resultDigest, charge))))`; pairs are hashed in ascending order, as OpenZeppelin's MerkleProof reads them.
interface ISessionPayment is ICommitteeSigned {
    /// @notice Tokens arrived for a session.
    /// @param amount that arrived
    /// @param held by the session from now on
    event SessionDeposited(
        SessionId indexed sessionId, address indexed payer, uint256 amount, uint256 held
    );
    /// @notice An owner took back a part of what its session holds.
    /// @param held by the session from now on
    event DepositWithdrawn(
        SessionId indexed sessionId, address indexed owner, uint256 amount, uint256 held
    );
    /// @notice A contract's request paid the gas of its callback, to the treasury.
    event CallbackCharged(SessionId indexed sessionId, uint256 amount);
    /// @notice A session paid for tasks of a batch; `word` and `mask` as in `SessionCharge`.
    event SessionCharged(
        SessionId indexed sessionId,
        bytes32 indexed batchId,
        uint32 word,
        uint256 mask,
        uint256 amount
    );
    /// @notice A miner earned its part of a batch.
    event MinerPaid(address indexed miner, bytes32 indexed batchId, uint256 amount);
    /// @notice A batch was settled; its charges and payments come before.
    /// @param root of the tree of tasks
    /// @param charged by all sessions: payments and fee
    event BatchSettled(bytes32 indexed batchId, bytes32 root, uint256 charged, uint256 fee);
    /// @notice A session ended: by the committee, by its owner's exit, or with a contract's request.
    /// @param charged as in `Account`
    /// @param refunded to the owner, now
    event SessionClosed(
        SessionId indexed sessionId, address indexed owner, uint256 charged, uint256 refunded
    );
    /// @notice An owner asked to exit.
    /// @param exitAt Unix seconds
    event SessionExitRequested(SessionId indexed sessionId, uint64 exitAt);
    /// @notice A miner, or the treasury, took what it had earned.
    event EarningsWithdrawn(address indexed account, uint256 amount);

    /// @notice Thrown when another contract than `manager` opens an account.
    error SessionPaymentNotManager(address caller);
    /// @notice Thrown when another contract than `queue` ends a request.
    error SessionPaymentNotQueue(address caller);
    /// @notice Thrown when a message was not signed by the payer or owner that it names.
    error SessionPaymentSignatureInvalid(address signer);
    /// @notice Thrown when nothing is withdrawn from a deposit, or more than is held.
    error SessionPaymentAmountInvalid(SessionId sessionId, uint256 amount, uint256 held);
    /// @notice Thrown when another than the owner asks to exit, or exits.
    error SessionPaymentNotOwner(SessionId sessionId, address caller);
    /// @notice Thrown when a session's status does not allow the call.
    error SessionPaymentStatusInvalid(SessionId sessionId, AccountStatus status);
    /// @notice Thrown when no tokens arrived.
    error SessionPaymentDepositZero();
    /// @notice Thrown when a batch was settled before.
    error SessionPaymentBatchSettled(bytes32 batchId);
    /// @notice Thrown when a batch has no root.
    error SessionPaymentRootInvalid();
    /// @notice Thrown when a charge names no task.
    error SessionPaymentMaskZero(SessionId sessionId);
    /// @notice Thrown when a task was settled before.
    /// @param tasks the bits that were set already
    error SessionPaymentTaskSettled(SessionId sessionId, uint32 word, uint256 tasks);
    /// @notice Thrown when a session holds less than it is charged.
    error SessionPaymentChargeAboveHeld(SessionId sessionId, uint256 amount, uint256 held);
    /// @notice Thrown when charges are not payments and fee, to the last unit.
    error SessionPaymentSumsUnequal(uint256 charged, uint256 paid);
    /// @notice Thrown when the total that was signed for closing is not the session's.
    error SessionPaymentChargedUnequal(SessionId sessionId, uint256 signed, uint256 charged);
    /// @notice Thrown when an owner exits too early.
    error SessionPaymentExitTooEarly(SessionId sessionId, uint64 exitAt);
    /// @notice Thrown when an account has earned nothing.
    error SessionPaymentNothingEarned(address account);

    /// @notice EIP-712 type hash of `Settle`.
    function SETTLE_TYPEHASH() external view returns (bytes32);
    /// @notice EIP-712 type hash of `CloseSession`.
    function CLOSE_SESSION_TYPEHASH() external view returns (bytes32);
    /// @notice EIP-712 type hash of `Deposit`.
    function DEPOSIT_TYPEHASH() external view returns (bytes32);
    /// @notice EIP-712 type hash of `WithdrawDeposit`.
    function WITHDRAW_DEPOSIT_TYPEHASH() external view returns (bytes32);

    /// @notice Starts a session's account with its first deposit; `manager` only.
    /// @param deposit_ tokens to take from the owner
    /// @param permitDeadline with `v`, `r`, `s`: its permit for this contract; 0 for none
    function openAccount(
        SessionId sessionId,
        address owner,
        uint256 deposit_,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice Adds tokens of the caller, who has approved this contract, to an open session.
    function deposit(SessionId sessionId, uint256 amount) external;

    /// @notice Adds tokens of a payer, who signed it, to an open session. Anyone may relay.
    /// @param clientReference chosen by the payer; the same message passes once
    /// @param payerSignature over `Deposit`, by the payer's key or contract (ERC-1271)
    /// @param permitDeadline with `v`, `r`, `s`: the payer's EIP-2612 permit of `amount` for this
    /// contract; 0 for none. An unusable permit is ignored where the allowance is there already.
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
    ) external;

    /// @notice Pays a part of what an open session holds back to its owner, who signed for it; the
    /// committee signs that no task needs it. Anyone may relay.
    /// @param amount above 0, at most what is held
    /// @param clientReference chosen by the owner; the same message passes once
    /// @param ownerSignature over `WithdrawDeposit`, by the owner's key or contract (ERC-1271)
    /// @param signatures of a quorum over the same message, by ascending signer
    function withdrawDeposit(
        SessionId sessionId,
        uint256 amount,
        bytes32 clientReference,
        bytes calldata ownerSignature,
        bytes[] calldata signatures
    ) external;

    /// @notice Settles a batch of tasks. Anyone may relay.
    /// @param batchId chosen by the engine; settles once
    /// @param root of the tree of tasks, not zero
    /// @param charges by session and word; a task that was in any batch before is refused
    /// @param payments by miner
    /// @param fee for the treasury: what charges exceed payments by
    /// @param signatures of a quorum over `Settle`, by ascending signer, where `chargesHash` is
    /// `keccak256(abi.encode(charges))` and `paymentsHash` is `keccak256(abi.encode(payments))`
    function settle(
        bytes32 batchId,
        bytes32 root,
        SessionCharge[] calldata charges,
        MinerPayment[] calldata payments,
        uint128 fee,
        bytes[] calldata signatures
    ) external;

    /// @notice Closes a session and refunds what it holds. Anyone may relay.
    /// @param charged the session's total: signing it says that every task was settled
    /// @param signatures of a quorum over `CloseSession`, by ascending signer
    function closeSession(SessionId sessionId, uint256 charged, bytes[] calldata signatures)
        external;

    /// @notice Closes the session of a contract's request and refunds what it holds; `queue` only.
    /// Does nothing where the session is closed already.
    /// @param callbackFee for the treasury, taken from what is held as far as that goes
    function closeFor(SessionId sessionId, uint256 callbackFee) external;

    /// @notice Starts the owner's exit: `exitDelay` seconds later it may take what is held then.
    function requestExit(SessionId sessionId) external;

    /// @notice Closes a session and refunds what it holds, by its owner once the delay is over.
    function exit(SessionId sessionId) external;

    /// @notice Pays all that the caller has earned.
    /// @return amount tokens
    function withdraw() external returns (uint256 amount);

    /// @notice A session's money; status `None` where it does not exist.
    function accountOf(SessionId sessionId) external view returns (Account memory);

    /// @notice Whether a task was in a settled batch.
    /// @param ordinal number of the task in its session, from 0
    function isTaskSettled(SessionId sessionId, uint256 ordinal) external view returns (bool);

    /// @notice Root of a settled batch; zero where it is not settled.
    function rootOf(bytes32 batchId) external view returns (bytes32);

    /// @notice Whether a task is in a settled batch, by a proof for its leaf.
    function verifyTask(bytes32 batchId, bytes32 leaf, bytes32[] calldata proof)
        external
        view
        returns (bool);

    /// @notice The leaf of a task.
    /// @param outcome index in `TASK_OUTCOMES` of domain/task.ts
    /// @param evidenceDigest sha2-256 digest of the evidence's CID; zero where there is none
    /// @param resultDigest sha2-256 digest of the agreed answer at rest; zero where there is none
    /// @param charge what the session paid for it
    function taskLeaf(
        SessionId sessionId,
        bytes32 taskId,
        uint256 ordinal,
        uint8 outcome,
        bytes32 evidenceDigest,
        bytes32 resultDigest,
        uint256 charge
    ) external pure returns (bytes32);

    /// @notice What a miner, or the treasury, has earned and not withdrawn.
    function earningsOf(address account) external view returns (uint256);

    /// @notice Tokens ever deposited, and where they went. `paid` counts from settlement on, of which
    /// `withdrawn` has left the contract.
    function money()
        external
        view
        returns (uint256 deposited, uint256 paid, uint256 refunded, uint256 held, uint256 withdrawn);

    /// @notice The contract that opens sessions here.
    function manager() external view returns (ISessionManager);
    /// @notice The contract that takes contracts' requests.
    function queue() external view returns (ISessionQueue);
    /// @notice The token that sessions are paid in.
    function token() external view returns (IERC20);
    /// @notice Who earns the fees.
    function treasury() external view returns (address);
    /// @notice Seconds between the request to exit and the exit.
    function exitDelay() external view returns (uint64);
}
