/**
 * A heap of things by time, and by order among those of the same time. It is what `CallQueue` keeps its calls in.
 *
 * Four children a node, and times and orders in arrays of their own: a comparison reads numbers that lie side by side,
 * and touches none of the things, which makes large heaps twice as fast.
 */

const CHILDREN = 4;

/** Things, least time first; among equals, least order first. */
export class TimeHeap<T> {
  #times: number[] = [];
  #orders: number[] = [];
  #things: T[] = [];

  get size(): number {
    return this.#things.length;
  }

  /** The first thing. */
  get first(): T | undefined {
    return this.#things[0];
  }

  /** The time of the first thing. */
  get firstTime(): number | undefined {
    return this.#times[0];
  }

  /** The order of the first thing. */
  get firstOrder(): number | undefined {
    return this.#orders[0];
  }

  /** All things, in no order. */
  things(): readonly T[] {
    return this.#things;
  }

  push(time: number, order: number, thing: T): void {
    this.#things.push(thing);
    this.#times.push(time);
    this.#orders.push(order);
    this.#up(this.#things.length - 1, time, order, thing);
  }

  /** Takes the first thing away. */
  pop(): void {
    const thing = this.#things.pop() as T;
    const time = this.#times.pop() as number;
    const order = this.#orders.pop() as number;
    if (this.#things.length > 0) this.#down(0, time, order, thing);
  }

  /** The first thing is later now. */
  putOffFirst(time: number, order: number): void {
    const thing = this.#things[0];
    if (thing !== undefined) this.#down(0, time, order, thing);
  }

  /** `thing` is earlier now; false if it is not here. It is looked for: this is to be rare. */
  bringForward(thing: T, time: number, order: number): boolean {
    const at = this.#things.indexOf(thing);
    if (at < 0) return false;
    this.#up(at, time, order, thing);
    return true;
  }

  /** Takes away the things that `keep` is false for. */
  filter(keep: (thing: T) => boolean): void {
    let kept = 0;
    for (const [at, thing] of this.#things.entries()) {
      if (!keep(thing)) continue;
      this.#put(kept++, this.#times[at] as number, this.#orders[at] as number, thing);
    }
    // New arrays, since shortened ones keep their room.
    this.#things = this.#things.slice(0, kept);
    this.#times = this.#times.slice(0, kept);
    this.#orders = this.#orders.slice(0, kept);
    for (let at = Math.floor((kept - 2) / CHILDREN); at >= 0; at--) {
      this.#down(at, this.#times[at] as number, this.#orders[at] as number, this.#things[at] as T);
    }
  }

  #put(at: number, time: number, order: number, thing: T): void {
    this.#times[at] = time;
    this.#orders[at] = order;
    this.#things[at] = thing;
  }

  /** True if what is at `at` comes before `time` and `order`. */
  #isBefore(at: number, time: number, order: number): boolean {
    const other = this.#times[at] as number;
    return other < time || (other === time && (this.#orders[at] as number) < order);
  }

  #move(from: number, to: number): void {
    this.#put(
      to,
      this.#times[from] as number,
      this.#orders[from] as number,
      this.#things[from] as T,
    );
  }

  /** Puts a thing at the empty place `at`, or above it. */
  #up(at: number, time: number, order: number, thing: T): void {
    let place = at;
    while (place > 0) {
      const parent = Math.floor((place - 1) / CHILDREN);
      if (this.#isBefore(parent, time, order)) break;
      this.#move(parent, place);
      place = parent;
    }
    this.#put(place, time, order, thing);
  }

  /** Puts a thing at the empty place `at`, or below it. */
  #down(at: number, time: number, order: number, thing: T): void {
    const size = this.#things.length;
    let place = at;
    for (;;) {
      const begin = CHILDREN * place + 1;
      if (begin >= size) break;
      const end = Math.min(begin + CHILDREN, size);
      let least = begin;
      for (let child = begin + 1; child < end; child++) {
        if (this.#isBefore(child, this.#times[least] as number, this.#orders[least] as number))
          least = child;
      }
      if (!this.#isBefore(least, time, order)) break;
      this.#move(least, place);
      place = least;
    }
    this.#put(place, time, order, thing);
  }
}
