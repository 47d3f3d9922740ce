import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ApplicationFailure } from '@temporalio/common';
import { encodeJson } from '../../adapters/ipfs/canonical.js';
import { cidOf } from '../../adapters/ipfs/cid.js';
import type { ChainSession } from '../../adapters/chain/service.js';
import { countClaims, findClaims } from '../../cli/claim/claimable.js';
import { batchesOf, earnedWei, settleClaims } from '../../cli/claim/settle-claims.js';
import type { AttestationRequest } from '../../domain/api.js';
import { EngineError } from '../../domain/errors.js';
import type { Address, Hex, SessionId } from '../../domain/ids.js';
import type { SettlementBatch } from '../../domain/settlement.js';
import type { SettledTask } from '../../domain/task.js';
import type { JournalEntry } from '../../nodes/miner/journal.js';

const MINER: Address = `0x${'a1'.repeat(20)}`;
const CID = cidOf(new Uint8Array([1]));

const taskIdOf = (n: number): Hex => `0x${n.toString(16).padStart(64, '0')}`;

function taskOf(sessionId: SessionId, ordinal: number): SettledTask {
  return {
    sessionId,
    taskId: taskIdOf(Number(sessionId) * 1_000 + ordinal),
    ordinal,
    outcome: 'completed',
    requestCid: CID,
    evidenceCid: CID,
    resultCid: CID,
    chargeWei: '21',
    feeWei: '1',
    payments: [{ miner: MINER, amountWei: '20' }],
  };
}

function entryOf(sessionId: SessionId, ordinal: number, more: Partial<JournalEntry> = {}) {
  const { taskId } = taskOf(sessionId, ordinal);
  const entry: JournalEntry = {
    sessionId,
    taskId,
    ordinal,
    outcome: 'completed',
    evidenceCid: CID,
    resultDigest: taskIdOf(1),
    endedAtMs: 1,
    ...more,
  };
  return entry;
}

describe('findClaims', () => {
  const chain = {
    isTaskSettled: async (_: SessionId, ordinal: number) => ordinal === 0,
    readSession: async (sessionId: SessionId) => {
      if (sessionId === '3') return null;
      return { status: sessionId === '2' ? 'Closed' : 'Exiting' } as ChainSession;
    },
  };

  it('tells what can be claimed from what was paid, cost nothing, or is too late', async () => {
    const claims = await findClaims(
      [
        entryOf('1', 0),
        entryOf('1', 1),
        entryOf('1', 2, { outcome: 'no-quorum' }),
        entryOf('2', 1),
        entryOf('3', 1),
      ],
      chain,
    );
    assert.deepEqual(
      claims.map(({ state }) => state),
      ['settled', 'claimable', 'free', 'closed', 'closed'],
    );
    assert.deepEqual(countClaims(claims), { settled: 1, claimable: 1, free: 1, closed: 2 });
  });

  it('does not take a chain that is away for one that knows nothing', async () => {
    const away = new EngineError('CHAIN_UNREACHABLE');
    const isTaskSettled = () => Promise.reject(away);
    await assert.rejects(findClaims([entryOf('1', 1)], { ...chain, isTaskSettled }), away);
  });
});

describe('batchesOf', () => {
  it('puts every task into one batch, of one session and at most a hundred tasks', () => {
    const drawn = fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 500 });
    fc.assert(
      fc.property(drawn, (sessions) => {
        const tasks = sessions.map((session, i) => taskOf(String(session), i));
        const batches = batchesOf(tasks);
        assert.deepEqual(new Set(batches.flat()), new Set(tasks));
        assert.equal(batches.flat().length, tasks.length);
        for (const batch of batches) {
          assert.ok(batch.length > 0 && batch.length <= 100);
          assert.equal(new Set(batch.map(({ sessionId }) => sessionId)).size, 1);
        }
      }),
    );
  });
});

describe('earnedWei', () => {
  it('counts the payments of one miner, however its address is written', () => {
    const tasks = [taskOf('1', 0), taskOf('1', 1)];
    assert.equal(earnedWei(tasks, MINER.toUpperCase().replace('0X', '0x') as Address), 40n);
    assert.equal(earnedWei(tasks, `0x${'b2'.repeat(20)}`), 0n);
  });
});

describe('settleClaims', () => {
  /** A committee that answers by a list of failures, one a call; what it saw is kept. */
  function networkOf(failures: readonly unknown[]) {
    const documents = new Map<string, SettlementBatch>();
    const asked: string[][] = [];
    const put = async (bytes: Uint8Array) => {
      const cid = cidOf(bytes);
      documents.set(cid, JSON.parse(new TextDecoder().decode(bytes)) as SettlementBatch);
      return cid;
    };
    const collectAttestations = async (request: AttestationRequest): Promise<Hex[]> => {
      assert.equal(request.kind, 'settle');
      const batch = documents.get('batchCid' in request ? request.batchCid : '');
      asked.push(batch?.tasks.map(({ taskId }) => taskId) ?? []);
      throw failures[asked.length - 1];
    };
    const store = { put, get: unused, unpin: unused, remove: unused };
    const sender = undefined as never;
    const deps = {
      store,
      sender,
      service: { encodeSettle: unused },
      committee: { collectAttestations },
    };
    return { deps, asked };
  }
  const unused = (): never => assert.fail('not to be called');
  const failure = (type: string, details: object) =>
    ApplicationFailure.create({ type, message: type, details: [details] });
  const tasks = [taskOf('1', 0), taskOf('1', 1), taskOf('1', 2)];
  const [a = '0x', b = '0x', c = '0x'] = tasks.map(({ taskId }) => taskId);

  it('asks again without the tasks that the committee disputes or cannot judge', async () => {
    const { deps, asked } = networkOf([
      failure('ATTESTATION_REFUSED', { disputed: a }),
      failure('NO_QUORUM', { missing: `${b},${c}` }),
    ]);
    const claim = await settleClaims(tasks, deps);
    assert.deepEqual(asked, [
      [a, b, c],
      [b, c],
    ]);
    assert.equal(claim.transaction, null);
    assert.deepEqual(
      claim.refused.map(({ taskId }) => taskId),
      [a, b, c],
    );
  });

  it('gives up where the committee names no task, or one of another batch', async () => {
    for (const details of [{}, { disputed: '' }, { disputed: taskIdOf(9) }]) {
      const { deps, asked } = networkOf([failure('ATTESTATION_REFUSED', details)]);
      await assert.rejects(settleClaims(tasks, deps), { code: 'ATTESTATION_REFUSED' });
      assert.equal(asked.length, 1);
    }
  });

  it('lays out the batch that oracles recompute: sums and root of its tasks', async () => {
    const { deps } = networkOf([failure('ATTESTATION_REFUSED', { disputed: `${a},${b},${c}` })]);
    let seen: SettlementBatch | undefined;
    const put = deps.store.put;
    await settleClaims(tasks, {
      ...deps,
      store: {
        ...deps.store,
        put: async (bytes) => {
          seen = JSON.parse(new TextDecoder().decode(bytes)) as SettlementBatch;
          assert.deepEqual(Buffer.from(encodeJson(seen)), Buffer.from(bytes), 'canonical');
          return put(bytes);
        },
      },
    });
    assert.equal(seen?.batchId, seen?.root);
    assert.equal(seen?.feeWei, '3');
    assert.deepEqual(seen?.payments, [{ miner: MINER, amountWei: '60' }]);
  });
});
