/** Faults that once lived through all tests, or whose like did: where, what is changed into what, and what finds them. */

/** A planted fault. */
export interface Fault {
  readonly name: string;
  readonly file: string;
  /** A snippet that is there exactly once, and what takes its place. */
  readonly change: readonly [snippet: string, replacement: string];
  /** The tests that should notice. */
  readonly test: string;
  /** A pattern for the names of those of them that should. */
  readonly only: string;
}

export const FAULTS: readonly Fault[] = [
  {
    name: 'FND-70: the heap is not put in order after cancelled calls were swept out',
    file: 'lib/heap.ts',
    change: ['for (let at = Math.floor((kept - 2) / CHILDREN);', 'for (let at = -1;'],
    test: 'test/lib/heaps.test.ts',
    only: '/FND-70: a queue of calls/',
  },
  {
    name: 'FND-70: the last parent is left out when the heap is put in order',
    file: 'lib/heap.ts',
    change: ['Math.floor((kept - 2) / CHILDREN)', 'Math.floor((kept - 2) / CHILDREN) - 1'],
    test: 'test/lib/heaps.test.ts',
    only: '/FND-70: a heap/',
  },
  {
    name: 'FND-70: the root is left out when the heap is put in order',
    file: 'lib/heap.ts',
    change: ['at >= 0; at--', 'at > 0; at--'],
    test: 'test/lib/heaps.test.ts',
    only: '/FND-70: a heap/',
  },
  {
    name: 'FND-70: the orders of what is kept are not kept with it',
    file: 'lib/heap.ts',
    change: [
      'this.#put(kept++, this.#times[at] ?? 0, this.#orders[at] ?? 0, thing)',
      'this.#put(kept++, this.#times[at] ?? 0, at, thing)',
    ],
    test: 'test/lib/heaps.test.ts',
    only: '/FND-70/',
  },
  {
    name: 'FND-70: calls asked for in a pass stay after they were cancelled',
    file: 'lib/time.ts',
    change: ['queue.#fresh = queue.#fresh?.filter((call) => call.active());', ''],
    test: 'test/lib/heaps.test.ts',
    only: '/FND-70: calls that a call cancels/',
  },
  {
    name: 'FND-70: a PriorityQueue sorts by the left of two below',
    file: 'lib/queues.ts',
    change: ['if (down + 1 < size && this.#before(right, left)) down++;', ''],
    test: 'test/lib/heaps.test.ts',
    only: '/FND-70: a PriorityQueue/',
  },
  {
    name: 'FND-70: the kernel takes out what is to happen',
    file: 'lib/testing/sim/kernel.ts',
    change: [
      'this.#heap.filter((other) => other.pending);',
      'this.#heap.filter((other) => other.pending && other !== event);',
    ],
    test: 'test/lib/heaps.test.ts',
    only: '/FND-70: events/',
  },
  {
    name: 'FND-71: the guard against rounding is gone',
    file: 'lib/task.ts',
    change: ['return now + rest === now ? interval : rest;', 'return rest;'],
    test: 'test/lib/jumps.test.ts',
    only: '/FND-71: start/',
  },
  {
    name: 'FND-71: a looping call makes up for what it has missed',
    file: 'lib/task.ts',
    change: [
      'const rest = interval - ((now - this.#startTime) % interval);',
      'const rest = interval;',
    ],
    test: 'test/lib/jumps.test.ts',
    only: '/FND-71: whatever/',
  },
  {
    name: 'FND-71: reset keeps the old rhythm',
    file: 'lib/task.ts',
    change: [
      '    this.#startTime = this.clock.seconds();\n    this.#schedule(this.#stopped);',
      '    this.#schedule(this.#stopped);',
    ],
    test: 'test/lib/jumps.test.ts',
    only: '/FND-71: a looping call that was reset/',
  },
  {
    name: 'FND-71: the first count forgets that it has waited',
    file: 'lib/task.ts',
    change: [
      '(loop.#runAtStart ? loop.#startTime - interval : loop.#startTime)',
      '(loop.#startTime - interval)',
    ],
    test: 'test/lib/jumps.test.ts',
    only: '/FND-71: whatever/',
  },
  {
    name: 'FND-71: seconds are those of the date',
    file: 'lib/io/node.ts',
    change: ['return performance.now() / 1000;', 'return Date.now() / 1000;'],
    test: 'test/lib/jumps.test.ts',
    only: '/FND-71: a date/',
  },
];

/** The source with the fault in it. */
export function changed({ name, change: [snippet, replacement] }: Fault, source: string): string {
  const parts = source.split(snippet);
  if (parts.length !== 2)
    throw new Error(`${name}: its snippet is there ${parts.length - 1} times: ${snippet}`);
  return parts.join(replacement);
}
