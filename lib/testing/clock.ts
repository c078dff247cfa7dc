/**
 * A clock that a test moves by hand. Twisted: `twisted.internet.task.Clock`.
 */
import { checkSeconds } from '../arguments.ts';
import type { IDelayedCall, IReactorTime, Seconds } from '../interfaces.ts';
import { CallQueue } from '../time.ts';
import { Passing } from './passing.ts';
import { count, INSPECT, inspected, type Inspecting, told } from '../one-line.ts';

/**
 * Time that passes when it is told to. What is due has happened when `advance` returns: no waiting, no microtasks. For
 * code that is `async`, there is `advanceAsync`.
 *
 * @example
 * const clock = new Clock();
 * clock.callLater(30, () => console.log('half a minute'));
 * clock.advance(30);
 */
export class Clock implements IReactorTime {
  #now: Seconds = 0;
  readonly #calls: CallQueue = new CallQueue(() => this.#now);
  #passing: Passing | undefined;

  seconds(): Seconds {
    return this.#now;
  }

  callLater<A extends unknown[]>(
    delay: Seconds,
    fn: (...args: A) => unknown,
    ...args: A
  ): IDelayedCall {
    return this.#calls.add(delay, fn, args);
  }

  getDelayedCalls(): IDelayedCall[] {
    return this.#calls.pending();
  }

  /**
   * Lets `amount` seconds pass: the time jumps, then the calls that are due are made, in order. Calls that they ask
   * for are made too, if they are due by then.
   */
  advance(amount: Seconds): void {
    this.#now += checkSeconds(amount, 'advance: amount');
    this.#passing?.moved(amount);
    this.#calls.runDue({ includeNew: true });
  }

  /**
   * The same for code with promises in it, step by step: the time moves to each moment at which something is due, and
   * there Node's event loop turns once, so that `async` functions have come to their next wait, before it moves on. It
   * turns once before that, too: a time-out that an `async` function has still to ask for is asked for.
   *
   * Where it is called again before it is over, the second begins when the first is over.
   *
   * @param amount in seconds
   * @param between called after each of those turns, and waited for: `() => pump.flush()`, say
   * @throws RangeError for what is no number of seconds, Error if calls go on asking for others at the same time (the
   *   promise rejects)
   *
   * @example
   * const clock = new Clock();
   * async function brew() {
   *   await null; // whatever comes first
   *   await deferLater(clock, 180);
   *   return 'tea';
   * }
   * const tea = brew();
   * await clock.advanceAsync(180);
   * await tea;   // 'tea'
   */
  async advanceAsync(amount: Seconds, between?: () => unknown): Promise<void> {
    this.#passing ??= new Passing({
      seconds: () => this.#now,
      nextTime: () => this.#calls.nextTime(),
      moveTo: (time) => {
        this.#now = time;
        this.#calls.runDue();
      },
    });
    await this.#passing.pass(amount, between);
  }

  /** Advances by each amount in turn. */
  pump(amounts: Iterable<Seconds>): void {
    for (const amount of amounts) this.advance(amount);
  }

  /** Advances by each amount in turn, by `advanceAsync`. */
  async pumpAsync(amounts: Iterable<Seconds>, between?: () => unknown): Promise<void> {
    for (const amount of amounts) await this.advanceAsync(amount, between);
  }

  toString(): string {
    return told(this, `at ${this.#now} s, ${count(this.#calls.size, 'delayed call')}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}
