/**
 * An epoch's evidence, checked and scored: the right questions, miners' own signatures, and scores
 * that anybody computes alike from the answers.
 */
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { sortScores } from '../../adapters/chain/pack-scores.js';
import { openChannel } from '../../adapters/seal/channel.js';
import type { SigningDomain } from '../../domain/attestation.js';
import {
  scoreNode,
  solves,
  type EpochEvidence,
  type NodeHealth,
  type Probe,
  type ProbeAnswer,
} from '../../domain/health.js';
import { sameAddress, type Address } from '../../domain/ids.js';
import { buildProbes } from '../../domain/probes.js';
import { judgeEmbeddings } from '../../domain/verdict.js';
import { checkPair } from './commitments.js';
import type { OracleDeps } from './ports.js';
import { Refusal } from './refusal.js';

/** Seed of an epoch's probes, public and fixed before it; that of a miner's admission is its own. */
export function probeSeed(evidence: EpochEvidence): string {
  const [only] = evidence.miners;
  return evidence.epoch === 0 && only !== undefined
    ? `admission:${only.toLowerCase()}`
    : `epoch:${evidence.epoch}`;
}

/** Checks that evidence is what it says it is.
 * @throws Refusal — other questions than the seed gives, or an answer that is not its miner's. */
export async function checkEpoch(
  evidence: EpochEvidence,
  deps: {
    readonly models: OracleDeps['models'];
    /** Of `Precommit` and `Commit`. */
    readonly domain: SigningDomain;
  },
): Promise<void> {
  const { miners, probes, answers } = evidence;
  if (evidence.epoch === 0 && miners.length !== 1) {
    throw new Refusal('an admission is of one miner');
  }
  if (new Set(miners.map((miner) => miner.toLowerCase())).size !== miners.length) {
    throw new Refusal('a miner is named twice');
  }
  checkProbes(evidence, deps.models);
  const seen = new Set<string>();
  for (const answer of answers) {
    const probe = probes.find(({ id }) => id === answer.probeId);
    const key = `${answer.miner.toLowerCase()}|${answer.probeId}`;
    if (probe === undefined || seen.has(key)) throw new Refusal('an answer to no question');
    seen.add(key);
    if (!miners.some((miner) => sameAddress(miner, answer.miner))) {
      throw new Refusal('an answer by a miner that was not asked');
    }
    await checkAnswer(answer, probe, evidence.epoch, deps.domain);
  }
}

function checkProbes({ probes, ...evidence }: EpochEvidence, models: OracleDeps['models']): void {
  const model = probes[0]?.request.model ?? '';
  if (!models.some(({ name }) => name === model)) throw new Refusal('the model is not served here');
  const expected = buildProbes({
    seed: probeSeed({ probes, ...evidence }),
    model,
    poi: probes.filter(({ kind }) => kind === 'poi').length,
    pouw: probes.filter(({ kind }) => kind === 'pouw').length,
  });
  if (Buffer.compare(encodeJson(probes), encodeJson(expected)) !== 0) {
    throw new Refusal('the probes are not those of the seed');
  }
}

/** A probe travels as a task of a session whose number is the epoch's, at level `open`. */
async function checkAnswer(
  { miner, precommitment, commitment, text, finishReason }: ProbeAnswer,
  probe: Probe,
  epoch: number,
  domain: SigningDomain,
): Promise<void> {
  const sessionId = String(epoch);
  checkPair({ sessionId, taskId: probe.id, miner }, precommitment, commitment, domain);
  const channel = await openChannel({ sessionId, channelKey: null });
  if ((await channel.resultHash({ text, finishReason })) !== commitment.resultHash.toLowerCase()) {
    throw new Refusal('an answer is not what its miner committed to');
  }
}

/** Scores the miners of an epoch, ascending by address.
 * Liveness counts answers, since only those in time are evidence. PoI counts the comparisons in
 * which a miner was with the majority of those that answered. PoUW counts tasks solved, relative to
 * the best miner, because a small model cannot solve them all; where nobody solved any, it is 0. */
export async function scoreEpoch(
  { miners, probes, answers }: EpochEvidence,
  embed: OracleDeps['embedder']['embed'],
): Promise<NodeHealth[]> {
  const answered = tally();
  const agreed = tally();
  const solved = tally();
  for (const probe of probes) {
    const given = answers
      .filter(({ probeId }) => probeId === probe.id)
      .sort((a, b) => (BigInt(a.miner) < BigInt(b.miner) ? -1 : 1));
    for (const { miner } of given) answered.add(miner);
    if (probe.kind === 'pouw') {
      const { accepted = [] } = probe;
      for (const { miner, text } of given) if (solves(text, accepted)) solved.add(miner);
      continue;
    }
    const vectors = await embed(given.map(({ text }) => text));
    const compared = given.flatMap(({ miner }, i) => {
      const embedding = vectors[i];
      return embedding === undefined ? [] : [{ miner, embedding }];
    });
    const { scores } = judgeEmbeddings(compared, compared.length);
    for (const { miner, isAgreed } of scores) if (isAgreed) agreed.add(miner);
  }
  const comparisons = probes.filter(({ kind }) => kind === 'poi').length;
  const tasks = probes.length - comparisons;
  const best = Math.max(...miners.map(solved.of));
  return sortScores(
    miners.map((miner) =>
      scoreNode(miner, {
        livenessBps: share(answered.of(miner), probes.length),
        poiBps: comparisons === 0 ? 10_000 : share(agreed.of(miner), comparisons),
        pouwBps: tasks === 0 ? 10_000 : share(solved.of(miner), best),
      }),
    ),
  );
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : Math.floor((10_000 * part) / whole);
}

function tally(): { add(miner: Address): void; of(miner: Address): number } {
  const counts = new Map<string, number>();
  return {
    add: (miner) => {
      counts.set(miner.toLowerCase(), (counts.get(miner.toLowerCase()) ?? 0) + 1);
    },
    of: (miner) => counts.get(miner.toLowerCase()) ?? 0,
  };
}
