/** `/api/v1/auth`: sign-in with a wallet. */
import { z } from 'zod';
import type { AppDeps, RouterApp } from '../app.js';
import { readJson } from '../body.js';
import { limitsOf, signature } from './signed.js';

/** Far above any message that a wallet shows. */
const MAX_MESSAGE_CHARS = 4_096;

export const signInSchema = z.object({
  message: z.string().min(1).max(MAX_MESSAGE_CHARS),
  signature,
});

export function addAuthRoutes(app: RouterApp, deps: AppDeps): void {
  const { guard, network, limits } = deps;

  /** Without any configured, a router is known by where it listens. */
  const domains = (port: number | undefined): readonly string[] =>
    limits.signIn.domains.length > 0 ? limits.signIn.domains : [`${limits.host}:${port}`];

  app.get('/api/v1/auth/nonce', (c) => {
    c.header('cache-control', 'no-store');
    const port = c.env?.incoming?.socket.localPort;
    const { chainId } = network;
    return c.json({ ...guard.signIn.nonce(), chainId, domains: domains(port) });
  });

  app.post('/api/v1/auth/sign-in', async (c) => {
    const body = await readJson(c.req.raw, signInSchema, limitsOf(deps));
    c.header('cache-control', 'no-store');
    const port = c.env?.incoming?.socket.localPort;
    return c.json(await guard.signIn.signIn(body.message, body.signature, domains(port)));
  });
}
