/** An Anvil of our own for one test, in whatever mining mode, that can be killed and come back with
 * older state: what `servers/` never does on purpose. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { Wallet, type JsonRpcProvider } from 'ethers';
import { openProvider } from '../../../adapters/chain/provider.js';
import { anvil, obtain } from '../../../servers/obtain/index.js';
import { claimPort } from '../../../servers/ports.js';

export const CHAIN_ID = 31_337;

/** Anvil's first funded accounts: published keys, worth nothing anywhere else.
 * @see https://getfoundry.sh/anvil/overview (mnemonic "test test … junk") */
export const KEYS = [
  '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80',
  '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d',
  '0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a',
] as const;
export const WALLET = new Wallet(KEYS[0]);

export interface TestAnvil {
  readonly url: string;
  readonly provider: JsonRpcProvider;
  rpc(method: string, ...params: unknown[]): Promise<unknown>;
  /** Kills it and starts it again, empty or with a state that `anvil_dumpState` gave. */
  restart(state?: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startTestAnvil(...args: string[]): Promise<TestAnvil> {
  const { path } = await obtain(anvil, {});
  const folder = await mkdtemp(join(tmpdir(), 'cortensor-test-anvil-'));
  const port = await claimPort(folder, 'anvil');
  const url = `http://127.0.0.1:${port}`;
  const provider = openProvider({ chainId: CHAIN_ID, rpcUrls: [url] });
  let child = await launch(path, provider, ['--port', `${port}`, '--quiet', ...args]);
  return {
    url,
    provider,
    rpc: (method, ...params) => provider.send(method, params),
    async restart(state) {
      await end(child);
      const more: string[] = [];
      if (state !== undefined) {
        const file = join(folder, 'state.json');
        await writeFile(file, gunzipSync(Buffer.from(state.slice(2), 'hex')));
        more.push('--load-state', file);
      }
      child = await launch(path, provider, ['--port', `${port}`, '--quiet', ...args, ...more]);
    },
    async stop() {
      provider.destroy();
      await end(child);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function launch(
  path: string,
  provider: JsonRpcProvider,
  args: readonly string[],
): Promise<ChildProcess> {
  const child = spawn(path, args, { stdio: 'ignore' });
  const deadline = Date.now() + 60_000;
  for (;;) {
    try {
      await provider.getBlockNumber();
      return child;
    } catch (error) {
      if (Date.now() > deadline || child.exitCode !== null) throw error;
      await delay(25);
    }
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}
