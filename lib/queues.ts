/**
 * Passing things from those who make them to those who want them. Twisted: `DeferredQueue` of
 * `twisted.internet.defer`; asyncio and gevent: `Queue`, `LifoQueue`, `PriorityQueue`, whose waiting put, `join` and
 * `shutdown` are here too.
 */
import type { Deferred } from './defer.ts';
import { QueueOverflow, QueueShutDown, QueueUnderflow } from './errors.ts';
import { Failure } from './failure.ts';
import { fail, succeed } from './maybe.ts';
import { Waiters } from './waiters.ts';

/** Options of the queues. */
export interface QueueOptions {
  /** How many things may be in the queue. Default: any number. */
  readonly size?: number;
  /** How many may wait for a thing. Default: any number. */
  readonly backlog?: number;
}

/** Where the things in a queue are kept, which decides their order. */
export interface QueueStore<T> {
  readonly size: number;
  add(thing: T): void;
  /** The next thing; called only while there is one. */
  take(): T;
}

/** First in, first out. */
class Fifo<T> implements QueueStore<T> {
  #things: (T | undefined)[] = [];
  #taken = 0;

  get size(): number {
    return this.#things.length - this.#taken;
  }

  add(thing: T): void {
    this.#things.push(thing);
  }

  take(): T {
    const thing = this.#things[this.#taken] as T;
    this.#things[this.#taken++] = undefined;
    if (this.#taken === this.#things.length) {
      this.#things.length = this.#taken = 0;
    } else if (this.#taken > 32 && this.#taken * 2 > this.#things.length) {
      // What was taken is cut off once it is half of all, so that each thing is moved once at most.
      this.#things = this.#things.slice(this.#taken);
      this.#taken = 0;
    }
    return thing;
  }
}

/** Last in, first out. */
class Lifo<T> implements QueueStore<T> {
  readonly #things: T[] = [];

  get size(): number {
    return this.#things.length;
  }

  add(thing: T): void {
    this.#things.push(thing);
  }

  take(): T {
    return this.#things.pop() as T;
  }
}

/** Least first; equals in the order in which they came. A binary heap. */
class Sorted<T> implements QueueStore<T> {
  readonly #heap: { readonly thing: T; readonly order: number }[] = [];
  readonly #compare: (a: T, b: T) => number;
  #order = 0;

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  get size(): number {
    return this.#heap.length;
  }

  add(thing: T): void {
    let at = this.#heap.push({ thing, order: this.#order++ }) - 1;
    for (let up = (at - 1) >> 1; at > 0 && this.#before(at, up); up = (at - 1) >> 1) {
      this.#swap(at, up);
      at = up;
    }
  }

  take(): T {
    this.#swap(0, this.#heap.length - 1);
    const { thing } = this.#heap.pop() as { thing: T };
    for (let at = 0; ;) {
      let down = 2 * at + 1;
      if (this.#before(down + 1, down)) down++;
      if (!this.#before(down, at)) return thing;
      this.#swap(at, down);
      at = down;
    }
  }

  #before(a: number, b: number): boolean {
    const [x, y] = [this.#heap[a], this.#heap[b]];
    if (x === undefined || y === undefined) return false;
    const difference = this.#compare(x.thing, y.thing);
    return difference < 0 || (difference === 0 && x.order < y.order);
  }

  #swap(a: number, b: number): void {
    const [x, y] = [this.#heap[a], this.#heap[b]];
    if (x === undefined || y === undefined) return;
    this.#heap[a] = y;
    this.#heap[b] = x;
  }
}

/**
 * Things on their way from `put` to `get`, each to one who gets. Those who wait are served in the order in which they
 * came; cancelling what `get` or `putWait` returned leaves the line. `for await` takes things until the queue is shut
 * down.
 *
 * @example
 * const jobs = new DeferredQueue<string>();
 * jobs.get().addCallback((job) => console.log(job));
 * jobs.put('sweep the floor');
 */
export class DeferredQueue<T> implements AsyncIterable<T> {
  /** How many things may be in it. */
  readonly size: number;
  /** How many may wait for a thing. */
  readonly backlog: number;
  readonly #store: QueueStore<T>;
  readonly #getters: Waiters<T> = new Waiters<T>();
  /** Those who wait for room, with what they want to put. */
  readonly #putters: Waiters<void, T> = new Waiters<void, T>();
  readonly #joiners: Waiters<void> = new Waiters<void>();
  #unfinished = 0;
  #shutDown = false;

  /**
   * @param store keeps the things; the default is first in, first out
   * @throws RangeError for a size or backlog that is no whole number from 0
   */
  constructor(options: QueueOptions = {}, store: QueueStore<T> = new Fifo<T>()) {
    this.size = checkLimit('size', options.size);
    this.backlog = checkLimit('backlog', options.backlog);
    this.#store = store;
  }

  /** How many things are in it. */
  get pending(): number {
    return this.#store.size;
  }

  /** How many wait for a thing. */
  get waiting(): number {
    return this.#getters.size;
  }

  /** How many things have been put, and not yet been answered by `taskDone`. */
  get unfinished(): number {
    return this.#unfinished;
  }

  /**
   * Hands `thing` to whoever waits longest, or keeps it.
   *
   * @throws QueueOverflow if the queue is full; QueueShutDown after `shutdown`
   */
  put(thing: T): void {
    if (this.#shutDown) throw new QueueShutDown('cannot put: the queue has been shut down');
    if (this.#isFull())
      throw new QueueOverflow(`cannot put: the queue is full, with ${this.size} in it`);
    this.#accept(thing);
  }

  /** As `put`, but waits for room. Fails with QueueShutDown. */
  putWait(thing: T): Deferred<void> {
    if (this.#shutDown) return fail(new QueueShutDown('cannot put: the queue has been shut down'));
    if (this.#isFull()) return this.#putters.wait(thing);
    this.#accept(thing);
    return succeed();
  }

  #isFull(): boolean {
    return this.#getters.size === 0 && this.#store.size >= this.size;
  }

  #accept(thing: T): void {
    this.#unfinished++;
    if (!this.#getters.fireFirst(thing)) this.#store.add(thing);
  }

  /**
   * Fires with the next thing, at once or when there is one. Fails with QueueShutDown if there will be none.
   *
   * @throws QueueUnderflow if too many wait already
   */
  get(): Deferred<T> {
    if (this.#store.size > 0) {
      const thing = this.#store.take();
      this.#letIn();
      return succeed(thing);
    }
    if (this.#putters.size > 0) {
      // The queue holds nothing by itself: it has size 0.
      const thing = this.#putters.first as T;
      this.#unfinished++;
      this.#putters.fireFirst();
      return succeed(thing);
    }
    if (this.#shutDown) return fail(new QueueShutDown('cannot get: the queue has been shut down'));
    if (this.#getters.size >= this.backlog) {
      throw new QueueUnderflow(`cannot get: ${this.backlog} wait already, as many as may`);
    }
    return this.#getters.wait(undefined);
  }

  /** Lets those who wait to put do so while there is room. */
  #letIn(): void {
    while (this.#putters.size > 0 && this.#store.size < this.size) {
      this.#accept(this.#putters.first as T);
      this.#putters.fireFirst();
    }
  }

  /**
   * Says that a thing that was taken has been dealt with, for `join`.
   *
   * @throws RangeError if it is said more often than things were put
   */
  taskDone(): void {
    if (this.#unfinished === 0)
      throw new RangeError('taskDone() was called more often than things were put');
    if (--this.#unfinished === 0) this.#joiners.fireAll(undefined);
  }

  /** Fires when `taskDone` has been called for everything that was put. */
  join(): Deferred<void> {
    return this.#unfinished === 0 ? succeed() : this.#joiners.wait(undefined);
  }

  /**
   * Takes nothing more. What is in the queue can still be taken, unless `immediate`: then it is dropped, and counts as
   * dealt with. Those who wait fail with QueueShutDown.
   */
  shutdown(options: { readonly immediate?: boolean } = {}): void {
    this.#shutDown = true;
    if (options.immediate === true) {
      while (this.#store.size > 0) {
        this.#store.take();
        this.#unfinished--;
      }
      if (this.#unfinished === 0) this.#joiners.fireAll(undefined);
    }
    const reason = new Failure(new QueueShutDown('the queue was shut down while waiting for it'));
    this.#putters.fireAll(reason);
    this.#getters.fireAll(reason);
  }

  /** Takes things one by one; ends when the queue has been shut down and is empty. */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    let got: Deferred<T> | undefined;
    return {
      next: async () => {
        try {
          got = this.get();
          return { done: false, value: await got };
        } catch (error) {
          if (error instanceof QueueShutDown) return { done: true, value: undefined };
          throw error;
        }
      },
      return: () => {
        got?.cancel();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }
}

/** A queue from which the newest thing is taken first. */
export class LifoQueue<T> extends DeferredQueue<T> {
  constructor(options: QueueOptions = {}) {
    super(options, new Lifo<T>());
  }
}

/**
 * A queue from which the least thing is taken first, and equals in the order in which they came.
 *
 * @example
 * const jobs = new PriorityQueue<{ urgency: number }>((a, b) => b.urgency - a.urgency);
 */
export class PriorityQueue<T> extends DeferredQueue<T> {
  /** @param compare negative if `a` is to be taken before `b`; the default compares by `<` */
  constructor(compare: (a: T, b: T) => number = byLess, options: QueueOptions = {}) {
    super(options, new Sorted<T>(compare));
  }
}

function byLess(a: unknown, b: unknown): number {
  const [x, y] = [a as number, b as number];
  return x < y ? -1 : y < x ? 1 : 0;
}

function checkLimit(what: string, given = Infinity): number {
  if (given !== Infinity && (!Number.isInteger(given) || given < 0)) {
    throw new RangeError(`a queue's ${what} is a whole number from 0, not ${given}`);
  }
  return given;
}
