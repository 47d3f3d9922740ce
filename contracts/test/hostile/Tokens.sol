// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @dev Keeps one part in a hundred of every transfer.
contract FeeToken is ERC20Permit {
    constructor() ERC20("Fee", "FEE") ERC20Permit("Cortensor") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (from == address(0) || to == address(0)) return super._update(from, to, value);
        super._update(from, address(0), value / 100);
        super._update(from, to, value - value / 100);
    }
}

/// @dev Answers false instead of moving anything, while `isRefusing`.
contract RefusingToken is ERC20Permit {
    bool private _isRefusing;

    constructor() ERC20("Refusing", "NO") ERC20Permit("Cortensor") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function refuse(bool isRefusing) external {
        _isRefusing = isRefusing;
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        return !_isRefusing && super.transfer(to, value);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        return !_isRefusing && super.transferFrom(from, to, value);
    }
}

/// @dev Calls back in the middle of every transfer once told to, and remembers what came of it.
contract ReentrantToken is ERC20Permit {
    address private _target;
    bytes private _call;
    uint256 public attempts;
    uint256 public successes;
    bytes public lastReason;

    constructor() ERC20("Reentrant", "RE") ERC20Permit("Cortensor") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function attack(address target, bytes calldata call) external {
        _target = target;
        _call = call;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (_target == address(0)) return;
        attempts++;
        (bool success, bytes memory reason) = _target.call(_call);
        if (success) successes++;
        lastReason = reason;
    }
}
