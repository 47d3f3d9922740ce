// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {ISessionManager, Session} from "./ISessionManager.sol";
import {ISessionPayment} from "./ISessionPayment.sol";
import {SessionId, deriveSessionId} from "./SessionId.sol";

contract SessionManager is ISessionManager, EIP712 {
    /// @inheritdoc ISessionManager
    bytes32 public constant OPEN_SESSION_TYPEHASH = keccak256(
        "OpenSession(address owner,bytes32 clientReference,bytes32 policyHash,uint256 deposit)"
    );

    ISessionPayment private immutable _payment;
    mapping(SessionId sessionId => Session) private _sessions;

    /// @dev Created by the contract that holds the money, so each knows the other from the start.
    constructor() EIP712("Cortensor", "1") {
        _payment = ISessionPayment(msg.sender);
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
        if (deposit == 0) revert SessionManagerDepositZero();
        sessionId = sessionIdOf(owner, clientReference);
        if (_sessions[sessionId].openedAt != 0) revert SessionManagerAlreadyOpen(sessionId);
        bytes32 structHash = keccak256(
            abi.encode(OPEN_SESSION_TYPEHASH, owner, clientReference, policyHash, deposit)
        );
        if (!SignatureChecker.isValidSignatureNowCalldata(
                owner, _hashTypedDataV4(structHash), ownerSignature
            )) revert SessionManagerSignatureInvalid(owner);

        _sessions[sessionId] =
            Session({owner: owner, openedAt: uint64(block.timestamp), policyHash: policyHash});
        emit SessionOpened(sessionId, owner, clientReference, policyHash, deposit);
        _payment.openAccount(sessionId, owner, deposit, permitDeadline, v, r, s);
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
}
