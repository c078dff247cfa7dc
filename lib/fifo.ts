/**
 * What waits in a line, first in, first out. Internal.
 *
 * `shift` of an array moves all the rest once there are some sixteen thousand, so that taking very many takes the square
 * of their number. Here what was taken is cut off once it is half of all, and each thing is moved once at most.
 */
export class Fifo<T> implements Iterable<T> {
  #things: (T | undefined)[] = [];
  /** So many at the beginning are empty places. */
  #taken = 0;

  get size(): number {
    return this.#things.length - this.#taken;
  }

  /** The next that is taken; undefined if there is none. */
  get first(): T | undefined {
    return this.#things[this.#taken];
  }

  add(thing: T): void {
    this.#things.push(thing);
  }

  /** Takes the first; for one that is not empty. */
  take(): T {
    const thing = this.#things[this.#taken] as T;
    this.#things[this.#taken++] = undefined;
    if (this.#taken === this.#things.length) this.clear();
    else if (this.#taken > 32 && this.#taken * 2 > this.#things.length) {
      this.#things = this.#things.slice(this.#taken);
      this.#taken = 0;
    }
    return thing;
  }

  /** Puts something before all others. */
  putBack(thing: T): void {
    if (this.#taken === 0) {
      // As many empty places as things, so that those are seldom moved.
      this.#taken = this.#things.length + 1;
      this.#things = new Array<undefined>(this.#taken).fill(undefined).concat(this.#things as []);
    }
    this.#things[--this.#taken] = thing;
  }

  clear(): void {
    this.#things.length = this.#taken = 0;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let n = this.#taken; n < this.#things.length; n++) yield this.#things[n] as T;
  }
}
