/** A certificate authority for one test, thrown away with its folder. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export interface Authority {
  /** PEM, to be trusted. */
  readonly cert: string;
  /** Makes a certificate of a server.
   * @param options.isExpired - it was good for one day of the year 2020. */
  issue(name: string, options?: { readonly isExpired?: boolean }): Certificate;
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Makes an authority with the `openssl` program.
 * @param folder - empty or absent; keeps what the program keeps. */
export function createAuthority(folder: string): Authority {
  mkdirSync(folder, { recursive: true });
  const at = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  const [caKey, caCert, config] = [at('ca.key'), at('ca.crt'), at('ca.cnf')];
  const subject = ['-subj', '/CN=Test authority', '-days', '2'];
  openssl('req', '-x509', ...KEY, ...subject, '-keyout', caKey, '-out', caCert);
  writeFileSync(at('index'), '');
  const settings = [
    '[ca]',
    'default_ca = own',
    '[own]',
    `database = ${at('index')}`,
    `new_certs_dir = ${folder}`,
    `certificate = ${caCert}`,
    `private_key = ${caKey}`,
    'rand_serial = yes',
    'unique_subject = no',
    'default_md = sha256',
    'default_days = 2',
    'policy = any',
    '[any]',
    'commonName = supplied',
  ];
  writeFileSync(config, `${settings.join('\n')}\n`);
  let count = 0;
  return {
    cert: readFileSync(caCert, 'utf8'),
    issue(name, { isExpired = false } = {}) {
      const own = (ending: string) => at(`${count}.${ending}`);
      count++;
      openssl('req', ...KEY, '-subj', `/CN=${name}`, '-keyout', own('key'), '-out', own('csr'));
      writeFileSync(own('ext'), `subjectAltName = DNS:${name}\n`);
      const dates = ['-startdate', '20200101000000Z', '-enddate', '20200102000000Z'];
      const files = ['-in', own('csr'), '-out', own('crt'), '-extfile', own('ext')];
      openssl('ca', '-batch', '-config', config, '-notext', ...files, ...(isExpired ? dates : []));
      return { cert: readFileSync(own('crt'), 'utf8'), key: readFileSync(own('key'), 'utf8') };
    },
  };
}
