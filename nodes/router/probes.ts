/**
 * Probes of a health epoch: every named miner that is connected answers each of them, commit before
 * reveal, at level `open`. A probe travels as a task: its session id is the epoch's number, its
 * task id the probe's, so signatures over it can be told from those of any paid task.
 */
import { openChannel, type Channel } from '../../adapters/seal/channel.js';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { putJson, type BlockStore } from '../../adapters/ipfs/block-store.js';
import type { SigningDomain } from '../../domain/attestation.js';
import { deadlineIn } from '../../domain/deadline.js';
import type { EpochEvidence, Probe, ProbeAnswer } from '../../domain/health.js';
import type { Address } from '../../domain/ids.js';
import type { RouterActivities } from '../../domain/lease.js';
import type { CryptoPool } from './crypto-pool.js';
import type { MinerHub } from './hub.js';
import { persist } from './retry.js';
import { parseChatResult } from './chat-result.js';
import { TaskRun, type Answer } from './task-run.js';

const EVIDENCE_MS = 60_000;
/** A router that has just started is not the miners' fault: they get a while to come back, and no
 * longer than for an answer. */
const CONNECT_MS = 20_000;

export interface ProbeDeps {
  readonly hub: MinerHub;
  readonly blockStore: BlockStore;
  readonly signingDomain: SigningDomain;
  readonly crypto: CryptoPool;
}
type ProbeInput = Parameters<RouterActivities['runProbes']>[0];

/** Runs all probes of an epoch at once, when its miners are connected or had time to, and pins the
 * evidence.
 * @returns the CID of the `EpochEvidence`, and how many answers are in it.
 * @throws IPFS_UNREACHABLE — the evidence could not be pinned. */
export async function runProbes(
  input: ProbeInput,
  deps: ProbeDeps,
  signal: AbortSignal,
): Promise<{ readonly evidenceCid: string; readonly answered: number }> {
  const { epoch, miners, probes } = input;
  await untilConnected(input, deps.hub, signal);
  const channel = await openChannel({ sessionId: String(epoch), channelKey: null });
  const rounds = await Promise.all(
    probes.map((probe) => runProbe(probe, input, channel, deps, signal)),
  );
  const answers = rounds.flat();
  const evidence: EpochEvidence = { version: 1, epoch, miners, probes, answers };
  const deadline = deadlineIn(EVIDENCE_MS, signal);
  const evidenceCid = await persist(
    (attempt) => putJson(deps.blockStore, evidence, { signal: attempt }),
    deadline,
  );
  return { evidenceCid, answered: answers.length };
}

/** @returns when all are connected, or were given up. */
async function untilConnected(
  { miners, deadlineMs }: ProbeInput,
  hub: MinerHub,
  signal: AbortSignal,
): Promise<void> {
  const areThere = () => miners.every((miner) => hub.find(miner) !== undefined);
  if (areThere()) return;
  const deadline = deadlineIn(Math.min(CONNECT_MS, deadlineMs), signal);
  await new Promise<void>((resolve) => {
    const settle = () => {
      stopListening();
      resolve();
    };
    const stopListening = hub.onConnected(() => areThere() && settle());
    deadline.addEventListener('abort', settle, { once: true });
  });
  signal.throwIfAborted();
}

async function runProbe(
  probe: Probe,
  input: ProbeInput,
  channel: Channel,
  deps: ProbeDeps,
  signal: AbortSignal,
): Promise<ProbeAnswer[]> {
  const { miners, deadlineMs } = input;
  const sessionId = String(input.epoch);
  const connected = miners.filter((miner) => deps.hub.find(miner) !== undefined);
  if (connected.length === 0) return [];
  const sealer = await channel.sealer(probe.id, 'client');
  const run = new TaskRun(
    {
      sessionId,
      taskId: probe.id,
      seed: probe.seed,
      maxTokens: probe.request.maxTokens,
      redundancy: connected.length,
      quorum: 1,
      hasPrimary: false,
      waitsForAll: true,
      deadlineMs,
      firstTokenMs: deadlineMs,
      hedgeMs: null,
    },
    {
      signingDomain: deps.signingDomain,
      crypto: deps.crypto,
      next(asked) {
        const miner = connected.find((address) => !asked.has(address.toLowerCase()));
        const link = miner === undefined ? undefined : deps.hub.find(miner);
        link?.grant({ sessionId, level: 'open', keyring: null });
        return link;
      },
      mayCome: () => false,
      onConnected: () => () => undefined,
      onPrimary: () => undefined,
      onFrame: () => undefined,
      onAnswer: () => undefined,
      onFault: () => undefined,
    },
  );
  const abandon = () => run.abandon();
  signal.addEventListener('abort', abandon);
  run.start({ request: await sealer.seal(encodeJson(probe.request), true) });
  const { answers } = await run.done;
  signal.removeEventListener('abort', abandon);
  const checked = await Promise.all(answers.map((a) => probeAnswer(probe, a, channel)));
  return checked.filter((answer) => answer !== null);
}

/** @returns `null` for a result that is not what the miner committed to. */
async function probeAnswer(
  probe: Probe,
  answer: Answer,
  channel: Channel,
): Promise<ProbeAnswer | null> {
  const { precommitment, commitment, elapsedMs } = answer;
  const result = parseChatResult(answer.result);
  if (result === null) return null;
  const { text, finishReason } = result;
  // No probe asks for anything but text, and evidence has room for nothing else.
  if (finishReason !== 'stop' && finishReason !== 'length') return null;
  if ((await channel.resultHash({ text, finishReason })) !== commitment.resultHash) return null;
  const miner: Address = answer.miner;
  return { miner, probeId: probe.id, precommitment, commitment, text, finishReason, elapsedMs };
}
