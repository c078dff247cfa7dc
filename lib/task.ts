/**
 * Calls in the future, as Deferreds. Twisted: `twisted.internet.task`.
 */
import { Deferred, type Settled } from './defer.ts';
import type { IReactorTime, Seconds } from './interfaces.ts';

/**
 * Calls `fn(...args)` in `delay` seconds and fires with what comes of it; without `fn`, just fires. Cancelling calls
 * it off.
 *
 * @throws RangeError for a delay that is negative or no finite number
 *
 * @example
 * const clock = new Clock();
 * deferLater(clock, 2, (a: number, b: number) => a + b, 1, 2).addCallback(console.log);
 * clock.advance(2);   // prints 3
 */
export function deferLater(clock: IReactorTime, delay: Seconds): Deferred<void>;
export function deferLater<R, A extends unknown[]>(
  clock: IReactorTime,
  delay: Seconds,
  fn: (...args: A) => R,
  ...args: A
): Deferred<Settled<R>>;
export function deferLater(
  clock: IReactorTime,
  delay: Seconds,
  fn?: (...args: unknown[]) => unknown,
  ...args: unknown[]
): Deferred<unknown> {
  const deferred: Deferred<unknown> = new Deferred<unknown>(() => call.cancel());
  const call = clock.callLater(delay, () => {
    deferred.callback(undefined);
  });
  return fn === undefined ? deferred : deferred.addCallback(() => fn(...args));
}
