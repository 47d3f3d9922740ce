/**
 * Writes failures so that the codec can encrypt them: message and stack trace go into an encoded
 * attribute, and `Encoded failure` takes their place. Temporal loads this module by its path, in
 * Node and in the workflow sandbox, hence it imports `@temporalio/common` and nothing else.
 */
import { DefaultFailureConverter } from '@temporalio/common';

class EncodedFailureConverter extends DefaultFailureConverter {
  constructor() {
    super({ encodeCommonAttributes: true });
  }

  /** A failure that came from Temporal is remembered by its error, and the base class would empty
   * that very object: written a second time, its message would be lost. */
  override errorToFailureInner(
    ...args: Parameters<DefaultFailureConverter['errorToFailureInner']>
  ): ReturnType<DefaultFailureConverter['errorToFailureInner']> {
    return { ...super.errorToFailureInner(...args) };
  }
}

export const failureConverter = new EncodedFailureConverter();
