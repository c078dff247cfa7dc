import { existsSync, mkdtempSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import {
  AlreadyTryingToLockError,
  AsyncResult,
  BrokenBarrierError,
  CancelledError,
  Deferred,
  DeferredBarrier,
  DeferredCondition,
  DeferredEvent,
  DeferredFilesystemLock,
  DeferredLock,
  DeferredQueue,
  DeferredSemaphore,
  Failure,
  inlineCallbacks,
  LifoQueue,
  PriorityQueue,
  QueueOverflow,
  QueueShutDown,
  QueueUnderflow,
  shield,
  succeed,
  TimeoutError,
} from 'plait';
import { assertNoResult, Clock, failureResultOf, successResultOf } from 'plait/testing';
import t from '../fixture.ts';

t.test('a lock lets one go on at a time, in the order in which they came', (t) => {
  const lock = new DeferredLock();
  t.equal(lock.locked, false);
  t.equal(successResultOf(lock.acquire()), lock);
  t.equal(lock.locked, true);
  const [second, third] = [lock.acquire(), lock.acquire()];
  assertNoResult(second);
  t.equal(lock.waiting, 2);
  lock.release();
  t.equal(successResultOf(second), lock);
  assertNoResult(third);
  lock.release();
  t.equal(successResultOf(third), lock);
  lock.release();
  t.equal(lock.locked, false);
  t.throws(() => lock.release(), RangeError);
  t.end();
});

t.test(
  'one who waits for a lock and is cancelled leaves the line; one who has it keeps it',
  (t) => {
    const lock = new DeferredLock();
    const held = lock.acquire();
    const [second, third] = [lock.acquire(), lock.acquire()];
    second.cancel();
    failureResultOf(second, CancelledError);
    held.cancel();
    t.equal(lock.locked, true);
    lock.release();
    t.equal(successResultOf(third), lock);
    lock.release();
    t.end();
  },
);

t.test('run holds the lock until what it called is done, whichever way', (t) => {
  const lock = new DeferredLock();
  const work = new Deferred<string>();
  const first = lock.run(() => work);
  const second = lock.run((a: number, b: number) => a + b, 1, 2);
  const third = lock.run(() => {
    throw new RangeError('third');
  });
  assertNoResult(second);
  work.callback('done');
  t.equal(successResultOf(first), 'done');
  t.equal(successResultOf(second), 3);
  failureResultOf(third, RangeError);
  t.equal(lock.locked, false);
  const broken = new Deferred<string>();
  const fourth = lock.run(() => broken);
  broken.errback(new TypeError('fourth'));
  failureResultOf(fourth, TypeError);
  t.equal(lock.locked, false);
  t.end();
});

t.test('disposing of a lock that was acquired releases it', (t) => {
  const lock = new DeferredLock();
  const work = inlineCallbacks(function* () {
    using held = yield* lock.acquire();
    t.equal(held.locked, true);
  });
  successResultOf(work());
  t.equal(lock.locked, false);
  t.end();
});

t.test('a semaphore lets so many go on at a time', (t) => {
  for (const tokens of [0, -1, 1.5, Number.NaN, Infinity])
    t.throws(() => new DeferredSemaphore(tokens), RangeError);
  const two = new DeferredSemaphore(2);
  successResultOf(two.acquire());
  t.equal(two.tokens, 1);
  successResultOf(two.acquire());
  const third = two.acquire();
  t.equal(two.tokens, 0);
  t.equal(two.limit, 2);
  two.release();
  successResultOf(third);
  two.release();
  two.release();
  t.equal(two.tokens, 2);
  t.throws(() => two.release(), RangeError);
  t.end();
});

/** What may happen to a semaphore: somebody comes, one who has it releases, somebody is cancelled. */
const semaphoreSteps = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('acquire' as const) }),
    fc.record({ kind: fc.constant('release' as const) }),
    fc.record({ kind: fc.constant('cancel' as const), who: fc.nat(50) }),
  ),
  { maxLength: 80 },
);

t.test(
  'whatever is cancelled, a semaphore is never had by more than it may, in the order of coming',
  (t) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), semaphoreSteps, (tokens, steps) => {
        const semaphore = new DeferredSemaphore(tokens);
        const all: Deferred<unknown>[] = [];
        const order: number[] = [];
        const gone = new Set<number>();
        let holders = 0;
        for (const step of steps) {
          if (step.kind === 'acquire') {
            const number = all.length;
            all.push(
              semaphore.acquire().addCallbacks(
                () => {
                  order.push(number);
                  holders++;
                },
                (failure) => {
                  failure.trap(CancelledError);
                  gone.add(number);
                },
              ),
            );
          } else if (step.kind === 'release' && holders > 0) {
            holders--;
            semaphore.release();
          } else if (step.kind === 'cancel') {
            all[step.who]?.cancel();
          }
          if (holders > tokens || semaphore.tokens !== tokens - holders) return false;
          if (semaphore.tokens > 0 && semaphore.waiting > 0) return false;
        }
        for (; holders > 0; holders--) semaphore.release();
        const sorted = [...order].sort((a, b) => a - b);
        return (
          order.length + gone.size + semaphore.waiting === all.length &&
          order.every((n, i) => n === sorted[i])
        );
      }),
      { numRuns: 500 },
    );
    t.end();
  },
);

t.test('a queue gives each thing to one who gets, in order', (t) => {
  const queue = new DeferredQueue<number>();
  queue.put(1);
  queue.put(2);
  t.equal(queue.pending, 2);
  t.equal(successResultOf(queue.get()), 1);
  t.equal(successResultOf(queue.get()), 2);
  const [first, second, third] = [queue.get(), queue.get(), queue.get()];
  t.equal(queue.waiting, 3);
  second.cancel();
  failureResultOf(second, CancelledError);
  queue.put(3);
  queue.put(4);
  t.equal(successResultOf(first), 3);
  t.equal(successResultOf(third), 4);
  t.end();
});

t.test('a queue refuses what is more than its size, and who is more than its backlog', (t) => {
  for (const size of [-1, 0.5, Number.NaN]) t.throws(() => new DeferredQueue({ size }), RangeError);
  t.throws(() => new DeferredQueue({ backlog: -1 }), RangeError);
  const queue = new DeferredQueue<number>({ size: 1, backlog: 1 });
  queue.put(1);
  t.throws(() => queue.put(2), QueueOverflow);
  successResultOf(queue.get());
  const waiting = queue.get();
  t.throws(() => queue.get(), QueueUnderflow);
  queue.put(3);
  t.equal(successResultOf(waiting), 3);
  t.end();
});

t.test('putWait waits for room, and those who wait are let in in order', (t) => {
  const queue = new DeferredQueue<number>({ size: 1 });
  successResultOf(queue.putWait(1));
  const [second, third, fourth] = [queue.putWait(2), queue.putWait(3), queue.putWait(4)];
  assertNoResult(second);
  third.cancel();
  failureResultOf(third, CancelledError);
  t.equal(successResultOf(queue.get()), 1);
  successResultOf(second);
  assertNoResult(fourth);
  t.equal(successResultOf(queue.get()), 2);
  successResultOf(fourth);
  t.equal(successResultOf(queue.get()), 4);
  t.end();
});

t.test('a queue of size 0 hands things over directly', (t) => {
  const queue = new DeferredQueue<string>({ size: 0 });
  t.throws(() => queue.put('x'), QueueOverflow);
  const put = queue.putWait('hello');
  assertNoResult(put);
  t.equal(successResultOf(queue.get()), 'hello');
  successResultOf(put);
  const got = queue.get();
  queue.put('again');
  t.equal(successResultOf(got), 'again');
  t.end();
});

t.test('join waits until everything that was put has been dealt with', (t) => {
  const queue = new DeferredQueue<number>();
  successResultOf(queue.join());
  queue.put(1);
  queue.put(2);
  const joined = queue.join();
  successResultOf(queue.get());
  queue.taskDone();
  t.equal(queue.unfinished, 1);
  assertNoResult(joined);
  successResultOf(queue.get());
  queue.taskDone();
  successResultOf(joined);
  t.throws(() => queue.taskDone(), RangeError);
  t.end();
});

t.test('a queue that is shut down gives what it has, and then nobody waits for ever', (t) => {
  const queue = new DeferredQueue<number>({ size: 1 });
  queue.put(1);
  const put = queue.putWait(2);
  queue.shutdown();
  failureResultOf(put, QueueShutDown);
  t.throws(() => queue.put(3), QueueShutDown);
  failureResultOf(queue.putWait(3), QueueShutDown);
  t.equal(successResultOf(queue.get()), 1);
  failureResultOf(queue.get(), QueueShutDown);

  const empty = new DeferredQueue<number>();
  const got = empty.get();
  empty.shutdown();
  failureResultOf(got, QueueShutDown);

  const dropped = new DeferredQueue<number>();
  dropped.put(1);
  const joined = dropped.join();
  dropped.shutdown({ immediate: true });
  successResultOf(joined);
  failureResultOf(dropped.get(), QueueShutDown);
  t.end();
});

t.test('for await takes things until the queue is shut down', async (t) => {
  const queue = new DeferredQueue<number>();
  for (const n of [1, 2, 3]) queue.put(n);
  queue.shutdown();
  const taken: number[] = [];
  for await (const n of queue) taken.push(n);
  t.same(taken, [1, 2, 3]);
  const left = new DeferredQueue<number>();
  const iterator = left[Symbol.asyncIterator]();
  const next = iterator.next();
  const returned = iterator.return?.();
  t.same(await returned, { done: true, value: undefined });
  await t.rejects(next, CancelledError);
  t.equal(left.waiting, 0);
});

t.test('the newest first from a LifoQueue, the least first from a PriorityQueue', (t) => {
  const lifo = new LifoQueue<number>();
  for (const n of [1, 2, 3]) lifo.put(n);
  t.same([lifo.get(), lifo.get(), lifo.get()].map(successResultOf), [3, 2, 1]);
  const words = new PriorityQueue<string>();
  for (const word of ['pear', 'apple', 'fig']) words.put(word);
  t.same([words.get(), words.get(), words.get()].map(successResultOf), ['apple', 'fig', 'pear']);
  t.end();
});

t.test('a PriorityQueue sorts, and keeps the order of equals', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 9 })), (numbers) => {
      const queue = new PriorityQueue<{ n: number; at: number }>((a, b) => a.n - b.n);
      for (const [at, n] of numbers.entries()) queue.put({ n, at });
      const taken = numbers.map(() => successResultOf(queue.get()));
      const sorted = numbers.map((n, at) => ({ n, at })).sort((a, b) => a.n - b.n || a.at - b.at);
      return JSON.stringify(taken) === JSON.stringify(sorted);
    }),
  );
  t.end();
});

const queueSteps = fc.array(
  fc.record({
    kind: fc.constantFrom('put', 'putWait', 'get', 'get', 'cancelGet', 'cancelPut'),
    who: fc.nat(30),
  }),
  { maxLength: 80 },
);

t.test(
  'whatever is cancelled, a queue loses nothing, gives nothing twice, and keeps the order',
  (t) => {
    fc.assert(
      fc.property(fc.option(fc.nat(3), { nil: undefined }), queueSteps, (size, steps) => {
        const queue = new DeferredQueue<number>(size === undefined ? {} : { size });
        const gets: Deferred<unknown>[] = [];
        const puts: Deferred<unknown>[] = [];
        const accepted = new Set<number>();
        const taken: number[] = [];
        let next = 0;
        const get = (): void => {
          gets.push(
            queue.get().addCallbacks(
              (n) => taken.push(n),
              (failure) => failure.trap(CancelledError),
            ),
          );
        };
        for (const { kind, who } of steps) {
          const number = next;
          if (kind === 'put') {
            try {
              accepted.add(number);
              queue.put(number);
              next++;
            } catch (error) {
              accepted.delete(number);
              if (!(error instanceof QueueOverflow)) throw error;
            }
          } else if (kind === 'putWait') {
            next++;
            puts.push(
              queue.putWait(number).addCallbacks(
                () => accepted.add(number),
                (failure) => failure.trap(CancelledError),
              ),
            );
          } else if (kind === 'get') get();
          else if (kind === 'cancelGet') gets[who]?.cancel();
          else puts[who]?.cancel();
          if (queue.pending > queue.size || (queue.pending > 0 && queue.waiting > 0)) return false;
        }
        for (const put of puts) put.cancel();
        while (queue.pending > 0) get();
        for (const got of gets) got.cancel();
        const sorted = [...taken].sort((a, b) => a - b);
        return (
          taken.length === accepted.size &&
          taken.every((n, i) => n === sorted[i] && accepted.has(n))
        );
      }),
      { numRuns: 500 },
    );
    t.end();
  },
);

t.test('a million things pass through a queue in linear time', (t) => {
  const queue = new DeferredQueue<number>();
  let sum = 0;
  for (let i = 0; i < 500_000; i++) queue.put(i);
  for (let i = 0; i < 500_000; i++) queue.get().addCallback((n) => (sum += n));
  for (let i = 0; i < 500_000; i++) queue.get().addCallback((n) => (sum += n));
  for (let i = 0; i < 500_000; i++) queue.put(i);
  t.equal(sum, 500_000 * 499_999);
  t.end();
});

t.test('an event lets everybody go on once it is set', (t) => {
  const event = new DeferredEvent();
  const [first, second] = [event.wait(), event.wait()];
  first.cancel();
  failureResultOf(first, CancelledError);
  event.set();
  event.set();
  successResultOf(second);
  successResultOf(event.wait());
  t.equal(event.isSet, true);
  event.clear();
  const third = event.wait();
  assertNoResult(third);
  third.cancel();
  failureResultOf(third, CancelledError);
  t.end();
});

t.test('one who is fired by an event may cancel another who waits for it', (t) => {
  const event = new DeferredEvent();
  const first = event.wait().addCallback(() => second.cancel());
  const second = event.wait();
  event.set();
  successResultOf(first);
  failureResultOf(second, CancelledError);
  t.end();
});

t.test('a condition is waited for without its lock, and gone on from with it', (t) => {
  const condition = new DeferredCondition();
  let apples = 0;
  const take = inlineCallbacks(function* () {
    yield* condition.acquire();
    try {
      yield* condition.waitFor(() => apples > 0);
      return --apples;
    } finally {
      condition.release();
    }
  });
  const [first, second] = [take(), take()];
  t.equal(condition.locked, false);
  successResultOf(condition.acquire());
  apples = 1;
  condition.notifyAll();
  assertNoResult(first);
  condition.release();
  t.equal(successResultOf(first), 0);
  assertNoResult(second);
  second.cancel();
  failureResultOf(second, CancelledError);
  t.equal(condition.locked, false, 'the lock was taken again and released by the finally');
  t.end();
});

t.test('waiting for a condition, and notifying, needs its lock', (t) => {
  const condition = new DeferredCondition();
  t.throws(() => condition.wait(), RangeError);
  t.throws(() => condition.notify(), RangeError);
  t.end();
});

t.test(
  'one who is cancelled while taking the lock of a condition again takes it all the same',
  (t) => {
    const lock = new DeferredLock();
    const condition = new DeferredCondition(lock);
    successResultOf(condition.acquire());
    const waiting = condition.wait();
    successResultOf(condition.acquire());
    condition.notify();
    assertNoResult(waiting);
    waiting.cancel();
    assertNoResult(waiting);
    condition.release();
    failureResultOf(waiting, CancelledError);
    t.equal(lock.locked, true);
    lock.release();
    t.end();
  },
);

t.test('a barrier lets all go on when the last has come, again and again', (t) => {
  t.throws(() => new DeferredBarrier(0), RangeError);
  const barrier = new DeferredBarrier(3);
  for (let round = 0; round < 2; round++) {
    const [first, gone, second] = [barrier.wait(), barrier.wait(), undefined as never];
    t.equal(second, undefined);
    gone.cancel();
    failureResultOf(gone, CancelledError);
    t.equal(barrier.waiting, 1);
    const third = barrier.wait();
    const last = barrier.wait();
    t.same([first, third, last].map(successResultOf), [0, 1, 2]);
  }
  t.end();
});

t.test('a barrier that is broken or reset fails those who wait', (t) => {
  const barrier = new DeferredBarrier(2);
  const first = barrier.wait();
  barrier.reset();
  failureResultOf(first, BrokenBarrierError);
  const second = barrier.wait();
  barrier.abort();
  failureResultOf(second, BrokenBarrierError);
  failureResultOf(barrier.wait(), BrokenBarrierError);
  t.equal(barrier.broken, true);
  barrier.reset();
  const third = barrier.wait();
  t.equal(successResultOf(barrier.wait()), 1);
  t.equal(successResultOf(third), 0);
  t.end();
});

t.test('an AsyncResult is read by as many as like', (t) => {
  const result = new AsyncResult<number>();
  const [one, two, three] = [result.get(), result.get(), result.get()];
  two.cancel();
  failureResultOf(two, CancelledError);
  t.equal(result.ready, false);
  result.set(5);
  t.same([one, three, result.get()].map(successResultOf), [5, 5, 5]);
  t.equal(result.successful, true);
  t.throws(() => result.set(6), { name: 'AlreadyCalledError' });
  const failed = AsyncResult.of(new Deferred<number>().addCallback(() => 1));
  t.equal(failed.ready, false);
  const broken = new AsyncResult<number>();
  const waiting = broken.get();
  broken.setFailure(new RangeError('no'));
  failureResultOf(waiting, RangeError);
  failureResultOf(broken.get(), RangeError);
  t.equal(broken.successful, false);
  t.equal(successResultOf(AsyncResult.of(succeed('x')).get()), 'x');
  const later = new Deferred<string>();
  const copy = AsyncResult.of(later);
  later.errback(new TypeError('later'));
  failureResultOf(copy.get(), TypeError);
  t.end();
});

t.test('cancelling what is shielded leaves the work alone', (t) => {
  const work = new Deferred<number>();
  const shielded = shield(work);
  shielded.cancel();
  failureResultOf(shielded, CancelledError);
  work.callback(5);
  t.equal(successResultOf(work), 5);
  t.equal(successResultOf(shield(succeed(6))), 6);
  const broken = new Deferred<number>();
  const copy = shield(broken);
  broken.errback(new RangeError('no'));
  failureResultOf(copy, RangeError);
  failureResultOf(broken, RangeError);
  t.end();
});

t.test('a file system lock', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'plait-lock-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const name = join(folder, 'lock');
  const clock = new Clock();

  t.test('is had by one at a time, and given to the next within a second', (t) => {
    const [one, two] = [
      new DeferredFilesystemLock(name, clock),
      new DeferredFilesystemLock(name, clock),
    ];
    t.equal(one.lock(), true);
    t.equal(one.isLocked && one.clean, true);
    t.equal(readlinkSync(name), String(process.pid));
    const waiting = two.deferUntilLocked();
    failureResultOf(two.deferUntilLocked(), AlreadyTryingToLockError);
    clock.advance(1);
    assertNoResult(waiting);
    one.unlock();
    t.equal(existsSync(name), false);
    clock.advance(1);
    successResultOf(waiting);
    two[Symbol.dispose]();
    t.equal(existsSync(name), false);
    t.throws(() => two.unlock(), RangeError);
    t.end();
  });

  t.test('is not waited for longer than it should be, nor after being cancelled', (t) => {
    const [one, two] = [
      new DeferredFilesystemLock(name, clock),
      new DeferredFilesystemLock(name, clock),
    ];
    successResultOf(one.deferUntilLocked());
    const waiting = two.deferUntilLocked(2.5);
    clock.pump([1, 1, 0.4]);
    assertNoResult(waiting);
    clock.advance(0.1);
    const { value } = failureResultOf(waiting, TimeoutError);
    t.match(value.message, `process ${process.pid} still has it`);
    const cancelled = two.deferUntilLocked();
    cancelled.cancel();
    failureResultOf(cancelled, CancelledError);
    t.same(clock.getDelayedCalls(), []);
    one.unlock();
    t.end();
  });

  t.test('is taken over from a process that has died', (t) => {
    for (const owner of ['4194305', '2147483647']) {
      symlinkSync(owner, name);
      const lock = new DeferredFilesystemLock(name, clock);
      t.equal(lock.lock(), true);
      t.equal(lock.clean, false);
      lock.unlock();
    }
    t.end();
  });

  t.test('fails where there can be no lock', (t) => {
    const lock = new DeferredFilesystemLock(join(folder, 'nowhere', 'lock'), clock);
    failureResultOf(lock.deferUntilLocked(1), 'ENOENT');
    t.throws(() => lock.deferUntilLocked(-1), RangeError);
    t.end();
  });
  t.end();
});

t.test('a failure that nobody reads from an AsyncResult is nobody’s alarm', (t) => {
  new AsyncResult<number>().setFailure(new Failure(new Error('unread')));
  t.end();
});
