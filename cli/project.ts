/** Where the project's own files are, from wherever the command is called. */
import { join } from 'node:path';

/** The package's folder: `dist/cli` is two levels below it. */
export const PROJECT_FOLDER = join(import.meta.dirname, '..', '..');
/** The configuration that `up` and `doctor` read when none is named. */
export const PROJECT_CONFIG = join(PROJECT_FOLDER, 'temporal.yaml');
/** The questions that ship with the project. */
export const PROJECT_PROMPTS = join(PROJECT_FOLDER, 'cli', 'job', 'prompts.txt');
/** The command itself, for the processes that `up` starts. */
export const PROJECT_COMMAND = join(PROJECT_FOLDER, 'dist', 'cli', 'main.js');
