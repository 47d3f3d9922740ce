// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {TokenIntake} from "../money/TokenIntake.sol";
import {CommitteeSigned} from "../signing/CommitteeSigned.sol";
import {IOracleCommittee} from "../signing/IOracleCommittee.sol";
import {INodeRegistry, NodeRole, NodeStatus, NodeView} from "./INodeRegistry.sol";

contract NodeRegistry is INodeRegistry, CommitteeSigned, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;
    using TokenIntake for IERC20;

    /// @dev The first five fields share a slot.
    struct Node {
        NodeRole role;
        NodeStatus status;
        uint112 stake;
        uint64 epoch;
        uint64 unbondedAt;
        uint256 lastDeadline;
        string recipient;
        string metadataCid;
    }

    /// @dev Below 2^112 each, as the sums of stakes that are; one slot for the two that move at once.
    struct Money {
        uint128 staked;
        uint128 held;
        uint128 withdrawn;
        uint128 slashed;
    }

    /// @inheritdoc INodeRegistry
    bytes32 public constant REGISTER_NODE_TYPEHASH = keccak256(
        "RegisterNode(address node,uint8 role,uint256 stake,string recipient,string metadataCid,uint256 deadline)"
    );
    /// @inheritdoc INodeRegistry
    bytes32 public constant ADMIT_NODE_TYPEHASH =
        keccak256("AdmitNode(address node,bytes32 evidence)");
    /// @inheritdoc INodeRegistry
    bytes32 public constant JAIL_NODE_TYPEHASH =
        keccak256("JailNode(address node,uint64 epoch,bytes32 evidence)");
    /// @inheritdoc INodeRegistry
    bytes32 public constant RELEASE_NODE_TYPEHASH =
        keccak256("ReleaseNode(address node,uint64 epoch,bytes32 evidence)");
    /// @inheritdoc INodeRegistry
    bytes32 public constant SLASH_NODE_TYPEHASH =
        keccak256("SlashNode(address node,uint256 amount,bytes32 evidence)");

    uint256 private constant MAX_RECIPIENT_BYTES = 4096;
    uint256 private constant MAX_CID_BYTES = 128;

    IERC20 private immutable _token;
    address private immutable _treasury;
    uint256 private immutable _minimumStake;
    uint64 private immutable _unbondingDelay;

    mapping(address node => Node) private _nodes;
    address[] private _all;
    mapping(NodeRole role => address[]) private _byRole;
    Money private _money;

    constructor(
        IERC20 token_,
        IOracleCommittee committee_,
        address treasury_,
        uint256 minimumStake_,
        uint64 unbondingDelay_
    ) CommitteeSigned(committee_) {
        _token = token_;
        _treasury = treasury_;
        _minimumStake = minimumStake_;
        _unbondingDelay = unbondingDelay_;
    }

    /// @inheritdoc INodeRegistry
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
    ) external nonReentrant {
        bytes32 structHash = keccak256(
            abi.encode(
                REGISTER_NODE_TYPEHASH,
                node,
                role,
                stake,
                keccak256(bytes(recipient)),
                keccak256(bytes(metadataCid)),
                deadline
            )
        );
        if (!SignatureChecker.isValidSignatureNowCalldata(
                node, _hashTypedDataV4(structHash), nodeSignature
            )) revert NodeRegistrySignatureInvalid(node);
        _enrol(node, role, recipient, metadataCid, deadline);

        _token.tryPermit(node, stake, permitDeadline, v, r, s);
        uint256 received = _token.pull(node, stake);
        if (received < _minimumStake) revert NodeRegistryStakeTooLow(received, _minimumStake);
        _nodes[node].stake = received.toUint112();
        _money.staked += received.toUint112();
        _money.held += received.toUint112();
        emit NodeRegistered(node, role, received, recipient, metadataCid);
    }

    /// @inheritdoc INodeRegistry
    function admit(address node, bytes32 evidence, bytes[] calldata signatures) external {
        _requireQuorumOnce(keccak256(abi.encode(ADMIT_NODE_TYPEHASH, node, evidence)), signatures);
        _move(node, NodeStatus.Pending, NodeStatus.Active);
        emit NodeAdmitted(node, evidence);
    }

    /// @inheritdoc INodeRegistry
    function jail(address node, uint64 epoch, bytes32 evidence, bytes[] calldata signatures)
        external
    {
        _requireQuorumOnce(
            keccak256(abi.encode(JAIL_NODE_TYPEHASH, node, epoch, evidence)), signatures
        );
        _moveAt(epoch, node, NodeStatus.Active, NodeStatus.Jailed);
        emit NodeJailed(node, epoch, evidence);
    }

    /// @inheritdoc INodeRegistry
    function release(address node, uint64 epoch, bytes32 evidence, bytes[] calldata signatures)
        external
    {
        _requireQuorumOnce(
            keccak256(abi.encode(RELEASE_NODE_TYPEHASH, node, epoch, evidence)), signatures
        );
        _moveAt(epoch, node, NodeStatus.Jailed, NodeStatus.Active);
        emit NodeReleased(node, epoch, evidence);
    }

    /// @inheritdoc INodeRegistry
    function slash(address node, uint256 amount, bytes32 evidence, bytes[] calldata signatures)
        external
        nonReentrant
    {
        _requireQuorumOnce(
            keccak256(abi.encode(SLASH_NODE_TYPEHASH, node, amount, evidence)), signatures
        );
        uint112 stake = _nodes[node].stake;
        if (stake == 0) revert NodeRegistryNothingToSlash(node);
        uint112 taken = amount < stake ? uint112(amount) : stake;
        _nodes[node].stake = stake - taken;
        _money.slashed += taken;
        _money.held -= taken;
        emit NodeSlashed(node, taken, evidence);
        _token.safeTransfer(_treasury, taken);
    }

    /// @inheritdoc INodeRegistry
    function requestExit() external {
        Node storage self = _nodes[msg.sender];
        NodeStatus status = self.status;
        if (
            status != NodeStatus.Pending && status != NodeStatus.Active
                && status != NodeStatus.Jailed
        ) {
            revert NodeRegistryStatusInvalid(msg.sender, status);
        }
        self.status = NodeStatus.Exiting;
        self.unbondedAt = uint64(block.timestamp) + _unbondingDelay;
        emit NodeExitRequested(msg.sender, self.unbondedAt);
    }

    /// @inheritdoc INodeRegistry
    function withdraw() external nonReentrant {
        Node storage self = _nodes[msg.sender];
        _move(msg.sender, NodeStatus.Exiting, NodeStatus.Exited);
        if (block.timestamp < self.unbondedAt) revert NodeRegistryStillBonded(self.unbondedAt);
        uint112 amount = self.stake;
        self.stake = 0;
        self.unbondedAt = 0;
        _money.withdrawn += amount;
        _money.held -= amount;
        emit NodeExited(msg.sender, amount);
        _token.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc INodeRegistry
    function nodeOf(address node) public view returns (NodeView memory) {
        Node storage self = _nodes[node];
        return NodeView({
            node: node,
            role: self.role,
            status: self.status,
            stake: self.stake,
            epoch: self.epoch,
            unbondedAt: self.unbondedAt,
            recipient: self.recipient,
            metadataCid: self.metadataCid
        });
    }

    /// @inheritdoc INodeRegistry
    function nodeCount() external view returns (uint256) {
        return _all.length;
    }

    /// @inheritdoc INodeRegistry
    function nodeAt(uint256 index) external view returns (address) {
        return _all[index];
    }

    /// @inheritdoc INodeRegistry
    function nodesOf(NodeRole role, uint256 offset, uint256 limit)
        external
        view
        returns (NodeView[] memory page)
    {
        address[] storage nodes = _byRole[role];
        uint256 left = offset < nodes.length ? nodes.length - offset : 0;
        page = new NodeView[](limit < left ? limit : left);
        for (uint256 i = 0; i < page.length; i++) {
            page[i] = nodeOf(nodes[offset + i]);
        }
    }

    /// @inheritdoc INodeRegistry
    function money()
        external
        view
        returns (uint256 staked, uint256 withdrawn, uint256 slashed, uint256 held)
    {
        return (_money.staked, _money.withdrawn, _money.slashed, _money.held);
    }

    /// @inheritdoc INodeRegistry
    function token() external view returns (IERC20) {
        return _token;
    }

    /// @inheritdoc INodeRegistry
    function treasury() external view returns (address) {
        return _treasury;
    }

    /// @inheritdoc INodeRegistry
    function minimumStake() external view returns (uint256) {
        return _minimumStake;
    }

    /// @inheritdoc INodeRegistry
    function unbondingDelay() external view returns (uint64) {
        return _unbondingDelay;
    }

    /// @dev Writes all of a registration but the stake, which is known only once it has arrived.
    function _enrol(
        address node,
        NodeRole role,
        string calldata recipient,
        string calldata metadataCid,
        uint256 deadline
    ) private {
        Node storage self = _nodes[node];
        _requireText(recipient, MAX_RECIPIENT_BYTES);
        _requireText(metadataCid, MAX_CID_BYTES);
        if (deadline < block.timestamp) revert NodeRegistryExpired(deadline);
        if (self.status == NodeStatus.None) {
            _all.push(node);
            _byRole[role].push(node);
            self.role = role;
        } else {
            if (self.status != NodeStatus.Exited) {
                revert NodeRegistryStatusInvalid(node, self.status);
            }
            if (self.role != role) revert NodeRegistryRoleFixed(node, self.role);
            if (deadline <= self.lastDeadline) {
                revert NodeRegistryDeadlineNotNewer(deadline, self.lastDeadline);
            }
        }
        self.status = NodeStatus.Pending;
        self.lastDeadline = deadline;
        self.recipient = recipient;
        self.metadataCid = metadataCid;
    }

    function _moveAt(uint64 epoch, address node, NodeStatus from, NodeStatus to) private {
        uint64 last = _nodes[node].epoch;
        if (epoch < last) revert NodeRegistryEpochTooOld(epoch, last);
        _nodes[node].epoch = epoch;
        _move(node, from, to);
    }

    function _move(address node, NodeStatus from, NodeStatus to) private {
        NodeStatus status = _nodes[node].status;
        if (status != from) revert NodeRegistryStatusInvalid(node, status);
        _nodes[node].status = to;
    }

    function _requireText(string calldata text, uint256 maxLength) private pure {
        uint256 length = bytes(text).length;
        if (length == 0 || length > maxLength) revert NodeRegistryTextInvalid(length, maxLength);
    }
}
