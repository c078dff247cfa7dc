/** The examples of docs/howto/coroutines.md and docs/reference/coroutines.md, which are tests. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { readFile } from 'node:fs/promises';
import {
  CancelledError,
  type Coroutine,
  Deferred,
  deferLater,
  ensureDeferred,
  fail,
  Failure,
  gatherResults,
  inlineCallbacks,
  type IReactorTime,
  NotACoroutineError,
  succeed,
} from 'plait';
import { assertNoResult, Clock, failureResultOf, successResultOf } from 'plait/testing';
import t from 'tap';

// #region countdown
const countdown = inlineCallbacks(function* (clock: IReactorTime, from: number) {
  for (let n = from; n > 0; n--) {
    console.log(n);
    yield* deferLater(clock, 1);
  }
  return 'lift-off';
});
// #endregion

/** What is printed from now on, until the test ends. */
function printed(t: { teardown(fn: () => void): void }): unknown[] {
  const lines: unknown[] = [];
  const { log } = console;
  console.log = (line) => lines.push(line);
  t.teardown(() => (console.log = log));
  return lines;
}

t.test('a coroutine', async (t) => {
  const lines = printed(t);
  // #region run
  const clock = new Clock();
  const launch = countdown(clock, 3); // a Deferred<string>; it has printed 3 by now
  clock.pump([1, 1, 1]); // prints 2 and 1
  t.equal(successResultOf(launch), 'lift-off');
  // #endregion
  t.same(lines, [3, 2, 1]);
});

t.test('a coroutine and an async function', async (t) => {
  // #region turns
  const clock = new Clock();
  const woken: string[] = [];
  const coroutine = inlineCallbacks(function* () {
    yield* deferLater(clock, 1);
    woken.push('coroutine');
  });
  const asyncFunction = async () => {
    await deferLater(clock, 1);
    woken.push('async function');
  };

  coroutine();
  const promise = asyncFunction();
  clock.advance(1);
  t.same(woken, ['coroutine']); // it has gone on within advance()
  await promise;
  t.same(woken, ['coroutine', 'async function']);
  // #endregion
});

t.test('there is no stack to be used up', async (t) => {
  const sum = inlineCallbacks(function* () {
    let total = 0;
    for (let n = 0; n < 100_000; n++) total += yield* succeed(1);
    return total;
  });
  t.equal(successResultOf(sum()), 100_000);
});

t.test('failures', async (t) => {
  // #region failures
  const readPort = inlineCallbacks(function* (text: Deferred<string>) {
    try {
      const port = Number(yield* text); // what fails is thrown here
      if (!Number.isInteger(port)) throw new TypeError('not a number');
      return port;
    } catch (error) {
      if (error instanceof TypeError) return 8000;
      throw error; // and makes the Deferred fail
    }
  });

  t.equal(successResultOf(readPort(succeed('80'))), 80);
  t.equal(successResultOf(readPort(succeed('http'))), 8000);
  failureResultOf(readPort(fail(new RangeError('no such line'))), RangeError);
  // #endregion
});

t.test('several at once', async (t) => {
  const clock = new Clock();
  const bring = (what: string) => deferLater(clock, 1, () => what);
  // #region several
  const breakfast = inlineCallbacks(function* () {
    const [tea, toast] = yield* gatherResults([bring('tea'), bring('toast')]);
    return `${tea} and ${toast}`;
  });
  // #endregion
  const served = breakfast();
  clock.advance(1);
  t.equal(successResultOf(served), 'tea and toast');
});

t.test('methods', async (t) => {
  const clock = new Clock();
  // #region methods
  class Kettle {
    temperature = 20;
    readonly #clock: IReactorTime;

    constructor(clock: IReactorTime) {
      this.#clock = clock;
    }

    readonly boil = inlineCallbacks(function* (this: Kettle) {
      while (this.temperature < 100) {
        yield* deferLater(this.#clock, 1);
        this.temperature += 20;
      }
      return this;
    });
  }
  // #endregion
  const kettle = new Kettle(clock);
  const boiling = kettle.boil();
  clock.pump([1, 1, 1, 1]);
  t.equal(successResultOf(boiling), kettle);
  t.equal(kettle.temperature, 100);
});

t.test('promises', async (t) => {
  const path = new URL('harmless.txt', import.meta.url);
  // #region promises
  const firstWord = inlineCallbacks(function* (path: URL) {
    const text = yield* Deferred.fromPromise(readFile(path, 'utf8'));
    return text.split(' ')[0];
  });

  t.equal(await firstWord(path), 'This'); // and a coroutine can be awaited
  // #endregion
});

t.test('awaited at', async (t) => {
  const clock = new Clock();
  // #region awaited
  const readKey = inlineCallbacks(function* readKey() {
    yield* deferLater(clock, 1);
    throw new RangeError('no such key: port');
  });
  const configure = inlineCallbacks(function* configure() {
    return yield* readKey();
  });
  const start = inlineCallbacks(function* start() {
    yield* configure();
  });

  const started = start();
  clock.advance(1);
  const text = failureResultOf(started).getTraceback();
  t.match(text, /at readKey .*\n {4}awaited at configure .*\n {4}awaited at start /s);
  // #endregion
});

t.test('a plain yield has a name, but no line', async (t) => {
  const refuse = inlineCallbacks(function* () {
    return yield* fail(new RangeError('no'));
  });
  const plain = inlineCallbacks(function* plain() {
    yield refuse();
  });
  t.match(failureResultOf(plain()).getTraceback(), /awaited at plain \(a plain yield\)/);
});

t.test('context', async (t) => {
  const clock = new Clock();
  // #region context
  const customer = new AsyncLocalStorage<string>();
  const serve = inlineCallbacks(function* () {
    yield* deferLater(clock, 1);
    return customer.getStore();
  });

  const served = customer.run('Ann', serve);
  customer.run('Bob', () => clock.advance(1));
  t.equal(successResultOf(served), 'Ann');
  // #endregion
});

t.test('one who waits for another only looks', async (t) => {
  const cup = succeed('tea');
  const drink = inlineCallbacks(function* () {
    return yield* cup;
  });
  t.equal(successResultOf(drink()), 'tea');
  t.equal(successResultOf(drink()), 'tea');
});

// ── docs/reference/coroutines.md ─────────────────────────────────────────────────────────────────────────────────────

t.test('what may be yielded', async (t) => {
  // #region yield
  const collect = inlineCallbacks(function* () {
    const typed = yield* succeed(1); // a number, for the compiler too
    const untyped: unknown[] = [
      yield succeed(2), // waited for
      yield Promise.resolve(3), // waited for
      yield countToFour(), // a generator: run, and waited for
      yield 5, // comes straight back
    ];
    return [typed, ...untyped];
  });
  function* countToFour(): Coroutine<number> {
    return (yield* succeed(3)) + 1;
  }

  t.same(await collect(), [1, 2, 3, 4, 5]);
  // #endregion

  const failing = inlineCallbacks(function* () {
    try {
      yield new Failure(new RangeError('thrown here'));
    } catch (error) {
      return error;
    }
    return undefined;
  });
  t.ok(successResultOf(failing()) instanceof RangeError);
});

t.test('yield* of a generator needs no runner', async (t) => {
  const clock = new Clock();
  // #region delegate
  function* twice(clock: IReactorTime): Coroutine<string> {
    yield* deferLater(clock, 1);
    yield* deferLater(clock, 1);
    return 'done';
  }
  const main = inlineCallbacks(function* () {
    return yield* twice(clock); // a part of main, not a coroutine of its own
  });
  // #endregion
  const done = main();
  clock.pump([1, 1]);
  t.equal(successResultOf(done), 'done');
});

t.test('what may be returned', async (t) => {
  const returns = <R>(result: R) =>
    inlineCallbacks(function* () {
      return result;
    })();
  t.equal(successResultOf(returns(1)), 1);
  t.equal(successResultOf(returns(succeed(2))), 2);
  t.equal(await returns(Promise.resolve(3)), 3);
  failureResultOf(returns(new Failure(new RangeError('4'))), RangeError);
});

t.test('what is no generator', async (t) => {
  const wrong = inlineCallbacks((() => 1) as unknown as () => Coroutine<number>);
  failureResultOf(wrong(), TypeError);
  t.throws(() => ensureDeferred(1 as never), NotACoroutineError);
  const one = succeed(1);
  t.equal(ensureDeferred(one), one);
});

t.test('cancelling', async (t) => {
  const clock = new Clock();
  // #region cancel
  const stubborn = inlineCallbacks(function* () {
    try {
      yield* deferLater(clock, 60);
    } catch (error) {
      if (!(error instanceof CancelledError)) throw error;
      yield* deferLater(clock, 1); // it may tidy up, which may take time
    }
    return 'finished anyway'; // and may even have a result
  });

  const work = stubborn();
  work.cancel();
  assertNoResult(work);
  clock.advance(1);
  t.equal(successResultOf(work), 'finished anyway');
  // #endregion

  const again = stubborn();
  again.cancel();
  again.cancel(); // hits the second wait
  failureResultOf(again, CancelledError);
  t.same(clock.getDelayedCalls(), []);
});

t.test('cancelling from inside', async (t) => {
  const self: Deferred<string> = inlineCallbacks(function* () {
    yield* succeed().addCallback(() => Promise.resolve());
    self.cancel();
    try {
      yield* new Deferred<void>();
    } catch (error) {
      if (error instanceof CancelledError) return 'the next wait was cancelled';
    }
    return 'not cancelled';
  })();
  t.equal(await self, 'the next wait was cancelled');
});
