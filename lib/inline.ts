/**
 * Coroutines: a generator that waits for Deferreds with `yield*`, and reads like blocking code. It starts at once and
 * goes on inside the `callback()` that fires what it waits for, so no turn of the loop lies between. Twisted:
 * `twisted.internet.defer.inlineCallbacks`.
 *
 * A rule for editors: a coroutine that comes to its end never fires its Deferred itself while it is being resumed, but
 * hands it back to the loop that resumed it; so a chain of coroutines waiting for one another needs no stack.
 */
import { AsyncResource } from 'node:async_hooks';
import { isThenable, type Relay, type Waiter } from './chain.ts';
import { Deferred, getDebugging, type Settled } from './defer.ts';
import { CancelledError, NotACoroutineError } from './errors.ts';
import { Failure } from './failure.ts';
import { Logger } from './log.ts';
import { noteCoroutine } from './pending.ts';

const log = new Logger('plait.defer');

/**
 * A generator that can be run as a coroutine. It may yield Deferreds, promises and other coroutines, which are waited
 * for; a Failure is thrown; anything else is sent straight back.
 */
export type Coroutine<R> = Generator<unknown, R>;

/** Its end is told when the coroutine ends, so it need not be watched for collection. */
const RESOURCE_OPTIONS = { requireManualDestroy: true } as const;

/** A generator being run, in the AsyncLocalStorage context of whoever called it. */
class Run extends AsyncResource implements Waiter, Relay {
  readonly deferred: Deferred<unknown>;
  readonly #generator: Coroutine<unknown>;
  #waitingOn: Deferred<unknown> | undefined;
  /** Cancelled while it ran: what it waits for next is cancelled instead. */
  #cancelled = false;

  constructor(generator: Coroutine<unknown>) {
    super('plait.coroutine', RESOURCE_OPTIONS);
    this.#generator = generator;
    this.deferred = Deferred.relayed(this);
    if (getDebugging()) noteCoroutine(this.deferred, () => this.#waitingOn);
  }

  start(): void {
    if (Run.step(this, undefined) !== undefined) Deferred.run(this.deferred);
  }

  resume(result: unknown): Deferred<unknown> | undefined {
    this.#waitingOn = undefined;
    return this.runInAsyncScope(Run.step, undefined, this, result);
  }

  awaited(surely: boolean): Deferred<unknown> | undefined {
    const awaited = this.#waitingOn;
    if (awaited !== undefined && !(surely && hasResult(awaited))) return awaited;
    this.#cancelled = true;
    return undefined;
  }

  /** Runs the generator until it has to wait; returns the Deferred, to be run, if it came to its end. */
  private static step(this: void, run: Run, result: unknown): Deferred<unknown> | undefined {
    let sent = result;
    for (;;) {
      let outcome: IteratorResult<unknown, unknown>;
      try {
        outcome =
          sent instanceof Failure
            ? sent.throwExceptionIntoGenerator(run.#generator)
            : run.#generator.next(sent);
      } catch (error) {
        return run.end(new Failure(error));
      }
      if (outcome.done === true) {
        return run.end(outcome.value);
      }
      sent = outcome.value;
      if (typeof sent !== 'object' || sent === null) continue;
      const awaited = sent instanceof Deferred ? (sent as Deferred<unknown>) : adopted(sent);
      if (awaited === undefined) continue;
      if (!Deferred.isReady(awaited)) {
        run.wait(awaited);
        return undefined;
      }
      sent = Deferred.observe(awaited);
    }
  }

  private end(result: unknown): Deferred<unknown> | undefined {
    this.emitDestroy();
    try {
      Deferred.settle(this.deferred, result);
      return this.deferred;
    } catch (error) {
      // Whoever resumes is not to blame.
      log.failure("somebody else has fired a coroutine's Deferred", new Failure(error));
      return undefined;
    }
  }

  private wait(awaited: Deferred<unknown>): void {
    this.#waitingOn = awaited;
    Deferred.wait(awaited, this);
    if (!this.#cancelled) return;
    this.#cancelled = false;
    try {
      awaited.cancel();
    } catch (error) {
      // Whoever cancelled has gone on, and whoever resumes is not to blame.
      log.failure('a canceller failed', new Failure(error));
    }
  }
}

/** True if there is nothing left to be cancelled, though it may still be on its way to those who wait for it. */
function hasResult(deferred: Deferred<unknown>): boolean {
  let at = deferred;
  while (at.waitingOn !== undefined) at = at.waitingOn;
  return at.called;
}

/** What is waited for when `thing` is yielded; undefined if it is just a value. */
function adopted(thing: object): Deferred<unknown> | undefined {
  try {
    if (isCoroutine(thing)) return ensureDeferred(thing);
    if (isThenable(thing)) return Deferred.fromPromise(thing);
  } catch (error) {
    const failed = new Deferred<unknown>();
    failed.errback(new Failure(error));
    return failed;
  }
  return undefined;
}

/** True for a generator, native or compiled. */
function isCoroutine(thing: unknown): thing is Coroutine<unknown> {
  if (typeof thing !== 'object' || thing === null) return false;
  const { next, throw: raise } = thing as Partial<Coroutine<unknown>>;
  return typeof next === 'function' && typeof raise === 'function' && Symbol.iterator in thing;
}

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
  return function (this: This, ...args: A): Deferred<Settled<R>> {
    let generator: unknown;
    try {
      generator = fn.apply(this, args);
    } catch (error) {
      generator = new Failure(error);
    }
    if (isCoroutine(generator)) return ensureDeferred(generator) as Deferred<Settled<R>>;
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
 * is waited for. Twisted: `ensureDeferred`, `Deferred.fromCoroutine`.
 *
 * @throws NotACoroutineError for anything else
 */
export function ensureDeferred<T>(thing: Deferred<T>): Deferred<T>;
export function ensureDeferred<R>(thing: Coroutine<R> | PromiseLike<R>): Deferred<Settled<R>>;
export function ensureDeferred(thing: unknown): Deferred<unknown> {
  if (thing instanceof Deferred) return thing as Deferred<unknown>;
  if (isCoroutine(thing)) {
    const run = new Run(thing);
    run.start();
    return run.deferred;
  }
  if (typeof thing === 'object' && thing !== null && isThenable(thing))
    return Deferred.fromPromise(thing);
  throw new NotACoroutineError(`not a Deferred, a coroutine or a promise: ${typeof thing}`);
}

/**
 * Calls `fn` with an AbortSignal that is aborted when the Deferred is cancelled, and waits for the promise that it
 * returns. The Deferred then has what the promise comes to after that; an AbortError is then a CancelledError. The other
 * way round, `Deferred.cancelOn` cancels when a signal says so.
 *
 * @example
 * const page = withSignal((signal) => fetch('data:,hello', { signal }));
 * page.addCallback((response) => response.text()).addCallback(console.log);
 */
export function withSignal<R>(fn: (signal: AbortSignal) => PromiseLike<R>): Deferred<Awaited<R>> {
  const controller = new AbortController();
  let promise: PromiseLike<R>;
  try {
    promise = fn(controller.signal);
  } catch (error) {
    const failed = new Deferred<Awaited<R>>();
    failed.errback(new Failure(error));
    return failed;
  }
  return Deferred.fromPromise(promise, {
    abort: () => {
      controller.abort(new CancelledError());
    },
  });
}
