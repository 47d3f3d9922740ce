/**
 * The search for one artefact: configured path, npm package, PATH, cache, then the recipes that fill
 * the cache. The first that works is used, and every step says how it went.
 */
import { resolve } from 'node:path';
import { EngineError } from '../../domain/errors.js';
import { cacheEntry, cacheRoot, fillCache } from './cache.js';
import { findOnPath } from './path.js';
import type {
  Artefact,
  Attempt,
  FoundReport,
  ObtainOptions,
  ObtainReport,
  Recipe,
  Step,
} from './types.js';

interface Search {
  readonly step: Step;
  /** @returns the path of the file. @throws Error — this step does not lead to it. */
  find(): string | Promise<string>;
}

/**
 * Obtains an artefact, downloading or building it where it must.
 * @throws SERVER_NOT_FOUND — no step worked; the details hold what was tried and a remedy.
 */
export async function obtain(
  artefact: Artefact,
  options: ObtainOptions = {},
): Promise<FoundReport> {
  const report = await locate(artefact, options);
  if (report.found) return report;
  const tried = report.tried.map(({ step, outcome }) => `${step}: ${outcome}`).join('; ');
  throw new EngineError('SERVER_NOT_FOUND', {
    artefact: artefact.name,
    tried,
    remedy: report.remedy,
  });
}

/**
 * Searches for an artefact and reports how it went, whatever it finds. With `dryRun` nothing is
 * fetched or built, and the steps that would do so say that.
 */
export async function locate(
  artefact: Artefact,
  options: ObtainOptions = {},
): Promise<ObtainReport> {
  const { name } = artefact;
  const tried: Attempt[] = [];
  for (const { step, find } of searches(artefact, options)) {
    try {
      const path = await find();
      const version = await artefact.check(path);
      tried.push({ step, outcome: path });
      return { name, found: true, source: step, path, version, tried };
    } catch (error) {
      tried.push({ step, outcome: error instanceof Error ? error.message : String(error) });
    }
  }
  return { name, found: false, tried, remedy: artefact.remedy };
}

function searches(artefact: Artefact, options: ObtainOptions): Search[] {
  const { command, installed, recipes, variable } = artefact;
  const configured = options.configured ?? process.env[variable];
  const cache = options.cache ?? cacheRoot();
  return [
    ...(configured === undefined
      ? []
      : [{ step: 'configured' as const, find: () => resolve(configured) }]),
    // The package is pinned and was installed with the engine: no copy on PATH is a better fit.
    ...(installed === undefined ? [] : [{ step: 'npm' as const, find: installed }]),
    ...(command === undefined ? [] : [{ step: 'path' as const, find: () => findOnPath(command) }]),
    ...(recipes.length === 0
      ? []
      : [{ step: 'cache' as const, find: () => cacheEntry(cache, artefact) }]),
    ...recipes.map((recipe) => ({
      step: recipe.step,
      find: () => follow(recipe, artefact, cache, options),
    })),
  ];
}

async function follow(
  recipe: Recipe,
  artefact: Artefact,
  cache: string,
  options: ObtainOptions,
): Promise<string> {
  if (options.dryRun === true) throw new Error('would be tried next');
  const report = (message: string, fraction?: number): void =>
    options.onProgress?.({
      artefact: artefact.name,
      step: recipe.step,
      message,
      ...(fraction === undefined ? {} : { fraction }),
    });
  try {
    return await fillCache(cache, artefact, recipe, { report, options });
  } catch (error) {
    report((error as Error).message); // The next step may take minutes: say now why it is needed.
    throw error;
  }
}
