/** `onboardUser`: the user's signed application → registration on chain, with its age recipient and
 * the sealing level it prefers. */
import type { RetryPolicies } from '../domain/config.js';
import type { Hex } from '../domain/ids.js';
import type { UserApplication } from '../domain/onboarding.js';
import { chainActivities } from './activities.js';

export interface OnboardUserInput {
  readonly application: UserApplication;
  readonly retries: RetryPolicies;
}

export async function onboardUser(
  input: OnboardUserInput,
): Promise<{ readonly registrationTx: Hex | null }> {
  const chain = chainActivities(input.retries);
  return { registrationTx: await chain.registerUser(input.application) };
}
