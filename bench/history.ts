/**
 * What a task costs in Temporal: events and billable actions of a session and of the settlement that
 * pays for it, read from their histories, over 1,000 tasks of one session. Requests come from 64
 * clients, so that one update carries many; a lonely request costs more.
 * @see https://docs.temporal.io/cloud/actions
 */
import type { Client } from '@temporalio/client';
import { workflowIds } from '../domain/ids.js';
import type { Bench } from './bench.js';
import { ask, runClients } from './network/ask.js';
import { startNetwork } from './network/network.js';

const CLIENTS = 64;
const TASKS = 1_000;
/** One miner and no seal, so that 1,000 tasks take seconds: neither is seen by Temporal, which gets
 * references of the same size either way. */
const TERMS = { level: 'open', redundancy: 1 } as const;
/** Eight tokens, at once. */
const PROMPT = '8@';
/** Workers send a heartbeat when 80 % of its time-out has passed: 4 of the lease's 5 s. */
const HEARTBEAT_SECONDS = 4;

export const history: Bench = {
  name: 'history',
  what: 'events and billable actions of Temporal a task, over 1,000 tasks of 64 clients',
  target: { events_per_task: { max: 6 }, actions_per_task: { max: 4 } },
  async run(context) {
    const network = await startNetwork(context);
    const { config, temporal } = network;
    const { chainId } = config.layers.service;
    const session = await network.openSession(TERMS);
    const startedAt = performance.now();
    let done = 0;
    await runClients(CLIENTS, TASKS, async () => {
      await ask(network, session, PROMPT);
      if (++done % 200 === 0) context.say(`${done} of ${TASKS} tasks`);
    });
    const seconds = (performance.now() - startedAt) / 1_000;
    const { tasks } = await network.gateway.view(session);
    context.say(`${tasks.ended} tasks ended in ${seconds.toFixed(1)} s`);
    const ofSession = await tally(temporal.client, workflowIds.session(chainId, session));
    const ofSettlement = await tally(temporal.client, workflowIds.settlement(chainId));
    for (const [name, count] of Object.entries(ofSession.types)) context.say(`${name}: ${count}`);
    const heartbeats = Math.ceil(seconds / HEARTBEAT_SECONDS);
    return {
      events_per_task: (ofSession.events + ofSettlement.events) / TASKS,
      actions_per_task: (ofSession.actions + ofSettlement.actions + heartbeats) / TASKS,
      session_events_per_task: ofSession.events / TASKS,
      settlement_events_per_task: ofSettlement.events / TASKS,
      tasks_per_update: TASKS / ((ofSession.types['WORKFLOW_EXECUTION_UPDATE_ACCEPTED'] ?? 0) / 2),
      runs: ofSession.runs,
    };
  },
};

interface Tally {
  readonly runs: number;
  readonly events: number;
  readonly actions: number;
  /** Events by their type. */
  readonly types: Readonly<Record<string, number>>;
}

/** Reads the histories of all runs of a workflow, from the last to the first. */
async function tally(client: Client, workflowId: string): Promise<Tally> {
  const types: Record<string, number> = {};
  let runs = 0;
  let events = 0;
  let actions = 0;
  for (let runId: string | undefined; ;) {
    const read = await client.workflow.getHandle(workflowId, runId).fetchHistory();
    const list = read.events ?? [];
    runs++;
    events += list.length;
    for (const event of list) {
      const type = EVENT_TYPES.find((name) => event[ATTRIBUTES[name]] != null) ?? 'other';
      types[type] = (types[type] ?? 0) + 1;
      if (type !== 'other') actions++;
      const attempt = event.activityTaskStartedEventAttributes?.attempt ?? 1;
      actions += attempt - 1;
    }
    const before = list[0]?.workflowExecutionStartedEventAttributes?.continuedExecutionRunId;
    if (before === null || before === undefined || before === '') break;
    runId = before;
  }
  return { runs, events, actions, types };
}

/** Events that stand for one billable action each. A signal between workflows is billed where it is
 * sent; retried attempts of an activity, and heartbeats, have no events and are added. */
const ATTRIBUTES = {
  WORKFLOW_EXECUTION_STARTED: 'workflowExecutionStartedEventAttributes',
  WORKFLOW_EXECUTION_UPDATE_ACCEPTED: 'workflowExecutionUpdateAcceptedEventAttributes',
  ACTIVITY_TASK_SCHEDULED: 'activityTaskScheduledEventAttributes',
  TIMER_STARTED: 'timerStartedEventAttributes',
  SIGNAL_EXTERNAL_INITIATED: 'signalExternalWorkflowExecutionInitiatedEventAttributes',
} as const;
const EVENT_TYPES = Object.keys(ATTRIBUTES) as (keyof typeof ATTRIBUTES)[];
