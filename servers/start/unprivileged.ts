/**
 * PostgreSQL refuses to run as root. When we are root, as in most containers, it runs as a system user
 * that exists already; none is created.
 */
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { EngineError } from '../../domain/errors.js';
import { findOnPath } from '../obtain/path.js';

/** How to run a program that refuses root. */
export interface Unprivileged {
  /** Who owns what the program writes; `undefined` when we are not root, and own it ourselves. */
  readonly owner?: User;
  /** What to start in place of the program, and as whom. */
  launch(program: string, args: readonly string[]): Launch;
}

export interface User {
  readonly uid: number;
  readonly gid: number;
}

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly user?: User;
}

/**
 * Decides how to run a program that refuses root.
 * @param folders - what the program must reach: its binaries and its data.
 * @param own - the program's own folder; where it exists, its owner is the user to be.
 * @throws SERVER_FAILED — we are root, and no unprivileged user can reach the folders.
 */
export function unprivileged(folders: readonly string[], own: string): Unprivileged {
  if (process.getuid?.() !== 0) return { launch: (command, args) => ({ command, args }) };
  const owner = ownerOf(own) ?? systemUser();
  const closed = folders.find((folder) => !isReachable(folder, owner));
  if (closed !== undefined) return { owner, launch: throughClosedFolders(closed, owner) };
  return { owner, launch: (command, args) => ({ command, args, user: owner }) };
}

/**
 * Below a home with mode 0700 a plain user gets nowhere, and opening the home is not ours to do. Linux
 * can let one program pass: `setpriv` changes the user and keeps the capability to override file modes
 * (of root's many, the one that containers have as well).
 */
function throughClosedFolders(closed: string, { uid, gid }: User): Unprivileged['launch'] {
  let setpriv: string;
  try {
    setpriv = findOnPath('setpriv');
  } catch (cause) {
    const details = {
      server: 'postgres',
      reason: `as root it runs as user ${uid}, who cannot reach ${closed}`,
      remedy: 'run as a user other than root, or move the data folder and the program out of there',
    };
    throw new EngineError('SERVER_FAILED', details, { cause });
  }
  const keep = ['--inh-caps=+dac_override', '--ambient-caps=+dac_override'];
  const become = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
  return (program, args) => ({
    command: setpriv,
    args: [...become, ...keep, '--', program, ...args],
  });
}

function ownerOf(folder: string): User | undefined {
  const stat = statSync(folder, { throwIfNoEntry: false });
  return stat === undefined || stat.uid === 0 ? undefined : { uid: stat.uid, gid: stat.gid };
}

/** The user `postgres` where there is one, else `nobody`, whom every system has. */
function systemUser(): User {
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => idOf(flag, name));
    if (uid !== undefined && gid !== undefined) return { uid, gid };
  }
  throw new EngineError('SERVER_FAILED', {
    server: 'postgres',
    reason: 'PostgreSQL refuses to run as root, and there is no user postgres or nobody',
    remedy: 'run as a user other than root, or create a user named postgres',
  });
}

function idOf(flag: string, name: string): number | undefined {
  try {
    const out = execFileSync('id', [flag, name], { encoding: 'utf8', stdio: 'pipe' });
    return Number(out.trim());
  } catch {
    return undefined; // id ends with 1 when there is no such user.
  }
}

/** True when the user may pass through every folder from the root down to this one. */
function isReachable(folder: string, { uid, gid }: User): boolean {
  const stat = statSync(folder);
  const bit = stat.uid === uid ? 0o100 : stat.gid === gid ? 0o010 : 0o001;
  if ((stat.mode & bit) === 0) return false;
  return dirname(folder) === folder || isReachable(dirname(folder), { uid, gid });
}
