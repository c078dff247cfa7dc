/**
 * What runs a generator as a coroutine. Internal to `defer` and `inline`: a callback may return a generator as well as a
 * Deferred, so this lies below both, and `defer` says here which class it is.
 *
 * A rule for editors: a coroutine that comes to its end never fires its Deferred itself while it is being resumed, but
 * hands it back to the loop that resumed it; so a chain of coroutines waiting for one another needs no stack.
 */
import { AsyncResource } from 'node:async_hooks';
import { noteAwait } from './awaited.ts';
import { isThenable, type Relay, type Waiter } from './chain.ts';
import type { Deferred as DeferredType } from './defer.ts';
import { Failure } from './failure.ts';
import { Logger } from './log.ts';
import { debugging, noteCoroutine } from './pending.ts';

const log = new Logger('plait.defer');

type Deferred<T> = DeferredType<T>;
let Deferred: typeof DeferredType;

/** Called by `defer`, which imports this file, with its class. */
export function setDeferredClass(deferredClass: typeof DeferredType): void {
  Deferred = deferredClass;
}

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
    if (debugging) noteCoroutine(this.deferred, () => this.#waitingOn);
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
    if (isCoroutine(thing)) return runCoroutine(thing);
    if (isThenable(thing)) return Deferred.fromPromise(thing);
  } catch (error) {
    const failed = new Deferred<unknown>();
    failed.errback(new Failure(error));
    return failed;
  }
  return undefined;
}

/** True for a generator, native or compiled. */
export function isCoroutine(thing: object): thing is Coroutine<unknown> {
  const { next, throw: raise } = thing as Partial<Coroutine<unknown>>;
  return typeof next === 'function' && typeof raise === 'function' && Symbol.iterator in thing;
}

/** Runs a generator as a coroutine; the Deferred has what it returns. */
export function runCoroutine(generator: Coroutine<unknown>): Deferred<unknown> {
  const run = new Run(generator);
  run.start();
  return run.deferred;
}

/** The iterator behind `yield*`: gives the value at once where there is one, else the Deferred to the runner. */
export class Wait {
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
    if (result instanceof Failure) {
      noteAwait(result.value);
      throw result.value;
    }
    return { done: true, value: result };
  }

  /** Called from where the coroutine waits, which is noted. */
  throw(error: unknown): never {
    noteAwait(error);
    throw error;
  }

  return(value: unknown): IteratorResult<unknown> {
    return { done: true, value };
  }

  [Symbol.iterator](): this {
    return this;
  }
}
