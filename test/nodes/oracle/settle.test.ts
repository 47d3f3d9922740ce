import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { AbiCoder, keccak256, Wallet } from 'ethers';
import { precommitmentOf } from '../../../adapters/chain/precommitment.js';
import { recoverSigner, signMessage } from '../../../adapters/chain/sign.js';
import { encodeJson } from '../../../adapters/ipfs/canonical.js';
import { digestOf } from '../../../adapters/ipfs/cid.js';
import type { AttestationAnswer, ErrorBody } from '../../../domain/api.js';
import { sameAddress, type Address, type Hex } from '../../../domain/ids.js';
import type { SettlementBatch } from '../../../domain/settlement.js';
import type { Commitment, SettledTask, TaskEvidence } from '../../../domain/task.js';
import type { Verdict } from '../../../domain/verdict.js';
import {
  createNetwork,
  DOMAINS,
  HONEST,
  PARAPHRASE,
  POLICY,
  SESSION,
  UNRELATED,
  type Answer,
  type Network,
} from './network.js';

let network: Network;

beforeEach(async () => {
  network = await createNetwork();
});

describe('an oracle signs a batch', () => {
  test('that holds, and the signature recovers over the very arguments of settle', async () => {
    const tasks = [
      await network.task(undefined, { ordinal: 0 }),
      await network.task([HONEST, PARAPHRASE, UNRELATED], { ordinal: 1 }),
    ];
    const { batch, batchCid } = network.batch(tasks);
    const answer = await attest(batchCid);
    assert.ok(answer.signed, JSON.stringify(answer));
    const value = {
      batchId: batch.batchId,
      root: batch.root,
      chargesHash: hash(
        'tuple(uint64,uint32,uint256,uint128)[]',
        batch.charges.map((c) => [c.sessionId, c.word, c.mask, c.amountWei]),
      ),
      paymentsHash: hash(
        'tuple(address,uint128)[]',
        batch.payments.map((p) => [p.miner, p.amountWei]),
      ),
      fee: batch.feeWei,
    };
    const signer = recoverSigner('Settle', DOMAINS.sessionPayment, value, answer.signature);
    assert.equal(signer, network.oracle.address);
  });

  test('and embeds each result once, whether it is judged or attested', async () => {
    const task = await network.task([HONEST, PARAPHRASE, UNRELATED]);
    assert.ok((await attest(network.batch([task]).batchCid)).signed);
    assert.deepEqual([...network.embedded].sort(), [HONEST, PARAPHRASE, UNRELATED].sort());
  });

  test('of identical answers without embedding any', async () => {
    const task = await network.task();
    assert.ok((await attest(network.batch([task]).batchCid)).signed);
    assert.deepEqual(network.embedded, []);
  });

  test('that pays a miner which was jailed since', async () => {
    network.setStatus(network.miners[0]?.address ?? '', 'Jailed');
    assert.ok((await attest(network.batch([await network.task()]).batchCid)).signed);
  });
});

describe('an oracle refuses a batch, and names the task', () => {
  const cases: Record<string, readonly [RegExp, () => Promise<SettledTask>]> = {
    'whose charge is above usage and price': [
      /^the charge is/,
      () =>
        network.task(undefined, {
          settled: (task) => ({
            ...task,
            chargeWei: (BigInt(task.chargeWei) + 10n).toString(),
            feeWei: (BigInt(task.feeWei) + 10n).toString(),
          }),
        }),
    ],
    'that pays a miner whose answer does not agree': [
      /the verdict is not/,
      () =>
        network.task([HONEST, PARAPHRASE, UNRELATED], {
          evidence: (honest) => ({
            ...honest,
            verdict: {
              ...honest.verdict,
              scores: honest.verdict.scores.map((score) => ({ ...score, isAgreed: true })),
            },
          }),
        }),
    ],
    'that leaves an agreeing miner unpaid': [
      /^the charge is/,
      () =>
        network.task(undefined, {
          settled: (task) => {
            const payments = task.payments.slice(1);
            const paid = payments.reduce((sum, p) => sum + BigInt(p.amountWei), 0n);
            return { ...task, payments, chargeWei: (paid + BigInt(task.feeWei)).toString() };
          },
        }),
    ],
    'with a precommitment signed by another': [
      /precommitment is not by its miner/,
      () =>
        network.task(undefined, {
          answers: async (_, [first, ...rest]) => {
            assert.ok(first);
            const { sessionId, taskId, precommitment } = first.precommitment;
            const value = { sessionId, taskId, precommitment };
            const domain = DOMAINS.sessionPayment;
            const signature = await signMessage(network.oracle, 'Precommit', domain, value);
            return [{ ...first, precommitment: { ...first.precommitment, signature } }, ...rest];
          },
        }),
    ],
    'with a commitment signed by another': [
      /commitment is not by its miner/,
      () =>
        network.task(undefined, {
          answers: async (_, [first, ...rest]) => {
            assert.ok(first);
            const { sessionId, taskId, resultHash, resultDigest, usage, salt } = first.commitment;
            const value = { sessionId, taskId, resultHash, resultDigest, salt, ...usage };
            const domain = DOMAINS.sessionPayment;
            const signature = await signMessage(network.oracle, 'Commit', domain, value);
            return [{ ...first, commitment: { ...first.commitment, signature } }, ...rest];
          },
        }),
    ],
    'with a reveal that was not precommitted': [
      /does not open its precommitment/,
      () =>
        network.task(undefined, {
          answers: async (taskId, [first, ...rest]) => {
            assert.ok(first);
            const other = await network.answer(minerAt(0), taskId, HONEST);
            return [{ ...first, commitment: other.commitment }, ...rest];
          },
        }),
    ],
    'with a commitment that names another block than it signs': [
      /names another block/,
      () =>
        network.task(undefined, {
          answers: (_, [first, second, ...rest]) => {
            assert.ok(first && second);
            const { resultCid } = second.commitment;
            return [{ ...first, commitment: { ...first.commitment, resultCid } }, second, ...rest];
          },
        }),
    ],
    'that shifts what it pays from one miner to another': [
      /^the charge is/,
      () =>
        network.task(undefined, {
          settled: (task) => {
            const amounts = task.payments.map((paid) => BigInt(paid.amountWei));
            const shifted = amounts.map((wei, i) => wei + ([1n, -1n][i] ?? 0n));
            const payments = task.payments.map((paid, i) => ({
              ...paid,
              amountWei: `${shifted[i]}`,
            }));
            return { ...task, payments };
          },
        }),
    ],
    'of a copycat, that signs the precommitment and the reveal of another miner': [
      /does not open its precommitment/,
      () =>
        network.task(undefined, {
          answers: async (_, [first, second, third]) => {
            assert.ok(first && second && third);
            return [first, await copied(first, minerAt(1)), third];
          },
        }),
    ],
    'of a miner that is not registered': [
      /not a registered miner/,
      () => {
        const stranger = new Wallet(`0x${'44'.repeat(32)}`);
        return network.task(undefined, {
          answers: async (taskId, [, ...rest]) => [
            await network.answer(stranger, taskId, HONEST),
            ...rest,
          ],
        });
      },
    ],
    'whose results disagree, though it says they agree': [
      /results do not agree/,
      () =>
        network.task([HONEST, UNRELATED, 'entirely other words stand here instead'], {
          settled: (task) => task,
        }),
    ],
    'that a single miner answered of the three that the policy asks': [
      /results do not agree/,
      () => network.task([HONEST]),
    ],
    'whose evidence is of another request': [
      /evidence is of another task/,
      () =>
        network.task(undefined, {
          settled: (task) => ({ ...task, requestCid: network.put(new Uint8Array([1, 2, 3])) }),
        }),
    ],
    'without evidence': [
      /without evidence/,
      () =>
        network.task(undefined, {
          settled: ({ evidenceCid: _, ...task }) => task,
        }),
    ],
    'that gives another answer out than was agreed on': [
      /answer is not the one/,
      () =>
        network.task([HONEST, HONEST, UNRELATED], {
          settled: (task) => ({ ...task, resultCid: resultsOf(task)[2] ?? '' }),
        }),
    ],
    'that gives out the answer of a miner that agreed, but was not the primary': [
      /answer is not the one/,
      () =>
        network.task(undefined, {
          settled: (task) => ({ ...task, resultCid: resultsOf(task)[1] ?? '' }),
        }),
    ],
    'that gives out no answer at all': [
      /answer is not the one/,
      () => network.task(undefined, { settled: ({ resultCid: _, ...task }) => task }),
    ],
    'that failed and yet is charged': [
      /without an agreed answer/,
      () => network.task(undefined, { settled: (task) => ({ ...task, outcome: 'failed' }) }),
    ],
    'that failed and yet names an answer': [
      /without an agreed answer/,
      () =>
        network.task(undefined, {
          settled: (task) => ({ ...free(task), resultCid: task.requestCid }),
        }),
    ],
    'that failed in a session which is not on chain': [
      /not on chain/,
      () => network.task(undefined, { settled: (task) => ({ ...free(task), sessionId: '78' }) }),
    ],
    'whose evidence lacks the keyring that the policy asks for': [
      /not sealed as the policy asks/,
      () =>
        network.task(undefined, {
          evidence: ({ keyringCid: _, ...honest }) => honest,
        }),
    ],
  };
  for (const [name, [reason, build]] of Object.entries(cases)) {
    test(name, async () => {
      const bad = await build();
      const good = await network.task(undefined, { ordinal: 9 });
      await refuses(network.batch([good, bad]).batchCid, [bad.taskId], reason);
    });
  }

  test('with a result that is not the one that was committed to', async () => {
    // The miner precommits to the honest hash, and lays another result where it signs for it.
    const task = await network.task(undefined, {
      answers: async (taskId, [first, ...rest]) => {
        assert.ok(first);
        const other = await network.answer(minerAt(0), taskId, PARAPHRASE);
        return [await swapped(first, other, minerAt(0)), ...rest];
      },
    });
    await refuses(network.batch([task]).batchCid, [task.taskId], /the verdict is not/);
  });

  test('whose usage the text cannot have', async () => {
    const task = await network.task(undefined, {
      answers: (_, honest) => Promise.all(honest.map((a, i) => inflated(a, minerAt(i)))),
    });
    await refuses(network.batch([task]).batchCid, [task.taskId], /fewer bytes/);
  });

  test('that it has signed for under another number', async () => {
    const task = await network.task();
    const again = { ...task, ordinal: 1 };
    await refuses(network.batch([task, again]).batchCid, [task.taskId], /two numbers/);
    assert.ok((await attest(network.batch([task]).batchCid)).signed);
    await refuses(network.batch([again]).batchCid, [task.taskId], /two numbers/);
  });
});

describe('an oracle that lacks content', () => {
  test('names the tasks it cannot judge, and disputes none', async () => {
    const [good, bad] = [await network.task(), await network.task(undefined, { ordinal: 9 })];
    network.blocks.delete(resultsOf(bad)[1] ?? '');
    const answer = await attest(network.batch([good, bad]).batchCid);
    assert.ok(!answer.signed);
    assert.deepEqual([answer.disputed, answer.missing], [[], [bad.taskId]]);
  });

  test('still disputes what it can judge', async () => {
    const gone = await network.task();
    network.blocks.delete(gone.evidenceCid ?? '');
    const bad = await network.task(undefined, {
      ordinal: 9,
      settled: (task) => ({ ...task, outcome: 'failed' }),
    });
    const answer = await attest(network.batch([gone, bad]).batchCid);
    assert.ok(!answer.signed);
    assert.deepEqual([answer.disputed, answer.missing], [[bad.taskId], [gone.taskId]]);
  });

  test('signs once the content is back', async () => {
    const task = await network.task();
    const { batchCid } = network.batch([task]);
    const cid = resultsOf(task)[1] ?? '';
    const block = network.blocks.get(cid);
    assert.ok(block);
    network.blocks.delete(cid);
    assert.ok(!(await attest(batchCid)).signed);
    network.blocks.set(cid, block);
    assert.ok((await attest(batchCid)).signed);
  });
});

describe('an oracle signs for tasks that cost nothing', () => {
  for (const outcome of ['failed', 'expired', 'no-quorum', 'cancelled', 'refused'] as const) {
    test(`and ended as ${outcome}, with evidence or without`, async () => {
      const ended = await network.task(undefined, { settled: (t) => free({ ...t, outcome }) });
      const { evidenceCid: _, ...bare } = {
        ...ended,
        ordinal: 1,
        taskId: `0x${'0b'.repeat(32)}` as Hex,
      };
      assert.ok((await attest(network.batch([ended, bare]).batchCid)).signed);
    });
  }
});

describe('an oracle refuses a batch as a whole', () => {
  const changes: Record<string, (batch: SettlementBatch) => SettlementBatch> = {
    'whose payments are not the sum of its tasks': (batch) => ({
      ...batch,
      payments: batch.payments.map((p) => ({ ...p, amountWei: `${p.amountWei}0` })),
    }),
    'that charges a session for another task': (batch) => ({
      ...batch,
      charges: batch.charges.map((c) => ({ ...c, mask: `0x${'f'.repeat(64)}` as Hex })),
    }),
    'whose fee is another': (batch) => ({ ...batch, feeWei: '1' }),
    'whose root is another': (batch) => ({ ...batch, root: `0x${'ab'.repeat(32)}` }),
  };
  for (const [name, change] of Object.entries(changes)) {
    test(name, async () => {
      await refuses(network.batch([await network.task()], change).batchCid, [], /sums|root/);
    });
  }
});

describe('an oracle holds to what the owner signed', () => {
  test('a price above the ceiling is refused', async () => {
    network = await createNetwork({ policy: { ...POLICY, priceCeilingWei: '2' } });
    const task = await network.task();
    await refuses(network.batch([task]).batchCid, [task.taskId], /above the ceiling/);
  });

  test('more miners than the owner asked for are not paid', async () => {
    network = await createNetwork({ policy: { ...POLICY, redundancy: 2 } });
    const task = await network.task([HONEST, HONEST, HONEST]);
    await refuses(network.batch([task]).batchCid, [task.taskId], /more miners would be paid/);
  });

  test('another policy than the chain names is refused', async () => {
    const dearer = encodeJson({ ...POLICY, model: 'another' });
    network.chain.policyHash = digestOf(network.put(dearer));
    const task = await network.task();
    await refuses(network.batch([task]).batchCid, [task.taskId], /no price/);
  });

  test('and to what the owner changed it to, from the next batch on', async () => {
    const task = await network.task();
    const { batchCid } = network.batch([task]);
    assert.ok((await attest(batchCid)).signed);
    const tighter = encodeJson({ ...POLICY, priceCeilingWei: '2' });
    network.chain.policyHash = digestOf(network.put(tighter));
    await refuses(batchCid, [task.taskId], /above the ceiling/);
  });
});

test('a batch that is not found is an error, never a refusal', async () => {
  const { batchCid } = network.batch([await network.task()]);
  network.blocks.delete(batchCid);
  const body = await network.post<ErrorBody>('/v1/attest', { kind: 'settle', batchCid });
  assert.equal(body.error.code, 'CONTENT_MISSING');
});

test('an unreachable chain is an error, never a refusal', async () => {
  const { batchCid } = network.batch([await network.task()]);
  network.chain.isDown = true;
  const response = await network.app.request('/v1/attest', {
    method: 'POST',
    body: JSON.stringify({ kind: 'settle', batchCid }),
  });
  assert.equal(response.status, 503);
  assert.equal(((await response.json()) as ErrorBody).error.code, 'CHAIN_UNREACHABLE');
});

describe('an oracle judges results', () => {
  test('and finds the one that disagrees', async () => {
    const { verdict, answers } = await judge([HONEST, PARAPHRASE, UNRELATED]);
    assert.equal(verdict.status, 'agreed');
    assert.equal(verdict.method, 'embedding');
    const lone = answers[2]?.commitment.miner ?? '';
    for (const { miner, isAgreed } of verdict.scores) {
      assert.equal(isAgreed, !sameAddress(miner, lone));
    }
  });

  test('alike in whatever order they come', async () => {
    const { verdict, answers, ask } = await judge([HONEST, PARAPHRASE]);
    assert.deepEqual(await ask([...answers].reverse()), verdict);
  });

  test('and counts one that does not open as an answer that agrees with nobody', async () => {
    const { answers, ask } = await judge([HONEST, HONEST, HONEST]);
    const broken = network.put(new Uint8Array([9, 9, 9]));
    const verdict = await ask(
      answers.map((a, i) =>
        i === 0 ? { ...a, commitment: { ...a.commitment, resultCid: broken } } : a,
      ),
    );
    assert.equal(verdict.status, 'agreed');
    assert.equal(verdict.scores.filter((s) => s.isAgreed).length, 2);
  });

  test('but says nothing while a block cannot be found', async () => {
    const { answers } = await judge([HONEST, HONEST]);
    network = await createNetwork();
    const body = await network.post<ErrorBody>('/v1/judge', question(answers, network.keyringCid));
    assert.equal(body.error.code, 'CONTENT_MISSING');
  });

  async function judge(texts: readonly string[]) {
    const taskId: Hex = `0x${'0c'.repeat(32)}`;
    const answers = await Promise.all(
      texts.map((text, i) => network.answer(minerAt(i), taskId, text)),
    );
    const ask = (asked: readonly Answer[]) =>
      network.post<Verdict>('/v1/judge', question(asked, network.keyringCid));
    return { answers, ask, verdict: await ask(answers) };
  }

  function question(answers: readonly Answer[], keyringCid: string) {
    return {
      sessionId: SESSION,
      taskId: answers[0]?.commitment.taskId,
      asked: 3,
      keyringCid,
      answers: answers.map(({ commitment: { miner, resultCid } }) => ({ miner, resultCid })),
    };
  }
});

test('an oracle writes nothing of requests and results to its log', async () => {
  const task = await network.task([HONEST, UNRELATED, PARAPHRASE], {
    evidence: (honest) => ({ ...honest, commitments: honest.commitments.slice(0, 1) }),
  });
  await refuses(network.batch([task]).batchCid, [task.taskId], /results do not agree/);
  assert.ok(network.lines.length > 0);
  assert.doesNotMatch(network.lines.join('\n'), /sky|quarterly/);
});

function attest(batchCid: string): Promise<AttestationAnswer> {
  return network.post<AttestationAnswer>('/v1/attest', { kind: 'settle', batchCid });
}

async function refuses(batchCid: string, disputed: readonly Hex[], reason: RegExp): Promise<void> {
  const answer = await attest(batchCid);
  assert.equal(answer.signed, false, JSON.stringify(answer));
  assert.deepEqual(answer.disputed, disputed, answer.reason);
  assert.match(answer.reason.replace(/^task 0x\w+: /, ''), reason);
}

/** The same task, ended without an answer, or as it says. */
function free({ resultCid: _, ...task }: SettledTask): SettledTask {
  const outcome = task.outcome === 'completed' ? 'failed' : task.outcome;
  return { ...task, outcome, chargeWei: '0', feeWei: '0', payments: [] };
}

/** CIDs of the miners' results, in the order of the miners. */
function resultsOf(task: SettledTask): string[] {
  const bytes = network.blocks.get(task.evidenceCid ?? '');
  const { commitments } = JSON.parse(new TextDecoder().decode(bytes)) as TaskEvidence;
  return commitments.map(({ resultCid }) => resultCid);
}

function minerAt(index: number): Wallet {
  const miner = network.miners[index];
  assert.ok(miner);
  return miner;
}

function hash(type: string, rows: readonly (readonly unknown[])[]): Hex {
  return keccak256(AbiCoder.defaultAbiCoder().encode([type], [rows])) as Hex;
}

/** Another miner's words under one's own name and signature. */
function copied(original: Answer, thief: Wallet): Promise<Answer> {
  return resigned(thief, original.precommitment.precommitment, {
    ...original.commitment,
    miner: thief.address as Address,
  });
}

/** Commits to one's own hash, and to the block of another result. */
function swapped(first: Answer, other: Answer, wallet: Wallet): Promise<Answer> {
  const { resultCid, resultDigest } = other.commitment;
  const commitment = { ...first.commitment, resultCid, resultDigest };
  return resigned(wallet, precommitmentOf(commitment), commitment);
}

/** Claims more tokens than its text has bytes. */
function inflated({ commitment, precommitment }: Answer, wallet: Wallet): Promise<Answer> {
  const usage = { promptTokens: 5, completionTokens: 4_000 };
  return resigned(wallet, precommitment.precommitment, { ...commitment, usage });
}

async function resigned(
  wallet: Wallet,
  precommitment: Hex,
  commitment: Commitment,
): Promise<Answer> {
  const { sessionId, taskId, miner, resultHash, resultDigest, salt, usage } = commitment;
  const domain = DOMAINS.sessionPayment;
  const precommit = { sessionId, taskId, precommitment };
  const commit = { sessionId, taskId, resultHash, resultDigest, salt, ...usage };
  return {
    precommitment: {
      ...precommit,
      miner,
      signature: await signMessage(wallet, 'Precommit', domain, precommit),
    },
    commitment: {
      ...commitment,
      signature: await signMessage(wallet, 'Commit', domain, commit),
    },
  };
}
