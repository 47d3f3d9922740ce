/** `cortensor session policy`: another policy for an open session. */
import { defineCommand } from '../../command.js';
import { Display } from '../../display.js';
import { KEY_OPTION, openSigner } from '../../keys.js';
import { readPolicyFields } from '../../policy-file.js';
import { openAsManager, ROUTER_OPTIONS } from '../../router-access.js';
import { viewLines } from '../../session-view.js';
import { FIXED_POLICY_FIELDS } from '../../../domain/session.js';

export const sessionPolicy = defineCommand({
  name: 'session policy',
  about: `Changes the policy of an open session: FILE, YAML or JSON, has the fields that change. The owner signs;
the change counts once the tasks under way have ended, and requests until then are turned away. What
cannot change: ${FIXED_POLICY_FIELDS.join(', ')}.`,
  args: ['SESSION', 'FILE'],
  options: { ...KEY_OPTION, ...ROUTER_OPTIONS },
  failure: 'the contract refused, or the router could not be reached',
  async run({ args: [text, file], values }) {
    const policy = await readPolicyFields(file);
    const signer = await openSigner(values.key);
    const handle = await openAsManager(values, text);
    const view = await new Display().step('change the policy', () =>
      handle.changePolicy({ signer, policy }),
    );
    return { lines: viewLines(view), json: { view } };
  },
});
