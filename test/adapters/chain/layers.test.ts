/** The wrappers of the three layers against the real contracts: what they sign, encode and read. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { id, Wallet } from 'ethers';
import type pg from 'pg';
import { deployLayer, type DeployParams } from '../../../adapters/chain/deploy.js';
import { HealthChain, scoresRoot } from '../../../adapters/chain/health.js';
import { merkleProof, merkleRoot, taskLeaf } from '../../../adapters/chain/merkle.js';
import { Outbox, type ReceiptSummary } from '../../../adapters/chain/outbox.js';
import { scoresHashOf } from '../../../adapters/chain/pack-scores.js';
import { OnboardingChain } from '../../../adapters/chain/registry.js';
import { ServiceChain } from '../../../adapters/chain/service.js';
import { settleMessage } from '../../../adapters/chain/settle-message.js';
import { signMessage, type MessageValue } from '../../../adapters/chain/sign.js';
import { signPermit, TokenChain } from '../../../adapters/chain/token.js';
import type { Write } from '../../../adapters/chain/contract.js';
import { cidOf, digestOf } from '../../../adapters/ipfs/cid.js';
import { sessionIdOf } from '../../../adapters/seal/session-id.js';
import { migrate } from '../../../adapters/database/migrate.js';
import { openPool } from '../../../adapters/database/pool.js';
import { signingDomain, type MessageType } from '../../../domain/attestation.js';
import type { LayerName } from '../../../domain/config.js';
import type { Address, Hex } from '../../../domain/ids.js';
import { isBalanced } from '../../../domain/money.js';
import type {
  DepositRequest,
  OpenSessionRequest,
  PolicyChange,
  WithdrawalRequest,
} from '../../../domain/session.js';
import { sumBatch } from '../../../domain/settlement.js';
import type { SettledTask } from '../../../domain/task.js';
import { startTestPostgres, type TestPostgres } from '../database/postgres.js';
import { CHAIN_ID, startTestAnvil, WALLET, type TestAnvil } from './anvil.js';

const TOKENS = 10n ** 18n;
const TREASURY: Address = '0x00000000000000000000000000000000000000DD';
const DEADLINE = 4_000_000_000;
const oracles = [1, 2, 3].map((n) => new Wallet(id(`oracle ${n}`)));
const evidenceCid = cidOf(new TextEncoder().encode('evidence'));
const params: DeployParams = {
  owner: WALLET.address as Address,
  tokenCapWei: 1_000_000n * TOKENS,
  committee: oracles.map((oracle) => oracle.address as Address),
  quorum: 2,
  treasury: TREASURY,
  minimumStakeWei: 100n * TOKENS,
  unbondingSeconds: 60,
  exitSeconds: 60,
};

let postgres: TestPostgres;
let anvil: TestAnvil;
let pool: pg.Pool;
let outbox: Outbox;
const contracts = {} as Record<LayerName, Record<string, Address>>;
before(async () => {
  [postgres, anvil] = await Promise.all([startTestPostgres(), startTestAnvil()]);
  pool = openPool(await postgres.createDatabase());
  await migrate(pool);
  const layer = { provider: anvil.provider, chainId: CHAIN_ID, confirmations: 0, wallet: WALLET };
  outbox = new Outbox({ pool, layers: { onboarding: layer, health: layer, service: layer } });
  for (const name of ['onboarding', 'health', 'service'] as const) {
    contracts[name] = await deployLayer(outbox, name, params);
  }
});
after(async () => {
  await pool.end();
  await Promise.all([anvil.stop(), postgres.stop()]);
});

let sent = 0;
async function execute(layer: LayerName, write: Write): Promise<ReceiptSummary> {
  return await outbox.execute({ key: `test-${sent++}`, layer, ...write });
}

/** Signatures of a quorum, by ascending signer. */
async function approve(type: MessageType, contract: Address, value: MessageValue): Promise<Hex[]> {
  const signers = oracles
    .slice(0, 2)
    .sort((a, b) => (BigInt(a.address) < BigInt(b.address) ? -1 : 1));
  const domain = signingDomain(CHAIN_ID, contract);
  return await Promise.all(signers.map((signer) => signMessage(signer, type, domain, value)));
}

/** Mints tokens to an owner and signs a permit for them. */
async function fund(layer: 'onboarding' | 'service', owner: Wallet, spender: Address, wei: bigint) {
  const token = new TokenChain(anvil.provider, contracts[layer]);
  const address = owner.address as Address;
  await execute(layer, token.encodeMint(address, wei));
  const nonce = await token.readPermitNonce(address);
  const at = { chainId: CHAIN_ID, address: token.address };
  return await signPermit(owner, at, { spender, valueWei: wei, nonce, deadline: DEADLINE });
}

test('a layer that was deployed keeps its addresses, and other parameters are refused', async () => {
  const count = await anvil.provider.getTransactionCount(WALLET.address);
  assert.deepEqual(await deployLayer(outbox, 'service', params), contracts.service);
  assert.equal(await anvil.provider.getTransactionCount(WALLET.address), count);
  await assert.rejects(deployLayer(outbox, 'service', { ...params, quorum: 3 }), {
    code: 'IDEMPOTENCY_CONFLICT',
  });
  for (const address of Object.values(contracts).flatMap((layer) => Object.values(layer))) {
    assert.notEqual(await anvil.provider.getCode(address), '0x');
  }
});

test('a node registers, is admitted, jailed and released', async () => {
  const registry = new OnboardingChain(anvil.provider, contracts.onboarding);
  const wallet = new Wallet(id('miner'));
  const node = wallet.address as Address;
  assert.equal(await registry.readNode(node), null);
  const application = {
    node,
    role: 'miner' as const,
    stakeWei: (100n * TOKENS).toString(),
    recipient: 'age1node',
    metadataCid: evidenceCid,
    deadline: DEADLINE,
  };
  const domain = signingDomain(CHAIN_ID, registry.nodeRegistry);
  const value = { ...application, role: 1, stake: application.stakeWei };
  await execute(
    'onboarding',
    registry.encodeRegisterNode({
      ...application,
      signature: await signMessage(wallet, 'RegisterNode', domain, value),
      permitSignature: await fund('onboarding', wallet, registry.nodeRegistry, 100n * TOKENS),
    }),
  );
  const expected = {
    address: node,
    role: 'miner',
    status: 'Pending',
    stakeWei: 100n * TOKENS,
    recipient: 'age1node',
    metadataCid: evidenceCid,
  };
  assert.deepEqual(await registry.readNode(node), expected);
  assert.deepEqual(await registry.listNodes('miner'), [expected]);
  assert.deepEqual(await registry.listNodes('oracle'), []);

  const statusOf = async (): Promise<string | undefined> => (await registry.readNode(node))?.status;
  const evidence = digestOf(evidenceCid);
  let signatures = await approve('AdmitNode', registry.nodeRegistry, { node, evidence });
  await execute('onboarding', registry.encodeAdmitNode({ node, evidenceCid, signatures }));
  assert.equal(await statusOf(), 'Active');
  signatures = await approve('JailNode', registry.nodeRegistry, { node, epoch: 1, evidence });
  await execute('onboarding', registry.encodeJailNode({ node, epoch: 1, evidenceCid, signatures }));
  assert.equal(await statusOf(), 'Jailed');
  signatures = await approve('ReleaseNode', registry.nodeRegistry, { node, epoch: 2, evidence });
  const release = registry.encodeReleaseNode({ node, epoch: 2, evidenceCid, signatures });
  await execute('onboarding', release);
  assert.equal(await statusOf(), 'Active');
  const money = await registry.readMoney();
  assert.ok(isBalanced(money) && money.heldWei === 100n * TOKENS);
});

test('a decision that lacks a quorum is refused by the name of the error', async () => {
  const registry = new OnboardingChain(anvil.provider, contracts.onboarding);
  const decision = { node: TREASURY, evidenceCid, signatures: [] };
  await assert.rejects(execute('onboarding', registry.encodeAdmitNode(decision)), {
    code: 'TRANSACTION_REVERTED',
  });
});

test('a user registers its recipient and level', async () => {
  const registry = new OnboardingChain(anvil.provider, contracts.onboarding);
  const wallet = new Wallet(id('user'));
  const user = wallet.address as Address;
  assert.equal(await registry.readUser(user), null);
  const fields = { user, recipient: 'age1user', level: 'sealed' as const, deadline: DEADLINE };
  const domain = signingDomain(CHAIN_ID, registry.userRegistry);
  const signature = await signMessage(wallet, 'RegisterUser', domain, { ...fields, level: 2 });
  await execute('onboarding', registry.encodeRegisterUser({ ...fields, signature }));
  assert.deepEqual(await registry.readUser(user), {
    address: user,
    recipient: 'age1user',
    level: 'sealed',
  });
});

test('an epoch is reported and read back with its scores', async () => {
  const health = new HealthChain(anvil.provider, contracts.health);
  assert.equal(await health.readLastEpoch(), 0);
  assert.equal(await health.readEpoch(1), null);
  const scores = [3, 1, 2].map((n) => {
    const miner = new Wallet(id(`scored ${n}`)).address as Address;
    return { miner, scoreBps: n * 3_000, level: n * 3 };
  });
  const signatures = await approve('ReportEpoch', health.healthLedger, {
    epoch: 1,
    root: scoresRoot(scores),
    scoresHash: scoresHashOf(scores),
    evidence: digestOf(evidenceCid),
  });
  const report = health.encodeReportEpoch({ epoch: 1, scores, evidenceCid, signatures });
  const { hash } = await execute('health', report);
  assert.equal(await health.readLastEpoch(), 1);
  assert.deepEqual(await health.readEpoch(1), {
    epoch: 1,
    root: scoresRoot(scores),
    evidenceCid,
    scores: scores.toSorted((a, b) => (BigInt(a.miner) < BigInt(b.miner) ? -1 : 1)),
    reportTx: hash,
  });
});

test('a node enters the pool and leaves it', async () => {
  const health = new HealthChain(anvil.provider, contracts.health);
  const node = TREASURY;
  const evidence = digestOf(evidenceCid);
  let signatures = await approve('EnterPool', health.nodePool, { node, kind: 3, evidence });
  const enter = health.encodeEnterPool({ node, kind: 'Dedicated', evidenceCid, signatures });
  await execute('health', enter);
  assert.equal(await health.readPoolKind(node), 'Dedicated');
  signatures = await approve('LeavePool', health.nodePool, { node, evidence });
  await execute('health', health.encodeLeavePool({ node, evidenceCid, signatures }));
  assert.equal(await health.readPoolKind(node), 'None');
});

test('a session is opened, settled once a task, and closed with its refund', async () => {
  const service = new ServiceChain(anvil.provider, contracts.service);
  const wallet = new Wallet(id('owner'));
  const owner = wallet.address as Address;
  const deposit = 50n * TOKENS;
  const clientReference = id('reference') as Hex;
  const policyCid = cidOf(new TextEncoder().encode('policy'));
  const opening = { owner, clientReference, policyHash: digestOf(policyCid), deposit };
  const domain = signingDomain(CHAIN_ID, service.sessionManager);
  const permitSignature = await fund('service', wallet, service.sessionPayment, deposit);
  const request = {
    owner,
    clientReference,
    depositWei: deposit.toString(),
    signature: await signMessage(wallet, 'OpenSession', domain, opening),
    permit: { owner, valueWei: `${deposit}`, deadline: DEADLINE, signature: permitSignature },
  } as OpenSessionRequest;
  const opened = await execute('service', service.encodeOpenSession(request, policyCid));
  const topic = opened.logs.find((log) => log.address === service.sessionManager)?.topics[1];
  const sessionId = BigInt(topic ?? 0).toString();
  assert.deepEqual(await service.readSession(sessionId), {
    sessionId,
    owner,
    status: 'Open',
    policyHash: opening.policyHash,
    policyNonce: 0,
    heldWei: deposit,
    chargedWei: 0n,
  });
  assert.equal(await service.readSession('1'), null);

  const miners = [1, 2].map((n) => new Wallet(id(`paid ${n}`)).address as Address);
  const tasks: SettledTask[] = [0, 1, 300].map((ordinal) => ({
    sessionId,
    taskId: id(`task ${ordinal}`) as Hex,
    ordinal,
    outcome: 'completed',
    requestCid: policyCid,
    evidenceCid,
    chargeWei: ((21n * TOKENS) / 10n).toString(),
    feeWei: (TOKENS / 10n).toString(),
    payments: miners.map((miner) => ({ miner, amountWei: TOKENS.toString() })),
  }));
  const leaves = tasks.map(taskLeaf);
  const root = merkleRoot(leaves);
  const batch = { version: 1 as const, batchId: root, root, tasks, ...sumBatch(tasks) };
  assert.equal(await service.readBatchRoot(root), null);
  const signatures = await approve('Settle', service.sessionPayment, settleMessage(batch));
  await execute('service', service.encodeSettle(batch, signatures));
  assert.equal(await service.readBatchRoot(root), root);
  for (const [i, leaf] of leaves.entries()) {
    assert.equal(await service.verifyTask(root, leaf, merkleProof(leaves, i)), true);
  }
  assert.equal(await service.isTaskSettled(sessionId, 300), true);
  assert.equal(await service.isTaskSettled(sessionId, 299), false);
  assert.equal(await service.readEarningsWei(miners[0] ?? TREASURY), 3n * TOKENS);
  assert.equal(await service.readEarningsWei(TREASURY), (3n * TOKENS) / 10n);
  await assert.rejects(execute('service', service.encodeSettle(batch, signatures)), {
    code: 'TRANSACTION_REVERTED',
    message: /SessionPaymentBatchSettled/,
  });

  const chargedWei = ((63n * TOKENS) / 10n).toString();
  assert.equal(await service.readClosing(sessionId), null);
  const closing = { sessionId, charged: chargedWei };
  const consent = await approve('CloseSession', service.sessionPayment, closing);
  const close = service.encodeCloseSession({ sessionId, chargedWei, signatures: consent });
  const receipt = await execute('service', close);
  const expected = { chargedWei: BigInt(chargedWei), refundedWei: deposit - BigInt(chargedWei) };
  assert.deepEqual(service.parseClosing(receipt), expected);
  assert.deepEqual(await service.readClosing(sessionId), expected);
  assert.equal((await service.readSession(sessionId))?.status, 'Closed');
  const money = await service.readMoney();
  assert.ok(isBalanced(money));
  assert.equal(money.depositedWei, deposit);
  const token = new TokenChain(anvil.provider, contracts.service);
  assert.equal(await token.readBalanceWei(owner), expected.refundedWei);
});

test('an open session takes deposits and another policy, gives back, and lets its owner out', async () => {
  const service = new ServiceChain(anvil.provider, contracts.service);
  const { sessionPayment, sessionManager } = service;
  const wallet = new Wallet(id('changing owner')).connect(anvil.provider);
  const owner = wallet.address as Address;
  await anvil.provider.send('anvil_setBalance', [owner, '0xde0b6b3a7640000']);
  const policyCid = cidOf(new TextEncoder().encode('policy'));
  const paying = signingDomain(CHAIN_ID, sessionPayment);
  const managing = signingDomain(CHAIN_ID, sessionManager);
  const permitOf = async (wei: bigint) => {
    const signature = await fund('service', wallet, sessionPayment, wei);
    return { owner, valueWei: wei.toString(), deadline: DEADLINE, signature };
  };
  const clientReference = id('changing') as Hex;
  const sessionId = await sessionIdOf({
    chainId: CHAIN_ID,
    sessionManager,
    owner,
    clientReference,
  });
  const opening = { owner, clientReference, policyHash: digestOf(policyCid), deposit: TOKENS };
  const request = {
    sessionId,
    owner,
    clientReference,
    depositWei: TOKENS.toString(),
    signature: await signMessage(wallet, 'OpenSession', managing, opening),
    permit: await permitOf(TOKENS),
  } as OpenSessionRequest;
  await execute('service', service.encodeOpenSession(request, policyCid));

  const reference = id('deposit') as Hex;
  const value = { sessionId, payer: owner, amount: 2n * TOKENS, reference };
  const deposit: DepositRequest = {
    sessionId,
    payer: owner,
    amountWei: (2n * TOKENS).toString(),
    reference,
    signature: await signMessage(wallet, 'Deposit', paying, value),
    permit: await permitOf(2n * TOKENS),
  };
  assert.equal(await service.isDeposited(deposit), false);
  await execute('service', service.encodeDepositFor(deposit));
  assert.equal(await service.isDeposited(deposit), true);
  assert.equal(await service.isDeposited({ ...deposit, reference: id('other') as Hex }), false);
  await assert.rejects(execute('service', service.encodeDepositFor(deposit)), {
    code: 'TRANSACTION_REVERTED',
    message: /CommitteeSignedDigestUsed/,
  });

  const taking = { sessionId, amount: TOKENS, reference };
  const withdrawal: WithdrawalRequest = {
    sessionId,
    amountWei: TOKENS.toString(),
    reference,
    signature: await signMessage(wallet, 'WithdrawDeposit', paying, taking),
  };
  const consent = await approve('WithdrawDeposit', sessionPayment, taking);
  assert.equal(await service.isWithdrawn(withdrawal), false);
  await execute('service', service.encodeWithdrawDeposit(withdrawal, consent));
  assert.equal(await service.isWithdrawn(withdrawal), true);

  const newCid = cidOf(new TextEncoder().encode('another policy'));
  const changing = { sessionId, policyHash: digestOf(newCid), nonce: 0 };
  const change: Omit<PolicyChange, 'policy'> = {
    sessionId,
    nonce: 0,
    signature: await signMessage(wallet, 'ChangePolicy', managing, changing),
  };
  await execute('service', service.encodeChangePolicy(change, newCid));
  assert.deepEqual(await service.readSession(sessionId), {
    sessionId,
    owner,
    status: 'Open',
    policyHash: digestOf(newCid),
    policyNonce: 1,
    heldWei: 2n * TOKENS,
    chargedWei: 0n,
  });

  const send = async (write: Write) => await (await wallet.sendTransaction(write)).wait();
  await send(service.encodeRequestExit(sessionId));
  assert.equal((await service.readSession(sessionId))?.status, 'Exiting');
  await assert.rejects(anvil.provider.call({ ...service.encodeExit(sessionId), from: owner }));
  await anvil.provider.send('evm_increaseTime', [params.exitSeconds]);
  await send(service.encodeExit(sessionId));
  assert.deepEqual(await service.readClosing(sessionId), {
    chargedWei: 0n,
    refundedWei: 2n * TOKENS,
  });
  assert.ok(isBalanced(await service.readMoney()));
});

test('an address without a contract is told apart from an empty answer', async () => {
  const nowhere = { ...contracts.onboarding, nodeRegistry: TREASURY };
  const registry = new OnboardingChain(anvil.provider, nowhere);
  await assert.rejects(registry.readNode(TREASURY), { code: 'CHAIN_MISMATCH' });
  assert.throws(() => new OnboardingChain(anvil.provider, {}), { code: 'CONFIG_INVALID' });
});
