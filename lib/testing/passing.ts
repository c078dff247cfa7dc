/**
 * How a double lets time pass step by step, for code with promises in it: the time moves to the next thing that is due,
 * that is done, and then JavaScript does what it does by itself, microtasks and ticks, before the time moves on. No
 * microtask can run while `advance` does, which moves the time as a whole.
 */
import { checkSeconds } from '../arguments.ts';
import type { Seconds } from '../interfaces.ts';
import { maybeDeferred } from '../maybe.ts';

/** How often calls may ask for others at the same time before that is taken for a circle. */
const MOST_AT_ONE_TIME = 10_000;

/** That of Node, also in a test that puts something in its place. */
const later = setImmediate;

/** A clock that can be moved to a certain time. */
export interface Passable {
  seconds(): Seconds;
  /** When something is due next; undefined if nothing waits. */
  nextTime(): Seconds | undefined;
  /** It becomes `time`, which is not before now, and what is due then is done. */
  moveTo(time: Seconds): void;
}

/** Lets time pass for one clock: for one caller after the other. */
export class Passing {
  readonly #clock: Passable;
  /** When the one that goes on ends. */
  #end: Seconds = 0;
  /** All that was asked for until now. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(clock: Passable) {
    this.#clock = clock;
  }

  /** The clock is moved on at once meanwhile: that comes on top. */
  moved(amount: Seconds): void {
    this.#end += amount;
  }

  /**
   * @param between called when JavaScript has done its own, and waited for, before the time moves on
   * @throws RangeError, TypeError for what is no number of seconds; Error for a circle (the promise rejects)
   */
  pass(amount: Seconds, between?: () => unknown): Promise<void> {
    const passed = this.#last.then(() => this.#pass(amount, between));
    this.#last = passed.catch(() => {});
    return passed;
  }

  async #pass(amount: Seconds, between?: () => unknown): Promise<void> {
    const clock = this.#clock;
    this.#end = clock.seconds() + checkSeconds(amount, 'advance: amount');
    let rounds = 0;
    for (;;) {
      await new Promise<void>((resolve) => later(resolve));
      if (between !== undefined) await maybeDeferred(between);
      const now = clock.seconds();
      const next = clock.nextTime();
      if (next === undefined || next > this.#end) break;
      rounds = next > now ? 0 : rounds + 1;
      if (rounds > MOST_AT_ONE_TIME)
        throw new Error(
          `cannot let time pass: at ${now} seconds calls have asked for others at the same time ${MOST_AT_ONE_TIME} times over`,
        );
      clock.moveTo(Math.max(now, next));
    }
    if (this.#end > clock.seconds()) clock.moveTo(this.#end);
  }
}
