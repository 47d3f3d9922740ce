/** The SDK against a real router, with miners that answer by a script. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { namedVector } from '../../adapters/embedding/scripted.js';
import { toBase64 } from '../../adapters/seal/bytes.js';
import { createIdentity } from '../../adapters/seal/identity.js';
import { wrapKeyring } from '../../adapters/seal/keyring.js';
import type { JudgeRequest } from '../../domain/api.js';
import { EngineError, type ErrorCode } from '../../domain/errors.js';
import { isClientSealed, SEALING_LEVELS, type SealingLevel } from '../../domain/sealing.js';
import { judgeIdentical } from '../../domain/verdict.js';
import { CortensorClient, type SessionHandle } from '../../sdk/index.js';
import type { Script } from '../nodes/router/scripted-miner.js';
import { API_KEY, SESSION, startWorld, viewOf, type World } from '../nodes/router/support.js';

const TEXTS = ['the first text', 'another one', 'and a third'];
const MODELS = { models: ['vectors'] };

/** A session of the world in its owner's hands. */
async function open(
  t: TestContext,
  level: SealingLevel,
  scripts: readonly Script[] = [MODELS],
): Promise<{ readonly world: World; readonly session: SessionHandle }> {
  const judge = async ({ answers, asked }: JudgeRequest) => {
    // All but the first agree.
    const [first, ...rest] = answers.map(({ miner }) => miner);
    const verdict = judgeIdentical(rest, asked);
    const liar = first === undefined ? [] : [{ miner: first, scoreBps: 0, isAgreed: false }];
    return { ...verdict, scores: [...verdict.scores, ...liar] };
  };
  const policy = { model: 'vectors', level, redundancy: scripts.length };
  const world = await startWorld(scripts, { judge, policy });
  t.after(() => world.close());
  const { identity, recipient } = await createIdentity();
  const { keyring } = world.lease;
  world.gateway.views.set(SESSION, viewOf({ policy: world.lease.policy, keyring }));
  const client = new CortensorClient({ baseUrl: world.router.url, apiKey: API_KEY, identity });
  const file = isClientSealed(level) ? await wrapKeyring(world.keyring, [recipient]) : null;
  const exported = { version: 1, sessionId: SESSION, keyring: file && toBase64(file) } as const;
  return { world, session: await client.importSession(exported) };
}

function rejects(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  return assert.rejects(promise, (error) => error instanceof EngineError && error.code === code);
}

describe('embed', () => {
  for (const level of SEALING_LEVELS.filter((known) => known !== 'sealed-pq')) {
    test(`gives the agreed vectors at level ${level}, and what they cost`, async (t) => {
      const { world, session } = await open(t, level, [MODELS, MODELS]);
      const { vectors, usage, taskId, requestCid, resultCids } = await session.embed(TEXTS);
      assert.deepEqual(
        vectors,
        TEXTS.map((text) => namedVector(text)),
      );
      assert.deepEqual(usage, { promptTokens: 5, completionTokens: 0 });
      const record = world.gateway.records.get(taskId);
      assert.equal(requestCid, record?.requestCid);
      assert.equal(resultCids.length, 2);
      assert.ok(resultCids.every((cid) => world.blocks.blocks.has(cid)));
    });
  }

  test('is one task under one key, also where the client seals anew', async (t) => {
    for (const level of ['link', 'sealed'] as const) {
      const { world, session } = await open(t, level);
      const once = () => session.embed('alone', { idempotencyKey: 'once' });
      const first = await once();
      assert.deepEqual(await once(), first);
      assert.equal(world.gateway.records.size, 1);
      // Of what is sealed, a router that still has the task cannot tell.
      if (level === 'sealed') continue;
      const other = session.embed('another', { idempotencyKey: 'once' });
      await rejects(other, 'IDEMPOTENCY_CONFLICT');
    }
  });

  test('asks for a length, of a model that knows of lengths', async (t) => {
    const { session } = await open(t, 'sealed');
    const { vectors } = await session.embed('alone', { dimensions: 8 });
    assert.deepEqual(vectors, [namedVector('alone', 8)]);
  });

  test('brings the agreed vectors where the primary’s are others', async (t) => {
    const vectors = ({ input }: { input: readonly string[] }) =>
      input.map((text) => namedVector(`other:${text}`));
    for (const level of ['link', 'sealed'] as const) {
      const scripts = [{ ...MODELS, vectors }, MODELS, MODELS];
      const { session } = await open(t, level, scripts);
      const answer = await session.embed(TEXTS);
      assert.deepEqual(
        answer.vectors,
        TEXTS.map((text) => namedVector(text)),
      );
    }
  });

  test('finds no answer in fewer vectors than there are texts, whoever agreed on them', async (t) => {
    const vectors = ({ input }: { input: readonly string[] }) =>
      input.slice(1).map((text) => namedVector(text));
    for (const level of ['open', 'sealed'] as const) {
      const { session } = await open(t, level, [{ ...MODELS, vectors }]);
      await rejects(session.embed(TEXTS), 'MINER_PROTOCOL');
    }
  });

  test('says so where miners do not agree, and is refused by miners that only chat', async (t) => {
    const others = TEXTS.slice(0, 2).map((name) => ({
      ...MODELS,
      vectors: ({ input }: { input: readonly string[] }) =>
        input.map((text) => namedVector(`${name}:${text}`)),
    }));
    for (const level of ['open', 'sealed'] as const) {
      const { session } = await open(t, level, others);
      await rejects(session.embed(TEXTS), 'NO_QUORUM');
      const able = await open(t, level, [{ ...MODELS, features: [] }]);
      await rejects(able.session.embed(TEXTS), 'FEATURE_UNSUPPORTED');
    }
  });

  test('refuses what is no text before anything is sent', async (t) => {
    const { world, session } = await open(t, 'sealed');
    await rejects(session.embed([]), 'PROMPT_INVALID');
    await rejects(session.embed(['one', '']), 'PROMPT_INVALID');
    assert.deepEqual(world.gateway.submitted, []);
  });

  test('a prompt to a model that embeds is refused', async (t) => {
    for (const level of ['link', 'sealed'] as const) {
      const { session } = await open(t, level);
      await rejects(session.ask('hi').done, 'MODEL_UNFIT');
    }
  });
});
