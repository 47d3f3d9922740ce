/**
 * What one test file did, as lines of JSON: a reporter of node:test, loaded by the processes that
 * run.ts starts. Tests that hold other tests are not counted beside them.
 */
import { inspect } from 'node:util';

/** The outcome of one test that holds no others. */
export interface TestOutcome {
  /** Names from the outermost suite to the test. */
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** The error with its stack, of a failed test. */
  readonly error?: string;
}

/** What is used here of node:test's events. */
interface TestEvent {
  readonly type: string;
  readonly data: {
    readonly name: string;
    readonly nesting: number;
    readonly skip?: string | boolean;
    readonly todo?: string | boolean;
    readonly details: {
      readonly type?: string;
      readonly error?: Error & { failureType?: string };
    };
  };
}

/** Writes a line of JSON for each test, in the order of the file. */
async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  /** Name of the test or suite that has started on each level. */
  const started: string[] = [];
  /** Whether something on the level below has ended since one of this level did. */
  const isParent: boolean[] = [];
  for await (const { type, data } of events) {
    if (type === 'test:start') {
      started[data.nesting] = data.name;
      continue;
    }
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const { nesting, details } = data;
    const hasChildren = isParent[nesting] === true;
    isParent[nesting] = false;
    if (nesting > 0) isParent[nesting - 1] = true;
    const error = details.error;
    const isHolder = hasChildren || details.type === 'suite';
    // A suite fails with its tests; a failure of its own, in a hook, counts.
    if (isHolder && (type === 'test:pass' || error?.failureType === 'subtestsFailed')) continue;
    const name = [...started.slice(0, nesting), data.name].join(' › ');
    yield `${JSON.stringify(outcomeOf(name, type, data))}\n`;
  }
}

function outcomeOf(name: string, type: string, data: TestEvent['data']): TestOutcome {
  if (isMarked(data.skip) || isMarked(data.todo)) return { name, outcome: 'skipped' };
  if (type === 'test:pass') return { name, outcome: 'passed' };
  const error = data.details.error;
  return { name, outcome: 'failed', error: inspect(error?.cause ?? error) };
}

/** node:test marks with `true`, or with the reason, which may be empty. */
function isMarked(mark: string | boolean | undefined): boolean {
  return mark !== undefined && mark !== false;
}

// node:test takes a reporter from the module's default export, and from nowhere else.
// oxlint-disable-next-line import/no-default-export
export default report;
