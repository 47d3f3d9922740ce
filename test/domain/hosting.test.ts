import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SessionHosting, type HostingState } from '../../domain/hosting.js';
import type { TaskId } from '../../domain/ids.js';
import type { TaskRecord } from '../../domain/lease.js';
import { checkPolicyChange, parsePolicy } from '../../domain/session.js';

const taskId = (n: number): TaskId => `0x${n.toString(16).padStart(64, '0')}`;
const POLICY = { model: 'm', priceCeilingWei: '10' };

/** A ledger in which tasks are open, have ended, or have ended for good. */
function ledger() {
  const states = new Map<TaskId, 'open' | 'ended' | 'final'>();
  return {
    states,
    record: (id: TaskId) => {
      const state = states.get(id);
      if (state === undefined) return null;
      const outcome = state === 'open' ? null : 'completed';
      return { taskId: id, outcome, requestCid: id, evidenceCid: null } as unknown as TaskRecord;
    },
    isFinal: (id: TaskId) => states.get(id) === 'final',
  };
}

test('every task is moved once, however its session goes on, and copied before at most once', () => {
  const step = fc.oneof(
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('submit'), n: fc.nat(30) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('end'), n: fc.nat(30) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('settle'), n: fc.nat(30) }) },
    fc.record({ kind: fc.constantFrom('deliver', 'fail', 'carry'), n: fc.constant(0) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const tasks = ledger();
      let hosting = new SessionHosting('mine');
      const [copied, moved] = [new Map<TaskId, number>(), new Map<TaskId, number>()];
      const deliver = (): void => {
        const due = hosting.due(tasks);
        for (const { taskId: id, letGo } of due) {
          assert.notEqual(tasks.states.get(id), 'open');
          const counts = letGo ? moved : copied;
          counts.set(id, (counts.get(id) ?? 0) + 1);
        }
        hosting.delivered(due);
      };
      for (const { kind, n } of steps) {
        const id = taskId(n);
        const state = tasks.states.get(id);
        if (kind === 'submit' && (state === undefined || state === 'open')) {
          tasks.states.set(id, 'open');
          hosting.expect(id);
        }
        if (kind === 'end' && state === 'open') tasks.states.set(id, 'ended');
        if (kind === 'settle' && state === 'ended') tasks.states.set(id, 'final');
        if (kind === 'deliver') deliver();
        if (kind === 'fail') hosting.failed('HOST_UNREACHABLE', 1);
        if (kind === 'carry') {
          const carried = JSON.parse(JSON.stringify(hosting.state())) as HostingState;
          hosting = new SessionHosting('mine', carried);
        }
      }
      for (const id of tasks.states.keys()) tasks.states.set(id, 'final');
      for (let i = 0; i < 10; i++) deliver();
      assert.ok(hosting.isDone);
      assert.equal(hosting.view().held, tasks.states.size);
      for (const id of tasks.states.keys()) {
        assert.equal(moved.get(id), 1);
        assert.ok((copied.get(id) ?? 0) <= 1);
      }
    }),
  );
});

test('a host that fails is named with the time since when, until something arrives', () => {
  const tasks = ledger();
  const hosting = new SessionHosting('mine');
  tasks.states.set(taskId(1), 'final');
  hosting.expect(taskId(1));
  hosting.failed('HOST_UNREACHABLE', 5);
  hosting.failed('ADDRESS_REFUSED', 9);
  assert.deepEqual(hosting.view(), {
    ...{ name: 'mine', code: 'ADDRESS_REFUSED', sinceMs: 5 },
    ...{ waiting: 1, held: 0, givenUp: 0 },
  });
  assert.deepEqual(hosting.of(taskId(1)), { state: 'waiting', code: 'ADDRESS_REFUSED' });
  hosting.delivered(hosting.due(tasks));
  assert.deepEqual(hosting.of(taskId(1)), { state: 'held', code: null });
  assert.equal(hosting.view().sinceMs, null);
});

test('a policy names a host by its name, not at level open, and keeps it', () => {
  const hosted = parsePolicy({ ...POLICY, host: 'mine' });
  assert.equal(hosted.host, 'mine');
  assert.ok(!Object.hasOwn(parsePolicy(POLICY), 'host'), 'policies without one hash as before');
  for (const host of ['', 'Mine', '../x', 7, null]) {
    assert.throws(() => parsePolicy({ ...POLICY, host }), { code: 'POLICY_INVALID' });
  }
  const open = { ...POLICY, level: 'open', host: 'mine' };
  assert.throws(() => parsePolicy(open), { code: 'POLICY_INVALID' });
  const session = { policy: hosted, accepted: 0, pricePerTokenWei: '1', reserved: null };
  checkPolicyChange({ ...hosted, maxTasks: 7 }, session);
  for (const next of [parsePolicy(POLICY), { ...hosted, host: 'other' }]) {
    assert.throws(() => checkPolicyChange(next, session), /host/);
  }
});
