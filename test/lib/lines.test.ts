/**
 * Long lines of waiters, each of which wakes the next: woken by a loop, in order, and none lost. The loads of a million
 * are tried by hand; these are as many as fit into a run of all tests.
 */
import fc from 'fast-check';
import {
  asCompleted,
  AsyncResult,
  BasicProducerConsumerProxy,
  CancelledError,
  type CooperativeTask,
  Cooperator,
  type CooperatorOptions,
  Deferred,
  DeferredBarrier,
  DeferredCondition,
  DeferredEvent,
  DeferredList,
  DeferredLock,
  DeferredQueue,
  DeferredSemaphore,
  fail,
  FileSender,
  gatherResults,
  type IConsumer,
  inlineCallbacks,
  LifoQueue,
  PriorityQueue,
  ProtocolToConsumerAdapter,
  QueueOverflow,
  QueueShutDown,
  race,
  type ReadableFile,
  scope,
  shield,
  TaskStopped,
  wait,
} from 'plait';
import {
  Clock,
  failureResultOf,
  flushLoggedErrors,
  StringTransport,
  successResultOf,
} from 'plait/testing';
import t, { type Test } from '../fixture.ts';

const MANY = 20_000;

/** That all have been called, in order. */
function inOrder(t: Test, seen: readonly number[], count: number): void {
  t.equal(seen.length, count);
  t.ok(seen.every((n, index) => n === index));
}

for (const tokens of [1, 3]) {
  t.test(`FND-15: a hundred thousand who wait for ${tokens} are all let go on`, (t) => {
    const semaphore = tokens === 1 ? new DeferredLock() : new DeferredSemaphore(tokens);
    for (let n = 0; n < tokens; n++) void semaphore.acquire();
    const seen: number[] = [];
    for (let n = 0; n < 100_000; n++) {
      semaphore.acquire().addCallback(() => {
        seen.push(n);
        semaphore.release();
      });
    }
    for (let n = 0; n < tokens; n++) semaphore.release();
    inOrder(t, seen, 100_000);
    t.equal(semaphore.tokens, tokens);
    t.equal(semaphore.waiting, 0);
    t.equal(successResultOf(semaphore.acquire()), semaphore);
    t.end();
  });
}

t.test('FND-15: twenty thousand coroutines wait for a lock, and for a condition', (t) => {
  const lock = new DeferredLock();
  const seen: number[] = [];
  const work = inlineCallbacks(function* (n: number) {
    const held = yield* lock.acquire();
    try {
      seen.push(n);
    } finally {
      held.release();
    }
  });
  void lock.acquire();
  for (let n = 0; n < MANY; n++) void work(n);
  lock.release();
  inOrder(t, seen, MANY);
  t.equal(lock.locked, false);

  const condition = new DeferredCondition();
  const woken: number[] = [];
  const wait = inlineCallbacks(function* (n: number) {
    yield* condition.acquire();
    yield* condition.wait();
    woken.push(n);
    condition.release();
  });
  for (let n = 0; n < MANY; n++) void wait(n);
  void condition.acquire();
  condition.notify(10);
  condition.release();
  inOrder(t, woken, 10);
  void condition.acquire();
  condition.notifyAll();
  condition.release();
  inOrder(t, woken, MANY);
  t.end();
});

t.test('FND-15: twenty thousand locks, each let go by who gets the one before it', (t) => {
  const locks = Array.from({ length: MANY }, () => new DeferredLock());
  const seen: number[] = [];
  for (const [n, lock] of locks.entries()) {
    void lock.acquire();
    lock.acquire().addCallback(() => {
      seen.push(n);
      locks[n + 1]?.release();
    });
  }
  locks[0]?.release();
  inOrder(t, seen, MANY);
  t.end();
});

t.test('FND-15: who gets from a queue puts, and who puts gets', (t) => {
  for (const queue of [
    new DeferredQueue<number>(),
    new LifoQueue<number>(),
    new PriorityQueue<number>(),
  ]) {
    const seen: number[] = [];
    for (let n = 0; n < MANY; n++) {
      queue.get().addCallback((got) => {
        seen.push(got);
        if (got + 1 < MANY) queue.put(got + 1);
      });
    }
    queue.put(0);
    inOrder(t, seen, MANY);
  }
  for (const size of [0, 1, 7]) {
    const queue = new DeferredQueue<number>({ size });
    const seen: number[] = [];
    const told: number[] = [];
    const take = (): void => void queue.get().addCallback((got) => seen.push(got));
    for (let n = 0; n < MANY; n++) {
      const isFull = n >= size;
      queue.putWait(n).addCallback(() => {
        told.push(n);
        if (isFull) take();
      });
    }
    // It returns when all the others have had theirs.
    seen.unshift(successResultOf(queue.get()));
    while (queue.pending > 0) take();
    inOrder(t, seen, MANY);
    inOrder(t, told, MANY);
  }
  t.end();
});

t.test('FND-15: coroutines hand things on through a queue of one place', (t) => {
  const queue = new DeferredQueue<number>({ size: 1 });
  const seen: number[] = [];
  const put = inlineCallbacks(function* (n: number) {
    yield* queue.putWait(n);
    seen.push(yield* queue.get());
  });
  queue.put(-1);
  for (let n = 0; n < MANY; n++) void put(n);
  t.equal(successResultOf(queue.get()), -1);
  inOrder(t, seen, MANY);
  t.end();
});

t.test('FND-15: an event, a barrier, an AsyncResult and join, again and again from inside', (t) => {
  const event = new DeferredEvent();
  const seen: number[] = [];
  const round = (n: number): void => {
    seen.push(n);
    if (n + 1 === MANY) return;
    event.clear();
    event.wait().addCallback(() => {
      round(n + 1);
    });
    event.set();
  };
  event.wait().addCallback(() => {
    round(0);
  });
  event.set();
  inOrder(t, seen, MANY);

  const barrier = new DeferredBarrier(2);
  const rounds: number[] = [];
  const meet = (n: number): void => {
    barrier.wait().addCallback(() => {
      rounds.push(n);
      if (n + 1 < MANY) meet(n + 1);
    });
    if (n > 0) void barrier.wait();
  };
  meet(0);
  void barrier.wait();
  inOrder(t, rounds, MANY);

  const results = Array.from({ length: MANY }, () => new AsyncResult<number>());
  const read: number[] = [];
  for (const [n, result] of results.entries()) {
    result.get().addCallback((got) => {
      read.push(got);
      results[n + 1]?.set(n + 1);
    });
  }
  results[0]?.set(0);
  inOrder(t, read, MANY);

  const queue = new DeferredQueue<number>();
  const joined: number[] = [];
  const join = (n: number): void => {
    queue.put(n);
    queue.join().addCallback(() => {
      joined.push(n);
      if (n + 1 < MANY) join(n + 1);
    });
    queue.taskDone();
  };
  join(0);
  inOrder(t, joined, MANY);
  t.end();
});

t.test('FND-15: twenty thousand children of a scope end at once, or are cancelled at once', (t) => {
  const clock = new Clock();
  const event = new DeferredEvent();
  const ended: number[] = [];
  const wait = function* (n: number) {
    yield* event.wait();
    ended.push(n);
  };
  const work = scope(
    (s) => {
      for (let n = 0; n < MANY; n++) void s.spawn(wait, n);
    },
    { clock },
  );
  event.set();
  inOrder(t, ended, MANY);
  t.equal(work.state, 'succeeded');
  event.clear();
  const cut = scope(
    (s) => {
      for (let n = 0; n < MANY; n++) void s.spawn(wait, n);
    },
    { clock },
  );
  cut.cancel();
  failureResultOf(cut, CancelledError);
  t.equal(ended.length, MANY);
  t.end();
});

t.test('FND-15: what a waiter does when it is woken hurts no other', (t) => {
  const lock = new DeferredLock();
  const seen: string[] = [];
  void lock.acquire();
  const line = ['a', 'b', 'c', 'd', 'e'].map((name) =>
    lock.acquire().addCallback(() => seen.push(name)),
  );
  const [a, b, c, d] = line;
  a?.addCallback(() => {
    b?.cancel();
    lock.release();
    throw new RangeError('a');
  });
  b?.addErrback((failure) => seen.push(failure.trap(CancelledError).name));
  // Somebody has fired it who should not have.
  c?.callback(undefined as never);
  d?.addCallback(() => {
    void lock.acquire().addCallback(() => seen.push('again'));
    lock.release();
  });
  lock.release();
  failureResultOf(a as Deferred<unknown>, RangeError);
  t.same(seen, ['c', 'a', 'CancelledError', 'd', 'e']);
  lock.release();
  t.same(seen.slice(5), ['again']);
  lock.release();
  t.equal(lock.locked, false);
  t.end();
});

/** Calls `act` so deep inside of wakings that they are put off; what it puts off has been done on return. */
function deepInside(act: () => void): void {
  const lock = new DeferredLock();
  void lock.acquire();
  for (let n = 0; n < 70; n++)
    lock.acquire().addCallback(() => {
      if (n === 66) act();
      lock.release();
    });
  lock.release();
}

t.test('FND-15: what is cancelled before it could be told does not take anything along', (t) => {
  const semaphore = new DeferredSemaphore(2);
  void semaphore.acquire();
  void semaphore.acquire();
  const line = [0, 1, 2].map(() => semaphore.acquire());
  const queue = new DeferredQueue<string>();
  const getters = [0, 1].map(() => queue.get());
  const event = new DeferredEvent();
  const waiting = [0, 1].map(() => event.wait());
  deepInside(() => {
    semaphore.release();
    t.equal(line[0]?.called, false);
    t.equal(semaphore.tokens, 0);
    t.equal(semaphore.waiting, 2);
    line[0]?.cancel();
    queue.put('one');
    t.equal(queue.pending, 0);
    t.equal(queue.waiting, 1);
    getters[0]?.cancel();
    event.set();
    event.clear();
    waiting[0]?.cancel();
    waiting.push(event.wait());
  });
  for (const cancelled of [line[0], getters[0], waiting[0]])
    failureResultOf(cancelled as Deferred<unknown>, CancelledError);
  t.equal(successResultOf(line[1] as Deferred<unknown>), semaphore);
  t.equal(line[2]?.called, false);
  t.equal(successResultOf(getters[1] as Deferred<string>), 'one');
  t.equal(waiting[1]?.called, true);
  t.equal(waiting[2]?.called, false);
  t.end();
});

t.test('FND-15: a queue keeps its order where those who wait could not be told yet', (t) => {
  const queue = new DeferredQueue<number>({ size: 1 });
  const seen: (number | string)[] = [];
  const take = (): void => void queue.get().addCallback((got) => seen.push(got));
  queue.put(1);
  queue.putWait(2).addCallback(() => seen.push('put 2'));
  deepInside(() => {
    take();
    t.same(seen, [1]);
    t.throws(() => {
      queue.put(9);
    }, QueueOverflow);
    take();
    take();
    // There is room, and it comes after what waits for it.
    queue.put(3);
    queue.putWait(4).addCallback(() => seen.push('put 4'));
    t.same(seen, [1]);
  });
  t.same(seen, [1, 'put 2', 2, 3, 'put 4']);
  t.equal(queue.pending, 1);
  t.equal(successResultOf(queue.get()), 4);

  take();
  const late = queue.get();
  deepInside(() => {
    queue.put(5);
    queue.shutdown();
  });
  t.same(seen.slice(5), [5]);
  failureResultOf(late, QueueShutDown);
  t.end();
});

t.test('FND-15: what a queue has accepted is in it, whoever leaves meanwhile', (t) => {
  for (const immediate of [false, true]) {
    const queue = new DeferredQueue<string>();
    queue.size = 0;
    const told: string[] = [];
    const getters = [queue.get(), queue.get()];
    deepInside(() => {
      queue.putWait('first').addCallbacks(
        () => told.push('first'),
        (failure) => void failure.trap(QueueShutDown),
      );
      queue.put('second');
      t.equal(queue.unfinished, 1);
      t.equal(queue.waiting, 1);
      for (const getter of getters) getter.cancel();
      t.equal(queue.pending, 1);
      queue.putWait('third').addErrback((failure) => void failure.trap(QueueShutDown));
      if (immediate) queue.shutdown({ immediate });
    });
    for (const getter of getters) failureResultOf(getter, CancelledError);
    if (!immediate) {
      t.same(told, ['first']);
      t.equal(queue.pending, 2);
      t.equal(queue.unfinished, 2);
      queue.shutdown();
      for (const thing of ['first', 'second']) {
        t.equal(successResultOf(queue.get()), thing);
        queue.taskDone();
      }
    }
    t.equal(queue.pending, 0);
    t.equal(queue.unfinished, 0);
    failureResultOf(queue.get(), QueueShutDown);
  }
  t.end();
});

t.test('FND-15: random programs wake waiters as a simple line does', (t) => {
  const seed = Date.now() % 2 ** 31;
  t.comment(`seed ${seed}`);
  // What each waiter does when it is woken: lets so many go on, cancels one, joins again.
  const deed = fc.record({
    releases: fc.nat(2),
    cancels: fc.option(fc.nat(200)),
    joins: fc.boolean(),
    throws: fc.boolean(),
  });
  const program = fc.record({
    tokens: fc.integer({ min: 1, max: 4 }),
    deeds: fc.array(deed, { minLength: 1, maxLength: 200 }),
    deep: fc.boolean(),
  });
  const property = fc.property(program, ({ tokens, deeds, deep }) => {
    const semaphore = new DeferredSemaphore(tokens);
    const line: { readonly deferred: Deferred<unknown>; ended: number }[] = [];
    const woken: number[] = [];
    let held = 0;
    const join = (): void => {
      const n = line.length;
      const place = { deferred: semaphore.acquire() as Deferred<unknown>, ended: 0 };
      line.push(place);
      place.deferred.addCallbacks(
        () => {
          place.ended++;
          woken.push(n);
          held++;
          if (held > tokens) woken.push(-1);
          const act = deeds[n % deeds.length] as (typeof deeds)[number];
          if (act.cancels !== null) line[act.cancels % line.length]?.deferred.cancel();
          for (let left = act.releases; left > 0 && held > 0; left--) {
            held--;
            semaphore.release();
          }
          if (act.joins && line.length < 300) join();
          if (act.throws) throw new RangeError('thrown by a waiter');
        },
        (failure) => {
          failure.trap(CancelledError);
          place.ended++;
        },
      );
      place.deferred.addErrback((failure) => void failure.trap(RangeError));
    };
    const all = (): void => {
      for (let n = 0; n < deeds.length; n++) join();
    };
    if (deep) deepInside(all);
    else all();
    while (semaphore.waiting > 0 || held > 0) {
      held--;
      semaphore.release();
    }
    // Each has been woken or cancelled, once; in the order in which they came.
    return (
      line.every(({ ended }) => ended === 1) &&
      woken.every((n, index) => index === 0 || n > (woken[index - 1] as number)) &&
      semaphore.tokens === tokens
    );
  });
  fc.assert(property, { seed, numRuns: 300 });
  t.end();
});

t.test('FND-15: what a queue has accepted is not lost with the getter that it was for', (t) => {
  for (const shutDown of [false, true]) {
    const queue = new DeferredQueue<string>({ size: 0 });
    const line = [queue.get(), queue.get()];
    let waited: Deferred<void> | undefined;
    deepInside(() => {
      waited = queue.putWait('a');
      queue.put('b');
      line[1]?.cancel();
      line[0]?.addCallback((thing) => {
        if (shutDown) queue.shutdown();
        return thing;
      });
    });
    failureResultOf(line[1] as Deferred<string>, CancelledError);
    t.equal(successResultOf(line[0] as Deferred<string>), 'a');
    successResultOf(waited as Deferred<void>);
    t.equal(queue.pending, 1);
    t.equal(successResultOf(queue.get()), 'b');
    t.equal(queue.pending, 0);
    t.equal(queue.unfinished, 2);
    queue.shutdown({ immediate: true });
  }
  t.end();
});

t.test('FND-15: random programs pass things through a queue as a simple line does', (t) => {
  const seed = Date.now() % 2 ** 31;
  t.comment(`seed ${seed}`);
  const deed = fc.constantFrom('get', 'put', 'putWait', 'cancelGet', 'cancelPut', 'nothing');
  const program = fc.record({
    size: fc.constantFrom(0, 1, 3, 200),
    deeds: fc.array(fc.array(deed, { maxLength: 3 }), { minLength: 1, maxLength: 150 }),
    deep: fc.boolean(),
  });
  const property = fc.property(program, ({ size, deeds, deep }) => {
    const queue = new DeferredQueue<number>({ size });
    const put: number[] = [];
    /** In the order in which they were asked for. */
    const got: (number | undefined)[] = [];
    const getters: Deferred<unknown>[] = [];
    const putters: Deferred<unknown>[] = [];
    let made = 0;
    let acts = 0;
    const act = (): void => {
      if (acts >= 400) return;
      for (const kind of deeds[acts++ % deeds.length] ?? []) {
        if (kind === 'get') get();
        else if (kind === 'putWait') putWait(made++);
        else if (kind === 'cancelGet') getters[acts % 7]?.cancel();
        else if (kind === 'cancelPut') putters[acts % 7]?.cancel();
        else if (kind === 'put') {
          const thing = made++;
          try {
            put.push(thing);
            queue.put(thing);
          } catch (error) {
            if (!(error instanceof QueueOverflow)) throw error;
            put.splice(put.indexOf(thing), 1);
          }
        }
      }
    };
    const get = (): void => {
      const at = got.push(undefined) - 1;
      const getter: Deferred<unknown> = queue.get().addCallback((thing) => {
        got[at] = thing;
        act();
      });
      getters.push(getter.addErrback((failure) => void failure.trap(CancelledError)));
    };
    const putWait = (thing: number): void => {
      put.push(thing);
      const putter: Deferred<unknown> = queue.putWait(thing).addCallback(act);
      putters.push(
        putter.addErrback((failure) => {
          failure.trap(CancelledError, QueueShutDown);
          put.splice(put.indexOf(thing), 1);
        }),
      );
    };
    const actAll = (): void => {
      for (let n = 0; n < deeds.length; n++) act();
    };
    if (deep) deepInside(actAll);
    else actAll();
    acts = Infinity;
    while (queue.pending > 0) get();
    queue.shutdown();
    for (const getter of getters) getter.addErrback((failure) => void failure.trap(QueueShutDown));
    // What was put has come out, once, in the order in which it was put.
    const all = got.filter((thing) => thing !== undefined);
    return all.length === put.length && all.every((thing, index) => thing === put[index]);
  });
  fc.assert(property, { seed: 565_914_262, numRuns: 500 });
  fc.assert(property, { seed, numRuns: 500 });
  t.end();
});

t.test('FND-15: twenty thousand lists, each of which waits for the one before it', (t) => {
  for (const around of [
    (inner: Deferred<unknown>) => gatherResults([inner]).addCallback(([value]) => value),
    (inner: Deferred<unknown>) => new DeferredList([inner]).addCallback(([[, value]]) => value),
    (inner: Deferred<unknown>) => race([inner]).addCallback(([, value]) => value),
    (inner: Deferred<unknown>) => shield(inner),
    (inner: Deferred<unknown>) => [...asCompleted([inner])][0] as Deferred<unknown>,
    (inner: Deferred<unknown>) => wait([inner]).addCallback(() => 'the value'),
  ]) {
    const first = new Deferred<unknown>();
    let last = first;
    for (let n = 0; n < MANY; n++) last = around(last);
    first.callback('the value');
    t.equal(successResultOf(last), 'the value');
  }
  const many = Array.from({ length: MANY }, () => new Deferred<number>());
  const waited = wait(many);
  for (const [n, deferred] of many.entries()) deferred.callback(n);
  t.equal(successResultOf(waited).done.length, MANY);
  t.end();
});

/** A Cooperator whose turns are taken by hand, one piece each. */
function byHand(options: CooperatorOptions = {}) {
  const clock = new Clock();
  const cooperator = new Cooperator({
    scheduler: (turn) => clock.callLater(1, turn),
    terminationPredicateFactory: () => () => true,
    ...options,
  });
  return { clock, cooperator };
}

t.test('FND-83: a task whose iterator returns nonsense fails, and no other', (t) => {
  const { clock, cooperator } = byHand();
  const nonsense: unknown[] = [
    { next() {} },
    { next: () => 5 },
    { next: () => null },
    {
      next: () => ({
        get done() {
          throw new RangeError('done');
        },
      }),
    },
    {
      next: () => ({
        get value() {
          throw new RangeError('value');
        },
      }),
    },
    {
      next: () => ({
        value: new Proxy(
          {},
          {
            getPrototypeOf() {
              throw new RangeError('proxy');
            },
          },
        ),
      }),
    },
  ];
  for (const none of [{}, undefined])
    t.throws(() => cooperator.coiterate(none as unknown as Iterator<unknown>), TypeError);
  const failed = nonsense.map((iterator) => cooperator.coiterate(iterator as Iterator<unknown>));
  let steps = 0;
  const good = cooperator.coiterate(
    (function* () {
      for (; steps < 3; steps++) yield;
    })(),
  );
  for (let n = 0; n < 20; n++) clock.advance(1);
  for (const deferred of failed) failureResultOf(deferred, TypeError, RangeError);
  t.equal(steps, 3);
  t.equal(good.called, true);
  t.end();
});

t.test('FND-83: an iterator whose next() returns a promise fails, and is asked once', async (t) => {
  const { clock, cooperator } = byHand();
  let asked = 0;
  const counting = (outcome: () => unknown) => ({
    next() {
      asked++;
      return outcome();
    },
  });
  async function* brewing() {
    asked++;
    await Promise.reject(new RangeError('no water'));
    yield 'tea';
  }
  const iterators: unknown[] = [
    brewing(),
    counting(() => Promise.resolve({ done: true })),
    // What comes of them is not awaited: neither may end the process, or be reported as unhandled.
    counting(() => Promise.reject(new RangeError('no tea'))),
    counting(() => fail(new RangeError('no cups'))),
    counting(() => (function* () {})()),
  ];
  const failed = iterators.map((iterator) => cooperator.coiterate(iterator as Iterator<unknown>));
  for (let n = 0; n < 20; n++) clock.advance(1);
  for (const deferred of failed)
    t.match(
      failureResultOf(deferred, TypeError).value.message,
      /^next\(\) of an iterator returned/,
    );
  t.equal(asked, iterators.length);
  await new Promise(setImmediate);
});

t.test('FND-83: a task waits for a promise that is yielded', async (t) => {
  const { clock, cooperator } = byHand();
  const good = cooperator.coiterate([Promise.resolve(1)].values());
  const bad = cooperator.coiterate([Promise.reject(new RangeError('no'))].values());
  clock.advance(1);
  clock.advance(1);
  t.equal(good.called, false);
  await new Promise(setImmediate);
  failureResultOf(bad, RangeError);
  clock.advance(1);
  t.equal(good.called, true);
});

t.test('FND-83: a task that stops itself in its step, and whatever it does then', (t) => {
  const { clock, cooperator } = byHand();
  for (const then of ['ends', 'throws', 'goes on'] as const) {
    const task: CooperativeTask = cooperator.cooperate({
      next() {
        task.stop();
        if (then === 'throws') throw new RangeError('after the end');
        return { done: then === 'ends', value: undefined };
      },
    });
    clock.advance(1);
    failureResultOf(task.whenDone(), TaskStopped);
  }
  t.equal(flushLoggedErrors(RangeError).length, 1);
  const [one, two] = [cooperator.cooperate([1].values()), cooperator.cooperate([2].values())];
  one.whenDone().addErrback(() => {
    two.stop();
  });
  two.whenDone().addErrback(() => {});
  cooperator.stop();
  t.throws(() => {
    two.stop();
  }, TaskStopped);
  t.end();
});

t.test('FND-83: a termination predicate that throws does not stop the tasks', (t) => {
  for (const terminationPredicateFactory of [
    () => () => {
      throw new RangeError('no predicate');
    },
    () => {
      throw new RangeError('no factory');
    },
  ]) {
    const { clock, cooperator } = byHand({ terminationPredicateFactory });
    const done = cooperator.coiterate([1, 2].values());
    clock.advance(1);
    t.equal(flushLoggedErrors(RangeError).length, 1, 'the turn is over after one piece');
    for (let n = 0; n < 2; n++) clock.advance(1);
    t.equal(done.called, true);
    t.equal(flushLoggedErrors(RangeError).length, 2);
  }
  t.end();
});

t.test('FND-22: whom a token is for already, nothing else may have it', (t) => {
  const semaphore = new DeferredSemaphore(2);
  const acquired = [semaphore.acquire(), semaphore.acquire(), semaphore.acquire()];
  deepInside(() => {
    semaphore.release();
    t.equal(acquired[2]?.called, false, 'it has only not been told yet');
    t.same([semaphore.tokens, semaphore.waiting], [0, 0]);
  });
  t.equal(acquired[2]?.called, true);
  t.end();
});

t.test('FND-83: a source that returns nonsense fails its transfer', async (t) => {
  const file = (bytesRead: unknown): ReadableFile => ({
    read: () => Promise.resolve({ bytesRead: bytesRead as number }),
  });
  const iterator = (result: unknown) => ({
    [Symbol.iterator]: () => ({ next: () => result as IteratorResult<string> }),
  });
  const sources = [
    ...[NaN, -1, 2 ** 20, undefined, '5', 0.5].map(file),
    ...[{ value: undefined }, { value: 5 }].map(iterator),
  ];
  for (const source of sources) {
    const transport = new StringTransport();
    const sent = new FileSender().beginFileTransfer(source, transport);
    transport.producer?.resumeProducing();
    for (let n = 0; n < 10 && !sent.called; n++) await new Promise(setImmediate);
    const { message } = failureResultOf(sent, RangeError, TypeError).value;
    t.match(message, /^(read\(\) of a file must|next\(\) of an iterator must|cannot send )/);
    t.equal(transport.producer, undefined);
  }
});

t.test('FND-83: a source whose next() returns no object is told so', async (t) => {
  for (const result of [undefined, null, 5]) {
    const transport = new StringTransport();
    const source = { [Symbol.iterator]: () => ({ next: () => result as never }) };
    const sent = new FileSender().beginFileTransfer(source, transport);
    transport.producer?.resumeProducing();
    for (let n = 0; n < 10 && !sent.called; n++) await new Promise(setImmediate);
    t.match(failureResultOf(sent, TypeError).value.message, /^next\(\) of an iterator must/);
  }
});

t.test('FND-83: empty pieces cost a source nothing: what comes after them is sent', async (t) => {
  const transport = new StringTransport();
  const sender = new FileSender();
  const source = function* () {
    for (let n = 0; n < 150; n++) yield '';
    yield 'tea';
  };
  const sent = sender.beginFileTransfer(source(), transport);
  transport.producer?.resumeProducing();
  for (let n = 0; n < 10 && transport.value().length === 0; n++) await new Promise(setImmediate);
  t.equal(transport.value().toString(), 'tea');
  transport.producer?.resumeProducing();
  await sent;

  // One that is cancelled meanwhile asks nothing of the next.
  const endless = sender.beginFileTransfer(
    (function* () {
      for (;;) yield '';
    })(),
    transport,
  );
  transport.producer?.resumeProducing();
  for (let n = 0; n < 3000; n++) await Promise.resolve();
  endless.cancel();
  failureResultOf(endless, CancelledError);
  const next = sender.beginFileTransfer(['more'].values(), transport);
  for (let n = 0; n < 5; n++) await new Promise(setImmediate);
  t.equal(transport.value().toString(), 'tea', 'it was not asked for anything');
  next.cancel();
  failureResultOf(next, CancelledError);
});

t.test('FND-83: an endless source of empty pieces lets others have their turn', async (t) => {
  const transport = new StringTransport();
  const sent = new FileSender().beginFileTransfer(
    (function* () {
      for (;;) yield '';
    })(),
    transport,
  );
  transport.producer?.resumeProducing();
  await new Promise(setImmediate);
  sent.cancel();
  failureResultOf(sent, CancelledError);
  await new Promise(setImmediate);

  const proxy = new BasicProducerConsumerProxy(new StringTransport());
  const adapter = new ProtocolToConsumerAdapter({ dataReceived() {} });
  for (const consumer of [proxy, adapter]) {
    let asked = 0;
    const endless = {
      resumeProducing() {
        asked++;
        (consumer as IConsumer).write('');
      },
      stopProducing() {},
    };
    consumer.registerProducer(endless, false);
    const before = asked;
    await new Promise(setImmediate);
    t.ok(asked > before);
    consumer.unregisterProducer();
    await new Promise(setImmediate);
  }
});

t.test('FND-89: a PriorityQueue whose function throws keeps its things, and their order', (t) => {
  const seed = Date.now() % 2 ** 31;
  t.comment(`seed ${seed}`);
  const deed = fc.record({ put: fc.boolean(), thing: fc.nat(20), throwsAfter: fc.nat(8) });
  const property = fc.property(fc.array(deed, { maxLength: 60 }), (deeds) => {
    let left = Infinity;
    const queue = new PriorityQueue<number>((a, b) => {
      if (left-- === 0) throw new RangeError('cannot compare');
      return a - b;
    });
    const model: number[] = [];
    const least = (): number | undefined => model.sort((a, b) => a - b).shift();
    for (const { put, thing, throwsAfter } of deeds) {
      left = throwsAfter;
      try {
        if (put) {
          queue.put(thing);
          model.push(thing);
        } else if (queue.pending > 0) {
          if (successResultOf(queue.get()) !== least()) return false;
        }
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
      }
      if (queue.pending !== model.length || queue.unfinished < model.length) return false;
    }
    left = Infinity;
    while (queue.pending > 0) if (successResultOf(queue.get()) !== least()) return false;
    return model.length === 0;
  });
  fc.assert(property, { seed, numRuns: 500 });
  t.end();
});

t.test(
  'FND-89: who waits to put or to get hears of it, and the queue cannot be used within',
  (t) => {
    let throws = false;
    const queue: PriorityQueue<number> = new PriorityQueue<number>(
      (a, b) => {
        if (throws) throw new RangeError('cannot compare');
        return a - b;
      },
      { size: 3 },
    );
    for (const thing of [3, 2, 1]) queue.put(thing);
    const put = queue.putWait(0);
    throws = true;
    t.throws(() => queue.get(), RangeError);
    t.equal(queue.pending, 3);
    queue.size = 4;
    failureResultOf(put, RangeError);
    t.equal(queue.pending, 3);
    throws = false;
    t.equal(successResultOf(queue.get()), 1);
    t.equal(successResultOf(queue.get()), 2);
    t.equal(successResultOf(queue.get()), 3);

    const getters = [queue.get(), queue.get(), queue.get()];
    deepInside(() => {
      for (const thing of [6, 5, 4]) queue.put(thing);
      throws = true;
    });
    for (const getter of getters) failureResultOf(getter, RangeError);
    throws = false;
    t.equal(queue.pending, 3);
    t.equal(queue.unfinished, 6);
    queue.shutdown({ immediate: true });

    const within: PriorityQueue<number> = new PriorityQueue<number>((a, b) => {
      within.put(9);
      return a - b;
    });
    within.put(1);
    t.throws(() => {
      within.put(2);
    }, /cannot be used by the function/);
    t.equal(within.pending, 1);
    t.throws(() => {
      within.put(new Deferred<number>() as never);
    }, TypeError);
    t.end();
  },
);
