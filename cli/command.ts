/** Subcommands of `cortensor`: what each takes, what its help says of that, and what it prints. */
import { parseArgs } from 'node:util';
import { EngineError } from '../domain/errors.js';

/** A subcommand. */
export interface Command {
  /** Printed by `--help`: usage, options, exit codes. */
  readonly help: string;
  /** @param argv - what follows the command's name.
   * @returns the exit code. */
  run(argv: readonly string[]): Promise<number>;
}

/** Commands by name. */
export type Commands = Readonly<Record<string, CommandEntry>>;

export interface CommandEntry {
  /** One line of the usage. */
  readonly summary: string;
  /** Loads the command when it is asked for; absent where the name only groups others. */
  readonly load?: () => Promise<Command>;
  readonly commands?: Commands;
}

/** One option of a command: with `value`, the placeholder of its value, else a flag. */
export interface OptionSpec {
  readonly value?: string;
  /** Completes the option's line in the help. */
  readonly about: string;
  readonly isRequired?: true;
  /** May be repeated. */
  readonly isMultiple?: true;
}

type OptionSpecs = Readonly<Record<string, OptionSpec>>;

type ValueOf<O extends OptionSpec> = O extends { readonly value: string }
  ? O extends { readonly isMultiple: true }
    ? readonly string[]
    : O extends { readonly isRequired: true }
      ? string
      : string | undefined
  : boolean;

/** Names in brackets may be left out. */
type ArgOf<Name extends string> = Name extends `[${string}]` ? string | undefined : string;

/** What a command prints when it is done. */
export interface Result {
  /** Lines for people, on stdout. */
  readonly lines: readonly string[];
  /** With `--json`: one object on one line instead. */
  readonly json: Readonly<Record<string, unknown>>;
  /** False ends with exit code 1. @defaultValue true */
  readonly isHeld?: boolean;
}

/** A command as it is written down. */
export interface CommandSpec<Args extends readonly string[], Options extends OptionSpecs> {
  /** With its group: `session open`. */
  readonly name: string;
  /** What it does; whole sentences. */
  readonly about: string;
  readonly args: Args;
  readonly options: Options;
  /** What follows "0 done" among the exit codes; 2 is always the caller's fault. */
  readonly failure: string;
  run(input: {
    readonly args: { readonly [I in keyof Args]: ArgOf<Args[I]> };
    readonly values: { readonly [Name in keyof Options]: ValueOf<Options[Name]> };
    /** Whether the result is printed as JSON: then nothing else goes to stdout. */
    readonly isJson: boolean;
  }): Promise<Result>;
}

/** Makes a command out of its description: its help, and the parsing of its arguments. */
export function defineCommand<
  const Args extends readonly string[],
  const Options extends OptionSpecs,
>(spec: CommandSpec<Args, Options>): Command {
  return {
    help: helpOf(spec),
    async run(argv) {
      const options = Object.entries({ ...spec.options, json: JSON_OPTION });
      const { values, positionals } = parseArgs({
        args: [...argv],
        options: Object.fromEntries(options.map(parseArgsOption)),
        allowPositionals: true,
        strict: true,
      }) as { values: Readonly<Record<string, unknown>>; positionals: readonly string[] };
      checkArgs(spec, positionals);
      for (const [name, { value, isRequired }] of Object.entries(spec.options)) {
        if (isRequired && values[name] === undefined) {
          throw new EngineError('USAGE', { expected: `--${name} ${value}` });
        }
      }
      const { isHeld = true, ...result } = await spec.run({
        // Checked above, name by name.
        args: positionals as never,
        values: values as never,
        isJson: values['json'] === true,
      });
      const lines = values['json'] === true ? [JSON.stringify(result.json)] : result.lines;
      for (const line of lines) process.stdout.write(`${line}\n`);
      return isHeld ? 0 : 1;
    },
  };
}

const JSON_OPTION: OptionSpec = { about: 'one JSON object on stdout' };

function parseArgsOption([name, spec]: [string, OptionSpec]) {
  if (spec.value === undefined) return [name, { type: 'boolean', default: false }] as const;
  if (!spec.isMultiple) return [name, { type: 'string' }] as const;
  return [name, { type: 'string', multiple: true, default: [] as string[] }] as const;
}

function checkArgs(
  spec: Pick<CommandSpec<readonly string[], OptionSpecs>, 'args'>,
  given: readonly string[],
): void {
  const isOptional = (name: string | undefined): boolean => name?.startsWith('[') !== false;
  const missing = spec.args[given.length];
  if (!isOptional(missing)) throw new EngineError('USAGE', { expected: missing ?? '' });
  if (given.length > spec.args.length) {
    const expected = spec.args.length === 0 ? 'options only' : spec.args.join(' ');
    throw new EngineError('USAGE', { expected, got: `${given.length} arguments` });
  }
}

function helpOf(
  spec: Pick<
    CommandSpec<readonly string[], OptionSpecs>,
    'name' | 'about' | 'args' | 'options' | 'failure'
  >,
): string {
  const entries = Object.entries(spec.options);
  const required = entries.flatMap(([name, { value, isRequired }]) =>
    isRequired ? [`--${name} ${value}`] : [],
  );
  const usage = ['cortensor', spec.name, ...spec.args, ...required, '[options]'].join(' ');
  const options = [...entries, ['json', JSON_OPTION] as const].map(
    ([name, { value, about }]) =>
      [`--${name}${value === undefined ? '' : ` ${value}`}`, about] as const,
  );
  const width = Math.max(...options.map(([left]) => left.length));
  const rows = options.map(([left, about]) => `  ${left.padEnd(width)}  ${about}\n`).join('');
  const exits = `0 done · 1 ${spec.failure} · 2 wrong options, input or configuration`;
  return `Usage: ${usage}\n\n${spec.about}\n\nOptions:\n${rows}\nExit codes: ${exits}\n`;
}

/** Finds the command that a command line names, and runs it.
 * @param path - the names so far, as they were typed.
 * @returns the exit code.
 * @throws USAGE — there is no such command. */
export async function dispatch(
  commands: Commands,
  path: readonly string[],
  argv: readonly string[],
): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === '--help' || name === 'help') {
    process.stdout.write(usageOf(commands, path));
    return name === undefined ? 2 : 0;
  }
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (entry === undefined) {
    throw new EngineError('USAGE', { expected: Object.keys(commands).join(' | '), got: name });
  }
  const isGroup = entry.load === undefined || Object.hasOwn(entry.commands ?? {}, rest[0] ?? '');
  if (entry.commands !== undefined && isGroup) {
    return await dispatch(entry.commands, [...path, name], rest);
  }
  const command = await entry.load?.();
  if (command === undefined) throw new EngineError('INTERNAL', { command: name });
  if (rest.includes('--help')) {
    process.stdout.write(command.help + moreOf(entry, [...path, name]));
    return 0;
  }
  return await command.run(rest);
}

function usageOf(commands: Commands, path: readonly string[]): string {
  const usage = ['cortensor', ...path, '<command> [options]'].join(' ');
  return `Usage: ${usage}\n\n${rowsOf(commands)}\nEach command has --help.\n`;
}

/** Of a command that has subcommands beside what it does itself. */
function moreOf({ commands }: CommandEntry, path: readonly string[]): string {
  if (commands === undefined) return '';
  return `\nAlso: cortensor ${path.join(' ')} <command> [options]\n\n${rowsOf(commands)}`;
}

function rowsOf(commands: Commands): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  return Object.entries(commands)
    .map(([name, { summary }]) => `  ${name.padEnd(width)} ${summary}\n`)
    .join('');
}
