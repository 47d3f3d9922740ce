/** Connections to a user's PostgreSQL. */
import { Socket } from 'node:net';
import type pg from 'pg';
import { checkHost, guardedLookup, type AddressRules } from '../../net/address-guard.js';
import { openPool, type PoolOptions } from '../pool.js';
import type { DatabaseAccess } from './access.js';

/** Opens a pool; connects on first use.
 * @param access.url - `postgres://user:password@host:port/database`.
 * @throws CONFIG_INVALID — the URL cannot be read. */
export function openUserPostgres(
  access: DatabaseAccess,
  options: Omit<PoolOptions, 'access'> = {},
): pg.Pool {
  const { tls, ca } = access;
  return openPool(access.url, {
    ...options,
    access: {
      stream: () => guardedSocket(access),
      ssl: tls && { rejectUnauthorized: true, ...(ca === null ? {} : { ca }) },
    },
  });
}

/** A socket that connects to no closed address. `pg` gives it port and host, or the path of a socket. */
function guardedSocket(rules: AddressRules): Socket {
  const socket = new Socket();
  const connect = socket.connect.bind(socket);
  const guarded = (port: number | string, host = 'localhost'): Socket => {
    try {
      checkHost(typeof port === 'string' ? '127.0.0.1' : host, rules);
      if (typeof port === 'string') return connect(port);
      return connect({ port, host, lookup: guardedLookup(rules) });
    } catch (error) {
      // Whoever waits has its listeners on by then.
      process.nextTick(() => socket.destroy(error as Error));
      return socket;
    }
  };
  return Object.assign(socket, { connect: guarded as Socket['connect'] });
}
