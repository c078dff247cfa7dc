/**
 * Work in other threads, as Deferreds. The pool behind it is `threads/pool`, what a thread can do itself `threads/main`.
 * Twisted: `twisted.internet.threads`.
 */
import { checkMethods } from './arguments.ts';
import { Deferred, type Settled } from './defer.ts';
import type { Failure } from './failure.ts';
import type { IReactorFromThreads, IReactorThreads, IThreadPool } from './interfaces.ts';
import { fail } from './maybe.ts';
import { reactor as theReactor } from './reactor.ts';
import type { ThreadSteps } from './threads/pool.ts';
import type { ThreadWork } from './threads/task.ts';

export { transfer } from './threads/crossing.ts';
export {
  blockingCallFromThread,
  isInIOThread,
  type MainReactor,
  mainReactor,
} from './threads/main.ts';
export {
  type OnThreadResult,
  type ThreadCall,
  ThreadPool,
  type ThreadPoolOptions,
  type ThreadSteps,
} from './threads/pool.ts';
export {
  type ThreadModule,
  threadModule,
  type ThreadTask,
  type ThreadWork,
} from './threads/task.ts';

/**
 * Calls `work(...args)` in a thread of the process's reactor: a function that a module exports, see `threadModule`, or
 * one that needs nothing of where it was written. Fires with what it returns; a promise or Deferred is waited for
 * there, and a generator is run as a coroutine. Arguments and results are cloned, and are as they were at the time of the call; `transfer` moves them.
 *
 * Fails with what the function throws, with NotCloneableError, with ThreadDied if the function takes its thread down,
 * and with TypeError for what cannot be done in a thread. Cancelling takes it out of the line, or ends its thread.
 *
 * ```ts
 * const square = await deferToThread((n: number) => n ** 2, 12);
 * ```
 */
export function deferToThread<A extends unknown[], R>(
  work: ThreadWork<A, R>,
  ...args: A
): Deferred<Settled<R>> {
  return deferToThreadPool(theReactor, theReactor.getThreadPool(), work, ...args);
}

/** As {@link deferToThread}, in a thread of `pool`; the Deferred fires on `reactor`. */
export function deferToThreadPool<A extends unknown[], R>(
  reactor: Pick<IReactorFromThreads, 'callFromThread'>,
  pool: IThreadPool,
  work: ThreadWork<A, R>,
  ...args: A
): Deferred<Settled<R>> {
  checkMethods(reactor, 'deferToThreadPool: reactor', 'a reactor', ['callFromThread']);
  checkMethods(pool, 'deferToThreadPool: pool', 'a ThreadPool', ['callInThreadWithCallback']);
  const deferred = new Deferred<Settled<R>>(() => call.cancel());
  const onResult = (success: boolean, result: Settled<R> | Failure) => {
    reactor.callFromThread(() => {
      // It may have been cancelled meanwhile.
      if (deferred.called) return;
      if (success) deferred.callback(result as Settled<R>);
      else deferred.errback(result as Failure);
    });
  };
  let call: { cancel(): void };
  try {
    call = pool.callInThreadWithCallback(onResult, work, ...args);
  } catch (error) {
    return fail(error as Error);
  }
  return deferred;
}

/**
 * Does one thing after the other, in the same thread: each is a list of the work and its arguments. If one throws, that
 * is logged, and those after it are not done.
 *
 * @throws TypeError, NotCloneableError
 */
export function callMultipleInThread(
  all: ThreadSteps,
  reactor: Pick<IReactorThreads, 'getThreadPool'> = theReactor,
): void {
  checkMethods(reactor, 'callMultipleInThread: reactor', 'a reactor', ['getThreadPool']);
  reactor.getThreadPool().callAllInThread(all);
}
