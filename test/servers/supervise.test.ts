import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it, type TestContext } from 'node:test';
import { EngineError } from '../../domain/errors.js';
import { identify } from '../../servers/identity.js';
import { reapStale } from '../../servers/runs.js';
import type { ProcessSpec, SupervisorEvent } from '../../servers/spec.js';
import { Supervisor } from '../../servers/supervise.js';
import { isAlive, temporaryFolder, waitUntil } from './support.js';

const sleeper = (name: string): ProcessSpec => ({ name, command: 'sleep', args: ['600'] });

describe('Supervisor', () => {
  it('restarts a child that was killed', async (t) => {
    const events: SupervisorEvent[] = [];
    const supervisor = await open(t, temporaryFolder(t), events);
    await supervisor.start(sleeper('a'));
    const first = supervisor.pid('a') as number;
    process.kill(first, 'SIGKILL');
    const second = await waitUntil(() => {
      const pid = supervisor.pid('a');
      const isReady = events.filter(({ kind }) => kind === 'ready').length === 2;
      return isReady && pid !== undefined && pid !== first && pid;
    }, 'a new process');
    assert.ok(isAlive(second));
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['starting', 'ready', 'exited', 'restarting', 'starting', 'ready'],
    );
  });

  it('waits longer between restarts of a child that keeps dying', async (t) => {
    const events: SupervisorEvent[] = [];
    const supervisor = await open(t, temporaryFolder(t), events);
    await supervisor.start({ name: 'dying', command: 'true', args: [] });
    const delays = await waitUntil(() => {
      const found = events.flatMap((event) => (event.kind === 'restarting' ? [event.delayMs] : []));
      return found.length >= 3 && found;
    }, 'three restarts');
    assert.deepEqual(delays.slice(0, 3), [200, 400, 800]);
  });

  it('stops all, the last started first, and leaves no record', async (t) => {
    const data = temporaryFolder(t);
    const events: SupervisorEvent[] = [];
    const supervisor = await open(t, data, events);
    for (const name of ['a', 'b', 'c']) await supervisor.start(sleeper(name));
    await supervisor.stop();
    const stopped = events.flatMap((event) => (event.kind === 'stopped' ? [event.name] : []));
    assert.deepEqual(stopped, ['c', 'b', 'a']);
    assert.deepEqual(readdirSync(join(data, 'run')), []);
  });

  it('kills a child that ignores the stop signal', async (t) => {
    const data = temporaryFolder(t);
    const supervisor = await open(t, data, []);
    await supervisor.start({
      name: 'stubborn',
      command: process.execPath,
      args: [
        '-e',
        'process.on("SIGTERM", () => {}); console.log("up"); setInterval(() => {}, 1e6)',
      ],
      ready: () => waitUntil(() => logOf(data, 'stubborn').includes('up'), 'up').then(() => {}),
      stopGraceMs: 100,
    });
    const pid = supervisor.pid('stubborn') as number;
    await supervisor.stop();
    assert.equal(isAlive(pid), false);
  });

  it('leaves nothing of a process that did not get ready', async (t) => {
    const supervisor = await open(t, temporaryFolder(t), []);
    let pid: number | undefined;
    const late = supervisor.start({
      ...sleeper('late'),
      ready: async (signal) => {
        pid = supervisor.pid('late');
        await once(signal, 'abort');
      },
      readyTimeoutMs: 100,
    });
    await assert.rejects(late, failure(/no answer within 100 ms/));
    assert.equal(isAlive(pid as number), false);
    assert.equal(supervisor.pid('late'), undefined);
  });

  it('quotes the last words of a process that ended while starting', async (t) => {
    const supervisor = await open(t, temporaryFolder(t), []);
    const broken = supervisor.start({
      name: 'broken',
      command: 'sh',
      args: ['-c', 'echo no such luck >&2; exit 3'],
      ready: async (signal) => void (await once(signal, 'abort')),
    });
    await assert.rejects(broken, failure(/ended while starting: no such luck/));
  });

  it('says which program cannot be started', async (t) => {
    const supervisor = await open(t, temporaryFolder(t), []);
    const missing = supervisor.start({ name: 'missing', command: '/nowhere/program', args: [] });
    await assert.rejects(missing, failure(/could not be started: .*ENOENT/));
  });

  it('writes logs that only their owner can read', async (t) => {
    const data = temporaryFolder(t);
    const supervisor = await open(t, data, []);
    await supervisor.start({
      name: 'talker',
      command: 'sh',
      args: ['-c', 'echo hello; sleep 600'],
    });
    await waitUntil(() => logOf(data, 'talker') === 'hello\n', 'the log');
    assert.equal(statSync(join(data, 'logs/talker.log')).mode & 0o777, 0o600);
  });

  it('lets a companion finish before the process is stopped', async (t) => {
    const supervisor = await open(t, temporaryFolder(t), []);
    let aliveAtTheEnd = false;
    await supervisor.start({
      ...sleeper('kept'),
      companion: async (signal) => {
        const pid = supervisor.pid('kept') as number;
        await once(signal, 'abort');
        aliveAtTheEnd = isAlive(pid);
      },
    });
    await supervisor.stop();
    assert.ok(aliveAtTheEnd);
  });

  it('refuses a data folder that another one holds', async (t) => {
    const data = temporaryFolder(t);
    const supervisor = await open(t, data, []);
    await assert.rejects(Supervisor.open(data), (error) => {
      assert.ok(error instanceof EngineError);
      assert.equal(error.code, 'DATA_IN_USE');
      assert.equal(error.details['pid'], process.pid);
      return true;
    });
    await supervisor.stop();
    await (await Supervisor.open(data)).stop();
  });

  it('ends what a killed one left behind, and roles end by themselves', async (t) => {
    const data = temporaryFolder(t);
    const script = new URL('./fixtures/supervisor.js', import.meta.url).pathname;
    const killed = spawn(process.execPath, [script, data], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => killed.kill('SIGKILL'));
    const pids = JSON.parse(await firstLine(killed)) as { plain: number; role: number };
    await waitUntil(() => logOf(data, 'role').includes('role is up'), 'the role');
    killed.kill('SIGKILL');
    await waitUntil(() => !isAlive(pids.role), 'the role to end');
    assert.ok(isAlive(pids.plain));
    await open(t, data, []);
    assert.equal(isAlive(pids.plain), false);
  });
});

describe('reapStale', () => {
  it('leaves a process alone that only has the recorded id', async (t) => {
    const data = temporaryFolder(t);
    const foreign = spawn('sleep', ['600']);
    t.after(() => foreign.kill());
    await once(foreign, 'spawn');
    const pid = foreign.pid as number;
    mkdirSync(join(data, 'run'));
    const record = { ...identify(pid), startedAt: 'at another time', stopSignal: 'SIGKILL' };
    writeFileSync(join(data, 'run/old.json'), JSON.stringify(record));
    assert.deepEqual(await reapStale(data), []);
    assert.ok(isAlive(pid));
    assert.equal(existsSync(join(data, 'run/old.json')), false);
  });
});

async function open(t: TestContext, data: string, events: SupervisorEvent[]): Promise<Supervisor> {
  const supervisor = await Supervisor.open(data, { onEvent: (event) => events.push(event) });
  t.after(() => supervisor.stop());
  return supervisor;
}

async function firstLine(child: ChildProcess): Promise<string> {
  assert.ok(child.stdout);
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return line;
}

function logOf(data: string, name: string): string {
  const path = join(data, 'logs', `${name}.log`);
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

function failure(text: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof EngineError);
    assert.equal(error.code, 'SERVER_FAILED');
    assert.match(error.message, text);
    return true;
  };
}
