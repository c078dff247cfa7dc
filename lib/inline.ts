/**
 * Coroutines: a generator that waits for Deferreds with `yield*`, and reads like blocking code. It starts at once and
 * goes on inside the `callback()` that fires what it waits for, so no turn of the loop lies between. Twisted:
 * `twisted.internet.defer.inlineCallbacks`. What runs them is in `coroutine.ts`.
 */
import { checkFunction } from './arguments.ts';
import { noteName } from './awaited.ts';
import { isObject } from './chain.ts';
import { type Coroutine, isCoroutine, runCoroutine } from './coroutine.ts';
import { Deferred, type Settled } from './defer.ts';
import { CancelledError } from './errors.ts';
import { Failure } from './failure.ts';

export type { Coroutine } from './coroutine.ts';

/**
 * Makes a function that runs `fn`'s generator as a coroutine and returns a Deferred of what it returns. A failure of
 * what it waits for is thrown where it waits; what it throws makes the Deferred fail. `this` and the arguments are
 * passed on. Cancelling the Deferred cancels what the coroutine waits for at that moment; it may catch the
 * CancelledError and go on. It runs in the AsyncLocalStorage context of its caller throughout.
 *
 * The Deferred fails with TypeError if `fn` does not return a generator.
 *
 * @example
 * const countdown = inlineCallbacks(function* (clock: IReactorTime, from: number) {
 *   for (let n = from; n > 0; n--) yield* deferLater(clock, 1);
 *   return 'lift-off';
 * });
 * const clock = new Clock();
 * countdown(clock, 3).addCallback(console.log);
 * clock.pump([1, 1, 1]);
 */
export function inlineCallbacks<This, A extends unknown[], R>(
  fn: (this: This, ...args: A) => Coroutine<R>,
): (this: This, ...args: A) => Deferred<Settled<R>> {
  checkFunction(fn, 'inlineCallbacks: fn');
  noteName(fn);
  return function (this: This, ...args: A): Deferred<Settled<R>> {
    let generator: unknown;
    try {
      generator = fn.apply(this, args);
    } catch (error) {
      generator = new Failure(error);
    }
    if (typeof generator === 'object' && generator !== null && isCoroutine(generator))
      return runCoroutine(generator) as Deferred<Settled<R>>;
    const failed = new Deferred<Settled<R>>();
    failed.errback(
      generator instanceof Failure
        ? generator
        : new TypeError('inlineCallbacks needs a generator function: write function* and yield*'),
    );
    return failed;
  };
}

/**
 * A Deferred of what comes of `thing`: a Deferred is returned as it is, a generator is run as a coroutine, a promise
 * is waited for. Twisted: `ensureDeferred`.
 *
 * @throws NotACoroutineError for anything else
 */
export function ensureDeferred<T>(thing: Deferred<T>): Deferred<T>;
export function ensureDeferred<R>(thing: Coroutine<R> | PromiseLike<R>): Deferred<Settled<R>>;
export function ensureDeferred(thing: unknown): Deferred<unknown> {
  if (thing instanceof Deferred) return thing as Deferred<unknown>;
  return Deferred.fromCoroutine(thing as PromiseLike<unknown>);
}

/**
 * Calls `fn` with an AbortSignal that is aborted when the Deferred is cancelled, and waits for the promise that it
 * returns; a generator is run as a coroutine, which is cancelled too. The Deferred then has what the promise comes to after that; an AbortError is then a CancelledError. The other
 * way round, `Deferred.cancelOn` cancels when a signal says so.
 *
 * @example
 * const page = withSignal((signal) => fetch('data:,hello', { signal }));
 * page.addCallback((response) => response.text()).addCallback(console.log);
 */
export function withSignal<R>(
  fn: (signal: AbortSignal) => PromiseLike<R> | Coroutine<R>,
): Deferred<Awaited<R>> {
  checkFunction(fn, 'withSignal: fn');
  const controller = new AbortController();
  let outcome: PromiseLike<R> | Coroutine<R>;
  try {
    outcome = fn(controller.signal);
  } catch (error) {
    const failed = new Deferred<Awaited<R>>();
    failed.errback(new Failure(error));
    return failed;
  }
  const isRun = isObject(outcome) && isCoroutine(outcome);
  const work = isRun ? Deferred.fromCoroutine(outcome) : outcome;
  return Deferred.fromPromise(work as PromiseLike<R>, {
    abort: () => {
      controller.abort(new CancelledError());
      if (isRun) Deferred.cancelGuarded(work as Deferred<unknown>);
    },
  });
}
