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
      'this.#put(kept++, this.#times[at] as number, this.#orders[at] as number, thing)',
      'this.#put(kept++, this.#times[at] as number, at, thing)',
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
  {
    name: 'FND-74: what is handed on directly is not unfinished',
    file: 'lib/queues.ts',
    change: [
      '    this.#store.add(thing);\n    this.#unfinished++;',
      '    this.#store.add(thing);\n    if (this.#size > 0) this.#unfinished++;',
    ],
    test: 'test/lib/edges.test.ts',
    only: '/FND-74: a DeferredQueue of size 0/',
  },
  {
    name: 'FND-74: what waits for room counts as unfinished twice',
    file: 'lib/queues.ts',
    change: ['      this.#accepted--;\n      this.#unfinished--;', '      this.#accepted--;'],
    test: 'test/lib/edges.test.ts',
    only: '/FND-74: what is put while/',
  },
  {
    name: 'FND-74: shutting down forgets what was taken and is not done',
    file: 'lib/queues.ts',
    change: ['this.#unfinished -= this.#store.size + this.#accepted;', 'this.#unfinished = 0;'],
    test: 'test/lib/edges.test.ts',
    only: '/FND-74: a small/',
  },
  {
    name: 'FND-74: an empty list never fires',
    file: 'lib/gather.ts',
    change: ['if (missing === 0 && !fireOnOneCallback) this.callback([] as never);', ''],
    test: 'test/lib/edges.test.ts',
    only: '/FND-74: nothing is waited for/',
  },
  {
    name: 'FND-74: wait counts the same Deferred twice',
    file: 'lib/gather.ts',
    change: ['done.size === all.size ||', 'done.size === given.length ||'],
    test: 'test/lib/edges.test.ts',
    only: '/FND-74: the same Deferred/',
  },
  {
    name: 'FND-74: a full history of one keeps the oldest',
    file: 'lib/log.ts',
    change: ['(this.#oldest + 1) % this.#size', 'this.#oldest + 1'],
    test: 'test/lib/edges.test.ts',
    only: '/FND-74: a semaphore/',
  },
  {
    name: 'FND-75: another default, of connecting',
    file: 'lib/reactor.ts',
    change: ['const CONNECT_TIMEOUT: Seconds = 30', 'const CONNECT_TIMEOUT: Seconds = 3'],
    test: 'test/lib/defaults.test.ts',
    only: '/FND-75: connectTCP/',
  },
  {
    name: 'FND-75: another default, of a handshake',
    file: 'lib/transport/tls.ts',
    change: ['const HANDSHAKE_TIMEOUT: Seconds = 30', 'const HANDSHAKE_TIMEOUT: Seconds = 3'],
    test: 'test/lib/defaults.test.ts',
    only: '/FND-75: a handshake/',
  },
  {
    name: 'FND-75: another default, of a name and its addresses',
    file: 'lib/hostname-endpoint.ts',
    change: ['const TIMEOUT: Seconds = 30', 'const TIMEOUT: Seconds = 3'],
    test: 'test/lib/defaults.test.ts',
    only: '/FND-75: HostnameEndpoint/',
  },
  {
    name: 'FND-75: another default, of the next attempt',
    file: 'lib/hostname-endpoint.ts',
    change: ['const ATTEMPT_DELAY: Seconds = 0.25', 'const ATTEMPT_DELAY: Seconds = 0.3'],
    test: 'test/lib/defaults.test.ts',
    only: '/FND-75: HostnameEndpoint/',
  },
  {
    name: 'FND-75: another default, of one service',
    file: 'lib/service.ts',
    change: ['export const GRACE: Seconds = 30', 'export const GRACE: Seconds = 3'],
    test: 'test/lib/defaults.test.ts',
    only: '/FND-75: (Timer|Client)/',
  },
  {
    name: 'FND-75: another default, of a set of services',
    file: 'lib/service.ts',
    change: ['const PARTS_GRACE: Seconds = 45', 'const PARTS_GRACE: Seconds = 40'],
    test: 'test/lib/defaults.test.ts',
    only: '/FND-75: MultiService/',
  },
  {
    name: 'FND-75: another default, of a shutdown',
    file: 'lib/reactor-base.ts',
    change: ['const SHUTDOWN_TIMEOUT: Seconds = 60', 'const SHUTDOWN_TIMEOUT: Seconds = 6'],
    test: 'test/lib/defaults.test.ts',
    only: '/FND-75: a shutdown/',
  },
  {
    name: 'FND-75: another default, of a page',
    file: 'protocols/http/client.ts',
    change: ['const TIMEOUT: Seconds = 60', 'const TIMEOUT: Seconds = 6'],
    test: 'test/lib/defaults.test.ts',
    only: '/FND-75: getPage/',
  },
  {
    name: 'FND-75: another default, of a connection for a page',
    file: 'protocols/http/client.ts',
    change: ['const CONNECT_TIMEOUT: Seconds = 30', 'const CONNECT_TIMEOUT: Seconds = 3'],
    test: 'test/lib/defaults.test.ts',
    only: '/FND-75: getPage/',
  },
  {
    name: 'FND-75: another default, of clamd',
    file: 'protocols/clamd/client.ts',
    change: ['const TIMEOUT: Seconds = 120', 'const TIMEOUT: Seconds = 12'],
    test: 'test/lib/defaults.test.ts',
    only: '/FND-75: clamd/',
  },
  {
    name: 'FND-75: another default, of an idle clamd',
    file: 'protocols/clamd/client.ts',
    change: ['const IDLE_TIMEOUT: Seconds = 120', 'const IDLE_TIMEOUT: Seconds = 12'],
    test: 'test/lib/defaults.test.ts',
    only: '/FND-75: clamd/',
  },
  {
    name: 'FND-75: another default, of an idle connection',
    file: 'protocols/policies/timeout.ts',
    change: ['timeout = 1800', 'timeout = 180'],
    test: 'test/lib/defaults.test.ts',
    only: '/FND-75: TimeoutFactory/',
  },
  {
    name: 'FND-75: another default, of closing after a time-out',
    file: 'protocols/policies/timeout.ts',
    change: ['const ABORT_TIMEOUT: Seconds = 15', 'const ABORT_TIMEOUT: Seconds = 2'],
    test: 'test/lib/defaults.test.ts',
    only: '/FND-75: TimeoutMixin/',
  },
  {
    name: 'FND-76: the winner is told before the losers are cancelled',
    file: 'lib/gather.ts',
    change: [
      '        cancelAll(all, deferred);\n        fireInside(result, [index, value]);',
      '        fireInside(result, [index, value]);\n        cancelAll(all, deferred);',
    ],
    test: 'test/lib/order.test.ts',
    only: '/FND-76: the winner/',
  },
  {
    name: 'FND-76: gatherResults tells first, and cancels then',
    file: 'lib/gather.ts',
    change: [
      '      if (cancelOnError) cancelAll(all, all[failure.trap(FirstError).index]);\n      failure.raiseException();',
      '      if (cancelOnError) queueMicrotask(() => cancelAll(all, all[failure.trap(FirstError).index]));\n      failure.raiseException();',
    ],
    test: 'test/lib/order.test.ts',
    only: '/FND-76: gatherResults/',
  },
  {
    name: 'FND-76: wait tells before its timer is cancelled',
    file: 'lib/gather.ts',
    change: [
      '    if (call?.active() === true) call.cancel();\n    return result;',
      '    queueMicrotask(() => call?.active() && call.cancel());\n    return result;',
    ],
    test: 'test/lib/order.test.ts',
    only: '/FND-76: who is told of a result/',
  },
  {
    name: 'FND-76: a looping call says that it has stopped while its next call waits',
    file: 'lib/task.ts',
    change: [
      '    this.#unschedule();\n    stopped.callback(this);',
      '    stopped.callback(this);\n    this.#unschedule();',
    ],
    test: 'test/lib/order.test.ts',
    only: '/FND-76: who is told that a looping/',
  },
];

/** The source with the fault in it. */
export function changed({ name, change: [snippet, replacement] }: Fault, source: string): string {
  const parts = source.split(snippet);
  if (parts.length !== 2)
    throw new Error(`${name}: its snippet is there ${parts.length - 1} times: ${snippet}`);
  return parts.join(replacement);
}
