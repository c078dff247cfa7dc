/** The examples of docs/howto/locks-and-queues.md and of the references of locks and queues, which are tests. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AlreadyCalledError,
  AlreadyTryingToLockError,
  AsyncResult,
  BrokenBarrierError,
  CancelledError,
  type Coroutine,
  Deferred,
  DeferredBarrier,
  DeferredCondition,
  DeferredEvent,
  DeferredFilesystemLock,
  deferLater,
  DeferredLock,
  DeferredQueue,
  DeferredSemaphore,
  inlineCallbacks,
  LifoQueue,
  PriorityQueue,
  QueueOverflow,
  QueueShutDown,
  QueueUnderflow,
  scope,
  shield,
  TimeoutError,
  unhandledFailures,
} from 'plait';
import { assertNoResult, Clock, failureResultOf, successResultOf } from 'plait/testing';
import t from 'tap';

t.test('a lock', async (t) => {
  const clock = new Clock();
  // #region lock
  const lock = new DeferredLock();
  let balance = 100;
  const withdraw = (amount: number) =>
    lock.run(
      inlineCallbacks(function* () {
        const before = balance;
        yield* deferLater(clock, 1); // meanwhile others may ask, but not go on
        balance = before - amount;
      }),
    );

  withdraw(10);
  withdraw(20);
  t.equal(lock.waiting, 1);
  clock.pump([1, 1]);
  t.equal(balance, 70);
  t.equal(lock.locked, false);
  // #endregion
});

t.test('run releases the lock, whatever happens', async (t) => {
  const clock = new Clock();
  const lock = new DeferredLock();
  failureResultOf(
    lock.run(() => {
      throw new RangeError('no');
    }),
    RangeError,
  );
  t.equal(lock.locked, false);

  const [working, waiting] = [
    lock.run(() => deferLater(clock, 60)),
    lock.run(() => t.fail('it was cancelled while it waited')),
  ];
  waiting.cancel();
  failureResultOf(waiting, CancelledError);
  t.equal(lock.waiting, 0);
  working.cancel();
  failureResultOf(working, CancelledError);
  t.equal(lock.locked, false);
  t.same(clock.getDelayedCalls(), []);
  t.throws(() => lock.release(), RangeError);
});

t.test('a lock by hand', async (t) => {
  const clock = new Clock();
  const lock = new DeferredLock();
  // #region acquire
  const careful = inlineCallbacks(function* () {
    yield* lock.acquire();
    try {
      yield* deferLater(clock, 1);
    } finally {
      lock.release();
    }
  });
  // #endregion
  careful();
  t.equal(lock.locked, true);
  clock.advance(1);
  t.equal(lock.locked, false);

  const held = lock.acquire();
  held.cancel();
  t.equal(lock.locked, true, 'what has been acquired stays so');
  lock.release();
});

t.test('a semaphore', async (t) => {
  const clock = new Clock();
  const download = (url: string) => deferLater(clock, 1, () => `the page at ${url}`);
  // #region semaphore
  const three = new DeferredSemaphore(3);
  const pages = ['/1', '/2', '/3', '/4', '/5'].map((url) => three.run(download, url));
  t.equal(three.tokens, 0);
  t.equal(three.waiting, 2);
  // #endregion
  clock.pump([1, 1]);
  t.equal(successResultOf(pages[4]!), 'the page at /5');
  t.equal(three.tokens, 3);
  t.throws(() => new DeferredSemaphore(0), RangeError);
});

t.test('a queue', async (t) => {
  const clock = new Clock();
  const done: string[] = [];
  // #region queue
  const jobs = new DeferredQueue<string>();
  const worker = inlineCallbacks(function* () {
    for (;;) {
      const job = yield* jobs.get();
      yield* deferLater(clock, 1);
      done.push(job);
      jobs.taskDone();
    }
  });

  const team = [worker(), worker()];
  for (const job of ['sweep', 'wash', 'cook']) jobs.put(job);
  const allDone = jobs.join();
  clock.pump([1, 1]);
  successResultOf(allDone);
  t.same(done, ['sweep', 'wash', 'cook']);

  jobs.shutdown();
  for (const end of team) failureResultOf(end, QueueShutDown);
  // #endregion
});

t.test('a queue that makes those wait who put', async (t) => {
  // #region bounded
  const belt = new DeferredQueue<string>({ size: 2 });
  belt.put('plate');
  belt.put('cup');
  t.throws(() => belt.put('spoon'), QueueOverflow); // put never waits
  const room = belt.putWait('spoon');
  assertNoResult(room);
  t.equal(successResultOf(belt.get()), 'plate');
  successResultOf(room); // now there is room
  t.equal(belt.pending, 2);
  // #endregion

  const another = belt.putWait('fork');
  another.cancel();
  failureResultOf(another, CancelledError);
  t.equal(successResultOf(belt.get()), 'cup');
  t.equal(successResultOf(belt.get()), 'spoon');
  t.equal(belt.pending, 0, 'the fork was withdrawn');
});

t.test('who gets and is cancelled leaves the line', async (t) => {
  const clock = new Clock();
  // #region patience
  const jobs = new DeferredQueue<string>({ backlog: 1 });
  const impatient = jobs.get().addTimeout(5, clock);
  t.throws(() => jobs.get(), QueueUnderflow); // one waits already
  clock.advance(5);
  failureResultOf(impatient, TimeoutError);
  jobs.put('sweep'); // stays for the next one
  t.equal(successResultOf(jobs.get()), 'sweep');
  // #endregion
});

t.test('a queue is an async iterable', async (t) => {
  // #region iterate
  const letters = new DeferredQueue<string>();
  for (const letter of 'abc') letters.put(letter);
  letters.shutdown(); // what is in it can still be taken

  let word = '';
  for await (const letter of letters) word += letter;
  t.equal(word, 'abc');
  // #endregion
  failureResultOf(letters.get(), QueueShutDown);
  t.throws(() => letters.put('d'), QueueShutDown);
  failureResultOf(letters.putWait('d'), QueueShutDown);
});

t.test('leaving such a loop loses nothing', async (t) => {
  const letters = new DeferredQueue<string>();
  for (const letter of 'ab') letters.put(letter);
  for await (const letter of letters) {
    t.equal(letter, 'a');
    break;
  }
  t.equal(successResultOf(letters.get()), 'b');
});

t.test('other orders', async (t) => {
  // #region orders
  const urgent = new PriorityQueue<{ what: string; level: number }>((a, b) => b.level - a.level);
  urgent.put({ what: 'tea', level: 1 });
  urgent.put({ what: 'fire', level: 9 });
  urgent.put({ what: 'flood', level: 9 }); // as urgent, but later
  t.equal(successResultOf(urgent.get()).what, 'fire');
  t.equal(successResultOf(urgent.get()).what, 'flood');

  const plates = new LifoQueue<string>();
  plates.put('lower');
  plates.put('upper');
  t.equal(successResultOf(plates.get()), 'upper');
  // #endregion

  const numbers = new PriorityQueue<number>();
  for (const n of [2, 1, 3]) numbers.put(n);
  t.equal(successResultOf(numbers.get()), 1);

  const store = new Set<string>();
  const once = new DeferredQueue<string>(
    {},
    {
      get size() {
        return store.size;
      },
      add: (thing) => store.add(thing),
      take: () => {
        const [first = ''] = store;
        store.delete(first);
        return first;
      },
    },
  );
  for (const thing of ['tea', 'toast', 'tea']) once.put(thing);
  t.equal(once.pending, 2);
  t.equal(successResultOf(once.get()), 'tea');
});

t.test('shutdown', async (t) => {
  const jobs = new DeferredQueue<string>({ size: 1 });
  jobs.put('sweep');
  const [room, end] = [jobs.putWait('wash'), jobs.join()];
  jobs.shutdown({ immediate: true });
  failureResultOf(room, QueueShutDown);
  successResultOf(end);
  t.equal(jobs.pending, 0);
  t.throws(() => jobs.taskDone(), RangeError);
  t.throws(() => new DeferredQueue({ size: -1 }), RangeError);
});

t.test('a queue of size 0 hands over', async (t) => {
  const handover = new DeferredQueue<string>({ size: 0 });
  t.throws(() => handover.put('baton'), QueueOverflow);
  const given = handover.putWait('baton');
  assertNoResult(given);
  t.equal(successResultOf(handover.get()), 'baton');
  successResultOf(given);
});

t.test('an event', async (t) => {
  // #region event
  const ready = new DeferredEvent();
  const early = ready.wait();
  assertNoResult(early);
  ready.set();
  successResultOf(early);
  successResultOf(ready.wait()); // at once, until it is cleared
  ready.clear();
  assertNoResult(ready.wait());
  // #endregion
});

t.test('a condition', async (t) => {
  // #region condition
  const stock = new DeferredCondition();
  let apples = 0;
  const take = inlineCallbacks(function* () {
    yield* stock.acquire();
    try {
      yield* stock.waitFor(() => apples > 0); // gives up the lock meanwhile
      return --apples;
    } finally {
      stock.release();
    }
  });
  const deliver = inlineCallbacks(function* (count: number) {
    yield* stock.acquire();
    apples += count;
    stock.notifyAll();
    stock.release();
  });

  const [one, two] = [take(), take()];
  deliver(1);
  t.equal(successResultOf(one), 0);
  assertNoResult(two);
  deliver(1);
  t.equal(successResultOf(two), 0);
  // #endregion
  t.equal(stock.locked, false);

  const three = take();
  three.cancel();
  failureResultOf(three, CancelledError);
  t.equal(stock.locked, false, 'it had the lock again, and released it');
  successResultOf(stock.acquire());
  const empty = stock.waitFor(() => '');
  assertNoResult(empty);
  empty.cancel();
  failureResultOf(empty, CancelledError);
  stock.release();
  t.throws(() => stock.notify(), RangeError);
  t.throws(() => stock.wait(), RangeError);
});

t.test('a barrier', async (t) => {
  // #region barrier
  const start = new DeferredBarrier(3);
  const [one, two] = [start.wait(), start.wait()];
  assertNoResult(one);
  const three = start.wait(); // now all are there
  t.same([one, two, three].map(successResultOf), [0, 1, 2]);
  // #endregion

  const waiting = start.wait();
  start.abort();
  failureResultOf(waiting, BrokenBarrierError);
  failureResultOf(start.wait(), BrokenBarrierError);
  start.reset();
  assertNoResult(start.wait());
  t.equal(start.waiting, 1);
});

t.test('a result for many', async (t) => {
  // #region result
  const config = new AsyncResult<string>();
  const [one, two] = [config.get(), config.get()];
  one.cancel(); // the others, and the result, are none the wiser
  config.set('color = green');
  failureResultOf(one, CancelledError);
  t.equal(successResultOf(two), 'color = green');
  t.equal(successResultOf(config.get()), 'color = green');
  // #endregion
  t.throws(() => config.set('color = red'), AlreadyCalledError);
  t.equal(config.successful, true);

  const bad = new AsyncResult<string>();
  bad.setFailure(new RangeError('no such color'));
  failureResultOf(bad.get(), RangeError);
  failureResultOf(bad.get(), RangeError);
  t.equal(bad.ready, true);
  t.equal(bad.successful, false);
});

t.test('a shield', async (t) => {
  const work = new Deferred<string>();
  const waiting = shield(work);
  waiting.cancel();
  failureResultOf(waiting, CancelledError);
  t.equal(work.state, 'unfired');
  work.errback(new RangeError('nobody heard of this'));
  t.equal(unhandledFailures().length, 1);
  failureResultOf(work, RangeError);
});

t.test('a lock between processes', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'plait-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const clock = new Clock();
  // #region filesystem
  const path = join(folder, 'database.lock');
  const lock = new DeferredFilesystemLock(path, clock);
  successResultOf(lock.deferUntilLocked());
  t.equal(lock.isLocked, true);

  const other = new DeferredFilesystemLock(path, clock);
  const waiting = other.deferUntilLocked(10); // tries once a second
  lock.unlock();
  clock.advance(1);
  successResultOf(waiting);
  other.unlock();
  // #endregion
  t.equal(existsSync(path), false);
  t.equal(lock.clean, true);

  lock.lock();
  const late = other.deferUntilLocked(10);
  failureResultOf(other.deferUntilLocked(), AlreadyTryingToLockError);
  clock.pump(Array<number>(10).fill(1));
  failureResultOf(late, TimeoutError);
  const cancelled = other.deferUntilLocked();
  cancelled.cancel();
  failureResultOf(cancelled, CancelledError);
  t.same(clock.getDelayedCalls(), []);
  lock.unlock();
  t.throws(() => lock.unlock(), RangeError);
});

t.test('workers that end together', async (t) => {
  const clock = new Clock();
  // #region workers
  const workThrough = (jobs: DeferredQueue<string>, work: (job: string) => Deferred<void>) =>
    scope(
      function* (s) {
        for (let n = 0; n < 3; n++) s.spawn(worker);
        yield* jobs.join();
        s.cancel(); // the workers wait for jobs that will not come
      },
      { clock },
    );
  // #endregion
  const jobs = new DeferredQueue<string>();
  const done: string[] = [];
  const work = (job: string) =>
    deferLater(clock, 1).addCallback(() => {
      done.push(job);
    });
  function* worker(): Coroutine<void> {
    for (;;) {
      yield* work(yield* jobs.get());
      jobs.taskDone();
    }
  }
  for (const job of 'abcde') jobs.put(job);
  const end = workThrough(jobs, work);
  clock.pump([1, 1]);
  successResultOf(end);
  t.equal(done.join(''), 'abcde');
  t.equal(jobs.waiting, 0);
});
