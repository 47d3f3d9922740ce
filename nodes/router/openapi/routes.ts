/** `/openapi.json`, and `/docs`: a page that shows it, with nothing from another server. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { EngineError } from '../../../domain/errors.js';
import type { AppDeps, RouterApp } from '../app.js';
import { openApiDocument } from './document.js';
import { operationsOf } from './operations.js';

const require = createRequire(import.meta.url);
const ASSETS = dirname(require.resolve('swagger-ui-dist/package.json'));

const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <title>Cortensor router</title>
    <link rel="stylesheet" href="/docs/swagger-ui.css" />
  </head>
  <body>
    <div id="page"></div>
    <script src="/docs/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`;
const START = `SwaggerUIBundle({ url: '/openapi.json', dom_id: '#page', validatorUrl: null });\n`;

/** Files of the page, by name: nothing else is read. */
const FILES: Readonly<
  Record<string, { readonly type: string; readonly load: () => Promise<string> }>
> = {
  'swagger-ui.css': { type: 'text/css', load: () => asset('swagger-ui.css') },
  'swagger-ui-bundle.js': { type: 'text/javascript', load: () => asset('swagger-ui-bundle.js') },
  'start.js': { type: 'text/javascript', load: async () => START },
};

/** The page may load from here, and style itself; nobody may frame it. */
const CONTENT_SECURITY =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

export function addDocumentRoutes(app: RouterApp, deps: AppDeps): void {
  const document = openApiDocument(operationsOf(deps.limits), deps.network.version);

  app.get('/openapi.json', (c) => c.json(document));

  app.get('/docs', (c) => c.html(PAGE, 200, { 'content-security-policy': CONTENT_SECURITY }));

  app.get('/docs/:file', async (c) => {
    const name = c.req.param('file');
    const file = Object.hasOwn(FILES, name) ? FILES[name] : undefined;
    if (file === undefined)
      throw new EngineError('REQUEST_INVALID', { expected: 'a file of the page' });
    return c.body(await file.load(), 200, {
      'content-type': `${file.type}; charset=utf-8`,
      'cache-control': 'public, max-age=3600',
    });
  });
}

function asset(name: string): Promise<string> {
  return readFile(join(ASSETS, name), 'utf8');
}
