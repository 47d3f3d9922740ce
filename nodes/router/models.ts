/** What the network's models are for, checked before a session is asked. */
import type { NetworkInfo } from '../../domain/api.js';
import type { ModelKind } from '../../domain/config.js';
import { EngineError } from '../../domain/errors.js';

/** @throws MODEL_UNKNOWN — the network does not serve it.
 * @throws MODEL_UNFIT — it does, for something else. */
export function requireModel(
  { models }: Pick<NetworkInfo, 'models'>,
  model: string,
  kind: ModelKind,
): void {
  const served = models.find(({ name }) => name === model);
  if (served === undefined) throw new EngineError('MODEL_UNKNOWN', { model });
  if (served.kind !== kind) throw new EngineError('MODEL_UNFIT', { model, kind: served.kind });
}
