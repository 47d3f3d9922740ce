// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {ISessionManager, Session} from "./ISessionManager.sol";
import {AccountStatus, ISessionPayment} from "./ISessionPayment.sol";
import {ISessionQueue} from "./ISessionQueue.sol";
import {SessionId, deriveSessionId} from "./SessionId.sol";
import {SessionQueue} from "./SessionQueue.sol";

contract SessionManager is ISessionManager, EIP712 {
    /// @inheritdoc ISessionManager
    bytes32 public constant OPEN_SESSION_TYPEHASH = keccak256(
        "OpenSession(address owner,bytes32 clientReference,bytes32 policyHash,uint256 deposit)"
    );

    /// @inheritdoc ISessionManager
    bytes32 public constant CHANGE_POLICY_TYPEHASH =
        keccak256("ChangePolicy(uint64 sessionId,bytes32 policyHash,uint64 nonce)");

    ISessionPayment private immutable _payment;
    ISessionQueue private immutable _queue;
    mapping(SessionId sessionId => Session) private _sessions;

    /// @dev Created by the contract that holds the money, so each knows the other from the start.
    constructor(address operator, uint256 callbackGasPrice) EIP712("Cortensor", "1") {
        _payment = ISessionPayment(msg.sender);
        _queue = new SessionQueue(ISessionPayment(msg.sender), operator, callbackGasPrice);
    }

    /// @inheritdoc ISessionManager
    function openSession(
        address owner,
        bytes32 clientReference,
        bytes32 policyHash,
        uint256 deposit,
        bytes calldata ownerSignature,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external returns (SessionId sessionId) {
        bytes32 structHash = keccak256(
            abi.encode(OPEN_SESSION_TYPEHASH, owner, clientReference, policyHash, deposit)
        );
        sessionId = _open(owner, clientReference, policyHash, deposit);
        _requireSignature(owner, structHash, ownerSignature);
        _payment.openAccount(sessionId, owner, deposit, permitDeadline, v, r, s);
    }

    /// @inheritdoc ISessionManager
    function openSessionFor(
        address owner,
        bytes32 clientReference,
        bytes32 policyHash,
        uint256 deposit
    ) external returns (SessionId sessionId) {
        if (msg.sender != address(_queue)) {
            revert SessionManagerNotQueue(msg.sender);
        }
        sessionId = _open(owner, clientReference, policyHash, deposit);
        _payment.openAccount(sessionId, owner, deposit, 0, 0, 0, 0);
    }

    /// @inheritdoc ISessionManager
    function changePolicy(
        SessionId sessionId,
        bytes32 policyHash,
        uint64 nonce,
        bytes calldata ownerSignature
    ) external {
        if (msg.sender != _queue.operator()) {
            revert SessionManagerNotOperator(msg.sender);
        }
        AccountStatus status = _payment.accountOf(sessionId).status;
        if (status != AccountStatus.Open && status != AccountStatus.Exiting) {
            revert SessionManagerNotOpen(sessionId);
        }
        Session storage session = _sessions[sessionId];
        if (nonce != session.policyNonce) {
            revert SessionManagerNonceInvalid(sessionId, nonce, session.policyNonce);
        }
        _requireSignature(
            session.owner,
            keccak256(abi.encode(CHANGE_POLICY_TYPEHASH, sessionId, policyHash, nonce)),
            ownerSignature
        );
        session.policyNonce++;
        session.policyHash = policyHash;
        emit SessionUpdated(sessionId, policyHash, nonce);
    }

    /// @inheritdoc ISessionManager
    function sessionIdOf(address owner, bytes32 clientReference) public view returns (SessionId) {
        return deriveSessionId(address(this), owner, clientReference);
    }

    /// @inheritdoc ISessionManager
    function sessionOf(SessionId sessionId) external view returns (Session memory) {
        return _sessions[sessionId];
    }

    /// @inheritdoc ISessionManager
    function payment() external view returns (ISessionPayment) {
        return _payment;
    }

    /// @inheritdoc ISessionManager
    function queue() external view returns (ISessionQueue) {
        return _queue;
    }

    function _open(address owner, bytes32 clientReference, bytes32 policyHash, uint256 deposit)
        private
        returns (SessionId sessionId)
    {
        if (deposit == 0) revert SessionManagerDepositZero();
        sessionId = sessionIdOf(owner, clientReference);
        if (_sessions[sessionId].openedAt != 0) revert SessionManagerAlreadyOpen(sessionId);
        _sessions[sessionId] = Session({
            owner: owner, openedAt: uint64(block.timestamp), policyNonce: 0, policyHash: policyHash
        });
        emit SessionOpened(sessionId, owner, clientReference, policyHash, deposit);
    }

    function _requireSignature(address owner, bytes32 structHash, bytes calldata signature)
        private
        view
    {
        bytes32 digest = _hashTypedDataV4(structHash);
        if (!SignatureChecker.isValidSignatureNowCalldata(owner, digest, signature)) {
            revert SessionManagerSignatureInvalid(owner);
        }
    }
}
