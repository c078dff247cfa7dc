/** Coroutines where they are run, nest and fail: lib/coroutine.ts, inline.ts and awaited.ts. */
import assert from 'node:assert/strict';
import {
  CancelledError,
  type Coroutine,
  Deferred,
  fail,
  Failure,
  inlineCallbacks,
  maybeDeferred,
  succeed,
} from 'plait';
import { assertNoResult, failureResultOf, successResultOf } from 'plait/testing';
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
