/**
 * Node's own cryptography, where the code runs in Node. Browsers have only Web Crypto, which hands
 * every call to another thread: for the few hundred bytes of a frame that costs thirty times what the
 * work itself does. What is built on this module always has a second way without it.
 */
import type * as nodeTypes from 'node:crypto';

/** What `node:crypto` exports. */
export type NodeCrypto = typeof nodeTypes;

/** `node:crypto` without an import of it, so that bundles for browsers stay whole; `undefined` there. */
export const nodeCrypto: NodeCrypto | undefined = (
  globalThis as { process?: Partial<Pick<NodeJS.Process, 'getBuiltinModule'>> }
).process?.getBuiltinModule?.('node:crypto');
