import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { before, test } from 'node:test';
import { Worker, type ReplayResult } from '@temporalio/worker';
import { WORKFLOW_BUNDLE } from '../../workers/bundle.js';
import { WORKFLOWS } from '../../workflows/messages.js';
import '../support/workflows.js';
import { readHistory } from './history-file.js';

const FOLDER = fileURLToPath(new URL('../../../test/replay/histories/', import.meta.url));
const results = new Map<string, ReplayResult>();

before(async () => {
  const histories = Object.values(WORKFLOWS).map((type) => ({
    workflowId: type,
    history: readHistory(readFileSync(`${FOLDER}${type}.json`, 'utf8')),
  }));
  const replays = Worker.runReplayHistories(
    { workflowBundle: { codePath: WORKFLOW_BUNDLE }, replayName: 'recorded' },
    histories,
  );
  for await (const result of replays) results.set(result.workflowId, result);
});

for (const type of Object.values(WORKFLOWS)) {
  test(`replay: today's ${type} takes the steps of the one that was recorded`, () => {
    const result = results.get(type);
    assert.ok(result !== undefined, 'not replayed');
    assert.ifError(result.error);
  });
}

test('replay: every recorded history is replayed', () => {
  const files = readdirSync(FOLDER).map((name) => name.replace(/\.json$/, ''));
  assert.deepEqual(files.sort(), Object.values(WORKFLOWS).sort());
});
