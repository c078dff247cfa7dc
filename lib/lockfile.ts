/**
 * A lock between processes, by a symbolic link in the file system: what can be said of it without waiting. Twisted:
 * `FilesystemLock` of `twisted.python.lockfile`; it uses the same links, so that each respects the other's.
 *
 * The link is named as the lock, and points to the number of the process that has it. To make a link is atomic, and
 * fails where there is one; a link whose process has died is removed.
 */
import { readlinkSync, renameSync, symlinkSync, unlinkSync } from 'node:fs';

/** One process has it at a time. */
export class FilesystemLock implements Disposable {
  /** The path of the link. */
  readonly name: string;
  #isLocked = false;
  #clean = false;

  constructor(name: string) {
    this.name = name;
  }

  /** True while this object has the lock. */
  get isLocked(): boolean {
    return this.#isLocked;
  }

  /** True if its last owner had unlocked it, or there was none; false if a dead process's lock was taken over. */
  get clean(): boolean {
    return this.#clean;
  }

  /** Takes the lock if it is free; true if that is so. Throws what the file system throws. */
  lock(): boolean {
    let clean = true;
    for (;;) {
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
      if (isAlive(owner)) return false;
      this.#removeDead(owner);
      clean = false;
    }
  }

  /**
   * Gives the lock up.
   *
   * @throws RangeError if this object has not got it
   */
  unlock(): void {
    if (!this.#isLocked || ownerOf(this.name) !== String(process.pid)) {
      throw new RangeError(`cannot unlock ${this.name}: it is not ours`);
    }
    this.#isLocked = false;
    unlinkSync(this.name);
  }

  /** Gives the lock up: `using held = …`. */
  [Symbol.dispose](): void {
    if (this.#isLocked) this.unlock();
  }

  /** Moves it away first: of several that find it dead, one does so, and it is not a new one that is removed. */
  #removeDead(owner: string): void {
    const aside = `${this.name}.${owner}.${process.pid}.dead`;
    try {
      renameSync(this.name, aside);
      if (readlinkSync(aside) === owner) unlinkSync(aside);
      else renameSync(aside, this.name); // somebody was quicker, and it is theirs now
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}

/** True while a living process has the lock of that name. */
export function isLocked(name: string): boolean {
  const owner = ownerOf(name);
  return owner !== undefined && isAlive(owner);
}

/** The number of the process that has the lock; undefined if nobody has. */
export function ownerOf(name: string): string | undefined {
  try {
    return readlinkSync(name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Signal 0 goes to nobody, but fails where there is nobody. */
function isAlive(owner: string): boolean {
  if (!/^[1-9][0-9]{0,9}$/.test(owner)) return false;
  try {
    process.kill(Number(owner), 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
