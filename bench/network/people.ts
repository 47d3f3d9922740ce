/** Who takes part in the whole network: parties of the development network, scripted miners, users. */
import { join } from 'node:path';
import { Wallet } from 'ethers';
import { readKeyFile } from '../../adapters/seal/identity-file.js';
import { openParties, openParty, type Parties, type Party } from '../../cli/up/parties.js';
import type { Address } from '../../domain/ids.js';
import type { MinerBehaviour, MinersProcessInput } from './miner-process.js';

/** Someone whose key the measuring process holds. */
export interface Account {
  readonly address: Address;
  readonly wallet: Wallet;
}

/** A scripted miner. */
export type MinerAccount = Account & { readonly behaviour: MinerBehaviour };

export interface People {
  readonly parties: Parties;
  readonly users: readonly Account[];
  readonly miners: readonly MinerAccount[];
  readonly minerParties: readonly Party[];
  readonly minerProcesses: readonly MinersProcessInput['miners'][];
}

/** Makes everybody's keys, or reads them.
 * @param options.data - folder of the network.
 * @throws KEY_FILE_UNSAFE */
export async function openPeople(options: {
  readonly data: string;
  readonly miners: readonly (readonly MinerBehaviour[])[];
  readonly users: number;
}): Promise<People> {
  const keys = join(options.data, 'keys');
  const base = await openParties(options.data);
  let number = 0;
  const groups = await Promise.all(
    options.miners.map((behaviours) =>
      Promise.all(
        behaviours.map(async (behaviour) => {
          const party = await openParty(keys, `scripted-${++number}`);
          return { ...party, behaviour, isHonest: behaviour === 'honest' };
        }),
      ),
    ),
  );
  const minerParties = groups.flat();
  const users = await Promise.all(
    Array.from({ length: options.users }, async (_, i) =>
      i === 0 ? base.user : await openParty(keys, `user-${i + 1}`),
    ),
  );
  const account = async ({ address, keyFile }: Party): Promise<Account> => {
    return { address, wallet: new Wallet(await readKeyFile(keyFile)) };
  };
  return {
    parties: { ...base, miners: minerParties },
    users: await Promise.all(users.map(account)),
    miners: await Promise.all(
      minerParties.map(async (party) => ({
        ...(await account(party)),
        behaviour: party.behaviour,
      })),
    ),
    minerParties,
    minerProcesses: groups,
  };
}
