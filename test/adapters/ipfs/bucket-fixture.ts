/** A bucket that takes and gives objects, and holds each request to its signature. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { AwsV4Signer } from 'aws4fetch';
import type { Fixture } from './kubo-fixture.js';

export interface Bucket {
  /** Path-style. */
  readonly url: string;
  /** By path. */
  readonly objects: Map<string, Buffer>;
}

/** Opens one.
 * @param credentials - `id:secret` of who may use it. */
export async function openBucket(fixture: Fixture, credentials: string): Promise<Bucket> {
  const objects = new Map<string, Buffer>();
  const url: string = await fixture.server((request, response) => {
    void answer(request).then(([status, body]) => response.writeHead(status).end(body));
  });
  const answer = async (request: IncomingMessage): Promise<[number, Buffer | string]> => {
    const body = await buffer(request);
    if (!(await isSigned(request, body, url, credentials))) return [403, 'SignatureDoesNotMatch'];
    const name = request.url ?? '';
    if (request.method === 'PUT') {
      objects.set(name, body);
      return [200, ''];
    }
    const found = objects.get(name);
    return found === undefined ? [404, 'NoSuchKey'] : [200, found];
  };
  return { url: `${url}/bucket`, objects };
}

/** Computes the signature of a request again, from what arrived. */
async function isSigned(
  request: IncomingMessage,
  body: Buffer,
  url: string,
  credentials: string,
): Promise<boolean> {
  const [accessKeyId = '', secretAccessKey = ''] = credentials.split(':');
  const digest = createHash('sha256').update(body).digest('hex');
  if (request.headers['x-amz-content-sha256'] !== digest) return false;
  const signer = new AwsV4Signer({
    method: request.method ?? '',
    url: new URL(request.url ?? '', url).href,
    headers: { 'x-amz-content-sha256': digest },
    datetime: String(request.headers['x-amz-date']),
    accessKeyId,
    secretAccessKey,
    service: 's3',
    region: 'auto',
  });
  return (await signer.authHeader()) === request.headers.authorization;
}
