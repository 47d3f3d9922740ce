/**
 * Records the histories that replay.test.ts replays: one run of each workflow of a network that
 * `cortensor up --data DIR` has up. Payloads are decrypted, so that no key is needed to replay;
 * nothing in them is secret, and what looks like a secret stops the recording.
 *
 * `node dist/test/replay/record.js DIR`
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Payload, PayloadCodec } from '@temporalio/common';
import { connectClient, dataConverter } from '../../adapters/temporal/connect.js';
import { loadConfig } from '../../cli/config.js';
import { WORKFLOWS } from '../../workflows/messages.js';
import { writeHistory } from './history-file.js';

const FOLDER = fileURLToPath(new URL('../../../test/replay/histories/', import.meta.url));
/** Workflows whose histories hold probes. */
const PROBING: ReadonlySet<string> = new Set([WORKFLOWS.onboardMiner, WORKFLOWS.healthEpoch]);
const MAX_CHARACTERS = 300_000;
/** Keys, and the fields that hold prompts and answers in plain form. */
const SECRET = /AGE-SECRET-KEY|\\"(identity|channelKey|privateKey|messages|content|text)\\"/i;
/** Probes are public: everyone may know what miners are asked. */
const PROBES = /\\"messages\\":\[\{\\"role\\":\\"user\\",\\"content\\":/g;

async function record(data: string): Promise<void> {
  const { temporal } = loadConfig({
    file: join(data, 'temporal.yaml'),
    env: process.env,
    secrets: ['temporal'],
  });
  const codec = (await dataConverter(temporal)).payloadCodecs?.[0];
  if (codec === undefined) throw new Error('the data converter has no codec');
  const { client, close } = await connectClient(temporal);
  mkdirSync(FOLDER, { recursive: true });
  try {
    for (const type of Object.values(WORKFLOWS)) {
      // Settlement never ends.
      const status = type === 'settlement' ? 'Running' : 'Completed';
      const query = `WorkflowType="${type}" AND ExecutionStatus="${status}"`;
      const { value: run } = await client.workflow.list({ query })[Symbol.asyncIterator]().next();
      if (run === undefined) throw new Error(`no run of ${type} is ${status.toLowerCase()}`);
      const history = await client.workflow.getHandle(run.workflowId, run.runId).fetchHistory();
      await decrypt(history, codec);
      const json = writeHistory(history);
      const secret = SECRET.exec(PROBING.has(type) ? json.replaceAll(PROBES, '') : json);
      if (secret !== null) throw new Error(`${type} holds ${secret[0]}`);
      if (json.length > MAX_CHARACTERS) throw new Error(`${type} has ${json.length} characters`);
      writeFileSync(join(FOLDER, `${type}.json`), json);
      console.log(`${type}: ${history.events?.length} events, ${json.length} characters`);
    }
  } finally {
    await close();
  }
}

/** Puts every payload below a value into its plain form. */
async function decrypt(value: unknown, codec: PayloadCodec): Promise<void> {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return;
  for (const [key, child] of Object.entries(value)) {
    const [plain] = isPayload(child) ? await codec.decode([child]) : [];
    if (plain !== undefined) Object.assign(value, { [key]: plain });
    else await decrypt(child, codec);
  }
}

function isPayload(value: unknown): value is Payload {
  const { metadata, data } = (value ?? {}) as Partial<Payload>;
  return metadata?.['encoding'] instanceof Uint8Array && data instanceof Uint8Array;
}

const [data] = process.argv.slice(2);
if (data === undefined) throw new Error('usage: record.js DIR');
await record(data);
