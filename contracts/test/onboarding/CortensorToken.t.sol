// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {World} from "../World.sol";

contract CortensorTokenTest is World {
    address private constant ALICE = address(0xa11ce);

    function test_mint_createsTokens_byOwner() public {
        token.mint(ALICE, 5);
        vm.assertEq(token.balanceOf(ALICE), 5, "balance");
        vm.assertEq(token.totalSupply(), 5, "supply");
    }

    function test_mint_reverts_byOthers() public {
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, ALICE));
        token.mint(ALICE, 1);
    }

    function test_mint_reverts_aboveCap() public {
        token.mint(ALICE, 1_000_000_000 ether);
        vm.expectPartialRevert(ERC20Capped.ERC20ExceededCap.selector);
        token.mint(ALICE, 1);
    }

    /// @dev Clients sign permits in the same domain form as all other messages of the network.
    function test_DOMAIN_SEPARATOR_isTheNetworks() public view {
        bytes32 digest = digestOf(address(token), bytes32(0));
        bytes32 expected =
            keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), bytes32(0)));
        vm.assertEq(digest, expected, "domain");
    }
}
