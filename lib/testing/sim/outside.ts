/**
 * Work that JavaScript does by itself: promises, `queueMicrotask`, `process.nextTick`, `setImmediate`. A simulation is a
 * loop of its own and would run ahead of it, so it watches for such work being asked for, and waits until it is done
 * before virtual time moves on. Programs of Deferreds alone ask for none, and cost nothing.
 */
import { createHook, type AsyncHook } from 'node:async_hooks';

/** Node's names for what runs soon, by itself, and needs nobody outside the process. */
const SOON = new Set(['PROMISE', 'Microtask', 'TickObject', 'Immediate']);

const { setImmediate } = globalThis;

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
      if (!this.#muted && SOON.has(type)) this.#asked = true;
    },
    // Whoever waits for a promise that was made before goes on soon.
    promiseResolve: () => {
      this.#asked = true;
    },
  });

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
      if (this.#asked) {
        this.#wait();
        return;
      }
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const then of waiting) then();
    });
    this.#muted = false;
  }
}
