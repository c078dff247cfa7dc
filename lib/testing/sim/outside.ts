/**
 * Work that JavaScript does by itself: promises, `queueMicrotask`, `process.nextTick`, `setImmediate`. A simulation is a
 * loop of its own and would run ahead of it, so it watches for such work being asked for, and waits until it is done
 * before virtual time moves on. Programs of Deferreds alone ask for none, and cost nothing.
 */
import { createHook, type AsyncHook } from 'node:async_hooks';

/** Node's names for what runs soon, by itself, and needs nobody outside the process. */
const SOON = new Set(['PROMISE', 'Microtask', 'TickObject', 'Immediate']);

const { setImmediate } = globalThis;

/** So many turns of the event loop, in each of which something is asked for again, are a program in a circle. */
const MOST_TURNS = 100_000;

/** So many promises, microtasks and ticks within one turn are, too: that turn would never end. */
const MOST_IN_TURN = 5_000_000;

const CIRCLE =
  'time stands still: promises, ticks or immediates ask for more of their kind without end';

/** Watches for work that runs soon. */
export class Outside {
  /** Some has been asked for since it was waited for last. */
  #asked = false;
  #muted = false;
  /** How many look on at the moment. */
  #watchers = 0;
  #waiting: (() => void)[] = [];
  readonly #hook: AsyncHook = createHook({
    init: (_id, type) => {
      if (this.#muted || !SOON.has(type)) return;
      this.#asked = true;
      // Nothing can be told to what waits: no other turn comes. What a hook throws ends the process, and says why.
      if (++this.#inTurn > MOST_IN_TURN) throw new Error(`${this.#run}: ${CIRCLE}`);
    },
    // Whoever waits for a promise that was made before goes on soon.
    promiseResolve: () => {
      this.#asked = true;
    },
  });

  readonly #run: string;
  #inTurn = 0;
  #turns = 0;
  /** The program goes round in a circle, and what waits for it is to give up. */
  circle: Error | undefined;

  /** @param run which run this is, for messages */
  constructor(run: string) {
    this.#run = run;
  }

  /** There is something to wait for. */
  get busy(): boolean {
    return this.#asked || this.#waiting.length > 0;
  }

  begin(): void {
    this.#asked = true;
    if (++this.#watchers === 1) this.#hook.enable();
  }

  end(): void {
    if (--this.#watchers === 0) this.#hook.disable();
  }

  /** Calls `then` when all work that was asked for is done, and what that has asked for. */
  settle(then: () => void): void {
    this.#waiting.push(then);
    if (this.#waiting.length === 1) this.#wait();
  }

  #wait(): void {
    this.#asked = false;
    this.#muted = true;
    setImmediate(() => {
      this.#inTurn = 0;
      if (this.#asked && ++this.#turns <= MOST_TURNS) {
        this.#wait();
        return;
      }
      if (this.#asked) this.circle = new Error(CIRCLE);
      this.#turns = 0;
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const then of waiting) then();
    });
    this.#muted = false;
  }
}
