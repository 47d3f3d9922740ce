/** `cortensor session open`: policy, deposit, keys. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { EngineError } from '../../../domain/errors.js';
import type { Address, Hex } from '../../../domain/ids.js';
import { isClientSealed } from '../../../domain/sealing.js';
import { parsePolicy, type SessionPolicy } from '../../../domain/session.js';
import type { CortensorClient } from '../../../sdk/index.js';
import { defineCommand } from '../../command.js';
import { Display } from '../../display.js';
import { IDENTITY_OPTION, KEY_OPTION, openSigner } from '../../keys.js';
import { readPolicyFile } from '../../policy-file.js';
import { openRegistry } from '../../registry.js';
import { openClient, ROUTER_OPTIONS } from '../../router-access.js';
import { readSavedSession, writeSavedSession, type SavedSession } from '../../saved-session.js';
import { viewLines } from '../../session-view.js';
import { parseAmount } from '../../transfer.js';

export const sessionOpen = defineCommand({
  name: 'session open',
  about: `Opens a session: its owner signs the opening and a permit for the deposit, and needs no gas. With --save
the session's reference and keys are in the file before anything is sent, so that the same command,
repeated after a crash, goes on with the same session; at sealed levels there is no other way to read
the answers later. There a configuration with the onboarding layer holds the router to the chain: keys
are wrapped for nobody who is not registered.`,
  args: [],
  options: {
    policy: { value: 'FILE', about: 'its policy, YAML or JSON', isRequired: true },
    host: { value: 'NAME', about: 'its host: your own store, of those that the deployment has' },
    deposit: { value: 'TOKENS', about: 'to pay for tasks; the rest comes back', isRequired: true },
    ...KEY_OPTION,
    identity: { value: 'REF', about: `${IDENTITY_OPTION.identity.about}: at sealed levels` },
    save: { value: 'FILE', about: 'where the session is kept, for its owner alone' },
    ...ROUTER_OPTIONS,
  },
  failure: 'the session did not open, or the router could not be reached',
  async run({ values }) {
    const written = await readPolicyFile(values.policy);
    const { host } = values;
    const policy = host === undefined ? written : parsePolicy({ ...written, host });
    const depositWei = parseAmount(values.deposit);
    const hasBoth = values.save !== undefined && values.identity !== undefined;
    if (isClientSealed(policy.level) && !hasBoth) {
      throw new EngineError('USAGE', {
        expected: `--save and --identity at level ${policy.level}`,
      });
    }
    const signer = await openSigner(values.key);
    const display = new Display();
    const registry = isClientSealed(policy.level) ? openRegistry(values.config) : null;
    if (isClientSealed(policy.level) && registry === null) {
      display.line(
        'The router is believed about who may read; --config with the onboarding layer checks it.',
      );
    }
    try {
      const client = await openClient(values, registry);
      const saved = await save(client, values.save, signer.address as Address, policy);
      const { clientReference, session: prepared } = saved;
      const handle = await display.step('open the session', () =>
        client.openSession({ signer, policy, depositWei, clientReference, prepared }),
      );
      const view = await handle.view();
      return { lines: viewLines(view), json: { sessionId: handle.id, clientReference, view } };
    } finally {
      registry?.close();
    }
  },
});

/** Reads the session of an earlier attempt, or makes one and writes it down. */
async function save(
  client: CortensorClient,
  path: string | undefined,
  owner: Address,
  policy: SessionPolicy,
): Promise<SavedSession> {
  if (path !== undefined && existsSync(path)) return await readSavedSession(path);
  const clientReference: Hex = `0x${randomBytes(32).toString('hex')}`;
  const session = await client.prepareSession({ owner, policy, clientReference });
  const saved: SavedSession = { version: 1, clientReference, session };
  if (path !== undefined) await writeSavedSession(path, saved);
  return saved;
}
