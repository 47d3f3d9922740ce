/** `cortensor schedule`: the health epochs, as Temporal starts them. */
import { ScheduleNotFoundError, type Client } from '@temporalio/client';
import { EngineError } from '../../domain/errors.js';
import { HEALTH_SCHEDULE } from '../../workers/starter.js';
import { defineCommand, type Result } from '../command.js';
import { formatDuration } from '../config/duration.js';
import { OPERATOR_OPTIONS, withEngine } from '../operator.js';

const COMMON = {
  args: [],
  options: OPERATOR_OPTIONS,
  failure: 'Temporal could not be reached',
} as const;

export const scheduleShow = defineCommand({
  ...COMMON,
  name: 'schedule show',
  about:
    'Says how often health epochs are run, whether they are paused, and when the next one is due.',
  run: ({ values }) => withEngine(values.config, ({ client }) => describeSchedule(client)),
});

export const scheduleUpdate = defineCommand({
  ...COMMON,
  name: 'schedule update',
  about: `Puts health epochs on a schedule as temporal.yaml says under schedules.healthEpoch, or brings the one
that is there up to date. A schedule that is paused stays paused.`,
  run: ({ values }) =>
    withEngine(values.config, async ({ client, starter }) => {
      await starter.scheduleEpochs();
      return await describeSchedule(client);
    }),
});

export const schedulePause = defineCommand({
  ...COMMON,
  name: 'schedule pause',
  about: 'Starts no more health epochs until they are resumed; one that runs is finished.',
  run: ({ values }) =>
    withEngine(values.config, async ({ client }) => {
      await onSchedule(() => client.schedule.getHandle(HEALTH_SCHEDULE).pause());
      return await describeSchedule(client);
    }),
});

export const scheduleResume = defineCommand({
  ...COMMON,
  name: 'schedule resume',
  about: 'Starts health epochs again. Those that were missed are not caught up with.',
  run: ({ values }) =>
    withEngine(values.config, async ({ client }) => {
      await onSchedule(() => client.schedule.getHandle(HEALTH_SCHEDULE).unpause());
      return await describeSchedule(client);
    }),
});

async function describeSchedule(client: Client): Promise<Result> {
  const { spec, state, info } = await onSchedule(() =>
    client.schedule.getHandle(HEALTH_SCHEDULE).describe(),
  );
  const everyMs = spec.intervals?.[0]?.every ?? 0;
  const next = info.nextActionTimes[0]?.toISOString() ?? null;
  return {
    lines: [
      `Health epochs run every ${formatDuration(everyMs)}, ${info.numActionsTaken} were started.`,
      state.paused ? 'They are paused.' : `The next one is due at ${next ?? 'no known time'}.`,
    ],
    json: { everyMs, paused: state.paused, next, started: info.numActionsTaken },
  };
}

async function onSchedule<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (cause) {
    if (!(cause instanceof ScheduleNotFoundError)) throw cause;
    throw new EngineError(
      'USAGE',
      { expected: 'health epochs on a schedule; `cortensor schedule update` makes it' },
      { cause },
    );
  }
}
