/** Looks for what must not be there: in files as they lie, and in histories as they were meant. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Payload } from '@temporalio/common';
import { connectClient } from '../../adapters/temporal/connect.js';
import type { EngineConfig } from '../../domain/config.js';

/** Paths of all files below a folder that hold the bytes. */
export async function filesWith(folder: string, bytes: Uint8Array): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const found: string[] = [];
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    if ((await readFile(path)).includes(Buffer.from(bytes))) found.push(path);
  }
  return found;
}

/** The history of every workflow, as one text each, with all payloads decrypted. */
export async function readHistories(temporal: EngineConfig['temporal']): Promise<string[]> {
  const { client, close } = await connectClient(temporal);
  try {
    const codecs = client.options.loadedDataConverter.payloadCodecs;
    const histories: string[] = [];
    for await (const { workflowId, runId } of client.workflow.list()) {
      const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
      let payloads = payloadsOf(history);
      for (const codec of codecs) payloads = await codec.decode(payloads);
      histories.push(payloads.map((p) => Buffer.from(p.data ?? []).toString('utf8')).join('\n'));
    }
    return histories;
  } finally {
    await close();
  }
}

function payloadsOf(value: unknown): Payload[] {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return [];
  if ('metadata' in value && 'data' in value && value.data instanceof Uint8Array) {
    return [value as Payload];
  }
  return Object.values(value).flatMap(payloadsOf);
}
