/**
 * Waiting one's turn: a lock, a semaphore. Whoever waits longest is next; cancelling the Deferred of one who waits
 * takes it out of the line. Twisted: `DeferredLock` and `DeferredSemaphore` of `twisted.internet.defer`.
 */
import { checkFunction, checkWhole } from './arguments.ts';
import { Deferred, type Settled } from './defer.ts';
import { maybeDeferred } from './maybe.ts';
import { wake, Waiters } from './waiters.ts';
import { INSPECT, inspected, type Inspecting, told } from './one-line.ts';

/**
 * So many may go on at a time.
 *
 * @example
 * const two = new DeferredSemaphore(2);
 * const fetchGently = (url: string) => two.run(fetch, url);
 */
export class DeferredSemaphore implements Disposable {
  #limit: number;
  /** Those not taken; while waiters are being woken, some of them are for the first in the line. */
  #free: number;
  readonly #waiters: Waiters<this> = new Waiters<this>();

  /** @throws RangeError unless `tokens` is a whole number from 1 */
  constructor(tokens: number) {
    this.#limit = this.#free = checkWhole(tokens, 'DeferredSemaphore: tokens', 1);
  }

  /**
   * How many may go on at once. Setting it changes nothing at once; as in Twisted, `release` then fails beyond the new
   * limit, also for those that go on already.
   *
   * @throws RangeError if it is set to anything but a whole number from 1
   */
  get limit(): number {
    return this.#limit;
  }

  set limit(limit: number) {
    this.#limit = checkWhole(limit, 'DeferredSemaphore: limit', 1);
  }

  /**
   * How many more may go on now. Setting it lets as many go on who wait.
   *
   * @throws RangeError if it is set to anything but a whole number from 0
   */
  get tokens(): number {
    return Math.max(0, this.#free - this.#waiters.size);
  }

  set tokens(tokens: number) {
    this.#free = checkWhole(tokens, 'DeferredSemaphore: tokens', 0);
    wake(this.#wakeNext);
  }

  /** How many wait. */
  get waiting(): number {
    return Math.max(0, this.#waiters.size - this.#free);
  }

  /** Fires with this, at once or when it is one's turn. Each firing is to be answered by one `release`. */
  acquire(): Deferred<this> {
    if (this.#free === 0 || this.#waiters.size > 0) return this.#waiters.wait(undefined);
    this.#free--;
    const acquired = new Deferred<this>();
    acquired.callback(this);
    return acquired;
  }

  /**
   * Lets the next one go on: before it returns, as in Twisted, unless this happens inside of very many other wakings.
   *
   * @throws RangeError if it is not acquired
   */
  release(): void {
    if (this.#free >= this.#limit) throw new RangeError('cannot release what nobody has acquired');
    this.#free++;
    if (this.#waiters.size > 0) wake(this.#wakeNext);
  }

  readonly #wakeNext = (): boolean => {
    if (this.#free === 0) return false;
    const next = this.#waiters.shift();
    if (next === undefined) return false;
    this.#free--;
    next.deferred.callback(this);
    return true;
  };

  /** Calls `fn(...args)` when it is its turn, and releases when what comes of it is there. Fires with that. */
  run<R, A extends unknown[]>(fn: (...args: A) => R, ...args: A): Deferred<Settled<R>> {
    checkFunction(fn, 'DeferredSemaphore.run: fn');
    return this.acquire().addCallback(() =>
      maybeDeferred(fn, ...args).addBoth((result) => {
        this.release();
        return result;
      }),
    );
  }

  /** Releases: `using held = yield* semaphore.acquire()`. */
  [Symbol.dispose](): void {
    this.release();
  }

  toString(): string {
    return told(this, `${this.tokens} of ${this.limit} free, ${this.waiting} waiting`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * One may go on at a time.
 *
 * @example
 * const lock = new DeferredLock();
 * lock.run(() => 'nobody else is here');
 */
export class DeferredLock extends DeferredSemaphore {
  constructor() {
    super(1);
  }

  /** True while it is acquired. */
  get locked(): boolean {
    return this.tokens === 0;
  }
}
