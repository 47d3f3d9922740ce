// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev Text of the CIDv1 of a raw block under sha2-256, in lower-case base32, which is how the
/// engine names everything on IPFS; empty for a digest of zeros, which stands for "none".
/// @custom:see https://github.com/multiformats/cid
function contentIdOf(bytes32 digest) pure returns (string memory) {
    if (digest == 0) return "";
    // 36 bytes in groups of 5 bits: `b`, six letters of the prefix 01 55 12 20, whose last two bits
    // and the digest's 256 make the other 52 letters, padded with two bits.
    bytes memory alphabet = "abcdefghijklmnopqrstuvwxyz234567";
    bytes memory text = "bafkrei0000000000000000000000000000000000000000000000000000";
    uint256 bits = uint256(digest);
    for (uint256 i = 0; i < 51; i++) {
        text[7 + i] = alphabet[(bits >> (253 - 5 * i)) & 31];
    }
    text[58] = alphabet[(bits << 2) & 31];
    return string(text);
}
