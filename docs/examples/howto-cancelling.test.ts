/** The examples of docs/howto/cancelling.md, which are tests. */
import { getEventListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  AlreadyCalledError,
  CancelledError,
  currentSignal,
  Deferred,
  deferLater,
  DeferredList,
  fail,
  FailureGroup,
  FirstError,
  gatherResults,
  inlineCallbacks,
  type IReactorTime,
  maybeDeferred,
  race,
  shield,
  succeed,
  TimeoutError,
  withSignal,
} from 'plait';
import { assertNoResult, Clock, failureResultOf, successResultOf } from 'plait/testing';
import t from 'tap';

t.test('cancel reaches what is waited for now', async (t) => {
  const clock = new Clock();
  // #region reach
  const stopped: string[] = [];
  const step = (name: string) => {
    const done = new Deferred<void>(() => {
      stopped.push(name);
      call.cancel();
    });
    const call = clock.callLater(1, () => done.callback());
    return done;
  };
  const inner = inlineCallbacks(function* () {
    yield* step('one');
    yield* step('two');
  });
  const outer = inlineCallbacks(function* () {
    yield* inner();
    yield* step('three');
  });

  const work = outer();
  clock.advance(1); // one is done, two has begun
  work.cancel();
  t.same(stopped, ['two']);
  failureResultOf(work, CancelledError);
  t.same(clock.getDelayedCalls(), []);
  // #endregion

  const chained = succeed().addCallback(() => step('four'));
  chained.cancel();
  t.same(stopped, ['two', 'four']);
  failureResultOf(chained, CancelledError);

  const over = succeed('done');
  over.cancel();
  t.equal(successResultOf(over), 'done');
});

t.test('cancellers', async (t) => {
  const clock = new Clock();
  // #region canceller
  function ask(clock: IReactorTime): Deferred<string> {
    const answer = new Deferred<string>(() => call.cancel());
    const call = clock.callLater(10, () => answer.callback('42'));
    return answer;
  }

  const answer = ask(clock);
  answer.cancel();
  failureResultOf(answer, CancelledError);
  t.same(clock.getDelayedCalls(), []); // nothing is left behind
  // #endregion

  // #region decides
  const partial = new Deferred<string>((deferred) => deferred.callback('as far as I came'));
  partial.cancel();
  t.equal(successResultOf(partial), 'as far as I came');
  // #endregion

  const reasoned = new Deferred<string>((deferred) => deferred.errback(new RangeError('so there')));
  reasoned.cancel();
  failureResultOf(reasoned, RangeError);

  const broken = new Deferred<string>(() => {
    throw new TypeError('cannot stop it');
  });
  t.throws(() => broken.cancel(), TypeError);
  assertNoResult(broken);
});

t.test('FND-69: a time-out cuts a clean-up short', async (t) => {
  const clock = new Clock();
  // #region cut
  const said: string[] = [];
  const job = inlineCallbacks(function* () {
    try {
      yield* deferLater(clock, 60);
    } finally {
      said.push('cleaning up');
      yield* deferLater(clock, 10);
      said.push('clean');
    }
  });
  const cut = job().addTimeout(5, clock);
  clock.advance(1);
  cut.cancel();
  clock.advance(4); // the time-out comes while it cleans up
  failureResultOf(cut, TimeoutError);
  t.same(said, ['cleaning up']);
  // #endregion
});

t.test('without a canceller', async (t) => {
  // #region late
  const answer = new Deferred<string>();
  answer.cancel();
  failureResultOf(answer, CancelledError);
  answer.callback('too late'); // ignored: nobody has told its sender to stop
  t.throws(() => answer.callback('again'), AlreadyCalledError); // this is a mistake
  // #endregion

  const told = new Deferred<string>(() => {});
  told.cancel();
  failureResultOf(told, CancelledError);
  t.throws(() => told.callback('too late'), AlreadyCalledError);
});

t.test('tidying up', async (t) => {
  const clock = new Clock();
  // #region tidy
  const said: string[] = [];
  const send = (text: string) => deferLater(clock, 1).addCallback(() => said.push(text));
  const session = inlineCallbacks(function* () {
    yield* send('HELLO');
    try {
      yield* deferLater(clock, 3600);
    } finally {
      yield* send('BYE');
    }
  });

  const talk = session();
  clock.advance(1);
  talk.cancel();
  assertNoResult(talk); // it still says good-bye
  clock.advance(1);
  t.same(said, ['HELLO', 'BYE']);
  failureResultOf(talk, CancelledError);
  // #endregion
});

t.test('catch what is meant', async (t) => {
  const clock = new Clock();
  // #region pass
  const attempt = (work: Deferred<string>) =>
    inlineCallbacks(function* () {
      try {
        return yield* work;
      } catch (error) {
        if (error instanceof CancelledError) throw error;
        return 'a default';
      }
    })();
  // #endregion
  t.equal(successResultOf(attempt(fail(new RangeError('no')))), 'a default');
  const cancelled = attempt(deferLater(clock, 1, () => 'late'));
  cancelled.cancel();
  failureResultOf(cancelled, CancelledError);
});

t.test('timeouts', async (t) => {
  const clock = new Clock();
  // #region timeout
  const answer = deferLater(clock, 60, () => '42').addTimeout(5, clock);
  clock.advance(5);
  t.equal(failureResultOf(answer, TimeoutError).value.message, 'not done after 5 seconds');
  t.same(clock.getDelayedCalls(), []);
  // #endregion

  const quick = deferLater(clock, 1, () => '42').addTimeout(5, clock);
  clock.advance(1);
  t.equal(successResultOf(quick), '42');
  t.same(clock.getDelayedCalls(), [], 'in time, it leaves no timer either');

  const mine = new Deferred<string>().addTimeout(5, clock);
  mine.cancel();
  failureResultOf(mine, CancelledError);

  const reasoned = new Deferred<string>((deferred) => deferred.errback(new RangeError('so there')));
  const timedOut = reasoned.addTimeout(5, clock);
  clock.advance(5);
  failureResultOf(timedOut, RangeError);
});

t.test('what a timeout covers', async (t) => {
  const clock = new Clock();
  // #region covers
  const page = deferLater(clock, 3, () => 'found')
    .addCallback((where) => deferLater(clock, 3, () => `${where}, read`))
    .addTimeout(5, clock) // both of the above, together
    .addCallback((text) => deferLater(clock, 10, () => `${text}, printed`)); // not this
  // #endregion
  clock.pump([3, 2]);
  failureResultOf(page, TimeoutError);

  const slow = deferLater(clock, 4, () => 'found')
    .addTimeout(5, clock)
    .addCallback((text) => deferLater(clock, 10, () => `${text}, printed`));
  clock.pump([4, 10]);
  t.equal(successResultOf(slow), 'found, printed');
});

t.test('another result', async (t) => {
  const clock = new Clock();
  // #region instead
  const answer = deferLater(clock, 60, () => '42').addTimeout(5, clock, () => 'no idea');
  clock.advance(5);
  t.equal(successResultOf(answer), 'no idea');
  // #endregion
});

t.test('a signal that cancels', async (t) => {
  const clock = new Clock();
  // #region cancelOn
  const controller = new AbortController();
  const answer = deferLater(clock, 60, () => '42').cancelOn(controller.signal);
  controller.abort();
  failureResultOf(answer, CancelledError);
  t.same(clock.getDelayedCalls(), []);
  // #endregion

  const aborted = new Deferred<void>().cancelOn(controller.signal);
  failureResultOf(aborted, CancelledError);

  const { signal } = new AbortController();
  const done = deferLater(clock, 1).cancelOn(signal);
  t.equal(getEventListeners(signal, 'abort').length, 1);
  clock.advance(1);
  successResultOf(done);
  t.equal(getEventListeners(signal, 'abort').length, 0);
});

t.test('a signal that is given', async (t) => {
  // #region withSignal
  const nap = withSignal((signal) => sleep(60_000, 'rested', { signal }));
  nap.cancel(); // aborts the signal; the promise is rejected in a microtask
  await t.rejects(nap.asPromise(), CancelledError);
  // #endregion

  const clock = new Clock();
  const impatient = withSignal((signal) => sleep(60_000, 'rested', { signal }));
  const timedOut = impatient.addTimeout(5, clock);
  clock.advance(5);
  await t.rejects(timedOut.asPromise(), TimeoutError);

  // #region fromPromise
  const controller = new AbortController();
  const promise = sleep(60_000, 'rested', { signal: controller.signal });
  const other = Deferred.fromPromise(promise, { abort: () => controller.abort() });
  other.cancel();
  await t.rejects(other.asPromise(), CancelledError);
  // #endregion
});

t.test('a promise that cannot be stopped', async (t) => {
  let settle: (value: string) => void = () => {};
  const promise = new Promise<string>((resolve) => (settle = resolve));
  const given = Deferred.fromPromise(promise);
  given.cancel();
  failureResultOf(given, CancelledError);

  const patient = Deferred.fromPromise(promise, { abort: () => {} });
  patient.cancel();
  assertNoResult(patient);
  settle('all the same');
  t.equal(await patient, 'all the same');
});

t.test('work that is to go on', async (t) => {
  const clock = new Clock();
  // #region shield
  const work = deferLater(clock, 10, () => 'saved');
  const waiting = shield(work).addTimeout(5, clock);
  clock.advance(5);
  failureResultOf(waiting, TimeoutError); // nobody waits any more
  clock.advance(5);
  t.equal(successResultOf(work), 'saved'); // but it was done
  // #endregion
});

t.test('one Deferred, waited for twice', async (t) => {
  const clock = new Clock();
  // #region shared
  const page = deferLater(clock, 1, () => 'page');
  const reads = inlineCallbacks(function* () {
    return yield* page;
  });
  const [one, two] = [reads(), reads()];
  one.cancel();
  failureResultOf(one, CancelledError);
  failureResultOf(two, CancelledError); // both waited for the same
  // #endregion
});

t.test('several', async (t) => {
  const clock = new Clock();
  const two = () => [deferLater(clock, 1), deferLater(clock, 2)];
  // #region several
  const all = gatherResults(two(), { consumeErrors: true });
  all.cancel();
  failureResultOf(all, FirstError).value.subFailure.trap(CancelledError);

  const list = new DeferredList(two(), { consumeErrors: true });
  list.cancel();
  t.same(
    successResultOf(list).map(([success]) => success),
    [false, false],
  );

  const first = race(two());
  first.cancel();
  failureResultOf(first, FailureGroup);
  // #endregion
  t.same(clock.getDelayedCalls(), []);

  const late = gatherResults(two(), { consumeErrors: true }).addTimeout(0.5, clock);
  clock.advance(0.5);
  failureResultOf(late, FirstError);

  // #region severalTimeout
  const inTime = gatherResults(two(), { consumeErrors: true }).addTimeout(0.5, clock, () => {
    throw new TimeoutError('not all were done in time');
  });
  clock.advance(0.5);
  failureResultOf(inTime, TimeoutError);
  // #endregion
});

t.test('await has nothing to cancel', async (t) => {
  const clock = new Clock();
  // #region async
  let told = false;
  const careless = async () => {
    await deferLater(clock, 60);
    told = true;
  };
  const call = Deferred.fromPromise(careless());
  call.cancel();
  failureResultOf(call, CancelledError); // that is all: the function goes on
  clock.advance(60);
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(told, true);
  // #endregion
});

t.test('an async function that plait runs is cancelled in what it awaits', async (t) => {
  const clock = new Clock();
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  // #region tracked
  const said: string[] = [];
  const patient = async () => {
    try {
      await deferLater(clock, 60);
    } finally {
      await deferLater(clock, 1);
      said.push('tidy');
    }
  };
  const call = maybeDeferred(patient);
  call.cancel();
  await turn();
  assertNoResult(call); // it still tidies up
  clock.advance(1);
  await turn();
  t.same(said, ['tidy']);
  failureResultOf(call, CancelledError);
  // #endregion
  // #region currentSignal
  const nap = maybeDeferred(async () => {
    await sleep(60_000, 'rested', { signal: currentSignal() });
  });
  nap.cancel();
  await t.rejects(nap.asPromise(), CancelledError);
  // #endregion
});
