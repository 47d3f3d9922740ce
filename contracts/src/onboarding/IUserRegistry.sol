// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Who may read a user's sessions. Same order as `SEALING_LEVELS` in domain/sealing.ts.
enum SealingLevel {
    Open,
    Link,
    Sealed,
    SealedPq
}

/// @notice A user as the registry knows it; `recipient` is empty where it never registered.
struct User {
    /// age recipient that keyrings of its sessions are wrapped for.
    string recipient;
    /// Level of its sessions where they name none.
    SealingLevel level;
    /// Of the last registration that was applied, Unix seconds.
    uint256 deadline;
}

/// @title Register of users
/// @notice A user signs its recipient and default sealing level, and anyone relays them. Registering
/// again replaces both.
interface IUserRegistry {
    /// @notice A user registered, or replaced its entry.
    /// @param isNew false where the user was there before
    event UserRegistered(
        address indexed user, string recipient, SealingLevel level, uint256 deadline, bool isNew
    );

    /// @notice Thrown when a signed deadline has passed.
    error UserRegistryExpired(uint256 deadline);
    /// @notice Thrown when the deadline is not above that of the user's entry: it is a replay.
    error UserRegistryDeadlineNotNewer(uint256 deadline, uint256 lastDeadline);
    /// @notice Thrown when the registration was not signed by the user.
    error UserRegistrySignatureInvalid(address user);
    /// @notice Thrown when the recipient is empty or longer than its limit.
    error UserRegistryTextInvalid(uint256 length, uint256 maxLength);

    /// @notice EIP-712 type hash of `RegisterUser`.
    function REGISTER_USER_TYPEHASH() external view returns (bytes32);

    /// @notice Registers a user, or replaces its entry. Anyone may relay.
    /// @param user signs
    /// @param recipient age recipient, 1 to 4,096 bytes
    /// @param deadline Unix seconds; above that of the user's entry
    /// @param signature over `RegisterUser`, by the user's key or contract (ERC-1271)
    function register(
        address user,
        string calldata recipient,
        SealingLevel level,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice A user by its address.
    function userOf(address user) external view returns (User memory);
}
