// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ICommitteeSigned} from "../signing/ICommitteeSigned.sol";

/// @notice What a node does. Same order as `NODE_ROLES` in domain/node.ts.
enum NodeRole {
    Router,
    Miner,
    Oracle,
    Validator,
    Pool,
    Quality
}

/// @notice Where a node stands. Same order as `NODE_STATUSES` in domain/node.ts.
///
///     None ─ register ► Pending ─ admit ► Active ◄─ release ─┐
///                          │                │ └─── jail ► Jailed
///                          └────────────────┴── requestExit ─┴► Exiting ─ withdraw ► Exited
///
/// An exited node may register again.
enum NodeStatus {
    None,
    Pending,
    Active,
    Jailed,
    Exiting,
    Exited
}

/// @notice A node as the registry knows it.
struct NodeView {
    address node;
    NodeRole role;
    NodeStatus status;
    /// Tokens held as its stake, in the token's smallest unit.
    uint112 stake;
    /// Last health epoch in which it was jailed or released.
    uint64 epoch;
    /// When its stake can be withdrawn, Unix seconds; 0 while it is not exiting.
    uint64 unbondedAt;
    /// age recipient that payloads for it are wrapped for.
    string recipient;
    string metadataCid;
}

/// @title Register of nodes and their stakes
/// @notice Nodes sign their registration and anyone relays it; the committee's quorum admits, jails,
/// releases and slashes; the node itself leaves, after a delay in which it can still be slashed.
/// Every token ever staked is withdrawn, slashed or held (`money`).
interface INodeRegistry is ICommitteeSigned {
    /// @notice A node registered and waits for admission.
    /// @param stake tokens that arrived
    event NodeRegistered(
        address indexed node,
        NodeRole indexed role,
        uint256 stake,
        string recipient,
        string metadataCid
    );
    /// @notice The committee admitted a pending node.
    /// @param evidence sha2-256 digest of the evidence's CID, here and below
    event NodeAdmitted(address indexed node, bytes32 evidence);
    /// @notice The committee jailed an active node.
    event NodeJailed(address indexed node, uint64 indexed epoch, bytes32 evidence);
    /// @notice The committee released a jailed node.
    event NodeReleased(address indexed node, uint64 indexed epoch, bytes32 evidence);
    /// @notice The committee took from a node's stake for the treasury.
    /// @param amount tokens taken, at most the stake
    event NodeSlashed(address indexed node, uint256 amount, bytes32 evidence);
    /// @notice A node asked to leave.
    /// @param unbondedAt when it may withdraw, Unix seconds
    event NodeExitRequested(address indexed node, uint64 unbondedAt);
    /// @notice A node left with what remained of its stake.
    event NodeExited(address indexed node, uint256 amount);

    /// @notice Thrown when a signed deadline has passed.
    error NodeRegistryExpired(uint256 deadline);
    /// @notice Thrown when a registration's deadline is not above the node's last one: it is a replay.
    error NodeRegistryDeadlineNotNewer(uint256 deadline, uint256 lastDeadline);
    /// @notice Thrown when the registration was not signed by the node.
    error NodeRegistrySignatureInvalid(address node);
    /// @notice Thrown when fewer tokens arrived than the minimum stake.
    error NodeRegistryStakeTooLow(uint256 stake, uint256 minimumStake);
    /// @notice Thrown when a node that exited comes back in another role.
    error NodeRegistryRoleFixed(address node, NodeRole role);
    /// @notice Thrown when a text is empty or longer than its limit.
    error NodeRegistryTextInvalid(uint256 length, uint256 maxLength);
    /// @notice Thrown when a node's status does not allow the call.
    error NodeRegistryStatusInvalid(address node, NodeStatus status);
    /// @notice Thrown when jail or release carries an epoch before the last applied one.
    error NodeRegistryEpochTooOld(uint64 epoch, uint64 lastEpoch);
    /// @notice Thrown when a node has no stake left to slash.
    error NodeRegistryNothingToSlash(address node);
    /// @notice Thrown when a stake is still bonded.
    error NodeRegistryStillBonded(uint64 unbondedAt);

    /// @notice EIP-712 type hash of `RegisterNode`, see domain/attestation.ts for all fields.
    function REGISTER_NODE_TYPEHASH() external view returns (bytes32);
    /// @notice EIP-712 type hash of `AdmitNode`.
    function ADMIT_NODE_TYPEHASH() external view returns (bytes32);
    /// @notice EIP-712 type hash of `JailNode`.
    function JAIL_NODE_TYPEHASH() external view returns (bytes32);
    /// @notice EIP-712 type hash of `ReleaseNode`.
    function RELEASE_NODE_TYPEHASH() external view returns (bytes32);
    /// @notice EIP-712 type hash of `SlashNode`.
    function SLASH_NODE_TYPEHASH() external view returns (bytes32);

    /// @notice Registers a node and takes its stake. Anyone may relay; the tokens come from the node.
    /// @param node signs, and pays the stake
    /// @param role fixed for an address from its first registration on
    /// @param stake tokens to take; what arrives must be `minimumStake` at least
    /// @param recipient age recipient, 1 to 4,096 bytes
    /// @param metadataCid of the node's description on IPFS, 1 to 128 bytes
    /// @param deadline Unix seconds; above that of the node's last registration
    /// @param nodeSignature over `RegisterNode`, by the node's key or contract (ERC-1271)
    /// @param permitDeadline with `v`, `r`, `s`: the node's EIP-2612 permit of `stake` for this
    /// contract. An unusable permit is ignored where the allowance is there already.
    function register(
        address node,
        NodeRole role,
        uint256 stake,
        string calldata recipient,
        string calldata metadataCid,
        uint256 deadline,
        bytes calldata nodeSignature,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice Makes a pending node active.
    /// @param signatures of a quorum over `AdmitNode`, by ascending signer; here and below a message
    /// applies once
    function admit(address node, bytes32 evidence, bytes[] calldata signatures) external;

    /// @notice Makes an active node jailed.
    /// @param epoch health epoch of the finding, not before the last applied one
    function jail(address node, uint64 epoch, bytes32 evidence, bytes[] calldata signatures)
        external;

    /// @notice Makes a jailed node active.
    /// @param epoch health epoch of the finding, not before the last applied one
    function release(address node, uint64 epoch, bytes32 evidence, bytes[] calldata signatures)
        external;

    /// @notice Moves tokens of a node's stake to the treasury, also while it exits.
    /// @param amount tokens; what exceeds the stake is ignored
    function slash(address node, uint256 amount, bytes32 evidence, bytes[] calldata signatures)
        external;

    /// @notice Starts the caller's exit, from any status in which it has a stake.
    function requestExit() external;

    /// @notice Pays the caller's stake out, once unbonded.
    function withdraw() external;

    /// @notice A node by its address; status `None` where it never registered.
    function nodeOf(address node) external view returns (NodeView memory);

    /// @notice Addresses that ever registered.
    function nodeCount() external view returns (uint256);

    /// @notice The address that registered as the `index`th, from 0.
    function nodeAt(uint256 index) external view returns (address);

    /// @notice A page of the nodes of a role, in order of first registration and whatever their
    /// status; shorter than `limit` (or empty) at the end.
    function nodesOf(NodeRole role, uint256 offset, uint256 limit)
        external
        view
        returns (NodeView[] memory);

    /// @notice Tokens ever staked, and where they went: `staked = withdrawn + slashed + held`.
    function money()
        external
        view
        returns (uint256 staked, uint256 withdrawn, uint256 slashed, uint256 held);

    /// @notice The token that stakes are paid in.
    function token() external view returns (IERC20);
    /// @notice Where slashed tokens go.
    function treasury() external view returns (address);
    /// @notice Fewest tokens that a registration must bring.
    function minimumStake() external view returns (uint256);
    /// @notice Seconds between the request to exit and the withdrawal.
    function unbondingDelay() external view returns (uint64);
}
