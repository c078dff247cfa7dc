/** Degenerate inputs: sizes and limits of 0 and 1, lists of nothing, the same thing twice. */
import fc from 'fast-check';
import {
  asCompleted,
  CancelledError,
  coiterate,
  Cooperator,
  Deferred,
  DeferredBarrier,
  DeferredList,
  DeferredQueue,
  DeferredSemaphore,
  gatherResults,
  LifoQueue,
  LimitedHistoryLogObserver,
  LogPublisher,
  MultiService,
  PriorityQueue,
  QueueOverflow,
  QueueShutDown,
  QueueUnderflow,
  race,
  ReceiveBuffer,
  scope,
  Service,
  succeed,
  ThreadPool,
  TimerService,
  wait,
} from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import {
  assertNoResult,
  chunkings,
  Clock,
  failureResultOf,
  MemoryReactorClock,
  StringTransport,
  successResultOf,
} from 'plait/testing';
import { TimeHeap } from '../../lib/heap.ts';
import t from '../fixture.ts';

const QUEUES = {
  DeferredQueue: (size: number) => new DeferredQueue<number>({ size }),
  LifoQueue: (size: number) => new LifoQueue<number>({ size }),
  PriorityQueue: (size: number) => new PriorityQueue<number>(undefined, { size }),
};

for (const [name, make] of Object.entries(QUEUES)) {
  t.test(`FND-74: a ${name} of size 0 counts what is unfinished`, (t) => {
    const queue = make(0);
    const got = queue.get();
    queue.put(1);
    t.equal(successResultOf(got), 1);
    t.equal(queue.unfinished, 1, 'it was put, and is not done');
    const joined = queue.join();
    assertNoResult(joined);
    const offered = queue.putWait(2);
    t.equal(queue.unfinished, 1, 'what waits for room is not put yet');
    t.same([queue.pending, queue.waiting], [0, 0]);
    t.equal(successResultOf(queue.get()), 2);
    successResultOf(offered);
    t.equal(queue.unfinished, 2);
    queue.taskDone();
    assertNoResult(joined);
    queue.taskDone();
    successResultOf(joined);
    t.throws(() => queue.taskDone(), RangeError);
    t.throws(() => queue.put(3), QueueOverflow);
    t.equal(queue.unfinished, 0, 'what was refused counts for nothing');
    const given = queue.putWait(4);
    given.cancel();
    failureResultOf(given, CancelledError);
    queue
      .get()
      .addErrback(() => undefined)
      .cancel();
    t.throws(() => queue.put(5), QueueOverflow, 'nobody waits any more');
    const last = queue.putWait(6);
    queue.shutdown({ immediate: true });
    failureResultOf(last, QueueShutDown);
    t.equal(queue.unfinished, 0);
    successResultOf(queue.join());
    t.end();
  });

  t.test(`FND-74: a small ${name} counts what was put and not done, whatever happens`, (t) => {
    const step = fc.constantFrom('put', 'putWait', 'get', 'done', 'cancelGet', 'cancelPut');
    const property = fc.property(
      fc.integer({ min: 0, max: 2 }),
      fc.array(step, { maxLength: 60 }),
      fc.boolean(),
      (size, steps, immediate) => {
        const queue = make(size);
        const gets: Deferred<unknown>[] = [];
        const puts: Deferred<unknown>[] = [];
        let [put, taken, done, next] = [0, 0, 0, 0];
        for (const each of steps) {
          if (each === 'put') {
            try {
              queue.put(next++);
              put++;
            } catch (error) {
              if (!(error instanceof QueueOverflow)) throw error;
            }
          } else if (each === 'putWait') {
            puts.push(
              queue.putWait(next++).addCallbacks(
                () => put++,
                () => undefined,
              ),
            );
          } else if (each === 'get') {
            gets.push(
              queue.get().addCallbacks(
                () => taken++,
                () => undefined,
              ),
            );
          } else if (each === 'done') {
            if (done < put) {
              queue.taskDone();
              done++;
            }
          } else (each === 'cancelGet' ? gets : puts).pop()?.cancel();
          if (queue.unfinished !== put - done) return false;
          if (queue.pending !== put - taken || queue.pending > size) return false;
          if (queue.join().called !== (put === done)) return false;
        }
        queue.shutdown({ immediate });
        return !immediate || queue.unfinished === Math.max(0, taken - done) || done > taken;
      },
    );
    fc.assert(property, { numRuns: 300 });
    t.end();
  });
}

t.test('FND-74: what is put while others are let in is counted once', (t) => {
  const queue = new DeferredQueue<number>({ size: 1 });
  queue.put(1);
  const counts: number[] = [];
  void queue.putWait(2).addCallback(() => {
    queue.put(4); // there is room for 3, who has not been told, and for this
    counts.push(queue.unfinished);
  });
  void queue.putWait(3);
  queue.size = 4;
  t.same([queue.pending, queue.unfinished], [4, 4]);
  t.equal(counts[0], 3, 'those that have been put, also if not all have been told');
  t.same([queue.get(), queue.get(), queue.get(), queue.get()].map(successResultOf), [1, 2, 3, 4]);
  const joined = queue.join();
  for (let n = 0; n < 4; n++) {
    assertNoResult(joined);
    queue.taskDone();
  }
  successResultOf(joined);
  t.end();
});

t.test('FND-74: a queue with a backlog of 0, and of 1', (t) => {
  const none = new DeferredQueue<number>({ backlog: 0 });
  t.throws(() => none.get(), QueueUnderflow);
  none.put(1);
  t.equal(successResultOf(none.get()), 1);
  t.throws(() => none.get(), QueueUnderflow);
  const one = new DeferredQueue<number>({ backlog: 1 });
  const got = one.get();
  t.throws(() => one.get(), QueueUnderflow);
  one.put(2);
  t.equal(successResultOf(got), 2);
  const nothing = new DeferredQueue<number>({ size: 0, backlog: 0 });
  t.throws(() => nothing.put(1), QueueOverflow);
  t.throws(() => nothing.get(), QueueUnderflow);
  const offered = nothing.putWait(3);
  t.equal(successResultOf(nothing.get()), 3);
  successResultOf(offered);
  t.end();
});

t.test('FND-74: nothing is waited for, and one', async (t) => {
  t.same(successResultOf(new DeferredList([])), []);
  t.same(successResultOf(new DeferredList([], { consumeErrors: true })), []);
  assertNoResult(new DeferredList([], { fireOnOneCallback: true }));
  t.same(successResultOf(gatherResults([])), []);
  t.same(successResultOf(gatherResults([], { cancelOnError: true })), []);
  t.throws(() => race([]), RangeError);
  t.throws(() => wait([]), RangeError);
  t.same([...asCompleted([])], []);
  for await (const each of asCompleted([])) t.fail(String(each));
  t.equal(successResultOf(scope(() => 'alone')), 'alone');
  const one = succeed('one');
  t.same(successResultOf(gatherResults([one])), ['one']);
  t.same(successResultOf(new DeferredList([one])), [[true, 'one']]);
  t.same(successResultOf(race([succeed('one')])), [0, 'one']);
});

t.test('FND-74: the same Deferred is waited for twice', (t) => {
  const twice = new Deferred<string>();
  const gathered = gatherResults([twice, twice]);
  const listed = new DeferredList([twice, twice]);
  const waited = wait([twice, twice]);
  twice.callback('tea');
  t.same(successResultOf(gathered), ['tea', 'tea']);
  t.same(successResultOf(listed), [
    [true, 'tea'],
    [true, 'tea'],
  ]);
  t.same(successResultOf(waited), { done: [twice, twice], pending: [] });
  const racing = new Deferred<string>();
  const raced = race([racing, racing]);
  racing.callback('tea');
  t.same(successResultOf(raced), [0, 'tea']);
  const cancelled = new Deferred<string>();
  const all = gatherResults([cancelled, cancelled], { consumeErrors: true });
  all.cancel();
  t.ok(failureResultOf(all));
  t.end();
});

t.test('FND-74: a semaphore of one, a barrier of one, a history of one', (t) => {
  const semaphore = new DeferredSemaphore(1);
  successResultOf(semaphore.acquire());
  t.same([semaphore.tokens, semaphore.waiting], [0, 0]);
  const second = semaphore.acquire();
  t.equal(semaphore.waiting, 1);
  semaphore.release();
  successResultOf(second);
  semaphore.release();
  t.throws(() => semaphore.release());
  const barrier = new DeferredBarrier(1);
  successResultOf(barrier.wait());
  successResultOf(barrier.wait());
  const history = new LimitedHistoryLogObserver(1);
  for (const format of ['a', 'b', 'c'])
    history.emit({ time: 1, level: 'info', namespace: 'x', format } as never);
  t.same(
    history.events.map(({ format }) => format),
    ['c'],
  );
  for (const zero of [
    () => new DeferredSemaphore(0),
    () => new DeferredBarrier(0),
    () => new LimitedHistoryLogObserver(0),
    () => new ThreadPool({ max: 0 }),
  ])
    t.throws(zero, RangeError);
  t.end();
});

t.test('FND-74: no time, no interval, no step', (t) => {
  const clock = new Clock();
  const seen: string[] = [];
  clock.advance(0);
  clock.pump([]);
  clock.callLater(0, () => seen.push('now'));
  t.same(seen, [], 'not before the clock gets round to it');
  clock.advance(0);
  t.same(seen, ['now']);
  const service = new TimerService(0, () => seen.length < 4 && seen.push('step'));
  const reactor = new MemoryReactorClock();
  service.clock = reactor;
  service.startService();
  t.same(seen, ['now', 'step']);
  successResultOf(service.stopService());
  const heap = new TimeHeap<string>();
  heap.pop();
  heap.putOffFirst(1, 1);
  heap.filter(() => true);
  t.same([heap.size, heap.first, heap.bringForward('x', 0, 0)], [0, undefined, false]);
  heap.push(1, 1, 'only');
  heap.filter(() => true);
  t.equal(heap.first, 'only');
  heap.filter(() => false);
  t.same([heap.size, heap.firstTime], [0, undefined]);
  t.end();
});

t.test('FND-74: work without a piece', (t) => {
  const clock = new Clock();
  const cooperator = new Cooperator({ clock });
  const nothing = [][Symbol.iterator]();
  const done = cooperator.coiterate(nothing);
  clock.advance(0);
  t.equal(successResultOf(done), nothing);
  const shared = coiterate([][Symbol.iterator](), { clock });
  clock.advance(0);
  successResultOf(shared);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('FND-74: no bytes', (t) => {
  const buffer = new ReceiveBuffer();
  buffer.feed(Buffer.alloc(0));
  t.equal(buffer.length, 0);
  t.same(buffer.take(0), Buffer.alloc(0));
  buffer.feed(Buffer.from('\n'));
  t.same(buffer.takeUntil(Buffer.from('\n'), 0), Buffer.alloc(0));
  t.equal(buffer.length, 0);
  t.same(
    [...chunkings(Buffer.alloc(0))].flat().filter((piece) => piece.length > 0),
    [],
  );

  const lines: string[] = [];
  const tooLong: number[] = [];
  class Short extends LineReceiver {
    override maxLength = 0;
    override lineReceived(line: Buffer): void {
      lines.push(line.toString());
    }
    override lineLengthExceeded(line: Buffer): void {
      tooLong.push(line.length);
    }
  }
  const transport = new StringTransport();
  const short = new Short();
  short.makeConnection(transport);
  short.dataReceived(Buffer.alloc(0));
  short.dataReceived(Buffer.from('\r\n\r\n'));
  t.same([lines, tooLong], [['', ''], []]);
  short.dataReceived(Buffer.from('a\r\n'));
  t.equal(tooLong.length, 1);
  short.sendLine('');
  transport.write(Buffer.alloc(0));
  transport.writeSequence([]);
  t.equal(transport.value().toString(), '\r\n');
  t.end();
});

t.test('FND-74: a set without services, a service that is added twice', (t) => {
  const empty = new MultiService();
  successResultOf(empty.stopService());
  empty.startService();
  t.equal(empty.running, true);
  successResultOf(empty.stopService());
  const part = new Service();
  part.setServiceParent(empty);
  part.setServiceParent(empty);
  t.equal([...empty].length, 1);
  const observed: number[] = [];
  const publisher = new LogPublisher();
  const observer = (): void => void observed.push(1);
  publisher.addObserver(observer);
  publisher.addObserver(observer);
  publisher.emit({ time: 1, level: 'info', namespace: 'x', format: '' } as never);
  t.equal(observed.length, 1, 'it is told once');
  publisher.removeObserver(observer);
  publisher.removeObserver(observer);
  publisher.emit({ time: 1, level: 'info', namespace: 'x', format: '' } as never);
  t.equal(observed.length, 1);
  t.end();
});
