/**
 * Structured concurrency: a piece of work, and what it sets going, end together. Neither Twisted nor Node has it;
 * asyncio: `TaskGroup`, Trio: nurseries.
 *
 * The rules:
 * 1. A scope ends when its body and all its children have ended, never before; nothing that it has set going outlives
 *    it.
 * 2. The first failure, of the body or of a child, cancels all the others; when they have ended, the scope fails with
 *    it. Failures that come later, other than from being cancelled, are logged.
 * 3. Cancelling the scope cancels everything in it; when all have ended, it fails with CancelledError.
 * 4. When its deadline has passed it is cancelled, and fails with TimeoutError. A scope inside a scope, made by
 *    `s.scope`, has no later deadline than that one.
 * 5. What is cancelled is cancelled in this order: the children, newest first, then the body. Each is cancelled once,
 *    however many reasons there are: its tidying up is waited for, and not cut.
 * 6. A child that is cancelled by itself is no failure.
 */
import { checkFunction, checkMethods, checkOptions, checkSeconds } from './arguments.ts';
import { type Relay, Sweep, type Waiter } from './chain.ts';
import { Deferred, type Settled } from './defer.ts';
import { CancelledError, TimeoutError } from './errors.ts';
import { Failure } from './failure.ts';
import { cancellationsOf } from './give-up.ts';
import type { Coroutine } from './inline.ts';
import type { IDelayedCall, IReactorTime, Seconds } from './interfaces.ts';
import { Logger } from './log.ts';
import { maybeDeferred } from './maybe.ts';
import { reactor } from './reactor.ts';
import { count, INSPECT, inspected, type Inspecting, told } from './one-line.ts';

const log = new Logger('plait.scope');

/** Options of {@link scope}. */
export interface ScopeOptions {
  /** Seconds until it is cancelled and fails with TimeoutError. Default: none, or the deadline of the scope around it. */
  readonly timeout?: Seconds;
  /** Whose seconds. Default: the process's reactor, or the clock of the scope around it. */
  readonly clock?: IReactorTime;
}

/** How many scopes are cancelling what is in them, one inside the other. */
let sweeping = 0;

/** A child, as what `spawn` returns: the body and other children may wait for it, and pass their cancellation on to it. */
class Child implements Relay, Waiter {
  readonly deferred: Deferred<unknown> = Deferred.relayed<unknown>(this);
  readonly #work: Deferred<unknown>;
  #cancelled = false;

  constructor(work: Deferred<unknown>) {
    this.#work = work;
  }

  /** A sweep comes to it once, by whatever way; its holder may cancel it as often as it likes. */
  awaited(): Deferred<unknown> | undefined {
    if (this.#cancelled && sweeping > 0) return undefined;
    this.#cancelled = true;
    return this.#work;
  }

  resume(result: unknown): Deferred<unknown> {
    Deferred.settle(this.deferred, result);
    return this.deferred;
  }

  /** Begins to wait for the work; what is to hear of its end first has been added to the Deferred by now. */
  begin(): void {
    Deferred.wait(this.#work, this);
  }
}

/** What a scope's body sets its children going with. */
export class Scope {
  readonly #clock: IReactorTime;
  readonly #deadline: Seconds | undefined;
  #timer: IDelayedCall | undefined;
  /** Those still going on, in the order in which they were begun. */
  readonly #children: Set<Deferred<unknown>> = new Set<Deferred<unknown>>();
  /** Undefined while it starts. */
  #body: Deferred<unknown> | undefined;
  #bodyEnded = false;
  /** How many children are starting, and not among them yet. */
  #starting = 0;
  #cancelled = false;
  /** Why everything is being cancelled. */
  #reason: Failure | undefined;
  #value: unknown;
  readonly #result: Deferred<unknown> = Deferred.relayed<unknown>({
    awaited: () => {
      if (this.#reason !== undefined) return undefined;
      this.#reason = new Failure(new CancelledError('the scope was cancelled'));
      return this.#sweep();
    },
  });

  private constructor(clock: IReactorTime, deadline: Seconds | undefined) {
    this.#clock = clock;
    this.#deadline = deadline;
  }

  /** @internal */
  static open<R>(
    body: (scope: Scope) => Coroutine<R> | R,
    options: ScopeOptions,
    outer?: Scope,
  ): Deferred<Settled<R>> {
    checkFunction(body, 'scope: body');
    checkOptions(options, 'scope: options');
    const { clock = outer === undefined ? reactor : outer.#clock } = options;
    checkMethods(clock, 'scope: clock', 'a reactor or a Clock', ['seconds', 'callLater']);
    const own =
      options.timeout === undefined
        ? undefined
        : clock.seconds() + checkSeconds(options.timeout, 'scope: timeout');
    const deadline = earlier(
      own,
      outer === undefined || outer.#clock !== clock ? undefined : outer.#deadline,
    );
    const opened = new Scope(clock, deadline);
    opened.#begin(body);
    return opened.#result as Deferred<Settled<R>>;
  }

  #begin(body: (scope: Scope) => unknown): void {
    if (this.#deadline !== undefined) {
      const left = Math.max(0, this.#deadline - this.#clock.seconds());
      this.#timer = this.#clock.callLater(left, () => {
        this.#cancelAll(
          new Failure(new TimeoutError(`the scope was not done after ${left} seconds`)),
        );
      });
    }
    const work = maybeDeferred(body, this);
    this.#body = work;
    if (this.#cancelled) cancelOne(work);
    this.#watch(work, (result) => {
      this.#bodyEnded = true;
      if (result instanceof Failure) this.#failed(result as Failure, true);
      else this.#value = result;
    });
  }

  /** When it is cancelled, on its clock; undefined for never. */
  get deadline(): Seconds | undefined {
    return this.#deadline;
  }

  /** Seconds left until the deadline, at least 0; undefined for any number. */
  get remaining(): Seconds | undefined {
    return this.#deadline === undefined
      ? undefined
      : Math.max(0, this.#deadline - this.#clock.seconds());
  }

  /** True once everything in it is being cancelled. */
  get cancelled(): boolean {
    return this.#cancelled;
  }

  /**
   * Sets a child going: a generator function is run as a coroutine, what another function returns is waited for. Fires
   * with what comes of it; a failure is the scope's to deal with, looked at here or not. Once the scope is being
   * cancelled nothing is begun, and the Deferred fails with CancelledError.
   */
  spawn<R, A extends unknown[]>(
    work: (...args: A) => Coroutine<R> | R,
    ...args: A
  ): Deferred<Settled<R>> {
    checkFunction(work, 'Scope.spawn: work');
    if (this.#cancelled || this.#result.called) {
      const refused = new Deferred<Settled<R>>();
      refused.errback(new CancelledError('nothing can be spawned in a scope that ends'));
      Deferred.observe(refused);
      return refused;
    }
    this.#starting++;
    const child = new Child(maybeDeferred(work, ...args));
    const { deferred } = child;
    this.#starting--;
    // While it starts, it may itself be what makes everything be cancelled.
    if (this.cancelled) cancelOne(deferred);
    this.#children.add(deferred);
    this.#watch(deferred, (result) => {
      this.#children.delete(deferred);
      if (result instanceof Failure) this.#failed(result as Failure, false);
    });
    child.begin();
    return deferred as Deferred<Settled<R>>;
  }

  /** A scope inside this one, as a child of it: `yield* s.scope(function* (inner) { … })`. */
  scope<R>(
    body: (scope: Scope) => Coroutine<R> | R,
    options: ScopeOptions = {},
  ): Deferred<Settled<R>> {
    checkFunction(body, 'Scope.scope: body');
    checkOptions(options, 'Scope.scope: options');
    return this.spawn(() => Scope.open(body, options, this));
  }

  /**
   * Cancels everything in it: the children, newest first, then the body, which may still return a value. Does nothing
   * if that has been done: each is cancelled once.
   */
  cancel(): void {
    const sweep = this.#sweep();
    if (sweep !== undefined) Deferred.cancel(sweep, true);
  }

  /** What is to be cancelled; undefined if that has been done. */
  #sweep(): Sweep | undefined {
    if (this.#cancelled) return undefined;
    this.#cancelled = true;
    return new Sweep(this.#each(), true);
  }

  *#each(): Generator<Deferred<unknown>, undefined> {
    sweeping++;
    try {
      yield* [...this.#children].reverse();
      if (this.#body !== undefined) yield this.#body;
    } finally {
      sweeping--;
    }
  }

  /** Hears of the end of the body or of a child before all others. */
  #watch(deferred: Deferred<unknown>, ended: (result: unknown) => void): void {
    Deferred.wait(deferred, {
      resume: (result) => {
        ended(result);
        return this.#endIfDone();
      },
    });
  }

  #failed(failure: Failure, isBody: boolean): void {
    const wasCancelled = cancellationsOf(failure) !== undefined;
    if (this.#reason === undefined) {
      if (isBody || !wasCancelled) this.#cancelAll(failure);
    } else if (!wasCancelled && failure.value !== this.#reason.value) {
      log.failure('another failure in a scope that had already failed', failure, 'error');
    }
  }

  #cancelAll(reason: Failure): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.cancel();
  }

  /** Fires when nothing runs any more; returned, to be run by the loop that brought the last news. */
  #endIfDone(): Deferred<unknown> | undefined {
    if (!this.#bodyEnded || this.#children.size > 0 || this.#starting > 0) return undefined;
    if (this.#result.called) return undefined;
    if (this.#timer?.active() === true) this.#timer.cancel();
    Deferred.settle(this.#result, this.#reason ?? this.#value);
    return this.#result;
  }

  toString(): string {
    return told(
      this,
      `${this.#bodyEnded && this.#children.size === 0 ? 'ended' : this.#cancelled ? 'cancelled' : 'open'}, ${count(this.#children.size, 'child', 'children')}`,
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** It may wait for the very child that has failed: then it is cancelled in what it waits for next. */
function cancelOne(deferred: Deferred<unknown>): void {
  Deferred.cancel(new Sweep([deferred].values(), true), true);
}

function earlier(a: Seconds | undefined, b: Seconds | undefined): Seconds | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}

/**
 * Runs `body` in a scope: what it spawns there ends with it, the first failure cancels the rest, and so does the
 * deadline. Fires with what the body returns when everything has ended. See the rules at the top of this file, and
 * `docs/howto/scopes.md`.
 *
 * @example
 * scope(function* (s) {
 *   const one = s.spawn(() => 1);
 *   const two = s.spawn(function* () { return (yield* one) + 1; });
 *   return yield* two;
 * }, { timeout: 5 }).addCallback(console.log);   // prints 2
 */
export function scope<R>(
  body: (scope: Scope) => Coroutine<R> | R,
  options: ScopeOptions = {},
): Deferred<Settled<R>> {
  return Scope.open(body, options);
}
