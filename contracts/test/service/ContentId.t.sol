// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {contentIdOf} from "../../src/service/ContentId.sol";
import {Base} from "../Base.sol";

contract ContentIdTest is Base {
    /// @dev The first is the CID that IPFS tools print for the raw block `hello world`; the others are
    /// what multiformats makes of digests at the edges.
    function test_contentIdOf_isTextOfCid() public pure {
        vm.assertEq(
            contentIdOf(sha256("hello world")),
            "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
            "hello world"
        );
        vm.assertEq(
            contentIdOf(bytes32(uint256(1))),
            "bafkreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaae",
            "lowest bit"
        );
        vm.assertEq(
            contentIdOf(bytes32(uint256(1) << 255)),
            "bafkreieaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "highest bit"
        );
        vm.assertEq(
            contentIdOf(bytes32(type(uint256).max)),
            "bafkreih777777777777777777777777777777777777777777777777774",
            "all bits"
        );
        vm.assertEq(contentIdOf(0), "", "none");
    }

    /// @dev Read back letter by letter, 5 bits each, as RFC 4648 has it.
    function test_fuzz_contentIdOf_holdsDigest(bytes32 digest) public pure {
        if (digest == 0) return;
        bytes memory text = bytes(contentIdOf(digest));
        vm.assertEq(text.length, 59, "length");
        vm.assertEq(bytes32(text[0]), bytes32("b"), "multibase");
        uint256 high;
        uint256 low;
        for (uint256 i = 1; i < 59; i++) {
            uint8 letter = uint8(text[i]);
            uint256 five = letter >= 97 ? letter - 97 : letter - 24;
            high = (high << 5) | (low >> 251);
            low = (low << 5) | five;
        }
        // 290 bits: 36 bytes and two bits of padding.
        vm.assertEq(low & 3, 0, "padding");
        vm.assertEq(bytes32((high << 254) | (low >> 2)), digest, "digest");
        vm.assertEq(high >> 2, 0x01551220, "prefix");
    }
}
