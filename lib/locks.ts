/**
 * Waiting one's turn: a lock, a semaphore. Whoever waits longest is next; cancelling the Deferred of one who waits
 * takes it out of the line. Twisted: `DeferredLock` and `DeferredSemaphore` of `twisted.internet.defer`.
 */
import { Deferred, type Settled } from './defer.ts';
import { Waiters } from './waiters.ts';
import { maybeDeferred } from './maybe.ts';

/**
 * So many may go on at a time.
 *
 * @example
 * const two = new DeferredSemaphore(2);
 * const fetchGently = (url: string) => two.run(fetch, url);
 */
export class DeferredSemaphore implements Disposable {
  /** How many may go on at once. */
  readonly limit: number;
  #tokens: number;
  readonly #waiters: Waiters<this> = new Waiters<this>();

  /** @throws RangeError unless `tokens` is a whole number from 1 */
  constructor(tokens: number) {
    if (!Number.isInteger(tokens) || tokens < 1) {
      throw new RangeError(`a semaphore needs a whole number of tokens from 1, not ${tokens}`);
    }
    this.limit = this.#tokens = tokens;
  }

  /** How many more may go on now. */
  get tokens(): number {
    return this.#tokens;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** Fires with this, at once or when it is one's turn. Each firing is to be answered by one `release`. */
  acquire(): Deferred<this> {
    if (this.#tokens === 0) return this.#waiters.wait(undefined);
    this.#tokens--;
    const acquired = new Deferred<this>();
    acquired.callback(this);
    return acquired;
  }

  /**
   * Lets the next one go on.
   *
   * @throws RangeError if nobody has acquired it
   */
  release(): void {
    if (this.#tokens === this.limit)
      throw new RangeError('cannot release what nobody has acquired');
    if (!this.#waiters.fireFirst(this)) this.#tokens++;
  }

  /** Calls `fn(...args)` when it is its turn, and releases when what comes of it is there. Fires with that. */
  run<R, A extends unknown[]>(fn: (...args: A) => R, ...args: A): Deferred<Settled<R>> {
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

  /** True while somebody has it. */
  get locked(): boolean {
    return this.tokens === 0;
  }
}
