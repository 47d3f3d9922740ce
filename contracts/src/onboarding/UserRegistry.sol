// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IUserRegistry, SealingLevel, User} from "./IUserRegistry.sol";

contract UserRegistry is IUserRegistry, EIP712 {
    /// @inheritdoc IUserRegistry
    bytes32 public constant REGISTER_USER_TYPEHASH =
        keccak256("RegisterUser(address user,string recipient,uint8 level,uint256 deadline)");

    uint256 private constant MAX_RECIPIENT_BYTES = 4096;

    mapping(address user => User) private _users;

    constructor() EIP712("Cortensor", "1") {}

    /// @inheritdoc IUserRegistry
    function register(
        address user,
        string calldata recipient,
        SealingLevel level,
        uint256 deadline,
        bytes calldata signature
    ) external {
        User storage self = _users[user];
        uint256 length = bytes(recipient).length;
        if (length == 0 || length > MAX_RECIPIENT_BYTES) {
            revert UserRegistryTextInvalid(length, MAX_RECIPIENT_BYTES);
        }
        if (deadline < block.timestamp) revert UserRegistryExpired(deadline);
        if (deadline <= self.deadline) {
            revert UserRegistryDeadlineNotNewer(deadline, self.deadline);
        }
        bytes32 structHash = keccak256(
            abi.encode(REGISTER_USER_TYPEHASH, user, keccak256(bytes(recipient)), level, deadline)
        );
        if (!SignatureChecker.isValidSignatureNowCalldata(
                user, _hashTypedDataV4(structHash), signature
            )) revert UserRegistrySignatureInvalid(user);

        bool isNew = self.deadline == 0;
        self.recipient = recipient;
        self.level = level;
        self.deadline = deadline;
        emit UserRegistered(user, recipient, level, deadline, isNew);
    }

    /// @inheritdoc IUserRegistry
    function userOf(address user) external view returns (User memory) {
        return _users[user];
    }
}
