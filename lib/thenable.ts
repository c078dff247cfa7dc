/**
 * Waiting for what has a `then`. Such a thing may call back at once, with another such thing, and so on, as deep as it
 * likes: that is gone through by a loop.
 */
import { isObject, isThenable } from './chain.ts';
import { Failure } from './failure.ts';

/** The outcome is not there yet. */
export const PENDING = Symbol('pending');

/** So many thenables, each given by the one before, have no end. */
const MOST_FOLLOWED = 4_000_000;

/**
 * `outcome`, or if that is a thenable what comes of it at once; PENDING, if that comes later: `later` is then called with
 * it, and it may be a thenable again. Nothing that `isOwn` says true to is taken for a thenable.
 */
export function valueOf(
  outcome: unknown,
  isOwn: (thing: object) => boolean,
  later: (outcome: unknown) => void,
): unknown {
  let at = outcome;
  try {
    for (let followed = 0; followed < MOST_FOLLOWED; followed++) {
      if (!isObject(at) || isOwn(at) || !isThenable(at)) return at;
      at = firstOf(at, later);
    }
    throw new RangeError(`thenables that each gave another, ${MOST_FOLLOWED} of them`);
  } catch (error) {
    return new Failure(error);
  }
}

/** What `promise` calls back with, or a Failure; PENDING, and `later` is called with it, if that is not at once. */
export function firstOf(promise: PromiseLike<unknown>, later: (outcome: unknown) => void): unknown {
  let first: unknown = PENDING;
  let returned = false;
  let over = false;
  const take = (outcome: unknown): void => {
    if (over) return; // no promise, but something that settles more than once
    over = true;
    if (returned) later(outcome);
    else first = outcome;
  };
  try {
    promise.then(take, (error: unknown) => {
      take(new Failure(error));
    });
  } catch (error) {
    take(new Failure(error));
  }
  returned = true;
  return first;
}
