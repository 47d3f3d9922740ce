/** A router as its clients' commands reach it, and sessions there by number or by saved file. */
import { EngineError } from '../domain/errors.js';
import type { SessionId } from '../domain/ids.js';
import { readSecret } from '../adapters/seal/secret.js';
import type { RecipientReader } from '../sdk/client.js';
import { CortensorClient } from '../sdk/index.js';
import { RouterHttp, type RouterOptions } from '../sdk/http.js';
import { readView, SessionHandle } from '../sdk/session.js';
import { loadSettings } from './config.js';
import { openIdentity, parseSecretRef } from './keys.js';
import { readSavedSession } from './saved-session.js';
import { CONFIG_OPTION, parseSession, parseUrl } from './service-layer.js';

const DEFAULT_KEY = 'env:CORTENSOR_API_KEY';

export const ROUTER_OPTIONS = {
  ...CONFIG_OPTION,
  router: { value: 'URL', about: "the router; default: the configuration's" },
  'api-key': {
    value: 'REF',
    about: `the API key there, as file:PATH or env:NAME; default: ${DEFAULT_KEY}`,
  },
} as const;

/** How SESSION is written, for the help of commands that read or write sealed content. */
export const SAVED_ABOUT = `SESSION is its number, or at sealed levels the file that \`session open --save\` wrote.`;

interface RouterValues {
  readonly config: string | undefined;
  readonly router: string | undefined;
  readonly 'api-key': string | undefined;
}

/** Finds out which router is meant, and reads the key for it.
 * @throws USAGE — no router is named. @throws SECRET_MISSING — there is no API key.
 * @throws CONFIG_INVALID — as `loadSettings`. */
export async function routerOptions(values: RouterValues): Promise<RouterOptions> {
  const baseUrl = routerUrl(values);
  const ref = parseSecretRef(values['api-key'] ?? DEFAULT_KEY, 'api-key');
  return { baseUrl, apiKey: await readSecret(ref) };
}

function routerUrl({ router, config }: RouterValues): string {
  if (router !== undefined) return parseUrl(router, 'router');
  if (config === undefined) {
    throw new EngineError('USAGE', { expected: '--router URL, or --config FILE' });
  }
  const { host, port } = loadSettings({ file: config, env: process.env, secrets: [] }).router;
  return `http://${host === '0.0.0.0' ? '127.0.0.1' : host}:${port}`;
}

/** A client with the user's age identity, where one is given.
 * @param registry - holds the router to what the chain says of miners and oracles. */
export async function openClient(
  values: RouterValues & { readonly identity: string | undefined },
  registry: RecipientReader | null = null,
): Promise<CortensorClient> {
  const { identity } = values;
  const pair = identity === undefined ? undefined : await openIdentity(identity);
  return new CortensorClient({
    ...(await routerOptions(values)),
    ...(pair && { identity: pair.identity }),
    ...(registry && { registry }),
  });
}

/** A session to ask and to read: with its keys where the client seals.
 * @param text - its number, or the path of a saved session.
 * @throws SEAL_NOT_RECIPIENT — it is sealed, and only its number is given, or no identity. */
export async function openAsReader(client: CortensorClient, text: string): Promise<SessionHandle> {
  if (isNumber(text)) return await client.session(parseSession(text));
  return await client.importSession((await readSavedSession(text)).session);
}

/** A session to manage, for which no key of its content is needed.
 * @throws SESSION_NOT_FOUND, ROUTER_UNREACHABLE, API_KEY_INVALID */
export async function openAsManager(values: RouterValues, text: string): Promise<SessionHandle> {
  const http = new RouterHttp(await routerOptions(values));
  const view = await readView(http, await sessionOf(text));
  return new SessionHandle({ http, view, keyring: null, recipient: null });
}

/** The number of the session that is meant. @throws as `readSavedSession`; USAGE */
export async function sessionOf(text: string): Promise<SessionId> {
  if (isNumber(text)) return parseSession(text);
  return (await readSavedSession(text)).session.sessionId;
}

function isNumber(text: string): boolean {
  return /^\d+$/.test(text);
}
