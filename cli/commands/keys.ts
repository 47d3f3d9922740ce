/** `cortensor keys`: age identities of nodes and users, and the data keys of what Temporal stores. */
import {
  createIdentityFile,
  readIdentity,
  readIdentityFile,
  rotateIdentityFile,
} from '../../adapters/seal/identity-file.js';
import { recipientsOf } from '../../adapters/seal/identity.js';
import { readSecret } from '../../adapters/seal/secret.js';
import { DataKeys } from '../../adapters/temporal/data-keys.js';
import { defineCommand, type Result } from '../command.js';
import { parseSecretRef } from '../keys.js';
import { OPERATOR_OPTIONS } from '../operator.js';
import { readConfig } from '../role.js';

const FILE_OPTION = {
  file: { value: 'FILE', about: 'the age identity file', isRequired: true },
} as const;

const KIND_OPTION = {
  x25519: { about: 'without post-quantum keys: then not for sessions at sealed-pq' },
} as const;

const LOCKED = 'A file behind a passphrase is opened with what CORTENSOR_PASSPHRASE refers to.';

export const keysNew = defineCommand({
  name: 'keys new',
  about: `Draws an age identity into a new file that only its owner may read, and prints its recipient,
which is public.`,
  args: [],
  options: {
    ...FILE_OPTION,
    ...KIND_OPTION,
    passphrase: {
      value: 'REF',
      about: 'lock the file with a passphrase, as file:PATH or env:NAME',
    },
  },
  failure: 'the file could not be written',
  async run({ values: { file, x25519, passphrase } }) {
    const reference = passphrase === undefined ? null : parseSecretRef(passphrase, 'passphrase');
    const { recipient } = await createIdentityFile(file, {
      postQuantum: !x25519,
      ...(reference && { passphrase: await readSecret(reference) }),
    });
    return recipientResult([recipient]);
  },
});

export const keysShow = defineCommand({
  name: 'keys show',
  about: `Prints the recipients of an identity file, the newest first; nothing secret. ${LOCKED}`,
  args: [],
  options: FILE_OPTION,
  failure: 'the file could not be read',
  async run({ values: { file } }) {
    const { identity } = await readIdentityFile(file);
    return recipientResult(await recipientsOf(identity));
  },
});

export const keysRotate = defineCommand({
  name: 'keys rotate',
  about: `Adds a new identity to a file, on top, and prints its recipient. What was sealed to the older ones
still opens. ${LOCKED} Others seal to the new one once they know of it, and processes open what is
sealed to it once they have read the file anew: restart those first.`,
  args: [],
  options: { ...FILE_OPTION, ...KIND_OPTION },
  failure: 'the file could not be replaced; it is as it was',
  async run({ values: { file, x25519 } }) {
    const { identity } = await rotateIdentityFile(file, { postQuantum: !x25519 });
    return recipientResult(await recipientsOf(identity));
  },
});

export const keysRotateCodec = defineCommand({
  name: 'keys rotate-codec',
  about: `Adds a data key under temporal.codec.keys: what Temporal stores is encrypted under it from now on, and
all older ones still decrypt. Processes on this folder follow when they meet it; copy it to others.`,
  args: [],
  options: OPERATOR_OPTIONS,
  failure: 'the key could not be written',
  async run({ values: { config } }) {
    const { codec } = readConfig(config, ['temporal.codec.identity']).temporal;
    const { identity } = await readIdentity(codec.identity);
    const key = await (await DataKeys.open(codec.keys, identity)).rotate();
    return { lines: [`key ${key}`], json: { key } };
  },
});

/** @param recipients - the newest first. */
function recipientResult(recipients: readonly string[]): Result {
  const [recipient = ''] = recipients;
  return { lines: recipients, json: { recipient, recipients } };
}
