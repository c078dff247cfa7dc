/**
 * A line of Deferreds that wait for something, first come first served. Internal to the locks, events and queues.
 *
 * One that is cancelled leaves the line at once. The line is a doubly linked list, so that leaving from the middle
 * costs as little as being served.
 */
import { Deferred } from './defer.ts';
import { Failure } from './failure.ts';

/** One place in the line. */
class Place<T, C> {
  readonly deferred: Deferred<T>;
  readonly carried: C;
  /** False once it has left the line. */
  waiting = true;
  previous: Place<T, C> | undefined = undefined;
  next: Place<T, C> | undefined = undefined;

  constructor(carried: C, leave: (place: Place<T, C>) => void) {
    this.carried = carried;
    this.deferred = new Deferred<T>(() => {
      leave(this);
    });
  }
}

/** Deferreds that wait, in the order in which they came, each with something that it carries. */
export class Waiters<T, C = undefined> {
  #first: Place<T, C> | undefined;
  #last: Place<T, C> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** What the first in the line carries. */
  get first(): C | undefined {
    return this.#first?.carried;
  }

  /** Joins the line. */
  wait(carried: C): Deferred<T> {
    const place = new Place<T, C>(carried, (leaver) => {
      this.#remove(leaver);
    });
    place.previous = this.#last;
    if (this.#last === undefined) this.#first = place;
    else this.#last.next = place;
    this.#last = place;
    this.#size++;
    return place.deferred;
  }

  /** Fires the first in the line; false if there is none. */
  fireFirst(value: T): boolean {
    const place = this.#first;
    if (place === undefined) return false;
    this.#remove(place);
    place.deferred.callback(value);
    return true;
  }

  /** Fires all who wait now; those who come while it does so have to wait. */
  fireAll(value: T | Failure): void {
    const all: Place<T, C>[] = [];
    for (let place = this.#first; place !== undefined; place = place.next) all.push(place);
    for (const place of all) this.#remove(place);
    for (const { deferred } of all) {
      // One that is fired may cancel another.
      if (deferred.called) continue;
      if (value instanceof Failure) deferred.errback(value);
      else deferred.callback(value);
    }
  }

  #remove(place: Place<T, C>): void {
    if (!place.waiting) return;
    place.waiting = false;
    const { previous, next } = place;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    place.previous = place.next = undefined;
    this.#size--;
  }
}
