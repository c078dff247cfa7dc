/**
 * What waits for a later turn, in a world without an event loop: it is done when somebody says so. The doubles of
 * connections and of the reactor share one, so that a test sees all that happens step by step.
 */

/** How many rounds without an end are taken for a conversation that has none. */
const MOST_ROUNDS = 10_000;

/** Functions that wait for their turn. */
export class Turns {
  #waiting: (() => void)[] = [];
  /** Called when something comes to wait where nothing did. */
  woken: () => void = () => {};

  /** Calls `fn` in the next round. */
  soon(fn: () => void): void {
    this.#waiting.push(fn);
    if (this.#waiting.length === 1) this.woken();
  }

  /** Something waits. */
  get waiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Does what waits; what comes to wait meanwhile is left for the next round. False if nothing did. */
  round(): boolean {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const fn of waiting) fn();
    return waiting.length > 0;
  }

  /**
   * Takes rounds until `step`, which takes one, has nothing to do any more. False if it had nothing to do at all.
   *
   * @throws Error if there is no end to it
   */
  static flush(step: () => boolean): boolean {
    for (let rounds = 0; rounds < MOST_ROUNDS; rounds++) if (!step()) return rounds > 0;
    throw new Error(`there is no end to it: something happens in each of ${MOST_ROUNDS} rounds`);
  }
}
