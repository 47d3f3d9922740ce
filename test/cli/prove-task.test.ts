import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { proveTask, type ProveDeps } from '../../cli/claim/prove-task.js';
import type { AttestationAnswer } from '../../domain/api.js';
import type { Address } from '../../domain/ids.js';
import type { SettledTask } from '../../domain/task.js';
import type { JournalEntry } from '../../nodes/miner/journal.js';
import {
  createNetwork,
  HONEST,
  PARAPHRASE,
  UNRELATED,
  type Network,
} from '../nodes/oracle/network.js';

let network: Network;
before(async () => {
  network = await createNetwork();
});

const signal = AbortSignal.timeout(120_000);

function depsOf(miner: number): ProveDeps {
  const { store, identity, chain, models, feeBps } = network.deps;
  const { address } = network.miners[miner] ?? { address: '' };
  return { miner: address as Address, identity, store, chain, models, feeBps };
}

function entryOf(task: SettledTask): JournalEntry {
  const { sessionId, taskId, ordinal, outcome, evidenceCid = null } = task;
  const resultDigest = `0x${'00'.repeat(32)}` as const;
  return { sessionId, taskId, ordinal, outcome, evidenceCid, resultDigest, endedAtMs: 1 };
}

describe('proveTask', () => {
  const answers = [
    ['identical', [HONEST, HONEST, HONEST]],
    ['alike', [PARAPHRASE, HONEST, HONEST]],
    ['of a majority, without the primary', [UNRELATED, HONEST, HONEST]],
  ] as const;
  for (const [what, texts] of answers) {
    it(`puts together what the engine would settle and oracles sign, of answers that are ${what}`, async () => {
      const task = await network.task(texts);
      const proven = await proveTask(entryOf(task), depsOf(1), signal);
      assert.deepEqual(proven, task);
      const { batchCid } = network.batch([proven]);
      const request = { kind: 'settle', batchCid };
      const answer = await network.post<AttestationAnswer>('/v1/attest', request);
      assert.ok(answer.signed, JSON.stringify(answer));
    });
  }

  it('refuses evidence in which the miner did not agree', async () => {
    const task = await network.task([UNRELATED, HONEST, HONEST]);
    const proving = proveTask(entryOf(task), depsOf(0), signal);
    await assert.rejects(proving, { code: 'REQUEST_INVALID' });
  });

  it('refuses evidence of another task', async () => {
    const [one, other] = [await network.task(), await network.task()];
    const entry = { ...entryOf(one), evidenceCid: other.evidenceCid ?? null };
    const proving = proveTask(entry, depsOf(0), signal);
    await assert.rejects(proving, { code: 'REQUEST_INVALID' });
  });

  it('refuses evidence without agreement', async () => {
    const task = await network.task(undefined, {
      evidence: (honest) => ({
        ...honest,
        verdict: { ...honest.verdict, status: 'no-quorum', medoid: null },
      }),
    });
    const proving = proveTask(entryOf(task), depsOf(0), signal);
    await assert.rejects(proving, { code: 'REQUEST_INVALID' });
  });

  it('says that evidence is missing, which may come back', async () => {
    const entry = { ...entryOf(await network.task()), evidenceCid: 'bafkmissing' };
    const proving = proveTask(entry, depsOf(0), signal);
    await assert.rejects(proving, { code: 'CONTENT_MISSING' });
  });
});
