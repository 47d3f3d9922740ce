/** Finding programs: on PATH, and inside installed npm packages. */
import { accessSync, constants, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';

/**
 * Finds a program on PATH without running it.
 * @throws Error — no folder of PATH holds an executable file of that name.
 */
export function findOnPath(command: string, path = process.env['PATH'] ?? ''): string {
  const found = path
    .split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, command))
    .find(isExecutable);
  if (found === undefined) throw new Error(`no ${command} on PATH`);
  return found;
}

/** True for a file that this user may execute. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false; // ENOENT, EACCES, ENOTDIR: no program here.
  }
}

/**
 * Finds a file of an installed npm package, whatever the package exports.
 * @param via - a package that depends on `name`, for installers that do not hoist.
 * @throws Error — the package is not installed.
 */
export function findInPackage(name: string, file: string, via?: string): string {
  const require = createRequire(import.meta.url);
  const roots = [require, ...(via === undefined ? [] : [createRequireIn(require, via)])];
  for (const root of roots) {
    const folder = root?.resolve
      .paths(name)
      ?.map((modules) => join(modules, name))
      .find((candidate) => statSync(candidate, { throwIfNoEntry: false })?.isDirectory());
    if (folder !== undefined) return join(folder, file);
  }
  throw new Error(`the npm package ${name} is not installed`);
}

function createRequireIn(require: NodeJS.Require, name: string): NodeJS.Require | undefined {
  try {
    return createRequire(dirname(require.resolve(`${name}/package.json`)) + '/');
  } catch {
    return undefined; // Not installed, or it hides its package.json: the first root decides.
  }
}
