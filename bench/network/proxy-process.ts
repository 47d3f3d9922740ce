/** A plain reverse proxy: `node:http` on both sides, bytes passed on as they come. */
import { Agent, createServer, request } from 'node:http';
import { listen } from '../../nodes/router/http-server.js';
import { runChild } from './child.js';

export interface ProxyInput {
  readonly targetUrl: string;
}

export interface ProxyReady {
  readonly url: string;
}

runChild<ProxyInput, ProxyReady>(async ({ targetUrl }) => {
  const agent = new Agent({ keepAlive: true });
  const server = createServer((incoming, outgoing) => {
    const { method, headers, url = '/' } = incoming;
    const target = new URL(url, targetUrl);
    const forward = request(target, { method, headers, agent }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    forward.on('error', () => outgoing.destroy());
    outgoing.on('close', () => forward.destroy());
    incoming.pipe(forward);
  });
  return { url: `http://127.0.0.1:${await listen(server, '127.0.0.1', 0)}` };
});
