/**
 * Bundles the workflows once per build, so that workers start without webpack. Run by
 * `npm run build`; does nothing while the bundle is newer than what it is made of.
 */
import { mkdir, readdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { FAILURE_CONVERTER_PATH } from '../adapters/temporal/connect.js';

const DIST = join(import.meta.dirname, '..');
/** Where workers find the bundle. */
export const WORKFLOW_BUNDLE = join(DIST, 'workflow-bundle', 'workflows.js');

/** @returns true when the bundle was built, false when it was fresh. */
export async function buildWorkflowBundle(): Promise<boolean> {
  const sources = [
    ...(await modulesOf(join(DIST, 'workflows'))),
    ...(await modulesOf(join(DIST, 'domain'))),
    import.meta.filename,
  ];
  const newest = Math.max(...(await Promise.all(sources.map(modifiedAt))));
  if ((await modifiedAt(WORKFLOW_BUNDLE)) > newest) return false;
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(DIST, 'workflows', 'index.js'),
    failureConverterPath: FAILURE_CONVERTER_PATH,
    logger: new DefaultLogger('WARN'),
  });
  await mkdir(join(WORKFLOW_BUNDLE, '..'), { recursive: true });
  const temporary = `${WORKFLOW_BUNDLE}.${process.pid}`;
  await writeFile(temporary, code);
  await rename(temporary, WORKFLOW_BUNDLE);
  return true;
}

async function modulesOf(folder: string): Promise<string[]> {
  const names = await readdir(folder);
  return names.filter((name) => name.endsWith('.js')).map((name) => join(folder, name));
}

async function modifiedAt(path: string): Promise<number> {
  try {
    return (await stat(path)).mtimeMs;
  } catch {
    return 0; // ENOENT: not built yet.
  }
}

if (process.argv[1] === import.meta.filename) await buildWorkflowBundle();
