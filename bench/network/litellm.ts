/**
 * LiteLLM's proxy, a well-known gateway before OpenAI-compatible backends. It is installed from PyPI
 * into the project's cache, at a pinned version, the first time that a benchmark wants it.
 * @see https://docs.litellm.ai/docs/simple_proxy
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { cacheRoot } from '../../servers/obtain/cache.js';
import { claimPort } from '../../servers/ports.js';
import { run } from '../../servers/run.js';
import type { BenchContext } from '../bench.js';

const VERSION = '1.76.1';
const INSTALL_MS = 15 * 60_000;
const START_MS = 120_000;

export interface LiteLlm {
  readonly url: string;
  readonly apiKey: string;
}

/** Starts the proxy with one worker before one backend; the context stops it.
 * @throws Error — it cannot be installed here, or does not start. */
export async function startLiteLlm(
  { data, say, defer }: BenchContext,
  backend: { readonly url: string; readonly model: string },
): Promise<LiteLlm> {
  const program = await install(say);
  const apiKey = 'sk-bench';
  const config = join(data, 'litellm.json');
  // YAML takes JSON as it is.
  writeFileSync(
    config,
    JSON.stringify({
      model_list: [
        {
          model_name: backend.model,
          litellm_params: {
            model: `openai/${backend.model}`,
            api_base: `${backend.url}/v1`,
            api_key: 'none',
          },
        },
      ],
      litellm_settings: { telemetry: false },
      general_settings: { master_key: apiKey },
    }),
  );
  const port = await claimPort(data, 'litellm');
  const args = ['--config', config, '--host', '127.0.0.1', '--port', String(port)];
  const child = spawn(program, [...args, '--num_workers', '1'], {
    cwd: data,
    stdio: 'ignore',
    env: { ...process.env, LITELLM_LOCAL_MODEL_COST_MAP: 'True', LITELLM_LOG: 'ERROR' },
  });
  const exited = once(child, 'exit');
  defer(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await exited;
  });
  const url = `http://127.0.0.1:${port}`;
  for (const deadline = Date.now() + START_MS; ; await delay(500)) {
    if (child.exitCode !== null) throw new Error('LiteLLM ended by itself');
    if (Date.now() > deadline) throw new Error('LiteLLM did not start in time');
    try {
      const signal = AbortSignal.timeout(2_000);
      if ((await fetch(`${url}/health/liveliness`, { signal })).ok) return { url, apiKey };
    } catch {
      // Not yet.
    }
  }
}

/** @returns the path of its program. */
async function install(say: (line: string) => void): Promise<string> {
  const home = join(cacheRoot(), 'bench', `litellm-${VERSION}`);
  const program = join('bin', 'litellm');
  const done = join(home, 'installed');
  if (existsSync(done)) return join(home, program);
  say(`installing LiteLLM ${VERSION}`);
  // Programs of a virtual environment name its path: it is made where it stays.
  rmSync(home, { recursive: true, force: true });
  mkdirSync(dirname(home), { recursive: true });
  await run('python3', ['-m', 'venv', home], { timeoutMs: INSTALL_MS });
  const pip = ['install', '--quiet', '--retries', '1', '--disable-pip-version-check'];
  await run(join(home, 'bin', 'pip'), [...pip, `litellm[proxy]==${VERSION}`], {
    timeoutMs: INSTALL_MS,
  });
  writeFileSync(`${done}.new`, '');
  renameSync(`${done}.new`, done);
  return join(home, program);
}
