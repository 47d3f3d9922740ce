/** Anvil, the local chain. Its npm package carries the real binary, one package a platform. */
import { run } from '../run.js';
import { findInPackage } from './path.js';
import { goPlatform } from './platform.js';
import type { Artefact } from './types.js';

export const anvil: Artefact = {
  name: 'anvil',
  version: '1.7.1',
  file: 'anvil',
  variable: 'CORTENSOR_ANVIL',
  command: 'anvil',
  installed: () =>
    findInPackage(`@foundry-rs/anvil-${goPlatform('-')}`, 'bin/anvil', '@foundry-rs/anvil'),
  check: async (path) => {
    const out = await run(path, ['--version'], { timeoutMs: 20_000 });
    const [, version] = /^\w+ [Vv]ersion: (\S+)/.exec(out) ?? [];
    if (version === undefined) throw new Error(`${path} does not say its version`);
    if (!/^[1-9]/.test(version)) throw new Error(`${path} is ${version}, needed is 1.0 or later`);
    return version;
  },
  recipes: [],
  remedy:
    'run npm install without --omit=optional, or install Foundry (https://getfoundry.sh) on PATH',
};
