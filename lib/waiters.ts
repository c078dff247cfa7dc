/**
 * A line of Deferreds that wait for something, first come first served, and the loop that wakes them. Internal to the
 * locks, events and queues, and to whatever else fires Deferreds from inside the callbacks of others.
 *
 * A waiter that is woken often wakes the next one at once: it releases the lock that it was given. As in Twisted, the
 * next one then runs inside of that, before `release()` returns; but only `DEEPEST` levels deep. A waking beyond that
 * is only noted, and the innermost of those under way sees to it as soon as its own waiter has gone on. So a line may
 * be as long as it likes: it takes a loop, and no stack. When the outermost waking returns, all have been woken.
 *
 * One that is cancelled leaves the line at once. The line is a doubly linked list, so that leaving from the middle
 * costs as little as being served.
 */
import { Deferred } from './defer.ts';
import { Failure } from './failure.ts';

/** So many wakings run inside one another, in Twisted's order; those beyond are noted, and looped over. */
const DEEPEST = 64;

/** How many wakings are under way, one inside the other. */
let depth = 0;

/** The steps of the wakings that were too deep to be begun at once. */
const putOff = new Set<() => boolean>();

/**
 * Calls `step` until it returns false, now or, many levels deep inside of other wakings, as soon as those come to it.
 * A step wakes one waiter; it changes all that there is to change before it does, and throws nothing.
 */
export function wake(step: () => boolean): void {
  if (depth >= DEEPEST) {
    putOff.add(step);
    return;
  }
  depth++;
  try {
    while (step());
  } finally {
    try {
      if (depth === DEEPEST) wakePutOff();
    } finally {
      depth--;
    }
  }
}

/** What is put off meanwhile comes to the end of the set, and is reached by the same loop. */
function wakePutOff(): void {
  for (const step of putOff) {
    putOff.delete(step);
    while (step());
  }
}

/**
 * Fires a Deferred from inside of the callback of another, of which there may be any number inside one another. One
 * that has been fired by then is left alone.
 */
export function fireInside<T>(deferred: Deferred<T>, result: T | Failure): void {
  wake(() => {
    fireUnlessFired(deferred, result);
    return false;
  });
}

/** Somebody who holds a Deferred that waits may have fired it, which is not to hurt the others. */
function fireUnlessFired<T>(deferred: Deferred<T>, result: T | Failure): void {
  if (deferred.called) return;
  if (result instanceof Failure) deferred.errback(result);
  else deferred.callback(result);
}

/** Fires each that has not been fired: one that is fired may cancel another. */
export function fireEach<T>(deferreds: Iterable<Deferred<T>>, result: T | Failure): void {
  for (const deferred of deferreds) fireUnlessFired(deferred, result);
}

/** One place in the line. */
export class Place<T, C> {
  readonly deferred: Deferred<T>;
  readonly carried: C;
  /** False once it has left the line. */
  waiting = true;
  /** What it is to be fired with, once it is its turn. */
  turn: { readonly result: T | Failure } | undefined = undefined;
  previous: Place<T, C> | undefined = undefined;
  next: Place<T, C> | undefined = undefined;

  constructor(carried: C, leave: (place: Place<T, C>) => void) {
    this.carried = carried;
    this.deferred = new Deferred<T>(() => {
      leave(this);
    });
  }
}

/**
 * Deferreds that wait, in the order in which they came, each with something that it carries. First in the line are
 * those whose turn it is, and who have not been told yet.
 */
export class Waiters<T, C = undefined> {
  #first: Place<T, C> | undefined;
  #last: Place<T, C> | undefined;
  /** The first whose turn has not come. */
  #next: Place<T, C> | undefined;
  #size = 0;

  /** How many wait whose turn has not come. */
  get size(): number {
    return this.#size;
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
    this.#next ??= place;
    this.#size++;
    return place.deferred;
  }

  /** Takes the first out of the line, for the caller to fire its Deferred; undefined if there is none. */
  shift(): Place<T, C> | undefined {
    for (let place = this.#next; place !== undefined; place = this.#next) {
      this.#remove(place);
      if (!place.deferred.called) return place;
    }
    return undefined;
  }

  /** It is the turn of the first `count`. They are fired in order, the nth with `result(n)`, n from 0. */
  fireFirst(count: number, result: (n: number) => T | Failure): void {
    let n = 0;
    for (let place = this.#next; place !== undefined && n < count; place = this.#next) {
      place.turn = { result: result(n++) };
      this.#next = place.next;
      this.#size--;
    }
    if (n > 0) wake(this.#tellFirst);
  }

  /** It is the turn of all who wait now; those who come later have to wait. */
  fireAll(result: T | Failure): void {
    this.fireFirst(this.#size, () => result);
  }

  /** Fires the first whose turn it is; false if there is none. */
  readonly #tellFirst = (): boolean => {
    const place = this.#first;
    if (place?.turn === undefined) return false;
    this.#remove(place);
    fireUnlessFired(place.deferred, place.turn.result);
    return true;
  };

  #remove(place: Place<T, C>): void {
    if (!place.waiting) return;
    place.waiting = false;
    const { previous, next } = place;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    if (place.turn === undefined) this.#size--;
    if (this.#next === place) this.#next = next;
    place.previous = place.next = undefined;
  }
}
