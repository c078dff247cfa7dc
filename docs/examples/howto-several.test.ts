/** The examples of docs/reference/gather.md, which are tests. */
import {
  asCompleted,
  CancelledError,
  Deferred,
  deferLater,
  DeferredList,
  fail,
  FailureGroup,
  FirstError,
  gatherResults,
  inlineCallbacks,
  race,
  succeed,
  unhandledFailures,
  wait,
} from 'plait';
import { assertNoResult, Clock, failureResultOf, successResultOf } from 'plait/testing';
import t from 'tap';

// #region setup
const clock = new Clock();
const bring = (what: string, seconds: number) => deferLater(clock, seconds, () => what);
const refuse = (seconds: number) =>
  deferLater(clock, seconds, () => {
    throw new RangeError('no');
  });
// #endregion

t.test('all values', async (t) => {
  // #region gather
  const both = gatherResults([bring('tea', 3), succeed(2)]); // a Deferred<[string, number]>
  clock.advance(3);
  t.same(successResultOf(both), ['tea', 2]);
  // #endregion
  t.same(successResultOf(gatherResults([])), []);
});

t.test('all values, or none', async (t) => {
  // #region cancelOnError
  const all = gatherResults([bring('tea', 3), refuse(1)], { cancelOnError: true });
  clock.advance(1);
  const { index, subFailure } = failureResultOf(all, FirstError).value;
  t.equal(index, 1);
  t.ok(subFailure.value instanceof RangeError);
  t.same(clock.getDelayedCalls(), []); // nobody brews tea any more
  // #endregion
  t.same(unhandledFailures(), []);
});

t.test('without options, the others go on, and each keeps its failure', async (t) => {
  const [tea, toast] = [bring('tea', 3), refuse(1)];
  const all = gatherResults([tea, toast]);
  clock.advance(1);
  failureResultOf(all, FirstError);
  assertNoResult(tea);
  failureResultOf(toast, RangeError);
  clock.advance(2);
  t.equal(successResultOf(tea), 'tea');

  const [a, b] = [new Deferred(), new Deferred()];
  const consumed = gatherResults([a, b], { consumeErrors: true });
  consumed.cancel();
  failureResultOf(consumed, FirstError);
  t.equal(successResultOf(a), undefined);
  t.equal(successResultOf(b), undefined);
});

t.test('what became of each', async (t) => {
  // #region list
  const list = new DeferredList([bring('tea', 3), fail(new RangeError('no toast'))], {
    consumeErrors: true,
  });
  clock.advance(3);
  const said = successResultOf(list).map(([success, result]) =>
    success ? result : result.getErrorMessage(),
  );
  t.same(said, ['tea', 'no toast']);
  // #endregion
});

t.test('the flags of a list', async (t) => {
  const first = new DeferredList([bring('tea', 3), bring('water', 1)], { fireOnOneCallback: true });
  clock.advance(1);
  t.same(successResultOf(first), ['water', 1]);
  clock.advance(2);

  const strict = new DeferredList([bring('tea', 3), refuse(1)], {
    fireOnOneErrback: true,
    consumeErrors: true,
  });
  clock.advance(1);
  t.equal(failureResultOf(strict, FirstError).value.index, 1);
  clock.advance(2);

  const none = new DeferredList([refuse(1)], { fireOnOneCallback: true, consumeErrors: true });
  clock.advance(1);
  t.match(successResultOf(none), [[false, {}]], 'if none succeeds, all of them');

  t.same(successResultOf(new DeferredList([])), []);
  assertNoResult(new DeferredList([], { fireOnOneCallback: true }));

  const kept = succeed('kept');
  successResultOf(new DeferredList([kept]));
  t.equal(successResultOf(kept), 'kept');
});

t.test('the first to succeed', async (t) => {
  // #region race
  const water = race([bring('from the well', 60), refuse(1), bring('from the tap', 2)]);
  clock.pump([1, 1]);
  t.same(successResultOf(water), [2, 'from the tap']);
  t.same(clock.getDelayedCalls(), []); // nobody is on the way to the well
  // #endregion

  // #region group
  const nothing = race([refuse(1), refuse(2)]);
  clock.pump([1, 1]);
  const { errors } = failureResultOf(nothing, FailureGroup).value;
  t.equal(errors.length, 2);
  // #endregion
  t.throws(() => race([]), RangeError);

  const [winner, loser] = [bring('from the tap', 1), bring('from the well', 60)];
  const used = race([winner, loser]);
  clock.advance(1);
  t.same(successResultOf(used), [0, 'from the tap']);
  t.equal(successResultOf(winner), undefined);
  t.equal(successResultOf(loser), undefined);
});

t.test('some of them', async (t) => {
  // #region wait
  const all = [bring('tea', 3), bring('toast', 1), bring('eggs', 9)];
  const waited = wait(all, { timeout: 5, clock });
  clock.pump([1, 2, 2]);
  const { done, pending } = successResultOf(waited);
  t.same(done.map(successResultOf), ['tea', 'toast']);
  for (const late of pending) late.cancel(); // that is up to you
  // #endregion
  failureResultOf(all[2]!, CancelledError);
  t.same(clock.getDelayedCalls(), []);

  const failing = [bring('tea', 3), refuse(1)];
  const firstFailure = wait(failing, { until: 'firstFailure' });
  clock.advance(1);
  t.same(successResultOf(firstFailure), { done: [failing[1]], pending: [failing[0]] });
  t.equal(unhandledFailures().length, 1, 'it has taken nothing');
  failureResultOf(failing[1]!, RangeError);
  clock.advance(2);

  const given = wait([new Deferred()], { timeout: 5, clock });
  given.cancel();
  failureResultOf(given, CancelledError);
  t.same(clock.getDelayedCalls(), []);
  t.throws(() => wait([]), RangeError);
  t.throws(() => wait([succeed()], { timeout: 1 }), TypeError);
});

t.test('in the order in which they come', async (t) => {
  const served: string[] = [];
  // #region asCompleted
  const serve = inlineCallbacks(function* () {
    for (const next of asCompleted([bring('tea', 3), bring('toast', 1)])) served.push(yield* next);
  });
  const end = serve();
  clock.pump([1, 2]);
  successResultOf(end);
  t.same(served, ['toast', 'tea']);
  // #endregion

  const numbers: number[] = [];
  for await (const n of asCompleted([succeed(1), succeed(2)])) numbers.push(n);
  t.same(numbers, [1, 2]);

  const [bad, good] = [refuse(2), bring('good', 1)];
  const results = [...asCompleted<string>([bad, good])];
  clock.pump([1, 1]);
  t.equal(successResultOf(results[0]!), 'good');
  failureResultOf(results[1]!, RangeError);
  t.equal(successResultOf(good), 'good');
  t.equal(successResultOf(bad), undefined);
});
