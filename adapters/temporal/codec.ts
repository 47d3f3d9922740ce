/**
 * Encrypts everything that Temporal stores as a payload: inputs and results of workflows,
 * activities, updates, signals and queries, heartbeats, memos, and (with failure-converter.ts)
 * failures. Not encrypted, since Temporal has to read them: ids, type names, search attributes,
 * headers, and failure types, which here are the codes of domain/errors.ts.
 *
 * AES-256-GCM under the newest data key with a random nonce. Namespace, workflow id and key id are
 * authenticated, so that ciphertext moved into another workflow's history does not open there. The
 * workflow id also lies beside the ciphertext, to open histories outside of a worker; where the
 * reader knows whose payload it should be, the two must agree.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { Payload, PayloadCodec, SerializationContext } from '@temporalio/common';
import { EngineError } from '../../domain/errors.js';
import { DataKeys, type DataKey } from './data-keys.js';
import { fromBytes, toBytes } from './payload-bytes.js';

const ENCODING = 'binary/encrypted';
const ENCODING_BYTES = Buffer.from(ENCODING);
const CIPHER_BYTES = Buffer.from('AES-256-GCM');
const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Opens the codec of a namespace; clients and workers must share identity and keys.
 * @param options - `identity`: age identity that the data keys are wrapped for; `keysFolder`: holds
 *   them, and gets its first one if it is empty.
 * @throws SEAL_NOT_RECIPIENT, SEAL_BROKEN — a key file is not for this identity, or damaged.
 * @throws KEY_FILE_UNSAFE — others may read a key file. */
export async function openPayloadCodec(options: {
  readonly identity: string;
  readonly keysFolder: string;
  readonly namespace: string;
}): Promise<PayloadCodec> {
  const keys = await DataKeys.open(options.keysFolder, options.identity);
  const { namespace } = options;
  return {
    async encode(payloads, context) {
      const owner = ownerOf(namespace, context);
      return payloads.map((payload) => encrypt(payload, owner, keys.newest));
    },
    async decode(payloads, context) {
      const owner = ownerOf(namespace, context);
      const plain: Payload[] = [];
      for (const payload of payloads) plain.push(await decrypt(payload, owner, keys));
      return plain;
    },
  };
}

/** Whom a payload belongs to. An empty workflow id: nobody said. */
interface Owner {
  readonly namespace: string;
  readonly workflowId: string;
}

/** Temporal adds the time to the id of a workflow that a schedule starts, after the client has
 * encoded its arguments: the runs of one schedule count as one owner. */
const SCHEDULED_AT = /-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

function ownerOf(namespace: string, context: SerializationContext | undefined): Owner {
  return {
    namespace: context?.namespace ?? namespace,
    workflowId: (context?.workflowId ?? '').replace(SCHEDULED_AT, ''),
  };
}

function encrypt(payload: Payload, owner: Owner, { id, key }: DataKey): Payload {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(ALGORITHM, key, nonce).setAAD(boundTo(owner, id));
  const sealed = [cipher.update(toBytes(payload)), cipher.final()];
  return {
    metadata: {
      encoding: ENCODING_BYTES,
      'encryption-cipher': CIPHER_BYTES,
      'encryption-key-id': Buffer.from(id),
      'encryption-workflow-id': Buffer.from(owner.workflowId),
    },
    data: Buffer.concat([nonce, ...sealed, cipher.getAuthTag()]),
  };
}

async function decrypt(payload: Payload, reader: Owner, keys: DataKeys): Promise<Payload> {
  // Written before encryption was on, or by a tool without keys.
  if (text(payload, 'encoding') !== ENCODING) return payload;
  const id = text(payload, 'encryption-key-id');
  const workflowId = text(payload, 'encryption-workflow-id');
  if (reader.workflowId !== '' && workflowId !== '' && workflowId !== reader.workflowId) {
    throw new EngineError('SEAL_BROKEN', { reason: 'payload of another workflow' });
  }
  const { key } = await keys.get(id);
  const data = payload.data ?? new Uint8Array();
  try {
    const end = data.length - TAG_BYTES;
    const decipher = createDecipheriv(ALGORITHM, key, data.subarray(0, NONCE_BYTES))
      .setAAD(boundTo({ namespace: reader.namespace, workflowId }, id))
      .setAuthTag(data.subarray(end));
    const plain = [decipher.update(data.subarray(NONCE_BYTES, end)), decipher.final()];
    return fromBytes(Buffer.concat(plain));
  } catch (cause) {
    throw new EngineError('SEAL_BROKEN', { reason: 'payload not authentic' }, { cause });
  }
}

/** None of the parts holds a NUL. */
function boundTo({ namespace, workflowId }: Owner, keyId: string): Buffer {
  return Buffer.from(`${namespace}\0${workflowId}\0${keyId}`);
}

function text(payload: Payload, key: string): string {
  const value = payload.metadata?.[key];
  return value ? Buffer.from(value).toString() : '';
}
