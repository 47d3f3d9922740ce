// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @dev Taking tokens in: what counts is what arrived, not what was asked for, so tokens that keep a
/// fee of each transfer cannot put a contract's books above its balance. Callers hold a
/// re-entrancy guard, or a nested intake would be counted twice.
library TokenIntake {
    using SafeERC20 for IERC20;

    /// @dev Uses a permit for this contract, unless its deadline says that there is none (0) or that it
    /// is over. A failure is left to the transfer to find: anyone may
    /// have used the same permit just before, and then the allowance is there all the same.
    function tryPermit(
        IERC20 token,
        address from,
        uint256 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) internal {
        if (deadline < block.timestamp) return;
        try IERC20Permit(address(token)).permit(from, address(this), amount, deadline, v, r, s) {}
            catch {}
    }

    /// @return received tokens by which this contract's balance grew
    function pull(IERC20 token, address from, uint256 amount) internal returns (uint256 received) {
        uint256 balance = token.balanceOf(address(this));
        token.safeTransferFrom(from, address(this), amount);
        return token.balanceOf(address(this)) - balance;
    }
}
