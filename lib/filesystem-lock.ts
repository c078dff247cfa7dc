/**
 * A lock between processes, by a symbolic link in the file system. Twisted: `DeferredFilesystemLock` of
 * `twisted.internet.defer`, and `FilesystemLock` of `twisted.python.lockfile`; it uses the same links, so that each
 * respects the other's.
 *
 * The link is named as the lock, and points to the number of the process that has it. To make a link is atomic, and
 * fails where there is one; a link whose process has died is removed.
 */
import { readlinkSync, renameSync, symlinkSync, unlinkSync } from 'node:fs';
import { Deferred } from './defer.ts';
import { AlreadyTryingToLockError, TimeoutError } from './errors.ts';
import type { IDelayedCall, IReactorTime, Seconds } from './interfaces.ts';
import { fail, succeed } from './maybe.ts';
import { reactor } from './reactor.ts';
import { checkDelay } from './time.ts';

/** How often a lock that somebody else has is tried again. */
const INTERVAL: Seconds = 1;

/**
 * One process may go on at a time.
 *
 * @example
 * const lock = new DeferredFilesystemLock('/tmp/plait-example.lock');
 * lock.deferUntilLocked(10).addCallback(() => lock.unlock());
 */
export class DeferredFilesystemLock implements Disposable {
  /** The path of the link. */
  readonly name: string;
  readonly #clock: IReactorTime;
  #isLocked = false;
  #clean = false;
  #trying = false;

  /** @param clock whose seconds; default: the process's reactor */
  constructor(name: string, clock: IReactorTime = reactor) {
    this.name = name;
    this.#clock = clock;
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
      const owner = this.#owner();
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
    if (!this.#isLocked || this.#owner() !== String(process.pid)) {
      throw new RangeError(`cannot unlock ${this.name}: it is not ours`);
    }
    this.#isLocked = false;
    unlinkSync(this.name);
  }

  /** Gives the lock up: `using held = …`. */
  [Symbol.dispose](): void {
    if (this.#isLocked) this.unlock();
  }

  /**
   * Fires when the lock is ours; until then it is tried once a second. Fails with TimeoutError after `timeout` seconds,
   * with AlreadyTryingToLockError if that is being waited for already, and with what the file system throws.
   */
  deferUntilLocked(timeout?: Seconds): Deferred<void> {
    if (this.#trying)
      return fail(new AlreadyTryingToLockError(`already waiting for the lock ${this.name}`));
    if (timeout !== undefined) checkDelay(timeout, 'timeout');
    try {
      if (this.lock()) return succeed();
    } catch (error) {
      return fail(error as Error);
    }
    const end = timeout === undefined ? Infinity : this.#clock.seconds() + timeout;
    this.#trying = true;
    let call: IDelayedCall | undefined;
    const locked = new Deferred<void>(() => call?.cancel());
    const schedule = (): void => {
      const left = end - this.#clock.seconds();
      call = this.#clock.callLater(Math.max(0, Math.min(INTERVAL, left)), () => {
        this.#tryAgain(locked, end, schedule);
      });
    };
    schedule();
    return locked.addBoth((result) => {
      this.#trying = false;
      return result;
    });
  }

  #tryAgain(locked: Deferred<void>, end: Seconds, again: () => void): void {
    try {
      if (this.lock()) locked.callback();
      else if (this.#clock.seconds() >= end) {
        locked.errback(
          new TimeoutError(
            `cannot lock ${this.name}: process ${this.#owner() ?? '(unknown)'} still has it`,
          ),
        );
      } else again();
    } catch (error) {
      locked.errback(error as Error);
    }
  }

  /** The number of the process that has the lock; undefined if nobody has. */
  #owner(): string | undefined {
    try {
      return readlinkSync(this.name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
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
