/**
 * Waiting for promises, for those above all that `async` functions return: see `frames.ts`.
 */
import { checkFunction, checkMethods, checkOptions, optional } from './arguments.ts';
import { isCoroutine, isThenable } from './chain.ts';
import type { Deferred as DeferredType } from './defer.ts';
import { Failure } from './failure.ts';
import { type Frame, frames } from './frames.ts';
import { asCancelled } from './give-up.ts';
import { Logger } from './log.ts';
import { firstOf, PENDING, valueOf } from './thenable.ts';

const log = new Logger('plait.defer');

type Deferred<T> = DeferredType<T>;
let Deferred: typeof DeferredType;

/** Called by `defer`, which imports this file, with its class. */
export function setPromisedClass(deferredClass: typeof DeferredType): void {
  Deferred = deferredClass;
}

/** What the chain itself knows to wait for, or to take as it is. */
function isOwn(thing: object): boolean {
  return thing instanceof Deferred || thing instanceof Failure || isCoroutine(thing);
}

/** Fires `deferred` with what comes of `promise`, as `settled` changes it; not if that says PENDING. */
export function follow(
  deferred: Deferred<unknown>,
  promise: PromiseLike<unknown>,
  settled: (outcome: unknown) => unknown,
): void {
  const settle = (outcome: unknown): void => {
    if (outcome === PENDING) return;
    const result = settled(outcome);
    if (result === PENDING) return;
    Deferred.settle(deferred, result);
    Deferred.run(deferred);
  };
  const later = (outcome: unknown): void => settle(valueOf(outcome, isOwn, later));
  settle(valueOf(firstOf(promise, later), isOwn, later));
}

/**
 * A Deferred of the promise that a function has returned, which is waited for. Cancelling it cancels what `frame` awaits.
 *
 * @param lasts the frame goes on after the promise
 */
export function promised(
  promise: PromiseLike<unknown>,
  frame: Frame | undefined,
  lasts = false,
): Deferred<unknown> {
  if (frame === undefined) {
    // Who is called next has a frame from its beginning.
    if (promise instanceof Promise) frames.tracking = true;
    return Deferred.fromPromise(promise);
  }
  if (!lasts) frame.followed = true;
  const deferred: Deferred<unknown> = Deferred.relayed<unknown>({
    awaited: (surely) => frame.cancel(deferred, surely),
  });
  follow(deferred, promise, (outcome) => {
    if (!lasts || frame.givenUp) frame.end();
    if (frame.givenUp && deferred.called) return PENDING;
    return frame.cancelled ? cancelledOutcome(outcome) : outcome;
  });
  return deferred;
}

/** A Deferred of what comes of `promise`; `abort` as for `Deferred.fromPromise`. */
export function ofPromise<T>(promise: PromiseLike<T>, abort?: () => void): Deferred<Awaited<T>> {
  let aborted = false;
  const awaited = (): undefined => {
    aborted = true;
    watched((abort as (() => unknown) | undefined)?.());
  };
  const deferred =
    abort === undefined ? new Deferred<Awaited<T>>() : Deferred.relayed<Awaited<T>>({ awaited });
  follow(deferred, promise, (outcome) => (aborted ? cancelledOutcome(outcome) : outcome));
  return deferred;
}

/** `outcome`, where it says that it was aborted as a cancelled Deferred does. */
export function cancelledOutcome(outcome: unknown): unknown {
  return outcome instanceof Failure ? new Failure(asCancelled(outcome.value)) : outcome;
}

/** What an async or generator function returns that is a canceller is not waited for; what it fails with is logged. */
export function watched(outcome: unknown): void {
  if (typeof outcome !== 'object' || outcome === null || outcome instanceof Deferred) return;
  if (!isThenable(outcome) && !isCoroutine(outcome)) return;
  const work = new Deferred<unknown>();
  Deferred.settle(work, outcome);
  Deferred.run(work);
  work.addErrback((failure) => {
    log.failure('a canceller failed', failure);
  });
}

/** What `fromPromise` is to abort the promise with, once its arguments have been looked at. */
export function abortOf(
  promise: PromiseLike<unknown>,
  options: { readonly abort?: () => void },
): (() => void) | undefined {
  checkMethods(promise, 'fromPromise: promise', 'a promise', ['then']);
  return optional(
    checkOptions(options, 'fromPromise: options').abort,
    checkFunction,
    'fromPromise: abort',
  );
}
