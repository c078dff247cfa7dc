/**
 * What becomes of what a hook returns. A hook is a function of the user's that plait calls and does not wait for:
 * `dataReceived`, a delayed call, a signal's handler. It may be an `async` function or a generator function all the
 * same: a generator is run as a coroutine, and what a hook fails with later counts as thrown by it.
 *
 * A rule for editors: code that calls a hook hands what it returns to `watchHook`, there and then. It is not passed on
 * to a caller further out, for that may be a user's override which calls `super` and drops it.
 */
import { checkOptions, checkString } from './arguments.ts';
import { isObject, isThenable } from './chain.ts';
import { isCoroutine } from './coroutine.ts';
import { Deferred } from './defer.ts';
import { Failure } from './failure.ts';
import type { HookOwner, HookResult, IDelayedCall, IReactorTime, Seconds } from './interfaces.ts';
import { type LogFields, Logger, setLateWatcher } from './log.ts';
import { maybeDeferred, passthru, succeed } from './maybe.ts';
import { setOutcomeWatcher } from './unhandled.ts';

const log = new Logger('plait.protocol');

/** Seconds that a hook which is waited for may take. */
const GRACE: Seconds = 30;

/**
 * To be given what a hook has returned: a generator is run as a coroutine, and if that, a promise or a Deferred fails,
 * `owner` is told so, once. Anything else is ignored.
 *
 * @param hook its name, for the log
 *
 * @example
 * const transport = new StringTransport();
 * async function stringReceived(text: string) {
 *   if (text === '') throw new RangeError('an empty string');
 * }
 * watchHook(stringReceived('hello'), 'stringReceived', transport);
 */
export function watchHook(outcome: unknown, hook: string, owner: HookOwner | undefined): void {
  // That is nearly always all, so it is kept small.
  if (outcome !== undefined) watch(outcome, hook, owner);
}

function watch(outcome: unknown, hook: string, owner: HookOwner | undefined): void {
  checkString(hook, 'watchHook: hook');
  if (owner !== undefined) checkOptions(owner, 'watchHook: owner', 'an owner of hooks');
  const work = deferredOf(outcome, hook);
  if (work === undefined) return;
  Deferred.wait(work, {
    resume(result) {
      if (result instanceof Failure) hookFailed(owner, hook, result as Failure);
      return undefined;
    },
  });
}

/** Tells `owner` what a hook has failed with: for an owner that stands in for another one. */
export function hookFailed(owner: HookOwner | undefined, hook: string, failure: Failure): void {
  if (typeof owner?.hookFailed === 'function') {
    owner.hookFailed(hook, failure);
    return;
  }
  log.failure(`${hook} failed`, failure, { hook });
  if (typeof owner?.abortConnection === 'function') owner.abortConnection();
}

/**
 * `value`, which a function has returned that cannot be waited for: TypeError if it is a promise, whose rejection would
 * go unheard, or a generator.
 *
 * @param what the function, for the error
 */
export function neededNow<T>(value: T, what: string): T {
  if (typeof value === 'object' && value !== null && isPending(value))
    throw new TypeError(`${what} returned a promise or a generator: it cannot be waited for`);
  return value;
}

/** True for a generator, and for a promise, whose rejection then counts as handled. */
export function isPending(value: object): boolean {
  if (isThenable(value)) {
    value.then(undefined, () => {});
    return true;
  }
  return isCoroutine(value);
}

/**
 * A callback that lets any value pass but an async generator, for places where nothing would run it: TypeError.
 *
 * @param what the function that has returned it, for the error
 */
export function ranAs(what: string): <T>(value: T) => T {
  return (value) => {
    if (isObject(value) && isAsyncGenerator(value)) throw notRun(what);
    return value;
  };
}

function notRun(what: string): TypeError {
  return new TypeError(
    `${what} is an async generator function, which is never run: write async or function*`,
  );
}

/** An owner that only logs, for hooks that have no connection. */
export function loggedBy(logger: Logger): HookOwner {
  return {
    hookFailed(hook, failure) {
      logger.failure(`${hook} failed`, failure);
    },
  };
}

/** Calls hooks by their names; what they fail with later is logged. */
export function hookCaller(
  logger: Logger,
): <K extends string>(thing: Readonly<Record<K, () => HookResult>>, hook: K) => void {
  const logging = loggedBy(logger);
  return (thing, hook) => watchHook(thing[hook](), hook, logging);
}

/**
 * Calls the last hook of something that closes, `stopFactory` say, and tells `over` once, when what the hook returns has
 * come to its end: with what it failed with, if it did. A hook that takes longer than 30 seconds is logged, and not
 * waited for any more, if `clock` has delayed calls; what it fails with after that is logged too, both with `fields`.
 */
export function finishWithHook(
  hook: string,
  call: () => unknown,
  clock: Partial<Pick<IReactorTime, 'callLater'>>,
  over: (failure?: Failure) => void,
  fields: LogFields = {},
): void {
  const names = Object.keys(fields).map((name) => `{${name}}`);
  const whose = names.length === 0 ? '' : ` of ${names.join(' on ')}`;
  const state: { timer?: IDelayedCall | undefined; over: boolean } = { over: false };
  const end = (failure?: Failure): void => {
    if (state.over) {
      if (failure !== undefined)
        log.failure(`${hook} failed${whose}`, failure, { ...fields, hook });
      return;
    }
    state.over = true;
    if (state.timer?.active() === true) state.timer.cancel();
    over(failure);
  };
  succeed()
    .addCallback(() => deferredOf(call(), hook))
    .addCallbacks(
      () => end(),
      (failure) => end(failure),
    );
  if (state.over) return;
  state.timer = clock.callLater?.(GRACE, () => {
    log.warn(`{hook}${whose} was not over in {grace} seconds, and is not waited for any more`, {
      ...fields,
      hook,
      grace: GRACE,
    });
    end();
  });
}

/** What is to be watched; undefined for anything that a function may return by the way. */
function deferredOf(outcome: unknown, hook: string): Deferred<unknown> | undefined {
  if (outcome instanceof Deferred) return outcome as Deferred<unknown>;
  if (!isObject(outcome)) return undefined;
  return maybeDeferred(() => {
    if (isThenable(outcome) || isCoroutine(outcome)) return passthru(outcome);
    if (isAsyncGenerator(outcome)) throw notRun(hook);
    return undefined;
  });
}

function isAsyncGenerator(thing: object): boolean {
  const { next, throw: raise } = thing as Partial<AsyncGenerator>;
  return typeof next === 'function' && typeof raise === 'function' && Symbol.asyncIterator in thing;
}

setLateWatcher((outcome, failed) => {
  // A Deferred is the caller's, and what it fails with is reported unless that is handled.
  if (outcome instanceof Deferred) return;
  watchHook(outcome, 'what failuresHandled has called', {
    hookFailed: (_hook, failure) => failed(failure),
  });
});

setOutcomeWatcher((outcome, failed) => {
  watchHook(outcome, 'what is told of unhandled failures', {
    hookFailed: (_hook, { value }) => failed(value),
  });
});
