/** The line between a miner and its router, bent: what a dishonest miner does that its backend cannot. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { MAX_MESSAGE_BYTES, MINER_PATH, type MinerMessage } from '../../domain/wire.js';

export type LineBehaviour = 'mute' | 'faithless' | 'dropping';

/** One task in so many loses its miner in the middle. */
const DROPS_ONE_IN = 4;

/** What becomes of a message; `null`: nothing. `'hang up'`: both ends are cut. */
function bend(message: MinerMessage, behaviour: LineBehaviour): MinerMessage | 'hang up' | null {
  if (message.type === 'commit' && behaviour === 'mute') return null;
  if (message.type === 'commit' && behaviour === 'faithless') {
    const { salt } = message.commitment;
    const other = salt.endsWith('0') ? '1' : '0';
    const changed = `${salt.slice(0, -1)}${other}` as typeof salt;
    return { ...message, commitment: { ...message.commitment, salt: changed } };
  }
  if (message.type === 'precommit' && behaviour === 'dropping') {
    const isDropped = Number.parseInt(message.taskId.slice(-4), 16) % DROPS_ONE_IN === 0;
    if (isDropped) return 'hang up';
  }
  return message;
}

/** Opens a line to a router for one miner.
 * @returns the URL that the miner connects to. */
export async function openMinerLine(routerUrl: string, behaviour: LineBehaviour): Promise<string> {
  const server = new WebSocketServer({
    host: '127.0.0.1',
    port: 0,
    maxPayload: MAX_MESSAGE_BYTES,
    path: MINER_PATH,
  });
  await once(server, 'listening');
  const target = new URL(MINER_PATH, routerUrl.replace(/^http/, 'ws'));
  server.on('connection', (miner) => {
    const router = new WebSocket(target, { maxPayload: MAX_MESSAGE_BYTES });
    const hangUp = (): void => {
      miner.terminate();
      router.terminate();
    };
    const waiting: string[] = [];
    const toRouter = (text: string): void => {
      if (router.readyState === WebSocket.CONNECTING) waiting.push(text);
      else if (router.readyState === WebSocket.OPEN) router.send(text);
    };
    router.on('open', () => {
      for (const text of waiting.splice(0)) router.send(text);
    });
    router.on('message', (data: Buffer) => miner.send(data.toString('utf8')));
    miner.on('message', (data: Buffer) => {
      const bent = bend(JSON.parse(data.toString('utf8')) as MinerMessage, behaviour);
      if (bent === 'hang up') hangUp();
      else if (bent !== null) toRouter(JSON.stringify(bent));
    });
    for (const socket of [miner, router]) {
      socket.on('close', hangUp);
      socket.on('error', hangUp);
    }
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
