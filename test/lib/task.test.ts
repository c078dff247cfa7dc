import { AsyncLocalStorage } from 'node:async_hooks';
import {
  asCompleted,
  CancelledError,
  cooperate,
  Cooperator,
  coiterate,
  Deferred,
  deferLater,
  execute,
  fail,
  Failure,
  gatherResults,
  getKeepContext,
  inlineCallbacks,
  logError,
  LoopingCall,
  NotPaused,
  passthru,
  reactor,
  Reactor,
  SchedulerStopped,
  setKeepContext,
  succeed,
  TaskDone,
  TaskFailed,
  TaskStopped,
  wait,
  withSignal,
} from 'plait';
import {
  assertNoResult,
  Clock,
  failureResultOf,
  flushLoggedErrors,
  successResultOf,
} from 'plait/testing';
import t from '../fixture.ts';

/** A looping call on a clock of its own, and what it has been called with. */
function looping(fn: (time: number) => unknown = () => undefined): {
  loop: LoopingCall;
  clock: Clock;
  times: number[];
} {
  const clock = new Clock();
  const times: number[] = [];
  const loop = new LoopingCall(() => {
    times.push(clock.seconds());
    return fn(clock.seconds());
  });
  loop.clock = clock;
  return { loop, clock, times };
}

t.test('a looping call is made at once, and then an interval apart', (t) => {
  const { loop, clock, times } = looping();
  const stopped = loop.start(2);
  t.equal(loop.running, true);
  t.equal(loop.interval, 2);
  clock.pump([1, 1, 1, 1]);
  t.same(times, [0, 2, 4]);
  loop.stop();
  t.equal(successResultOf(stopped), loop);
  t.equal(loop.running, false);
  clock.advance(10);
  t.same(times, [0, 2, 4]);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('a looping call may wait for the first interval, and be given arguments', (t) => {
  const clock = new Clock();
  const given: unknown[] = [];
  const loop = new LoopingCall((...args: [number, string]) => given.push(...args), 1, 'two');
  loop.clock = clock;
  const stopped = loop.start(1, false);
  t.same(given, []);
  clock.advance(1);
  t.same(given, [1, 'two']);
  loop.stop();
  successResultOf(stopped);
  t.end();
});

t.test('a looping call that is late keeps to its rhythm, and skips what it has missed', (t) => {
  const { loop, clock, times } = looping();
  loop.start(1);
  clock.advance(2.5);
  clock.advance(0.5);
  clock.advance(1);
  t.same(times, [0, 2.5, 3, 4]);
  loop.stop();
  t.end();
});

t.test('the next call waits for what the function returns', (t) => {
  const work = new Deferred<void>();
  const { loop, clock, times } = looping((time) => (time === 1 ? work : undefined));
  loop.start(1);
  clock.advance(1);
  clock.advance(2.5);
  t.same(times, [0, 1]);
  work.callback();
  clock.advance(0.5);
  t.same(times, [0, 1, 4]);
  loop.stop();
  t.end();
});

t.test('one that is stopped while it waits fires after that', (t) => {
  const work = new Deferred<void>();
  const { loop } = looping(() => work);
  const stopped = loop.start(1);
  loop.stop();
  assertNoResult(stopped);
  work.callback();
  t.equal(successResultOf(stopped), loop);
  t.end();
});

t.test('a looping call ends with the first failure, and may be started again', (t) => {
  const { loop, clock, times } = looping((time) => {
    if (time === 1) throw new RangeError('no');
  });
  const stopped = loop.start(1);
  clock.advance(1);
  failureResultOf(stopped, RangeError);
  t.equal(loop.running, false);
  t.same(clock.getDelayedCalls(), []);
  clock.advance(1);
  const again = loop.start(1);
  t.same(times, [0, 1, 2]);
  loop.stop();
  successResultOf(again);
  t.end();
});

t.test('reset skips the next call and begins a new rhythm', (t) => {
  const { loop, clock, times } = looping();
  loop.start(2);
  clock.advance(1.5);
  loop.reset();
  clock.advance(1.5);
  clock.advance(0.5);
  t.same(times, [0, 3.5]);
  loop.stop();
  const work = new Deferred<void>();
  const waiting = looping(() => work);
  waiting.loop.start(1);
  waiting.loop.reset();
  work.callback();
  waiting.clock.advance(1);
  t.same(waiting.times, [0, 1]);
  waiting.loop.stop();
  t.end();
});

t.test('with an interval of 0 it is made as often as its clock gets round to it', (t) => {
  const { loop, clock, times } = looping(() => {
    if (times.length === 3) loop.stop();
  });
  const stopped = loop.start(0);
  t.same(times, [0], 'once at the start, and then when the clock is asked');
  clock.advance(0);
  t.same(times, [0, 0, 0]);
  successResultOf(stopped);
  t.end();
});

t.test('withCount tells how many calls were due', (t) => {
  const clock = new Clock();
  const counts: number[] = [];
  const loop = LoopingCall.withCount((count) => counts.push(count));
  loop.clock = clock;
  loop.start(1);
  clock.advance(3.5);
  clock.advance(0.5);
  t.same(counts, [1, 3, 1]);
  loop.stop();
  const later = LoopingCall.withCount((count) => counts.push(count));
  later.clock = clock;
  later.start(1, false);
  clock.advance(2);
  t.same(counts, [1, 3, 1, 2]);
  later.stop();
  const busy = LoopingCall.withCount((count) => {
    counts.push(count);
    if (counts.length > 6) busy.stop();
  });
  busy.clock = clock;
  busy.start(0);
  clock.advance(0);
  t.same(counts.slice(4), [1, 1, 1]);
  t.end();
});

t.test('a looping call is started once, and stopped once', (t) => {
  const { loop } = looping();
  t.throws(() => loop.stop(), /not running/);
  t.throws(() => loop.reset(), /not running/);
  for (const interval of [-1, Number.NaN, Infinity])
    t.throws(() => loop.start(interval), RangeError);
  loop.start(1);
  t.throws(() => loop.start(1), /running/);
  loop[Symbol.dispose]();
  loop[Symbol.dispose]();
  t.equal(loop.running, false);
  t.equal(new LoopingCall(() => undefined).clock, reactor);
  t.end();
});

t.test(
  'the timer of a looping call is never so near that it would call twice for one tick',
  (t) => {
    const { loop, clock, times } = looping();
    clock.advance(1e9);
    loop.start(0.1);
    for (let i = 0; i < 50; i++) clock.advance(0.1);
    loop.stop();
    t.ok(times.length >= 49 && times.length <= 52, String(times.length));
    t.end();
  },
);

/** A Cooperator that takes a turn when it is told to, of so many pieces. */
function stepped(pieces: number, started = true): { cooperator: Cooperator; turn: () => boolean } {
  const clock = new Clock();
  const cooperator = new Cooperator({
    terminationPredicateFactory: () => {
      let left = pieces;
      return () => --left <= 0;
    },
    scheduler: (turn) => clock.callLater(1, turn),
    started,
  });
  return {
    cooperator,
    turn: () => {
      const waiting = clock.getDelayedCalls().length > 0;
      clock.advance(1);
      return waiting;
    },
  };
}

function* counting(log: string[], name: string, to: number): Generator {
  for (let n = 1; n <= to; n++) {
    log.push(`${name}${n}`);
    yield n;
  }
}

t.test('a Cooperator gives each task a piece in turn', (t) => {
  const { cooperator, turn } = stepped(2);
  const log: string[] = [];
  const iterator = counting(log, 'a', 3);
  const a = cooperator.coiterate(iterator);
  const b = cooperator.coiterate(counting(log, 'b', 2));
  t.equal(cooperator.running, true);
  turn();
  t.same(log, ['a1', 'b1']);
  turn();
  turn();
  turn();
  t.same(log, ['a1', 'b1', 'a2', 'b2', 'a3']);
  t.equal(successResultOf(a), iterator);
  successResultOf(b);
  t.equal(turn(), false, 'nothing is scheduled when there is no work');
  t.end();
});

t.test('a task waits for the Deferreds that it yields', (t) => {
  const { cooperator, turn } = stepped(10);
  const work = new Deferred<void>();
  const task = cooperator.cooperate([1, work, 2][Symbol.iterator]());
  turn();
  assertNoResult(task.whenDone());
  t.equal(turn(), false);
  work.callback();
  turn();
  successResultOf(task.whenDone());
  const failing = cooperator.cooperate([fail(new RangeError('no'))][Symbol.iterator]());
  turn();
  failureResultOf(failing.whenDone(), RangeError);
  t.throws(() => failing.stop(), TaskFailed);
  t.end();
});

t.test('a task that is stopped while it waits does not mind what comes of that', (t) => {
  const { cooperator, turn } = stepped(10);
  for (const end of [
    (d: Deferred<void>) => d.callback(),
    (d: Deferred<void>) => d.errback(new Error('late')),
  ]) {
    const work = new Deferred<void>();
    const task = cooperator.cooperate([work][Symbol.iterator]());
    turn();
    task.stop();
    failureResultOf(task.whenDone(), TaskStopped);
    end(work);
    t.equal(turn(), false);
  }
  t.end();
});

t.test('a task can be paused, resumed and stopped', (t) => {
  const { cooperator, turn } = stepped(1);
  const log: string[] = [];
  const task = cooperator.cooperate(counting(log, 'a', 5));
  t.throws(() => task.resume(), NotPaused);
  turn();
  task.pause();
  task.pause();
  t.equal(turn(), false);
  task.resume();
  t.equal(turn(), false);
  task.resume();
  turn();
  t.same(log, ['a1', 'a2']);
  const done = task.whenDone();
  task.stop();
  failureResultOf(done, TaskStopped);
  failureResultOf(task.whenDone(), TaskStopped);
  t.throws(() => task.pause(), TaskStopped);
  t.throws(() => task.stop(), TaskStopped);
  t.end();
});

t.test('what an iterator throws is the failure of its task', (t) => {
  const { cooperator, turn } = stepped(5);
  const task = cooperator.cooperate(
    (function* () {
      yield 1;
      throw new RangeError('no');
    })(),
  );
  const done = task.whenDone();
  turn();
  failureResultOf(done, RangeError);
  const fine = cooperator.cooperate([][Symbol.iterator]());
  turn();
  successResultOf(fine.whenDone());
  t.throws(() => fine.stop(), TaskDone);
  t.end();
});

t.test('a Cooperator that is stopped fails its tasks, and each that is added', (t) => {
  const { cooperator, turn } = stepped(1);
  const [a, b] = [
    cooperator.coiterate([1][Symbol.iterator]()),
    cooperator.coiterate([2][Symbol.iterator]()),
  ];
  cooperator.stop();
  failureResultOf(a, SchedulerStopped);
  failureResultOf(b, SchedulerStopped);
  failureResultOf(cooperator.coiterate([3][Symbol.iterator]()), SchedulerStopped);
  t.equal(cooperator.running, false);
  t.equal(turn(), false);
  cooperator.start();
  const c = cooperator.coiterate([][Symbol.iterator]());
  turn();
  successResultOf(c);
  const { cooperator: waiting, turn: turnOfWaiting } = stepped(1, false);
  const d = waiting.coiterate([][Symbol.iterator]());
  t.equal(turnOfWaiting(), false);
  waiting.start();
  turnOfWaiting();
  successResultOf(d);
  t.end();
});

t.test('the shared Cooperator works in small slices of the reactor’s time', async (t) => {
  const log: string[] = [];
  await gatherResults([
    coiterate(counting(log, 'a', 3)),
    cooperate(counting(log, 'b', 2)).whenDone(),
  ]);
  t.same(log, ['a1', 'b1', 'a2', 'b2', 'a3']);
});

t.test('AsyncLocalStorage is kept by coroutines and delayed calls', (t) => {
  const storage = new AsyncLocalStorage<string>();
  const clock = new Clock();
  const seen: (string | undefined)[] = [];
  const work = inlineCallbacks(function* (awaited: Deferred<void>) {
    seen.push(storage.getStore());
    yield* awaited;
    seen.push(storage.getStore());
  });
  const awaited = new Deferred<void>();
  const done = storage.run('caller', () => work(awaited));
  storage.run('firer', () => {
    awaited.callback();
  });
  successResultOf(done);
  storage.run('asker', () =>
    clock.callLater(1, (name: string) => seen.push(storage.getStore(), name), 'argument'),
  );
  storage.run('mover', () => {
    clock.advance(1);
  });
  t.same(seen, ['caller', 'caller', 'asker', 'argument']);
  t.end();
});

t.test('callbacks run in the context of whoever fires, or, if so wished, of whoever adds', (t) => {
  const storage = new AsyncLocalStorage<string>();
  const run = (): (string | undefined)[] => {
    const seen: (string | undefined)[] = [];
    const deferred = new Deferred<number>();
    const note = (n: number, step = 0): number => {
      seen.push(storage.getStore());
      return n + step;
    };
    storage.run('adder', () => deferred.addCallback(note).addCallback(note, 1).addCallbacks(note));
    storage.run('firer', () => {
      deferred.callback(1);
    });
    t.equal(successResultOf(deferred), 2);
    return seen;
  };
  t.same(run(), ['firer', 'firer', 'firer']);
  setKeepContext(true);
  t.teardown(() => {
    setKeepContext(false);
  });
  t.equal(getKeepContext(), true);
  t.same(run(), ['adder', 'adder', 'adder']);
  t.end();
});

t.test('a signal that 10,000 calls use keeps no listener', (t) => {
  const controller = new AbortController();
  const { signal } = controller;
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners++;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners--;
    remove(...args);
  };
  for (let i = 0; i < 10_000; i++) {
    const deferred = new Deferred<number>().cancelOn(signal);
    deferred.callback(i);
  }
  t.equal(listeners, 0);
  const waiting = new Deferred<number>().cancelOn(signal);
  controller.abort();
  failureResultOf(waiting, CancelledError);
  failureResultOf(new Deferred<number>().cancelOn(signal), CancelledError);
  t.end();
});

t.test(
  'withSignal gives a signal to stop by, and then waits for what the promise comes to',
  async (t) => {
    let stopped: AbortSignal | undefined;
    const work = withSignal(
      (signal) =>
        new Promise<string>((resolve, reject) => {
          stopped = signal;
          signal.addEventListener('abort', () => {
            reject(signal.reason as Error);
          });
        }),
    );
    work.cancel();
    assertNoResult(work);
    t.equal(stopped?.aborted, true);
    await t.rejects(work.asPromise(), CancelledError);
    const saved = withSignal(() => Promise.resolve('anyway'));
    saved.cancel();
    t.equal(await saved, 'anyway');
    failureResultOf(
      withSignal(() => {
        throw new RangeError('at once');
      }),
      RangeError,
    );
  },
);

t.test('wait tells who is done and who is pending, and takes nothing', (t) => {
  const clock = new Clock();
  const [one, two, three] = [
    new Deferred<number>(),
    new Deferred<number>(),
    new Deferred<number>(),
  ];
  const all = wait([one, two, three]);
  const first = wait([one, two, three], { until: 'first' });
  const failure = wait([one, two, three], { until: 'firstFailure' });
  const timed = wait([one, two, three], { timeout: 5, clock });
  two.callback(2);
  t.same(successResultOf(first).done, [two]);
  clock.advance(5);
  t.equal(successResultOf(timed).pending.length, 2);
  three.errback(new RangeError('three'));
  t.same(successResultOf(failure).pending, [one]);
  one.callback(1);
  t.equal(successResultOf(all).done.length, 3);
  t.equal(successResultOf(two), 2);
  failureResultOf(three, RangeError);
  t.same(clock.getDelayedCalls(), []);
  t.throws(() => wait([]), RangeError);
  t.throws(() => wait([one], { timeout: 1 }), TypeError);
  const over = wait([succeed(1)], { timeout: 1, clock });
  successResultOf(over);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('asCompleted gives results in the order in which they come', async (t) => {
  const clock = new Clock();
  const after = (seconds: number): Deferred<number> => deferLater(clock, seconds, () => seconds);
  const collect = inlineCallbacks(function* (all: Deferred<number>[]) {
    const order: number[] = [];
    for (const next of asCompleted(all)) order.push(yield* next);
    return order;
  });
  const collected = collect([after(3), after(1), after(2)]);
  clock.pump([1, 1, 1]);
  t.same(successResultOf(collected), [1, 2, 3]);
  const values: number[] = [];
  for await (const value of asCompleted([succeed(1), succeed(2)])) values.push(value);
  t.same(values, [1, 2]);
  const [broken] = asCompleted([fail<number>(new RangeError('no'))]);
  failureResultOf(broken as Deferred<number>, RangeError);
  t.end();
});

t.test('the stack of a failure says where coroutines awaited it', async (t) => {
  const inner = inlineCallbacks(function* innermost(awaited: Deferred<void>) {
    yield* awaited;
  });
  const outer = inlineCallbacks(function* outermost(awaited: Deferred<void>) {
    yield* inner(awaited);
  });
  const awaited = new Deferred<void>();
  const failed = outer(awaited);
  const error = new RangeError('no');
  const { stack } = error;
  awaited.errback(error);
  const { value } = failureResultOf(failed, RangeError);
  t.equal(value, error);
  const traceback = new Failure(error).getTraceback();
  t.match(traceback, /awaited at innermost \(.*task\.test\.ts.*\n\s+awaited at outermost \(/);
  t.ok(error.stack?.startsWith(stack ?? '-'));
  t.equal(new Failure(error).getTraceback(), traceback, 'looking again adds nothing');
  const fired = inlineCallbacks(function* early() {
    yield* fail(new TypeError('at once'));
  });
  await t.rejects(fired().asPromise(), TypeError);
  t.match(failureResultOf(fired(), TypeError).getTraceback(), /awaited at early/);
  const frozen = Object.freeze(new RangeError('frozen'));
  const rest = inlineCallbacks(function* () {
    yield* fail(frozen);
  });
  t.match(failureResultOf(rest(), RangeError).getTraceback(), 'frozen');
});

t.test('an error that goes round and round does not grow its stack for ever', (t) => {
  const error = new RangeError('again');
  const retry = inlineCallbacks(function* () {
    for (let i = 0; i < 1000; i++) {
      try {
        yield* fail(error);
      } catch {
        // once more
      }
    }
  });
  successResultOf(retry());
  // From Node 22 on, what is printed has one line for those that are alike; the stack has them all.
  t.match(new Failure(error).getTraceback(), /awaited at/);
  t.equal(error.stack?.match(/awaited at/g)?.length, 50);
  t.end();
});

t.test('1,000,000 Deferreds made, fired and dropped leave the heap where it was', (t) => {
  const round = (count: number): void => {
    for (let i = 0; i < count; i++) {
      const deferred = new Deferred<number>();
      deferred.addCallback((n) => n + 1);
      deferred.callback(i);
    }
  };
  const heap = (): number => {
    global.gc?.();
    return process.memoryUsage().heapUsed;
  };
  round(10_000);
  const before = heap();
  round(1_000_000);
  const grown = heap() - before;
  t.ok(grown < 1024 * 1024, `grown by ${grown} bytes`);
  t.end();
});

t.test('while it runs, a reactor tells of failures that nobody has handled', async (t) => {
  const own = new Reactor();
  const told: string[] = [];
  own.events.on('unhandledFailure', ({ failure }) => told.push(failure.getErrorMessage()));
  const stopped = own.run({ installSignalHandlers: false });
  fail(new RangeError('forgotten'));
  own.stop();
  await stopped;
  await new Promise(setImmediate);
  t.same(told, ['forgotten']);
  t.equal(flushLoggedErrors(RangeError).length, 1);
});

t.test('small things: execute, passthru, logError, and a failure that prints itself', (t) => {
  t.equal(successResultOf(execute((a: number, b: number) => a + b, 1, 2)), 3);
  failureResultOf(
    execute(() => {
      throw new RangeError('no');
    }),
    RangeError,
  );
  t.equal(successResultOf(succeed('x').addBoth(passthru)), 'x');
  failureResultOf(fail(new TypeError('logged')).addErrback(logError), TypeError);
  t.equal(flushLoggedErrors(TypeError).length, 1);
  const printed: string[] = [];
  const out = { write: (text: string) => printed.push(text) };
  const failure = new Failure(new RangeError('on paper'));
  failure.printBriefTraceback(out);
  failure.printTraceback(out);
  t.equal(printed[0], 'RangeError: on paper\n');
  t.match(printed[1], /^RangeError: on paper\n +at /);
  t.end();
});

t.test('FND-06: a generator that a cooperative task yields is run, and waited for', async (t) => {
  const seen: string[] = [];
  const piece = function* (name: string) {
    yield* succeed();
    seen.push(name);
  };
  await coiterate(
    (function* () {
      yield piece('first');
      seen.push('then');
      yield piece('second');
    })(),
  );
  t.same(seen, ['first', 'then', 'second']);
  const failing = coiterate(
    [
      (function* () {
        yield* fail(new RangeError('of the piece'));
      })(),
    ].values(),
  );
  await t.rejects(failing.asPromise(), RangeError);
});
