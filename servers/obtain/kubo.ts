/** Kubo, the IPFS node. */
import { run } from '../run.js';
import { downloadRecipe, type Download } from './download.js';
import { goRecipe } from './go.js';
import { goPlatform } from './platform.js';
import type { Artefact } from './types.js';

/** v0.43.1 cannot be built as a dependency. */
const VERSION = '0.42.0';
const RELEASES = `https://dist.ipfs.tech/kubo/v${VERSION}`;

/** SHA-512 as published beside each archive of the release. */
const CHECKSUMS: Readonly<Record<string, string>> = {
  'linux-amd64':
    '054c38a0cf66f7d738e25085ad62cb3a42d03d4bac329b7dd25c1d71cf18e1ce' +
    '87d55b1d1b705b04c65210dca9109973579e0eb1cd72f6341ecb3311d840d156',
  'linux-arm64':
    '5f4abb1a63e82bbdd0417517eb1c7bb5f64e95da2724f85d9762f640ddb9e6a5' +
    '728bb86d60022ac367accf14248d80a0484cf7960392e15e540dfbf655974def',
  'darwin-amd64':
    '090105ea166d4db85ff6a5f9a2e12c6efd451bd6ba15336aa3de5534ef48fa48' +
    '706cd0911a40c071175e08131432158c07cac8060721185e50ab0dd46011c7bb',
  'darwin-arm64':
    '5f863972f7edee0ac3f003d8b097366927e8d9f651fd5c74e1fda980f766dbf7' +
    'af4b8a813b13400eb2bcf3a871a494a139c85f022e239b237581ad152259cd22',
};

/** Kubo 0.38 or later; older ones do not know the settings that keep it from calling home. */
export const kubo: Artefact = {
  name: 'ipfs',
  version: VERSION,
  file: 'ipfs',
  variable: 'CORTENSOR_IPFS',
  command: 'ipfs',
  check: async (path) => {
    const out = await run(path, ['--version'], { timeoutMs: 20_000 });
    const [, version, minor] = /^ipfs version (0\.(\d+)\.\S+)/.exec(out) ?? [];
    if (version === undefined) throw new Error(`${path} does not say its version`);
    if (Number(minor) < 38) throw new Error(`${path} is ${version}, needed is 0.38 or later`);
    return version;
  },
  recipes: [
    downloadRecipe(release(), 'ipfs'),
    goRecipe({
      program: 'github.com/ipfs/kubo/cmd/ipfs',
      version: `v${VERSION}`,
      file: 'ipfs',
      packages: 1_000,
    }),
  ],
  remedy: 'install Kubo 0.42 (https://docs.ipfs.tech/install), or Go 1.21 or later to build it',
};

function release(): Download | undefined {
  const platform = goPlatform('-');
  const checksum = CHECKSUMS[platform];
  if (checksum === undefined) return undefined;
  const url = `${RELEASES}/kubo_v${VERSION}_${platform}.tar.gz`;
  return { url, digest: `sha512:${checksum}`, member: 'kubo/ipfs' };
}
