/**
 * To wait for a lock between processes. The lock itself is in `lockfile`. Twisted: `DeferredFilesystemLock` of
 * `twisted.internet.defer`.
 */
import { checkClock, checkSeconds } from './arguments.ts';
import { Deferred } from './defer.ts';
import { AlreadyTryingToLockError, TimeoutError } from './errors.ts';
import type { IDelayedCall, IReactorTime, Seconds } from './interfaces.ts';
import { FilesystemLock, ownerOf } from './lockfile.ts';
import { fail, succeed } from './maybe.ts';
import { reactor } from './reactor.ts';

/** How often a lock that another process has is tried again. */
const INTERVAL: Seconds = 1;

/**
 * One process may go on at a time.
 *
 * @example
 * const lock = new DeferredFilesystemLock('/tmp/plait-example.lock');
 * lock.deferUntilLocked(10).addCallback(() => lock.unlock());
 */
export class DeferredFilesystemLock extends FilesystemLock {
  readonly #clock: IReactorTime;
  #trying = false;

  /** @param clock whose seconds; default: the process's reactor */
  constructor(name: string, clock: IReactorTime = reactor) {
    super(name);
    this.#clock = checkClock(clock, 'DeferredFilesystemLock: clock');
  }

  /**
   * Fires when the lock is ours; until then it is tried once a second. Fails with TimeoutError after `timeout` seconds,
   * with AlreadyTryingToLockError if that is being waited for already, and with what the file system throws.
   */
  deferUntilLocked(timeout?: Seconds): Deferred<void> {
    if (this.#trying)
      return fail(new AlreadyTryingToLockError(`already waiting for the lock ${this.name}`));
    if (timeout !== undefined) checkSeconds(timeout, 'deferUntilLocked: timeout');
    try {
      if (this.lock()) return succeed();
    } catch (error) {
      return fail(error as Error);
    }
    const end = timeout === undefined ? Infinity : this.#clock.seconds() + timeout;
    this.#trying = true;
    let call: IDelayedCall | undefined;
    const locked = new Deferred<void>(() => {
      if (call?.active() === true) call.cancel();
    });
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
            `cannot lock ${this.name}: process ${ownerOf(this.name) ?? '(unknown)'} still has it`,
          ),
        );
      } else again();
    } catch (error) {
      locked.errback(error as Error);
    }
  }
}
