import fc from 'fast-check';
import {
  CancelledError,
  Deferred,
  deferLater,
  Failure,
  fail,
  gatherResults,
  inlineCallbacks,
  race,
  scope,
  type Scope,
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

t.test('a scope fires with what its body returns, when its children have ended', (t) => {
  const clock = new Clock();
  const log: string[] = [];
  const result = scope(
    function* (s) {
      s.spawn(function* () {
        yield* deferLater(clock, 3);
        log.push('child');
      });
      const quick = yield* s.spawn((a: number, b: number) => a + b, 1, 2);
      log.push('body');
      return quick;
    },
    { clock },
  );
  assertNoResult(result);
  t.same(log, ['body']);
  clock.advance(3);
  t.same(log, ['body', 'child']);
  t.equal(successResultOf(result), 3);
  t.end();
});

t.test('a body may be a plain function, and return anything to wait for', (t) => {
  t.equal(successResultOf(scope(() => 5)), 5);
  t.equal(successResultOf(scope(() => succeed('x'))), 'x');
  failureResultOf(
    scope(() => fail(new RangeError('no'))),
    RangeError,
  );
  failureResultOf(
    scope(() => {
      throw new RangeError('no');
    }),
    RangeError,
  );
  t.end();
});

t.test('the first failure of a child cancels the others and the body, and is the scope’s', (t) => {
  const clock = new Clock();
  const log: string[] = [];
  const noting = inlineCallbacks(function* (name: string, seconds: number) {
    try {
      yield* deferLater(clock, seconds);
      if (name === 'bad') throw new RangeError('bad');
    } catch (error) {
      log.push(`${name}: ${(error as Error).name}`);
      throw error;
    }
  });
  const result = scope((s) => {
    s.spawn(noting, 'first', 9);
    s.spawn(noting, 'bad', 1);
    s.spawn(noting, 'last', 9);
    return noting('body', 9);
  });
  clock.advance(1);
  t.same(log, [
    'bad: RangeError',
    'last: CancelledError',
    'first: CancelledError',
    'body: CancelledError',
  ]);
  failureResultOf(result, RangeError);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('the failure of the body cancels the children', (t) => {
  const clock = new Clock();
  const child = new Deferred<void>();
  const result = scope((s) => {
    s.spawn(() => child);
    throw new RangeError('body');
  });
  failureResultOf(result, RangeError);
  t.equal(child.called, true);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('a scope waits for children that take their time to be cancelled', (t) => {
  const clock = new Clock();
  const result = scope(
    function* (s) {
      s.spawn(function* () {
        try {
          yield* new Deferred<void>();
        } finally {
          yield* deferLater(clock, 2);
        }
      });
      yield* deferLater(clock, 1);
      throw new RangeError('body');
    },
    { clock },
  );
  clock.advance(1);
  assertNoResult(result);
  clock.advance(2);
  failureResultOf(result, RangeError);
  t.end();
});

t.test('a failure that comes after the first is logged', (t) => {
  const stubborn = new Deferred<void>(() => {
    stubborn.errback(new TypeError('while cancelled'));
  });
  const result = scope((s) => {
    s.spawn(() => stubborn);
    throw new RangeError('first');
  });
  failureResultOf(result, RangeError);
  t.equal(flushLoggedErrors(TypeError).length, 1);
  t.end();
});

t.test('FND-82: a canceller that throws is logged, and the scope ends all the same', async (t) => {
  const broken = (): Deferred<void> =>
    new Deferred<void>(() => {
      throw new TypeError('canceller');
    });
  const never = (): Deferred<void> => new Deferred<void>();
  const scopes: Readonly<Record<string, (s: Scope) => unknown>> = {
    'a child': (s) => (s.spawn(broken), never()),
    'a child that is a generator': (s) => {
      s.spawn(function* () {
        yield* broken();
      });
      return never();
    },
    'a child that is an async function': (s) => (s.spawn(async () => broken()), never()),
    'a child of an inner scope': (s) => (s.scope((inner) => inner.spawn(broken)), never()),
    'a body that waits for the child': (s) => s.spawn(broken),
    'the body': broken,
    'one of a list': () => gatherResults([broken(), never()], { consumeErrors: true }),
  };
  for (const [name, body] of Object.entries(scopes)) {
    const other = never();
    const clock = new Clock();
    const start = (): Deferred<unknown> =>
      scope(
        (s) => {
          s.spawn(() => other);
          return body(s);
        },
        { clock, timeout: 5 },
      );
    const cancelled = start();
    cancelled.cancel();
    t.equal(other.called, true, name);
    await t.rejects(cancelled.asPromise(), CancelledError, name);
    const late = start();
    clock.advance(5);
    await t.rejects(late.asPromise(), TimeoutError, name);
    t.equal(flushLoggedErrors(TypeError).length, 2, name);
  }
});

t.test('FND-09: a list in a scope that is cancelled is no further failure of it', async (t) => {
  const never = (): Deferred<void> => new Deferred<void>();
  const gathered = (all: Deferred<unknown>[]): Deferred<unknown> =>
    gatherResults(all, { consumeErrors: true });
  const works: Readonly<Record<string, () => unknown>> = {
    gathered: () => gathered([gathered([never()]), never()]),
    raced: () => race([never(), gathered([never()])]),
    'Promise.any': async () => Promise.any([never(), never()]),
  };
  for (const [name, work] of Object.entries(works)) {
    const result = scope((s) => {
      s.spawn(work);
      s.spawn(() => fail(new RangeError('first')));
    });
    await t.rejects(result.asPromise(), RangeError, name);
    // Nothing is logged, which the fixture would find.
    await scope((s) => s.spawn(work).cancel());
  }
  const mixed = scope((s) => {
    s.spawn(() => never().addErrback(() => fail(new AggregateError([]))));
    s.spawn(() => fail(new RangeError('first')));
  });
  await t.rejects(mixed.asPromise(), RangeError);
  t.equal(flushLoggedErrors(AggregateError).length, 1, 'what holds no cancellation is told');
});

t.test('cancelling a scope cancels everything in it', (t) => {
  const [child, body] = [new Deferred<void>(), new Deferred<void>()];
  const result = scope((s) => {
    s.spawn(() => child);
    return body;
  });
  result.cancel();
  t.equal(child.called && body.called, true);
  failureResultOf(result, CancelledError);
  t.end();
});

t.test('a child that is cancelled by itself is no failure', (t) => {
  const clock = new Clock();
  const result = scope(
    function* (s) {
      const child = s.spawn(() => new Deferred<void>());
      child.cancel();
      yield* deferLater(clock, 1);
      return s.cancelled;
    },
    { clock },
  );
  clock.advance(1);
  t.equal(successResultOf(result), false);
  t.end();
});

t.test('a body can cancel its own scope, and still return a value', (t) => {
  const child = new Deferred<void>();
  const result = scope(function* (s) {
    s.spawn(() => child);
    s.cancel();
    try {
      yield* new Deferred<void>();
    } catch (error) {
      t.ok(error instanceof CancelledError);
    }
    return 'all the same';
  });
  t.equal(child.called, true);
  t.equal(successResultOf(result), 'all the same');
  t.end();
});

t.test('when the deadline has passed the scope is cancelled, and fails with TimeoutError', (t) => {
  const clock = new Clock();
  const result = scope(() => new Deferred<void>(), { clock, timeout: 5 });
  clock.advance(4.9);
  assertNoResult(result);
  clock.advance(0.1);
  failureResultOf(result, TimeoutError);
  const quick = scope(() => 5, { clock, timeout: 5 });
  t.equal(successResultOf(quick), 5);
  t.same(clock.getDelayedCalls(), []);
  for (const timeout of [-1, Number.NaN])
    t.throws(() => scope(() => 5, { clock, timeout }), RangeError);
  t.end();
});

t.test('an inner scope has no later deadline than the outer one', (t) => {
  const clock = new Clock();
  const seen: (number | undefined)[] = [];
  const result = scope(
    function* (s) {
      seen.push(s.deadline, s.remaining);
      yield* s.scope(
        (inner) => {
          seen.push(inner.deadline);
        },
        { timeout: 100 },
      );
      yield* s.scope(
        (inner) => {
          seen.push(inner.deadline);
        },
        { timeout: 1 },
      );
      yield* s.scope(() => new Deferred<void>());
    },
    { clock, timeout: 10 },
  );
  t.same(seen, [10, 10, 10, 1]);
  clock.advance(10);
  failureResultOf(result, TimeoutError);
  scope((s) => seen.push(s.deadline, s.remaining));
  t.same(seen.slice(4), [undefined, undefined]);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('nothing can be spawned in a scope that ends, and that is no alarm', (t) => {
  let kept: Scope | undefined;
  successResultOf(
    scope((s) => {
      kept = s;
    }),
  );
  const late = kept?.spawn(() => t.fail('it was begun'));
  t.ok(late?.result instanceof Failure);
  t.end();
});

t.test('the failure of a child is the scope’s to deal with, looked at or not', (t) => {
  const result = scope(function* (s) {
    const child = s.spawn(() => fail(new RangeError('no')));
    try {
      yield* child;
    } catch {
      return 'caught, but too late';
    }
    return 'unreachable';
  });
  failureResultOf(result, RangeError);
  t.end();
});

/** What a child does: how long it takes, whether it fails, how long it takes to be cancelled. */
const children = fc.array(
  fc.record({
    seconds: fc.nat(5),
    fails: fc.boolean(),
    cleanUp: fc.nat(2),
    swallows: fc.boolean(),
  }),
  { maxLength: 8 },
);

t.test('whatever its children do and whenever it is cancelled, nothing outlives a scope', (t) => {
  fc.assert(
    fc.property(
      children,
      fc.option(fc.nat(6), { nil: undefined }),
      fc.nat(6),
      (all, cancelAt, bodySeconds) => {
        const clock = new Clock();
        let running = 0;
        let begun = 0;
        const work = inlineCallbacks(function* (child: (typeof all)[number], number: number) {
          running++;
          begun++;
          try {
            yield* deferLater(clock, child.seconds);
            if (child.fails) throw new RangeError(String(number));
          } catch (error) {
            yield* deferLater(clock, child.cleanUp);
            if (!child.swallows) throw error;
          } finally {
            running--;
          }
        });
        let outcome: unknown;
        let atEnd: number | undefined;
        const result = scope(
          function* (s) {
            for (const [number, child] of all.entries()) s.spawn(work, child, number);
            yield* deferLater(clock, bodySeconds);
          },
          { clock },
        );
        result.addBoth((end) => {
          outcome = end;
          atEnd = running;
        });
        for (let second = 0; second <= 20; second++) {
          if (second === cancelAt) result.cancel();
          clock.advance(1);
        }
        flushLoggedErrors();
        if (
          atEnd !== 0 ||
          running !== 0 ||
          begun !== all.length ||
          clock.getDelayedCalls().length > 0
        )
          return false;
        const failed = all.some((child) => child.fails && !child.swallows);
        if (!failed && cancelAt === undefined) return outcome === undefined;
        return outcome === undefined || outcome instanceof Failure;
      },
    ),
    { numRuns: 500 },
  );
  t.end();
});

/** A child that takes 2 seconds to roll back, and what becomes of that. */
function rollingBack(clock: Clock, events: string[], name: string) {
  return inlineCallbacks(function* () {
    try {
      yield* deferLater(clock, 60);
    } finally {
      events.push(`${name} rolls back`);
      try {
        yield* deferLater(clock, 2);
        events.push(`${name} is rolled back`);
      } catch {
        events.push(`${name} is cut`);
      }
    }
  });
}

t.test('FND-1E: whatever cancels a scope after it was cancelled does not cut a roll-back', (t) => {
  const causes: Record<string, (s: Scope, work: Deferred<unknown>, clock: Clock) => void> = {
    'itself again': (s) => {
      s.cancel();
    },
    'from outside': (_s, work) => {
      work.cancel();
      work.cancel();
    },
    'a deadline that comes after it': (_s, _work, clock) => {
      clock.advance(0.5);
    },
  };
  for (const [cause, again] of Object.entries(causes)) {
    const clock = new Clock();
    const events: string[] = [];
    let s!: Scope;
    const work = scope(
      function* (it) {
        s = it;
        void it.spawn(rollingBack(clock, events, 'a'));
        void it.spawn(function* () {
          yield* deferLater(clock, 1);
          it.cancel();
        });
        yield* deferLater(clock, 60);
      },
      { clock, timeout: 1.5 },
    );
    clock.advance(1);
    t.same(events, ['a rolls back']);
    again(s, work, clock);
    t.equal(work.called, false, cause);
    clock.advance(2);
    t.same(events, ['a rolls back', 'a is rolled back'], cause);
    failureResultOf(work, CancelledError);
  }
  t.end();
});

t.test('FND-1E: a child that others wait for is cancelled once, by whatever way', (t) => {
  const clock = new Clock();
  const events: string[] = [];
  const work = scope(
    function* (s) {
      const a = s.spawn(rollingBack(clock, events, 'a'));
      const b = s.spawn(function* () {
        yield* a;
      });
      void s.spawn(() => b.addCallback(() => {}));
      yield* a;
    },
    { clock },
  );
  work.cancel();
  clock.advance(2);
  t.same(events, ['a rolls back', 'a is rolled back']);
  failureResultOf(work, CancelledError);
  t.end();
});

t.test(
  'FND-1E: a scope inside a scope is cancelled once; a child by hand, as often as one likes',
  (t) => {
    const clock = new Clock();
    const events: string[] = [];
    let byHand!: Deferred<unknown>;
    const work = scope(
      function* (s) {
        const inner = s.scope(
          function* (within) {
            byHand = within.spawn(rollingBack(clock, events, 'a'));
            void within.spawn(rollingBack(clock, events, 'b'));
            yield* deferLater(clock, 60);
          },
          { timeout: 1 },
        );
        void s.spawn(rollingBack(clock, events, 'c'));
        yield* inner;
      },
      { clock, timeout: 2 },
    );
    clock.advance(1);
    t.same(events, ['b rolls back', 'a rolls back']);
    clock.advance(1);
    work.cancel();
    clock.pump([1, 1]);
    t.same(events.slice(2), [
      'c rolls back',
      'b is rolled back',
      'a is rolled back',
      'c is rolled back',
    ]);
    failureResultOf(work, TimeoutError);
    // That of the scope inside, which came later, and of the body that waits for it.
    t.equal(flushLoggedErrors(TimeoutError).length, 2);

    events.length = 0;
    const again = scope(
      function* (s) {
        byHand = s.spawn(rollingBack(clock, events, 'a'));
        yield* deferLater(clock, 60);
      },
      { clock },
    );
    byHand.cancel();
    again.cancel();
    t.same(events, ['a rolls back']);
    byHand.cancel();
    t.same(events, ['a rolls back', 'a is cut']);
    failureResultOf(again, CancelledError);
    t.end();
  },
);
