/**
 * What the chain of a Deferred is made of: its links, the bits of its state, and the two kinds of others that it deals
 * with. Internal to `defer` and `inline`, which are to be read first.
 */
import { AsyncResource } from 'node:async_hooks';
import { checkBoolean, checkFunction, wrongType } from './arguments.ts';
import type { Coroutine } from './coroutine.ts';
import type { Deferred } from './defer.ts';
import type { Failure } from './failure.ts';
import { noteFunction } from './frames.ts';
import type { Unhandled } from './unhandled.ts';

/**
 * What a callback's return value leaves in the chain: the value of a Deferred, a promise or a coroutine, and never a
 * Failure.
 */
export type Settled<R> = Exclude<Returned<Awaited<R>>, Failure>;

/** As `Awaited` does it, by the type of a method, so that a type parameter with a constraint stays what it is. */
type Returned<V> = V extends { next: infer Next; throw: unknown; [Symbol.iterator]: unknown }
  ? Next extends (...sent: never) => IteratorResult<unknown, infer T>
    ? Settled<T>
    : never
  : V;

/** Told to stop what the Deferred waits for; may fire the Deferred itself, with a value too. */
export type Canceller<T> = (deferred: Deferred<T>) => void;

/** How far a Deferred is: `waiting` for another one that a callback returned, or with a value, or with a Failure. */
export type DeferredState = 'unfired' | 'waiting' | 'succeeded' | 'failed';

/** Waits for a result without changing it. */
export interface Waiter {
  /** Given the result, which may be a Failure. Returns a Deferred that it fired by `Deferred.settle`, if any. */
  resume(result: unknown): Deferred<unknown> | undefined;
  /** It takes the result away, so that a failure has not been dealt with; what is left then is what it `refused` with. */
  readonly takesOver?: true;
  refused?: Failure;
}

/** Several that are to be cancelled one after the other, each with what it waits for. */
export class Sweep {
  readonly each: Iterator<Deferred<unknown>, undefined>;
  /** They are cancelled `surely`; one whose canceller throws is waited for, and not made to fail. */
  readonly inScope: boolean;

  constructor(each: Iterator<Deferred<unknown>, undefined>, inScope = false) {
    this.each = each;
    this.inScope = inScope;
  }
}

/** Cancels by passing it on to what it waits for; the Deferred it belongs to fires later. */
export interface Relay {
  /**
   * What is to be cancelled now; undefined if the relay takes note and sees to it. Asked `surely`, it does so too where
   * what it waits for has its result, of which it has not heard yet.
   */
  awaited(surely: boolean): Deferred<unknown> | Sweep | undefined;
  /** What it waits for, if that is a Deferred. */
  readonly waitingOn?: Deferred<unknown> | undefined;
}

export type Handler = (result: unknown) => unknown;

/**
 * A link of the chain: calls `ok` with a value, `bad` with a failure. Two values of `bad` mean something else, and then
 * `ok` is no function: `handOver` gives the result to a Deferred and keeps nothing, `show` shows it to a Waiter.
 */
export class Link {
  readonly ok: unknown;
  readonly bad: Handler | undefined;
  next: Link | undefined = undefined;

  constructor(ok: unknown, bad: Handler | undefined) {
    this.ok = ok;
    this.bad = bad;
  }
}

export const handOver: Handler = () => {};
export const show: Handler = () => {};

// Bits of #flags. A Deferred that is CALLED and nothing else may run its chain.
export const CALLED = 1;
export const RUNNING = 2; // a function of the chain is on the stack: what is added now runs after it
export const PAUSED = 4; // by pause()
export const WAITING = 8; // for the Deferred in #result, which will hand its result over
export const WAITED = 32; // some other Deferred has waited for it
export const TAKEN = 64; // the one that took the result is being run, and then there is none left
export const SWALLOW = 16; // cancelled without a canceller: one late result is to be ignored
export const MAY_NOT_RUN = CALLED | RUNNING | PAUSED | WAITING; // unless of these it is just CALLED

/** What few Deferreds have. */
export interface Rare {
  /** How often it is paused. */
  pauses?: number;
  /** The failure that was awaited: from then on it is the waiter's to handle. */
  observed?: Failure;
  unhandled?: Unhandled;
  /** The Deferred that will hand its result over, by `chainDeferred`. */
  chainedTo?: Deferred<unknown> | undefined;
  created?: Error;
  fired?: Error;
}

/** Where a Deferred was made and fired, as text, if that was written down. */
export function historyOf(rare: Rare | undefined): string {
  if (rare === undefined) return '';
  let text = '';
  for (const place of [rare.created, rare.fired]) {
    if (place === undefined) continue;
    text += `\n${place.message}:\n${(place.stack ?? '').split('\n').slice(2).join('\n')}`;
  }
  return text;
}

let keepsContext = false;

/**
 * Makes callbacks run in the AsyncLocalStorage context in which they were added, from now on; else they run in that of
 * the caller that fires the Deferred. Coroutines and delayed calls keep theirs in any case. A callback then costs about
 * three times as much, so it is off by default.
 */
export function setKeepContext(on: boolean): void {
  checkBoolean(on, 'setKeepContext: on');
  keepsContext = on;
}

/** True after `setKeepContext(true)`. */
export function getKeepContext(): boolean {
  return keepsContext;
}

/** `fn` if it is a function, else TypeError. */
export function callable(fn: unknown): Handler {
  checkFunction(fn, 'a callback');
  noteFunction(fn);
  return keepsContext ? inContext(fn as Handler) : (fn as Handler);
}

/** `fn`, to be called in the context of now. (In Node 20, `AsyncResource.bind` costs a hundred times as much.) */
function inContext(fn: (...all: unknown[]) => unknown): Handler {
  const context = new AsyncResource('plait.callback');
  return (...all: unknown[]) => context.runInAsyncScope(fn, undefined, ...all);
}

/** True for a {@link Relay}, which subclasses of plait's own give. */
function isRelay(canceller: unknown): boolean {
  return typeof (canceller as Partial<Relay> | null)?.awaited === 'function';
}

/** `canceller` if it is a function, or none; else TypeError. */
export function checkCanceller<C>(canceller: C): C {
  if (canceller !== undefined && typeof canceller !== 'function' && !isRelay(canceller))
    throw wrongType('Deferred: canceller', 'a function', canceller);
  return canceller;
}

/** `fn` with the arguments behind the first. (A rest parameter would cost every call an array.) */
export function bind(fn: unknown, given: IArguments): Handler {
  const call: (...all: unknown[]) => unknown = callable(fn);
  const args = Array.prototype.slice.call(given, 1) as unknown[];
  return (result) => call(result, ...args);
}

/** True for a promise, a Deferred of another copy of the package, or anything else that can be waited for. */
export function isThenable(thing: object): thing is PromiseLike<unknown> {
  return typeof (thing as { then?: unknown }).then === 'function';
}

/** True for what may have a `then`, or be a generator. */
export function isObject(thing: unknown): thing is object {
  return (typeof thing === 'object' && thing !== null) || typeof thing === 'function';
}

/** True for a generator, native or compiled. */
export function isCoroutine(thing: object): thing is Coroutine<unknown> {
  const { next, throw: raise } = thing as Partial<Coroutine<unknown>>;
  return typeof next === 'function' && typeof raise === 'function' && Symbol.iterator in thing;
}
