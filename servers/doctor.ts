/** What the engine would find on this machine, without changing it: the facts behind `cortensor doctor`. */
import {
  anvil,
  chatModel,
  embeddingModel,
  kubo,
  locate,
  postgres,
  temporal,
  type Artefact,
  type ObtainReport,
} from './obtain/index.js';

/** Everything that `cortensor up` needs, in the order in which it is reported. */
const NEEDED: readonly Artefact[] = [temporal, kubo, postgres, anvil, chatModel, embeddingModel];

/**
 * Looks for everything that the engine needs, and neither downloads nor builds. A missing artefact
 * whose last steps say `would be tried next` is obtained by the next start.
 * @param configured - paths from the configuration, by artefact name.
 */
export function examine(
  configured: Readonly<Record<string, string>> = {},
  cache?: string,
): Promise<ObtainReport[]> {
  return Promise.all(
    NEEDED.map((artefact) => {
      const path = configured[artefact.name];
      return locate(artefact, {
        dryRun: true,
        ...(path === undefined ? {} : { configured: path }),
        ...(cache === undefined ? {} : { cache }),
      });
    }),
  );
}
