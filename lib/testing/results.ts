/**
 * Looks at what a Deferred has come to so far, without waiting: in a test with a `Clock` and a `StringTransport` the
 * result is there once the call returns, or it is not there at all. No test runner is needed: what is not as expected
 * is thrown as an AssertionError. Twisted: `successResultOf`, `failureResultOf` and `assertNoResult` of
 * `twisted.trial`.
 */
import { AssertionError } from 'node:assert';
import { inspect } from 'node:util';
import type { Deferred } from '../defer.ts';
import { Failure, type ErrorPattern, type MatchedError } from '../failure.ts';

/** The error that {@link failureResultOf} has found: what the patterns stand for, or any error if there are none. */
export type ExpectedError<P extends readonly ErrorPattern[]> = P extends readonly []
  ? Error
  : MatchedError<P[number]>;

/**
 * The value that the Deferred has now. It is taken: from here on the chain carries undefined.
 *
 * @throws AssertionError if there is no result yet, or it is a failure, which then counts as handled
 * @example
 * const size = succeed('plait').addCallback((text) => text.length);
 * successResultOf(size); // 5
 */
export function successResultOf<T>(deferred: Deferred<T>): T {
  const taken = take(deferred);
  if (taken === undefined || taken.result instanceof Failure) {
    throw mismatch('a value', taken, successResultOf);
  }
  return taken.result;
}

/**
 * The failure that the Deferred has now. It is taken, and so handled: from here on the chain carries undefined.
 *
 * @param patterns classes, errors' names or Node's codes, one of which the error must match; none: any error will do
 * @throws AssertionError if there is no result yet, or it is a value, or an error that matches no pattern
 * @example
 * const broken = maybeDeferred(JSON.parse, '{');
 * failureResultOf(broken, SyntaxError).value.name; // 'SyntaxError'
 */
export function failureResultOf<P extends readonly ErrorPattern[]>(
  deferred: Deferred<unknown>,
  ...patterns: P
): Failure<ExpectedError<P>> {
  const taken = take(deferred);
  const failure = taken?.result;
  if (failure instanceof Failure && (patterns.length === 0 || failure.check(...patterns))) {
    return failure as Failure<ExpectedError<P>>;
  }
  const names = patterns.map((pattern) => (typeof pattern === 'string' ? pattern : pattern.name));
  const wanted = names.length === 0 ? 'a failure' : `a failure with ${names.join(' or ')}`;
  throw mismatch(wanted, taken, failureResultOf);
}

/**
 * Makes sure that the Deferred has no result yet. It is left as it is, and may be fired later.
 *
 * @throws AssertionError if there is a result; a failure then counts as handled, since the AssertionError tells of it
 * @example
 * const answer = new Deferred<string>();
 * assertNoResult(answer);
 * answer.callback('at last');
 */
export function assertNoResult(deferred: Deferred<unknown>): void {
  const taken = take(deferred);
  if (taken === undefined) return;
  if (!(taken.result instanceof Failure)) deferred.addCallback(() => taken.result);
  throw mismatch('no result yet', taken, assertNoResult);
}

interface Taken<T> {
  readonly result: T | Failure;
}

/** Takes the result that is there now. If there is none, one that comes later passes by untouched. */
function take<T>(deferred: Deferred<T>): Taken<T> | undefined {
  let taken: Taken<T> | undefined;
  let looking = true;
  deferred.addBoth((result): unknown => {
    if (!looking) return result;
    taken = { result };
    return undefined;
  });
  looking = false;
  return taken;
}

function mismatch(
  wanted: string,
  taken: Taken<unknown> | undefined,
  stackStartFn: (...args: never[]) => unknown,
): AssertionError {
  const result = taken?.result;
  const found =
    taken === undefined
      ? 'has no result'
      : result instanceof Failure
        ? `failed with ${result.getBriefTraceback()}`
        : `has the value ${inspect(result, { depth: 1 })}`;
  const error = new AssertionError({
    message: `expected ${wanted}, but the Deferred ${found}`,
    expected: wanted,
    actual: result,
    stackStartFn,
  });
  if (result instanceof Failure) error.cause = result.value;
  return error;
}
