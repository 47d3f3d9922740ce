/** The far side of crypto-pool.ts: one thread that does what takes milliseconds of CPU. */
import { parentPort } from 'node:worker_threads';
import { KnownSigners } from '../../adapters/chain/known-signers.js';
import { recoverSigner } from '../../adapters/chain/sign.js';
import { sealAtRest } from '../../adapters/seal/at-rest.js';
import { findEngineError } from '../../domain/errors.js';
import type { CryptoAnswer, CryptoJob } from './crypto-pool.js';

const known = new KnownSigners();

parentPort?.on('message', ({ id, job }: { id: number; job: CryptoJob }) => {
  void work(job).then(
    (result) => reply({ id, result }),
    (error: unknown) => reply({ id, code: findEngineError(error)?.code ?? 'INTERNAL' }),
  );
});

async function work(job: CryptoJob) {
  if (job.kind === 'seal') return sealAtRest(job.bytes, job.recipients);
  return job.checks.map(({ type, domain, value, signature, signer }) =>
    signer === undefined
      ? recoverSigner(type, domain, value, signature)
      : known.recover(type, domain, value, signature, signer),
  );
}

function reply(answer: CryptoAnswer): void {
  parentPort?.postMessage(answer);
}
