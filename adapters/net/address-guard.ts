/**
 * Keeps what users name (sinks, hosts, sources) away from addresses that are none of theirs: the
 * machine itself, its network, and the metadata services of clouds. What is checked is the address
 * that a connection is made to, after the name was resolved and by the same look-up, so that a name
 * which changes its address in between gains nothing.
 */
import { lookup as dnsLookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { EngineError, findEngineError } from '../../domain/errors.js';

export interface AddressRules {
  /** Lets loopback and private networks through. Link-local addresses, where clouds answer with
   * credentials, and addresses that are nobody's stay closed. */
  readonly allowPrivate: boolean;
}

const PRIVATE: ReadonlySet<string> = new Set([
  'loopback',
  'private',
  'uniqueLocal',
  'carrierGradeNat',
]);

/** True when a connection to the address may be made; what is no address is refused. */
export function isAllowed(address: string, { allowPrivate }: AddressRules): boolean {
  const text = address.replace(/^\[(.*)\]$/, '$1').replace(/%.*$/, '');
  if (!ipaddr.isValid(text)) return false;
  // `process` turns an IPv4 address that is written as IPv6 into what it is.
  const range = ipaddr.process(text).range();
  return range === 'unicast' || (allowPrivate && PRIVATE.has(range));
}

/** Checks a host that is written as an address; names are checked when they are looked up.
 * @throws ADDRESS_REFUSED */
export function checkHost(host: string, rules: AddressRules): void {
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  if (isIP(bare) !== 0 && !isAllowed(bare, rules)) throw refused();
}

/** A look-up for `net`, `tls` and `http`: it fails with ADDRESS_REFUSED when any address of the name is
 * closed. Sockets ask it for names only, hence `checkHost`. */
export function guardedLookup(rules: AddressRules): LookupFunction {
  return (hostname, options, callback) => {
    dnsLookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, '');
      const [first] = addresses;
      if (first === undefined || addresses.some(({ address }) => !isAllowed(address, rules))) {
        return callback(refused() as NodeJS.ErrnoException, '');
      }
      if (options.all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}

/** Finds the refusal in what a client library made of it; `undefined` where there is none. */
export function findRefusal(error: unknown): EngineError | undefined {
  const known = findEngineError(error);
  if (known?.code === 'ADDRESS_REFUSED') return known;
  const nested = error instanceof AggregateError ? (error.errors as unknown[]) : [];
  return nested.map(findRefusal).find((found) => found !== undefined);
}

/** Says neither name nor address: whoever probes a network learns nothing of it. */
function refused(): EngineError {
  return new EngineError('ADDRESS_REFUSED', { expected: 'an address of the public network' });
}
