/**
 * The heart of a simulation: virtual time, and what is to happen when. Time does not pass; it jumps to the next event.
 * Events of the same moment happen in an order that is drawn from the seed, as nothing in a real network promises one;
 * whoever needs an order keeps it, by asking for the next event when the one before has happened.
 */
import { TimeHeap } from '../../heap.ts';
import type { Seconds } from '../../interfaces.ts';
import { Random } from './random.ts';

/** Orders drawn at random lie this far apart, and between them there is room for all events of a run. */
const RANK = 2 ** 32;

/** So many events at one moment are taken for a program that goes round in a circle. Tests lower it. */
export const limits = { atOnce: 200_000 };

/** Something that is to happen, and can be called off. */
export class SimEvent {
  #fn: (() => void) | undefined;

  constructor(fn: () => void) {
    this.#fn = fn;
  }

  get pending(): boolean {
    return this.#fn !== undefined;
  }

  cancel(): void {
    this.#fn = undefined;
  }

  /** @internal */
  happen(): void {
    const fn = this.#fn;
    this.#fn = undefined;
    fn?.();
  }
}

/** Virtual time, and the events that wait for theirs. */
export class Kernel {
  readonly random: Random;
  readonly #ties: Random;
  readonly #heap = new TimeHeap<SimEvent>();
  #now: Seconds = 0;
  #sequence = 0;
  /** When the heap is this large, events that were called off are taken out of it. */
  #roomy = 4096;
  #stepping = false;
  /** How many events have happened since time moved. */
  #atOnce = 0;
  /** How many events have happened. */
  happened = 0;

  constructor(seed: number | string) {
    this.random = new Random(seed);
    this.#ties = this.random.stream('ties');
  }

  /** The time, in seconds since the simulation began. */
  get now(): Seconds {
    return this.#now;
  }

  /** Lets `fn` happen at `time`, or now if that is past; never before this returns. */
  at(time: Seconds, fn: () => void): SimEvent {
    const event = new SimEvent(fn);
    const order = this.#ties.int(2 ** 20) * RANK + this.#sequence++;
    this.#heap.push(Math.max(time, this.#now), order, event);
    if (this.#heap.size > this.#roomy) {
      this.#heap.filter((other) => other.pending);
      this.#roomy = Math.max(4096, 2 * this.#heap.size);
    }
    return event;
  }

  /** Lets `fn` happen in `delay` seconds. */
  after(delay: Seconds, fn: () => void): SimEvent {
    return this.at(this.#now + delay, fn);
  }

  /** When the next event is; undefined if nothing is to happen. */
  get nextTime(): Seconds | undefined {
    for (;;) {
      const { first } = this.#heap;
      if (first === undefined || first.pending) break;
      this.#heap.pop();
    }
    return this.#heap.firstTime;
  }

  /**
   * Lets the next event happen, if there is one that is due by `limit`; false if there is none.
   *
   * @throws Error from inside an event, since nothing may happen while something does; if time does not move on any more,
   * as with a call that asks for itself again in 0 seconds; whatever the event throws
   */
  step(limit: Seconds = Infinity): boolean {
    if (this.#stepping)
      throw new Error('the simulation is under way: time cannot be moved on from inside of it');
    const next = this.nextTime;
    if (next === undefined || next > limit) return false;
    const event = this.#heap.first as SimEvent;
    if (next > this.#now) this.#atOnce = 0;
    else if (++this.#atOnce > limits.atOnce) {
      throw new Error(
        `time stands still: ${limits.atOnce} events have happened at ${this.#now} s, and there is no end to it`,
      );
    }
    this.#heap.pop();
    this.#now = next;
    this.happened++;
    this.#stepping = true;
    try {
      event.happen();
    } finally {
      this.#stepping = false;
    }
    return true;
  }

  /** Nothing happens until `time`, which must not lie behind the next event. */
  skipTo(time: Seconds): void {
    if (time > this.#now) this.#now = time;
  }
}
