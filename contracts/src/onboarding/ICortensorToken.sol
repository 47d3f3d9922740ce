// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The network's token
/// @notice ERC-20 with EIP-2612 permit, 18 decimals and a cap, under the EIP-712 domain that all
/// messages of the network use ("Cortensor", "1"). It pays stakes on the onboarding layer and
/// sessions on the service layer.
interface ICortensorToken {
    /// @notice Creates tokens, by the owner only and up to the cap.
    /// @param to who gets them
    /// @param amount in the token's smallest unit
    function mint(address to, uint256 amount) external;
}
