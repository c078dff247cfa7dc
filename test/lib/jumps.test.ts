/**
 * Time that jumps over several intervals, by numbers that cannot be told exactly, and a date that is set forward and back
 * while calls wait.
 */
import fc from 'fast-check';
import { Deferred, LoopingCall, Reactor, TimerService } from 'plait';
import { Clock, MemoryReactorClock, Simulation, successResultOf } from 'plait/testing';
import t from '../fixture.ts';

/** A call more than these is a loop that does not end, which must not hang the tests. */
const MOST = 1000;

/** A looping call on a clock, which ends with an error if it is called again and again at the same time. */
function looping(
  clock: Clock | MemoryReactorClock,
  counting = false,
): { loop: LoopingCall; times: number[]; counts: number[] } {
  const times: number[] = [];
  const counts: number[] = [];
  const called = (count: unknown): void => {
    if (times.length >= MOST) throw new Error(`called ${MOST} times`);
    times.push(clock.seconds());
    if (counting) counts.push(count as number);
  };
  const loop = (
    counting ? LoopingCall.withCount(called) : new LoopingCall(called as never)
  ) as LoopingCall;
  loop.clock = clock;
  return { loop, times, counts };
}

/** Intervals that no binary fraction is equal to, and jumps that are nearly a multiple of them. */
const INTERVALS = [0.1, 0.2, 0.3, 0.7, 1.1, 1 / 3, 0.001];

for (const make of [() => new Clock(), () => new MemoryReactorClock()]) {
  const { name } = make().constructor;
  t.test(`FND-71: a looping call on a ${name} that jumps over intervals is called once`, (t) => {
    for (const interval of INTERVALS) {
      for (const counting of [false, true]) {
        for (const now of [true, false]) {
          for (let many = 1; many <= 60; many++) {
            const clock = make();
            const { loop, times, counts } = looping(clock, counting);
            const ended = loop.start(interval, now);
            ended.addErrback(() => t.fail(`${interval} s, ${many} of them: it goes on for ever`));
            const amount = many * interval;
            clock.advance(amount);
            // In rounding it may be a hair too early for one more.
            const expected = now ? [0, amount] : [amount];
            if (times.join() !== expected.join() && counts.length !== 1)
              t.same(times, expected, `${interval} s, ${many} of them, now: ${now}`);
            if (counting) {
              const all = counts.reduce((sum, count) => sum + count, 0);
              t.equal(all, Math.trunc(amount / interval) + (now ? 1 : 0), 'all were counted');
            }
            clock.advance(interval * 1.5);
            t.ok(times.length <= expected.length + 2, 'and the rhythm goes on');
            if (loop.running) loop.stop();
          }
        }
      }
    }
    t.end();
  });
}

t.test('FND-71: start(0.1) and advance(0.5) are over', (t) => {
  const clock = new Clock();
  const { loop, times } = looping(clock);
  const ended = loop.start(0.1);
  clock.advance(0.5);
  t.same(times, [0, 0.5]);
  t.same(
    clock.getDelayedCalls().map((call) => call.getTime()),
    [0.6],
    'the next one is asked for in the next interval',
  );
  clock.advance(0.1);
  t.same(times, [0, 0.5, 0.6]);
  loop.stop();
  successResultOf(ended);
  t.end();
});

t.test('FND-71: whatever the jumps, a looping call keeps to the rhythm of its start', (t) => {
  const amounts = fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 40 });
  fc.assert(
    // In eighths of a second, which can be told exactly.
    fc.property(amounts, fc.integer({ min: 1, max: 16 }), fc.boolean(), (amounts, eighths, now) => {
      const interval = eighths / 8;
      const clock = new Clock();
      clock.advance(5);
      const { loop, times, counts } = looping(clock, true);
      void loop.start(interval, now);
      const expected = now ? [5] : [];
      const expectedCounts = now ? [1] : [];
      let counted = 0;
      for (const amount of amounts) {
        clock.advance(amount / 8);
        const due = Math.floor((clock.seconds() - 5) / interval);
        if (due === counted) continue;
        expected.push(clock.seconds());
        expectedCounts.push(due - counted);
        counted = due;
      }
      loop.stop();
      return times.join() === expected.join() && counts.join() === expectedCounts.join();
    }),
    { numRuns: 200 },
  );
  t.end();
});

t.test('FND-71: a looping call that was reset, or whose function takes long, and a jump', (t) => {
  const clock = new Clock();
  const { loop, times } = looping(clock);
  void loop.start(1);
  clock.advance(0.75);
  loop.reset();
  clock.advance(3.5);
  clock.advance(0.25);
  loop.reset();
  clock.advance(0.75);
  clock.advance(0.25);
  loop.stop();
  t.same(times, [0, 4.25, 5.5]);

  const done: Deferred<void>[] = [];
  const slow = new LoopingCall(() => {
    const deferred = new Deferred<void>();
    done.push(deferred);
    return deferred;
  });
  slow.clock = clock;
  void slow.start(1);
  clock.advance(10.5);
  t.equal(done.length, 1, 'it is waited for');
  done[0]?.callback();
  clock.advance(0.25);
  t.equal(done.length, 1, 'until the rhythm comes round');
  clock.advance(0.25);
  t.equal(done.length, 2);
  slow.stop();
  done[1]?.callback();
  t.end();
});

t.test('FND-71: a TimerService whose clock jumps over steps is called once for each jump', (t) => {
  const clock = new Clock();
  const times: number[] = [];
  const service = new TimerService(0.1, () => {
    if (times.length >= MOST) throw new Error('it goes on for ever');
    times.push(clock.seconds());
  });
  service.clock = clock;
  service.startService();
  for (const amount of [0.5, 0.25, 0.05, 100]) clock.advance(amount);
  t.same(times, [0, 0.5, 0.75, 0.8, 100.8]);
  successResultOf(service.stopService());
  clock.advance(1);
  t.equal(times.length, 5);
  t.end();
});

t.test('FND-71: calls that ask for the next are all made in one jump, at its end', (t) => {
  const clock = new Clock();
  const times: number[] = [];
  const again = (): void => {
    times.push(clock.seconds());
    if (times.length < 5) clock.callLater(1, again);
  };
  clock.callLater(1, again);
  clock.callLater(0.5, () => clock.callLater(0.5, () => times.push(-1)));
  clock.advance(3);
  t.same(times, [3], 'time jumps first: what is asked for begins at its end');
  clock.advance(0.5);
  t.same(times, [3, -1]);
  clock.pump([0.5, 1, 1, 1]);
  t.same(times, [3, -1, 4, 5, 6]);
  t.end();
});

t.test('FND-71: step by step, a jump comes by each moment at which something is due', async (t) => {
  for (const clock of [new Clock(), new MemoryReactorClock()]) {
    const { loop, times } = looping(clock);
    void loop.start(0.25);
    await clock.advanceAsync(1);
    t.same(times, [0, 0.25, 0.5, 0.75, 1]);
    const tenths = looping(clock);
    void tenths.loop.start(0.1, false);
    await clock.advanceAsync(1.05);
    t.equal(tenths.times.length, 10);
    loop.stop();
    tenths.loop.stop();
  }
  const simulation = new Simulation();
  const { reactor } = simulation.host('one');
  const times: number[] = [];
  const loop = new LoopingCall(() => {
    if (times.push(reactor.seconds()) > MOST) throw new Error('it goes on for ever');
  });
  loop.clock = reactor;
  void loop.start(0.25);
  simulation.advance(1.1);
  loop.stop();
  t.same(times, [0, 0.25, 0.5, 0.75, 1]);
  // Where all moments are come by, rounding may make two of one, a hair apart; as in Twisted.
  void loop.start(0.1);
  simulation.advance(1.05);
  loop.stop();
  const tenths = times.slice(5).map((time) => Math.round((time - 1.1) * 10));
  t.same([...new Set(tenths)], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

t.test('FND-71: a date that is set forward and back moves no call', async (t) => {
  const { now } = Date;
  t.teardown(() => {
    Date.now = now;
  });
  const reactor = new Reactor();
  const before = reactor.seconds();
  const made: number[] = [];
  const moves = [3600_000, -7200_000, 86_400_000 * 365, 0];
  const ended = new Promise<void>((resolve) => {
    reactor.callLater(3600, () => made.push(3600));
    const loop = new LoopingCall(() => {
      const move = moves.shift();
      if (move === undefined) {
        loop.stop();
        resolve();
        return;
      }
      made.push(move);
      Date.now = () => now() + move;
    });
    loop.clock = reactor;
    void loop.start(0.001);
  });
  await ended;
  t.same(made, [3600_000, -7200_000, 86_400_000 * 365, 0]);
  const passed = reactor.seconds() - before;
  t.ok(passed >= 0.003 && passed < 3600, 'seconds pass as they do');
  for (const call of reactor.getDelayedCalls()) call.cancel();
});
