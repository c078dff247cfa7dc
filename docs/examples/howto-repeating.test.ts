/** The examples of docs/reference/task.md, which are tests. */
import {
  CancelledError,
  Cooperator,
  Deferred,
  deferLater,
  LoopingCall,
  NotPaused,
  SchedulerStopped,
  TaskDone,
  TaskStopped,
} from 'plait';
import { assertNoResult, Clock, failureResultOf, successResultOf } from 'plait/testing';
import t from 'tap';

t.test('a call later', async (t) => {
  // #region deferLater
  const clock = new Clock();
  const sum = deferLater(clock, 2, (a: number, b: number) => a + b, 1, 2);
  clock.advance(2);
  t.equal(successResultOf(sum), 3);

  const never = deferLater(clock, 2, () => t.fail('it was called off'));
  never.cancel();
  failureResultOf(never, CancelledError);
  t.same(clock.getDelayedCalls(), []);
  // #endregion
  t.throws(() => deferLater(clock, -1), RangeError);
});

t.test('again and again', async (t) => {
  // #region looping
  const clock = new Clock();
  const times: number[] = [];
  const ticking = new LoopingCall(() => times.push(clock.seconds()));
  ticking.clock = clock;
  const stopped = ticking.start(10);

  clock.pump([10, 10]);
  t.same(times, [0, 10, 20]);
  clock.advance(15); // late by 5 seconds, …
  clock.advance(5); // … and then on time again
  t.same(times, [0, 10, 20, 35, 40]);

  ticking.stop();
  t.equal(successResultOf(stopped), ticking);
  t.same(clock.getDelayedCalls(), []);
  // #endregion
  t.throws(() => ticking.stop(), Error);
});

t.test('it waits for what the function waits for', async (t) => {
  const clock = new Clock();
  const begun: number[] = [];
  const loop = new LoopingCall(() => {
    begun.push(clock.seconds());
    return deferLater(clock, 12);
  });
  loop.clock = clock;
  const stopped = loop.start(10);
  t.throws(() => loop.start(10), Error);
  for (let n = 0; n < 40; n++) clock.advance(1);
  t.same(begun, [0, 20, 40]);
  loop.stop();
  assertNoResult(stopped);
  clock.advance(12);
  successResultOf(stopped);
});

t.test('it ends with the first failure', async (t) => {
  const clock = new Clock();
  const loop = new LoopingCall(() => {
    throw new RangeError('no more');
  });
  loop.clock = clock;
  const stopped = loop.start(10, false);
  assertNoResult(stopped);
  clock.advance(10);
  failureResultOf(stopped, RangeError);
  t.equal(loop.running, false);
  t.throws(() => loop.start(-1), RangeError);
});

t.test('how many calls were due', async (t) => {
  // #region withCount
  const clock = new Clock();
  const counts: number[] = [];
  const counting = LoopingCall.withCount((count) => counts.push(count));
  counting.clock = clock;
  counting.start(1);
  clock.pump([1, 3.5, 0.5]);
  t.same(counts, [1, 1, 3, 1]);
  counting.stop();
  // #endregion
});

t.test('a new rhythm', async (t) => {
  const clock = new Clock();
  const times: number[] = [];
  const loop = new LoopingCall(() => times.push(clock.seconds()));
  loop.clock = clock;
  loop.start(10);
  clock.advance(4);
  loop.reset();
  clock.pump([6, 4, 10]);
  t.same(times, [0, 14, 24]);
  loop[Symbol.dispose]();
  t.equal(loop.running, false);

  const waiting = loop.start(10);
  waiting.cancel();
  failureResultOf(waiting, CancelledError);
  clock.advance(10);
  t.same(times, [0, 14, 24, 24, 34], 'what was cancelled is the waiting, not the calls');
  loop.stop();
});

t.test('work in small pieces', async (t) => {
  // #region cooperate
  const clock = new Clock();
  const cooperator = new Cooperator({
    scheduler: (turn) => clock.callLater(0, turn), // default: the reactor's
    terminationPredicateFactory: () => () => true, // a piece a turn; default: 0.01 seconds
  });
  const pieces: string[] = [];
  function* count(name: string) {
    for (let n = 1; n <= 2; n++) {
      pieces.push(`${name} ${n}`);
      yield;
    }
  }

  const [one, two] = [cooperator.coiterate(count('one')), cooperator.coiterate(count('two'))];
  clock.advance(0);
  t.same(pieces, ['one 1', 'two 1', 'one 2', 'two 2']);
  successResultOf(one);
  successResultOf(two);
  // #endregion
  t.same(clock.getDelayedCalls(), []);
});

t.test('a task', async (t) => {
  const clock = new Clock();
  const cooperator = new Cooperator({
    scheduler: (turn) => clock.callLater(1, turn),
    terminationPredicateFactory: () => () => true,
  });
  const wait = new Deferred<void>();
  let pieces = 0;
  const task = cooperator.cooperate(
    (function* () {
      pieces++;
      yield wait; // is waited for
      for (; pieces < 9; pieces++) yield;
    })(),
  );
  const [one, two] = [task.whenDone(), task.whenDone()];
  clock.pump([1, 1]);
  t.equal(pieces, 1);
  wait.callback();
  clock.pump([1, 1]);
  t.equal(pieces, 2);

  task.pause();
  clock.pump([1, 1]);
  t.equal(pieces, 2);
  task.resume();
  t.throws(() => task.resume(), NotPaused);
  clock.pump(Array<number>(9).fill(1));
  t.equal(pieces, 9);
  successResultOf(one);
  successResultOf(two);
  t.throws(() => task.stop(), TaskDone);

  function* forever() {
    for (;;) yield;
  }
  const [stopped, abandoned] = [cooperator.cooperate(forever()), cooperator.cooperate(forever())];
  stopped.stop();
  failureResultOf(stopped.whenDone(), TaskStopped);
  t.equal(cooperator.running, true);
  cooperator.stop();
  failureResultOf(abandoned.whenDone(), SchedulerStopped);
  failureResultOf(cooperator.coiterate(forever()), SchedulerStopped);
  t.same(clock.getDelayedCalls(), []);

  const broken = new Cooperator({ scheduler: (turn) => clock.callLater(0, turn) });
  const failing = broken.coiterate(
    (function* () {
      yield;
      throw new RangeError('no more');
    })(),
  );
  clock.advance(0);
  failureResultOf(failing, RangeError);
});
