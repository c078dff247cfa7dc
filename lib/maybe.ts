/**
 * Deferreds of what is there already. Twisted: `succeed`, `fail` and `maybeDeferred` of `twisted.internet.defer`.
 */
import { checkFunction, checkMethods } from './arguments.ts';
import { Deferred, type Settled } from './defer.ts';
import { Failure } from './failure.ts';
import { close, frames, open } from './frames.ts';
import { Logger } from './log.ts';

const log = new Logger('plait.defer');

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
  checkFunction(fn, 'maybeDeferred: fn');
  const before = frames.opened;
  open(fn);
  let outcome: unknown;
  try {
    outcome = fn(...args);
  } catch (error) {
    outcome = new Failure(error);
  }
  const frame = close(before);
  if (outcome instanceof Deferred) {
    frame?.end();
    return outcome as never;
  }
  const deferred = new Deferred<Settled<R>>();
  Deferred.settle(deferred, outcome, frame);
  Deferred.run(deferred);
  return deferred;
}

/**
 * Calls `fn(...args)` and makes a Deferred of its value or of what it throws, as {@link maybeDeferred} does. Twisted:
 * `execute`.
 */
export const execute: typeof maybeDeferred = maybeDeferred;

/** Returns what it is given: a callback that changes nothing. Twisted: `passthru`. */
export function passthru<T>(result: T): T {
  return result;
}

/**
 * Logs a failure and returns it: an errback that lets the failure go on. Twisted: `logError`.
 */
export function logError(failure: Failure): Failure {
  checkMethods(failure, 'logError: failure', 'a Failure', ['getTraceback']);
  log.failure('a Deferred failed', failure);
  return failure;
}
