// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// @dev An account that is a contract: it has signed what it was told that it signed (ERC-1271).
contract Wallet is IERC1271 {
    mapping(bytes32 digest => bool) private _isSigned;

    function approveDigest(bytes32 digest) external {
        _isSigned[digest] = true;
    }

    function call(address target, bytes calldata data) external {
        (bool hasPassed,) = target.call(data);
        require(hasPassed, "the call failed");
    }

    function isValidSignature(bytes32 digest, bytes calldata) external view returns (bytes4) {
        return _isSigned[digest] ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }
}
