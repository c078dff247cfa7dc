/**
 * What a program does on signals, in place of what the reactor would: one function for each signal. It does not stop
 * anything itself. Twisted has no counterpart; asyncio: `loop.add_signal_handler`.
 */
import { AsyncResource } from 'node:async_hooks';
import { constants } from 'node:os';
import { checkFunction, checkString, wrongValue } from './arguments.ts';
import { Failure } from './failure.ts';
import { outside } from './frames.ts';
import { loggedBy, watchHook } from './hooks.ts';
import type { IO } from './io/io.ts';
import { Logger } from './log.ts';

const log = new Logger('plait.reactor');

const logging = loggedBy(log);

/** No process is asked about these. */
const NEVER_TOLD = ['SIGKILL', 'SIGSTOP'];

/** The processor raises these about what code has done, and again as soon as the function returns. */
const FAULTS = ['SIGBUS', 'SIGFPE', 'SIGILL', 'SIGSEGV'];

/** The functions for the signals of one reactor. */
export class Signals {
  readonly #handlers = new Map<string, { readonly remove: () => void }>();

  /** True if there is a function for this signal. */
  has(name: string): boolean {
    return this.#handlers.has(name);
  }

  /** Calls `fn(name)` on each such signal, in place of what was called before. */
  add(io: IO, name: string, fn: (name: string) => unknown): Disposable {
    check(name);
    checkFunction(fn, 'addSignalHandler: fn');
    const what = `a handler of ${name}`;
    const bound = outside(() =>
      AsyncResource.bind((signal: string) => watchHook(fn(signal), what, logging)),
    );
    const remove = io.onSignal(name, () => {
      try {
        bound(name);
      } catch (error) {
        log.failure(`${what} failed`, new Failure(error));
      }
    });
    // Not before the new one is there: without any, the signal would end the process.
    this.remove(name);
    const handler = { remove };
    this.#handlers.set(name, handler);
    return {
      [Symbol.dispose]: () => {
        if (this.#handlers.get(name) === handler) this.remove(name);
      },
    };
  }

  /** True if there was one. */
  remove(name: string): boolean {
    const handler = this.#handlers.get(name);
    this.#handlers.delete(name);
    handler?.remove();
    return handler !== undefined;
  }

  removeAll(): void {
    for (const name of this.#handlers.keys()) this.remove(name);
  }
}

function check(name: string): void {
  checkString(name, 'addSignalHandler: name');
  if (!Object.hasOwn(constants.signals, name))
    throw wrongValue('addSignalHandler: name', 'the name of a signal here', name);
  if (NEVER_TOLD.includes(name)) throw new RangeError(`${name} cannot be handled by a process`);
  if (FAULTS.includes(name)) throw new RangeError(`${name} cannot be handled by JavaScript code`);
}
