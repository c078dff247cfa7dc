/** Calls to be made later: lib/time.ts, testing/clock.ts and `deferLater` of task.ts. No time passes in these tests. */
import { AsyncLocalStorage, createHook } from 'node:async_hooks';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  AlreadyCalled,
  AlreadyCancelled,
  CallQueue,
  CancelledError,
  type DelayedCall,
  Deferred,
  deferLater,
} from 'plait';
import {
  assertNoResult,
  Clock,
  failureResultOf,
  flushLoggedErrors,
  successResultOf,
} from 'plait/testing';
import { howMany } from '../campaign.ts';
import t from '../fixture.ts';
import { growsLinearly } from '../growth.ts';

/** A Clock, and what was called on it: `at(1, 'tea')` asks for it, `seen` has it with the time. */
function noting() {
  const clock = new Clock();
  const seen: string[] = [];
  const at = (delay: number, what: string) =>
    clock.callLater(delay, () => seen.push(`${what} at ${clock.seconds()}`));
  return { clock, seen, at };
}

t.test('callLater', async (t) => {
  t.test('makes the call when its time has come, once, with its arguments', async (t) => {
    const clock = new Clock();
    const seen: unknown[] = [];
    clock.callLater(2, (...args: unknown[]) => seen.push(args), 'tea', undefined, 7);
    clock.callLater(2, function (this: unknown, ...args) {
      seen.push([this, ...args]);
    });
    clock.advance(1.999);
    t.same(seen, []);
    clock.advance(0.001);
    t.same(seen, [['tea', undefined, 7], [undefined]]);
    clock.advance(100);
    t.equal(seen.length, 2);
  });

  t.test('makes calls in the order in which they are due', async (t) => {
    const { clock, seen, at } = noting();
    for (const delay of [3, 1, 2, 0]) at(delay, String(delay));
    clock.pump([0, 1, 1, 1]);
    t.same(seen, ['0 at 0', '1 at 1', '2 at 2', '3 at 3']);
  });

  t.test('makes calls that are due together in the order they were asked for', async (t) => {
    const { clock, seen, at } = noting();
    for (let i = 0; i < 100; i++) at(1, String(i));
    clock.advance(1);
    t.same(
      seen,
      Array.from({ length: 100 }, (_, i) => `${i} at 1`),
    );
  });

  t.test('returns a call that tells when it is due, and whether it is to come', async (t) => {
    const clock = new Clock();
    clock.advance(10);
    const call = clock.callLater(5, function tea() {});
    t.equal(call.getTime(), 15);
    t.equal(call.active(), true);
    const text = (call: unknown) => (call as DelayedCall).toString();
    t.equal(text(call), '<DelayedCall pending tea at 15>');
    clock.advance(5);
    t.equal(call.active(), false);
    t.equal(call.getTime(), 15);
    t.equal(text(call), '<DelayedCall called at 15>');
    const anonymous = clock.callLater(1, () => {});
    t.equal(text(anonymous), '<DelayedCall pending at 16>');
    anonymous.cancel();
    t.equal(text(anonymous), '<DelayedCall cancelled at 16>');
  });

  t.test('lists the calls that wait', async (t) => {
    const clock = new Clock();
    t.same(clock.getDelayedCalls(), []);
    const calls = [clock.callLater(2, () => {}), clock.callLater(1, () => {})];
    calls.push(clock.callLater(3, () => {}));
    calls[0]?.cancel();
    const waiting = clock.getDelayedCalls();
    t.equal(waiting.length, 2);
    t.ok(waiting.includes(calls[1]!) && waiting.includes(calls[2]!));
    clock.advance(1);
    t.equal(clock.getDelayedCalls()[0], calls[2]);
    const waitingThen: number[] = [];
    clock.callLater(0, () => waitingThen.push(clock.getDelayedCalls().length));
    clock.advance(0);
    t.same(waitingThen, [1], 'the one that is being made waits no more');
  });

  t.test('logs what a call throws, and makes the others', async (t) => {
    const { clock, seen, at } = noting();
    at(1, 'before');
    clock.callLater(1, () => {
      throw new RangeError('7 is too many');
    });
    at(1, 'after');
    clock.advance(1);
    t.same(seen, ['before at 1', 'after at 1']);
    t.match(flushLoggedErrors(RangeError), [
      { namespace: 'plait.time', level: 'critical', format: 'a delayed call failed' },
    ]);
  });

  t.test('keeps the AsyncLocalStorage context in which it was asked for', async (t) => {
    const clock = new Clock();
    const storage = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    storage.run('asked', () =>
      clock.callLater(1, (what) => seen.push(storage.getStore(), what), 1),
    );
    clock.callLater(1, () => seen.push(storage.getStore()));
    storage.run('advanced', () => clock.advance(1));
    t.same(seen, ['asked', 1, undefined]);
  });

  t.test('TIM-01: takes any finite delay, however long', async (t) => {
    const { clock, seen, at } = noting();
    for (const delay of [2 ** 53, 1e9, 30 * 86_400, 2_147_483.648]) at(delay, 'late');
    const once = clock.callLater(Number.MAX_VALUE, () => t.fail('never'));
    clock.advance(2_147_483.647);
    t.same(seen, []);
    clock.advance(1e9);
    t.equal(seen.length, 3);
    once.cancel();
    clock.advance(2 ** 53);
    t.equal(seen.length, 4);
  });

  t.test(
    'TIM-02: refuses a delay that is negative or not finite, and schedules nothing',
    async (t) => {
      const clock = new Clock();
      for (const delay of [NaN, -1, -Number.MIN_VALUE, Infinity, -Infinity]) {
        t.throws(() => clock.callLater(delay, () => {}), {
          name: 'RangeError',
          message: `callLater: delay must be 0 seconds or more and finite, not ${delay}`,
        });
      }
      for (const [delay, shown] of [
        ['5', '"5"'],
        [undefined, 'undefined'],
        [null, 'null'],
        [1n, '1n'],
        [{}, 'a plain object'],
      ]) {
        t.throws(() => clock.callLater(delay as never, () => {}), {
          name: 'TypeError',
          message: `callLater: delay must be a number of seconds, not ${shown as string}`,
        });
      }
      t.throws(() => clock.callLater(1, 'tea' as never), {
        name: 'TypeError',
        message: 'callLater: fn must be a function, not "tea"',
      });
      t.same(clock.getDelayedCalls(), []);
      let calls = 0;
      clock.callLater(0, () => calls++);
      clock.callLater(-0, () => calls++);
      clock.advance(0);
      t.equal(calls, 2, '0 and -0 will do');
    },
  );
});

t.test('a delayed call', async (t) => {
  t.test('TIM-07: cannot be cancelled, reset or delayed once it is over', async (t) => {
    const { clock, seen, at } = noting();
    const [made, cancelled] = [at(1, 'made'), at(1, 'cancelled')];
    at(2, 'other');
    cancelled.cancel();
    clock.advance(1);
    for (const [attempt, word] of [
      [(call: typeof made) => call.cancel(), 'cancelled'],
      [(call: typeof made) => call.reset(1), 'reset'],
      [(call: typeof made) => call.delay(1), 'delayed'],
    ] as const) {
      t.throws(() => attempt(made), new AlreadyCalled(`a call that was made cannot be ${word}`));
      t.throws(
        () => attempt(cancelled),
        new AlreadyCancelled(`a call that was cancelled cannot be ${word}`),
      );
    }
    t.equal(cancelled.getTime(), 1);
    clock.advance(1);
    t.same(seen, ['made at 1', 'other at 2']);
  });

  t.test('is over when its function runs', async (t) => {
    const clock = new Clock();
    const call = clock.callLater(1, () => {
      t.equal(call.active(), false);
      t.throws(() => call.cancel(), AlreadyCalled);
    });
    clock.advance(1);
    t.same(flushLoggedErrors(), []);
  });

  t.test('reset counts from now, later or sooner', async (t) => {
    const { clock, seen, at } = noting();
    const [later, sooner] = [at(5, 'later'), at(50, 'sooner')];
    clock.advance(4);
    later.reset(5);
    sooner.reset(1);
    t.equal(later.getTime(), 9);
    t.equal(sooner.getTime(), 5);
    clock.pump([1, 3.9]);
    t.same(seen, ['sooner at 5']);
    clock.advance(1);
    t.same(seen, ['sooner at 5', 'later at 9.9']);
  });

  t.test('delay counts from when it is due, and may bring it forward', async (t) => {
    const { clock, seen, at } = noting();
    const call = at(5, 'tea');
    clock.advance(3);
    call.delay(2);
    t.equal(call.getTime(), 7);
    call.delay(-3);
    t.equal(call.getTime(), 4);
    clock.advance(1);
    t.same(seen, ['tea at 4']);
    const past = at(5, 'at once');
    past.delay(-100);
    clock.advance(0);
    t.equal(seen[1], 'at once at 4');
  });

  t.test('put off again and again is made at the last time, to the last digit', async (t) => {
    fc.assert(
      fc.property(fc.array(fc.nat(1000), { minLength: 1, maxLength: 20 }), (tenths) => {
        const clock = new Clock();
        let calls = 0;
        const call = clock.callLater(30, () => calls++);
        for (const each of tenths) call.reset(each / 10);
        const last = tenths.at(-1)! / 10;
        assert.equal(call.getTime(), last);
        clock.advance(last);
        assert.equal(calls, 1);
      }),
    );
  });

  t.test('that is reset comes after those that were asked for before', async (t) => {
    const { clock, seen, at } = noting();
    const [first, , third] = [at(1, 'first'), at(2, 'second'), at(3, 'third')];
    first.reset(2);
    third.reset(2);
    clock.advance(2);
    t.same(seen, ['second at 2', 'first at 2', 'third at 2']);
    const same = at(1, 'asked first');
    at(1, 'asked second');
    same.reset(1);
    clock.advance(1);
    t.same(seen.slice(3), ['asked second at 3', 'asked first at 3']);
  });

  t.test('refuses to be reset or delayed by what is no time, and stays as it was', async (t) => {
    const clock = new Clock();
    const call = clock.callLater(5, () => {});
    for (const delay of [NaN, -1, Infinity]) t.throws(() => call.reset(delay), RangeError);
    for (const delay of [NaN, Infinity, -Infinity])
      t.throws(() => call.delay(delay), {
        name: 'RangeError',
        message: `DelayedCall.delay: seconds must be a finite number of seconds, not ${delay}`,
      });
    t.equal(call.getTime(), 5);
    call.cancel();
  });

  t.test('is cancelled at the end of a using block if it is still to come', async (t) => {
    const clock = new Clock();
    // What `using call = …` does at the end of its block.
    const pending = clock.callLater(1, () => t.fail('was disposed of'));
    pending[Symbol.dispose]();
    pending[Symbol.dispose]();
    t.equal(pending.active(), false);
    let calls = 0;
    const made = clock.callLater(1, () => calls++);
    clock.advance(1);
    made[Symbol.dispose]();
    t.equal(calls, 1);
  });
});

t.test('async hooks hear of a delayed call’s end as they did of its beginning', async (t) => {
  const known = new Set<number>();
  const hook = createHook({
    init: (id, type) => type === 'plait.delayed-call' && known.add(id),
    destroy: (id) => known.delete(id),
  }).enable();
  t.teardown(() => hook.disable());
  const clock = new Clock();
  clock.callLater(1, () => {});
  clock.callLater(1, () => {
    throw new RangeError('7 is too many');
  });
  clock.callLater(1, () => {}).cancel();
  t.equal(known.size, 3);
  clock.advance(1);
  flushLoggedErrors(RangeError);
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(known.size, 0);
});

t.test('Clock', async (t) => {
  t.test('jumps to the new time before it makes the calls', async (t) => {
    const { clock, seen, at } = noting();
    at(1, 'one');
    at(2, 'two');
    clock.advance(10);
    t.same(seen, ['one at 10', 'two at 10']);
  });

  t.test('makes calls too that are asked for by calls, if they are due by then', async (t) => {
    const { clock, seen, at } = noting();
    clock.callLater(1, () => {
      at(0, 'at once');
      at(1, 'later');
    });
    clock.advance(1);
    t.same(seen, ['at once at 1']);
    clock.advance(1);
    t.same(seen, ['at once at 1', 'later at 2']);
  });

  t.test('can be moved on by a call that it makes', async (t) => {
    const { clock, seen, at } = noting();
    clock.callLater(1, () => {
      clock.advance(1);
      seen.push('back');
    });
    at(2, 'two');
    at(3, 'three');
    clock.advance(1);
    t.same(seen, ['two at 2', 'back']);
    clock.advance(1);
    t.same(seen, ['two at 2', 'back', 'three at 3']);
  });

  t.test('does not go back', async (t) => {
    const clock = new Clock();
    t.throws(() => clock.advance(-1), {
      name: 'RangeError',
      message: 'advance: amount must be 0 seconds or more and finite, not -1',
    });
    t.throws(() => clock.pump([1, NaN]), RangeError);
    t.equal(clock.seconds(), 1);
  });
});

t.test('CallQueue', async (t) => {
  /** A queue, its time, and what it has announced. */
  const made = () => {
    const world = { now: 0, changes: 0 };
    const queue = new CallQueue(
      () => world.now,
      () => world.changes++,
    );
    return { queue, world };
  };

  t.test('makes no call during a pass that was asked for during it', async (t) => {
    const { queue, world } = made();
    const seen: string[] = [];
    const again = () => {
      seen.push('again');
      queue.add(0, again);
      t.equal(queue.size, 2, 'they wait with the others');
      t.equal(queue.pending().length, 2);
    };
    queue.add(0, again);
    queue.add(1, () => seen.push('other'));
    queue.runDue();
    t.same(seen, ['again']);
    world.now = 1;
    queue.runDue();
    t.same(seen, ['again', 'again', 'other'].sort());
  });

  t.test('makes those that become due during a pass in the next one', async (t) => {
    const { queue, world } = made();
    const seen: string[] = [];
    queue.add(0, () => (world.now = 2));
    queue.add(1, () => seen.push('due meanwhile'));
    queue.runDue();
    t.same(seen, []);
    queue.runDue();
    t.same(seen, ['due meanwhile']);
  });

  t.test('lets calls that were asked for during a pass be cancelled and moved in it', async (t) => {
    const { queue, world } = made();
    const seen: string[] = [];
    queue.add(0, () => {
      const [cancelled, forward, back] = ['cancelled', 'forward', 'back'].map((what) =>
        queue.add(5, () => seen.push(what)),
      );
      cancelled?.cancel();
      forward?.reset(1);
      back?.reset(9);
    });
    queue.runDue();
    t.equal(queue.size, 2);
    t.equal(queue.nextTime(), 1);
    world.now = 9;
    queue.runDue();
    t.same(seen, ['forward', 'back']);
  });

  t.test('goes on with the same pass when it is run from inside a call', async (t) => {
    const { queue } = made();
    const seen: string[] = [];
    queue.add(0, () => {
      queue.add(0, () => seen.push('new'));
      queue.runDue();
      seen.push('outer');
    });
    queue.add(0, () => seen.push('old'));
    queue.runDue();
    t.same(seen, ['old', 'outer']);
    queue.runDue();
    t.same(seen, ['old', 'outer', 'new']);
  });

  t.test('announces an earlier next call, and that none waits any more', async (t) => {
    const { queue, world } = made();
    const changes = (fn: () => unknown) => {
      const before = world.changes;
      fn();
      return world.changes - before;
    };
    let [first, second]: DelayedCall[] = [];
    t.equal(queue.nextTime(), undefined);
    t.equal(
      changes(() => (first = queue.add(5, () => {}))),
      1,
      'the first',
    );
    t.equal(
      changes(() => (second = queue.add(6, () => {}))),
      0,
      'a later one',
    );
    t.equal(
      changes(() => second?.reset(4)),
      1,
      'brought forward to the front',
    );
    t.equal(
      changes(() => first?.reset(4.5)),
      0,
      'brought forward, not to the front',
    );
    t.equal(
      changes(() => first?.reset(7)),
      0,
      'put off',
    );
    t.equal(queue.nextTime(), 4);
    t.equal(
      changes(() => second?.cancel()),
      0,
      'cancelled, and another waits',
    );
    t.equal(queue.nextTime(), 7);
    t.ok(changes(() => first?.cancel()) > 0, 'none waits any more');
    t.equal(queue.nextTime(), undefined);
    t.equal(queue.size, 0);
  });

  t.test('behaves like a sorted list, whatever is added, moved and cancelled', async (t) => {
    type Act =
      | { act: 'add'; delay: number }
      | { act: 'cancel' | 'reset' | 'delay'; which: number; delay: number }
      | { act: 'pass'; delay: number };
    const delay = fc.nat(8);
    const act: fc.Arbitrary<Act> = fc.oneof(
      { weight: 3, arbitrary: fc.record({ act: fc.constant('add' as const), delay }) },
      {
        weight: 3,
        arbitrary: fc.record({
          act: fc.constantFrom('cancel' as const, 'reset' as const, 'delay' as const),
          which: fc.nat(300),
          delay,
        }),
      },
      { weight: 1, arbitrary: fc.record({ act: fc.constant('pass' as const), delay }) },
    );
    fc.assert(
      fc.property(fc.array(act, { maxLength: 600, size: 'max' }), (acts) => {
        const { queue, world } = made();
        const seen: number[] = [];
        const expected: number[] = [];
        let order = 0;
        /** The simplest thing that could be right. */
        let model: { id: number; time: number; order: number }[] = [];
        const calls = new Map<number, DelayedCall>();
        for (const each of acts) {
          if (each.act === 'add') {
            const id = calls.size;
            calls.set(
              id,
              queue.add(each.delay, () => seen.push(id)),
            );
            model.push({ id, time: world.now + each.delay, order: order++ });
          } else if (each.act === 'pass') {
            world.now += each.delay;
            queue.runDue();
            const due = model.filter(({ time }) => time <= world.now);
            due.sort((a, b) => a.time - b.time || a.order - b.order);
            expected.push(...due.map(({ id }) => id));
            model = model.filter(({ time }) => time > world.now);
          } else {
            const entry = model[each.which % Math.max(model.length, 1)];
            if (entry === undefined) continue;
            const call = calls.get(entry.id);
            if (each.act === 'cancel') {
              call?.cancel();
              model = model.filter((other) => other !== entry);
            } else {
              if (each.act === 'reset') call?.reset(each.delay);
              else call?.delay(each.delay - 4);
              entry.time =
                each.act === 'reset' ? world.now + each.delay : entry.time + each.delay - 4;
              entry.order = order++;
            }
          }
          assert.deepEqual(seen, expected);
          assert.equal(queue.size, model.length);
          const times = model.map(({ time }) => time);
          assert.equal(queue.nextTime(), times.length === 0 ? undefined : Math.min(...times));
        }
      }),
      { numRuns: 200 },
    );
  });

  t.test('forgets cancelled calls in time, in a pass too', async (t) => {
    for (const inPass of [false, true]) {
      const { queue, world } = made();
      let stayed = 0;
      const test = () => {
        const stay = Array.from({ length: 1000 }, (_, i) => queue.add(i + 1, () => stayed++));
        const churn = (many: number) => {
          for (let i = 0; i < many; i++) queue.add(1e6 - i, () => t.fail('cancelled')).cancel();
        };
        t.ok(growsLinearly(churn, 5000), 'in linear time');
        t.equal(queue.size, stay.length);
        t.equal(queue.pending().length, stay.length);
      };
      if (inPass) {
        queue.add(0, test);
        queue.runDue();
      } else test();
      world.now = 2e6;
      queue.runDue();
      t.equal(stayed, 1000);
    }
  });
});

t.test('TIM-09: very many calls at different times', async (t) => {
  const SIZE = howMany(100_000, 1_000_000);
  t.test('are made in order, but for the half that is cancelled', async (t) => {
    const clock = new Clock();
    let last = -1;
    let made = 0;
    const calls = Array.from({ length: SIZE }, (_, i) => {
      // Every time once, in an order of its own.
      const time = (i * 600_011) % SIZE;
      return clock.callLater(time, () => {
        made++;
        if (time <= last) t.fail(`${time} came after ${last}`);
        last = time;
      });
    });
    for (let i = 0; i < SIZE; i += 2) calls[i]?.cancel();
    t.equal(clock.getDelayedCalls().length, SIZE / 2);
    clock.advance(SIZE);
    t.equal(made, SIZE / 2);
    t.equal(clock.getDelayedCalls().length, 0);
  });

  t.test('leave nothing behind when all are cancelled', async (t) => {
    const clock = new Clock();
    /** After as many collections as it takes, within reason. */
    const heapUsed = async (enough = 0) => {
      for (let i = 0; i < 20; i++) {
        await new Promise((resolve) => setImmediate(resolve));
        globalThis.gc?.();
        if (process.memoryUsage().heapUsed < enough) break;
      }
      return process.memoryUsage().heapUsed;
    };
    const base = await heapUsed();
    (function ask() {
      const calls = Array.from({ length: SIZE }, (_, i) => clock.callLater(i, () => {}));
      for (const call of calls) call.cancel();
    })();
    const left = (await heapUsed(base + 2 ** 20)) - base;
    t.ok(left < 2 ** 20, `${left} bytes are left`);
    let made = 0;
    clock.callLater(1, () => made++);
    clock.advance(1);
    t.equal(made, 1);
  });
});

t.test('deferLater', async (t) => {
  t.test('fires with what comes of the call', async (t) => {
    const clock = new Clock();
    const sum = deferLater(clock, 2, (a: number, b: number) => a + b, 1, 2);
    const failed = deferLater(clock, 2, () => {
      throw new RangeError('7 is too many');
    });
    const inner = new Deferred<string>();
    const waiting = deferLater(clock, 2, () => inner);
    clock.advance(1);
    assertNoResult(sum);
    clock.advance(1);
    t.equal(successResultOf(sum), 3);
    failureResultOf(failed, RangeError);
    assertNoResult(waiting);
    inner.callback('tea');
    t.equal(successResultOf(waiting), 'tea');
  });

  t.test('just fires if there is nothing to call', async (t) => {
    const clock = new Clock();
    const d = deferLater(clock, 1);
    clock.advance(1);
    t.equal(d.state, 'succeeded');
    t.equal(d.result, undefined);
  });

  t.test('cancelled, calls it off', async (t) => {
    const clock = new Clock();
    const d = deferLater(clock, 1, () => t.fail('was called off'));
    d.cancel();
    failureResultOf(d, CancelledError);
    t.same(clock.getDelayedCalls(), []);
    clock.advance(2);
  });

  t.test('cancelled while it waits for what the call returned, cancels that', async (t) => {
    const clock = new Clock();
    const inner = new Deferred<string>();
    const d = deferLater(clock, 1, () => inner);
    clock.advance(1);
    d.cancel();
    t.equal(inner.called, true);
    failureResultOf(d, CancelledError);
  });

  t.test('refuses a delay that cannot be', async (t) => {
    t.throws(() => deferLater(new Clock(), -1), RangeError);
  });
});
