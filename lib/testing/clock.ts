/**
 * A clock that a test moves by hand. Twisted: `twisted.internet.task.Clock`.
 */
import type { IDelayedCall, IReactorTime, Seconds } from '../interfaces.ts';
import { CallQueue, checkDelay } from '../time.ts';

/**
 * Time that passes when it is told to. What is due has happened when `advance` returns: no waiting, no microtasks.
 *
 * @example
 * const clock = new Clock();
 * clock.callLater(30, () => console.log('half a minute'));
 * clock.advance(30);
 */
export class Clock implements IReactorTime {
  #now: Seconds = 0;
  readonly #calls: CallQueue = new CallQueue(() => this.#now);

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
    this.#now += checkDelay(amount, 'amount');
    this.#calls.runDue({ includeNew: true });
  }

  /** Advances by each amount in turn. */
  pump(amounts: Iterable<Seconds>): void {
    for (const amount of amounts) this.advance(amount);
  }
}
