import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import test from 'node:test';
import { ApplicationFailure, defaultPayloadConverter } from '@temporalio/common';
import { FAILURE_CONVERTER_PATH } from '../../../adapters/temporal/connect.js';
import type { failureConverter as Converter } from '../../../adapters/temporal/failure-converter.js';

// The way Temporal loads it.
const { failureConverter } = createRequire(import.meta.url)(FAILURE_CONVERTER_PATH) as {
  failureConverter: typeof Converter;
};

test('message and stack trace of a failure lie in the attribute that the codec encrypts', () => {
  const error = ApplicationFailure.create({ message: 'secret', type: 'CODE' });
  const failure = failureConverter.errorToFailure(error, defaultPayloadConverter);
  assert.equal(failure.message, 'Encoded failure');
  assert.equal(failure.stackTrace, '');
  assert.equal(failure.applicationFailureInfo?.type, 'CODE');
  const read = failureConverter.failureToError(failure, defaultPayloadConverter) as Error;
  assert.equal(read.message, 'secret');
});

test('a failure that came from Temporal keeps its message however often it is written', () => {
  const error = new Error('outer', { cause: new Error('inner') });
  const failure = failureConverter.errorToFailure(error, defaultPayloadConverter);
  const received = failureConverter.failureToError(failure, defaultPayloadConverter);
  for (let times = 0; times < 2; times++) {
    const again = failureConverter.errorToFailure(received, defaultPayloadConverter);
    const read = failureConverter.failureToError(again, defaultPayloadConverter) as Error;
    assert.equal(read.message, 'outer');
    assert.equal((read.cause as Error).message, 'inner');
  }
});
