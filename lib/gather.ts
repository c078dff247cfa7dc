/**
 * Several Deferreds waited for together. Twisted: `DeferredList`, `gatherResults` and `race` of
 * `twisted.internet.defer`.
 */
import {
  checkBoolean,
  checkInstance,
  checkIterable,
  checkMethods,
  checkOneOf,
  checkOptions,
  checkSeconds,
  wrongValue,
} from './arguments.ts';
import { type Relay, Sweep } from './chain.ts';
import { Deferred } from './defer.ts';
import { CancelledError, FailureGroup, FirstError } from './errors.ts';
import { Failure } from './failure.ts';
import type { IReactorTime, Seconds } from './interfaces.ts';
import { noteTold } from './unhandled.ts';
import { fireInside } from './waiters.ts';

/** What became of one of several: `[true, value]` or `[false, failure]`. */
export type Outcome<T> = [success: true, value: T] | [success: false, failure: Failure];

/** The values of Deferreds: of a tuple a tuple, of an array an array. */
export type Values<D extends readonly Deferred<unknown>[]> = {
  -readonly [K in keyof D]: D[K] extends Deferred<infer T> ? T : never;
};

/** What a {@link DeferredList} fires with when all have. */
export type Outcomes<D extends readonly Deferred<unknown>[]> = {
  -readonly [K in keyof D]: D[K] extends Deferred<infer T> ? Outcome<T> : never;
};

/** Options of {@link DeferredList}. */
export interface DeferredListOptions {
  /** Fire with the first value, as `[value, index]`. */
  readonly fireOnOneCallback?: boolean;
  /** Fail with the first failure, as FirstError. */
  readonly fireOnOneErrback?: boolean;
  /** Count each failure as handled: the Deferred that failed has undefined instead. */
  readonly consumeErrors?: boolean;
}

/** The value of a DeferredList of `D` under `O`. */
export type DeferredListValue<D extends readonly Deferred<unknown>[], O> = O extends {
  readonly fireOnOneCallback: true;
}
  ? | [value: Values<D>[number], index: number]
    | (O extends { readonly fireOnOneErrback: true } ? never : Outcomes<D>)
  : Outcomes<D>;

/**
 * Fires when all of `deferreds` have, with what became of each, in the order given: `[true, value]` or
 * `[false, failure]`. It never fails, unless `fireOnOneErrback` is set: then the first failure makes it fail with
 * FirstError. The Deferreds keep their results. An empty list fires at once with `[]`; with `fireOnOneCallback` it
 * never fires. Cancelling cancels each of them, and nothing else.
 *
 * @example
 * new DeferredList([succeed(1), fail(new Error('no'))], { consumeErrors: true })
 *   .addCallback((outcomes) => outcomes.map(([success]) => success));   // [true, false]
 */
class List<D extends readonly Deferred<unknown>[], O extends DeferredListOptions> extends Deferred<
  DeferredListValue<D, O>
> {
  static override readonly name = 'DeferredList';

  constructor(deferreds: D, options?: O) {
    const all = allDeferreds(deferreds, 'DeferredList: deferreds');
    super(cancelsEach(all) as never);
    const {
      fireOnOneCallback = false,
      fireOnOneErrback = false,
      consumeErrors = false,
    } = checkOptions(options === undefined ? ({} as O) : options, 'DeferredList: options');
    checkBoolean(fireOnOneCallback, 'DeferredList: fireOnOneCallback');
    checkBoolean(fireOnOneErrback, 'DeferredList: fireOnOneErrback');
    checkBoolean(consumeErrors, 'DeferredList: consumeErrors');
    const outcomes: Outcome<unknown>[] = [];
    let missing = deferreds.length;
    if (missing === 0 && !fireOnOneCallback) this.callback([] as never);
    for (const [index, deferred] of all.entries()) {
      deferred.addBoth((result: unknown): unknown => {
        const failed = result instanceof Failure;
        outcomes[index] = failed ? [false, result as Failure] : [true, result];
        missing--;
        if (!this.called) {
          if (!failed && fireOnOneCallback) fireInside(this, [result, index] as never);
          else if (failed && fireOnOneErrback)
            fireInside(this, new Failure(new FirstError(result as Failure, index)));
          else if (missing === 0) fireInside(this, outcomes as never);
        }
        if (!failed) return result;
        noteTold(result as Failure);
        return consumeErrors ? undefined : result;
      });
    }
  }
}

/** Cancels each of them; what waits for them fires when they have. */
function cancelsEach(deferreds: readonly Deferred<unknown>[], then?: () => void): Relay {
  // Where one of them waits for the list, its cancellation comes back here.
  let cancelling = false;
  function* each(): Generator<Deferred<unknown>, undefined> {
    cancelling = true;
    yield* deferreds;
    cancelling = false;
    then?.();
  }
  return { awaited: () => (cancelling ? undefined : new Sweep(each())) };
}

/** The class of {@link DeferredList}, whose type of value depends on the options. */
export type DeferredList<
  D extends readonly Deferred<unknown>[] = Deferred<unknown>[],
  O extends DeferredListOptions = object,
> = List<D, O>;

export const DeferredList: new <
  const D extends readonly Deferred<unknown>[],
  const O extends DeferredListOptions = object,
>(
  deferreds: D,
  options?: O,
) => DeferredList<D, O> = List;

function cancelAll(deferreds: readonly Deferred<unknown>[], except?: Deferred<unknown>): void {
  for (const deferred of deferreds) {
    if (deferred === except) continue;
    Deferred.cancelGuarded(deferred);
  }
}

/** Options of {@link gatherResults}. */
export interface GatherOptions {
  /** Count each failure as handled by the FirstError. Without it, a failure of the others is still theirs. */
  readonly consumeErrors?: boolean;
  /** When one fails, cancel the others (whose failures then count as handled). Twisted leaves them running. */
  readonly cancelOnError?: boolean;
}

/**
 * The values of all of `deferreds`, in order; fails with FirstError when the first of them fails. Cancelling cancels
 * each of them.
 *
 * @example
 * gatherResults([succeed(1), succeed('two')]).addCallback(([one, two]) => `${one} ${two}`);
 */
export function gatherResults<const D extends readonly Deferred<unknown>[]>(
  deferreds: D,
  options: GatherOptions = {},
): Deferred<Values<D>> {
  const { cancelOnError = false, consumeErrors = cancelOnError } = checkOptions(
    options,
    'gatherResults: options',
  );
  checkBoolean(cancelOnError, 'gatherResults: cancelOnError');
  checkBoolean(consumeErrors, 'gatherResults: consumeErrors');
  const all = allDeferreds(deferreds, 'gatherResults: deferreds');
  const list = new DeferredList(all, { fireOnOneErrback: true, consumeErrors });
  return list.addCallbacks(
    (outcomes) => outcomes.map(([, value]) => value) as never,
    (failure) => {
      if (cancelOnError) cancelAll(all, all[failure.trap(FirstError).index]);
      failure.raiseException();
    },
  ) as never;
}

/**
 * The first of `deferreds` to succeed, as `[index, value]`; the others are cancelled. If all fail, fails with
 * FailureGroup. Cancelling cancels each of them.
 *
 * @throws RangeError if there are none: none could win (Twisted's never fires)
 */
export function race<T>(deferreds: readonly Deferred<T>[]): Deferred<[index: number, value: T]> {
  const all = someDeferreds(deferreds, 'race: deferreds');
  const failures: Failure[] = [];
  let missing = all.length;
  let over = false;
  const result: Deferred<[number, T]> = Deferred.relayed(
    cancelsEach(all, () => {
      if (!result.called) result.errback(new CancelledError());
    }),
  );
  for (const [index, deferred] of all.entries()) {
    deferred.addCallbacks(
      (value) => {
        if (over) return;
        over = true;
        cancelAll(all, deferred);
        fireInside(result, [index, value]);
      },
      (failure) => {
        failures[index] = failure;
        if (--missing > 0 || over) return;
        over = true;
        fireInside(result, new Failure(new FailureGroup(failures)));
      },
    );
  }
  return result;
}

/** What {@link wait} waits for. */
export type WaitUntil = 'all' | 'first' | 'firstFailure';

/** Options of {@link wait}. */
export interface WaitOptions {
  /** All of them (the default), the first of them, or the first to fail, or all if none does. */
  readonly until?: WaitUntil;
  /** Seconds after which it fires with what there is by then. Needs `clock`. */
  readonly timeout?: Seconds;
  /** Whose seconds. */
  readonly clock?: IReactorTime;
}

/** Which of the Deferreds that {@link wait} was given have their results, each in the order given. */
export interface Waited<D> {
  readonly done: D[];
  readonly pending: D[];
}

/**
 * Waits for some of `deferreds`, and fires with those that are done and those that are pending. It takes no results and cancels
 * nothing; it never fails. asyncio: `wait`.
 *
 * @throws RangeError if there are none; TypeError for a timeout without a clock
 * @example
 * const slow = new Deferred<string>();
 * wait([succeed('quick'), slow], { until: 'first' }).addCallback(({ pending }) => pending.length);   // 1
 */
export function wait<D extends Deferred<unknown>>(
  deferreds: readonly D[],
  options: WaitOptions = {},
): Deferred<Waited<D>> {
  const { until = 'all', timeout, clock } = checkOptions(options, 'wait: options');
  checkOneOf(until, 'wait: until', ['all', 'first', 'firstFailure']);
  if (timeout !== undefined) checkSeconds(timeout, 'wait: timeout');
  if (clock !== undefined || timeout !== undefined)
    checkMethods(clock, 'wait: clock', 'a reactor or a Clock', ['callLater']);
  const given = someDeferreds(deferreds, 'wait: deferreds');
  const done = new Set<D>();
  const waited = new Deferred<Waited<D>>();
  const finish = (): void => {
    if (waited.called) return;
    fireInside(waited, {
      done: given.filter((deferred) => done.has(deferred)),
      pending: given.filter((deferred) => !done.has(deferred)),
    });
  };
  const call = timeout === undefined ? undefined : clock?.callLater(timeout, finish);
  const all = new Set(given);
  for (const deferred of all) {
    watch(deferred, (failed) => {
      done.add(deferred);
      if (done.size === all.size || until === 'first' || (failed && until === 'firstFailure'))
        finish();
    });
  }
  return waited.addBoth((result) => {
    if (call?.active() === true) call.cancel();
    return result;
  });
}

/** Tells when `deferred` has a result, which stays as it is: a failure is still to be handled by its owner. */
function watch(deferred: Deferred<unknown>, ended: (failed: boolean) => void): void {
  deferred.addBoth((result) => {
    ended(result instanceof Failure);
    return result;
  });
}

/**
 * `deferreds` as they come to have their results: the nth thing that it yields has the result of the nth to be done.
 * In a coroutine `for (const next of asCompleted(all)) yield* next`; elsewhere `for await`, which gives the values. The
 * Deferreds keep their values; failures go to what is yielded. asyncio: `as_completed`.
 */
export function asCompleted<T>(
  deferreds: readonly Deferred<T>[],
): Iterable<Deferred<T>> & AsyncIterable<T> {
  const all = allDeferreds(deferreds, 'asCompleted: deferreds');
  const results = all.map(() => new Deferred<T>());
  let next = 0;
  for (const deferred of all) {
    deferred.addCallbacks(
      (value) => {
        fireInside(results[next++] as Deferred<T>, value);
        return value;
      },
      (failure) => {
        fireInside(results[next++] as Deferred<T>, failure);
      },
    );
  }
  return {
    [Symbol.iterator]: () => results.values(),
    async *[Symbol.asyncIterator]() {
      for (const result of results) yield await result;
    },
  };
}

/** A copy of several Deferreds, if that is what they are. */
function allDeferreds<D extends Deferred<unknown>>(deferreds: readonly D[], name: string): D[] {
  const all = [...checkIterable(deferreds, name, 'an array of Deferreds')];
  for (const deferred of all) checkInstance(deferred, `each of ${name}`, Deferred);
  return all;
}

/** As {@link allDeferreds}, where there must be one. */
function someDeferreds<D extends Deferred<unknown>>(deferreds: readonly D[], name: string): D[] {
  const all = allDeferreds(deferreds, name);
  if (all.length === 0) throw wrongValue(name, 'one Deferred or more', deferreds);
  return all;
}
