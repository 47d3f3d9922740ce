/** Foundry's programs, whose npm packages carry the real binaries, one package a platform. */
import { run } from '../run.js';
import { findInPackage } from './path.js';
import { goPlatform } from './platform.js';
import type { Artefact } from './types.js';

/** Anvil, the local chain. */
export const anvil = foundryProgram('anvil', 'CORTENSOR_ANVIL');

/** Forge, which compiles and tests contracts; a development dependency. */
export const forge = foundryProgram('forge', 'CORTENSOR_FORGE');

function foundryProgram(name: 'anvil' | 'forge', variable: string): Artefact {
  return {
    name,
    version: '1.7.1',
    file: name,
    variable,
    command: name,
    installed: () =>
      findInPackage(`@foundry-rs/${name}-${goPlatform('-')}`, `bin/${name}`, `@foundry-rs/${name}`),
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
}
