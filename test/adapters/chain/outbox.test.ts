/** The outbox on a real Anvil and a real PostgreSQL: one intent, one transaction, whatever fails. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Interface, Transaction, Wallet, type JsonRpcProvider } from 'ethers';
import type pg from 'pg';
import { ChainAccount } from '../../../adapters/chain/account.js';
import { Outbox, type Intent, type OutboxDeps } from '../../../adapters/chain/outbox.js';
import { migrate } from '../../../adapters/database/migrate.js';
import { openPool } from '../../../adapters/database/pool.js';
import { cortensorTokenAbi, cortensorTokenBytecode } from '../../../contracts/abi.js';
import { EngineError, type ErrorCode } from '../../../domain/errors.js';
import type { Address, Hex } from '../../../domain/ids.js';
import { startTestPostgres, type TestPostgres } from '../database/postgres.js';
import { CHAIN_ID, KEYS, startTestAnvil, WALLET, type TestAnvil } from './anvil.js';

const SIGNER = WALLET.address.toLowerCase() as Address;
const TARGET: Address = '0x00000000000000000000000000000000000000aa';
/** Runtime code: reverts on any call that carries data, takes the rest. */
const REVERTS_ON_DATA = '0x3615600757600080fd5b00';

let postgres: TestPostgres;
before(async () => {
  postgres = await startTestPostgres();
});
after(async () => {
  await postgres.stop();
});

interface Fixture {
  readonly anvil: TestAnvil;
  readonly pool: pg.Pool;
  /** Another outbox on the same database and signer, as another process would have it. */
  open(overrides?: {
    provider?: JsonRpcProvider;
    confirmations?: number;
    bumpAfterMs?: number;
  }): Outbox;
}

async function withChain(args: string[], run: (fixture: Fixture) => Promise<void>): Promise<void> {
  const anvil = await startTestAnvil(...args);
  const pool = openPool(await postgres.createDatabase());
  try {
    await migrate(pool);
    await run({
      anvil,
      pool,
      open: ({ provider = anvil.provider, confirmations = 0, bumpAfterMs } = {}) => {
        const layer = { provider, chainId: CHAIN_ID, confirmations, wallet: WALLET };
        const deps: OutboxDeps = { pool, layers: { service: layer } };
        return new Outbox(bumpAfterMs === undefined ? deps : { ...deps, bumpAfterMs });
      },
    });
  } finally {
    await pool.end();
    await anvil.stop();
  }
}

/** A transaction that does nothing but carry its key. */
function ping(key: string): Intent {
  return { key, layer: 'service', to: TARGET, data: `0x${Buffer.from(key).toString('hex')}` };
}

function fails(code: ErrorCode, details: Record<string, unknown> = {}) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof EngineError, String(error));
    assert.equal(error.code, code, error.message);
    for (const [name, value] of Object.entries(details)) {
      assert.equal(error.details[name], value, `${name} of ${error.message}`);
    }
    return true;
  };
}

const deadline = (ms = 60_000): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(ms) });

/** Payloads of the signer's transactions to the target, in the order of the chain. */
async function pingsOnChain(provider: JsonRpcProvider): Promise<string[]> {
  const keys: string[] = [];
  for (let n = 0; n <= (await provider.getBlockNumber()); n++) {
    const block = await provider.getBlock(n, true);
    for (const { to, data } of block?.prefetchedTransactions ?? []) {
      if (to?.toLowerCase() === TARGET) keys.push(Buffer.from(data.slice(2), 'hex').toString());
    }
  }
  return keys;
}

/** The provider with another `send`; everything else of it goes through `send` as well. */
function tampered(
  provider: JsonRpcProvider,
  send: (method: string, pass: () => Promise<unknown>) => Promise<unknown>,
): JsonRpcProvider {
  return new Proxy(provider, {
    get(target, name) {
      if (name !== 'send') {
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      }
      return (method: string, params: unknown[]) => send(method, () => target.send(method, params));
    },
  });
}

test('an executed intent is mined once and is final after its confirmations', async () => {
  await withChain([], async ({ anvil, open }) => {
    const outbox = open({ confirmations: 2 });
    await outbox.send(ping('a'));
    const confirmed = outbox.confirm('a', deadline());
    await anvil.rpc('anvil_mine', '0x1');
    await assert.rejects(outbox.confirm('a', { signal: AbortSignal.timeout(300) }), {
      name: 'TimeoutError',
    });
    await anvil.rpc('anvil_mine', '0x1');
    const receipt = await confirmed;
    assert.equal(receipt.blockNumber, 1);
    assert.equal(receipt.contractAddress, null);
    assert.deepEqual(await pingsOnChain(anvil.provider), ['a']);
  });
});

test('a repeated key sends nothing new, and another transaction under it is refused', async () => {
  await withChain([], async ({ anvil, open }) => {
    const first = await open().execute(ping('a'), deadline());
    const second = await open().execute(ping('a'), deadline());
    assert.deepEqual(second, first);
    await assert.rejects(
      open().send({ ...ping('b'), key: 'a' }),
      fails('IDEMPOTENCY_CONFLICT', { key: 'a' }),
    );
    assert.equal(await anvil.provider.getTransactionCount(SIGNER), 1);
  });
});

test('a deployment reports the address that follows from signer and nonce', async () => {
  await withChain([], async ({ anvil, open }) => {
    const outbox = open();
    await outbox.execute(ping('before'), deadline());
    const intent = await deployToken(SIGNER);
    const receipt = await outbox.execute(intent, deadline());
    assert.ok(receipt.contractAddress);
    assert.notEqual(await anvil.provider.getCode(receipt.contractAddress), '0x');
    assert.deepEqual(await open().execute(intent, deadline()), receipt);
  });
});

test('a simulation that reverts uses no nonce and names the error of the contract', async () => {
  await withChain([], async ({ anvil, open, pool }) => {
    const outbox = open();
    const { contractAddress } = await outbox.execute(await deployToken(ZERO_OWNER), deadline());
    const mint = tokenCall('mint', [SIGNER, 1n]);
    await assert.rejects(
      outbox.send({ key: 'mint', layer: 'service', to: contractAddress, data: mint }),
      fails('TRANSACTION_REVERTED', {
        error: 'OwnableUnauthorizedAccount',
        account: WALLET.address,
        stage: 'simulation',
      }),
    );
    assert.equal(await anvil.provider.getTransactionCount(SIGNER), 1);
    const { rows } = await pool.query(`select count(*)::int as count from engine.tx_outbox`);
    assert.deepEqual(rows, [{ count: 1 }]);
  });
});

test('a transaction that reverts when mined is final, with the reason, and does not block others', async () => {
  await withChain(['--no-mining'], async ({ anvil, open }) => {
    const outbox = open();
    await outbox.send(ping('a'));
    await outbox.send(ping('b'));
    await anvil.rpc('anvil_setCode', TARGET, REVERTS_ON_DATA);
    await anvil.rpc('anvil_mine', '0x1');
    const reverted = fails('TRANSACTION_REVERTED', { error: 'none' });
    await assert.rejects(outbox.confirm('a', deadline()), reverted);
    await assert.rejects(open().confirm('a', deadline()), reverted, 'and stays so');
    await anvil.rpc('anvil_setCode', TARGET, '0x');
    await outbox.send(ping('c'));
    await anvil.rpc('anvil_mine', '0x1');
    assert.equal((await outbox.confirm('c', deadline())).blockNumber, 2);
  });
});

test('two outboxes that share a signer send every key once and leave no gap', async () => {
  await withChain([], async ({ anvil, open }) => {
    const outboxes = [open(), open()];
    const keys = Array.from({ length: 50 }, (_, i) => `key-${i}`);
    // Every key through both, so that the same key races as well.
    const receipts = await Promise.all(
      keys.flatMap((key) => outboxes.map((outbox) => outbox.execute(ping(key), deadline(60_000)))),
    );
    assert.equal(new Set(receipts.map((receipt) => receipt.hash)).size, 50);
    assert.equal(await anvil.provider.getTransactionCount(SIGNER), 50);
    assert.deepEqual((await pingsOnChain(anvil.provider)).sort(), keys.sort());
  });
});

test('transactions that are mined in intervals are confirmed together', async () => {
  await withChain(['--block-time', '1'], async ({ anvil, open }) => {
    const outbox = open({ confirmations: 1 });
    const keys = Array.from({ length: 20 }, (_, i) => `key-${i}`);
    await Promise.all(keys.map((key) => outbox.execute(ping(key), deadline())));
    assert.deepEqual((await pingsOnChain(anvil.provider)).sort(), keys.sort());
  });
});

for (const [moment, fault] of Object.entries<(pass: () => Promise<unknown>) => Promise<unknown>>({
  'before the node got it': () => Promise.reject(new EngineError('CHAIN_UNREACHABLE')),
  'after the node got it': async (pass) => {
    await pass();
    throw new EngineError('CHAIN_UNREACHABLE');
  },
})) {
  test(`a process that dies ${moment} is continued by the next with the same bytes`, async () => {
    await withChain([], async ({ anvil, open }) => {
      const provider = tampered(anvil.provider, (method, pass) =>
        method === 'eth_sendRawTransaction' ? fault(pass) : pass(),
      );
      await assert.rejects(open({ provider }).send(ping('a')), fails('CHAIN_UNREACHABLE'));
      const { hash } = await open().execute(ping('a'), deadline());
      assert.equal((await open().send(ping('a'))).hash, hash);
      assert.deepEqual(await pingsOnChain(anvil.provider), ['a']);
    });
  });

  test(`a confirmation alone also continues a process that died ${moment}`, async () => {
    await withChain([], async ({ anvil, open }) => {
      const provider = tampered(anvil.provider, (method, pass) =>
        method === 'eth_sendRawTransaction' ? fault(pass) : pass(),
      );
      await assert.rejects(open({ provider }).send(ping('a')), fails('CHAIN_UNREACHABLE'));
      await open().confirm('a', deadline());
      assert.deepEqual(await pingsOnChain(anvil.provider), ['a']);
    });
  });
}

test('a process that dies while it reserves leaves nothing, or what the next one continues', async () => {
  await withChain([], async ({ anvil, open, pool }) => {
    for (const [key, isCommitted] of [
      ['rolled-back', false],
      ['committed', true],
    ] as const) {
      const broken = failingCommits(pool, isCommitted);
      const layer = {
        provider: anvil.provider,
        chainId: CHAIN_ID,
        confirmations: 0,
        wallet: WALLET,
      };
      const outbox = new Outbox({ pool: broken, layers: { service: layer } });
      await assert.rejects(outbox.send(ping(key)), fails('DATABASE_UNREACHABLE'));
      await open().execute(ping(key), deadline());
    }
    assert.deepEqual(await pingsOnChain(anvil.provider), ['rolled-back', 'committed']);
  });
});

test('a process that dies between broadcast and receipt is continued by the next', async () => {
  await withChain(['--no-mining'], async ({ anvil, open }) => {
    await open().send(ping('a'));
    const aborted = open().confirm('a', { signal: AbortSignal.timeout(50) });
    await assert.rejects(aborted, { name: 'TimeoutError' });
    const provider = tampered(anvil.provider, () => Promise.reject(new Error('no call expected')));
    assert.ok((await open({ provider }).send(ping('a'))).hash, 'a broadcast row is not sent again');
    await anvil.rpc('anvil_mine', '0x1');
    await open().confirm('a', deadline());
    assert.deepEqual(await pingsOnChain(anvil.provider), ['a']);
  });
});

for (const message of ['already known', 'nonce too low', 'intrinsic cosmic ray']) {
  test(`a send that fails with "${message}" though the node has it counts as sent`, async () => {
    await withChain([], async ({ anvil, open }) => {
      const provider = tampered(anvil.provider, async (method, pass) => {
        const result = await pass();
        if (method !== 'eth_sendRawTransaction') return result;
        throw Object.assign(new Error('could not coalesce error'), { error: { message } });
      });
      await open({ provider }).execute(ping('a'), deadline());
      assert.deepEqual(await pingsOnChain(anvil.provider), ['a']);
    });
  });
}

test('a transaction that the node dropped is sent again by whoever waits for it', async () => {
  await withChain(['--no-mining'], async ({ anvil, open }) => {
    const outbox = open();
    const { hash } = await outbox.send(ping('a'));
    await anvil.rpc('anvil_dropTransaction', hash);
    await anvil.rpc('evm_setAutomine', true);
    assert.equal((await outbox.confirm('a', deadline())).hash, hash);
  });
});

test('a nonce that nobody holds any more is filled, so that those behind it are mined', async () => {
  await withChain(['--no-mining'], async ({ anvil, open, pool }) => {
    const foreign = await sendForeign(anvil, 0, 'foreign');
    const outbox = open();
    await outbox.send(ping('a'));
    await anvil.rpc('anvil_dropTransaction', foreign);
    await anvil.rpc('evm_setAutomine', true);
    await outbox.confirm('a', deadline());
    assert.deepEqual(await pingsOnChain(anvil.provider), ['a']);
    const { rows } = await pool.query(
      `select key, nonce::int from engine.tx_outbox order by nonce`,
    );
    assert.deepEqual(rows, [
      { key: `gap:${CHAIN_ID}:${SIGNER}:0`, nonce: 0 },
      { key: 'a', nonce: 1 },
    ]);
  });
});

test('an intent whose nonce somebody else used is sent on the next free one', async () => {
  await withChain(['--no-mining'], async ({ anvil, open }) => {
    const outbox = open();
    const { hash } = await outbox.send(ping('a'));
    await anvil.rpc('anvil_dropTransaction', hash);
    await sendForeign(anvil, 0, 'foreign');
    await anvil.rpc('evm_setAutomine', true);
    await anvil.rpc('anvil_mine', '0x1');
    await outbox.confirm('a', deadline());
    await open().execute(ping('a'), deadline());
    assert.deepEqual(await pingsOnChain(anvil.provider), ['foreign', 'a']);
  });
});

test('a transaction that is stuck gets a higher fee on its nonce, and either hash settles it', async () => {
  await withChain(['--no-mining'], async ({ anvil, open }) => {
    const outbox = open({ bumpAfterMs: 100 });
    const { hash } = await outbox.send(ping('a'));
    const old = await anvil.provider.getTransaction(hash);
    assert.ok(old);
    const confirmed = outbox.confirm('a', deadline());
    await poll(async () => ![hash, undefined].includes(await pendingHash(anvil)));
    await anvil.rpc('anvil_mine', '0x1');
    const receipt = await confirmed;
    const bumped = await anvil.provider.getTransaction(receipt.hash);
    assert.ok(bumped);
    assert.notEqual(receipt.hash, hash);
    assert.equal(bumped.nonce, old.nonce);
    for (const fee of ['maxFeePerGas', 'maxPriorityFeePerGas'] as const) {
      assert.ok((bumped[fee] ?? 0n) * 1000n >= (old[fee] ?? 0n) * 1125n, fee);
    }
    assert.equal((await open().execute(ping('a'), deadline())).hash, receipt.hash);
    assert.deepEqual(await pingsOnChain(anvil.provider), ['a']);
  });
});

test('a transaction that the base fee left behind gets a fee that the node takes', async () => {
  await withChain(['--no-mining'], async ({ anvil, open }) => {
    const outbox = open();
    const { hash } = await outbox.send(ping('a'));
    const old = await anvil.provider.getTransaction(hash);
    const above = 2n * (old?.maxFeePerGas ?? 0n);
    await anvil.rpc('anvil_setNextBlockBaseFeePerGas', `0x${above.toString(16)}`);
    await anvil.rpc('anvil_mine', '0x1');
    const confirmed = outbox.confirm('a', deadline());
    await poll(async () => ![hash, undefined].includes(await pendingHash(anvil)));
    await anvil.rpc('anvil_mine', '0x1');
    assert.notEqual((await confirmed).hash, hash);
    assert.deepEqual(await pingsOnChain(anvil.provider), ['a']);
  });
});

test('a fee is never raised beyond five times the first one', async () => {
  const account = new ChainAccount({} as JsonRpcProvider, CHAIN_ID, WALLET);
  const fees = { maxFeeWei: 1_000n, tipWei: 100n, block: 0, blockGasLimit: 30_000_000n };
  const attempts = [account.sign({ to: TARGET, data: '0x' }, 0, 21_000n, fees)];
  const market = { ...fees, maxFeeWei: 1_000_000n, tipWei: 100_000n };
  for (
    let next = account.signBumped(attempts, fees);
    next;
    next = account.signBumped(attempts, fees)
  ) {
    attempts.push(next);
  }
  const last = Transaction.from(attempts.at(-1)?.raw ?? '0x');
  assert.ok((last.maxFeePerGas ?? 0n) <= 5_000n && (last.maxFeePerGas ?? 0n) * 1_125n > 5_000_000n);
  assert.equal(new Set(attempts.map((attempt) => attempt.hash)).size, attempts.length);
  const jumped = Transaction.from(account.signBumped(attempts.slice(0, 1), market)?.raw ?? '0x');
  assert.deepEqual([jumped.maxFeePerGas, jumped.maxPriorityFeePerGas], [5_000n, 500n]);
});

test('a transaction that a reorganisation threw out is sent again, unchanged', async () => {
  await withChain([], async ({ anvil, open }) => {
    const outbox = open({ confirmations: 3 });
    const { hash } = await outbox.send(ping('a'));
    await anvil.rpc('anvil_mine', '0x1');
    const confirmed = outbox.confirm('a', deadline());
    await anvil.rpc('anvil_reorg', 2, []);
    await poll(async () => (await anvil.provider.getTransactionReceipt(hash)) !== null);
    await anvil.rpc('anvil_mine', '0x4');
    assert.equal((await confirmed).hash, hash);
    assert.deepEqual(await pingsOnChain(anvil.provider), ['a']);
  });
});

test('a chain that comes back with older state gets back what was final, in order', async () => {
  await withChain([], async ({ anvil, open, pool }) => {
    const outbox = open();
    const token = await outbox.execute(await deployToken(SIGNER), deadline());
    const state = String(await anvil.rpc('anvil_dumpState'));
    const to = token.contractAddress;
    const minted = (n: number): Intent => ({
      key: `mint-${n}`,
      layer: 'service',
      to,
      data: tokenCall('mint', [TARGET, BigInt(n)]),
    });
    const receipts = [];
    for (const n of [1, 2, 3]) receipts.push(await outbox.execute(minted(n), deadline()));
    await anvil.restart(state);
    assert.equal(await anvil.provider.getTransactionCount(SIGNER), 1);
    assert.deepEqual(await open().reconcile('service'), { rebroadcast: 3 });
    const { rows } = await pool.query(`select key from engine.tx_outbox where state = 'final'`);
    assert.deepEqual(rows, [{ key: 'deploy' }], 'what is sent again is not final yet');
    const again = await Promise.all([1, 2, 3].map((n) => open().execute(minted(n), deadline())));
    assert.deepEqual(
      again.map((receipt) => receipt.hash),
      receipts.map((receipt) => receipt.hash),
    );
    assert.deepEqual(await open().reconcile('service'), { rebroadcast: 0 });
  });
});

test('a chain that comes back empty is replayed by the next send, deployments included', async () => {
  await withChain([], async ({ anvil, open }) => {
    const outbox = open();
    const token = await outbox.execute(await deployToken(SIGNER), deadline());
    await anvil.restart();
    const data = tokenCall('mint', [TARGET, 5n]);
    await outbox.execute(
      { key: 'mint', layer: 'service', to: token.contractAddress, data },
      deadline(),
    );
    assert.equal(await anvil.provider.getTransactionCount(SIGNER), 2);
  });
});

test('a confirmation that waits while the chain goes back finds its transaction again', async () => {
  await withChain([], async ({ anvil, open }) => {
    const outbox = open({ confirmations: 5 });
    const state = String(await anvil.rpc('anvil_dumpState'));
    await outbox.send(ping('a'));
    await outbox.send(ping('b'));
    let polls = 0;
    const confirmed = persistently(() =>
      outbox.confirm('b', { ...deadline(), onPoll: () => polls++ }),
    );
    await poll(() => Promise.resolve(polls > 1));
    await anvil.restart(state);
    await poll(async () => (await anvil.provider.getTransactionCount(SIGNER)) === 2);
    await anvil.rpc('anvil_mine', '0x6');
    await confirmed;
    assert.deepEqual(await pingsOnChain(anvil.provider), ['a', 'b']);
  });
});

test('a signer without gas money is told so, and the same key goes through once it has some', async () => {
  await withChain([], async ({ anvil, open }) => {
    await anvil.rpc('anvil_setBalance', SIGNER, '0x1');
    await assert.rejects(open().send(ping('a')), fails('TRANSACTION_PENDING', { balanceWei: '1' }));
    await anvil.rpc('anvil_setBalance', SIGNER, '0xde0b6b3a7640000');
    await open().execute(ping('a'), deadline());
    assert.deepEqual(await pingsOnChain(anvil.provider), ['a']);
  });
});

test('a confirmation without a send, and a layer that is not configured, are refused', async () => {
  await withChain([], async ({ open }) => {
    await assert.rejects(open().confirm('nothing'), fails('INVARIANT_BROKEN'));
    await assert.rejects(open().send({ ...ping('a'), layer: 'health' }), fails('CONFIG_INVALID'));
  });
});

const ZERO_OWNER: Address = '0x00000000000000000000000000000000000000bb';
const token = new Interface(cortensorTokenAbi);

function tokenCall(name: string, values: unknown[]): Hex {
  return token.encodeFunctionData(name, values) as Hex;
}

async function deployToken(owner: Address): Promise<Intent> {
  const inputs = token.deploy.inputs.map(({ type }) => (type === 'address' ? owner : 10n ** 24n));
  const data = `${cortensorTokenBytecode}${token.encodeDeploy(inputs).slice(2)}` as Hex;
  return { key: 'deploy', layer: 'service', to: null, data };
}

/** A transaction of the signer's key that the outbox knows nothing of. */
async function sendForeign(anvil: TestAnvil, nonce: number, text: string): Promise<string> {
  const transaction = Transaction.from({
    type: 2,
    chainId: CHAIN_ID,
    nonce,
    to: TARGET,
    data: `0x${Buffer.from(text).toString('hex')}`,
    gasLimit: 100_000,
    maxFeePerGas: 20_000_000_000n,
    maxPriorityFeePerGas: 1_000_000_000n,
  });
  return String(
    await anvil.rpc(
      'eth_sendRawTransaction',
      await new Wallet(KEYS[0]).signTransaction(transaction),
    ),
  );
}

async function pendingHash(anvil: TestAnvil): Promise<Hex | undefined> {
  const content = (await anvil.rpc('txpool_content')) as {
    pending: Record<string, Record<string, { hash: Hex }>>;
    queued: Record<string, Record<string, { hash: Hex }>>;
  };
  for (const part of [content.pending, content.queued]) {
    for (const [address, byNonce] of Object.entries(part)) {
      if (address.toLowerCase() === SIGNER) return Object.values(byNonce)[0]?.hash;
    }
  }
  return undefined;
}

/** A pool whose connections break at `commit`, before or after PostgreSQL has done it. */
function failingCommits(pool: pg.Pool, isCommitted: boolean): pg.Pool {
  const broken = new EngineError('DATABASE_UNREACHABLE');
  return new Proxy(pool, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (name !== 'connect') return typeof value === 'function' ? value.bind(target) : value;
      return async () => {
        const client = await target.connect();
        return new Proxy(client, {
          get(inner, member) {
            const own: unknown = Reflect.get(inner, member, inner);
            if (typeof own !== 'function') return own;
            if (member !== 'query') return own.bind(inner);
            return async (text: string, values?: unknown[]) => {
              if (text !== 'commit') return await inner.query(text, values);
              if (isCommitted) await inner.query('commit');
              throw broken;
            };
          },
        });
      };
    },
  });
}

/** Tries again while the node is away, as a retry policy would. */
async function persistently<T>(run: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== 'CHAIN_UNREACHABLE') throw error;
    }
  }
}

async function poll(until: () => Promise<boolean>): Promise<void> {
  const limit = Date.now() + 60_000;
  while (!(await until())) {
    if (Date.now() > limit) throw new Error('the condition did not come true in 60 s');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
