/**
 * A lock between processes, by a symbolic link in the file system: what can be said of it without waiting. Twisted:
 * `FilesystemLock` of `twisted.python.lockfile`; it uses the same links, so that each respects the other's.
 *
 * The link is named as the lock, and points to the number of the process that has it. To make a link is atomic, and
 * fails where there is one; a link whose process has died is removed.
 */
import { existsSync, readlinkSync, renameSync, rmSync, symlinkSync, unlinkSync } from 'node:fs';
import { checkString } from './arguments.ts';
import { INSPECT, inspected, type Inspecting, told } from './one-line.ts';

/** How often a lock that comes and goes is tried before it counts as another's. */
const MOST_TRIES = 20;

/** The highest number that a process may have: the system's type for it has 32 bits. */
const HIGHEST_PID = 2 ** 31 - 1;

/** One process has it at a time. */
export class FilesystemLock implements Disposable {
  /** The path of the link. */
  readonly name: string;
  #isLocked = false;
  #clean = false;

  constructor(name: string) {
    this.name = checkString(name, 'FilesystemLock: name');
  }

  /** True while this object has the lock. */
  get isLocked(): boolean {
    return this.#isLocked;
  }

  /** False if `lock` has removed what a process had left that has died; true if its last owner had unlocked it, or there was none. */
  get clean(): boolean {
    return this.#clean;
  }

  /**
   * Takes the lock if it is free; true if that is so.
   *
   * @throws RangeError if a link lies there that is no lock, and what the file system throws; what lies there stays
   */
  lock(): boolean {
    let clean = true;
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      try {
        symlinkSync(String(process.pid), this.name);
        this.#isLocked = true;
        this.#clean = clean;
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const owner = ownerOf(this.name);
      if (owner === undefined) continue; // it was unlocked meanwhile
      if (isAlive(owner, this.name)) return false;
      if (this.#removeDead(owner)) clean = false;
    }
    return false;
  }

  /**
   * Gives the lock up. If its link was taken away, or replaced, the lock is lost already.
   *
   * @throws RangeError if this object has not got it, or has lost it
   */
  unlock(): void {
    const had = this.#isLocked;
    this.#isLocked = false;
    if (!had || ownerOf(this.name) !== String(process.pid)) {
      throw new RangeError(
        `cannot unlock ${this.name}: ${had ? 'its link was taken away' : 'it is not ours'}`,
      );
    }
    unlinkSync(this.name);
  }

  /** Gives the lock up: `using held = …`. */
  [Symbol.dispose](): void {
    if (this.#isLocked) this.unlock();
  }

  /**
   * Removes the link of a process that has died. Several processes may find it dead, so one of them at a time looks
   * again and removes it, while it has a second link: else a slow one would remove the lock that a quick one has taken
   * since. True if it was removed here.
   */
  #removeDead(owner: string): boolean {
    // The link of a lock leads nowhere; one that does is something else, by a number for its name.
    if (existsSync(this.name)) throw notALock(this.name, owner);
    const breaking = `${this.name}.breaking`;
    try {
      symlinkSync(String(process.pid), breaking);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const breaker = ownerOf(breaking);
      if (breaker !== undefined && !isAlive(breaker, breaking)) moveAway(breaking, breaker);
      return false;
    }
    try {
      if (ownerOf(this.name) !== owner) return false;
      rmSync(this.name, { force: true });
      return true;
    } finally {
      rmSync(breaking, { force: true });
    }
  }

  toString(): string {
    return told(this, `${this.#isLocked ? 'locked' : 'unlocked'} ${this.name}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** Removes the link at `name` of a process that has died, unless it is another's by now. */
function moveAway(name: string, owner: string): void {
  const aside = `${name}.${owner}.${process.pid}.dead`;
  try {
    renameSync(name, aside);
    if (readlinkSync(aside) === owner) unlinkSync(aside);
    else renameSync(aside, name); // another process was quicker, and the link is its own
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/**
 * True while a living process has the lock of that name.
 *
 * @throws RangeError if a link lies there that is no lock, and what the file system throws
 */
export function isLocked(name: string): boolean {
  const owner = ownerOf(name);
  return owner !== undefined && isAlive(owner, name);
}

/** The number of the process that has the lock, as the link says it; undefined if there is no link. */
export function ownerOf(name: string): string | undefined {
  try {
    return readlinkSync(name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** To send signal 0 does nothing, but fails where there is no such process. */
function isAlive(owner: string, name: string): boolean {
  if (!/^[1-9][0-9]{0,9}$/.test(owner) || Number(owner) > HIGHEST_PID) throw notALock(name, owner);
  try {
    process.kill(Number(owner), 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

function notALock(name: string, target: string): RangeError {
  return new RangeError(
    `${name} is no lock: it links to ${JSON.stringify(target)}, not to the number of a process`,
  );
}
