/** Coroutines where they are run, nest and fail: lib/coroutine.ts, inline.ts and awaited.ts. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  CancelledError,
  type Coroutine,
  Deferred,
  ensureDeferred,
  fail,
  Failure,
  FirstError,
  gatherResults,
  inlineCallbacks,
  maybeDeferred,
  race,
  setDebugging,
  succeed,
  TimeoutError,
} from 'plait';
import {
  assertNoResult,
  Clock,
  failureResultOf,
  flushLoggedErrors,
  successResultOf,
} from 'plait/testing';
import t from '../fixture.ts';

const tooMany = () => new RangeError('7 is too many');

/** A generator as a compiler for old engines makes it: no native one, but with the same methods. */
function compiled<R>(generator: Coroutine<R>): Coroutine<R> {
  return {
    next: (sent: unknown) => generator.next(sent),
    throw: (error: unknown) => generator.throw(error),
    return: (value: R) => generator.return(value),
    [Symbol.iterator]() {
      return this;
    },
  } as Coroutine<R>;
}

t.test('FND-06: a generator that comes from a function is run as a coroutine', async (t) => {
  function* later<T>(value: T | Deferred<T>, log: string[] = []): Coroutine<T> {
    log.push('began');
    const result = value instanceof Deferred ? yield* value : value;
    log.push('ended');
    return result;
  }

  for (const [name, made] of [
    ['native', <R>(generator: Coroutine<R>) => generator],
    ['compiled', compiled],
  ] as const) {
    await t.test(`${name}, from a callback`, async () => {
      const log: string[] = [];
      const inner = new Deferred<number>();
      const outer = succeed('x')
        .addCallback(() => made(later(inner, log)))
        .addCallback((n) => n + 1);
      assert.deepEqual(log, ['began']);
      assert.equal(outer.state, 'waiting');
      inner.callback(4);
      assert.deepEqual(log, ['began', 'ended']);
      assert.equal(successResultOf(outer), 5);
    });

    await t.test(`${name}, from each kind of callback, at once`, async () => {
      assert.equal(successResultOf(succeed(1).addCallback(() => made(later('ok')))), 'ok');
      assert.equal(successResultOf(fail(tooMany()).addErrback(() => made(later('bad')))), 'bad');
      assert.equal(successResultOf(succeed(1).addBoth(() => made(later('both')))), 'both');
      assert.equal(successResultOf(fail(tooMany()).addBoth(() => made(later('both')))), 'both');
      const sides = (d: Deferred<number>) =>
        d.addCallbacks(
          () => made(later('ok')),
          () => made(later('bad')),
        );
      assert.equal(successResultOf(sides(succeed(1))), 'ok');
      assert.equal(successResultOf(sides(fail(tooMany()))), 'bad');
    });

    await t.test(`${name}, from maybeDeferred, a promise and another coroutine`, async () => {
      assert.equal(successResultOf(maybeDeferred(() => made(later(3)))), 3);
      assert.equal(await Deferred.fromPromise(Promise.resolve(made(later(3)))), 3);
      const outer = inlineCallbacks(function* () {
        yield* succeed(0);
        return made(later(later(7)));
      });
      assert.equal(successResultOf(outer()), 7);
    });
  }

  await t.test('what it throws is the failure', async () => {
    const broken = succeed(1).addCallback(function* () {
      yield* succeed(2);
      throw tooMany();
    });
    assert.equal(failureResultOf(broken).getErrorMessage(), '7 is too many');
    const waiting = new Deferred<number>();
    const later = maybeDeferred(function* () {
      return yield* waiting;
    });
    waiting.errback(tooMany());
    assert.equal(failureResultOf(later).getErrorMessage(), '7 is too many');
  });

  await t.test('a Failure that it returns is the failure', async () => {
    const failed = succeed(1).addCallback(function* () {
      yield* succeed(2);
      return new Failure(tooMany());
    });
    failureResultOf(failed, RangeError);
  });

  await t.test('cancelling reaches what it waits for', async () => {
    const log: string[] = [];
    const outer = succeed(1).addCallback(function* () {
      yield* new Deferred<void>(() => log.push('cancelled'));
    });
    outer.cancel();
    assert.deepEqual(log, ['cancelled']);
    failureResultOf(outer, CancelledError);
  });

  await t.test('what it adds to the chain that it is returned into runs behind it', async () => {
    const log: unknown[] = [];
    const outer = new Deferred<number>();
    outer.addCallback(function* (n) {
      outer.addCallback((value) => {
        log.push(value);
        return value;
      });
      return n + (yield* succeed(1));
    });
    outer.callback(1);
    assert.deepEqual(log, [2]);
    const settled = maybeDeferred(function* (): Coroutine<number> {
      yield* succeed(1);
      return 2;
    });
    assert.equal(successResultOf(settled), 2);
  });

  await t.test('while it begins, the Deferred has the result that it had', async () => {
    const seen: unknown[] = [];
    const outer = succeed(1);
    outer.addCallback(function* () {
      seen.push(outer.result);
      yield* succeed(2);
      seen.push(outer.result);
      return 3;
    });
    assert.deepEqual(seen, [1, 1]);
  });

  await t.test(
    'a thenable that adds to the chain it is returned into does so behind it',
    async () => {
      const log: unknown[] = [];
      const outer = new Deferred<number>();
      outer.addCallback(() => ({
        then(resolve: (value: string) => void) {
          outer.addCallback((value) => log.push(value));
          resolve('value');
        },
      }));
      outer.callback(1);
      assert.deepEqual(log, ['value']);
    },
  );

  await t.test('a function with a then is a thenable everywhere', async () => {
    const thenable = Object.assign(() => {}, {
      then: (resolve: (value: number) => void) => {
        resolve(5);
      },
    }) as unknown as PromiseLike<number>;
    assert.equal(successResultOf(succeed(1).addCallback(() => thenable)), 5);
    assert.equal(successResultOf(maybeDeferred(() => thenable)), 5);
    const last = inlineCallbacks(function* () {
      yield* succeed(0);
      return thenable;
    });
    assert.equal(successResultOf(last()), 5);
  });

  await t.test('one that is passed to callback() is just a value', async () => {
    const generator = later(1);
    const deferred = new Deferred<Coroutine<number>>();
    deferred.callback(generator);
    assert.equal(successResultOf(deferred), generator);
  });

  await t.test('other iterators stay values', async () => {
    const iterators = [[1, 2].values(), new Map([[1, 2]]).entries(), 'text'[Symbol.iterator]()];
    for (const iterator of iterators)
      assert.equal(successResultOf(succeed(1).addCallback((): unknown => iterator)), iterator);
  });

  await t.test(
    'one that waits for the Deferred it was returned into does not disturb it',
    async () => {
      const outer = new Deferred<number>();
      outer.addCallback(function* () {
        yield outer;
      });
      outer.callback(1);
      assertNoResult(outer);
    },
  );
});

t.test('FND-16: a coroutine that calls itself', async (t) => {
  const LEVELS = 20_000;
  type Recursion = (level: number) => Deferred<number>;

  /** Ways to call oneself; each waits for `bottom` at its end. */
  const ways: Record<string, (bottom: () => Deferred<number>) => Recursion> = {
    'by yield*': (bottom) => {
      const f: Recursion = inlineCallbacks(function* (n: number) {
        return n === 0 ? yield* bottom() : (yield* f(n - 1)) + 1;
      });
      return f;
    },
    'by a plain yield': (bottom) => {
      const f: Recursion = inlineCallbacks(function* (n: number): Coroutine<number> {
        return n === 0 ? yield* bottom() : ((yield f(n - 1)) as number) + 1;
      });
      return f;
    },
    'by a yielded generator': (bottom) => {
      function* g(n: number): Coroutine<number> {
        return n === 0 ? yield* bottom() : ((yield g(n - 1)) as number) + 1;
      }
      return (n) => ensureDeferred(g(n));
    },
    'by ensureDeferred': (bottom) => {
      function* g(n: number): Coroutine<number> {
        return n === 0 ? yield* bottom() : (yield* ensureDeferred(g(n - 1))) + 1;
      }
      return (n) => ensureDeferred(g(n));
    },
    'by maybeDeferred': (bottom) => {
      function* g(n: number): Coroutine<number> {
        return n === 0 ? yield* bottom() : (yield* maybeDeferred(g, n - 1)) + 1;
      }
      return (n) => maybeDeferred(g, n);
    },
    'from a callback': (bottom) => {
      const f: Recursion = inlineCallbacks(function* (n: number) {
        return n === 0 ? yield* bottom() : (yield* succeed(n - 1).addCallback((m) => f(m))) + 1;
      });
      return f;
    },
    'as a callback': (bottom) => {
      function* g(n: number): Coroutine<number> {
        return n === 0 ? yield* bottom() : (yield* succeed(n - 1).addCallback(g)) + 1;
      }
      return (n) => ensureDeferred(g(n));
    },
  };

  for (const [name, way] of Object.entries(ways)) {
    await t.test(`${name}, to a result that is there, and one that comes later`, async () => {
      assert.equal(successResultOf(way(() => succeed(0))(LEVELS)), LEVELS);
      const gate = new Deferred<number>();
      const waiting = way(() => gate)(LEVELS);
      assertNoResult(waiting);
      gate.callback(0);
      assert.equal(successResultOf(waiting), LEVELS);
    });

    await t.test(`${name}, to a failure, and cancelled`, async () => {
      failureResultOf(way(() => fail(tooMany()))(LEVELS), RangeError);
      const log: string[] = [];
      const waiting = way(() => new Deferred<number>(() => log.push('cancelled')))(LEVELS);
      waiting.cancel();
      assert.deepEqual(log, ['cancelled']);
      failureResultOf(waiting, CancelledError);
    });
  }

  await t.test('by returning itself, and after each wait', async () => {
    const f: Recursion = inlineCallbacks(function* (n: number) {
      yield* succeed(n);
      return n === 0 ? 0 : f(n - 1);
    });
    assert.equal(successResultOf(f(LEVELS)), 0);
  });

  await t.test('begins at once as long as it is not a thousand deep', async () => {
    const log: number[] = [];
    const f: Recursion = inlineCallbacks(function* (n: number) {
      if (n === 0) return 0;
      const inner = f(n - 1);
      log.push(n);
      return yield* inner;
    });
    successResultOf(f(500));
    assert.deepEqual(
      log,
      Array.from({ length: 500 }, (_, i) => i + 1),
    );
  });

  await t.test('without end fails, and the next works', async () => {
    let bottom = 0;
    const messages: string[] = [];
    // It does not wait for what it calls: that takes a million levels less time to fail.
    const f: (n: number) => Deferred<void> = inlineCallbacks(function* (n: number) {
      bottom = n;
      f(n + 1).addErrback((failure) => {
        messages.push(failure.getErrorMessage());
      });
      yield;
    });
    successResultOf(f(0));
    assert.deepEqual(messages, ['coroutines call one another 1000000 levels deep']);
    assert.ok(bottom > 900_000);
    const g: Recursion = inlineCallbacks(function* (n: number) {
      return n === 0 ? yield* succeed(0) : (yield* g(n - 1)) + 1;
    });
    assert.equal(successResultOf(g(5000)), 5000);
  });

  await t.test(
    'one of which fires what the next waits for is resumed without a stack',
    async () => {
      const gates = Array.from({ length: LEVELS }, () => new Deferred<number>());
      const link = inlineCallbacks(function* (i: number) {
        const value = yield* gates[i] as Deferred<number>;
        gates[i + 1]?.callback(value + 1);
        return value;
      });
      const all = gates.map((_, i) => link(i));
      gates[0]?.callback(0);
      assert.equal(successResultOf(all.at(-1) as Deferred<number>), LEVELS - 1);
    },
  );

  await t.test('by yield* of a bare generator goes as deep as the engine does', async () => {
    function* g(n: number): Coroutine<number> {
      return n === 0 ? yield* succeed(0) : (yield* g(n - 1)) + 1;
    }
    assert.equal(successResultOf(ensureDeferred(g(1000))), 1000);
    failureResultOf(ensureDeferred(g(1_000_000)), RangeError);
  });
});

t.test('FND-8A: thenables that call back at once with another', async (t) => {
  const LEVELS = 1_000_000;
  type Thenable = PromiseLike<unknown>;
  const giving = (value: unknown): Thenable =>
    ({ then: (resolve: (value: unknown) => void) => resolve(value) }) as unknown as Thenable;
  const nested = (value: unknown, levels: number): Thenable => {
    let outer = giving(value);
    for (let i = 1; i < levels; i++) outer = giving(outer);
    return outer;
  };

  await t.test('wherever they come from, as deep as they like', async () => {
    assert.equal(successResultOf(succeed(0).addCallback(() => nested('end', LEVELS))), 'end');
    assert.equal(successResultOf(Deferred.fromPromise(nested('end', LEVELS))), 'end');
    const walk = inlineCallbacks(function* () {
      const end: unknown = yield nested('end', 100_000);
      return end;
    });
    assert.equal(successResultOf(walk()), 'end');
    const last = inlineCallbacks(function* () {
      yield* succeed(0);
      return nested('end', 100_000);
    });
    assert.equal(successResultOf(last()), 'end');
    assert.equal(successResultOf(maybeDeferred(() => nested('end', 100_000))), 'end');
  });

  await t.test('and in the end with a Deferred, a failure, a coroutine, or later', async () => {
    const from = (value: unknown) => Deferred.fromPromise(nested(value, 100));
    const later = new Deferred<string>();
    const outer = from(later);
    assertNoResult(outer);
    later.callback('later');
    assert.equal(successResultOf(outer), 'later');
    failureResultOf(from(new Failure(tooMany())), RangeError);
    failureResultOf(from({ then: (_: unknown, reject: (e: Error) => void) => reject(tooMany()) }));
    const coroutine = from(
      (function* () {
        return yield* succeed('coroutine');
      })(),
    );
    assert.equal(successResultOf(coroutine), 'coroutine');
    assert.equal(await from(Promise.resolve('promise')), 'promise');
    const slow = {
      then: (resolve: (value: unknown) => void) => queueMicrotask(() => resolve(nested('x', 100))),
    };
    assert.equal(await from(slow), 'x');
  });

  await t.test('one of them throwing when it is looked at, or calling back twice', async () => {
    const broken = {
      get then(): never {
        throw tooMany();
      },
    };
    failureResultOf(Deferred.fromPromise(nested(broken, 10)), RangeError);
    const twice = {
      then(resolve: (value: unknown) => void) {
        resolve(nested('first', 10));
        resolve('second');
        throw tooMany();
      },
    } as unknown as Thenable;
    assert.equal(successResultOf(Deferred.fromPromise(twice)), 'first');
  });

  await t.test('for ever are given up', async () => {
    const self = { then: (resolve: (value: unknown) => void) => resolve(self) };
    const endless = Deferred.fromPromise(self as unknown as Thenable);
    assert.match(failureResultOf(endless, RangeError).getErrorMessage(), /each gave another/);
  });
});

t.test('FND-21: what a coroutine enters by AsyncLocalStorage.enterWith', async (t) => {
  const storage = new AsyncLocalStorage<string>();
  t.teardown(() => storage.disable());

  await t.test("in its first step is its own, from then on, and not the caller's", async () => {
    const gate = new Deferred<void>();
    const seen: unknown[] = [];
    const inner = inlineCallbacks(function* () {
      seen.push(storage.getStore());
      storage.enterWith('inner');
      yield* succeed(0);
      seen.push(storage.getStore());
    });
    const outer = inlineCallbacks(function* () {
      storage.enterWith('outer');
      yield* inner();
      seen.push(storage.getStore());
      try {
        yield* gate;
        seen.push(storage.getStore());
      } finally {
        yield* inner();
        seen.push(storage.getStore());
      }
    });
    storage.run('caller', () => {
      const running = outer();
      assert.equal(storage.getStore(), 'caller');
      gate.callback();
      successResultOf(running);
      assert.equal(storage.getStore(), 'caller');
    });
    assert.deepEqual(seen, ['outer', 'inner', 'outer', 'outer', 'outer', 'inner', 'outer']);
  });

  await t.test('is its own too if it begins when the stack has unwound', async () => {
    const seen = new Set<unknown>();
    const f: (n: number) => Deferred<void> = inlineCallbacks(function* (n: number) {
      seen.add(storage.getStore());
      storage.enterWith(n % 2 === 0 ? 'even' : 'odd');
      if (n > 0) yield* f(n - 1);
      assert.equal(storage.getStore(), n % 2 === 0 ? 'even' : 'odd');
    });
    storage.run('caller', () => {
      successResultOf(f(3000));
      assert.equal(storage.getStore(), 'caller');
    });
    assert.deepEqual([...seen], ['caller', 'even', 'odd']);
  });
});

t.test('FND-24: where a failure was awaited', async (t) => {
  const failing = inlineCallbacks(function* failing(gate: Deferred<void>) {
    yield* gate;
    throw tooMany();
  });

  await t.test('stands right behind where it was thrown, without frames of plait', async (t) => {
    const outer = inlineCallbacks(function* outer(gate: Deferred<void>) {
      yield* failing(gate);
    });
    const trace = () => {
      const gate = new Deferred<void>();
      const running = outer(gate);
      gate.callback();
      return failureResultOf(running).getTraceback();
    };
    const folded = trace();
    assert.match(folded, /at failing \(.*\n(?:\s+at .*\n)*\s+awaited at outer \(/);
    assert.doesNotMatch(folded, /coroutine\.ts:|defer\.ts:|runInAsyncScope|\.next \(/);
    // One that is cut off within what runs the coroutines.
    const deep = inlineCallbacks(function* deep(n: number): Coroutine<void> {
      if (n === 0) throw tooMany();
      yield deep(n - 1);
    });
    const cut = failureResultOf(deep(2)).getTraceback();
    assert.match(cut, /awaited at deep/);
    assert.doesNotMatch(cut, /coroutine\.ts:|defer\.ts:|runInAsyncScope|\.next \(/);
    setDebugging(true);
    t.teardown(() => setDebugging(false));
    assert.match(trace(), /coroutine\.ts:/);
  });

  await t.test('names the coroutine at a plain yield too, and once', async (t) => {
    const plain = inlineCallbacks(function* plain(gate: Deferred<void>) {
      yield failing(gate);
    });
    const outermost = inlineCallbacks(function* outermost(gate: Deferred<void>) {
      yield* plain(gate);
    });
    const trace = (start: (gate: Deferred<void>) => Deferred<unknown>) => {
      const gate = new Deferred<void>();
      const running = start(gate);
      gate.callback();
      return failureResultOf(running).getTraceback();
    };
    const lines = trace(outermost).match(/awaited at .*/g) ?? [];
    assert.equal(lines.length, 2);
    assert.equal(lines[0], 'awaited at plain (a plain yield)');
    assert.match(lines[1] ?? '', /awaited at outermost \(.*coroutine\.test\.ts/);
    const nameless = (gate: Deferred<void>) =>
      ensureDeferred(
        (function* () {
          yield failing(gate);
        })(),
      );
    assert.match(trace(nameless), /awaited at a generator \(a plain yield\)/);
    setDebugging(true);
    t.teardown(() => setDebugging(false));
    assert.match(trace(plain), /awaited at plain \(a plain yield; called at .*test\.ts:\d+:\d+\)/);
  });

  await t.test('has at most 50 lines, however many wait', async () => {
    const f: (n: number) => Deferred<number> = inlineCallbacks(function* f(
      n: number,
    ): Coroutine<number> {
      if (n === 0) throw tooMany();
      return n % 2 === 0 ? yield* f(n - 1) : ((yield f(n - 1)) as number);
    });
    const failure = failureResultOf(f(200));
    // From Node 22 on, what is printed has one line for those that are alike; the stack has them all.
    assert.match(failure.getTraceback(), /awaited at/);
    assert.equal(failure.value.stack?.match(/awaited at/g)?.length, 50);
  });

  await t.test('waitingOn says what is chained, and what a coroutine waits for', async () => {
    const [first, second] = [new Deferred<number>(), new Deferred<number>()];
    first.chainDeferred(second);
    assert.equal(second.waitingOn, first);
    assert.equal(String(second), '<Deferred waiting for another>');
    assert.equal(second.state, 'unfired');
    first.callback(1);
    assert.equal(second.waitingOn, undefined);
    assert.equal(successResultOf(second), 1);
    const gate = new Deferred<void>();
    const running = failing(gate);
    assert.equal(running.waitingOn, gate);
    gate.callback();
    assert.equal(running.waitingOn, undefined);
    failureResultOf(running);
  });
});

t.test('FND-82: a canceller that throws, called by plait', async (t) => {
  const broken = () => {
    const log: string[] = [];
    const deferred = new Deferred<number>(() => {
      log.push('called');
      throw tooMany();
    });
    return { deferred, log };
  };
  const logged = () => assert.equal(flushLoggedErrors(RangeError).length, 1);

  await t.test('from a signal: is logged, and the Deferred fails', async () => {
    const controller = new AbortController();
    const { deferred } = broken();
    deferred.cancelOn(controller.signal);
    controller.abort();
    const cancelled = failureResultOf(deferred, CancelledError).value;
    assert.ok(cancelled.cause instanceof RangeError);
    logged();
    deferred.callback(5); // by one who was not told to stop: ignored
    failureResultOf(broken().deferred.cancelOn(AbortSignal.abort()), CancelledError);
    logged();
  });

  await t.test('from a timeout: it is a TimeoutError all the same', async () => {
    const clock = new Clock();
    const { deferred } = broken();
    deferred.addTimeout(3, clock);
    clock.advance(3);
    failureResultOf(deferred, TimeoutError);
    logged();
  });

  await t.test('through those that wait for it: fails where it is, and goes up', async () => {
    const controller = new AbortController();
    const { deferred } = broken();
    const outer = inlineCallbacks(function* () {
      return yield* succeed(0).addCallback(() => deferred);
    })();
    outer.cancelOn(controller.signal);
    controller.abort();
    failureResultOf(outer, CancelledError);
    logged();
  });

  await t.test('of one of several: the others are cancelled, and the whole ends', async () => {
    const [first, second] = [new Deferred<number>(), new Deferred<number>()];
    const gathered = gatherResults([broken().deferred, first], { consumeErrors: true });
    gathered.cancel();
    failureResultOf(gathered);
    assert.equal(first.called, true);
    logged();
    const raced = race([broken().deferred, second]);
    raced.cancel();
    failureResultOf(raced);
    assert.equal(second.called, true);
    logged();
  });

  await t.test('of those that have lost: the winner, or the first failure, is told', async () => {
    const winner = new Deferred<number>();
    const raced = race([broken().deferred, winner]);
    winner.callback(5);
    assert.deepEqual(successResultOf(raced), [1, 5]);
    logged();
    const failing = new Deferred<number>();
    const gathered = gatherResults([broken().deferred, failing], { cancelOnError: true });
    failing.errback(new TypeError('first'));
    failureResultOf(gathered, FirstError);
    logged();
  });

  await t.test('of what a coroutine awaits that was cancelled while it ran', async () => {
    const gate = new Deferred<void>();
    const { deferred } = broken();
    const work = inlineCallbacks(function* () {
      yield* gate;
      running.cancel();
      return yield* deferred;
    });
    const running: Deferred<number> = work();
    gate.callback();
    failureResultOf(running, CancelledError);
    logged();
  });

  await t.test('an abort function too; what the promise does later is ignored', async () => {
    const controller = new AbortController();
    let reject = (_: Error): void => {};
    const promise = new Promise<number>((_, no) => (reject = no));
    const abort = (): never => {
      throw tooMany();
    };
    const deferred = Deferred.fromPromise(promise, { abort });
    deferred.cancelOn(controller.signal);
    controller.abort();
    failureResultOf(deferred, CancelledError);
    logged();
    reject(new Error('late'));
    await promise.catch(() => {});
  });

  await t.test('that fired the Deferred before it threw: its result stands', async () => {
    const deferred: Deferred<number> = new Deferred<number>((d) => {
      d.callback(7);
      throw tooMany();
    });
    deferred.cancelOn(AbortSignal.abort());
    assert.equal(successResultOf(deferred), 7);
    logged();
  });

  await t.test('called by the user still throws to the user', async () => {
    assert.throws(() => broken().deferred.cancel(), RangeError);
  });
});
