/** A session's policy as its owner writes it down: YAML or JSON in a file. */
import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { EngineError } from '../domain/errors.js';
import { parsePolicy, type SessionPolicy } from '../domain/session.js';

/** Larger than any policy. */
const MAX_BYTES = 64 * 1024;

/** Reads a policy; what it leaves out is filled in.
 * @throws POLICY_INVALID — the file cannot be read, is no YAML, or holds no policy. */
export async function readPolicyFile(path: string): Promise<SessionPolicy> {
  return parsePolicy(parseYaml(path, await readText(path)));
}

/** Reads the fields of a policy that are to change; their values are checked with the others.
 * @throws POLICY_INVALID — the file cannot be read, is no YAML, or holds nothing that can change. */
export async function readPolicyFields(path: string): Promise<Partial<SessionPolicy>> {
  const fields = parseYaml(path, await readText(path));
  if (typeof fields !== 'object' || fields === null || Object.keys(fields).length === 0) {
    throw new EngineError('POLICY_INVALID', { path, expected: 'fields of a policy' });
  }
  return fields as Partial<SessionPolicy>;
}

async function readText(path: string): Promise<string> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > MAX_BYTES) {
      throw new EngineError('POLICY_INVALID', { path, expected: `at most ${MAX_BYTES} bytes` });
    }
    return bytes.toString('utf8');
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    const reason = (cause as NodeJS.ErrnoException).code ?? 'unknown';
    throw new EngineError('POLICY_INVALID', { path, reason }, { cause });
  }
}

function parseYaml(path: string, text: string): unknown {
  try {
    return parse(text);
  } catch (cause) {
    throw new EngineError('POLICY_INVALID', { path, expected: 'YAML or JSON' }, { cause });
  }
}
