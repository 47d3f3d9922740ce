/** How long a run of a workflow that goes on and on may get. */
import { workflowInfo } from '@temporalio/workflow';

/** A worker that starts reads the runs that it is given from their beginnings, and the time of a workflow
 * task, five seconds, is for reading too: four runs of 3,500 events at a time took nine on two busy
 * cores, again and again. */
const EVENTS_PER_RUN = 1_000;

/** Whether a run should continue as new. */
export function isRunLong(): boolean {
  const { historyLength, continueAsNewSuggested } = workflowInfo();
  return historyLength > EVENTS_PER_RUN || continueAsNewSuggested;
}
