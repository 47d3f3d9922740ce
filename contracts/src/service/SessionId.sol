// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Number of a session, 63 bits: known to its owner before the first transaction, and never
/// to be mixed up with an amount or an ordinal.
type SessionId is uint64;

/// @dev First 63 bits of the SHA-256, which the client computes with Web Crypto alone.
function deriveSessionId(address sessionManager, address owner, bytes32 clientReference)
    view
    returns (SessionId)
{
    bytes32 hash = sha256(abi.encode(block.chainid, sessionManager, owner, clientReference));
    return SessionId.wrap(uint64(uint256(hash) >> 193));
}
