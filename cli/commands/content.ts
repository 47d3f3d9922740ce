/** `cortensor content`: files and sessions on IPFS, or in a user's own store, by their CIDs. */
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { exportCar, importCar, type CarReport } from '../../adapters/ipfs/car.js';
import { checkManifest } from '../../adapters/ipfs/manifest.js';
import { openStream, sealStream } from '../../adapters/seal/sealed-stream.js';
import type { RepairReport } from '../../domain/content.js';
import { EngineError } from '../../domain/errors.js';
import { defineCommand, type Result } from '../command.js';
import { openIdentity } from '../keys.js';
import { openContent, openStore, STORE_OPTIONS } from '../content.js';
import { OPERATOR_OPTIONS, withEngine } from '../operator.js';

/** Largest file that is taken or given where nothing else is said: 1 TiB. */
const MAX_BYTES = 2 ** 40;

const HOST_OPTIONS = {
  ...STORE_OPTIONS,
  host: { value: 'NAME', about: "a user's own store, of the configuration's hosts" },
  'max-bytes': { value: 'N', about: 'refuse what is longer' },
} as const;
const FAILURE = 'the store could not be reached, or what it gave is not what it was asked for';

export const contentAdd = defineCommand({
  name: 'content add',
  about: `Streams a file into the store and says its CID; \`-\` is the standard input. The CID is that of
the IPFS profile unixfs-v1-2025, computed here as well. With recipients, an age file for them is what is stored.`,
  args: ['FILE'],
  options: {
    ...HOST_OPTIONS,
    recipient: {
      value: 'AGE',
      about: 'seal it for this age recipient; may be repeated',
      isMultiple: true,
    },
  },
  failure: FAILURE,
  async run({ args: [file], values }) {
    const store = await openContent(values);
    const plain = file === '-' ? process.stdin : createReadStream(file);
    const { recipient } = values;
    const source = recipient.length === 0 ? plain : sealStream(plain, recipient);
    const { cid, bytes } = await store.add(source, { maxBytes: parseBytes(values['max-bytes']) });
    return { lines: [`${cid}  ${bytes} bytes`], json: { cid, bytes } };
  },
});

export const contentGet = defineCommand({
  name: 'content get',
  about: `Reads a file by its CID, each block hashed before a byte of it is written. The file appears under
its name only when all of it is there. With an identity, a sealed file is opened on its way.`,
  args: ['CID'],
  options: {
    ...HOST_OPTIONS,
    identity: { value: 'REF', about: 'the age identity that opens it, as file:PATH or env:NAME' },
    to: { value: 'FILE', about: 'where it is written', isRequired: true },
  },
  failure: FAILURE,
  async run({ args: [cid], values }) {
    const store = await openContent(values);
    let bytes = 0;
    const maxBytes = parseBytes(values['max-bytes']);
    const stored = store.read(cid, { maxBytes });
    const { identity } = values;
    const opened =
      identity === undefined ? stored : openStream(stored, (await openIdentity(identity)).identity);
    const counted = async function* () {
      for await (const part of opened) {
        bytes += part.length;
        yield part;
      }
    };
    await writeWhole(counted(), values.to);
    return { lines: [`${values.to}  ${bytes} bytes`], json: { cid, bytes, file: values.to } };
  },
});

export const contentCheck = defineCommand({
  name: 'content check',
  about: `Follows the manifest of a session to its last block: hashes, sizes, and that its tasks are its own.
Its CID is in what \`session show\` says after the close.`,
  args: ['CID'],
  options: STORE_OPTIONS,
  failure: FAILURE,
  async run({ args: [cid], values }) {
    const { session, tasks, blocks, bytes, missing } = await checkManifest(openStore(values), cid);
    const { sessionId } = session;
    return {
      lines: [
        `Session ${sessionId}: ${tasks} tasks, ${blocks} blocks, ${bytes} bytes, ${missing.length} not there`,
        ...missing.map((link) => `  ${link} is not there`),
      ],
      json: { sessionId, tasks, blocks, bytes, missing },
      isHeld: missing.length === 0,
    };
  },
});

export const contentExport = defineCommand({
  name: 'content export',
  about: `Writes a session, or any tree of blocks, as a CAR file that every IPFS implementation imports. What
a retention has given up is left out and counted.`,
  args: ['CID'],
  options: {
    ...STORE_OPTIONS,
    to: { value: 'FILE', about: 'the CAR file to write', isRequired: true },
  },
  failure: FAILURE,
  async run({ args: [cid], values }) {
    let report: CarReport | undefined;
    const car = exportCar(openStore(values), cid, (end) => (report = end));
    await writeWhole(car, values.to);
    return carResult(report);
  },
});

export const contentImport = defineCommand({
  name: 'content import',
  about: 'Reads a CAR file into the store and pins what it brings. Each block is hashed first.',
  args: ['FILE'],
  options: { ...STORE_OPTIONS, root: { value: 'CID', about: 'refuse a CAR of another root' } },
  failure: FAILURE,
  async run({ args: [file], values }) {
    const root = values.root === undefined ? {} : { root: values.root };
    return carResult(await importCar(openStore(values), createReadStream(file), root));
  },
});

export const contentRepair = defineCommand({
  name: 'content repair',
  about: `Reads and hashes all that is pinned on every IPFS node of the deployment, restores from the others
what one has lost or damaged, and waits for the counts.`,
  args: [],
  options: OPERATOR_OPTIONS,
  failure: 'blocks are lost, a node is away, or Temporal could not be reached',
  run: ({ values }) =>
    withEngine(values.config, async ({ starter }) => {
      const report: RepairReport = await (await starter.repairContent()).result();
      const { pins, blocks, missing, corrupt, restored, lost, away } = report;
      return {
        lines: [
          `${pins} pins, ${blocks} blocks read: ${missing} missing, ${corrupt} damaged, ` +
            `${restored} restored, ${lost} lost, ${away} nodes away`,
        ],
        json: { ...report },
        isHeld: lost === 0 && away === 0,
      };
    }),
});

function carResult(report: CarReport | undefined): Result {
  if (report === undefined) throw new EngineError('INTERNAL', { reason: 'no report' });
  const { root, blocks, bytes, missing } = report;
  return {
    lines: [`${root}  ${blocks} blocks, ${bytes} bytes, ${missing.length} not there`],
    json: { root, blocks, bytes, missing },
  };
}

/** A file that is not whole never has its name. */
async function writeWhole(source: AsyncIterable<Uint8Array>, file: string): Promise<void> {
  const aside = `${file}.part`;
  try {
    await pipeline(Readable.from(source), createWriteStream(aside));
    await rename(aside, file);
  } catch (error) {
    await rm(aside, { force: true });
    throw error;
  }
}

function parseBytes(text: string | undefined): number {
  if (text === undefined) return MAX_BYTES;
  if (!/^\d{1,15}$/.test(text)) {
    throw new EngineError('USAGE', { expected: '--max-bytes with a number of bytes', got: text });
  }
  return Number(text);
}
