/**
 * A contract asks the network, as docs/dapps.md walks through it: on the whole network in processes,
 * with miners that cheat, a contract that reverts, a worker that is killed, and an engine that is away.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  Contract,
  ContractFactory,
  Interface,
  toQuantity,
  type InterfaceAbi,
  type Result,
} from 'ethers';
import { startWholeNetwork, type WholeNetwork } from '../../bench/network/whole-network.js';
import {
  cortensorTokenAbi,
  priceCommentatorAbi,
  priceCommentatorBytecode,
  sessionQueueAbi,
} from '../../contracts/abi.js';
import { openBlockStore, putJson } from '../../adapters/ipfs/block-store.js';
import { cidOfDigest, digestOf } from '../../adapters/ipfs/cid.js';
import { PROJECT_COMMAND, PROJECT_FOLDER } from '../../cli/project.js';
import { role } from '../../cli/up/processes.js';
import type { TaskProof } from '../../domain/api.js';
import { parseChatResult } from '../../domain/chat.js';
import type { Address, Hex, SessionId } from '../../domain/ids.js';
import { parsePolicy, type PolicyInput } from '../../domain/session.js';
import { TASK_OUTCOMES, type TaskOutcome } from '../../domain/task.js';
import { CortensorClient } from '../../sdk/index.js';
import { blocks, readPage } from '../docs/markdown.js';

const CONFIG = `
router: { port: 0, firstToken: 5s }
settlement: { maxTasks: 20, maxAge: 2s }
dapps: { every: 250ms }
models: [{ name: scripted, pricePerTokenWei: '1000000000000' }]
retries:
  chain: { maximumInterval: 2s }
  ipfs: { maximumInterval: 2s }
  oracle: { maximumInterval: 2s }
`;
const PAYMENT_WEI = 10n ** 18n;
const FUNDS_WEI = 10n * PAYMENT_WEI;
/** Everything that is waited for. */
const END_MS = 60_000;
const QUEUE = new Interface(sessionQueueAbi as unknown as InterfaceAbi);

/** What the example stores of an answer. */
interface Comment {
  readonly hasEnded: boolean;
  readonly outcome: bigint;
  readonly taskId: Hex;
  readonly resultDigest: Hex;
  readonly batchId: Hex;
  readonly resultCid: string;
}

interface Dapp {
  readonly address: Address;
  ask(pair: string): Promise<SessionId>;
  /** Waits for the callback. */
  answer(sessionId: SessionId): Promise<Comment>;
  balanceWei(): Promise<bigint>;
}

let network: WholeNetwork;
let data: string;
before(async () => {
  data = await mkdtemp(join(tmpdir(), 'cortensor-dapp-'));
  await writeFile(`${data}.yaml`, CONFIG);
  network = await startWholeNetwork({
    data,
    config: `${data}.yaml`,
    workers: 1,
    routers: 1,
    miners: [['honest', 'honest', 'honest', 'canned']],
    users: 2,
    exitSeconds: 60,
    confirmations: 1,
  });
  // What ethers waits with looks every four seconds otherwise.
  network.service.pollingInterval = 100;
  const funded = network.users.map(({ address }) => address);
  for (const address of funded) {
    await network.service.send('anvil_setBalance', [address, toQuantity(10n ** 20n)]);
  }
  // Blocks come by themselves, as on a public chain: confirmations need them.
  await network.service.send('evm_setIntervalMining', [1]);
});
after(async () => {
  await network.stop();
  await rm(data, { recursive: true, force: true });
  await rm(`${data}.yaml`, { force: true });
});

/** Pins a policy, deploys the example with it, and gives it tokens. */
async function deploy(policy: Partial<PolicyInput> = {}): Promise<Dapp> {
  const { config, chains, users, service } = network;
  const wallet = users[1]?.wallet.connect(service);
  assert.ok(wallet !== undefined);
  const store = openBlockStore(config.ipfs);
  const whole = parsePolicy({
    model: 'scripted',
    level: 'open',
    priceCeilingWei: '1000000000000',
    taskSeconds: 20,
    ...policy,
  });
  const policyHash = digestOf(await putJson(store, whole));
  const abi = priceCommentatorAbi as unknown as InterfaceAbi;
  const factory = new ContractFactory(abi, priceCommentatorBytecode, wallet);
  const deployed = await factory.deploy(chains.queue.sessionQueue, policyHash);
  await deployed.waitForDeployment();
  const address = (await deployed.getAddress()) as Address;
  const dapp = new Contract(address, abi, wallet);
  const token = new Contract(
    config.layers.service.contracts['token'] ?? '',
    cortensorTokenAbi as unknown as InterfaceAbi,
    wallet,
  );
  await (await token.getFunction('transfer').send(address, FUNDS_WEI)).wait();
  return {
    address,
    async ask(pair) {
      const sent = await dapp.getFunction('ask').send(pair, 3_200, PAYMENT_WEI);
      const receipt = await sent.wait();
      const queued = (receipt?.logs ?? [])
        .map((log) => QUEUE.parseLog(log))
        .find((event) => event?.name === 'TaskQueued');
      return String(queued?.args['sessionId']);
    },
    async answer(sessionId) {
      return await until(`an answer to ${sessionId}`, async () => {
        const comment = (await dapp.getFunction('commentOf').staticCall(sessionId)) as Comment;
        return comment.hasEnded ? comment : undefined;
      });
    },
    async balanceWei() {
      return (await token.getFunction('balanceOf').staticCall(address)) as bigint;
    },
  };
}

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  for (const deadline = Date.now() + END_MS; ; await delay(100)) {
    const found = await look();
    if (found !== undefined) return found;
    assert.ok(Date.now() < deadline, `not in ${END_MS} ms: ${what}`);
  }
}

async function untilEnded(sessionId: SessionId): Promise<TaskOutcome> {
  return await until(`the end of ${sessionId}`, async () => {
    return (await network.chains.queue.readRequest(sessionId))?.outcome ?? undefined;
  });
}

/** What the `TaskEnded` events of a request say. */
async function endedLogs(sessionId: SessionId): Promise<readonly (Result | undefined)[]> {
  const logs = await network.service.getLogs({
    address: network.chains.queue.sessionQueue,
    topics: QUEUE.encodeFilterTopics('TaskEnded', [sessionId]),
    fromBlock: 0,
  });
  return logs.map((log) => QUEUE.parseLog(log)?.args);
}

async function endsOf(
  sessionId: SessionId,
): Promise<{ outcome: TaskOutcome | undefined; called: boolean }[]> {
  return (await endedLogs(sessionId)).map((args) => ({
    outcome: TASK_OUTCOMES[Number(args?.['outcome'])],
    called: args?.['callbackSucceeded'] === true,
  }));
}

/** The proof of a request's task, from the network's router. */
async function proofOf(sessionId: SessionId, taskId: string): Promise<TaskProof> {
  const { routerUrls, apiKey } = network;
  const response = await fetch(
    `${routerUrls[0]}/api/v1/sessions/${sessionId}/tasks/${taskId}/proof`,
    { headers: { authorization: `Bearer ${apiKey}` }, signal: AbortSignal.timeout(10_000) },
  );
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()) as TaskProof;
}

/** What a completed request's answer cost: every miner that agreed is paid. */
async function chargeOf(sessionId: SessionId): Promise<bigint> {
  const [ended] = await endedLogs(sessionId);
  const { chargeWei } = await proofOf(sessionId, String(ended?.['taskId']));
  assert.notEqual(chargeWei, '0');
  return BigInt(chargeWei);
}

test('a contract gets its answer: digest, CID, proof, and what it did not cost', async () => {
  const { config, chains } = network;
  const dapp = await deploy();
  const sessionId = await dapp.ask('ETH/USD');
  const comment = await dapp.answer(sessionId);
  assert.equal(TASK_OUTCOMES[Number(comment.outcome)], 'completed');
  assert.equal(comment.resultCid, cidOfDigest(comment.resultDigest));
  // The bytes are re-hashed: they are what the contract was told of.
  const bytes = await openBlockStore(config.ipfs).get(comment.resultCid);
  const result = parseChatResult(JSON.parse(new TextDecoder().decode(bytes)));
  assert.ok(result.text.length > 0);
  // Anybody can have the answer proven to the chain, whoever hands out the proof.
  const proof = await proofOf(sessionId, comment.taskId);
  assert.equal(proof.batchId, comment.batchId);
  assert.equal(proof.resultDigest, comment.resultDigest);
  assert.equal(await chains.service.verifyTask(comment.batchId, proof.leaf, proof.proof), true);
  assert.equal(await dapp.balanceWei(), FUNDS_WEI - (await chargeOf(sessionId)));
});

test('a request whose miners disagree gets its money back, and is told so', async () => {
  const [honest] = network.miners.filter(({ behaviour }) => behaviour === 'honest');
  const [canned] = network.miners.filter(({ behaviour }) => behaviour === 'canned');
  const dedicated = [honest, canned].flatMap((miner) => miner?.address ?? []);
  const terms = { redundancy: 2, minMiners: 2, maxMiners: 2 };
  const dapp = await deploy({ mode: 'dedicated', dedicated, ...terms });
  const comment = await dapp.answer(await dapp.ask('BTC/USD'));
  assert.equal(TASK_OUTCOMES[Number(comment.outcome)], 'no-quorum');
  assert.equal(comment.resultCid, '');
  assert.equal(await dapp.balanceWei(), FUNDS_WEI);
});

test('a request that the network does not serve is refused at once, with its money', async () => {
  const dapp = await deploy({ level: 'link' });
  const comment = await dapp.answer(await dapp.ask('SOL/USD'));
  assert.equal(TASK_OUTCOMES[Number(comment.outcome)], 'refused');
  assert.equal(await dapp.balanceWei(), FUNDS_WEI);
});

test('a contract that reverts in its callback costs nobody but itself', async () => {
  const [reverting, other] = [await deploy(), await deploy()];
  const code = await network.service.getCode(reverting.address);
  const lost = await reverting.ask('ETH/USD');
  await network.service.send('anvil_setCode', [reverting.address, '0x60006000fd']);
  const kept = await other.ask('ETH/USD');
  assert.equal(TASK_OUTCOMES[Number((await other.answer(kept)).outcome)], 'completed');
  assert.equal(await untilEnded(lost), 'completed');
  assert.deepEqual(await endsOf(lost), [{ outcome: 'completed', called: false }]);
  await network.service.send('anvil_setCode', [reverting.address, code]);
  // What was left is there all the same; the answer is paid for, to those miners that agreed.
  assert.equal(await reverting.balanceWei(), FUNDS_WEI - (await chargeOf(lost)));
  assert.equal(await other.balanceWei(), FUNDS_WEI - (await chargeOf(kept)));
});

test('a request during which the worker is killed is answered once', async () => {
  const dapp = await deploy();
  const sessionId = await dapp.ask('ETH/EUR');
  await delay(300);
  process.kill(network.supervisor.pid('worker-1') ?? 0, 'SIGKILL');
  assert.equal(TASK_OUTCOMES[Number((await dapp.answer(sessionId)).outcome)], 'completed');
  assert.deepEqual(await endsOf(sessionId), [{ outcome: 'completed', called: true }]);
});

test('the page walks from a policy to the proof of an answer', async () => {
  const page = readPage('docs/dapps.md');
  const [policy = ''] = blocks(page, 'yaml');
  const [script = ''] = blocks(page, 'js');
  const [pin = '', prove = ''] = blocks(page, 'sh');
  await writeFile(join(data, 'policy.yaml'), policy.replace(/^model: .*$/m, 'model: scripted'));
  await symlink(join(data, 'temporal-1.yaml'), join(data, 'temporal.yaml'));
  const { contracts, rpcUrls } = network.config.layers.service;
  const shell = `cortensor() { '${process.execPath}' '${PROJECT_COMMAND}' "$@"; }\n`;
  await run('bash', ['-ec', shell + pin], { cwd: data });
  const printed = await run(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: PROJECT_FOLDER,
    env: {
      RPC_URL: rpcUrls[0],
      KEY: network.users[1]?.wallet.privateKey,
      TOKEN: contracts['token'],
      SESSION_QUEUE: contracts['sessionQueue'],
      POLICY: join(data, 'policy.json'),
    },
  });
  const answer = JSON.parse(printed) as Record<'session' | 'task' | 'resultCid', string>;
  assert.match(answer.resultCid, /^bafkrei/);
  const { session: SESSION, task: TASK } = answer;
  const env = { SESSION, TASK, CORTENSOR_API_KEY: network.apiKey };
  await run('bash', ['-ec', shell + prove], { cwd: data, env });
  const proof = JSON.parse(await readFile(join(data, 'proof.json'), 'utf8')) as object;
  assert.ok(JSON.stringify(proof).includes(TASK));
});

/** Runs a program; rejects unless it exits with 0. */
async function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly env?: Readonly<Record<string, string | undefined>> },
): Promise<string> {
  const env = { ...process.env, ...options.env };
  const { stdout } = await promisify(execFile)(program, args, {
    cwd: options.cwd,
    env,
    timeout: END_MS,
  });
  return stdout;
}

test('a session that wants it has every step of its task on chain, and is paid for as ever', async () => {
  const { routerUrls, apiKey, users, chains, service } = network;
  const client = new CortensorClient({ baseUrl: routerUrls[0] ?? '', apiKey });
  const signer = users[0]?.wallet;
  assert.ok(signer !== undefined);
  const session = await client.openSession({
    signer,
    policy: {
      model: 'scripted',
      level: 'open',
      priceCeilingWei: '1000000000000',
      settlement: 'stepwise',
      taskSeconds: 20,
    },
    depositWei: PAYMENT_WEI,
  });
  const { taskId } = await session.ask('Why is the sky blue?').done;
  await session.close();
  const { state, budget, miners } = await session.waitUntil('Closed', { timeoutMs: END_MS });
  assert.equal(state, 'Closed');
  const [task] = await session.tasks();
  assert.equal(task?.state, 'Settled');
  assert.equal(await chains.queue.readTaskState(session.id, taskId), 'Ended');
  const logs = await service.getLogs({
    address: chains.queue.sessionQueue,
    topics: [null, QUEUE.encodeFilterTopics('TaskEnded', [session.id])[1] ?? null],
    fromBlock: 0,
  });
  const names = logs.map((log) => QUEUE.parseLog(log)?.name);
  const each = (name: string) => names.filter((one) => one === name).length;
  assert.deepEqual([names[0], names[1], names.at(-1)], ['TaskQueued', 'TaskAssigned', 'TaskEnded']);
  const answered = each('TaskCommitted');
  assert.ok(answered >= 2 && answered <= miners.length, names.join());
  assert.equal(each('TaskPrecommitted'), answered);
  assert.equal(each('TaskAllPrecommitted'), 1);
  assert.equal(new Set(logs.map((log) => log.transactionHash)).size, names.length - 2);
  assert.equal(BigInt(budget.chargedWei) + BigInt(budget.refundedWei), PAYMENT_WEI);
  assert.notEqual(budget.chargedWei, '0');
});

test('while the engine is away, anybody refunds a request after its deadline', async () => {
  const { service, supervisor, users, chains } = network;
  const dapp = await deploy();
  await supervisor.stopOne('worker-1');
  const sessionId = await dapp.ask('ETH/CHF');
  assert.equal(await dapp.balanceWei(), FUNDS_WEI - PAYMENT_WEI);
  await service.send('evm_increaseTime', [601]);
  const stranger = users[0]?.wallet.connect(service);
  assert.ok(stranger !== undefined);
  await until('a block after the deadline', async () => {
    const block = await service.getBlock('latest');
    return (block?.timestamp ?? 0) > Date.now() / 1_000 + 590 ? true : undefined;
  });
  await (await stranger.sendTransaction(chains.queue.encodeExpire(sessionId))).wait();
  assert.deepEqual(await endsOf(sessionId), [{ outcome: 'expired', called: true }]);
  assert.equal(await dapp.balanceWei(), FUNDS_WEI);
  // The engine comes back, finds it ended, and serves the next.
  await supervisor.start(role('worker-1', ['worker', '--config', join(data, 'temporal-1.yaml')]));
  const next = await dapp.ask('ETH/JPY');
  assert.equal(TASK_OUTCOMES[Number((await dapp.answer(next)).outcome)], 'completed');
  assert.equal((await endsOf(sessionId)).length, 1);
  const { depositedWei, paidWei, refundedWei, heldWei } = await chains.service.readMoney();
  assert.equal(depositedWei, paidWei + refundedWei + heldWei);
  assert.equal(heldWei, 0n);
});
