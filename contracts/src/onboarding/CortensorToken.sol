// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ICortensorToken} from "./ICortensorToken.sol";

contract CortensorToken is ICortensorToken, ERC20Permit, ERC20Capped, Ownable {
    constructor(address owner_, uint256 cap_)
        ERC20("Cortensor", "COR")
        ERC20Permit("Cortensor")
        ERC20Capped(cap_)
        Ownable(owner_)
    {}

    /// @inheritdoc ICortensorToken
    function mint(address to, uint256 amount) external onlyOwner {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 value)
        internal
        override(ERC20, ERC20Capped)
    {
        super._update(from, to, value);
    }
}
