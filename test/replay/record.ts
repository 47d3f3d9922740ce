/**
 * Records the histories that replay.test.ts replays: one run of each workflow of a network that
 * `cortensor up --data DIR` has up. What its main job does without is brought about first: content
 * that is released after a session, an erasure, a document, and a contract's request that is refused. Payloads are decrypted,
 * so that no key is needed to replay; nothing in them is secret, and what looks like a secret stops
 * the recording.
 *
 * `node dist/test/replay/record.js DIR`
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Client } from '@temporalio/client';
import type { Payload, PayloadCodec } from '@temporalio/common';
import {
  Contract,
  JsonRpcProvider,
  toQuantity,
  Wallet,
  type ContractTransactionResponse,
  type InterfaceAbi,
} from 'ethers';
import { cortensorTokenAbi, sessionQueueAbi } from '../../contracts/abi.js';
import { openBlockStore, putJson } from '../../adapters/ipfs/block-store.js';
import { digestOf } from '../../adapters/ipfs/cid.js';
import { connectClient, dataConverter } from '../../adapters/temporal/connect.js';
import { loadConfig } from '../../cli/config.js';
import { PROJECT_COMMAND } from '../../cli/project.js';
import { parsePolicy } from '../../domain/session.js';
import { run } from '../../servers/run.js';
import { WORKFLOWS } from '../../workflows/messages.js';
import { writeHistory } from './history-file.js';

const FOLDER = fileURLToPath(new URL('../../../test/replay/histories/', import.meta.url));
/** Workflows whose histories hold probes. */
const PROBING: ReadonlySet<string> = new Set([WORKFLOWS.onboardMiner, WORKFLOWS.healthEpoch]);
/** Workflows that never end. */
const ENDLESS: ReadonlySet<string> = new Set([WORKFLOWS.settlement, WORKFLOWS.dappRequests]);
const MAX_CHARACTERS = 300_000;
/** In which what was brought about must have ended. */
const END_MS = 60_000;
/** Keys, and the fields that hold prompts and answers in plain form. */
const SECRET = /AGE-SECRET-KEY|\\"(identity|channelKey|privateKey|messages|content|text)\\"/i;
/** Probes are public: everyone may know what miners are asked. */
const PROBES = /\\"messages\\":\[\{\\"role\\":\\"user\\",\\"content\\":/g;

function configOf(data: string) {
  return loadConfig({ file: join(data, 'temporal.yaml'), env: process.env, secrets: ['temporal'] });
}

async function record(data: string): Promise<void> {
  const { temporal } = configOf(data);
  const codec = (await dataConverter(temporal)).payloadCodecs?.[0];
  if (codec === undefined) throw new Error('the data converter has no codec');
  const { client, close } = await connectClient(temporal);
  mkdirSync(FOLDER, { recursive: true });
  try {
    await closeWithRetention(data);
    await keepSource(data);
    await askInVain(data);
    await cli('content', 'repair', '--config', join(data, 'temporal.yaml'), '--json');
    for (const type of Object.values(WORKFLOWS)) {
      const status = ENDLESS.has(type) ? 'Running' : 'Completed';
      const query = `WorkflowType="${type}" AND ExecutionStatus="${status}"`;
      const { workflowId, runId } = await firstRun(client, query);
      const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
      await decrypt(history, codec);
      const json = writeHistory(history);
      const secret = SECRET.exec(PROBING.has(type) ? json.replaceAll(PROBES, '') : json);
      if (secret !== null) throw new Error(`${type} holds ${secret[0]}`);
      if (json.length > MAX_CHARACTERS) throw new Error(`${type} has ${json.length} characters`);
      writeFileSync(join(FOLDER, `${type}.json`), json);
      console.log(`${type}: ${history.events?.length} events, ${json.length} characters`);
    }
  } finally {
    await close();
  }
}

/** The longest of the runs: the main job's session, not the ones that were opened for this. */
async function firstRun(client: Client, query: string): Promise<{ workflowId: string; runId: string }> {
  const deadline = Date.now() + END_MS;
  for (;;) {
    const runs = [];
    for await (const run of client.workflow.list({ query })) runs.push(run);
    const [longest] = runs.sort((a, b) => (b.historyLength ?? 0) - (a.historyLength ?? 0));
    if (longest !== undefined) return longest;
    if (Date.now() > deadline) throw new Error(`none in time: ${query}`);
    await delay(500);
  }
}

/** Opens a session whose content is given up a second after its close, closes it, and erases it. */
async function closeWithRetention(data: string): Promise<void> {
  const policy = join(data, 'retention.json');
  const { models } = configOf(data);
  const terms = { model: models[0]?.name, priceCeilingWei: models[0]?.pricePerTokenWei };
  writeFileSync(policy, JSON.stringify({ ...terms, retentionSeconds: 1 }));
  const config = ['--config', join(data, 'temporal.yaml'), '--json'];
  const key = ['--key', `file:${join(data, 'keys/user.key')}`];
  const access = ['--api-key', `file:${join(data, 'keys/user.api-key')}`];
  const opened = await cli('session', 'open', '--policy', policy, '--deposit', '1', ...key, ...access, ...config);
  const { sessionId } = JSON.parse(opened) as { sessionId: string };
  await cli('session', 'close', sessionId, ...access, ...config);
  await cli('session', 'erase', sessionId, ...access, ...config);
}

/** Has a small document taken in. */
async function keepSource(data: string): Promise<void> {
  const file = join(data, 'leave.md');
  writeFileSync(file, '# Leave\n\nEvery employee has 25 days a year.\n');
  const access = ['--api-key', `file:${join(data, 'keys/user.api-key')}`];
  const config = ['--config', join(data, 'temporal.yaml'), '--json'];
  await cli('source', 'add', 'handbook', file, ...access, ...config);
}

/** Runs a command that prints JSON. */
async function cli(...args: readonly string[]): Promise<string> {
  const printed = await run(process.execPath, [PROJECT_COMMAND, ...args], { timeoutMs: END_MS });
  return printed.split('\n').find((line) => line.startsWith('{')) ?? '';
}

/** Has the user ask the queue for what contracts may not have: an inference that is not open. */
async function askInVain(data: string): Promise<void> {
  const { models, ipfs, layers } = configOf(data);
  const { contracts, rpcUrls } = layers.service;
  const policy = parsePolicy({
    model: models[0]?.name,
    priceCeilingWei: models[0]?.pricePerTokenWei,
    level: 'link',
  });
  const policyCid = await putJson(openBlockStore(ipfs), policy);
  const provider = new JsonRpcProvider(rpcUrls[0], undefined, { cacheTimeout: -1 });
  try {
    const wallet = new Wallet(readFileSync(join(data, 'keys/user.key'), 'utf8').trim(), provider);
    await provider.send('anvil_setBalance', [wallet.address, toQuantity(10n ** 18n)]);
    const bound = (address: string | undefined, abi: unknown) =>
      new Contract(address ?? '', abi as InterfaceAbi, wallet);
    const token = bound(contracts['token'], cortensorTokenAbi);
    const queue = bound(contracts['sessionQueue'], sessionQueueAbi);
    const paymentWei = 10n ** 18n;
    const send = async (sent: Promise<ContractTransactionResponse>) => (await sent).wait();
    await send(token.getFunction('approve').send(contracts['sessionPayment'], paymentWei));
    const reference = `0x${randomBytes(32).toString('hex')}`;
    await send(
      queue
        .getFunction('requestInference')
        .send(reference, digestOf(policyCid), 'Hello?', 16, paymentWei, 50_000, 600),
    );
  } finally {
    provider.destroy();
  }
}

/** Puts every payload below a value into its plain form. */
async function decrypt(value: unknown, codec: PayloadCodec): Promise<void> {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return;
  for (const [key, child] of Object.entries(value)) {
    const [plain] = isPayload(child) ? await codec.decode([child]) : [];
    if (plain !== undefined) Object.assign(value, { [key]: plain });
    else await decrypt(child, codec);
  }
}

function isPayload(value: unknown): value is Payload {
  const { metadata, data } = (value ?? {}) as Partial<Payload>;
  return metadata?.['encoding'] instanceof Uint8Array && data instanceof Uint8Array;
}

const [data] = process.argv.slice(2);
if (data === undefined) throw new Error('usage: record.js DIR');
await record(data);
