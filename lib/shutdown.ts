/**
 * What a reactor waits for while it stops: for how long, and what a person at the terminal hears of it. Twisted waits
 * for ever, and says nothing.
 *
 * 1. A wait ends when all that it is for has ended, or when its limit has passed.
 * 2. A shutdown that still waits after a second hangs: one line says for what, and that another signal ends the process.
 * 3. A signal that comes then ends the process. One that has come in that second counts too, unless it came together
 *    with the first: npm, for one, passes on what the terminal has sent to both.
 */
import { Deferred } from './defer.ts';
import type { IDelayedCall, IReactorTime, Seconds } from './interfaces.ts';
import { Logger } from './log.ts';

const log = new Logger('plait.reactor');

/** A shutdown that has taken so long is said to hang. */
const HANGS_AFTER: Seconds = 1;

/** Signals within this time of the first are one. */
const TOGETHER: Seconds = 0.25;

/** How many things a line names. */
export const MOST_NAMED = 5;

/** Something that is waited for. */
export interface Awaited {
  /** What it is called in messages. */
  readonly what: string;
  readonly deferred: Deferred<unknown>;
  /** It has not ended in time, and is not waited for any more. */
  giveUp(): void;
}

/** One shutdown of a reactor. */
export class Shutdown {
  readonly #clock: Pick<IReactorTime, 'callLater' | 'seconds'>;
  readonly #end: ((signal: string) => void) | undefined;
  readonly #waiting = new Set<Awaited>();
  readonly #timers = new Set<IDelayedCall>();
  #noticing = false;
  #hangs = false;
  /** When the first signal came. */
  #signalled: Seconds | undefined;
  /** A later one, by which the process is to end. */
  #insisted: string | undefined;

  /** @param end ends the process because of a signal; undefined if none is listened for */
  constructor(
    clock: Pick<IReactorTime, 'callLater' | 'seconds'>,
    end: ((signal: string) => void) | undefined,
  ) {
    this.#clock = clock;
    this.#end = end;
  }

  /** What is waited for, in words. */
  get waitsFor(): string {
    const all = [...this.#waiting].map(({ what }) => what);
    const more = all.length - MOST_NAMED;
    return all.slice(0, MOST_NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '');
  }

  /**
   * Fires when all have ended, however; or when `limit` has passed, and what has not ended was given up.
   *
   * @param limit seconds; null for none
   */
  wait(things: readonly Awaited[], limit: Seconds | null): Deferred<void> {
    const done = new Deferred<void>();
    const left = new Set(things);
    for (const thing of things) this.#waiting.add(thing);
    const timer =
      limit === null || left.size === 0
        ? undefined
        : this.#after(limit, () => {
            const what = this.waitsFor;
            log.warn('{what} not over after {seconds} seconds: given up', { what, seconds: limit });
            for (const thing of [...left]) {
              thing.giveUp();
              ended(thing);
            }
          });
    const ended = (thing: Awaited): void => {
      this.#waiting.delete(thing);
      if (!left.delete(thing) || left.size > 0) return;
      if (timer !== undefined) this.#cancel(timer);
      done.callback();
    };
    if (left.size === 0) done.callback();
    else this.#noticeLater();
    for (const thing of things) {
      thing.deferred.addBoth((result) => {
        ended(thing);
        return result;
      });
    }
    return done;
  }

  #noticeLater(): void {
    if (this.#noticing) return;
    this.#noticing = true;
    this.#after(HANGS_AFTER, () => {
      if (this.#waiting.size === 0) {
        this.#noticing = false;
        return;
      }
      this.#hangs = true;
      const hint = this.#end === undefined ? '' : '; another signal ends the process';
      log.warn('still stopping after {seconds} second, waiting for {what}{hint}', {
        seconds: HANGS_AFTER,
        what: this.waitsFor,
        hint: this.#insisted === undefined ? hint : '',
      });
      if (this.#insisted !== undefined) this.#endNow(this.#insisted);
    });
  }

  /** A signal has come, the first one or a later one. */
  signalled(name: string): void {
    if (this.#hangs) {
      this.#endNow(name);
      return;
    }
    const now = this.#clock.seconds();
    if (this.#signalled === undefined) this.#signalled = now;
    else if (now - this.#signalled > TOGETHER) this.#insisted = name;
  }

  #endNow(name: string): void {
    log.warn('{name} received again while stopping: ending at once, without {what}', {
      name,
      what: this.waitsFor,
    });
    this.#end?.(name);
  }

  /** It is over, in whatever way. */
  over(): void {
    for (const timer of this.#timers) this.#cancel(timer);
    this.#waiting.clear();
  }

  #after(delay: Seconds, fn: () => void): IDelayedCall {
    const timer = this.#clock.callLater(delay, () => {
      this.#timers.delete(timer);
      fn();
    });
    this.#timers.add(timer);
    return timer;
  }

  #cancel(timer: IDelayedCall): void {
    this.#timers.delete(timer);
    if (timer.active()) timer.cancel();
  }
}
