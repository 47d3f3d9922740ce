/** `cortensor export`: a session in a user's own store. */
import { setTimeout as delay } from 'node:timers/promises';
import { EngineError, isErrorCode } from '../../domain/errors.js';
import {
  ROW_FAULTS,
  type ExportControl,
  type ExportOrder,
  type ExportView,
} from '../../domain/export.js';
import type { SessionId } from '../../domain/ids.js';
import { createExports } from '../../workers/exports.js';
import { defineCommand, type Result } from '../command.js';
import { Display } from '../display.js';
import { OPERATOR_OPTIONS, withEngine } from '../operator.js';
import { parseSession } from '../service-layer.js';

const POLL_MS = 300;
/** A verification reads all that a session has. */
const ANSWER_MS = 6 * 60 * 60_000;

const COMMON = {
  args: ['SESSION', 'SINK'],
  failure: 'the export failed, or Temporal could not be reached',
} as const;

interface Place {
  readonly exports: ExportControl;
  readonly sessionId: SessionId;
  readonly sink: string;
}

export const exportStart = defineCommand({
  ...COMMON,
  name: 'export start',
  about: `Exports a session to a sink of temporal.yaml, as far as the session has come. Repeating it brings
the sink up to date; with --follow it goes on until the session has ended.`,
  options: {
    ...OPERATOR_OPTIONS,
    follow: { about: 'go on with the session until its end' },
    wait: { about: 'wait for the receipt' },
  },
  run: ({ args, values }) =>
    withExports(args, values.config, async ({ exports, sessionId, sink }) => {
      const view = await exports.start(sessionId, sink, values.follow ? 'follow' : 'once');
      if (!values.wait) return viewResult(view);
      const display = new Display();
      const ended = () => untilEnded({ exports, sessionId, sink });
      return viewResult(await display.step(`export to ${sink}`, ended));
    }),
});

export const exportStatus = defineCommand({
  ...COMMON,
  name: 'export status',
  about: `Says how far the last export of a session to a sink is, what it waits for, and how it ended.`,
  options: OPERATOR_OPTIONS,
  run: ({ args, values }) =>
    withExports(args, values.config, async ({ exports, sessionId, sink }) =>
      viewResult(await exports.view(sessionId, sink)),
    ),
});

export const exportPause = orderCommand('pause', 'Lets an export rest after the page it writes.');
export const exportResume = orderCommand('resume', 'Lets an export that rests go on.');
export const exportRetry = orderCommand(
  'retry',
  'Tries at once what an export waits for: a sink that is back, or credentials that are mended.',
);
export const exportStop = orderCommand('stop', 'Ends an export; what was written stays.');

export const exportVerify = defineCommand({
  ...COMMON,
  name: 'export verify',
  about: `Compares what stands in the sink with the session's records and its evidence on IPFS, row by row:
what is missing, what is extra, what was altered.`,
  options: OPERATOR_OPTIONS,
  run: ({ args, values }) =>
    withExports(args, values.config, async (place) => {
      const { verification } = await answered(place, 'verify');
      if (verification === null) throw failed(place, null);
      const { faults, found, rows, digest } = verification;
      const count = Object.values(rows).reduce((sum, n) => sum + n, 0);
      const total = ROW_FAULTS.reduce((sum, fault) => sum + faults[fault], 0);
      const said = ROW_FAULTS.map((fault) => `${faults[fault]} ${fault}`).join(', ');
      return {
        lines: [
          `${count} rows are in ${place.sink}, digest ${digest}: ${said}.`,
          ...found.map(({ fault, table, key }) => `  ${fault.padEnd(8)} ${table} ${key}`),
        ],
        json: { ...verification },
        isHeld: total === 0,
      };
    }),
});

export const exportRemove = defineCommand({
  ...COMMON,
  name: 'export remove',
  about: `Deletes a session's rows in the sink, in one transaction, and ends its export. Payloads that other
sessions refer to stay.`,
  options: OPERATOR_OPTIONS,
  run: ({ args, values }) =>
    withExports(args, values.config, async (place) => {
      const { removal } = await answered(place, 'remove');
      if (removal === null) throw failed(place, null);
      const count = Object.values(removal.rows).reduce((sum, n) => sum + n, 0);
      return {
        lines: [`${count} rows are gone from ${place.sink}, digest before ${removal.digest}.`],
        json: { ...removal },
      };
    }),
});

function orderCommand(order: Exclude<ExportOrder, 'verify' | 'remove'>, about: string) {
  return defineCommand({
    ...COMMON,
    name: `export ${order}`,
    about,
    options: OPERATOR_OPTIONS,
    run: ({ args, values }) =>
      withExports(args, values.config, async ({ exports, sessionId, sink }) =>
        viewResult(await exports.order(sessionId, sink, order)),
      ),
  });
}

function withExports(
  [session, sink]: readonly [string, string],
  file: string,
  use: (place: Place) => Promise<Result>,
): Promise<Result> {
  const sessionId = parseSession(session);
  return withEngine(file, (engine) => use({ exports: createExports(engine), sessionId, sink }));
}

async function untilEnded({ exports, sessionId, sink }: Place): Promise<ExportView> {
  for (;;) {
    const view = await exports.view(sessionId, sink);
    if (view.state === 'Done' || view.state === 'Stopped') return view;
    if (view.state === 'Failed') throw failed({ exports, sessionId, sink }, view.lastError);
    await delay(POLL_MS);
  }
}

/** Gives an order that has an answer, and waits for it. */
async function answered(place: Place, order: 'verify' | 'remove'): Promise<ExportView> {
  const { exports, sessionId, sink } = place;
  const display = new Display();
  const { view, isAnswered } = await display.step(`${order} ${sink}`, () =>
    exports.ask(sessionId, sink, order, ANSWER_MS),
  );
  if (!isAnswered) throw failed(place, view.lastError);
  return view;
}

function failed({ sink }: Place, code: string | null): EngineError {
  if (isErrorCode(code)) return new EngineError(code, { sink });
  return new EngineError('JOB_FAILED', { what: 'the export failed', sink, code });
}

function viewResult(view: ExportView): Result {
  const { sink, state, tasks, rows, lag, lastError, retryAtMs, receipt } = view;
  const lines = [`${sink}: ${state}, ${tasks} tasks in ${rows} rows written, ${lag} to come.`];
  if (lastError !== null) {
    const again = retryAtMs === null ? '' : `, next try ${new Date(retryAtMs).toISOString()}`;
    lines.push(`Last failure: ${lastError}${again}.`);
  }
  if (state === 'WaitingForCredentials') {
    lines.push(
      `Mend the secret of the sink, then: cortensor export retry ${view.sessionId} ${sink}`,
    );
  }
  if (receipt !== null) {
    const count = Object.values(receipt.rows).reduce((sum, n) => sum + n, 0);
    lines.push(`${count} rows are in ${sink}, receipt ${receipt.digest}.`);
  }
  return { lines, json: { ...view }, isHeld: state !== 'Failed' };
}
