/** What a function of the user's may return that plait calls and does not wait for. */
import type { Failure } from '../failure.ts';
import type { Coroutine } from '../coroutine.ts';

/**
 * What a hook returns: nothing, as a rule. It may be an `async` function or a generator function, which is run as a
 * coroutine; it is not waited for, but if it fails, the hook counts as having thrown. So does one that returns a
 * Deferred or a promise that fails. Any other value is ignored.
 */
export type HookResult =
  | void
  | PromiseLike<unknown>
  | Coroutine<unknown>
  | object
  | string
  | number
  | bigint
  | boolean
  | null;

/** A protocol or a factory that says what it is called in the log; else it is called by its class. */
export interface ILoggingContext {
  logPrefix(): string;
}

/**
 * What hears of it when a hook fails after it has returned: a transport, in most cases. Without `hookFailed` it is
 * logged, and the connection, if it is one, is aborted.
 */
export interface HookOwner {
  /**
   * `hook` has failed: this is to be logged, and dealt with as if it had thrown. It may be called from within any
   * function of the user's.
   */
  hookFailed?(hook: string, failure: Failure): void;
  abortConnection?(): void;
}
