/**
 * Calls that other threads ask of a reactor's thread: the queue in which they wait for the next pass, and the functions
 * that may be asked for by name. Twisted: `threadCallQueue` of `twisted.internet.base.ReactorBase`.
 */
import { AsyncResource } from 'node:async_hooks';
import { inspect } from 'node:util';
import { checkFunction, checkOptions } from '../arguments.ts';
import { Failure } from '../failure.ts';
import { outside } from '../frames.ts';
import { loggedBy, watchHook } from '../hooks.ts';
import { Logger } from '../log.ts';

const log = new Logger('plait.threads');

const logging = loggedBy(log);

/** Any function, as one that is called by name from elsewhere is seen. */
export type AnyFunction = (...args: never[]) => unknown;

/** The queue and the names of one reactor. */
export class ThreadCalls {
  readonly #soon: (fn: () => void) => void;
  #queue: (() => unknown)[] = [];
  #running = false;
  readonly #allowed = new Map<string, AnyFunction>();

  /** @param soon calls a function in the next turn */
  constructor(soon: (fn: () => void) => void) {
    this.#soon = soon;
  }

  /** Calls `fn(...args)` in the next pass, after all that was asked for before. */
  add<A extends unknown[]>(fn: (...args: A) => unknown, args: A): void {
    checkFunction(fn, 'callFromThread: fn');
    const call: () => unknown = args.length === 0 ? fn : () => fn(...args);
    this.#queue.push(
      outside(() =>
        AsyncResource.bind(() => watchHook(call(), 'a function called from a thread', logging)),
      ),
    );
    if (this.#queue.length === 1 && !this.#running) this.#soon(() => this.#run());
  }

  /** What is asked for meanwhile waits for the next pass. */
  #run(): void {
    const batch = this.#queue;
    this.#queue = [];
    this.#running = true;
    for (const call of batch) {
      try {
        call();
      } catch (error) {
        log.failure('a function called from a thread failed', new Failure(error));
      }
    }
    this.#running = false;
    // Behind the delayed calls that these have asked for, as with Twisted.
    if (this.#queue.length > 0) this.#soon(() => this.#run());
  }

  /** Lets threads call these functions by these names, until what it returns is disposed of. */
  allow(functions: Readonly<Record<string, AnyFunction>>): Disposable {
    checkOptions(functions, 'allowFromThread: functions', 'an object with functions');
    const entries = Object.entries(functions);
    for (const [name, fn] of entries) {
      checkFunction(fn, `allowFromThread: functions.${name}`);
      if (this.#allowed.has(name))
        throw new RangeError(
          `threads may already call another function by the name ${inspect(name)}`,
        );
    }
    for (const [name, fn] of entries) this.#allowed.set(name, fn);
    return {
      [Symbol.dispose]: () => {
        for (const [name, fn] of entries) {
          if (this.#allowed.get(name) === fn) this.#allowed.delete(name);
        }
      },
    };
  }

  /**
   * The function that threads may call by this name.
   *
   * @throws RangeError if there is none
   */
  named(name: string): AnyFunction {
    const fn = this.#allowed.get(name);
    if (fn !== undefined) return fn;
    const names = [...this.#allowed.keys()].map((known) => inspect(known)).join(', ');
    throw new RangeError(
      `threads may call nothing by the name ${inspect(name)}; there is ${names === '' ? 'nothing: see allowFromThread' : names}`,
    );
  }
}
