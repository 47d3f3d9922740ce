// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IUserRegistry, SealingLevel, User} from "../../src/onboarding/IUserRegistry.sol";
import {World} from "../World.sol";

contract UserRegistryTest is World {
    uint256 private constant KEY = 0xa11ce;

    function test_register_storesEntry_byRelay() public {
        uint256 deadline = block.timestamp + 60;
        bytes memory signature = sign(KEY, digest("age1user", SealingLevel.Sealed, deadline));
        vm.expectEmit(address(users));
        emit IUserRegistry.UserRegistered(
            vm.addr(KEY), "age1user", SealingLevel.Sealed, deadline, true
        );
        users.register(vm.addr(KEY), "age1user", SealingLevel.Sealed, deadline, signature);

        User memory user = users.userOf(vm.addr(KEY));
        vm.assertEq(user.recipient, "age1user", "recipient");
        vm.assertEq(uint256(user.level), uint256(SealingLevel.Sealed), "level");
        vm.assertEq(user.deadline, deadline, "deadline");
    }

    function test_register_replacesEntry_withNewerDeadline() public {
        registerAs("age1old", SealingLevel.Open, block.timestamp + 60);
        registerAs("age1new", SealingLevel.SealedPq, block.timestamp + 61);
        User memory user = users.userOf(vm.addr(KEY));
        vm.assertEq(user.recipient, "age1new", "recipient");
        vm.assertEq(uint256(user.level), uint256(SealingLevel.SealedPq), "level");
    }

    function test_register_reverts_whenReplayed() public {
        uint256 deadline = block.timestamp + 60;
        registerAs("age1old", SealingLevel.Open, deadline);
        bytes memory signature = sign(KEY, digest("age1old", SealingLevel.Open, deadline));
        vm.expectRevert(
            abi.encodeWithSelector(
                IUserRegistry.UserRegistryDeadlineNotNewer.selector, deadline, deadline
            )
        );
        users.register(vm.addr(KEY), "age1old", SealingLevel.Open, deadline, signature);
    }

    function test_register_reverts_whenExpired() public {
        uint256 deadline = block.timestamp - 1;
        bytes memory signature = sign(KEY, digest("age1user", SealingLevel.Open, deadline));
        vm.expectRevert(
            abi.encodeWithSelector(IUserRegistry.UserRegistryExpired.selector, deadline)
        );
        users.register(vm.addr(KEY), "age1user", SealingLevel.Open, deadline, signature);
    }

    function test_register_reverts_whenSignedForAnotherChain() public {
        uint256 deadline = block.timestamp + 60;
        bytes memory signature = sign(KEY, digest("age1user", SealingLevel.Open, deadline));
        vm.chainId(block.chainid + 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IUserRegistry.UserRegistrySignatureInvalid.selector, vm.addr(KEY)
            )
        );
        users.register(vm.addr(KEY), "age1user", SealingLevel.Open, deadline, signature);
    }

    function test_register_reverts_whenFieldDiffers() public {
        uint256 deadline = block.timestamp + 60;
        bytes memory signature = sign(KEY, digest("age1user", SealingLevel.Sealed, deadline));
        vm.expectPartialRevert(IUserRegistry.UserRegistrySignatureInvalid.selector);
        users.register(vm.addr(KEY), "age1user", SealingLevel.Open, deadline, signature);
    }

    function test_register_reverts_withoutRecipient() public {
        vm.expectRevert(
            abi.encodeWithSelector(IUserRegistry.UserRegistryTextInvalid.selector, 0, 4096)
        );
        users.register(vm.addr(KEY), "", SealingLevel.Open, block.timestamp, "");
    }

    function registerAs(string memory recipient, SealingLevel level, uint256 deadline) private {
        bytes memory signature = sign(KEY, digest(recipient, level, deadline));
        users.register(vm.addr(KEY), recipient, level, deadline, signature);
    }

    function digest(string memory recipient, SealingLevel level, uint256 deadline)
        private
        view
        returns (bytes32)
    {
        return digestOf(
            address(users),
            keccak256(
                abi.encode(
                    users.REGISTER_USER_TYPEHASH(),
                    vm.addr(KEY),
                    keccak256(bytes(recipient)),
                    level,
                    deadline
                )
            )
        );
    }
}
