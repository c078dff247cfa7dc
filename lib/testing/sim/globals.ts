/**
 * What a program may ask of JavaScript itself in place of its reactor: chance, the date, and timers. While a simulation
 * runs they follow it, so that a program that asks for them is the same with the same seed all the same.
 */
import { performance } from 'node:perf_hooks';
import type { Seconds } from '../../interfaces.ts';
import type { SimEvent } from './kernel.ts';
import type { Random } from './random.ts';

/** What the globals follow. */
export interface GlobalSource {
  readonly random: Random;
  /** Seconds since the beginning. */
  seconds(): Seconds;
  after(delay: Seconds, fn: () => void): SimEvent;
}

type Callback = (...args: unknown[]) => unknown;

/** What `setTimeout` and `setInterval` return. It is cleared as Node's are, by itself or by its number. */
class SimTimer {
  static #count = 0;
  readonly #again: (timer: SimTimer) => SimEvent;
  readonly id: number = ++SimTimer.#count;
  event: SimEvent;
  #refs = true;

  constructor(again: (timer: SimTimer) => SimEvent) {
    this.#again = again;
    this.event = again(this);
  }

  refresh(): this {
    this.event.cancel();
    this.event = this.#again(this);
    return this;
  }

  close(): this {
    this.event.cancel();
    return this;
  }

  ref(): this {
    this.#refs = true;
    return this;
  }

  unref(): this {
    this.#refs = false;
    return this;
  }

  hasRef(): boolean {
    return this.#refs;
  }

  [Symbol.toPrimitive](): number {
    return this.id;
  }

  [Symbol.dispose](): void {
    this.event.cancel();
  }
}

/**
 * Lets `Math.random` and the date follow `source`, and with `timers` also `performance.now`, `setTimeout` and
 * `setInterval`. Returns a function that puts back what was there.
 *
 * @param start the date at the beginning, as `Date.now` gives it
 */
export function replaceGlobals(source: GlobalSource, start: number, timers: boolean): () => void {
  const chance = source.random.stream('Math.random');
  const undo: (() => void)[] = [];
  // One that cannot be put back, since the program has frozen it, is no reason to leave the others.
  const restoreAll = (): void => {
    const errors: unknown[] = [];
    for (const restore of undo.splice(0)) {
      try {
        restore();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  };
  const replace = (owner: object, name: string, value: unknown): void => {
    try {
      undo.push(replaced(owner, name, value));
    } catch (cause) {
      restoreAll();
      throw new TypeError(`cannot let ${name} follow the simulation: it is frozen`, { cause });
    }
  };
  replace(Math, 'random', () => chance.next());
  replace(
    globalThis,
    'Date',
    dateOf(() => Math.floor(start + source.seconds() * 1000)),
  );
  if (timers) {
    const byId = new Map<number, SimTimer>();
    const set = (fn: Callback, delay: unknown, args: unknown[], repeats: boolean): SimTimer => {
      const ms = Math.max(1, Math.trunc(Number(delay)) || 1);
      const again = (timer: SimTimer): SimEvent =>
        source.after(ms / 1000, () => {
          if (repeats) timer.event = again(timer);
          else byId.delete(timer.id);
          fn(...args);
        });
      const timer = new SimTimer(again);
      byId.set(timer.id, timer);
      return timer;
    };
    const clear = (timer: unknown): void => {
      const known = timer instanceof SimTimer ? timer : byId.get(Number(timer));
      known?.event.cancel();
      if (known !== undefined) byId.delete(known.id);
    };
    const [once, often] = [false, true].map(
      (repeats) =>
        (fn: Callback, delay?: unknown, ...args: unknown[]) =>
          set(fn, delay, args, repeats),
    );
    replace(performance, 'now', () => source.seconds() * 1000);
    replace(globalThis, 'setTimeout', once);
    replace(globalThis, 'clearTimeout', clear);
    replace(globalThis, 'setInterval', often);
    replace(globalThis, 'clearInterval', clear);
  }
  return restoreAll;
}

function replaced(owner: object, name: string, value: unknown): () => void {
  const former = Object.getOwnPropertyDescriptor(owner, name);
  Object.defineProperty(owner, name, {
    value,
    writable: true,
    configurable: true,
    enumerable: former?.enumerable ?? true,
  });
  return () => {
    // Where it was inherited, it is so again.
    if (former === undefined) Reflect.deleteProperty(owner, name);
    else Object.defineProperty(owner, name, former);
  };
}

/** `Date` itself, but for what it takes for now. */
function dateOf(now: () => number): DateConstructor {
  const Real = Date;
  return new Proxy(Real, {
    construct: (target, args: unknown[], newTarget) =>
      Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as Date,
    apply: () => new Real(now()).toString(),
    get: (target, name) => (name === 'now' ? now : (Reflect.get(target, name) as unknown)),
  });
}
