/**
 * Calls in the future: one, as a Deferred, and one again and again. Twisted: `deferLater` and `LoopingCall` of
 * `twisted.internet.task`.
 */
import { checkBoolean, checkFunction, checkMethods, checkSeconds } from './arguments.ts';
import { Deferred, type Settled } from './defer.ts';
import { noteFunction } from './frames.ts';
import { ranAs } from './hooks.ts';
import type { IDelayedCall, IReactorTime, Seconds } from './interfaces.ts';
import { maybeDeferred } from './maybe.ts';
import { reactor } from './reactor.ts';
import { INSPECT, inspected, type Inspecting, told } from './one-line.ts';

const ran = ranAs('the function');

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
  checkMethods(clock, 'deferLater: clock', 'a reactor or a Clock', ['callLater']);
  checkSeconds(delay, 'deferLater: delay');
  if (fn !== undefined) checkFunction(fn, 'deferLater: fn');
  const deferred: Deferred<unknown> = new Deferred<unknown>(() => {
    if (call.active()) call.cancel();
  });
  const call = clock.callLater(delay, () => {
    deferred.callback(undefined);
  });
  if (fn === undefined) return deferred;
  noteFunction(fn);
  return deferred.addCallback(() => fn(...args));
}

/**
 * Calls a function again and again, a fixed time apart. If it returns a Deferred or a promise, the next call waits for
 * that. Calls keep to the rhythm of the start: one that comes late is not made up for, and the next is on time.
 *
 * @example
 * const clock = new Clock();
 * const ticking = new LoopingCall(() => console.log('tick'));
 * ticking.clock = clock;
 * ticking.start(1);   // tick
 * clock.advance(1);   // tick
 * ticking.stop();
 */
export class LoopingCall<A extends unknown[] = unknown[]> {
  /** Whose time it goes by; to be set before `start`. Default: the process's reactor. */
  clock: IReactorTime = reactor;
  /** The function that is called. */
  f: (...args: A) => unknown;
  /** What it is called with. */
  a: A;
  #interval: Seconds | undefined;
  #startTime: Seconds = 0;
  #runAtStart = true;
  #call: IDelayedCall | undefined;
  /** What `start` has returned, while it runs. When it is started again, a call from before may still be going on. */
  #stopped: Deferred<this> | undefined;
  /** When calls were counted last since it was started. */
  #counted: Seconds | undefined;

  constructor(fn: (...args: A) => unknown, ...args: A) {
    this.f = checkFunction(fn, 'LoopingCall: fn');
    this.a = args;
  }

  /**
   * A looping call whose function is given how many calls were due since it was last made: 1, or more after a delay.
   */
  static withCount(fn: (count: number) => unknown): LoopingCall<[]> {
    noteFunction(checkFunction(fn, 'LoopingCall.withCount: fn'));
    const loop: LoopingCall<[]> = new LoopingCall<[]>(() => {
      const now = loop.clock.seconds();
      const interval = loop.#interval ?? 0;
      if (interval === 0) {
        loop.#counted = now;
        return fn(1);
      }
      const before =
        loop.#counted ?? (loop.#runAtStart ? loop.#startTime - interval : loop.#startTime);
      const elapsed = (time: Seconds): number => Math.trunc((time - loop.#startTime) / interval);
      const count = elapsed(now) - elapsed(before);
      if (count <= 0) return undefined;
      loop.#counted = now;
      return fn(count);
    });
    return loop;
  }

  /** True from `start` until `stop`, or until the function fails. */
  get running(): boolean {
    return this.#stopped !== undefined;
  }

  /**
   * Seconds between calls; undefined before the first `start`. It may be set, also by the function itself: it counts
   * from when the next call is asked for, in the rhythm of the start.
   *
   * @throws RangeError for an interval that is negative or not finite
   */
  get interval(): Seconds | undefined {
    return this.#interval;
  }

  set interval(interval: Seconds | undefined) {
    this.#interval = checkSeconds(interval as Seconds, 'LoopingCall: interval');
  }

  /**
   * Begins. Fires with this when it is stopped; fails with what the function fails with. When it is started again while
   * the last call from before goes on, that is not waited for; what the earlier `start` returned fires when it is over.
   *
   * @param interval seconds between calls; 0 for as often as the reactor gets round to it
   * @param now false to wait for the interval before the first call
   * @throws Error if it runs already; RangeError for an interval that is negative or not finite
   */
  start(interval: Seconds, now = true): Deferred<this> {
    if (this.running) throw new Error('cannot start a LoopingCall that is running');
    checkBoolean(now, 'LoopingCall.start: now');
    this.#interval = checkSeconds(interval, 'LoopingCall.start: interval');
    this.#runAtStart = now;
    this.#startTime = this.clock.seconds();
    this.#counted = undefined;
    const stopped = new Deferred<this>();
    this.#stopped = stopped;
    if (now) this.#run(stopped);
    else this.#schedule(stopped);
    return stopped;
  }

  /**
   * Ends it. If the function is waiting for something, what `start` returned fires after that.
   *
   * @throws Error if it does not run
   */
  stop(): void {
    const stopped = this.#stopped;
    if (stopped === undefined) throw new Error('cannot stop a LoopingCall that is not running');
    this.#stopped = undefined;
    if (this.#call === undefined) return;
    this.#unschedule();
    stopped.callback(this);
  }

  /**
   * Skips the next call, and begins a new rhythm now.
   *
   * @throws Error if it does not run
   */
  reset(): void {
    if (this.#stopped === undefined)
      throw new Error('cannot reset a LoopingCall that is not running');
    if (this.#call === undefined) return;
    this.#unschedule();
    this.#startTime = this.clock.seconds();
    this.#schedule(this.#stopped);
  }

  /** Stops it if it runs: `using ticking = …`. */
  [Symbol.dispose](): void {
    if (this.running) this.stop();
  }

  #run(stopped: Deferred<this>): void {
    this.#call = undefined;
    maybeDeferred(this.f, ...this.a)
      .addCallback(ran)
      .addCallbacks(
        () => {
          if (this.#stopped === stopped) this.#schedule(stopped);
          else stopped.callback(this);
        },
        (failure) => {
          if (this.#stopped === stopped) this.#stopped = undefined;
          stopped.errback(failure);
        },
      );
  }

  #unschedule(): void {
    if (this.#call?.active() === true) this.#call.cancel();
    this.#call = undefined;
  }

  /** Asks for the next call: at the next whole multiple of the interval since the start. */
  #schedule(stopped: Deferred<this>): void {
    this.#call = this.clock.callLater(this.#untilNext(this.clock.seconds()), () => {
      this.#run(stopped);
    });
  }

  #untilNext(now: Seconds): Seconds {
    const interval = this.#interval as Seconds;
    if (interval === 0) return 0;
    const rest = interval - ((now - this.#startTime) % interval);
    // A rest that is lost in rounding would ask for the call that has just been made.
    return now + rest === now ? interval : rest;
  }

  toString(): string {
    return told(
      this,
      `${this.running ? 'running' : 'stopped'}${this.#interval === undefined ? '' : ` every ${this.#interval} s`} ${this.f.name}`.trimEnd(),
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}
