/** A small network for an oracle to look at: real keys, seals and signatures over a store in memory. */
import { randomBytes } from 'node:crypto';
import { Wallet } from 'ethers';
import { merkleRoot, taskLeaf } from '../../../adapters/chain/merkle.js';
import { precommitmentOf } from '../../../adapters/chain/precommitment.js';
import { signMessage } from '../../../adapters/chain/sign.js';
import { encodeJson } from '../../../adapters/ipfs/canonical.js';
import { cidOf, digestOf } from '../../../adapters/ipfs/cid.js';
import { sealAtRest } from '../../../adapters/seal/at-rest.js';
import { openChannel, type Channel } from '../../../adapters/seal/channel.js';
import { createIdentity } from '../../../adapters/seal/identity.js';
import { createKeyring, wrapKeyring } from '../../../adapters/seal/keyring.js';
import { signingDomain } from '../../../domain/attestation.js';
import { billedUsage, chargeOf } from '../../../domain/charge.js';
import { maxPromptTokensOf } from '../../../domain/chat.js';
import { EngineError } from '../../../domain/errors.js';
import type { EpochEvidence, ProbeAnswer } from '../../../domain/health.js';
import type { Address, Cid, Hex } from '../../../domain/ids.js';
import type { NodeStatus, RegisteredNode } from '../../../domain/node.js';
import { buildProbes } from '../../../domain/probes.js';
import { parsePolicy, type SessionPolicy } from '../../../domain/session.js';
import { sumBatch, type SettlementBatch } from '../../../domain/settlement.js';
import type {
  ChatRequest,
  ChatResult,
  Commitment,
  Precommitment,
  SettledTask,
  TaskEvidence,
} from '../../../domain/task.js';
import { createOracleApp } from '../../../nodes/oracle/app.js';
import type { OracleDeps } from '../../../nodes/oracle/ports.js';

export const SESSION = '77';
const OWNER: Address = '0x00000000000000000000000000000000000000ee';
export const MODEL = 'scripted-1';
export const PRICE = 3n;
export const FEE_BPS = 500;
const contract = (last: string): Address => `0x${last.padStart(40, '0')}`;
export const DOMAINS = {
  nodeRegistry: signingDomain(1, contract('a1')),
  healthLedger: signingDomain(2, contract('a2')),
  nodePool: signingDomain(2, contract('a3')),
  sessionPayment: signingDomain(3, contract('a4')),
};
export const POLICY = parsePolicy({
  model: MODEL,
  redundancy: 3,
  level: 'link',
  priceCeilingWei: '3',
  maxTasks: 100,
  idleSeconds: 60,
  taskSeconds: 60,
});
export const REQUEST: ChatRequest = {
  model: MODEL,
  messages: [{ role: 'user', content: 'why is the sky blue' }],
  maxTokens: 512,
  temperature: 0,
  topP: 1,
};
export const HONEST = 'the sky is blue because air scatters short waves of light';
/** Shares most of its words with the honest answer. */
export const PARAPHRASE = 'the sky is blue because the air scatters short waves of light';
export const UNRELATED = 'quarterly figures of fishing fleets were presented yesterday';

/** What one miner hands in. */
export interface Answer {
  readonly precommitment: Precommitment;
  readonly commitment: Commitment;
}

export async function createNetwork(options: { readonly policy?: SessionPolicy } = {}) {
  const policy = options.policy ?? POLICY;
  const blocks = new Map<Cid, Uint8Array>();
  const nodes = new Map<string, RegisteredNode>();
  const miners = ['21', '22', '23'].map((b) => new Wallet(`0x${b.repeat(32)}`));
  const oracle = new Wallet(`0x${'31'.repeat(32)}`);
  const { identity, recipient } = await createIdentity();
  const { keyring, recipient: sessionRecipient } = await createKeyring(SESSION);
  const channel = await openChannel(keyring);
  const put = (bytes: Uint8Array): Cid => {
    const cid = cidOf(bytes);
    blocks.set(cid, bytes);
    return cid;
  };
  const putJson = (value: unknown): Cid => put(encodeJson(value));
  const setStatus = (address: string, status: NodeStatus): void => {
    nodes.set(address.toLowerCase(), {
      address: address as Address,
      role: 'miner',
      status,
      stakeWei: 1n,
      recipient,
      metadataCid: 'bafk',
    });
  };
  for (const { address } of miners) setStatus(address, 'Active');
  const policyCid = putJson(policy);
  const keyringCid = put(await wrapKeyring(keyring, [recipient]));
  const embedded: string[] = [];
  const lines: string[] = [];
  const chain = {
    isDown: false,
    owner: OWNER,
    heldWei: 1_000n,
    chargedWei: 500n,
    policyHash: digestOf(policyCid),
  };

  const deps: OracleDeps = {
    wallet: oracle,
    identity,
    store: {
      async get(cid) {
        const bytes = blocks.get(cid);
        if (bytes === undefined) throw new EngineError('CONTENT_MISSING', { cid });
        if (cidOf(bytes) !== cid) throw new EngineError('CONTENT_MISMATCH', { cid });
        return bytes;
      },
    },
    chain: {
      async readNode(address) {
        if (chain.isDown) throw new EngineError('CHAIN_UNREACHABLE');
        return nodes.get(address.toLowerCase()) ?? null;
      },
      async readSession(id) {
        return id === SESSION ? chain : null;
      },
    },
    embedder: {
      async embed(texts) {
        embedded.push(...texts);
        return texts.map(bagOfWords);
      },
    },
    domains: DOMAINS,
    models: [{ name: MODEL, pricePerTokenWei: PRICE.toString() }],
    feeBps: FEE_BPS,
    log: (...line) => lines.push(JSON.stringify(line)),
  };
  const app = createOracleApp(deps);

  async function post<T>(path: string, body: unknown): Promise<T> {
    const response = await app.request(path, { method: 'POST', body: JSON.stringify(body) });
    return (await response.json()) as T;
  }

  /** A miner's honest conduct over a text of its own choice. */
  async function answer(wallet: Wallet, taskId: Hex, text: string): Promise<Answer> {
    const result: ChatResult = {
      model: MODEL,
      text,
      finishReason: 'stop',
      usage: { promptTokens: 5, completionTokens: text.split(' ').length },
    };
    const block = await sealAtRest(encodeJson(result), [sessionRecipient]);
    return commit(wallet, { sessionId: SESSION, taskId }, result, put(block), channel);
  }

  /** A task of which each miner says the text beside it, and the router's conclusions about it. */
  async function task(
    texts: readonly string[] = [HONEST, HONEST, HONEST],
    changes: {
      readonly ordinal?: number;
      readonly answers?: (taskId: Hex, honest: Answer[]) => Promise<Answer[]> | Answer[];
      readonly evidence?: (honest: TaskEvidence) => TaskEvidence;
      readonly settled?: (honest: SettledTask) => SettledTask;
    } = {},
  ): Promise<SettledTask> {
    const taskId: Hex = `0x${randomBytes(32).toString('hex')}`;
    const honest = await Promise.all(
      texts.map((text, i) => answer(miners[i] ?? oracle, taskId, text)),
    );
    const answers = (await changes.answers?.(taskId, honest)) ?? honest;
    const requestCid = put(await sealAtRest(encodeJson(REQUEST), [sessionRecipient]));
    const agreed = answers.filter((_, i) => texts[i] !== UNRELATED);
    const paid = agreed
      .map(({ commitment }) => commitment.miner)
      .sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
    const isIdentical = new Set(answers.map((a) => a.commitment.resultHash)).size === 1;
    const medoid = isIdentical
      ? (answers[0]?.commitment.miner ?? null)
      : await askVerdict(taskId, answers);
    const usage = billedUsage(
      agreed.map(({ commitment }) => commitment.usage),
      { promptTokens: maxPromptTokensOf(REQUEST), completionTokens: REQUEST.maxTokens },
    );
    const evidence: TaskEvidence = {
      version: 1,
      sessionId: SESSION,
      taskId,
      model: MODEL,
      seed: 1,
      requestCid,
      keyringCid,
      primary: miners[0]?.address as Address,
      precommitments: answers.map((a) => a.precommitment),
      commitments: answers.map((a) => a.commitment),
      verdict: {
        status: 'agreed',
        method: isIdentical ? 'identical' : 'embedding',
        medoid,
        scores: answers.map(({ commitment: { miner } }) => ({
          miner,
          scoreBps: 10_000,
          isAgreed: paid.includes(miner),
        })),
      },
    };
    const settled: SettledTask = {
      sessionId: SESSION,
      taskId,
      ordinal: changes.ordinal ?? 0,
      outcome: 'completed',
      requestCid,
      evidenceCid: putJson(changes.evidence?.(evidence) ?? evidence),
      resultCid: resultOf(answers, paid, medoid),
      ...chargeOf({ usage, pricePerTokenWei: PRICE, miners: paid, feeBps: FEE_BPS }),
    };
    return changes.settled?.(settled) ?? settled;
  }

  /** The primary's where it agreed, else the medoid's. */
  function resultOf(
    answers: readonly Answer[],
    paid: readonly Address[],
    medoid: Address | null,
  ): Cid {
    const primary = miners[0]?.address as Address;
    const miner = paid.includes(primary) ? primary : medoid;
    return answers.find((a) => a.commitment.miner === miner)?.commitment.resultCid ?? '';
  }

  async function askVerdict(taskId: Hex, answers: readonly Answer[]): Promise<Address | null> {
    const verdict = await post<{ medoid: Address | null }>('/v1/judge', {
      sessionId: SESSION,
      taskId,
      asked: 3,
      keyringCid,
      answers: answers.map(({ commitment: { miner, resultCid } }) => ({ miner, resultCid })),
    });
    return verdict.medoid;
  }

  function batch(
    tasks: readonly SettledTask[],
    change: (honest: SettlementBatch) => SettlementBatch = (honest) => honest,
  ): { batch: SettlementBatch; batchCid: Cid } {
    const root = merkleRoot(tasks.map(taskLeaf));
    const made = change({ version: 1, batchId: root, root, tasks, ...sumBatch(tasks) });
    return { batch: made, batchCid: putJson(made) };
  }

  return {
    answer,
    app,
    batch,
    blocks,
    chain,
    channel,
    deps,
    embedded,
    keyringCid,
    lines,
    miners,
    nodes,
    oracle,
    post,
    put,
    putJson,
    setStatus,
    task,
  };
}

export type Network = Awaited<ReturnType<typeof createNetwork>>;

/** Precommits and commits to a result, as an honest miner does. */
export async function commit(
  wallet: Wallet,
  { sessionId, taskId }: { sessionId: string; taskId: Hex },
  result: ChatResult,
  resultCid: Cid,
  channel: Channel,
): Promise<Answer> {
  const miner = wallet.address as Address;
  const domain = DOMAINS.sessionPayment;
  const { usage } = result;
  const reveal = {
    sessionId,
    taskId,
    resultHash: await channel.resultHash(result),
    resultDigest: digestOf(resultCid),
    salt: `0x${randomBytes(32).toString('hex')}` as Hex,
  };
  const precommit = { sessionId, taskId, precommitment: precommitmentOf({ ...reveal, miner }) };
  return {
    precommitment: {
      ...precommit,
      miner,
      signature: await signMessage(wallet, 'Precommit', domain, precommit),
    },
    commitment: {
      ...reveal,
      miner,
      resultCid,
      usage,
      signature: await signMessage(wallet, 'Commit', domain, { ...reveal, ...usage }),
    },
  };
}

/** Evidence of an epoch (or of an admission, epoch 0) in which each miner answers by a function. */
export async function epochEvidence(
  epoch: number,
  miners: readonly { wallet: Wallet; say: (probe: string, accepted?: string) => string | null }[],
): Promise<EpochEvidence> {
  const [first] = miners;
  const seed = epoch === 0 ? `admission:${first?.wallet.address.toLowerCase()}` : `epoch:${epoch}`;
  const probes = buildProbes({ seed, model: MODEL, poi: 2, pouw: 2 });
  const channel = await openChannel({ sessionId: '0', channelKey: null });
  const answers: ProbeAnswer[] = [];
  for (const { wallet, say } of miners) {
    for (const probe of probes) {
      const text = say(probe.request.messages[0]?.content ?? '', probe.accepted?.[0]);
      if (text === null) continue;
      const result: ChatResult = {
        model: MODEL,
        text,
        finishReason: 'stop',
        usage: { promptTokens: 5, completionTokens: 5 },
      };
      const cid = cidOf(encodeJson(result));
      answers.push({
        miner: wallet.address as Address,
        probeId: probe.id,
        ...(await commit(
          wallet,
          { sessionId: String(epoch), taskId: probe.id },
          result,
          cid,
          channel,
        )),
        text,
        finishReason: 'stop',
        elapsedMs: 10,
      });
    }
  }
  const addresses = miners.map(({ wallet }) => wallet.address as Address);
  return { version: 1, epoch, miners: addresses, probes, answers };
}

/** A stand-in for the embedding model: texts with the same words are near. */
function bagOfWords(text: string): Float32Array {
  const vector = new Float32Array(64);
  for (const word of text.toLowerCase().split(/\W+/)) {
    let hash = 7;
    for (const c of word) hash = (hash * 31 + c.charCodeAt(0)) % 64;
    vector[hash] = (vector[hash] ?? 0) + 1;
  }
  const length = Math.hypot(...vector);
  return vector.map((x) => x / length);
}
