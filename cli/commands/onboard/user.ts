/** `cortensor onboard user`: a user's recipient and sealing level, on chain. */
import { EngineError } from '../../../domain/errors.js';
import type { Address } from '../../../domain/ids.js';
import { SEALING_LEVELS } from '../../../domain/sealing.js';
import { defineCommand } from '../../command.js';
import { Display } from '../../display.js';
import { IDENTITY_OPTION, KEY_OPTION, openIdentity, openSigner } from '../../keys.js';
import { onboardUser } from '../../onboarding.js';
import { OPERATOR_OPTIONS, withEngine } from '../../operator.js';

export const onboardUserCommand = defineCommand({
  name: 'onboard user',
  about: `Signs the user's application, starts its registration and waits for the end. The engine pays for the
gas. A user who is registered already is only looked at.`,
  args: [],
  options: {
    ...OPERATOR_OPTIONS,
    ...KEY_OPTION,
    ...IDENTITY_OPTION,
    level: { value: 'LEVEL', about: `${SEALING_LEVELS.join(' | ')}; default: link` },
  },
  failure: 'it was not registered, or a server could not be reached',
  async run({ values }) {
    const wallet = await openSigner(values.key);
    const { recipient } = await openIdentity(values.identity);
    const level = SEALING_LEVELS.find((name) => name === (values.level ?? 'link'));
    if (level === undefined) {
      throw new EngineError('USAGE', { option: '--level', expected: SEALING_LEVELS.join(' | ') });
    }
    return await withEngine(values.config, async (engine) => {
      const user = wallet.address as Address;
      await new Display().step(`onboard user ${user}`, () =>
        onboardUser(engine, { wallet, recipient, level }),
      );
      const known = await engine.chains.onboarding.readUser(user);
      return {
        lines: [`${user} is registered at level ${known?.level}, for ${known?.recipient}.`],
        json: { user, level: known?.level ?? null, recipient: known?.recipient ?? null },
      };
    });
  },
});
