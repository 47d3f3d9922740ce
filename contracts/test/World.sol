// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IHealthLedger} from "../src/health/IHealthLedger.sol";
import {INodePool, NodeKind} from "../src/health/INodePool.sol";
import {ICortensorToken} from "../src/onboarding/ICortensorToken.sol";
import {INodeRegistry, NodeRole} from "../src/onboarding/INodeRegistry.sol";
import {IUserRegistry} from "../src/onboarding/IUserRegistry.sol";
import {ISessionManager} from "../src/service/ISessionManager.sol";
import {ISessionPayment, MinerPayment, SessionCharge} from "../src/service/ISessionPayment.sol";
import {ISessionQueue} from "../src/service/ISessionQueue.sol";
import {SessionId} from "../src/service/SessionId.sol";
import {IOracleCommittee} from "../src/signing/IOracleCommittee.sol";
import {Base} from "./Base.sol";

interface IPermitToken is IERC20, ICortensorToken {
    function DOMAIN_SEPARATOR() external view returns (bytes32);
    function nonces(address owner) external view returns (uint256);
}

/// @dev All contracts deployed, a committee of five with a quorum of three, and the signatures that
/// the network's parties give. Contracts come from artifacts by name, so that a test compiles
/// without compiling them again.
abstract contract World is Base {
    bytes32 private constant DOMAIN_TYPEHASH = keccak256(
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    );
    bytes32 private constant PERMIT_TYPEHASH = keccak256(
        "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
    );

    uint256 internal constant MINIMUM_STAKE = 100 ether;
    uint64 internal constant UNBONDING = 7 days;
    uint64 internal constant EXIT_DELAY = 1 days;
    uint32 internal constant QUORUM = 3;
    uint256 internal constant NO_DEADLINE = type(uint64).max;

    address internal constant SLASH_TREASURY = address(0x51a54);
    address internal constant FEE_TREASURY = address(0xfee);
    address internal constant OPERATOR = address(0x09e7a704);
    uint256 internal constant CALLBACK_GAS_PRICE = 1e9;

    IPermitToken internal token;
    IOracleCommittee internal committee;
    INodeRegistry internal registry;
    IUserRegistry internal users;
    IHealthLedger internal ledger;
    INodePool internal pool;
    ISessionPayment internal payment;
    ISessionManager internal manager;
    ISessionQueue internal queue;

    /// @dev By ascending address.
    uint256[] internal oracleKeys;

    function setUp() public virtual {
        vm.warp(1_700_000_000);
        token = IPermitToken(
            vm.deployCode(
                "CortensorToken.sol:CortensorToken",
                abi.encode(address(this), uint256(1_000_000_000 ether))
            )
        );
        deployAround(address(token));
    }

    /// @dev Deploys everything but the token, which may be a hostile one.
    function deployAround(address token_) internal {
        token = IPermitToken(token_);
        oracleKeys = sortedKeys(5, 1);
        committee = IOracleCommittee(
            vm.deployCode(
                "OracleCommittee.sol:OracleCommittee", abi.encode(addressesOf(oracleKeys), QUORUM)
            )
        );
        registry = INodeRegistry(
            vm.deployCode(
                "NodeRegistry.sol:NodeRegistry",
                abi.encode(token, committee, SLASH_TREASURY, MINIMUM_STAKE, UNBONDING)
            )
        );
        users = IUserRegistry(vm.deployCode("UserRegistry.sol:UserRegistry", ""));
        ledger =
            IHealthLedger(vm.deployCode("HealthLedger.sol:HealthLedger", abi.encode(committee)));
        pool = INodePool(vm.deployCode("NodePool.sol:NodePool", abi.encode(committee)));
        payment = ISessionPayment(
            vm.deployCode(
                "SessionPayment.sol:SessionPayment",
                abi.encode(token, committee, FEE_TREASURY, EXIT_DELAY, OPERATOR, CALLBACK_GAS_PRICE)
            )
        );
        manager = payment.manager();
        queue = payment.queue();
    }

    // Signatures

    function digestOf(address verifier, bytes32 structHash) internal view returns (bytes32) {
        return digestOf(verifier, block.chainid, structHash);
    }

    function digestOf(address verifier, uint256 chainId, bytes32 structHash)
        internal
        pure
        returns (bytes32)
    {
        bytes32 separator = keccak256(
            abi.encode(DOMAIN_TYPEHASH, keccak256("Cortensor"), keccak256("1"), chainId, verifier)
        );
        return keccak256(abi.encodePacked("\x19\x01", separator, structHash));
    }

    function sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    /// @dev The first `count` oracles' signatures, in the order that the committee wants.
    function signBy(uint256 count, bytes32 digest)
        internal
        view
        returns (bytes[] memory signatures)
    {
        signatures = new bytes[](count);
        for (uint256 i = 0; i < count; i++) {
            signatures[i] = sign(oracleKeys[i], digest);
        }
    }

    /// @dev A quorum's signatures over a message to `verifier`.
    function quorumOver(address verifier, bytes32 structHash)
        internal
        view
        returns (bytes[] memory)
    {
        return signBy(QUORUM, digestOf(verifier, structHash));
    }

    function signPermit(uint256 key, address spender, uint256 amount)
        internal
        view
        returns (uint8 v, bytes32 r, bytes32 s)
    {
        address owner = vm.addr(key);
        bytes32 structHash = keccak256(
            abi.encode(PERMIT_TYPEHASH, owner, spender, amount, token.nonces(owner), NO_DEADLINE)
        );
        return
            vm.sign(
                key, keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), structHash))
            );
    }

    function sortedKeys(uint256 count, uint256 seed) internal pure returns (uint256[] memory keys) {
        keys = new uint256[](count);
        for (uint256 i = 0; i < count; i++) {
            uint256 key = uint256(keccak256(abi.encode("key", seed, i)));
            uint256 j = i;
            for (; j > 0 && vm.addr(keys[j - 1]) > vm.addr(key); j--) {
                keys[j] = keys[j - 1];
            }
            keys[j] = key;
        }
    }

    function addressesOf(uint256[] memory keys) internal pure returns (address[] memory list) {
        list = new address[](keys.length);
        for (uint256 i = 0; i < keys.length; i++) {
            list[i] = vm.addr(keys[i]);
        }
    }

    // Nodes

    function register(uint256 key, uint256 stake) internal returns (address node) {
        return register(key, NodeRole.Miner, stake, block.timestamp + 1 hours);
    }

    function register(uint256 key, NodeRole role, uint256 stake, uint256 deadline)
        internal
        returns (address node)
    {
        node = vm.addr(key);
        bytes memory signature = signRegistration(key, role, stake, deadline);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(key, address(registry), stake);
        registry.register(
            node, role, stake, "age1node", "bafknode", deadline, signature, NO_DEADLINE, v, r, s
        );
    }

    function signRegistration(uint256 key, NodeRole role, uint256 stake, uint256 deadline)
        internal
        view
        returns (bytes memory)
    {
        bytes32 structHash = keccak256(
            abi.encode(
                registry.REGISTER_NODE_TYPEHASH(),
                vm.addr(key),
                role,
                stake,
                keccak256("age1node"),
                keccak256("bafknode"),
                deadline
            )
        );
        return sign(key, digestOf(address(registry), structHash));
    }

    function admission(address node, bytes32 evidence) internal view returns (bytes[] memory) {
        return quorumOver(
            address(registry), keccak256(abi.encode(registry.ADMIT_NODE_TYPEHASH(), node, evidence))
        );
    }

    function jailing(address node, uint64 epoch, bytes32 evidence)
        internal
        view
        returns (bytes[] memory)
    {
        return quorumOver(
            address(registry),
            keccak256(abi.encode(registry.JAIL_NODE_TYPEHASH(), node, epoch, evidence))
        );
    }

    function releasing(address node, uint64 epoch, bytes32 evidence)
        internal
        view
        returns (bytes[] memory)
    {
        return quorumOver(
            address(registry),
            keccak256(abi.encode(registry.RELEASE_NODE_TYPEHASH(), node, epoch, evidence))
        );
    }

    function slashing(address node, uint256 amount, bytes32 evidence)
        internal
        view
        returns (bytes[] memory)
    {
        return quorumOver(
            address(registry),
            keccak256(abi.encode(registry.SLASH_NODE_TYPEHASH(), node, amount, evidence))
        );
    }

    // Health

    function reporting(uint64 epoch, bytes32 root, bytes memory scores, bytes32 evidence)
        internal
        view
        returns (bytes[] memory)
    {
        return quorumOver(
            address(ledger),
            keccak256(
                abi.encode(ledger.REPORT_EPOCH_TYPEHASH(), epoch, root, keccak256(scores), evidence)
            )
        );
    }

    function entering(address node, NodeKind kind, bytes32 evidence)
        internal
        view
        returns (bytes[] memory)
    {
        return quorumOver(
            address(pool), keccak256(abi.encode(pool.ENTER_POOL_TYPEHASH(), node, kind, evidence))
        );
    }

    function leaving(address node, bytes32 evidence) internal view returns (bytes[] memory) {
        return quorumOver(
            address(pool), keccak256(abi.encode(pool.LEAVE_POOL_TYPEHASH(), node, evidence))
        );
    }

    // Sessions

    function openSession(uint256 key, bytes32 clientReference, uint256 amount)
        internal
        returns (SessionId)
    {
        bytes memory signature = signOpening(key, clientReference, amount);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(key, address(payment), amount);
        return manager.openSession(
            vm.addr(key),
            clientReference,
            keccak256("policy"),
            amount,
            signature,
            NO_DEADLINE,
            v,
            r,
            s
        );
    }

    function signOpening(uint256 key, bytes32 clientReference, uint256 amount)
        internal
        view
        returns (bytes memory)
    {
        bytes32 structHash = keccak256(
            abi.encode(
                manager.OPEN_SESSION_TYPEHASH(),
                vm.addr(key),
                clientReference,
                keccak256("policy"),
                amount
            )
        );
        return sign(key, digestOf(address(manager), structHash));
    }

    function settling(
        bytes32 batchId,
        bytes32 root,
        SessionCharge[] memory charges,
        MinerPayment[] memory payments,
        uint128 fee
    ) internal view returns (bytes[] memory) {
        return quorumOver(
            address(payment),
            keccak256(
                abi.encode(
                    payment.SETTLE_TYPEHASH(),
                    batchId,
                    root,
                    keccak256(abi.encode(charges)),
                    keccak256(abi.encode(payments)),
                    fee
                )
            )
        );
    }

    function closing(SessionId sessionId, uint256 charged) internal view returns (bytes[] memory) {
        return quorumOver(
            address(payment),
            keccak256(abi.encode(payment.CLOSE_SESSION_TYPEHASH(), sessionId, charged))
        );
    }

    /// @dev A batch of one session and one miner.
    function oneCharge(SessionId sessionId, uint32 word, uint256 mask, uint128 amount)
        internal
        pure
        returns (SessionCharge[] memory charges)
    {
        charges = new SessionCharge[](1);
        charges[0] = SessionCharge(sessionId, word, mask, amount);
    }

    function onePayment(address miner, uint128 amount)
        internal
        pure
        returns (MinerPayment[] memory payments)
    {
        payments = new MinerPayment[](1);
        payments[0] = MinerPayment(miner, amount);
    }
}
