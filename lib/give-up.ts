/**
 * Giving a Deferred up: when a time has passed, or when an AbortSignal says so. What `Deferred.addTimeout` and
 * `Deferred.cancelOn` do.
 */
import type { Deferred } from './defer.ts';
import { CancelledError, TimeoutError } from './errors.ts';
import { Failure } from './failure.ts';
import type { IReactorTime, Seconds } from './interfaces.ts';
import { Logger } from './log.ts';

const log = new Logger('plait.defer');

/** Calls `cancel` in `timeout` seconds unless `deferred` has its result by then; makes that failure a TimeoutError. */
export function timeOut<T>(
  deferred: Deferred<T>,
  timeout: Seconds,
  clock: IReactorTime,
  cancel: () => void,
  onTimeoutCancel?: (result: T | Failure, timeout: Seconds) => unknown,
): Deferred<unknown> {
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

/** Calls `cancel` when `signal` is aborted; the signal keeps no listener once `deferred` has a result. */
export function cancelOnAbort(
  deferred: Deferred<unknown>,
  signal: AbortSignal,
  cancel: () => void,
): void {
  if (signal.aborted) {
    cancel();
    return;
  }
  signal.addEventListener('abort', cancel, { once: true });
  deferred.addBoth((result) => {
    signal.removeEventListener('abort', cancel);
    return result;
  });
}

/** Logs what a canceller threw where no caller could have caught it. */
export function noteCancellerFailed(error: unknown): void {
  log.failure('a canceller failed', new Failure(error));
}
