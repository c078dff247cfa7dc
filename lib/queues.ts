/**
 * Passing things from those who make them to those who want them. Twisted: `DeferredQueue` of
 * `twisted.internet.defer`; asyncio and gevent: `Queue`, `LifoQueue`, `PriorityQueue`, whose waiting put, `join` and
 * `shutdown` are here too.
 */
import {
  checkBoolean,
  checkFunction,
  checkLimit,
  checkMethods,
  checkOptions,
} from './arguments.ts';
import { Deferred } from './defer.ts';
import { QueueOverflow, QueueShutDown, QueueUnderflow } from './errors.ts';
import { Failure } from './failure.ts';
import { Fifo } from './fifo.ts';
import { neededNow } from './hooks.ts';
import { fail, succeed } from './maybe.ts';
import { wake, Waiters } from './waiters.ts';
import { INSPECT, inspected, type Inspecting, told } from './one-line.ts';

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

/**
 * Least first; equals in the order in which they came. A binary heap. The caller's function may throw, or use the queue
 * itself: so all comparisons are made before anything is moved.
 */
class Sorted<T> implements QueueStore<T> {
  readonly #heap: Entry<T>[] = [];
  readonly #compare: (a: T, b: T) => number;
  #order = 0;
  #comparing = false;

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = checkFunction(compare, 'PriorityQueue: compare');
  }

  get size(): number {
    return this.#heap.length;
  }

  add(thing: T): void {
    const entry = { thing, order: this.#order++ };
    const path = this.#search(() => this.#pathUp(entry));
    this.#move(path, entry);
  }

  take(): T {
    const last = this.#heap.at(-1) as Entry<T>;
    const path = this.#search(() => this.#pathDown(last));
    const [first] = this.#heap as [Entry<T>];
    this.#heap.pop();
    if (this.#heap.length > 0) this.#move(path, last);
    return first.thing;
  }

  /** The places from the end of the heap up to where `entry` belongs. */
  #pathUp(entry: Entry<T>): number[] {
    let at = this.#heap.length;
    const path = [at];
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (!this.#before(entry, this.#heap[up] as Entry<T>)) break;
      path.push((at = up));
    }
    return path;
  }

  /** The places from the top of the heap down to where `last`, its last entry, belongs once the top is gone. */
  #pathDown(last: Entry<T>): number[] {
    const size = this.#heap.length - 1;
    const path = [0];
    for (let at = 0; ;) {
      let down = 2 * at + 1;
      if (down >= size) break;
      const [left, right] = [this.#heap[down], this.#heap[down + 1]] as [Entry<T>, Entry<T>];
      if (down + 1 < size && this.#before(right, left)) down++;
      if (!this.#before(this.#heap[down] as Entry<T>, last)) break;
      path.push((at = down));
    }
    return path;
  }

  /** Moves what is on the path one place along it, which leaves the end of it for `entry`. */
  #move(path: readonly number[], entry: Entry<T>): void {
    for (let n = 1; n < path.length; n++)
      this.#heap[path[n - 1] as number] = this.#heap[path[n] as number] as Entry<T>;
    this.#heap[path.at(-1) as number] = entry;
  }

  #search(search: () => number[]): number[] {
    if (this.#comparing)
      throw new Error('a PriorityQueue cannot be used by the function that compares for it');
    this.#comparing = true;
    try {
      return search();
    } finally {
      this.#comparing = false;
    }
  }

  #before(a: Entry<T>, b: Entry<T>): boolean {
    const difference = neededNow(this.#compare(a.thing, b.thing), 'compare of a PriorityQueue');
    return difference < 0 || (difference === 0 && a.order < b.order);
  }
}

/** A thing that waits for room. */
interface Offer<T> {
  readonly thing: T;
  /** It was put with `put`, which has returned. */
  readonly isAccepted: boolean;
}

/** A thing in the heap, and when it came. */
interface Entry<T> {
  readonly thing: T;
  readonly order: number;
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
  #size: number;
  #backlog: number;
  #store: QueueStore<T>;
  readonly #getters: Waiters<T> = new Waiters<T>();
  /** Those who wait for room, with what they want to put. */
  readonly #putters: Waiters<void, Offer<T>> = new Waiters<void, Offer<T>>();
  /** How many of those are of `put`, which has returned: nothing may take their room, nor that of those before them. */
  #accepted = 0;
  readonly #joiners: Waiters<void> = new Waiters<void>();
  #unfinished = 0;
  #shutDown = false;
  /** One who waited for room is being told. */
  #telling = false;

  /**
   * @param store keeps the things; the default is first in, first out
   * @throws RangeError for a size or backlog that is no whole number from 0
   */
  constructor(options: QueueOptions = {}, store: QueueStore<T> = new Fifo<T>()) {
    const { size = Infinity, backlog = Infinity } = checkOptions(options, 'DeferredQueue: options');
    this.#size = checkLimit(size, 'DeferredQueue: size');
    this.#backlog = checkLimit(backlog, 'DeferredQueue: backlog');
    this.#store = checkMethods(store, 'DeferredQueue: store', 'a store', ['add', 'take']);
  }

  /**
   * How many things may be in it. Making it larger lets those in who wait for room.
   *
   * @throws RangeError if it is set to anything but a whole number from 0, or Infinity
   */
  get size(): number {
    return this.#size;
  }

  set size(size: number) {
    this.#size = checkLimit(size, 'DeferredQueue: size');
    wake(this.#goOn);
  }

  /**
   * How many may wait for a thing.
   *
   * @throws RangeError if it is set to anything but a whole number from 0, or Infinity
   */
  get backlog(): number {
    return this.#backlog;
  }

  set backlog(backlog: number) {
    this.#backlog = checkLimit(backlog, 'DeferredQueue: backlog');
  }

  /** How many things are in it. */
  get pending(): number {
    return Math.max(0, this.#store.size + this.#accepted - this.#getters.size);
  }

  /** How many wait for a thing. */
  get waiting(): number {
    return Math.max(0, this.#getters.size - this.#store.size - this.#accepted);
  }

  /** How many things have been put, and not yet been answered by `taskDone`. */
  get unfinished(): number {
    return this.#unfinished;
  }

  /**
   * Hands `thing` to the `get` that waits longest, or keeps it.
   *
   * @throws QueueOverflow if the queue is full; QueueShutDown after `shutdown`; TypeError for a Deferred; what the
   *   function of a PriorityQueue throws
   */
  put(thing: T): void {
    mustBeNoDeferred(thing);
    if (this.#shutDown) throw new QueueShutDown('cannot put: the queue has been shut down');
    if (this.#isFull())
      throw new QueueOverflow(`cannot put: the queue is full, with ${this.size} in it`);
    // There is room for all who wait for it, who have only not been told yet: this comes after them.
    if (this.#putters.size > 0) this.#acceptLater(thing);
    else this.#accept(thing);
    if (this.#getters.size > 0) wake(this.#goOn);
  }

  /** As `put`, but waits for room. Fails with QueueShutDown, or with what the function of a PriorityQueue throws. */
  putWait(thing: T): Deferred<void> {
    mustBeNoDeferred(thing);
    if (this.#shutDown) return fail(new QueueShutDown('cannot put: the queue has been shut down'));
    const put = this.#putters.wait({ thing, isAccepted: false });
    if (this.#putters.size === 1) wake(this.#goOn);
    return put;
  }

  #isFull(): boolean {
    return this.#store.size + this.#putters.size >= this.#size + this.#getters.size;
  }

  #accept(thing: T): void {
    this.#store.add(thing);
    this.#unfinished++;
  }

  #acceptLater(thing: T): void {
    this.#putters
      .wait({ thing, isAccepted: true })
      .addErrback((failure) => void failure.trap(QueueShutDown));
    this.#accepted++;
    this.#unfinished++;
  }

  /**
   * Fires with the next thing, at once or when there is one. Fails with QueueShutDown if there will be none.
   *
   * @throws QueueUnderflow if too many wait already; what the function of a PriorityQueue throws
   */
  get(): Deferred<T> {
    const waiting = this.#getters.size;
    if (waiting === 0 && this.#store.size > 0) {
      const thing = this.#store.take();
      this.#wakePutters();
      return succeed(thing);
    }
    if (this.#store.size + this.#putters.size > waiting) {
      const got = this.#getters.wait(undefined);
      this.#wakePutters();
      return got;
    }
    if (this.#shutDown) return fail(new QueueShutDown('cannot get: the queue has been shut down'));
    if (this.waiting >= this.#backlog) {
      throw new QueueUnderflow(`cannot get: ${this.#backlog} wait already, as many as may`);
    }
    return this.#getters.wait(undefined);
  }

  /** Where one of them is who gets, the next are told when that one has gone on, or it would see its thing after them. */
  #wakePutters(): void {
    if (this.#putters.size > 0 && !this.#telling) wake(this.#goOn);
  }

  /** Hands one thing to one who waits for it, or lets one in who waits for room; false if neither can be done. */
  readonly #goOn = (): boolean => {
    if (this.#getters.size > 0 && this.#store.size > 0) this.#handOver();
    else if (this.#putters.size > 0 && this.#hasRoom()) this.#letIn();
    else return false;
    return true;
  };

  /** One who gets may have left since something was accepted: that is let in all the same. */
  #hasRoom(): boolean {
    return this.#accepted > 0 || this.#store.size < this.#size + this.#getters.size;
  }

  #handOver(): void {
    const getter = this.#getters.shift();
    if (getter === undefined) return;
    let thing: T;
    try {
      thing = this.#store.take();
    } catch (error) {
      getter.deferred.errback(new Failure(error));
      return;
    }
    getter.deferred.callback(thing);
  }

  #letIn(): void {
    const putter = this.#putters.shift();
    if (putter === undefined) return;
    const { thing, isAccepted } = putter.carried;
    if (isAccepted) {
      this.#accepted--;
      this.#unfinished--;
    }
    try {
      this.#accept(thing);
    } catch (error) {
      putter.deferred.errback(new Failure(error));
      return;
    }
    const outer = this.#telling;
    this.#telling = true;
    try {
      putter.deferred.callback();
    } finally {
      this.#telling = outer;
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
    const { immediate = false } = checkOptions(options, 'DeferredQueue.shutdown: options');
    checkBoolean(immediate, 'DeferredQueue.shutdown: immediate');
    const isFirst = !this.#shutDown;
    this.#shutDown = true;
    if (immediate) {
      this.#unfinished -= this.#store.size + this.#accepted;
      this.#accepted = 0;
      this.#store = new Fifo<T>();
      if (this.#unfinished === 0) this.#joiners.fireAll(undefined);
    } else if (isFirst) {
      // Those for whom there is something, or room, and who have only not been told yet.
      while (this.#goOn());
    }
    const reason = new Failure(new QueueShutDown('the queue was shut down while waiting for it'));
    this.#putters.fireAll(reason);
    this.#getters.fireAll(reason);
  }

  /** Takes things one by one; ends when the queue has been shut down and is empty. */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    const gets = new Set<Deferred<T>>();
    let over = false;
    return {
      next: async () => {
        if (over) return { done: true, value: undefined };
        let got: Deferred<T> | undefined;
        try {
          got = this.get();
          gets.add(got);
          return { done: false, value: await got };
        } catch (error) {
          if (error instanceof QueueShutDown) return { done: true, value: undefined };
          throw error;
        } finally {
          if (got !== undefined) gets.delete(got);
        }
      },
      return: () => {
        over = true;
        for (const got of gets) got.cancel();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  toString(): string {
    return told(
      this,
      `${this.#shutDown ? 'shut down, ' : ''}${this.pending} pending, ${this.waiting} waiting`,
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
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

/** Nobody could be fired with it. */
function mustBeNoDeferred(thing: unknown): void {
  if (thing instanceof Deferred)
    throw new TypeError('a Deferred cannot be put in a queue: put what it fires with');
}
