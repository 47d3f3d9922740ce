/** What can be obtained, where it may come from, and how the search is reported. */

/** A way to come by an artefact, in the order in which they are tried. */
export type Step =
  | 'configured'
  | 'npm'
  | 'path'
  | 'cache'
  | 'download'
  | 'build'
  | 'wheel'
  | 'maven';

/** What one step of the search came to, as a fragment for a person to read. */
export interface Attempt {
  readonly step: Step;
  readonly outcome: string;
}

/** How the search for one artefact went. */
export type ObtainReport = FoundReport | MissingReport;

export interface FoundReport {
  readonly name: string;
  readonly found: true;
  readonly source: Step;
  /** Absolute path of the program, or of the artefact's first file. */
  readonly path: string;
  readonly version: string;
  readonly tried: readonly Attempt[];
}

export interface MissingReport {
  readonly name: string;
  readonly found: false;
  readonly tried: readonly Attempt[];
  /** What a person can do about it. */
  readonly remedy: string;
}

/** Something that goes on while an artefact is obtained; at least every two seconds in a long step. */
export interface ObtainProgress {
  readonly artefact: string;
  readonly step: Step;
  readonly message: string;
  /** From 0 to 1, where it is known. */
  readonly fraction?: number;
}

/** What a recipe may use while it works. */
export interface Kitchen {
  /** Says how it goes; the artefact and step are known. */
  readonly report: (message: string, fraction?: number) => void;
  readonly options: ObtainOptions;
}

/** One way to make a cache entry. */
export interface Recipe {
  readonly step: Exclude<Step, 'configured' | 'npm' | 'path' | 'cache'>;
  /**
   * Fills `folder`, which is empty, with all files of the artefact.
   * @throws DOWNLOAD_CORRUPT — the bytes are not the pinned ones.
   * @throws Error — any other reason why this way does not work here, as a fragment to read.
   */
  make(folder: string, kitchen: Kitchen): Promise<void>;
}

/** Something the engine needs on disk to run its servers. */
export interface Artefact {
  readonly name: string;
  /** Pinned version; names the cache entry. */
  readonly version: string;
  /** Path of the file to use, inside the cache entry. */
  readonly file: string;
  /** Environment variable whose value is a configured path. */
  readonly variable: string;
  /** Name on PATH. Without it, PATH is not searched. */
  readonly command?: string;
  /**
   * Checks that the file works on this machine.
   * @returns the version it says it has.
   * @throws Error — it does not work or is too old, as a fragment to read.
   */
  check(path: string): Promise<string>;
  /** Finds the file in the engine's own npm packages. @throws Error — the package is not installed. */
  installed?(): string;
  readonly recipes: readonly Recipe[];
  readonly remedy: string;
}

export interface ObtainOptions {
  /** Path from the configuration; wins over the artefact's environment variable. */
  readonly configured?: string;
  /** @default `cacheRoot()` */
  readonly cache?: string;
  /** Looks only, and neither downloads nor builds. @default false */
  readonly dryRun?: boolean;
  onProgress?(progress: ObtainProgress): void;
}
