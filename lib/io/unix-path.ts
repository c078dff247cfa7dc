/**
 * The files of UNIX sockets: how a listening socket comes to its path and leaves it, and what must be true of a path
 * before one connects to it. Twisted: `twisted.internet.unix`, with its lock file.
 *
 * Rules for editors:
 * 1. Nobody may connect before the file has the permissions asked for. So the socket is bound in a directory that only
 *    we may enter, and the finished file is linked to its place. (A umask would be the whole process's.)
 * 2. What lies at the path already is not ours: a link is not made where there is something, and follows nothing.
 *    Only under the lock, taken over from a process that has died, a socket is removed first.
 * 3. It is removed in the end only if it is still the one that was put there.
 */
import {
  chmodSync,
  closeSync,
  linkSync,
  lstatSync,
  mkdtempSync,
  openSync,
  rmSync,
  rmdirSync,
  unlinkSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { BadFileError } from '../errors.ts';
import { FilesystemLock, isLocked, ownerOf } from '../lockfile.ts';

/** How many bytes the path of a UNIX socket may have. Node cuts longer ones off, and uses what is left. */
const LONGEST_PATH = process.platform === 'linux' ? 107 : 103;

/** True for a name that is in no file system: Linux has such, and they begin with a NUL. */
export function isAbstract(path: string): boolean {
  return path.startsWith('\0');
}

/** What is wrong with a path before the operating system is asked. */
export function pathError(path: string): NodeJS.ErrnoException | undefined {
  if (Buffer.byteLength(path) > LONGEST_PATH)
    return systemError('ENAMETOOLONG', `a socket's path has at most ${LONGEST_PATH} bytes`);
  return undefined;
}

/** What is wrong where nobody has the lock beside the socket at `path`: whoever listened there is gone. */
export function lockError(path: string): Error | undefined {
  try {
    if (isLocked(lockOf(path))) return undefined;
  } catch {
    // What lies there is no lock.
  }
  return new BadFileError(
    `cannot connect to unix:${path}: no living process has the lock ${lockOf(path)}`,
  );
}

function lockOf(path: string): string {
  return `${path}.lock`;
}

function systemError(code: string, message: string): NodeJS.ErrnoException {
  return Object.assign(new Error(message), { code });
}

/** The file of one listening socket: `open`, bind at what it returned, `place`; in the end `remove`. */
export class SocketFile {
  readonly #path: string;
  readonly #mode: number;
  readonly #lock: FilesystemLock | undefined;
  /** Only we may enter it. */
  #directory: string | undefined;
  /** Keeps a short way to that directory open, where its path is too long to be bound in. */
  #descriptor: number | undefined;
  /** The file that was put in place. */
  #placed: { readonly dev: bigint; readonly ino: bigint } | undefined;

  /** @param locked whether to hold the lock beside the socket */
  constructor(path: string, mode: number, locked: boolean) {
    this.#path = path;
    this.#mode = mode;
    if (locked) this.#lock = new FilesystemLock(lockOf(path));
  }

  /** A path to bind at. Throws what the file system throws; then `remove` is still to be called. */
  open(): string {
    this.#takeLock();
    const directory = mkdtempSync(`${dirname(this.#path)}/.`);
    this.#directory = directory;
    const path = this.#boundPath(directory);
    if (Buffer.byteLength(path) <= LONGEST_PATH || process.platform !== 'linux') return path;
    this.#descriptor = openSync(directory, 'r');
    return `/proc/self/fd/${this.#descriptor}/${basename(path)}`;
  }

  /** By a name that nobody else has: in the end Node removes what lies there, whatever it is by then. */
  #boundPath(directory: string): string {
    return join(directory, basename(directory).slice(1));
  }

  #takeLock(): void {
    const lock = this.#lock;
    if (lock === undefined) return;
    if (!lock.lock()) {
      throw systemError(
        'EEXIST',
        `process ${ownerOf(lock.name) ?? '(unknown)'} has the lock ${lock.name}`,
      );
    }
    if (!lock.clean && lstatSync(this.#path, { throwIfNoEntry: false })?.isSocket() === true)
      unlinkSync(this.#path);
  }

  /** The socket is bound: lets others connect to it. Throws what the file system throws. */
  place(): void {
    const path = this.#boundPath(this.#directory as string);
    chmodSync(path, this.#mode);
    const { dev, ino } = lstatSync(path, { bigint: true });
    try {
      linkSync(path, this.#path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      throw systemError('EADDRINUSE', `there is something at ${this.#path}`);
    }
    this.#placed = { dev, ino };
    this.#leaveDirectory();
  }

  #leaveDirectory(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
    const directory = this.#directory;
    this.#directory = undefined;
    if (directory === undefined) return;
    rmSync(this.#boundPath(directory), { force: true });
    rmdirSync(directory);
  }

  /** Takes the file away, unless another one lies there by now, and gives up the lock. To be called before it is closed. */
  remove(): void {
    quietly(() => this.#leaveDirectory());
    const placed = this.#placed;
    this.#placed = undefined;
    if (placed !== undefined) {
      quietly(() => {
        const { dev, ino } = lstatSync(this.#path, { bigint: true });
        if (dev === placed.dev && ino === placed.ino) unlinkSync(this.#path);
      });
    }
    quietly(() => this.#lock?.[Symbol.dispose]());
  }
}

/** What cannot be tidied up any more stays; somebody has taken it away, or it away from us. */
function quietly(tidy: () => void): void {
  try {
    tidy();
  } catch {
    // As above.
  }
}
