/** A TCP balancer as operators run them: every connection goes to the next router that says on
 * `/healthz` that it is well, or to any that listens where none does. It knows nothing else of HTTP. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';

/** Between two looks at a router; below the second for which one that is stopped still takes all. */
const LOOK_MS = 200;

export class Balancer {
  readonly #ports: readonly number[];
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  readonly #unwell = new Set<number>();
  #watch: NodeJS.Timeout | undefined;
  #next = 0;

  constructor(ports: readonly number[]) {
    this.#ports = ports;
    this.#server = createServer({ allowHalfOpen: true }, (client) => {
      this.#open.add(client);
      client.on('close', () => this.#open.delete(client));
      client.on('error', () => client.destroy());
      client.pause();
      this.#join(client, this.#turn());
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#watch = setInterval(() => {
      for (const port of this.#ports) void this.#look(port);
    }, LOOK_MS);
  }

  async close(): Promise<void> {
    clearInterval(this.#watch);
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
    await closed;
  }

  async #look(port: number): Promise<void> {
    try {
      const signal = AbortSignal.timeout(LOOK_MS * 4);
      const { ok } = await fetch(`http://127.0.0.1:${port}/healthz`, { signal });
      if (ok) this.#unwell.delete(port);
      else this.#unwell.add(port);
    } catch {
      this.#unwell.add(port);
    }
  }

  /** Routers in the order in which they are tried. */
  #turn(): readonly number[] {
    const first = this.#next++ % this.#ports.length;
    const order = [...this.#ports.slice(first), ...this.#ports.slice(0, first)];
    const isWell = (port: number) => !this.#unwell.has(port);
    return [...order.filter(isWell), ...order.filter((port) => !isWell(port))];
  }

  #join(client: Socket, [port, ...others]: readonly number[]): void {
    if (port === undefined) return void client.destroy();
    const router = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const tryNext = () => this.#join(client, others);
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
