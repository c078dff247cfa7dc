/**
 * Which of the functions that the reactor calls take too long, since nothing else happens meanwhile: a part of debug
 * mode. Where it is off, nobody asks the time. Twisted has no counterpart; asyncio: `loop.slow_callback_duration`.
 */
import { checkSeconds } from './arguments.ts';
import type { IProtocol, Seconds } from './interfaces.ts';
import type { WireEvents } from './io/io.ts';

/** What is found in debug mode. */
export interface DebugOptions {
  /** Seconds; what takes longer is reported. Default: 0.1. */
  readonly slowCallback?: Seconds;
}

/** A function that took too long. */
export interface SlowCallback {
  /** What it was: the function's name, or the class of the protocol and its method. */
  readonly what: string;
  /** How long it took. */
  readonly seconds: Seconds;
}

const SLOW: Seconds = 0.1;

/** Of a protocol that stands for another, that one. */
function innermost(thing: object): object {
  const { wrappedProtocol } = thing as { wrappedProtocol?: object };
  return wrappedProtocol === undefined ? thing : innermost(wrappedProtocol);
}

/** Measures calls, and reports those that took long. */
export class SlowCallbacks {
  readonly slowCallback: Seconds;
  readonly #now: () => Seconds;
  readonly #report: (slow: SlowCallback) => void;

  /**
   * @param now tells the time
   * @throws RangeError, TypeError if `slowCallback` is no number of seconds
   */
  constructor(
    { slowCallback = SLOW }: DebugOptions,
    now: () => Seconds,
    report: (slow: SlowCallback) => void,
  ) {
    this.slowCallback = checkSeconds(slowCallback, 'debug: slowCallback');
    this.#now = now;
    this.#report = report;
  }

  /** Calls `fn`, and lets through what it returns or throws. `what` is asked only if there is something to report. */
  time<R>(what: () => string, fn: () => R): R {
    const start = this.#now();
    try {
      return fn();
    } finally {
      const seconds = this.#now() - start;
      if (seconds > this.slowCallback) this.#report({ what: what(), seconds });
    }
  }

  /** As `time`, of a function, as in `the delayed call tick`. */
  timeFunction<R>(kind: string, { name }: { readonly name: string }, fn: () => R): R {
    return this.time(
      () => (name === '' ? `${kind} (a function without a name)` : `${kind} ${name}`),
      fn,
    );
  }

  /** As `time`, of a method of `thing`, as in `Echo.dataReceived`. */
  timeMethod<R>(thing: object, method: string, fn: () => R): R {
    return this.time(() => `${innermost(thing).constructor.name}.${method}`, fn);
  }

  /** Events of a wire as they are, but measured; `protocol` is who they end up with. */
  watch(events: WireEvents, protocol: IProtocol): WireEvents {
    const time = (hook: string, fn: () => void) => this.timeMethod(protocol, hook, fn);
    return {
      wireData: (data) => time('dataReceived', () => events.wireData(data)),
      wireEnd: () => time('readConnectionLost', () => events.wireEnd()),
      wireDrained: () => time('resumeProducing', () => events.wireDrained()),
      wireClosed: (error) => time('connectionLost', () => events.wireClosed(error)),
    };
  }
}
