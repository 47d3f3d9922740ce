/** A scripted miner in a process of its own, connected to every router. A prompt `die N socket KEY`
 * makes one miner, the first that comes to token N of it, hang up there; `die N process KEY` kills it. */
import { openSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { once } from 'node:events';
import { Wallet } from 'ethers';
import type { InferenceBackend } from '../../../adapters/model/backend.js';
import { openScriptedBackend } from '../../../adapters/model/scripted.js';
import type { SigningDomain } from '../../../domain/attestation.js';
import { runChild } from '../../../bench/network/child.js';
import { startMiner } from '../../../nodes/miner/miner.js';
import { answerTo } from './answer.js';

export interface MinerInput {
  readonly key: string;
  readonly identity: string;
  readonly domain: SigningDomain;
  readonly model: string;
  readonly routerUrls: readonly string[];
  /** Where miners mark whom they have died of. */
  readonly folder: string;
}

const TOKENS_PER_SECOND = 100;
const CONCURRENCY = 64;
const PROMPT = /^die (\d+) (socket|process) (\S+)/;

/** A line to a router that can be cut. */
async function openLine(routerUrl: string, open: Set<Socket>): Promise<string> {
  const { hostname, port } = new URL(routerUrl);
  const server = createServer((inner) => {
    const outer = connect(Number(port), hostname);
    for (const [from, to] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      open.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        open.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function isFirst(folder: string, key: string): boolean {
  try {
    openSync(join(folder, `died-${key}`), 'wx');
    return true;
  } catch {
    // Somebody else has died of it.
    return false;
  }
}

function mortal(backend: InferenceBackend, die: (kind: string) => void, folder: string) {
  return {
    ...backend,
    async *generate(...[request, options]: Parameters<InferenceBackend['generate']>) {
      const [, at = '-1', kind = '', key = ''] =
        PROMPT.exec(request.messages.at(-1)?.content ?? '') ?? [];
      let token = 0;
      for await (const event of backend.generate(request, options)) {
        if (token++ === Number(at) && isFirst(folder, key)) die(kind);
        yield event;
      }
    },
  };
}

runChild<MinerInput, null>(async ({ key, identity, domain, model, routerUrls, folder }) => {
  const open = new Set<Socket>();
  const die = (kind: string) => {
    if (kind === 'process') process.kill(process.pid, 'SIGKILL');
    for (const socket of open) socket.destroy();
  };
  const scripted = openScriptedBackend({
    model,
    answer: ({ messages }) => answerTo(messages.at(-1)?.content ?? ''),
    tokensPerSecond: TOKENS_PER_SECOND,
  });
  const backend = mortal(scripted, die, folder);
  startMiner({
    routerUrls: await Promise.all(routerUrls.map((routerUrl) => openLine(routerUrl, open))),
    wallet: new Wallet(key),
    identity,
    backend,
    domain,
    concurrency: CONCURRENCY,
    waits: { firstMs: 50, mostMs: 500, unregisteredMs: 500 },
    log: () => undefined,
  });
  return null;
});
