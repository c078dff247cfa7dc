/**
 * Giving a Deferred up: when a time has passed, or when an AbortSignal says so. What `Deferred.addTimeout` and
 * `Deferred.cancelOn` do.
 */
import type { Deferred } from './defer.ts';
import { CancelledError, TimeoutError } from './errors.ts';
import { Failure } from './failure.ts';
import type { IReactorTime, Seconds } from './interfaces.ts';

/** Cancels `deferred` in `timeout` seconds unless it has its result by then; makes that failure a TimeoutError. */
export function timeOut<T>(
  deferred: Deferred<T>,
  timeout: Seconds,
  clock: IReactorTime,
  onTimeoutCancel?: (result: T | Failure, timeout: Seconds) => unknown,
): Deferred<unknown> {
  let timedOut = false;
  const call = clock.callLater(timeout, () => {
    timedOut = true;
    deferred.cancel();
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

/** Cancels `deferred` when `signal` is aborted; the signal keeps no listener once there is a result. */
export function cancelOnAbort(deferred: Deferred<unknown>, signal: AbortSignal): void {
  if (signal.aborted) {
    deferred.cancel();
    return;
  }
  const abort = (): void => {
    deferred.cancel();
  };
  signal.addEventListener('abort', abort, { once: true });
  deferred.addBoth((result) => {
    signal.removeEventListener('abort', abort);
    return result;
  });
}
