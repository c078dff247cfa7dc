/** The examples of docs/howto/scopes.md and docs/reference/scope.md, which are tests. */
import {
  CancelledError,
  Deferred,
  deferLater,
  fail,
  inlineCallbacks,
  scope,
  type Scope,
  shield,
  TimeoutError,
  unhandledFailures,
} from 'plait';
import {
  assertNoResult,
  Clock,
  collectLoggedErrors,
  failureResultOf,
  flushLoggedErrors,
  successResultOf,
} from 'plait/testing';
import t from 'tap';

// #region setup
const clock = new Clock();
const bring = (what: string, seconds: number) => deferLater(clock, seconds, () => what);
// #endregion

t.test('a scope', async (t) => {
  // #region scope
  const breakfast = scope(
    function* (s) {
      const tea = s.spawn(bring, 'tea', 3);
      const toast = s.spawn(function* () {
        const bread = yield* bring('bread', 1);
        return `toasted ${bread}`;
      });
      return `${yield* tea} and ${yield* toast}`;
    },
    { clock, timeout: 10 },
  );

  clock.pump([1, 2]);
  t.equal(successResultOf(breakfast), 'tea and toasted bread');
  // #endregion
});

t.test('rule 1: it ends when everything in it has ended', async (t) => {
  // #region one
  const work = scope(
    function* (s) {
      s.spawn(bring, 'slow', 5);
      return 'the body is done';
    },
    { clock },
  );
  assertNoResult(work);
  clock.advance(5);
  t.equal(successResultOf(work), 'the body is done');
  // #endregion
});

t.test('rule 2: the first failure cancels the others', async (t) => {
  // #region two
  const work = scope(
    function* (s) {
      s.spawn(bring, 'slow', 60);
      s.spawn(() => deferLater(clock, 1).addCallback(() => fail(new RangeError('no bread'))));
      yield* bring('slower', 120);
    },
    { clock },
  );
  clock.advance(1);
  failureResultOf(work, RangeError);
  t.same(clock.getDelayedCalls(), []); // nothing goes on
  // #endregion

  const body = scope(
    function* (s) {
      s.spawn(bring, 'slow', 60);
      throw new RangeError('the body can fail too');
    },
    { clock },
  );
  failureResultOf(body, RangeError);
});

t.test('rule 2: later failures are logged', async (t) => {
  const stop = collectLoggedErrors();
  t.teardown(stop);
  const work = scope(
    function* (s) {
      s.spawn(function* () {
        try {
          yield* bring('slow', 60);
        } finally {
          throw new TypeError('and the kettle is broken');
        }
      });
      throw new RangeError('no bread');
    },
    { clock },
  );
  failureResultOf(work, RangeError);
  t.equal(flushLoggedErrors(TypeError).length, 1);
  t.same(stop(), []);
});

t.test('rule 3: cancelling it cancels everything in it', async (t) => {
  // #region three
  const work = scope(
    function* (s) {
      s.spawn(bring, 'slow', 60);
      yield* bring('slower', 120);
    },
    { clock },
  );
  work.cancel();
  failureResultOf(work, CancelledError);
  t.same(clock.getDelayedCalls(), []);
  // #endregion

  const stubborn = scope(
    function* () {
      try {
        yield* bring('slow', 60);
      } catch {
        // goes on
      }
      return 'a value';
    },
    { clock },
  );
  stubborn.cancel();
  failureResultOf(stubborn, CancelledError);
});

t.test('rule 4: deadlines', async (t) => {
  // #region four
  const outer = scope(
    function* (s) {
      t.equal(s.deadline, clock.seconds() + 5);
      yield* s.scope(
        function* (inner) {
          t.equal(inner.deadline, s.deadline); // no later, whatever it asks for
          yield* bring('slow', 60);
        },
        { timeout: 30 },
      );
    },
    { clock, timeout: 5 },
  );
  clock.advance(5);
  failureResultOf(outer, TimeoutError);
  // #endregion

  // #region inner
  const patient = scope(
    function* (s) {
      try {
        return yield* scope(() => bring('fresh', 60), { clock, timeout: 1 });
      } catch (error) {
        if (!(error instanceof TimeoutError)) throw error;
        return `stale, with ${s.remaining} seconds left`;
      }
    },
    { clock, timeout: 5 },
  );
  clock.advance(1);
  t.equal(successResultOf(patient), 'stale, with 4 seconds left');
  // #endregion

  const child = scope(
    function* (s) {
      try {
        yield* s.scope(() => bring('fresh', 60), { timeout: 1 });
      } catch {
        // too late: it was a child, so its failure is the scope's
      }
      yield* bring('stale', 60);
    },
    { clock, timeout: 5 },
  );
  clock.advance(1);
  failureResultOf(child, TimeoutError);
  t.same(clock.getDelayedCalls(), []);
});

t.test('who catches the failure of a child is cancelled where it waits next', async (t) => {
  const events: string[] = [];
  const work = scope(
    function* (s) {
      const child = s.spawn(() => deferLater(clock, 1).addCallback(() => fail(new RangeError())));
      const catches = function* (name: string) {
        try {
          yield* child;
        } catch {
          events.push(`${name} catches it`);
        }
        try {
          yield* bring('slow', 60);
        } finally {
          events.push(`${name} is cancelled`);
          yield* bring('tidied up', 1);
          events.push(`${name} has tidied up`);
        }
      };
      s.spawn(catches, 'a child');
      yield* catches('the body');
    },
    { clock },
  );
  clock.pump([1, 1]);
  failureResultOf(work, RangeError);
  t.same(events.sort(), [
    'a child catches it',
    'a child has tidied up',
    'a child is cancelled',
    'the body catches it',
    'the body has tidied up',
    'the body is cancelled',
  ]);
});

t.test('rule 6: a child that is cancelled by itself is no failure', async (t) => {
  // #region six
  const work = scope(
    function* (s) {
      const hint = s.spawn(bring, 'hint', 60);
      const answer = yield* s.spawn(bring, 'answer', 1);
      hint.cancel(); // not needed any more
      return answer;
    },
    { clock },
  );
  clock.advance(1);
  t.equal(successResultOf(work), 'answer');
  // #endregion
});

t.test('the order of events', async (t) => {
  // #region timeline
  const events: string[] = [];
  const start = clock.seconds();
  const note = (event: string) => events.push(`${clock.seconds() - start} s: ${event}`);

  /** Works for so many seconds, and needs some more to tidy up. */
  const worker = inlineCallbacks(function* (name: string, seconds: number, tidying: number) {
    note(`${name} begins`);
    try {
      yield* deferLater(clock, seconds);
      note(`${name} is done`);
    } catch (error) {
      note(`${name} is cancelled`);
      yield* deferLater(clock, tidying);
      note(`${name} has tidied up`);
      throw error;
    }
  });

  const work = scope(
    function* (s) {
      s.spawn(worker, 'a', 60, 2);
      s.spawn(worker, 'b', 1, 0);
      s.spawn(worker, 'c', 60, 1);
      s.spawn(() =>
        deferLater(clock, 3).addCallback(() => {
          note('d fails');
          throw new RangeError('d');
        }),
      );
      note('the body waits');
      try {
        yield* deferLater(clock, 60);
      } finally {
        note('the body is cancelled');
        const late = s.spawn(worker, 'e', 1, 1); // nothing is begun now
        note(`e is ${late.state}`);
      }
    },
    { clock },
  );
  work.addErrback((failure) => note(`the scope fails: ${failure.trap(RangeError).message}`));

  clock.pump([1, 2, 1, 1]);
  t.same(events, [
    '0 s: a begins',
    '0 s: b begins',
    '0 s: c begins',
    '0 s: the body waits',
    '1 s: b is done',
    '3 s: d fails',
    '3 s: c is cancelled', // the newest first
    '3 s: a is cancelled',
    '3 s: the body is cancelled', // and the body last
    '3 s: e is failed',
    '4 s: c has tidied up',
    '5 s: a has tidied up',
    '5 s: the scope fails: d', // when nothing is left
  ]);
  // #endregion
});

t.test('the same order, whatever the reason', async (t) => {
  const order = (end: (work: Deferred<unknown>) => void, timeout?: number) => {
    const events: string[] = [];
    const waits = (name: string) => new Deferred<void>(() => events.push(name));
    const work = scope(
      function* (s) {
        s.spawn(waits, 'first');
        s.spawn(waits, 'second');
        yield* waits('body');
      },
      timeout === undefined ? { clock } : { clock, timeout },
    );
    work.addErrback((failure) => events.push(failure.value.name));
    end(work);
    return events.join(' ');
  };
  t.equal(
    order((work) => work.cancel()),
    'second first body CancelledError',
  );
  t.equal(
    order(() => clock.advance(5), 5),
    'second first body TimeoutError',
  );
});

t.test('a failure is handled in the child', async (t) => {
  // #region handle
  const work = scope(
    function* (s) {
      const outside = s.spawn(() => fail(new RangeError('no bread')));
      outside.addErrback(() => 'too late: the scope has heard of it first');
    },
    { clock },
  );
  failureResultOf(work, RangeError);

  const better = scope(
    function* (s) {
      const inside = s.spawn(() =>
        fail<string>(new RangeError('no bread')).addErrback(() => 'cake'),
      );
      return yield* inside;
    },
    { clock },
  );
  t.equal(successResultOf(better), 'cake');
  // #endregion
  t.same(unhandledFailures(), []);
});

t.test('a function that spawns', async (t) => {
  // #region pass
  const poll = (s: Scope, what: string, every: number) =>
    s.spawn(function* () {
      for (;;) {
        yield* bring(what, every);
        polled.push(what);
      }
    });

  const polled: string[] = [];
  const work = scope(
    function* (s) {
      poll(s, 'news', 2);
      poll(s, 'mail', 3);
      yield* deferLater(clock, 7);
      s.cancel(); // or the scope would never end
      return polled.join(' ');
    },
    { clock },
  );
  clock.pump([2, 1, 1, 2, 1]);
  t.equal(successResultOf(work), 'news mail news mail news');
  // #endregion
});

t.test('what is not to end with it', async (t) => {
  // #region shield
  let saved = false;
  const save = deferLater(clock, 5).addCallback(() => {
    saved = true;
  });
  const work = scope((s) => s.spawn(shield, save), { clock, timeout: 1 });
  clock.advance(1);
  failureResultOf(work, TimeoutError);
  clock.advance(4);
  t.equal(saved, true);
  // #endregion
});

t.test('a child whose own beginning makes the scope fail is cancelled too', async (t) => {
  const work = scope(
    function* (s) {
      s.spawn(function* () {
        s.spawn(() => fail(new RangeError('at once')));
        yield* bring('slow', 60);
      });
      yield* bring('slower', 120);
    },
    { clock },
  );
  failureResultOf(work, RangeError);
  t.same(clock.getDelayedCalls(), []);
});

t.test('a child whose own beginning lets the body end is waited for', async (t) => {
  const go = new Deferred<void>();
  const work = scope(
    function* (s) {
      clock.callLater(1, () =>
        s.spawn(() => {
          go.callback();
          return bring('the rest', 1);
        }),
      );
      yield* go;
      return 'the body is done';
    },
    { clock },
  );
  clock.advance(1);
  assertNoResult(work);
  clock.advance(1);
  t.equal(successResultOf(work), 'the body is done');
});

t.test('what cannot be stopped is not waited for', async (t) => {
  let settle: () => void = () => {};
  let went = false;
  const goes = async () => {
    await new Promise<void>((resolve) => (settle = resolve));
    went = true;
  };
  const work = scope((s) => s.spawn(goes), { clock });
  work.cancel();
  await new Promise((resolve) => setImmediate(resolve));
  failureResultOf(work, CancelledError);
  settle();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(went, true);
});

t.test('a timeout that cannot be', async (t) => {
  t.throws(() => scope(() => 1, { clock, timeout: -1 }), RangeError);
  failureResultOf(
    scope((s) => s.scope(() => 1, { timeout: Infinity }), { clock }),
    RangeError,
  );
});

t.test('a scope that has ended', async (t) => {
  let kept: Scope | undefined;
  successResultOf(
    scope(
      (s) => {
        kept = s;
      },
      { clock },
    ),
  );
  failureResultOf(
    kept!.spawn(() => t.fail('nothing is begun')),
    CancelledError,
  );
});

t.test('what it looks like from inside', async (t) => {
  const seen: unknown[] = [];
  const work = scope(
    function* (s) {
      seen.push(s.deadline === undefined, s.remaining, s.cancelled);
      try {
        yield* new Deferred<void>();
      } finally {
        seen.push(s.cancelled);
      }
    },
    { clock },
  );
  work.cancel();
  failureResultOf(work, CancelledError);
  t.same(seen, [true, undefined, false, true]);
});
