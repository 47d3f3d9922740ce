/** `cortensor policy`: what an owner is about to sign. */
import { canonicalJson, encodeJson } from '../../adapters/ipfs/canonical.js';
import { cidOf, digestOf } from '../../adapters/ipfs/cid.js';
import { defineCommand } from '../command.js';
import { openStore, STORE_OPTIONS } from '../content.js';
import { Display } from '../display.js';
import { readPolicyFile } from '../policy-file.js';

export const policy = defineCommand({
  name: 'policy',
  about: `Checks a session's policy, YAML or JSON, fills in what it leaves out, and prints it as the canonical
JSON that is signed, with its hash, which is on chain, and its CID, under which all of it is on IPFS.`,
  args: ['FILE'],
  options: { pin: { about: 'write it to IPFS and pin it' }, ...STORE_OPTIONS },
  failure: 'IPFS could not be reached',
  async run({ args: [file], values }) {
    const checked = await readPolicyFile(file);
    const cid = cidOf(encodeJson(checked));
    if (values.pin) {
      const store = openStore(values);
      await new Display().step('pin the policy', () => store.put(encodeJson(checked)));
    }
    const policyHash = digestOf(cid);
    return {
      lines: [canonicalJson(checked), `hash ${policyHash}`, `CID  ${cid}`],
      json: { policy: checked, policyHash, cid, pinned: values.pin },
    };
  },
});
