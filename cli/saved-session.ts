/** A session in a file of its owner: what is needed to open it again after a crash, and to read it in
 * another process. Its keys are sealed to the owner's age identity. */
import { z } from 'zod';
import { createPrivateFile, readPrivateFile } from '../adapters/seal/private-file.js';
import { EngineError } from '../domain/errors.js';
import type { Hex } from '../domain/ids.js';
import type { ExportedSession } from '../sdk/index.js';

/** Written before the session is opened. */
export interface SavedSession {
  readonly version: 1;
  /** The same reference is the same session. */
  readonly clientReference: Hex;
  readonly session: ExportedSession;
}

const schema = z.strictObject({
  version: z.literal(1),
  clientReference: z.templateLiteral(['0x', z.string().regex(/^[0-9a-f]{64}$/)]),
  session: z.strictObject({
    version: z.literal(1),
    sessionId: z.string().regex(/^[1-9]\d{0,18}$/),
    keyring: z.string().nullable(),
  }),
});

/** Reads a saved session.
 * @throws SECRET_MISSING — no such file. @throws KEY_FILE_UNSAFE — others may read it.
 * @throws USAGE — it holds no saved session. */
export async function readSavedSession(path: string): Promise<SavedSession> {
  const text = new TextDecoder().decode(await readPrivateFile(path));
  const parsed = schema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new EngineError('USAGE', {
    path,
    expected: 'the number of a session, or a file of `session open --save`',
  });
}

/** Writes a session to a new file, mode 0600.
 * @throws KEY_FILE_UNSAFE — the file is there already, or the file system refuses. */
export async function writeSavedSession(path: string, saved: SavedSession): Promise<void> {
  const isNew = await createPrivateFile(path, Buffer.from(`${JSON.stringify(saved)}\n`));
  if (!isNew) throw new EngineError('KEY_FILE_UNSAFE', { path, reason: 'it is there already' });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Whatever else it is, the schema refuses it.
    return null;
  }
}
