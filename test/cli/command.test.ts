import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { defineCommand, dispatch, type Commands, type CommandSpec } from '../../cli/command.js';
import { COMMANDS } from '../../cli/table.js';
import { EngineError } from '../../domain/errors.js';
import { written } from './written.js';

const OPTIONS = {
  key: { value: 'REF', about: 'the key', isRequired: true },
  limit: { value: 'N', about: 'at most' },
  model: { value: 'NAME', about: 'models', isMultiple: true },
  wait: { about: 'waits' },
} as const;
type Run = CommandSpec<readonly ['FROM', '[TO]'], typeof OPTIONS>['run'];

function commandOf(run: Run) {
  return defineCommand({
    name: 'move',
    about: 'Moves.',
    args: ['FROM', '[TO]'],
    options: OPTIONS,
    failure: 'it did not move',
    run,
  });
}

describe('defineCommand', () => {
  it('hands over arguments and options as they were typed', async () => {
    const run = mock.fn<Run>(async () => ({ lines: [], json: {} }));
    const command = commandOf(run);
    await command.run(['a', '--key', 'k', 'b', '--model', 'x', '--model', 'y', '--wait']);
    const [input] = run.mock.calls[0]?.arguments ?? [];
    assert.deepEqual([...(input?.args ?? [])], ['a', 'b']);
    assert.deepEqual([...(input?.values.model ?? [])], ['x', 'y']);
    assert.equal(input?.values.limit, undefined);
    assert.equal(input?.values.wait, true);
    assert.equal(input?.isJson, false);
  });

  it('prints lines for people, and one object with --json', async () => {
    const command = commandOf(async () => ({ lines: ['one', 'two'], json: { n: 2 } }));
    assert.equal(await written(() => command.run(['a', '--key', 'k'])), 'one\ntwo\n');
    assert.equal(await written(() => command.run(['a', '--key', 'k', '--json'])), '{"n":2}\n');
  });

  it('ends with 1 where the result does not hold', async () => {
    const command = commandOf(async () => ({ lines: [], json: {}, isHeld: false }));
    assert.equal(await command.run(['a', '--key', 'k']), 1);
  });

  const refused: readonly [what: string, argv: string[], expected: RegExp][] = [
    ['a missing argument', ['--key', 'k'], /expected FROM/],
    ['an argument too many', ['a', 'b', 'c', '--key', 'k'], /expected FROM \[TO\], got 3/],
    ['a missing option', ['a'], /expected --key REF/],
    ['an option that does not exist', ['a', '--frobnicate'], /--frobnicate/],
    ['an option without its value', ['a', '--key'], /--key/],
  ];
  for (const [what, argv, expected] of refused) {
    it(`refuses ${what} before anything is run`, async () => {
      const run = mock.fn<Run>(async () => ({ lines: [], json: {} }));
      await assert.rejects(commandOf(run).run(argv), expected);
      assert.equal(run.mock.callCount(), 0);
    });
  }
});

describe('dispatch', () => {
  const commands: Commands = {
    alone: { summary: 'stands alone', load: async () => named('alone') },
    both: {
      summary: 'does something, and groups',
      load: async () => named('both'),
      commands: { part: { summary: 'a part', load: async () => named('both part') } },
    },
    group: {
      summary: 'groups',
      commands: { part: { summary: 'a part', load: async () => named('group part') } },
    },
  };
  function named(name: string) {
    return { help: `help of ${name}\n`, run: async () => Promise.reject(new Error(name)) };
  }

  it('finds commands, in groups and beside them', async () => {
    await assert.rejects(dispatch(commands, [], ['alone']), /^Error: alone$/);
    await assert.rejects(dispatch(commands, [], ['both', '--x']), /^Error: both$/);
    await assert.rejects(dispatch(commands, [], ['both', 'part']), /^Error: both part$/);
    await assert.rejects(dispatch(commands, [], ['group', 'part']), /^Error: group part$/);
  });

  it('shows what a group has, with code 2 where it was not asked to', async () => {
    const text = await written(async () =>
      assert.equal(await dispatch(commands, [], ['group']), 2),
    );
    assert.match(text, /^Usage: cortensor group <command>/);
    const help = await written(() => dispatch(commands, [], ['both', '--help']));
    assert.match(help, /^help of both\n\nAlso: cortensor both <command>.*\n\n {2}part a part/);
  });

  it('names the commands that exist for one that does not', async () => {
    for (const [path, expected] of [
      [['none'], 'alone | both | group'],
      [['group', 'none'], 'part'],
      [['toString'], 'alone | both | group'],
    ] as const) {
      await assert.rejects(dispatch(commands, [], path), (error) => {
        assert.ok(error instanceof EngineError);
        assert.equal(error.details['expected'], expected);
        return true;
      });
    }
  });
});

describe('the table of commands', () => {
  /** Every command that can be called, with its group. */
  function paths(commands: Commands, path: readonly string[] = []): string[][] {
    return Object.entries(commands).flatMap(([name, entry]) => [
      ...(entry.load === undefined ? [] : [[...path, name]]),
      ...paths(entry.commands ?? {}, [...path, name]),
    ]);
  }

  it('has only commands whose help begins with how they are called', async () => {
    const all = paths(COMMANDS);
    assert.ok(all.length > 30, 'commands are found at all');
    for (const path of all) {
      const help = await written(() => dispatch(COMMANDS, [], [...path, '--help']));
      assert.ok(help.startsWith(`Usage: cortensor ${path.join(' ')} `), help.split('\n')[0]);
      assert.match(help, /\nExit codes: 0 /);
    }
  });
});
