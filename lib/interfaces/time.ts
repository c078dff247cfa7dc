/** The contracts about time, types only. */

/** A length of time, or a moment on a reactor's clock, in seconds. */
export type Seconds = number;

/** A call that waits for its time. */
export interface IDelayedCall extends Disposable {
  /** True until it has been called or cancelled. */
  active(): boolean;
  /** When it is due, in seconds on the reactor's clock. */
  getTime(): Seconds;
  /** Calls it off; throws AlreadyCalled or AlreadyCancelled. */
  cancel(): void;
  /** Makes it due `delay` seconds from now. */
  reset(delay: Seconds): void;
  /** Adds to the time at which it is due. */
  delay(seconds: Seconds): void;
  /** What it is, and in debug mode where it was asked for. */
  toString(): string;
}

/** A clock and the calls that wait on it. */
export interface IReactorTime {
  /** The time in seconds, from a clock that only goes forward. It says nothing of the date. */
  seconds(): Seconds;
  /** Calls `fn(...args)` in `delay` seconds, never sooner and never before this returns. */
  callLater<A extends unknown[]>(
    delay: Seconds,
    fn: (...args: A) => unknown,
    ...args: A
  ): IDelayedCall;
  /** The calls that wait. */
  getDelayedCalls(): IDelayedCall[];
}
