/**
 * Giving a Deferred up: now, when a time has passed, or when an AbortSignal says so. What `Deferred.cancel`,
 * `addTimeout` and `cancelOn` do.
 */
import { checkFunction, checkMethods, checkSeconds, checkSignal, optional } from './arguments.ts';
import { Sweep } from './chain.ts';
import type { Deferred } from './defer.ts';
import { CancelledError, ConnectingCancelledError, FirstError, TimeoutError } from './errors.ts';
import { Failure } from './failure.ts';
import type { IReactorTime, Seconds } from './interfaces.ts';
import { Logger } from './log.ts';

const log = new Logger('plait.defer');

/** What {@link cancelAlong} does with one Deferred. */
export interface Steps {
  /** Cancels it; returns what is to be cancelled next. */
  readonly cancel: (
    deferred: Deferred<unknown>,
    surely: boolean,
  ) => Deferred<unknown> | Sweep | undefined;
  /** Its canceller threw `error`. */
  readonly failed: (deferred: Deferred<unknown>, error: unknown) => void;
}

/**
 * Cancels `start` and what that waits for, however many lie inside one another: what is still to be done is kept here,
 * and not on the stack.
 *
 * @param guarded what a canceller throws is told to `failed`, and not thrown; always so for those of a sweep
 */
export function cancelAlong(
  start: Deferred<unknown> | Sweep,
  surely: boolean,
  guarded: boolean,
  { cancel, failed }: Steps,
): void {
  const sweeps: Sweep[] = [];
  let milestone: Deferred<unknown> | undefined;
  let steps = 0;
  let next: Deferred<unknown> | Sweep | undefined = start;
  try {
    for (;;) {
      if (next instanceof Sweep) {
        sweeps.push(next);
        next = undefined;
      }
      const sweep = sweeps.at(-1);
      if (next === undefined) {
        if (sweep === undefined) return;
        const { done, value } = sweep.each.next();
        if (done === true) sweeps.pop();
        else next = value;
        milestone = undefined;
        steps = 0;
        if (next === undefined) continue;
      }
      const deferred = next;
      try {
        next = cancel(deferred, sweep?.inScope ?? surely);
      } catch (error) {
        if (!guarded && sweep === undefined) throw error;
        log.failure('a canceller failed', new Failure(error));
        failed(deferred, error);
        next = undefined;
      }
      // A coroutine may wait for what waits for it: round and round there is nothing to cancel.
      if (next === milestone) next = undefined;
      else if ((++steps & (steps - 1)) === 0 && next !== undefined && !(next instanceof Sweep))
        milestone = next;
    }
  } finally {
    // Only if this itself failed is any left.
    for (const { each } of sweeps.reverse()) each.return?.();
  }
}

/** Calls `cancel` in `timeout` seconds unless `deferred` has its result by then; makes that failure a TimeoutError. */
export function timeOut<T>(
  deferred: Deferred<T>,
  timeout: Seconds,
  clock: IReactorTime,
  cancel: () => void,
  onTimeoutCancel?: (result: T | Failure, timeout: Seconds) => unknown,
): Deferred<unknown> {
  checkSeconds(timeout, 'addTimeout: timeout');
  checkMethods(clock, 'addTimeout: clock', 'a reactor or a Clock', ['callLater']);
  optional(onTimeoutCancel, checkFunction, 'addTimeout: onTimeoutCancel');
  let timedOut = false;
  const call = clock.callLater(timeout, () => {
    timedOut = true;
    cancel();
  });
  return deferred.addBoth((result: T | Failure): unknown => {
    if (call.active()) call.cancel();
    if (!timedOut) return result;
    if (onTimeoutCancel !== undefined) return onTimeoutCancel(result, timeout);
    if (!(result instanceof Failure) || result.check(CancelledError) === undefined) return result;
    throw new TimeoutError(`not done after ${timeout} seconds`, { cause: result.value });
  });
}

/** What an aborted promise rejects with, as a cancelled Deferred says it: Node's AbortError becomes CancelledError. */
export function asCancelled(error: unknown): unknown {
  if (!(error instanceof Error) || error.name !== 'AbortError') return error;
  return new CancelledError('the Deferred was cancelled', { cause: error });
}

/**
 * What each signal is to cancel when it is aborted. The signal has one listener for all of it: Node compares every
 * listener that is added or removed with all the others, and warns from the eleventh on.
 */
const cancelsOf = new WeakMap<AbortSignal, Cancels>();

class Cancels {
  readonly #signal: AbortSignal;
  readonly #cancels = new Set<() => void>();

  static of(signal: AbortSignal): Cancels {
    let cancels = cancelsOf.get(signal);
    if (cancels === undefined) cancelsOf.set(signal, (cancels = new Cancels(signal)));
    return cancels;
  }

  private constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  add(cancel: () => void): void {
    if (this.#cancels.size === 0) this.#signal.addEventListener('abort', this.#abort);
    this.#cancels.add(cancel);
  }

  delete(cancel: () => void): void {
    if (this.#cancels.delete(cancel) && this.#cancels.size === 0)
      this.#signal.removeEventListener('abort', this.#abort);
  }

  readonly #abort = (): void => {
    // One that is cancelled may give others their results, which are then no longer among them.
    for (const cancel of this.#cancels) {
      this.delete(cancel);
      cancel();
    }
  };
}

/** Calls `cancel` when `signal` is aborted; the signal keeps no listener once `deferred` has a result. */
export function cancelOnAbort(
  deferred: Deferred<unknown>,
  signal: AbortSignal,
  cancel: () => void,
): void {
  checkSignal(signal, 'cancelOn: signal');
  let aborted = false;
  const abort = (): void => {
    aborted = true;
    cancel();
  };
  const cancels = Cancels.of(signal);
  if (signal.aborted) abort();
  else cancels.add(abort);
  deferred.addBoth((result) => {
    cancels.delete(abort);
    if (aborted && result instanceof Failure) noteReason(result.check(CancelledError), signal);
    return result;
  });
}

/** Notes on the error of what a signal has cancelled why that was, with the code that an AbortError of Node's has. */
function noteReason(error: CancelledError | undefined, signal: AbortSignal): void {
  if (error === undefined) return;
  const note = (key: string, value: unknown, enumerable: boolean): void => {
    const before = (error as unknown as Record<string, unknown>)[key];
    // A step's own cancellation comes of the same signal, and says less.
    const isStep = before instanceof CancelledError || before instanceof ConnectingCancelledError;
    if (before !== undefined && !isStep) return;
    Reflect.defineProperty(error, key, { value, enumerable, writable: true, configurable: true });
  };
  note('cause', signal.reason, false);
  note('code', 'ABORT_ERR', true);
}

/**
 * The cancellations that `failure` stands for: it is one itself, or holds nothing else (that of a list, a race or
 * `Promise.any` that was cancelled does). Undefined if there is any other error in it.
 */
export function cancellationsOf(failure: Failure): CancelledError[] | undefined {
  const found: CancelledError[] = [];
  const errors = new Set<unknown>([failure.value]);
  // What is added while it is gone through is reached by the same loop.
  for (const error of errors) {
    if (error instanceof CancelledError) found.push(error);
    else if (error instanceof FirstError) errors.add(error.subFailure.value);
    else if (error instanceof AggregateError && Array.isArray(error.errors))
      for (const inner of error.errors) errors.add(inner);
    else return undefined;
  }
  return found.length > 0 ? found : undefined;
}
