/** A plain TCP balancer: every connection goes to the next router, or to the one after it where nobody
 * listens. It knows nothing of HTTP, and asks nobody how he is. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';

export class Balancer {
  readonly #ports: readonly number[];
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  #next = 0;

  constructor(ports: readonly number[]) {
    this.#ports = ports;
    this.#server = createServer({ allowHalfOpen: true }, (client) => {
      this.#open.add(client);
      client.on('close', () => this.#open.delete(client));
      client.on('error', () => client.destroy());
      client.pause();
      this.#join(client, this.#ports.length);
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
    await closed;
  }

  #join(client: Socket, tries: number): void {
    if (tries === 0) return void client.destroy();
    const port = this.#ports[this.#next++ % this.#ports.length] ?? 0;
    const router = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const tryNext = () => this.#join(client, tries - 1);
    router.once('error', tryNext);
    router.once('connect', () => {
      router.off('error', tryNext);
      router.on('error', () => client.destroy());
      router.on('close', () => client.destroy());
      client.on('close', () => router.destroy());
      client.pipe(router);
      router.pipe(client);
    });
  }
}
