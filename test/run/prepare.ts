/** Brings the real servers onto this machine, so that no test waits for a download or a build. */
import {
  anvil,
  chatModel,
  embeddingModel,
  kubo,
  obtain,
  postgres,
  temporal,
  temporalTestServer,
  type Artefact,
} from '../../servers/obtain/index.js';

const ARTEFACTS: readonly Artefact[] = [
  temporal,
  kubo,
  postgres,
  anvil,
  chatModel,
  embeddingModel,
  temporalTestServer,
];

/**
 * Obtains every server and model that tests use, one after another: a build takes all cores.
 * @param say - gets a line for what takes time, and for what could not be obtained; the tests that
 * need it fail by themselves, and say so.
 */
export async function prepare(say: (line: string) => void): Promise<void> {
  for (const artefact of ARTEFACTS) {
    let last = '';
    const onProgress = ({ message }: { message: string }): void => {
      if (message !== last) say(`${artefact.name}: ${message}`);
      last = message;
    };
    try {
      await obtain(artefact, { onProgress });
    } catch (error) {
      say(error instanceof Error ? error.message : String(error));
    }
  }
}
