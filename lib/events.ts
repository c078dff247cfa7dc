/**
 * Waiting for something that several wait for: an event, a condition, a barrier, a result. Twisted has none of them;
 * asyncio: `Event`, `Condition`, `Barrier`; gevent: `Event`, `AsyncResult`.
 */
import { checkFunction, checkInstance, checkLimit, checkMethods, checkWhole } from './arguments.ts';
import { Deferred } from './defer.ts';
import { AlreadyCalledError, BrokenBarrierError } from './errors.ts';
import { Failure } from './failure.ts';
import { type Coroutine, inlineCallbacks } from './inline.ts';
import { DeferredLock } from './locks.ts';
import { fail, maybeDeferred, passthru, succeed } from './maybe.ts';
import { fireInside, Waiters } from './waiters.ts';
import { INSPECT, inspected, type Inspecting, told } from './one-line.ts';

/**
 * A flag that can be waited for.
 *
 * @example
 * const ready = new DeferredEvent();
 * ready.wait().addCallback(() => console.log('go'));
 * ready.set();
 */
export class DeferredEvent {
  #isSet = false;
  readonly #waiters: Waiters<void> = new Waiters<void>();

  get isSet(): boolean {
    return this.#isSet;
  }

  /** Fires all that wait; from then on `wait` fires at once. */
  set(): void {
    if (this.#isSet) return;
    this.#isSet = true;
    this.#waiters.fireAll(undefined);
  }

  /** From now on `wait` waits again. */
  clear(): void {
    this.#isSet = false;
  }

  /** Fires once it is set. */
  wait(): Deferred<void> {
    return this.#isSet ? succeed() : this.#waiters.wait(undefined);
  }

  toString(): string {
    return told(this, `${this.#isSet ? 'set' : 'not set'}, ${this.#waiters.size} waiting`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * A lock, and waiting inside it for something that its other holders change.
 *
 * @example
 * const stock = new DeferredCondition();
 * let apples = 0;
 * const take = inlineCallbacks(function* () {
 *   yield* stock.acquire();
 *   try {
 *     yield* stock.waitFor(() => apples > 0);
 *     return --apples;
 *   } finally {
 *     stock.release();
 *   }
 * });
 */
export class DeferredCondition {
  readonly #lock: DeferredLock;
  readonly #waiters: Waiters<void> = new Waiters<void>();

  /** @param lock shared with others, if it is to be */
  constructor(lock: DeferredLock = new DeferredLock()) {
    this.#lock = checkMethods(lock, 'DeferredCondition: lock', 'a DeferredLock', [
      'acquire',
      'release',
    ]);
  }

  get locked(): boolean {
    return this.#lock.locked;
  }

  /** Fires when the lock is one's own. */
  acquire(): Deferred<this> {
    return this.#lock.acquire().addCallback(() => this);
  }

  release(): void {
    this.#lock.release();
  }

  /**
   * Gives the lock up, waits for `notify`, and fires when the lock is one's own again. That is so too when it fails
   * because it was cancelled: the holder's `finally` may release.
   *
   * @throws RangeError if nobody holds the lock
   */
  wait(): Deferred<void> {
    if (!this.#lock.locked)
      throw new RangeError('cannot wait for a condition whose lock is not held');
    const notified = this.#waiters.wait(undefined);
    this.#lock.release();
    return waitAndLock(notified, this.#lock);
  }

  /**
   * Waits until `predicate()` is true, asking each time it is notified. Fires with what that returned. Where it returns
   * a promise, a Deferred or a coroutine, that is waited for with the lock held.
   */
  waitFor<R>(predicate: () => Coroutine<R> | PromiseLike<R> | R): Deferred<R> {
    checkFunction(predicate, 'DeferredCondition.waitFor: predicate');
    return untilTrue(this, predicate) as Deferred<R>;
  }

  /**
   * Wakes the `count` that wait longest.
   *
   * @throws RangeError if nobody holds the lock, and for a count that is no whole number from 0 (Infinity will do)
   */
  notify(count = 1): void {
    checkLimit(count, 'DeferredCondition.notify: count');
    if (!this.#lock.locked)
      throw new RangeError('cannot notify a condition whose lock is not held');
    this.#waiters.fireFirst(count, () => undefined);
  }

  /** Wakes all who wait. */
  notifyAll(): void {
    this.notify(this.#waiters.size);
  }

  toString(): string {
    return told(this, `${this.locked ? 'locked' : 'unlocked'}, ${this.#waiters.size} waiting`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** Whatever happens to the wait, the lock is taken again before it ends; a cancellation meanwhile is kept for then. */
const waitAndLock = inlineCallbacks(function* (
  notified: Deferred<void>,
  lock: DeferredLock,
): Coroutine<void> {
  let failure: Failure | undefined;
  try {
    yield* notified;
  } catch (error) {
    failure = new Failure(error);
  }
  for (let locked = false; !locked;) {
    try {
      yield* lock.acquire();
      locked = true;
    } catch (error) {
      failure ??= new Failure(error);
    }
  }
  failure?.raiseException();
});

const untilTrue = inlineCallbacks(function* (
  condition: DeferredCondition,
  predicate: () => unknown,
) {
  for (;;) {
    let outcome = predicate();
    // The lock is held for as long as that takes, so no notification is missed.
    if (typeof outcome === 'object' && outcome !== null)
      outcome = yield* maybeDeferred(() => passthru(outcome));
    if (outcome) return outcome;
    yield* condition.wait();
  }
});

/**
 * A place where so many have to come before all go on. It can be used again and again.
 *
 * @example
 * const start = new DeferredBarrier(2);
 * start.wait().addCallback((place) => console.log(`number ${place} goes on`));
 * start.wait();
 */
export class DeferredBarrier {
  /** How many have to come. */
  readonly parties: number;
  readonly #waiters: Waiters<number> = new Waiters<number>();
  #broken = false;

  /** @throws RangeError unless `parties` is a whole number from 1 */
  constructor(parties: number) {
    this.parties = checkWhole(parties, 'DeferredBarrier: parties', 1);
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** True after `abort`, until `reset`. */
  get broken(): boolean {
    return this.#broken;
  }

  /** Fires with one's place, from 0, when the last has come. Fails with BrokenBarrierError. */
  wait(): Deferred<number> {
    if (this.#broken) return fail(new BrokenBarrierError('cannot wait: the barrier is broken'));
    const place = this.#waiters.size;
    if (place + 1 < this.parties) return this.#waiters.wait(undefined);
    this.#waiters.fireFirst(place, (index) => index);
    return succeed(place);
  }

  /** Those who wait fail, and the barrier is as new. */
  reset(): void {
    this.#broken = false;
    this.#failAll('the barrier was reset while waiting at it');
  }

  /** Those who wait and those who come fail, until `reset`. */
  abort(): void {
    this.#broken = true;
    this.#failAll('the barrier was broken while waiting at it');
  }

  #failAll(message: string): void {
    this.#waiters.fireAll(new Failure(new BrokenBarrierError(message)));
  }

  toString(): string {
    return told(this, this.#broken ? 'broken' : `${this.waiting} of ${this.parties} waiting`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * A result that several may wait for: each `get` is a Deferred of its own, and cancelling one leaves the others and
 * the result alone. A Deferred has one chain; this is what to keep where many ask for the same thing.
 *
 * @example
 * const config = new AsyncResult<string>();
 * config.get().addCallback((text) => console.log('one reads', text));
 * config.get().addCallback((text) => console.log('another reads', text));
 * config.set('color = green');
 */
export class AsyncResult<T> {
  #result: { readonly value: T } | Failure | undefined;
  readonly #waiters: Waiters<T> = new Waiters<T>();

  /** A result that will be that of `deferred`, which keeps it. */
  static of<T>(deferred: Deferred<T>): AsyncResult<T> {
    checkInstance(deferred, 'AsyncResult.of: deferred', Deferred);
    const result = new AsyncResult<T>();
    deferred.addCallbacks(
      (value) => {
        result.set(value);
        return value;
      },
      (failure) => {
        result.setFailure(failure);
      },
    );
    return result;
  }

  /** True once there is a result. */
  get ready(): boolean {
    return this.#result !== undefined;
  }

  /** True once there is a value. */
  get successful(): boolean {
    return this.#result !== undefined && !(this.#result instanceof Failure);
  }

  /** @throws AlreadyCalledError if there is a result already; TypeError for a Deferred: see {@link AsyncResult.of} */
  set(value: T): void {
    this.#mustBeOpen();
    if (value instanceof Deferred)
      throw new TypeError('a Deferred is no result: set what it fires with, or use AsyncResult.of');
    this.#result = { value };
    this.#waiters.fireAll(value);
  }

  /**
   * Each `get`, those before and those to come, fails with it. Without any, it goes unreported.
   *
   * @throws AlreadyCalledError if there is a result already
   */
  setFailure(reason: Failure | Error): void {
    this.#mustBeOpen();
    const failure = Failure.from(reason);
    this.#result = failure;
    this.#waiters.fireAll(failure);
  }

  #mustBeOpen(): void {
    if (this.#result !== undefined)
      throw new AlreadyCalledError('this AsyncResult has a result already');
  }

  /** Fires with the result, at once or when it comes. */
  get(): Deferred<T> {
    if (this.#result === undefined) return this.#waiters.wait(undefined);
    if (this.#result instanceof Failure) return fail(this.#result);
    return succeed(this.#result.value);
  }

  toString(): string {
    return told(
      this,
      `${!this.ready ? 'not ready' : this.successful ? 'successful' : 'failed'}, ${this.#waiters.size} waiting`,
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * A Deferred with the result of `deferred`, which keeps it. Cancelling it leaves `deferred` alone: that goes on, and
 * what comes of it is still to be looked at. asyncio: `shield`.
 *
 * @example
 * const work = new Deferred<string>();
 * shield(work).addTimeout(5, new Clock());   // stops the waiting, not the work
 */
export function shield<T>(deferred: Deferred<T>): Deferred<T> {
  checkInstance(deferred, 'shield: deferred', Deferred);
  const shielded = new Deferred<T>();
  Deferred.wait(deferred, {
    resume(result) {
      // Nobody waits for it here any more: its failure is not to count as seen.
      if (shielded.called) deferred.addErrback((failure) => new Failure(failure));
      else fireInside(shielded, result as T | Failure);
      return undefined;
    },
  });
  return shielded;
}
