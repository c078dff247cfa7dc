/**
 * Deferred: a value that is not there yet, and the chain of functions that wait for it. This is the heart of plait.
 * Twisted: `twisted.internet.defer.Deferred`.
 *
 * A Deferred is one object, changed in place: `addCallback` appends to its chain and returns the same object, re-typed
 * to what the chain yields from there on. Callbacks run synchronously, inside `callback()`; that is the difference
 * from a Promise.
 *
 * Rules for editors: the loop that runs the chain never recurses, however long the chain or deep the nesting (a
 * Deferred that gets its result from another is run by the same loop); a result that somebody waits for with `await`
 * or `yield*` is observed, never taken; and a failure that nobody has handled is reported exactly once.
 */
import { inspect } from 'node:util';
import { AlreadyCalledError, CancelledError, TimeoutError } from './errors.ts';
import { Failure } from './failure.ts';
import type { IReactorTime, Seconds } from './interfaces.ts';
import { noteUnhandled, handled, type Unhandled } from './unhandled.ts';

/** What a callback's return value leaves in the chain: a Deferred's or promise's value, and never a Failure. */
export type Settled<R> = Exclude<Awaited<R>, Failure>;

/** Told to stop what the Deferred waits for; may fire the Deferred itself, with a value too. */
export type Canceller<T> = (deferred: Deferred<T>) => void;

/** How far a Deferred is: `waiting` for another one that a callback returned, or with a value, or with a Failure. */
export type DeferredState = 'unfired' | 'waiting' | 'succeeded' | 'failed';

/** Waits for a result without changing it. @internal */
export interface Waiter {
  /** Given the result, which may be a Failure. Returns a Deferred that it fired by `Deferred.settle`, if any. */
  resume(result: unknown): Deferred<unknown> | undefined;
}

/** Cancels by passing it on to what it waits for; the Deferred it belongs to fires later. @internal */
export interface Relay {
  /** What is to be cancelled now; undefined if the relay takes note and sees to it. */
  awaited(): Deferred<unknown> | undefined;
}

type Handler = (result: unknown) => unknown;

/** What a link of the chain does with the result. */
const CALL = 0; // calls a function with it
const HAND_OVER = 1; // gives it to a Deferred that waits for it, and keeps nothing
const SHOW = 2; // shows it to a Waiter

class Link {
  readonly kind: 0 | 1 | 2;
  readonly ok: unknown;
  readonly bad: Handler | undefined;
  next: Link | undefined = undefined;

  constructor(kind: 0 | 1 | 2, ok: unknown, bad: Handler | undefined) {
    this.kind = kind;
    this.ok = ok;
    this.bad = bad;
  }
}

// Bits of #flags.
const CALLED = 1;
const RUNNING = 2; // a function of the chain is on the stack: what is added now runs after it
const SWALLOW = 4; // cancelled without a canceller: one late result is to be ignored

/** What few Deferreds have. */
interface Rare {
  /** The failure that somebody awaited, who answers for it from then on. */
  observed?: Failure;
  unhandled?: Unhandled;
  created?: Error;
  fired?: Error;
}

let debugging = false;

/** Makes every Deferred remember where it was made and first fired; both are in error messages and reports. */
export function setDebugging(on: boolean): void {
  debugging = on;
}

/** True after `setDebugging(true)`. */
export function getDebugging(): boolean {
  return debugging;
}

/**
 * A value that is not there yet.
 *
 * @example
 * const sum = new Deferred<number>();
 * sum.addCallback((n) => n + 1).addCallback((n) => console.log(n));
 * sum.callback(41);   // prints 42 before it returns
 */
export class Deferred<T> implements PromiseLike<T> {
  #flags = 0;
  #pauses = 0;
  /** Meaningful once CALLED and unless waiting. */
  #result: unknown = undefined;
  #first: Link | undefined = undefined;
  #last: Link | undefined = undefined;
  #canceller: Canceller<never> | Relay | undefined;
  /** The Deferred that will hand its result over to this one. */
  #waitingOn: Deferred<unknown> | undefined = undefined;
  #rare: Rare | undefined = undefined;

  /** @param canceller called by `cancel()` while the Deferred is not fired */
  constructor(canceller?: Canceller<T>) {
    this.#canceller = canceller;
    if (debugging) this.#rare = { created: new Error('created here') };
  }

  // ── Firing ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Fires with a value, and runs the chain before it returns.
   *
   * @throws AlreadyCalledError if it was fired before; TypeError if `result` is a Deferred
   */
  callback(result: T): void {
    if (result instanceof Deferred) {
      throw new TypeError(
        'a Deferred cannot be fired with a Deferred: return it from a callback, or chainDeferred it',
      );
    }
    this.#fire(result);
  }

  /**
   * Fires with a failure, and runs the chain before it returns.
   *
   * @throws AlreadyCalledError if it was fired before
   */
  errback(reason: Failure | Error): void {
    this.#fire(Failure.from(reason));
  }

  /**
   * Says that the result is not wanted any more. Not fired: the canceller is called, and if it does not fire the
   * Deferred, that fails with CancelledError. Waiting for another Deferred: that one is cancelled. Fired: nothing.
   * What a canceller throws is thrown from here, and the Deferred stays unfired.
   *
   * Without a canceller, one late `callback` or `errback` is ignored, since nobody told its sender to stop.
   */
  cancel(): void {
    let deferred = this as Deferred<unknown>;
    for (;;) {
      const canceller = deferred.#canceller;
      const next =
        (deferred.#flags & CALLED) !== 0
          ? deferred.#waitingOn
          : canceller !== undefined && typeof canceller !== 'function'
            ? canceller.awaited()
            : deferred.#cancelUnfired();
      if (next === undefined) return;
      deferred = next;
    }
  }

  #cancelUnfired(): undefined {
    const canceller = this.#canceller as Canceller<never> | undefined;
    if (canceller === undefined) this.#flags |= SWALLOW;
    else canceller(this as never);
    if ((this.#flags & CALLED) === 0) this.errback(new CancelledError());
  }

  #fire(result: unknown): void {
    if (this.#setResult(result)) Deferred.#run(this);
  }

  #setResult(result: unknown): boolean {
    if ((this.#flags & CALLED) !== 0) {
      if ((this.#flags & SWALLOW) === 0) {
        throw new AlreadyCalledError(`this Deferred has already been fired${this.#history()}`);
      }
      this.#flags &= ~SWALLOW;
      return false;
    }
    this.#flags |= CALLED;
    this.#canceller = undefined;
    this.#result = result;
    if (debugging) (this.#rare ??= {}).fired = new Error('first fired here');
    return true;
  }

  // ── The chain ────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Calls `fn(value, ...args)` with the value; what it returns is the next value, what it throws the next failure. A
   * Deferred or promise that it returns is waited for.
   */
  addCallback<R, A extends unknown[]>(
    fn: (value: T, ...args: A) => R,
    ...args: A
  ): Deferred<Settled<R>> {
    return this.#append(bind(fn as never, args), undefined) as never;
  }

  /** Calls `fn(failure, ...args)` with the failure, if it comes to one; what it returns is the next value. */
  addErrback<R, A extends unknown[]>(
    fn: (failure: Failure, ...args: A) => R,
    ...args: A
  ): Deferred<T | Settled<R>> {
    return this.#append(undefined, bind(fn as never, args)) as never;
  }

  /** Calls `fn(result, ...args)` with the value or the failure. */
  addBoth<R, A extends unknown[]>(
    fn: (result: T | Failure, ...args: A) => R,
    ...args: A
  ): Deferred<Settled<R>> {
    const handler = bind(fn as never, args);
    return this.#append(handler, handler) as never;
  }

  /** One link with two sides: `ok` is called with a value, `bad` with a failure, and never both. */
  addCallbacks<R, S = never>(
    ok: (value: T) => R,
    bad?: (failure: Failure) => S,
  ): Deferred<Settled<R> | Settled<S>> {
    return this.#append(ok as Handler, bad as Handler | undefined) as never;
  }

  /**
   * Gives the result to `other` when it comes, which is then undefined here. Cancelling `other` does not cancel this.
   */
  chainDeferred(other: Deferred<T>): Deferred<void> {
    return this.addCallbacks(
      (value) => other.callback(value),
      (failure) => other.errback(failure),
    );
  }

  #append(ok: Handler | undefined, bad: Handler | undefined): this {
    if (
      (ok !== undefined && typeof ok !== 'function') ||
      (bad !== undefined && typeof bad !== 'function')
    ) {
      throw new TypeError(
        `a callback must be a function, not ${inspect(typeof ok === 'function' ? bad : ok)}`,
      );
    }
    this.#push(new Link(CALL, ok, bad));
    if ((this.#flags & (CALLED | RUNNING)) === CALLED) Deferred.#run(this);
    return this;
  }

  #push(link: Link): void {
    if (this.#last === undefined) this.#first = link;
    else this.#last.next = link;
    this.#last = link;
  }

  /**
   * Runs the chain of a fired Deferred as far as it goes, and the chains of those that get their results from it.
   *
   * `current` is the one being run; those in `below` handed their result up and go on when it is done. All state is in
   * the Deferreds themselves, since any function called from here may fire, add to, pause or cancel any of them.
   */
  static #run(start: Deferred<unknown>): void {
    if ((start.#flags & RUNNING) !== 0) return;
    let current = start;
    let below: Deferred<unknown>[] | undefined;
    for (;;) {
      let next: Deferred<unknown> | undefined;
      while (current.#pauses === 0 && current.#waitingOn === undefined) {
        const link = current.#first;
        if (link === undefined) break;
        current.#first = link.next;
        if (link.next === undefined) current.#last = undefined;
        if (link.kind === CALL) {
          const fn =
            current.#result instanceof Failure ? link.bad : (link.ok as Handler | undefined);
          if (fn !== undefined) current.#call(fn);
        } else if (link.kind === HAND_OVER) {
          next = link.ok as Deferred<unknown>;
          next.#result = current.#result;
          next.#waitingOn = undefined;
          current.#result = undefined;
          break;
        } else {
          next = current.#show(link.ok as Waiter);
          if (next !== undefined) break;
        }
      }
      if (next !== undefined) {
        (below ??= []).push(current);
        current = next;
        continue;
      }
      current.#rest();
      const under = below?.pop();
      if (under === undefined) return;
      current = under;
      current.#flags &= ~RUNNING;
    }
  }

  #call(fn: Handler): void {
    this.#flags |= RUNNING;
    let outcome: unknown;
    try {
      outcome = fn(this.#result);
    } catch (error) {
      outcome = new Failure(error);
    }
    this.#flags &= ~RUNNING;
    if ((typeof outcome === 'object' && outcome !== null) || typeof outcome === 'function') {
      this.#adopt(outcome);
    } else {
      this.#result = outcome;
    }
  }

  /** Shows the result to one who waits for it; it stays RUNNING while what that fires is run on top of it. */
  #show(waiter: Waiter): Deferred<unknown> | undefined {
    const result = this.#result;
    if (result instanceof Failure) (this.#rare ??= {}).observed = result;
    this.#flags |= RUNNING;
    const next = waiter.resume(result);
    if (next === undefined) this.#flags &= ~RUNNING;
    return next;
  }

  /** Makes `outcome` the result; waits for it where it is a Deferred or a thenable. */
  #adopt(outcome: object): void {
    if (outcome instanceof Failure) {
      this.#result = outcome;
      return;
    }
    let inner: Deferred<unknown>;
    if (outcome instanceof Deferred) {
      inner = outcome;
    } else {
      try {
        if (!isThenable(outcome)) {
          this.#result = outcome;
          return;
        }
      } catch (error) {
        this.#result = new Failure(error);
        return;
      }
      inner = Deferred.fromPromise(outcome);
    }
    if (inner === this || this.#isWaitedForBy(inner)) {
      this.#result = new Failure(
        new TypeError('a Deferred cannot wait for itself: a callback returned it'),
      );
    } else if (inner.#isReady()) {
      this.#result = inner.#result;
      inner.#result = undefined;
      inner.#rest();
    } else {
      this.#waitingOn = inner;
      inner.#push(new Link(HAND_OVER, this, undefined));
    }
  }

  /** Only one that is waited for can close a ring, so the walk is rare. */
  #isWaitedForBy(other: Deferred<unknown>): boolean {
    let waits = false;
    for (let link = this.#first; link !== undefined && !waits; link = link.next)
      waits = link.kind === HAND_OVER;
    if (!waits) return false;
    for (let at = other.#waitingOn; at !== undefined; at = at.#waitingOn)
      if (at === this) return true;
    return false;
  }

  #isReady(): boolean {
    return (this.#flags & CALLED) !== 0 && this.#pauses === 0 && this.#waitingOn === undefined;
  }

  /** The chain has been run as far as it goes: a failure at its end is nobody's, unless it was observed. */
  #rest(): void {
    const result = this.#result;
    const rare = this.#rare;
    if (result instanceof Failure && this.#waitingOn === undefined) {
      if (rare?.observed === result || rare?.unhandled?.failure === result) return;
      if (rare?.unhandled !== undefined) handled(rare.unhandled);
      (this.#rare ??= {}).unhandled = noteUnhandled(result, () => this.#history());
    } else if (rare?.unhandled !== undefined) {
      handled(rare.unhandled);
      delete rare.unhandled;
    }
  }

  // ── Pausing and looking ──────────────────────────────────────────────────────────────────────────────────────────

  /** Runs nothing more of the chain until `unpause` has been called as often as this. */
  pause(): void {
    this.#pauses++;
  }

  /** Takes one `pause` back; the last one runs what has been held back. */
  unpause(): void {
    if (this.#pauses === 0) throw new RangeError('unpause() without pause()');
    if (--this.#pauses === 0 && (this.#flags & CALLED) !== 0) Deferred.#run(this);
  }

  /** True once it has been fired, or cancelled into failing. */
  get called(): boolean {
    return (this.#flags & CALLED) !== 0;
  }

  /** How often it is paused; one more while it waits for another Deferred. */
  get paused(): number {
    return this.#pauses + (this.#waitingOn === undefined ? 0 : 1);
  }

  /** The result at this point of the chain, if there is one: a value or a Failure. Looking does not handle it. */
  get result(): unknown {
    return this.#waitingOn === undefined ? this.#result : undefined;
  }

  /** The Deferred that a callback returned and that this one waits for. */
  get waitingOn(): Deferred<unknown> | undefined {
    return this.#waitingOn;
  }

  /** How far it is. */
  get state(): DeferredState {
    if (!this.called) return 'unfired';
    if (this.#waitingOn !== undefined) return 'waiting';
    return this.#result instanceof Failure ? 'failed' : 'succeeded';
  }

  toString(): string {
    switch (this.state) {
      case 'unfired':
        return '<Deferred>';
      case 'waiting':
        return '<Deferred waiting for another>';
      case 'failed':
        return `<Deferred current result: ${String(this.#result)}>`;
      case 'succeeded':
        return `<Deferred current result: ${inspect(this.#result, { depth: 1 })}>`;
    }
  }

  [inspect.custom](): string {
    return this.toString();
  }

  /** Where it was made and fired, if that was written down. */
  #history(): string {
    const { created, fired } = this.#rare ?? {};
    let text = '';
    for (const place of [created, fired]) {
      if (place !== undefined)
        text += `\n${place.message}:\n${(place.stack ?? '').split('\n').slice(2).join('\n')}`;
    }
    return text;
  }

  // ── Timeouts and signals ─────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Cancels it in `timeout` seconds unless it has its result by then. If that makes it fail with CancelledError, the
   * failure becomes TimeoutError. Covers what was added to the chain before it.
   *
   * @param clock whose seconds; a reactor or a `Clock`
   * @param onTimeoutCancel makes the result of a timeout instead, from the result after cancelling
   */
  addTimeout<R = never>(
    timeout: Seconds,
    clock: IReactorTime,
    onTimeoutCancel?: (result: T | Failure, timeout: Seconds) => R,
  ): Deferred<T | Settled<R>> {
    let timedOut = false;
    const call = clock.callLater(timeout, () => {
      timedOut = true;
      this.cancel();
    });
    return this.addBoth((result: T | Failure): unknown => {
      if (call.active()) call.cancel();
      if (!timedOut) return result;
      if (onTimeoutCancel !== undefined) return onTimeoutCancel(result, timeout);
      if (!(result instanceof Failure) || result.check(CancelledError) === undefined) return result;
      throw new TimeoutError(`not done after ${timeout} seconds`, { cause: result.value });
    }) as never;
  }

  /** Cancels it when `signal` is aborted. The signal keeps no listener once there is a result. */
  cancelOn(signal: AbortSignal): this {
    if (signal.aborted) {
      this.cancel();
      return this;
    }
    const abort = () => this.cancel();
    signal.addEventListener('abort', abort, { once: true });
    this.addBoth((result) => {
      signal.removeEventListener('abort', abort);
      return result;
    });
    return this;
  }

  // ── Promises and coroutines ──────────────────────────────────────────────────────────────────────────────────────

  /**
   * For `await` and promise code: shows the result at this point of the chain and leaves it there. A failure rejects
   * with its Error, and is then the promise's to report.
   */
  then<A = T, B = never>(
    onfulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onrejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.asPromise().then(onfulfilled, onrejected);
  }

  /** A promise of the result at this point of the chain, which stays there. */
  asPromise(): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      Deferred.wait(this, {
        resume(result) {
          if (result instanceof Failure) reject(result.value);
          else resolve(result as T);
          return undefined;
        },
      });
    });
  }

  /**
   * A Deferred of a promise's (or any thenable's) value.
   *
   * @param options.abort called by `cancel()`, to stop what the promise waits for; the Deferred then waits for what
   *   the promise really does. Without it, cancelling fails with CancelledError at once.
   */
  static fromPromise<T>(
    promise: PromiseLike<T>,
    options: { abort?: () => void } = {},
  ): Deferred<Awaited<T>> {
    const { abort } = options;
    const deferred = new Deferred<Awaited<T>>();
    if (abort !== undefined) {
      (deferred as Deferred<unknown>).#canceller = {
        awaited: () => {
          abort();
          return undefined;
        },
      };
    }
    try {
      promise.then(
        (value) => {
          deferred.callback(value as Awaited<T>);
        },
        (error: unknown) => {
          deferred.errback(new Failure(error));
        },
      );
    } catch (error) {
      deferred.errback(new Failure(error));
    }
    return deferred;
  }

  /** For `yield*` in a coroutine: `const page = yield* getPage(url)` waits, and has the value's type. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- what the runner sends in has no type that TypeScript could follow
  [Symbol.iterator](): Generator<Deferred<T>, T, any> {
    return new Wait(this) as never;
  }

  // ── For inlineCallbacks ──────────────────────────────────────────────────────────────────────────────────────────

  /** @internal True if there is a result to be had now, with nothing left to run. */
  static isReady(deferred: Deferred<unknown>): boolean {
    return (
      deferred.#isReady() && deferred.#first === undefined && (deferred.#flags & RUNNING) === 0
    );
  }

  /** @internal The result of one that is ready; a failure counts as observed. */
  static observe(deferred: Deferred<unknown>): unknown {
    const result = deferred.#result;
    if (result instanceof Failure) {
      (deferred.#rare ??= {}).observed = result;
      if (deferred.#rare.unhandled !== undefined) {
        handled(deferred.#rare.unhandled);
        delete deferred.#rare.unhandled;
      }
    }
    return result;
  }

  /** @internal Shows the result to `waiter` when the chain comes to it. */
  static wait(deferred: Deferred<unknown>, waiter: Waiter): void {
    deferred.#push(new Link(SHOW, waiter, undefined));
    if ((deferred.#flags & (CALLED | RUNNING)) === CALLED) Deferred.#run(deferred);
  }

  /** @internal A Deferred whose cancellation goes to `relay`. */
  static relayed<T>(relay: Relay): Deferred<T> {
    const deferred = new Deferred<T>();
    deferred.#canceller = relay;
    return deferred;
  }

  /** @internal Fires without running the chain: the caller hands it to the loop, or calls `run`. */
  static settle(deferred: Deferred<unknown>, outcome: unknown): void {
    if (!deferred.#setResult(undefined)) return;
    if (typeof outcome === 'object' && outcome !== null) deferred.#adopt(outcome);
    else deferred.#result = outcome;
  }

  /** @internal Runs what `settle` left. */
  static run(deferred: Deferred<unknown>): void {
    Deferred.#run(deferred);
  }
}

/** The iterator behind `yield*`: gives the value at once where there is one, else the Deferred to the runner. */
class Wait {
  readonly #deferred: Deferred<unknown>;
  #asked = false;

  constructor(deferred: Deferred<unknown>) {
    this.#deferred = deferred;
  }

  next(sent?: unknown): IteratorResult<unknown> {
    if (this.#asked) return { done: true, value: sent };
    this.#asked = true;
    const deferred = this.#deferred;
    if (!Deferred.isReady(deferred)) return { done: false, value: deferred };
    const result = Deferred.observe(deferred);
    if (result instanceof Failure) throw result.value;
    return { done: true, value: result };
  }

  throw(error: unknown): never {
    throw error;
  }

  return(value: unknown): IteratorResult<unknown> {
    return { done: true, value };
  }

  [Symbol.iterator](): this {
    return this;
  }
}

function bind(fn: Handler, args: readonly unknown[]): Handler {
  if (args.length === 0 || typeof fn !== 'function') return fn;
  return (result) => (fn as (...all: unknown[]) => unknown)(result, ...args);
}

function isThenable(thing: object): thing is PromiseLike<unknown> {
  return typeof (thing as { then?: unknown }).then === 'function';
}

/** A Deferred that has already succeeded with `value`. */
export function succeed<T>(value: T): Deferred<T>;
export function succeed(): Deferred<void>;
export function succeed<T>(value?: T): Deferred<T | undefined> {
  const deferred = new Deferred<T | undefined>();
  deferred.callback(value);
  return deferred;
}

/** A Deferred that has already failed with `reason`. */
export function fail<T = never>(reason: Failure | Error): Deferred<T> {
  const deferred = new Deferred<T>();
  deferred.errback(reason);
  return deferred;
}

/**
 * Calls `fn(...args)` and makes a Deferred of whatever comes of it: a Deferred is returned as it is, a promise is
 * waited for, a value succeeds, a Failure or something thrown fails.
 *
 * @example
 * maybeDeferred(JSON.parse, '{"broken"').addErrback((failure) => failure.trap(SyntaxError).message);
 */
export function maybeDeferred<R, A extends unknown[]>(
  fn: (...args: A) => R,
  ...args: A
): Deferred<Settled<R>> {
  let outcome: unknown;
  try {
    outcome = fn(...args);
  } catch (error) {
    outcome = new Failure(error);
  }
  if (outcome instanceof Deferred) return outcome as never;
  const deferred = new Deferred<Settled<R>>();
  Deferred.settle(deferred as Deferred<unknown>, outcome);
  Deferred.run(deferred as Deferred<unknown>);
  return deferred;
}
