/**
 * An event emitter on whose listeners nothing depends: what one of them fails with, also later, is logged, and the
 * others are still called.
 */
import { EventEmitter } from 'eventemitter3';
import { Failure } from './failure.ts';
import { loggedBy, watchHook } from './hooks.ts';
import type { Logger } from './log.ts';

type Names<Events extends object> = EventEmitter.EventNames<Events>;
type Listener<Events extends object, T extends Names<Events>> = EventEmitter.EventListener<
  Events,
  T
>;

/** As an `EventEmitter` of eventemitter3. */
export class ObservedEvents<Events extends object> extends EventEmitter<Events> {
  readonly #what: string;
  readonly #log: Logger;
  /** What is called in place of each listener; each has one, so that it can be taken away again. */
  readonly #guarded = new WeakMap<object, unknown>();

  /** @param what a listener is, for the log */
  constructor(what: string, log: Logger) {
    super();
    this.#what = what;
    this.#log = log;
  }

  override on<T extends Names<Events>>(event: T, fn: Listener<Events, T>, context?: unknown): this {
    return super.on(event, this.#guard(fn), context);
  }

  override addListener<T extends Names<Events>>(
    event: T,
    fn: Listener<Events, T>,
    context?: unknown,
  ): this {
    return super.on(event, this.#guard(fn), context);
  }

  override once<T extends Names<Events>>(
    event: T,
    fn: Listener<Events, T>,
    context?: unknown,
  ): this {
    return super.once(event, this.#guard(fn), context);
  }

  override off<T extends Names<Events>>(
    event: T,
    fn?: Listener<Events, T>,
    context?: unknown,
    once?: boolean,
  ): this {
    return super.off(event, fn === undefined ? fn : this.#guard(fn), context, once);
  }

  override removeListener<T extends Names<Events>>(
    event: T,
    fn?: Listener<Events, T>,
    context?: unknown,
    once?: boolean,
  ): this {
    return this.off(event, fn, context, once);
  }

  #guard<F>(fn: F): F {
    if (typeof fn !== 'function') return fn; // which the emitter refuses
    const known = this.#guarded.get(fn);
    if (known !== undefined) return known as F;
    const what = this.#what;
    const log = this.#log;
    const logging = loggedBy(log);
    const guarded = function (this: unknown, ...args: unknown[]): void {
      try {
        watchHook(Reflect.apply(fn, this, args), what, logging);
      } catch (error) {
        log.failure(`${what} failed`, new Failure(error));
      }
    };
    this.#guarded.set(fn, guarded);
    return guarded as F;
  }
}
