/**
 * Calls to be made later: the queue that the reactor and the test's `Clock` share, so that order, cancelling and
 * resetting are the same in life and in tests. It has no timer of its own: its maker gives it a clock to ask.
 * Twisted: the time part of `twisted.internet.base.ReactorBase`, and `DelayedCall`.
 *
 * A heap by due time and order of the request. Three rules for editors: calls due at the same time run in the
 * order in which they were asked for; a call that is put off stays where it is in the heap until it comes up (so that
 * `reset` on each byte received costs nothing); a cancelled call stays too, until more than half of the heap is.
 */
import { AsyncResource } from 'node:async_hooks';
import {
  checkArray,
  checkBoolean,
  checkFunction,
  checkOptions,
  checkSeconds,
  wrongType,
  wrongValue,
} from './arguments.ts';
import { AlreadyCalled, AlreadyCancelled } from './errors.ts';
import { Failure } from './failure.ts';
import { frames, outside } from './frames.ts';
import { loggedBy, watchHook } from './hooks.ts';
import { TimeHeap } from './heap.ts';
import type { IDelayedCall, Seconds } from './interfaces.ts';
import { Logger } from './log.ts';
import type { SlowCallbacks } from './slow-callbacks.ts';
import { count, INSPECT, inspected, type Inspecting, told } from './one-line.ts';

export type { Seconds } from './interfaces.ts';

const log = new Logger('plait.time');

const logging = loggedBy(log);

/** Its end is told when the call has been made or cancelled, so it need not be watched for collection. */
const RESOURCE_OPTIONS = { requireManualDestroy: true } as const;

function badDelay(seconds: unknown): Error {
  const name = 'DelayedCall.delay: seconds';
  if (typeof seconds !== 'number') return wrongType(name, 'a number of seconds', seconds);
  return wrongValue(name, 'a finite number of seconds', seconds);
}

/** Where calls were asked for, in debug mode. */
const askedFor = new WeakMap<DelayedCall, Error>();

const PENDING = 0;
const CALLED = 1;
const CANCELLED = 2;
const STATES = ['pending', 'called', 'cancelled'] as const;

/**
 * A call that waits for its time, and is made in the AsyncLocalStorage context in which it was asked for. Made by
 * `callLater`. Twisted: `DelayedCall`.
 */
export class DelayedCall extends AsyncResource implements IDelayedCall {
  /** Its place in the heap, never later than when it is really due. */
  #place: Seconds;
  /** When it is really due, and its order among calls due then. */
  #due: Seconds;
  #order: number;
  #state: 0 | 1 | 2 = PENDING;
  #queue: CallQueue;
  #fn: ((...args: never[]) => unknown) | undefined;
  #args: readonly unknown[] | undefined;

  /** @internal made by {@link CallQueue.add} */
  constructor(
    queue: CallQueue,
    time: Seconds,
    order: number,
    fn: (...args: never[]) => unknown,
    args: readonly unknown[] | undefined,
  ) {
    super('plait.delayed-call', RESOURCE_OPTIONS);
    this.#queue = queue;
    this.#place = this.#due = time;
    this.#order = order;
    this.#fn = fn;
    this.#args = args;
  }

  /** True until it has been called or cancelled. */
  active(): boolean {
    return this.#state === PENDING;
  }

  /** When it is due (or was), on the clock that it was asked of. */
  getTime(): Seconds {
    return this.#due;
  }

  /**
   * Calls it off.
   *
   * @throws AlreadyCalled, AlreadyCancelled
   */
  cancel(): void {
    this.#mustBePending('cancelled');
    this.emitDestroy();
    this.#state = CANCELLED;
    this.#fn = this.#args = undefined;
    CallQueue.cancelled(this.#queue, this);
  }

  /**
   * Puts it off (or brings it forward) to `delay` seconds from now.
   *
   * @throws AlreadyCalled, AlreadyCancelled
   */
  reset(delay: Seconds): void {
    this.#mustBePending('reset');
    CallQueue.move(
      this.#queue,
      this,
      this.#queue.now() + checkSeconds(delay, 'DelayedCall.reset: delay'),
    );
  }

  /**
   * Adds `seconds` to the time at which it is due; a negative number brings it forward.
   *
   * @throws AlreadyCalled, AlreadyCancelled; TypeError, RangeError for what is no finite number
   */
  delay(seconds: Seconds): void {
    this.#mustBePending('delayed');
    if (!Number.isFinite(seconds)) throw badDelay(seconds);
    CallQueue.move(this.#queue, this, this.getTime() + seconds);
  }

  /** Cancels it if it is still to come: `using call = reactor.callLater(…)`. */
  [Symbol.dispose](): void {
    if (this.#state === PENDING) this.cancel();
  }

  override toString(): string {
    const state = STATES[this.#state];
    const name = this.#fn?.name;
    const stack = askedFor.get(this)?.stack?.replace(/^.*/, '\nasked for here:') ?? '';
    return `<DelayedCall ${state}${name === undefined || name === '' ? '' : ` ${name}`} at ${this.getTime()}${stack}>`;
  }

  #mustBePending(attempt: string): void {
    if (this.#state === CALLED)
      throw new AlreadyCalled(`a call that was made cannot be ${attempt}`);
    if (this.#state === CANCELLED) {
      throw new AlreadyCancelled(`a call that was cancelled cannot be ${attempt}`);
    }
  }

  /** @internal changes when it is due; true if its place in the heap may stay as it is until it comes up */
  static move(call: DelayedCall, time: Seconds, order: number): boolean {
    call.#due = time;
    call.#order = order;
    if (time >= call.#place) return true;
    call.#place = time;
    return false;
  }

  /** @internal its order among calls due at the same time */
  static order(call: DelayedCall): number {
    return call.#order;
  }

  /** @internal it has come up: its place is to be that at which it is really due */
  static settle(call: DelayedCall): void {
    call.#place = call.#due;
  }

  /** @internal makes the call, and measures it */
  static runWatched(call: DelayedCall, slow: SlowCallbacks): void {
    slow.timeFunction('the delayed call', call.#fn as () => unknown, () => {
      DelayedCall.run(call);
    });
  }

  /** @internal makes the call; what it throws is logged */
  static run(call: DelayedCall): void {
    const fn = call.#fn as (...args: unknown[]) => unknown;
    const args = call.#args;
    call.#state = CALLED;
    call.#fn = call.#args = undefined;
    const before = frames.opened;
    frames.opened = undefined; // where a Clock is moved on by a function that is waited for
    try {
      const outcome: unknown =
        args === undefined
          ? call.runInAsyncScope(fn)
          : call.runInAsyncScope(fn, undefined, ...args);
      // A generator is run in the same context as what has made it.
      if (outcome !== undefined)
        call.runInAsyncScope(watchHook, undefined, outcome, 'a delayed call', logging);
    } catch (error) {
      log.failure('a delayed call failed', new Failure(error));
    }
    frames.opened = before;
    call.emitDestroy();
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * Calls in the order in which they are due.
 *
 * @example
 * let now = 0;
 * const queue = new CallQueue(() => now);
 * queue.add(2, console.log, ['two seconds have passed']);
 * now = 2;
 * queue.runDue();
 */
export class CallQueue {
  /** What time it is. */
  readonly now: () => Seconds;
  readonly #heap: TimeHeap<DelayedCall> = new TimeHeap<DelayedCall>();
  /** How many of the calls in the heap (and in `#fresh`) have been cancelled. */
  #cancelled = 0;
  #order = 0;
  /** Calls with a lower order are let go: they are made if there is still time, and nothing waits for them. */
  #letGoBelow = 0;
  /** How many of those still wait. */
  #letGo = 0;
  /** During a pass: the calls asked for meanwhile. */
  #fresh: DelayedCall[] | undefined;
  readonly #changed: () => void;
  /** @internal in debug mode: measures the calls, and each remembers where it was asked for */
  slow: SlowCallbacks | undefined;

  /**
   * @param now tells the time
   * @param changed called when the next call has come to be due earlier than before, and when none waits any more
   */
  constructor(now: () => Seconds, changed: () => void = () => {}) {
    this.now = checkFunction(now, 'CallQueue: now');
    this.#changed = checkFunction(changed, 'CallQueue: changed');
  }

  /** Asks for `fn(...args)` in `delay` seconds. */
  add<A extends unknown[]>(delay: Seconds, fn: (...args: A) => unknown, args?: A): DelayedCall {
    checkSeconds(delay, 'callLater: delay');
    checkFunction(fn, 'callLater: fn');
    if (args !== undefined) checkArray(args, 'callLater: args');
    const time = this.now() + delay;
    const given = args?.length === 0 ? undefined : args;
    const order = this.#order++;
    // What the call awaits is not cancelled with the async function that has asked for it.
    const call = frames.tracking
      ? outside(() => new DelayedCall(this, time, order, fn, given))
      : new DelayedCall(this, time, order, fn, given);
    if (this.slow !== undefined) askedFor.set(call, new Error());
    if (this.#fresh === undefined) this.#insert(call);
    else this.#fresh.push(call);
    return call;
  }

  /** When the next call is due; undefined if none waits. */
  nextTime(): Seconds | undefined {
    return this.#first()?.getTime();
  }

  /** How many calls wait. */
  get size(): number {
    return this.#heap.size + (this.#fresh?.length ?? 0) - this.#cancelled;
  }

  /** The calls that wait now are no reason any more to wait; those that are asked for (or put off) later are. */
  letGo(): void {
    this.#letGoBelow = this.#order;
    this.#letGo = this.size;
  }

  /** All calls that wait are a reason to wait again. */
  takeBack(): void {
    this.#letGoBelow = this.#letGo = 0;
  }

  /** A call waits that was not let go. */
  get holds(): boolean {
    return this.size > this.#letGo;
  }

  /** One of those that were let go is one of them no longer. */
  #forget(call: DelayedCall): void {
    if (DelayedCall.order(call) < this.#letGoBelow) this.#letGo--;
  }

  /** The calls that wait, in no order. */
  pending(): DelayedCall[] {
    return [...this.#heap.things(), ...(this.#fresh ?? [])].filter((call) => call.active());
  }

  /**
   * Makes the calls that are due, in order. Those asked for meanwhile wait for the next pass, so that a call that asks
   * for itself again cannot starve the rest; with `includeNew` they are made too, if they are due.
   */
  runDue(options: { includeNew?: boolean } = {}): void {
    const { includeNew = false } = checkOptions(options, 'runDue: options');
    checkBoolean(includeNew, 'runDue: includeNew');
    const nested = this.#fresh !== undefined;
    if (!includeNew && !nested) this.#fresh = [];
    const start = this.now();
    for (
      let call = this.#first();
      // A call may itself move a Clock on.
      call !== undefined && call.getTime() <= (includeNew ? this.now() : start);
      call = this.#first()
    ) {
      this.#heap.pop();
      this.#forget(call);
      if (this.slow === undefined) DelayedCall.run(call);
      else DelayedCall.runWatched(call, this.slow);
    }
    if (nested || this.#fresh === undefined) return;
    const fresh = this.#fresh;
    this.#fresh = undefined;
    for (const call of fresh) this.#insert(call);
  }

  /** @internal */
  static cancelled(queue: CallQueue, call: DelayedCall): void {
    queue.#cancelled++;
    queue.#forget(call);
    if (!queue.holds) queue.#changed();
    if (queue.#cancelled <= 64 || queue.#cancelled <= queue.size) return;
    queue.#cancelled = 0;
    queue.#fresh = queue.#fresh?.filter((call) => call.active());
    queue.#heap.filter((call) => call.active());
  }

  /** @internal */
  static move(queue: CallQueue, call: DelayedCall, time: Seconds): void {
    const order = queue.#order++;
    const lets = queue.#letGo > 0;
    queue.#forget(call);
    const stays = DelayedCall.move(call, time, order);
    if (lets) queue.#changed();
    if (stays) return;
    // During a pass it may not be in the heap yet.
    if (queue.#heap.bringForward(call, time, order) && queue.#heap.first === call) queue.#changed();
  }

  #insert(call: DelayedCall): void {
    DelayedCall.settle(call);
    this.#heap.push(call.getTime(), DelayedCall.order(call), call);
    if (this.#heap.first === call || this.#letGo > 0) this.#changed();
  }

  /** The call that is really due first, after the cancelled and the put-off ones on top have found their places. */
  #first(): DelayedCall | undefined {
    for (;;) {
      const { first } = this.#heap;
      if (first === undefined) return undefined;
      if (!first.active()) {
        this.#heap.pop();
        this.#cancelled--;
      } else if (this.#heap.firstOrder !== DelayedCall.order(first)) {
        DelayedCall.settle(first);
        this.#heap.putOffFirst(first.getTime(), DelayedCall.order(first));
      } else {
        return first;
      }
    }
  }

  toString(): string {
    return told(this, count(this.size, 'call'));
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}
