/**
 * Deferred: a value that is not there yet, and the chain of functions that wait for it. This is the heart of plait.
 * Twisted: `twisted.internet.defer.Deferred`.
 *
 * A Deferred is one object, changed in place: `addCallback` appends to its chain and returns the same object, re-typed
 * to what the chain yields from there on. Callbacks run synchronously, inside `callback()`, unlike a Promise's.
 *
 * Rules for editors: the loop that runs the chain never recurses, however long the chain or deep the nesting (a
 * Deferred that gets its result from another is run by the same loop); a result that is waited for with `await` or
 * `yield*` is observed, never taken; and an unhandled failure is reported exactly once.
 */
import { checkInstance, shownArgument } from './arguments.ts';
import { showAwaits } from './awaited.ts';
import type {
  Canceller,
  DeferredState,
  Handler,
  Rare,
  Relay,
  Settled,
  Sweep,
  Waiter,
} from './chain.ts';
import {
  bind,
  callable,
  checkCanceller,
  handOver,
  historyOf,
  isCoroutine,
  isObject,
  isThenable,
  Link,
  show,
} from './chain.ts';
import { CALLED, MAY_NOT_RUN, PAUSED, RUNNING, SWALLOW, TAKEN, WAITED, WAITING } from './chain.ts';
import { nesting, runCoroutine, runLate, setDeferredClass, Wait } from './coroutine.ts';
import { AlreadyCalledError, CancelledError, NotACoroutineError } from './errors.ts';
import { Failure } from './failure.ts';
import { close, type Frame, frames, noteAwaited, open, OPEN, setAwaitedClass } from './frames.ts';
import { cancelAlong, cancelOnAbort, type Steps, timeOut } from './give-up.ts';
import type { IReactorTime, Seconds } from './interfaces.ts';
import { debugging, notePending } from './pending.ts';
import { abortOf, ofPromise, promised, setPromisedClass, watched } from './promised.ts';
import { handled, noteUnhandled } from './unhandled.ts';
import { briefly, INSPECT, inspected, type Inspecting, told } from './one-line.ts';

export type { Canceller, DeferredState, Settled } from './chain.ts';

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
  /** The result, once CALLED; the Deferred that it will come from while WAITING. */
  #result: unknown = undefined;
  #first: Link | undefined = undefined;
  #last: Link | undefined = undefined;
  #canceller: Canceller<never> | Relay | undefined;
  #rare: Rare | undefined = undefined;

  /** @param canceller called by `cancel()` while the Deferred is not fired */
  constructor(canceller?: Canceller<T>) {
    this.#canceller = checkCanceller(canceller);
    if (debugging) this.#rare = { created: notePending(this, new Error('created here')) };
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
    if (this.setResult(result)) Deferred.run(this);
  }

  /**
   * Fires with a failure, and runs the chain before it returns.
   *
   * @throws AlreadyCalledError if it was fired before
   */
  errback(reason: Failure | Error): void {
    if (this.setResult(Failure.from(reason))) Deferred.run(this);
  }

  /**
   * Says that the result is not wanted any more. Not fired: the canceller is called, and if it does not fire the
   * Deferred, that fails with CancelledError. Waiting for another Deferred: that one is cancelled. Fired: nothing.
   * What a canceller throws is thrown from here, and the Deferred stays unfired.
   * Without a canceller, one late `callback` or `errback` is ignored, since its sender was not told to stop.
   */
  cancel(): void {
    Deferred.cancel(this, false);
  }

  /**
   * @internal As `cancel()`, where plait itself cancels and no caller could catch what a canceller throws: that is
   * logged, and the Deferred that it belongs to fails with CancelledError.
   */
  static cancelGuarded(deferred: Deferred<unknown>): void {
    Deferred.cancel(deferred, false, true);
  }

  /** @internal As `cancel()`. `surely`: a coroutine about to be resumed is cancelled in what it waits for next. */
  static cancel(start: Deferred<unknown> | Sweep, surely: boolean, guarded = false): void {
    cancelAlong(start, surely, guarded, Deferred.#cancelling);
  }

  static readonly #cancelling: Steps = {
    cancel: (deferred, surely) => deferred.cancelOne(surely),
    failed: (deferred, error) => deferred.failCancelled(error),
  };

  /** Returns what is to be cancelled next. */
  private cancelOne(surely: boolean): Deferred<unknown> | Sweep | undefined {
    if ((this.#flags & CALLED) !== 0) return this.inner;
    const canceller = this.#canceller;
    if (canceller !== undefined && typeof canceller !== 'function')
      return canceller.awaited(surely);
    if (canceller === undefined) this.#flags |= SWALLOW;
    else watched((canceller as (deferred: never) => unknown)(this as never));
    if ((this.#flags & CALLED) === 0) this.errback(new CancelledError());
    return undefined;
  }

  /** Its canceller threw `error`, and did not stop what would fire it. */
  private failCancelled(error: unknown): void {
    if ((this.#flags & CALLED) !== 0) return;
    this.#flags |= SWALLOW;
    this.errback(new CancelledError('cancelled, but its canceller failed', { cause: error }));
  }

  /** False if the result is to be ignored. */
  private setResult(result: unknown): boolean {
    if ((this.#flags & CALLED) !== 0) {
      if ((this.#flags & SWALLOW) === 0) {
        throw new AlreadyCalledError(
          `this Deferred has already been fired${historyOf(this.#rare)}`,
        );
      }
      this.#flags &= ~SWALLOW;
      return false;
    }
    this.#flags |= CALLED;
    this.#canceller = undefined;
    this.#result = result;
    if (this.#rare !== undefined) this.#rare.chainedTo = undefined;
    if (debugging) (this.#rare ??= {}).fired = new Error('first fired here');
    return true;
  }

  // ── The chain ────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Calls `fn(value, ...args)` with the value; what it returns is the next value, what it throws the next failure. A
   * Deferred or promise that it returns is waited for, and a generator is run as a coroutine.
   */
  addCallback<R, A extends unknown[]>(
    fn: (value: T, ...args: A) => R,
    ...args: A
  ): Deferred<Settled<R>>;
  addCallback(fn: never): never {
    return this.append(
      arguments.length === 1 ? callable(fn) : bind(fn, arguments),
      undefined,
    ) as never;
  }

  /** Calls `fn(failure, ...args)` with the failure, if it comes to one; what it returns is the next value. */
  addErrback<R, A extends unknown[]>(
    fn: (failure: Failure, ...args: A) => R,
    ...args: A
  ): Deferred<T | Settled<R>>;
  addErrback(fn: never): never {
    return this.append(
      undefined,
      arguments.length === 1 ? callable(fn) : bind(fn, arguments),
    ) as never;
  }

  /** Calls `fn(result, ...args)` with the value or the failure. */
  addBoth<R, A extends unknown[]>(
    fn: (result: T | Failure, ...args: A) => R,
    ...args: A
  ): Deferred<Settled<R>>;
  addBoth(fn: never): never {
    const handler = arguments.length === 1 ? callable(fn) : bind(fn, arguments);
    return this.append(handler, handler) as never;
  }

  /** One link with two sides: `ok` is called with a value, `bad` with a failure, and never both. */
  addCallbacks<R, S = never>(
    ok: (value: T) => R,
    bad?: (failure: Failure) => S,
  ): Deferred<Settled<R> | Settled<S>> {
    return this.append(callable(ok), bad === undefined ? bad : callable(bad)) as never;
  }

  /**
   * Gives the result to `other` when it comes, which is then undefined here. Cancelling `other` does not cancel this.
   */
  chainDeferred(other: Deferred<T>): Deferred<void> {
    checkInstance(other, 'chainDeferred: other', Deferred);
    if ((other.#flags & CALLED) === 0) (other.#rare ??= {}).chainedTo = this;
    const waiter: Waiter = {
      takesOver: true,
      // The loop runs the other's chain, so that one may be chained to the next any number of times.
      resume: (result) => {
        try {
          const runs = other.setResult(result) && (other.#flags & MAY_NOT_RUN) === CALLED;
          return runs ? other : undefined;
        } catch (error) {
          return void (waiter.refused = new Failure(error));
        }
      },
    };
    this.push(new Link(waiter, show));
    return this as never;
  }

  private append(ok: Handler | undefined, bad: Handler | undefined): this {
    this.push(new Link(ok, bad));
    return this;
  }

  private push(link: Link): void {
    if (this.#last === undefined) this.#first = link;
    else this.#last.next = link;
    this.#last = link;
    if ((this.#flags & MAY_NOT_RUN) === CALLED) Deferred.runChain(this);
  }

  /**
   * Runs the chain of a fired Deferred as far as it goes, and the chains of those that get their results from it.
   *
   * `current` is the one being run; those in `below` handed their result up and go on when it is done. All state is in
   * the Deferreds themselves, since any function called from here may fire, add to, pause or cancel any of them.
   */
  private static runChain(start: Deferred<unknown>): void {
    let current = start;
    let below: Deferred<unknown>[] | undefined;
    nesting.depth++;
    try {
      for (;;) {
        let next: Deferred<unknown> | undefined;
        let link: Link | undefined;
        while ((current.#flags & MAY_NOT_RUN) === CALLED && (link = current.#first) !== undefined) {
          current.#first = link.next;
          if (link.next === undefined) current.#last = undefined;
          const { bad } = link;
          if (bad === handOver) {
            next = link.ok as Deferred<unknown>;
            next.#result = current.#result;
            next.#flags &= ~WAITING;
            current.#result = undefined;
            break;
          }
          if (bad === show) {
            next = current.show(link.ok as Waiter);
            if (next !== undefined) break;
            continue;
          }
          const result = current.#result;
          const fn = result instanceof Failure ? bad : (link.ok as Handler | undefined);
          if (fn === undefined) continue;
          current.#flags |= RUNNING;
          const before = frames.opened;
          frames.opened = OPEN;
          if (frames.tracking) open();
          let outcome: unknown;
          try {
            outcome = fn(result);
          } catch (error) {
            outcome = new Failure(error);
          }
          const frame = frames.opened === OPEN ? undefined : close(before);
          frames.opened = before;
          if (isObject(outcome)) current.adopt(outcome, frame);
          else current.#result = outcome;
          frame?.endUnlessFollowed();
          current.#flags &= ~RUNNING;
        }
        if (next !== undefined) {
          (below ??= []).push(current);
          current = next;
          continue;
        }
        if (current.#rare !== undefined || current.#result instanceof Failure) current.rest();
        const under = below?.pop();
        if (under === undefined) return;
        current = under;
        if ((current.#flags & TAKEN) !== 0) current.#result = undefined;
        current.#flags &= ~(RUNNING | TAKEN);
      }
    } finally {
      // No function is called here unless it must be: the stack may be full, and the count must be kept.
      if (--nesting.depth === 0 && nesting.late.length > 0) runLate();
    }
  }

  /** Shows the result to one who waits for it; it stays RUNNING while what that fires is run on top of it. */
  private show(waiter: Waiter): Deferred<unknown> | undefined {
    const result = this.#result;
    const takesOver = waiter.takesOver === true;
    if (result instanceof Failure && !takesOver) (this.#rare ??= {}).observed = result as Failure;
    this.#flags |= RUNNING;
    const next = waiter.resume(result);
    if (next === undefined) this.#flags &= ~RUNNING;
    if (takesOver && next !== undefined) this.#flags |= TAKEN;
    else if (takesOver) this.#result = waiter.refused;
    return next;
  }

  /**
   * The result is `outcome`: what is to be waited for, where it is a Deferred, a coroutine or a thenable. The caller
   * sees to it that this is RUNNING, since the user's code is called, which still sees the result before.
   */
  private adopt(outcome: object, frame?: Frame): void {
    let inner: Deferred<unknown>;
    try {
      if (outcome instanceof Deferred) inner = outcome;
      else if (outcome instanceof Failure) return void (this.#result = outcome);
      else if (isCoroutine(outcome)) inner = runCoroutine(outcome);
      else if (isThenable(outcome)) inner = promised(outcome, frame);
      else return void (this.#result = outcome);
    } catch (error) {
      // A Proxy, or a getter, that throws when it is looked at.
      this.#result = new Failure(error);
      return;
    }
    if (inner === this || this.isWaitedForBy(inner)) {
      this.#result = new Failure(
        new TypeError('a Deferred cannot wait for itself: a callback returned it'),
      );
    } else if (inner.isReady()) {
      this.#result = inner.#result;
      inner.#result = undefined;
      inner.rest();
    } else {
      this.#result = inner;
      this.#flags |= WAITING;
      inner.#flags |= WAITED;
      // It has no result to run with, so this only appends.
      inner.push(new Link(this, handOver));
    }
  }

  /** Only one that is waited for can close a ring, so the walk is rare. */
  private isWaitedForBy(other: Deferred<unknown>): boolean {
    if ((this.#flags & WAITED) === 0) return false;
    for (let at = other.inner; at !== undefined; at = at.inner) if (at === this) return true;
    return false;
  }

  private isReady(): boolean {
    return (this.#flags & (CALLED | PAUSED | WAITING)) === CALLED;
  }

  /** The chain has been run as far as it goes: a failure at its end is unhandled, unless it was observed. */
  private rest(): void {
    const result = this.#result;
    const rare = this.#rare;
    if (result instanceof Failure && rare?.observed !== result) {
      if (rare?.unhandled?.failure === result) return;
      if (rare?.unhandled !== undefined) handled(rare.unhandled);
      (this.#rare ??= {}).unhandled = noteUnhandled(result as Failure, historyOf(this.#rare));
    } else if (rare?.unhandled !== undefined) {
      handled(rare.unhandled);
      delete rare.unhandled;
    }
  }

  // ── Pausing and looking ──────────────────────────────────────────────────────────────────────────────────────────

  /** Runs nothing more of the chain until `unpause` has been called as often as this. */
  pause(): void {
    const rare = (this.#rare ??= {});
    rare.pauses = (rare.pauses ?? 0) + 1;
    this.#flags |= PAUSED;
  }

  /**
   * Takes one `pause` back; the last one runs what has been held back.
   *
   * @throws RangeError if it is not paused
   */
  unpause(): void {
    const pauses = this.#rare?.pauses ?? 0;
    if (this.#rare === undefined || pauses === 0) throw new RangeError('unpause() without pause()');
    this.#rare.pauses = pauses - 1;
    if (pauses > 1) return;
    this.#flags &= ~PAUSED;
    if ((this.#flags & MAY_NOT_RUN) === CALLED) Deferred.runChain(this);
  }

  /** True once it has been fired, or cancelled into failing. */
  get called(): boolean {
    return (this.#flags & CALLED) !== 0;
  }

  /** How often it is paused; one more while it waits for another Deferred. */
  get paused(): number {
    return (this.#rare?.pauses ?? 0) + ((this.#flags & WAITING) === 0 ? 0 : 1);
  }

  /** The result at this point of the chain, if there is one: a value or a Failure. Looking does not handle it. */
  get result(): unknown {
    return (this.#flags & WAITING) === 0 ? this.#result : undefined;
  }

  /**
   * The Deferred that this one waits for: that a callback returned, that was chained to it by `chainDeferred`, or that
   * the coroutine behind it waits for.
   */
  get waitingOn(): Deferred<unknown> | undefined {
    if ((this.#flags & CALLED) !== 0) return this.inner;
    const canceller = this.#canceller;
    const awaited = typeof canceller === 'object' ? canceller.waitingOn : undefined;
    return awaited ?? this.#rare?.chainedTo;
  }

  private get inner(): Deferred<unknown> | undefined {
    return (this.#flags & WAITING) === 0 ? undefined : (this.#result as Deferred<unknown>);
  }

  /** How far it is. */
  get state(): DeferredState {
    if (!this.called) return 'unfired';
    if ((this.#flags & WAITING) !== 0) return 'waiting';
    return this.#result instanceof Failure ? 'failed' : 'succeeded';
  }

  toString(): string {
    if (this.waitingOn !== undefined) return told(this, 'waiting for another');
    return told(this, this.called ? `current result: ${briefly(this.#result)}` : '');
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
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
    const cancel = (): void => Deferred.cancelGuarded(this);
    return timeOut(this, timeout, clock, cancel, onTimeoutCancel) as never;
  }

  /** Cancels it when `signal` is aborted. The signal keeps no listener once there is a result. */
  cancelOn(signal: AbortSignal): this {
    cancelOnAbort(this, signal, () => Deferred.cancelGuarded(this));
    return this;
  }

  // ── Promises and coroutines ──────────────────────────────────────────────────────────────────────────────────────

  /**
   * For `await` and promise code: shows the result at this point of the chain and leaves it there. A failure rejects
   * with its Error, and is then the promise's to report.
   */
  get then(): <A = T, B = never>(
    onfulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onrejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ) => Promise<A | B> {
    // An `await` looks this up at once, and calls it in a microtask.
    const frame = noteAwaited(this);
    return (onfulfilled, onrejected) => this.promiseIn(frame).then(onfulfilled, onrejected);
  }

  /** A promise of the result at this point of the chain, which stays there. */
  asPromise(): Promise<T> {
    return this.promiseIn(noteAwaited(this));
  }

  private promiseIn(frame: Frame | undefined): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      Deferred.wait(this, {
        resume: (result) => {
          frame?.forget(this);
          if (result instanceof Failure) {
            showAwaits(result.value as Error);
            reject(result.value as Error);
          } else resolve(result as T);
          return undefined;
        },
      });
      frame?.heard(this);
    });
  }

  /**
   * A Deferred of a promise's (or any thenable's) value.
   *
   * @param options.abort called by `cancel()`, to stop what the promise waits for; the Deferred then waits for what
   *   the promise really does; an AbortError is then a CancelledError. Without it, cancelling fails at once.
   */
  static fromPromise<T>(
    promise: PromiseLike<T>,
    options: { abort?: () => void } = {},
  ): Deferred<Awaited<T>> {
    return ofPromise(promise, abortOf(promise, options));
  }

  /** A Deferred of what comes of a coroutine or a promise; throws NotACoroutineError for anything else. */
  static fromCoroutine<R>(coroutine: Generator<unknown, R> | PromiseLike<R>): Deferred<Settled<R>> {
    if (isObject(coroutine) && isCoroutine(coroutine)) return runCoroutine(coroutine) as never;
    if (isObject(coroutine) && isThenable(coroutine) && !(coroutine instanceof Deferred))
      return ofPromise(coroutine) as never;
    throw new NotACoroutineError(
      `the thing is neither a coroutine nor a promise: ${shownArgument(coroutine)}`,
    );
  }

  /** For `yield*` in a coroutine: `const page = yield* getPage(url)` waits, and has the value's type. */
  [Symbol.iterator](): Generator<Deferred<T>, T> {
    return new Wait(this) as never;
  }

  /** @internal True if there is a result to be had now, with nothing left to run. */
  static isReady(deferred: Deferred<unknown>): boolean {
    return deferred.isReady() && deferred.#first === undefined && (deferred.#flags & RUNNING) === 0;
  }

  /** @internal The result of one that is ready; a failure counts as observed. */
  static observe(deferred: Deferred<unknown>): unknown {
    const result = deferred.#result;
    if (result instanceof Failure) {
      (deferred.#rare ??= {}).observed = result as Failure;
      if (deferred.#rare.unhandled !== undefined) {
        handled(deferred.#rare.unhandled);
        delete deferred.#rare.unhandled;
      }
    }
    return result;
  }

  /** @internal Shows the result to `waiter` when the chain comes to it. */
  static wait(deferred: Deferred<unknown>, waiter: Waiter): void {
    deferred.push(new Link(waiter, show));
  }

  /** @internal A Deferred whose cancellation goes to `relay`. */
  static relayed<T>(relay: Relay): Deferred<T> {
    const deferred = new Deferred<T>();
    deferred.#canceller = relay;
    return deferred;
  }

  /** @internal Fires without running the chain: the caller hands it to the loop, or calls `run`. */
  static settle(deferred: Deferred<unknown>, outcome: unknown, frame?: Frame): void {
    const mayBeAdopted = isObject(outcome);
    if (deferred.setResult(mayBeAdopted ? undefined : outcome) && mayBeAdopted) {
      deferred.#flags |= RUNNING;
      deferred.adopt(outcome, frame);
      deferred.#flags &= ~RUNNING;
    }
    frame?.endUnlessFollowed();
  }

  /** @internal Runs what `settle` left. */
  static run(deferred: Deferred<unknown>): void {
    if ((deferred.#flags & MAY_NOT_RUN) === CALLED) Deferred.runChain(deferred);
  }
}

setDeferredClass(Deferred);
setAwaitedClass(Deferred);
setPromisedClass(Deferred);
