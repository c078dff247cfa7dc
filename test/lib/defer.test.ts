/** Deferred and what stands around it: lib/defer.ts, chain.ts, maybe.ts, unhandled.ts, inline.ts and gather.ts. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage, createHook } from 'node:async_hooks';
import { getEventListeners } from 'node:events';
import { inspect } from 'node:util';
import fc from 'fast-check';
import {
  AlreadyCalledError,
  CancelledError,
  type Coroutine,
  Deferred,
  DeferredList,
  deferLater,
  ensureDeferred,
  eventAsText,
  fail,
  Failure,
  FailureGroup,
  FirstError,
  gatherResults,
  getDebugging,
  inlineCallbacks,
  Logger,
  LogPublisher,
  maybeDeferred,
  NotACoroutineError,
  race,
  reportUnhandledFailures,
  setDebugging,
  setUnhandledFailureHook,
  succeed,
  TimeoutError,
  type UnhandledFailure,
  unhandledFailures,
} from 'plait';
import {
  assertNoResult,
  Clock,
  failureResultOf,
  flushLoggedErrors,
  successResultOf,
} from 'plait/testing';
import { run } from '../child.ts';
import t, { type Test } from '../fixture.ts';
import { growsLinearly } from '../growth.ts';

const tooMany = () => new RangeError('7 is too many');

/** A turn of the event loop. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Takes turns, collecting garbage in each, until `done`. */
async function collectGarbage(done: () => boolean, most = 100): Promise<void> {
  for (let i = 0; i < most && !done(); i++) {
    globalThis.gc?.();
    await turn();
  }
}

/** What is reported as unhandled from now on, until the test ends. */
function reports(t: Test): UnhandledFailure[] {
  const reported: UnhandledFailure[] = [];
  setUnhandledFailureHook((unhandled) => reported.push(unhandled));
  t.teardown(() => setUnhandledFailureHook());
  return reported;
}

/** Something that JavaScript allows to be thrown and returned, and that throws at whoever looks at it. */
function hostileProxy(): object {
  const refuse = () => {
    throw new Error('hands off');
  };
  return new Proxy({}, { getPrototypeOf: refuse, get: refuse, has: refuse, ownKeys: refuse });
}

// ── Firing and the chain ─────────────────────────────────────────────────────────────────────────────────────────────

t.test('a Deferred that is fired', async (t) => {
  t.test('runs its callbacks in order, before callback() returns', async (t) => {
    const seen: string[] = [];
    const d = new Deferred<string>();
    const second = d.addCallback((value) => seen.push(`first ${value}`));
    second.addCallback((n) => seen.push(`then ${n}`));
    t.same(seen, []);
    d.callback('tea');
    t.same(seen, ['first tea', 'then 1']);
  });

  t.test('runs a callback that is added later before addCallback returns', async (t) => {
    let seen: string | undefined;
    succeed('tea').addCallback((value) => (seen = value));
    t.equal(seen, 'tea');
  });

  t.test('passes on what each callback returns, undefined too', async (t) => {
    const d = succeed(1).addCallback((n) => n + 1);
    t.equal(d.result, 2);
    const nothing: Deferred<unknown> = d.addCallback(() => undefined);
    t.equal(successResultOf(nothing), undefined);
  });

  t.test('with an Error as its value has succeeded with it', async (t) => {
    const error = tooMany();
    const d = new Deferred<Error>();
    d.addErrback(() => t.fail('this is no failure'));
    d.callback(error);
    t.equal(successResultOf(d), error);
    t.equal(successResultOf(succeed(1).addCallback(() => error)), error);
  });

  t.test('needs no value where it carries none', async (t) => {
    const d = new Deferred<void>();
    d.callback();
    t.equal(d.state, 'succeeded');
    t.equal(succeed().state, 'succeeded');
  });

  t.test('with an error gives errbacks a Failure of that error', async (t) => {
    const error = tooMany();
    const d = new Deferred<number>();
    d.errback(error);
    const failure = failureResultOf(d, RangeError);
    t.equal(failure.value, error);
  });

  t.test('with a Failure gives errbacks that Failure', async (t) => {
    const failure = new Failure(tooMany());
    t.equal(failureResultOf(fail(failure)), failure);
    const d = new Deferred<unknown>();
    d.callback(failure);
    t.equal(failureResultOf(d), failure, 'callback() too fails with a Failure');
  });

  t.test('with another Deferred is a mistake, and leaves it unfired', async (t) => {
    const d = new Deferred<unknown>();
    t.throws(() => d.callback(succeed(1)), {
      name: 'TypeError',
      message:
        'a Deferred cannot be fired with a Deferred: return it from a callback, or chainDeferred it',
    });
    assertNoResult(d);
    d.callback(2);
    t.equal(successResultOf(d), 2);
  });

  t.test('DEF-05: cannot be fired again, either way', async (t) => {
    for (const first of ['callback', 'errback'] as const) {
      const d = new Deferred<number>();
      if (first === 'callback') d.callback(1);
      else d.errback(tooMany());
      t.throws(() => d.callback(2), {
        name: 'AlreadyCalledError',
        message: 'this Deferred has already been fired',
      });
      t.throws(() => d.errback(new Error('no')), { name: 'AlreadyCalledError' });
      t.equal(
        successResultOf(d.addErrback(() => 7)),
        first === 'callback' ? 1 : 7,
        'it keeps the first result',
      );
    }
  });

  t.test(
    'fails with what a callback throws, and recovers with what an errback returns',
    async (t) => {
      const d = succeed('tea')
        .addCallback((): string => {
          throw tooMany();
        })
        .addCallback(() => t.fail('skipped by the failure'))
        .addErrback((failure) => failure.trap(RangeError).message)
        .addErrback(() => t.fail('skipped by the value'));
      t.equal(successResultOf(d), '7 is too many');
    },
  );

  t.test('fails with a Failure that a callback or errback returns', async (t) => {
    const failure = new Failure(tooMany());
    t.equal(failureResultOf(succeed(1).addCallback(() => failure)), failure);
    t.equal(failureResultOf(fail(failure).addErrback((same) => same)), failure, 'DEF-15');
  });

  t.test('DEF-15: fails with the newer error if an errback throws', async (t) => {
    const d = fail(tooMany()).addErrback((failure) => {
      throw new TypeError('worse', { cause: failure.value });
    });
    t.equal(failureResultOf(d, TypeError).value.message, 'worse');
  });

  t.test('calls exactly one side of addCallbacks', async (t) => {
    const sides = (d: Deferred<number>) =>
      successResultOf(
        d.addCallbacks(
          (value) => {
            if (value === 2) throw new Error('not for the other side');
            return `ok ${value}`;
          },
          (failure) => `bad ${failure.value.message}`,
        ),
      );
    t.equal(sides(succeed(1)), 'ok 1');
    t.equal(sides(fail(tooMany())), 'bad 7 is too many');
    t.throws(() => sides(succeed(2)), /not for the other side/);
  });

  t.test('lets a failure pass where addCallbacks has only one side', async (t) => {
    const d = fail<number>(tooMany()).addCallbacks((n) => n + 1);
    failureResultOf(d, RangeError);
  });

  t.test('calls addBoth with either, and everything with its further arguments', async (t) => {
    const both = (result: unknown, ...more: unknown[]) => [
      result instanceof Failure ? result.getErrorMessage() : result,
      ...more,
    ];
    t.same(successResultOf(succeed(1).addBoth(both, 2, 3)), [1, 2, 3]);
    t.same(successResultOf(fail(tooMany()).addBoth(both)), ['7 is too many']);
    t.same(successResultOf(succeed(1).addCallback(both, 2, undefined)), [1, 2, undefined]);
    t.same(successResultOf(fail(tooMany()).addErrback(both, 'x')), ['7 is too many', 'x']);
  });

  t.test('is one and the same object, whatever is added', async (t) => {
    const d: Deferred<unknown> = new Deferred<number>();
    const same = (result: unknown) => result;
    t.equal(d.addCallback(same), d);
    t.equal(d.addErrback(same), d);
    t.equal(d.addBoth(same), d);
    t.equal(d.addCallbacks(same, same), d);
    t.equal(d.addTimeout(1, new Clock()), d);
    t.equal(d.cancelOn(new AbortController().signal), d);
    t.equal(d.chainDeferred(new Deferred()), d);
  });

  t.test('takes nothing but functions', async (t) => {
    const d = succeed(1);
    const no = 'tea' as never;
    const message = 'a callback must be a function, not "tea"';
    for (const add of [
      () => d.addCallback(no),
      () => d.addErrback(no),
      () => d.addBoth(no),
      () => d.addBoth(no, 1 as never),
      () => d.addCallbacks(no),
      () => d.addCallbacks(() => 1, no),
    ])
      t.throws(add, { name: 'TypeError', message });
    t.throws(() => d.addCallback(undefined as never), /not undefined/);
    t.throws(() => d.addCallbacks(() => 1, null as never), /not null/);
    t.equal(successResultOf(d), 1);
  });

  t.test('runs what a callback adds after what was added before, in the same pass', async (t) => {
    const seen: string[] = [];
    const d = new Deferred<string>();
    d.addCallback((value) => {
      d.addCallback((later) => seen.push(`added inside: ${later}`));
      seen.push(`one: ${value}`);
      return 'from one';
    });
    d.addCallback((value) => {
      seen.push(`two: ${value}`);
      return 'from two';
    });
    d.callback('start');
    t.same(seen, ['one: start', 'two: from one', 'added inside: from two']);
  });

  t.test('can be fired only once from inside its own callback, too', async (t) => {
    const d = new Deferred<number>();
    d.addCallback(() => d.callback(2));
    d.callback(1);
    failureResultOf(d, AlreadyCalledError);
  });

  t.test('says how far it is', async (t) => {
    const d = new Deferred<unknown>();
    const look = () => [d.state, d.called, d.paused, d.result, d.waitingOn, String(d)];
    t.same(look(), ['unfired', false, 0, undefined, undefined, '<Deferred>']);
    const inner = new Deferred<unknown>();
    d.addCallback(() => inner);
    d.callback(1);
    t.same(look().slice(0, 4), ['waiting', true, 1, undefined]);
    t.equal(d.waitingOn, inner);
    t.equal(String(d), '<Deferred waiting for another>');
    inner.callback({ cups: 7 });
    t.same(look(), [
      'succeeded',
      true,
      0,
      { cups: 7 },
      undefined,
      '<Deferred current result: { cups: 7 }>',
    ]);
    d.addCallback(() => new Failure(tooMany()));
    t.equal(d.state, 'failed');
    t.ok(d.result instanceof Failure);
    t.equal(inspect(d), '<Deferred current result: [Failure RangeError: 7 is too many]>');
    t.equal(unhandledFailures().length, 1, 'looking does not handle a failure');
    failureResultOf(d);
  });
});

// ── Waiting for another ──────────────────────────────────────────────────────────────────────────────────────────────

t.test('a callback that returns a Deferred', async (t) => {
  t.test('makes the chain wait for it', async (t) => {
    const inner = new Deferred<number>();
    const d = succeed('x')
      .addCallback(() => inner)
      .addCallback((n) => n + 1);
    assertNoResult(d);
    inner.callback(1);
    t.equal(successResultOf(d), 2);
  });

  t.test('hands the result over: the inner one goes on with undefined', async (t) => {
    for (const firedFirst of [true, false]) {
      const inner = new Deferred<number>();
      if (firedFirst) inner.callback(1);
      const d = succeed('x').addCallback(() => inner);
      if (!firedFirst) inner.callback(1);
      t.equal(successResultOf(d), 1);
      t.equal(successResultOf(inner), undefined);
    }
  });

  t.test('hands a failure over: it is then the outer one that has to handle it', async (t) => {
    for (const firedFirst of [true, false]) {
      const inner = new Deferred<number>();
      if (firedFirst) inner.errback(tooMany());
      const d = succeed('x').addCallback(() => inner);
      if (!firedFirst) inner.errback(tooMany());
      t.equal(unhandledFailures().length, 1);
      failureResultOf(d, RangeError);
      t.equal(unhandledFailures().length, 0);
    }
  });

  t.test('waits for what the inner one waits for, and for it to be unpaused', async (t) => {
    const innermost = new Deferred<number>();
    const inner = succeed(1).addCallback(() => innermost);
    const d = succeed('x').addCallback(() => inner);
    inner.pause();
    innermost.callback(5);
    assertNoResult(d);
    inner.unpause();
    t.equal(successResultOf(d), 5);
    const paused = succeed(6);
    paused.pause();
    const waiting = succeed('x').addCallback(() => paused);
    assertNoResult(waiting);
    t.equal(waiting.paused, 1);
    paused.unpause();
    t.equal(successResultOf(waiting), 6);
  });

  t.test('runs what the inner one had before, first', async (t) => {
    const seen: string[] = [];
    const inner = new Deferred<string>();
    const note = (who: string) => (value: unknown) => {
      seen.push(`${who}: ${value}`);
      return value;
    };
    inner.addCallback(note('inner before'));
    const d = succeed('x')
      .addCallback(() => inner)
      .addCallback(note('outer'));
    inner.addCallback(note('inner after'));
    inner.callback('tea');
    t.same(seen, ['inner before: tea', 'outer: tea', 'inner after: undefined']);
    t.equal(successResultOf(d), 'tea');
  });

  t.test('that two wait for serves the one that came first', async (t) => {
    const shared = new Deferred<string>();
    const first = succeed(1).addCallback(() => shared);
    const second = succeed(2).addCallback(() => shared);
    shared.callback('tea');
    t.equal(successResultOf(first), 'tea');
    t.equal(successResultOf(second), undefined);
  });

  t.test('lets things be added to both from any callback', async (t) => {
    const seen: string[] = [];
    const inner = new Deferred<string>();
    const outer = succeed(1)
      .addCallback(() => inner)
      .addCallback((value) => {
        inner.addCallback((left) => seen.push(`inner: ${left}`));
        outer.addCallback((mine) => seen.push(`outer: ${mine}`));
        return value;
      });
    inner.callback('tea');
    t.same(seen, ['inner: undefined', 'outer: tea']);
  });

  t.test('DEF-08: that is its own fails at once', async (t) => {
    const d = new Deferred<number>();
    const same: Deferred<unknown> = d.addCallback(() => same);
    d.callback(1);
    const error = failureResultOf(d, TypeError).value;
    t.equal(error.message, 'a Deferred cannot wait for itself: a callback returned it');
  });

  t.test('DEF-08: that waits for it in turn fails at once, in a ring of any size', async (t) => {
    for (const size of [2, 3, 10]) {
      const ring = Array.from({ length: size }, () => new Deferred<unknown>());
      for (const [i, d] of ring.entries()) d.addCallback(() => ring[(i + 1) % size]);
      for (const d of ring) d.callback('start');
      const results = ring.map((d) => d.addErrback((failure) => failure.value.name).result);
      t.equal(results.filter((result) => result === 'TypeError').length, 1, `ring of ${size}`);
      t.ok(
        ring.every((d) => d.state === 'succeeded'),
        'nobody waits any more',
      );
    }
  });

  t.test('may come back with another one each time', async (t) => {
    const steps = [new Deferred<number>(), new Deferred<number>(), new Deferred<number>()];
    const d: Deferred<number> = succeed(0);
    for (const step of steps) d.addCallback((sum) => step.addCallback((n) => sum + n));
    steps[1]?.callback(20);
    steps[0]?.callback(1);
    assertNoResult(d);
    steps[2]?.callback(300);
    t.equal(successResultOf(d), 321);
  });
});

t.test('chainDeferred gives the result to another', async (t) => {
  const [a, b] = [new Deferred<number>(), new Deferred<number>()];
  a.chainDeferred(b);
  a.callback(1);
  t.equal(successResultOf(b), 1);
  t.equal(successResultOf(a), undefined);
  const [c, d] = [new Deferred<number>(), new Deferred<number>()];
  c.chainDeferred(d);
  c.errback(tooMany());
  failureResultOf(d, RangeError);
  t.equal(successResultOf(c), undefined);
  const [e, f] = [new Deferred<number>(), new Deferred<number>()];
  e.chainDeferred(f);
  f.cancel();
  failureResultOf(f, CancelledError);
  t.equal(e.called, false, 'cancelling the other does not cancel this one');
  e.callback(1);
  t.equal(successResultOf(e), undefined);
});

t.test(
  'chainDeferred leaves undefined to a callback that the other one adds at once',
  async (t) => {
    const [one, other] = [succeed(1), new Deferred<number>()];
    const seen: unknown[] = [];
    other.addCallback(() => {
      one.addCallback((value) => {
        seen.push(value);
      });
    });
    one.chainDeferred(other);
    t.same(seen, [undefined]);
  },
);

t.test('chainDeferred leaves undefined, though the other one pauses it', (t) => {
  const [one, other] = [new Deferred<void>(), new Deferred<void>()];
  other.addErrback(() => {
    one.pause();
  });
  one.chainDeferred(other);
  one.errback(tooMany());
  t.equal(one.paused, 1);
  t.equal(one.result, undefined);
  t.equal(unhandledFailures().length, 0);
  t.end();
});

t.test('a failure that comes back from the Deferred that it was chained to is unhandled', (t) => {
  const one = new Deferred<void>();
  const other = new Deferred<void>();
  one.chainDeferred(other);
  one.errback(tooMany());
  one.addCallback(() => other);
  t.equal(unhandledFailures().length, 1);
  failureResultOf(one, RangeError);
  t.end();
});

t.test('a paused Deferred', async (t) => {
  t.test('runs nothing until it has been unpaused as often', async (t) => {
    const d = new Deferred<number>();
    const sum = d.addCallback((n) => n + 1);
    d.pause();
    d.pause();
    d.callback(1);
    t.equal(d.paused, 2);
    t.equal(d.result, 1);
    d.unpause();
    t.equal(d.result, 1);
    d.unpause();
    t.equal(successResultOf(sum), 2);
  });

  t.test('that is not fired yet runs when it is', async (t) => {
    const d = new Deferred<number>();
    d.pause();
    d.unpause();
    d.callback(1);
    t.equal(successResultOf(d), 1);
  });

  t.test('cannot be unpaused more often than it was paused', async (t) => {
    const d = new Deferred();
    t.throws(() => d.unpause(), { name: 'RangeError', message: 'unpause() without pause()' });
    d.pause();
    d.unpause();
    t.throws(() => d.unpause(), RangeError);
  });

  t.test('can be paused and unpaused from inside a callback', async (t) => {
    const seen: string[] = [];
    const d = new Deferred<string>();
    d.addCallback((value) => {
      d.pause();
      return value;
    }).addCallback((value) => seen.push(value));
    d.callback('held back');
    t.same(seen, []);
    d.unpause();
    t.same(seen, ['held back']);
    d.addCallback(() => {
      d.pause();
      d.unpause();
      return 'at once';
    }).addCallback((value) => seen.push(value));
    t.same(seen, ['held back', 'at once']);
  });

  t.test('while it waits for another stays paused when that has fired', async (t) => {
    const inner = new Deferred<number>();
    const d = succeed(0).addCallback(() => inner);
    d.pause();
    t.equal(d.paused, 2);
    inner.callback(1);
    t.equal(d.paused, 1);
    t.equal(d.result, 1);
    d.unpause();
    t.equal(successResultOf(d), 1);
  });
});

t.test(
  'random chains come to the same, whenever they and what they wait for are fired',
  async (t) => {
    type Kind =
      'value' | 'throw' | 'failure' | 'fired' | 'failed' | 'later' | 'fails later' | 'same';
    interface Step {
      readonly kind: Kind;
      readonly side: 'ok' | 'bad' | 'both';
    }
    const step = fc.record<Step>({
      kind: fc.constantFrom(
        'value',
        'throw',
        'failure',
        'fired',
        'failed',
        'later',
        'fails later',
        'same',
      ),
      side: fc.constantFrom('ok', 'bad', 'both'),
    });
    const fails = (kind: Kind) => ['throw', 'failure', 'failed', 'fails later'].includes(kind);
    /** What each function should be called with, and what is left in the end. */
    const expected = (failed: boolean, steps: readonly Step[]) => {
      const trace: string[] = [];
      let result = failed ? '!start' : 'start';
      steps.forEach(({ kind, side }, at) => {
        const isFailure = result.startsWith('!');
        if (side !== 'both' && (side === 'bad') !== isFailure) return;
        trace.push(`${at} ${result}`);
        if (kind !== 'same') result = `${fails(kind) ? '!' : ''}${at}`;
      });
      return [...trace, `end ${result}`];
    };
    const show = (result: unknown) =>
      result instanceof Failure ? `!${result.getErrorMessage()}` : String(result);
    const real = (
      failed: boolean,
      steps: readonly Step[],
      fireAfter: number,
      fireInner: boolean,
    ) => {
      const trace: string[] = [];
      const waiting: (() => void)[] = [];
      const d = new Deferred<unknown>();
      const fire = () => (failed ? d.errback(new Error('start')) : d.callback('start'));
      steps.forEach(({ kind, side }, at) => {
        if (at === fireAfter) fire();
        const value = String(at);
        const step = (result: unknown): unknown => {
          trace.push(`${at} ${show(result)}`);
          const error = new Error(value);
          if (kind === 'value') return value;
          if (kind === 'throw') throw error;
          if (kind === 'failure') return new Failure(error);
          if (kind === 'fired') return succeed(value);
          if (kind === 'failed') return fail(error);
          if (kind === 'same') return result;
          const later = new Deferred<string>();
          waiting.push(() => (kind === 'later' ? later.callback(value) : later.errback(error)));
          return later;
        };
        if (side === 'ok') d.addCallback(step);
        else if (side === 'bad') d.addErrback(step);
        else d.addBoth(step);
        if (fireInner) waiting.pop()?.();
      });
      if (fireAfter >= steps.length) fire();
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) next();
      d.addBoth((result) => void trace.push(`end ${show(result)}`));
      return trace;
    };
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.array(step, { maxLength: 30 }),
        fc.nat(30),
        fc.boolean(),
        (failed, steps, fireAfter, fireInner) => {
          assert.deepEqual(real(failed, steps, fireAfter, fireInner), expected(failed, steps));
          assert.equal(unhandledFailures().length, 0);
        },
      ),
      { numRuns: 1000 },
    );
  },
);

// ── Cancelling ───────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('cancel', async (t) => {
  t.test('DEF-05: of one without a canceller ignores one late result, and no more', async (t) => {
    for (const late of ['callback', 'errback'] as const) {
      const d = new Deferred<number>();
      d.cancel();
      t.equal(d.called, true);
      if (late === 'callback') d.callback(1);
      else d.errback(tooMany());
      t.throws(() => d.callback(2), AlreadyCalledError);
      const { message } = failureResultOf(d, CancelledError).value;
      t.equal(message, 'the Deferred was cancelled');
    }
  });

  t.test('calls the canceller, with the Deferred, and then fails it', async (t) => {
    const calls: unknown[] = [];
    const d: Deferred<number> = new Deferred<number>((...args) => calls.push(...args));
    d.cancel();
    t.equal(calls.length, 1);
    t.equal(calls[0], d);
    failureResultOf(d, CancelledError);
    t.throws(() => d.callback(1), AlreadyCalledError, 'its sender was told, so nothing is ignored');
  });

  t.test('lets the canceller decide on the result', async (t) => {
    const value = new Deferred<string>((d) => d.callback('what there is so far'));
    value.cancel();
    t.equal(successResultOf(value), 'what there is so far');
    const failed = new Deferred<string>((d) => d.errback(tooMany()));
    failed.cancel();
    failureResultOf(failed, RangeError);
  });

  t.test('throws what the canceller throws, and leaves it unfired', async (t) => {
    const d = new Deferred<number>(() => {
      throw tooMany();
    });
    t.throws(() => d.cancel(), { name: 'RangeError', message: '7 is too many' });
    assertNoResult(d);
    d.callback(1);
    t.equal(successResultOf(d), 1);
  });

  t.test('of one that has fired does nothing', async (t) => {
    const d = new Deferred<number>(() => t.fail('the canceller is of no use any more'));
    d.callback(1);
    d.cancel();
    t.equal(successResultOf(d), 1);
  });

  t.test('twice does no more than once', async (t) => {
    let calls = 0;
    const d = new Deferred<number>(() => calls++);
    d.cancel();
    d.cancel();
    t.equal(calls, 1);
    failureResultOf(d, CancelledError);
  });

  t.test('reaches the innermost of those that wait for each other', async (t) => {
    let cancelled = 0;
    const innermost = new Deferred<string>(() => cancelled++);
    const inner = succeed(1).addCallback(() => innermost);
    const outer = succeed(2).addCallback(() => inner);
    outer.cancel();
    t.equal(cancelled, 1);
    failureResultOf(outer, CancelledError);
  });

  t.test('can be handled on the way out, and waited on further', async (t) => {
    const next = new Deferred<string>();
    const inner = new Deferred<string>();
    const outer = succeed(1)
      .addCallback(() => inner)
      .addErrback((failure) => {
        failure.trap(CancelledError);
        return next;
      });
    outer.cancel();
    assertNoResult(outer);
    next.callback('plan B');
    t.equal(successResultOf(outer), 'plan B');
  });

  t.test('reaches the members of a list that is waited for, and lets the list fire', async (t) => {
    for (const make of [
      (d: Deferred<string>) => new DeferredList([d], { consumeErrors: true }),
      (d: Deferred<string>) => gatherResults([d], { consumeErrors: true }),
      (d: Deferred<string>) => race([d]),
    ]) {
      const member = new Deferred<string>();
      const outer = succeed(1).addCallback(() => make(member) as Deferred<unknown>);
      outer.cancel();
      t.equal(member.called, true);
      t.equal(outer.called, true);
      outer.addErrback((failure) => failure.check(FirstError, FailureGroup) ?? failure);
      t.equal(outer.state, 'succeeded');
    }
  });
});

t.test('addTimeout', async (t) => {
  t.test('fails one that has no result in time, with how long it was', async (t) => {
    const clock = new Clock();
    const d = new Deferred<string>().addTimeout(2.5, clock);
    clock.advance(2.4);
    assertNoResult(d);
    clock.advance(0.1);
    const error = failureResultOf(d, TimeoutError).value;
    t.equal(error.message, 'not done after 2.5 seconds');
    t.ok(error.cause instanceof CancelledError);
  });

  t.test('leaves a result that comes in time, and no timer', async (t) => {
    const clock = new Clock();
    const good = new Deferred<string>();
    const bad = new Deferred<string>();
    const all = [good, bad, succeed('tea')].map((d) => d.addTimeout(1, clock));
    good.callback('tea');
    bad.errback(tooMany());
    t.equal(clock.getDelayedCalls().length, 0);
    t.equal(successResultOf(all[0] as Deferred<string>), 'tea');
    failureResultOf(all[1] as Deferred<string>, RangeError);
    t.equal(successResultOf(all[2] as Deferred<string>), 'tea');
  });

  t.test('lets pass what the canceller makes of it', async (t) => {
    const clock = new Clock();
    const value = new Deferred<string>((d) => d.callback('half')).addTimeout(1, clock);
    const other = new Deferred<string>((d) => d.errback(tooMany())).addTimeout(1, clock);
    clock.advance(1);
    t.equal(successResultOf(value), 'half');
    failureResultOf(other, RangeError);
  });

  t.test('is not to blame for somebody else’s cancel', async (t) => {
    const clock = new Clock();
    const d = new Deferred<string>().addTimeout(1, clock);
    d.cancel();
    failureResultOf(d, CancelledError);
    t.equal(clock.getDelayedCalls().length, 0);
  });

  t.test('may give another result instead', async (t) => {
    const clock = new Clock();
    const d = new Deferred<string>().addTimeout(
      1,
      clock,
      (result, timeout) => `${(result as Failure).value.name} after ${timeout} s`,
    );
    const inTime = new Deferred<string>().addTimeout(1, clock, () => t.fail('came in time'));
    inTime.cancel();
    failureResultOf(inTime, CancelledError);
    clock.advance(1);
    t.equal(successResultOf(d), 'CancelledError after 1 s');
  });

  t.test('covers what was added before, and not what is added after', async (t) => {
    const clock = new Clock();
    const before = new Deferred<string>();
    const covered = succeed(1)
      .addCallback(() => before)
      .addTimeout(1, clock);
    const after = new Deferred<string>();
    const uncovered = succeed(1)
      .addTimeout(1, clock)
      .addCallback(() => after);
    clock.advance(2);
    failureResultOf(covered, TimeoutError);
    assertNoResult(uncovered);
  });

  t.test('refuses a time that cannot be', async (t) => {
    const d = new Deferred<string>();
    t.throws(() => d.addTimeout(NaN, new Clock()), RangeError);
    t.throws(() => d.addTimeout(-1, new Clock()), RangeError);
  });
});

t.test('cancelOn', async (t) => {
  /** A signal that counts its listeners. */
  const controlled = () => {
    const controller = new AbortController();
    const { signal } = controller;
    const listeners = () => getEventListeners(signal, 'abort').length;
    return { controller, signal, listeners };
  };

  t.test('cancels when the signal is aborted', async (t) => {
    const { controller, signal, listeners } = controlled();
    const d = new Deferred<string>().cancelOn(signal);
    controller.abort();
    failureResultOf(d, CancelledError);
    t.equal(listeners(), 0);
  });

  t.test('cancels at once if the signal was aborted before', async (t) => {
    const { controller, signal, listeners } = controlled();
    controller.abort();
    failureResultOf(new Deferred<string>().cancelOn(signal), CancelledError);
    t.equal(listeners(), 0);
  });

  t.test('leaves no listener when there is a result', async (t) => {
    const { controller, signal, listeners } = controlled();
    const d = new Deferred<string>().cancelOn(signal);
    const failed = new Deferred<string>().cancelOn(signal);
    t.equal(listeners(), 1);
    d.callback('tea');
    failed.errback(tooMany());
    t.equal(listeners(), 0);
    controller.abort();
    t.equal(successResultOf(d), 'tea');
    failureResultOf(failed, RangeError);
  });
});

// ── Promises ─────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('DEF-12: await', async (t) => {
  t.test('shows the value at this point of the chain, and leaves it there', async (t) => {
    const d = succeed(1);
    const promises = [d.asPromise(), d.then((n) => n * 10)];
    d.addCallback((n) => n + 1);
    t.same(await Promise.all(promises), [1, 10]);
    t.equal(await Promise.resolve(d), 2);
    t.equal(await d, 2);
    t.equal(await d, 2, 'as often as one likes');
    t.equal(successResultOf(d), 2);
  });

  t.test('waits for what is not fired, and for what waits itself', async (t) => {
    const inner = new Deferred<string>();
    const outer = succeed(1).addCallback(() => inner);
    const both = Promise.all([outer, outer]);
    inner.callback('tea');
    t.same(await both, ['tea', 'tea']);
  });

  t.test('rejects with the Error, and then the failure is no longer unhandled', async (t) => {
    const error = tooMany();
    for (const late of [false, true]) {
      const d = fail(error);
      if (late) await turn();
      await t.rejects(d.asPromise(), error);
      const caught: unknown = await d.then(
        () => t.fail('has failed'),
        (reason: unknown) => reason,
      );
      t.equal(caught, error);
      t.equal(unhandledFailures().length, 0);
      t.ok(d.result instanceof Failure, 'it stays in the chain');
    }
    const later = new Deferred<string>();
    const rejected = t.rejects(later.asPromise(), error);
    later.errback(error);
    await rejected;
    t.equal(unhandledFailures().length, 0);
  });

  t.test('does not answer for a failure that comes after it', async (t) => {
    const d = fail(tooMany());
    await t.rejects(d.asPromise());
    d.addErrback(() => {
      throw new TypeError('another one');
    });
    t.same(
      unhandledFailures().map(({ failure }) => failure.value.name),
      ['TypeError'],
    );
    failureResultOf(d, TypeError);
  });

  t.test('that nobody catches is reported once, by Node and not by plait', async (t) => {
    const { stdout, stderr, code } = await run(
      t,
      `
      import { fail } from 'plait';
      process.on('unhandledRejection', (error) => console.log('rejected', error.message));
      fail(new RangeError('7 is too many')).asPromise();
      `,
    );
    t.equal(stdout, 'rejected 7 is too many\n');
    t.equal(stderr, '');
    t.equal(code, 0);
  });
});

t.test('DEF-12: a callback that returns a promise or thenable', async (t) => {
  t.test('makes the chain wait for it', async (t) => {
    t.equal(await succeed(1).addCallback(async (n) => n + 1), 2);
    const d = succeed(1).addCallback(async () => {
      throw tooMany();
    });
    await t.rejects(d.asPromise(), RangeError);
    const rejected = succeed(1).addCallback(async () => {
      throw 'no Error at all' as unknown;
    });
    await t.rejects(rejected.asPromise(), { message: "thrown value: 'no Error at all'" });
  });

  t.test('takes anything that has a method then, a function too', async (t) => {
    const thenable = { then: (ok: (value: string) => void) => ok('tea') };
    t.equal(await succeed(1).addCallback(() => thenable), 'tea');
    const fn = Object.assign(() => 1, thenable);
    t.equal(await succeed(1).addCallback((): unknown => fn), 'tea');
    const plain = () => 1;
    t.equal(successResultOf(succeed(1).addCallback((): unknown => plain)), plain);
    const noMethod = { then: 'later' };
    t.equal(successResultOf(succeed(1).addCallback((): unknown => noMethod)), noMethod);
  });

  t.test('fails where its then cannot be looked at, or throws', async (t) => {
    const getter = {
      get then(): unknown {
        throw tooMany();
      },
    };
    const thrower = {
      then() {
        throw tooMany();
      },
    };
    for (const thing of [getter, thrower]) {
      const d = succeed(1).addCallback((): unknown => thing);
      await t.rejects(d.asPromise(), RangeError);
    }
  });

  t.test('keeps to the first result if it settles more than once', async (t) => {
    type Settle = (value: unknown) => void;
    const misbehaved = [
      (ok: Settle) => {
        ok('tea');
        ok('coffee');
      },
      (ok: Settle, bad: Settle) => {
        ok('tea');
        bad(tooMany());
      },
      (ok: Settle) => {
        ok('tea');
        throw tooMany();
      },
      (ok: Settle) => ok({ then: (inner: Settle) => inner('tea') }),
      (ok: Settle) => ok(succeed('tea')),
    ];
    for (const then of misbehaved) {
      const d = succeed(1).addCallback((): unknown => ({ then }));
      t.equal(await d, 'tea', then.toString());
    }
  });

  t.test('may return anything else, even a Proxy that throws at every touch', async (t) => {
    const proxy = hostileProxy();
    const d = succeed(1)
      .addCallback(() => proxy)
      .addBoth(() => 'still alive');
    t.equal(successResultOf(d), 'still alive');
  });
});

t.test('fromPromise', async (t) => {
  t.test('has the value or error of the promise', async (t) => {
    t.equal(await Deferred.fromPromise(Promise.resolve(1)), 1);
    await t.rejects(Deferred.fromPromise(Promise.reject(tooMany())).asPromise(), RangeError);
  });

  t.test('cancelled, fails at once and ignores what comes of the promise', async (t) => {
    for (const promise of [async () => 'late', () => Promise.reject(tooMany())]) {
      const d = Deferred.fromPromise(promise());
      d.cancel();
      failureResultOf(d, CancelledError);
      await turn();
    }
  });

  t.test('cancelled with abort, waits for what the promise really does', async (t) => {
    let aborts = 0;
    let settle: (value: string) => void = () => {};
    const promise = new Promise<string>((resolve) => (settle = resolve));
    const d = Deferred.fromPromise(promise, { abort: () => aborts++ });
    const outer = succeed(1).addCallback(() => d);
    outer.cancel();
    t.equal(aborts, 1);
    assertNoResult(outer);
    settle('could not be stopped any more');
    t.equal(await outer, 'could not be stopped any more');
  });
});

// ── Of what is there already ─────────────────────────────────────────────────────────────────────────────────────────

t.test('maybeDeferred', async (t) => {
  t.test('returns a Deferred as it is', async (t) => {
    const d = new Deferred<number>();
    t.equal(
      maybeDeferred(() => d),
      d,
    );
  });

  t.test('succeeds with a value, and passes arguments on', async (t) => {
    t.equal(successResultOf(maybeDeferred((a: number, b: number) => a + b, 1, 2)), 3);
    t.equal(maybeDeferred(() => {}).state, 'succeeded');
  });

  t.test('fails with a Failure, or with what is thrown', async (t) => {
    failureResultOf(
      maybeDeferred(() => new Failure(tooMany())),
      RangeError,
    );
    failureResultOf(maybeDeferred(JSON.parse, '{"broken"'), SyntaxError);
  });

  t.test('waits for a promise', async (t) => {
    t.equal(await maybeDeferred(async () => 1), 1);
    const broken = maybeDeferred(async () => {
      throw tooMany();
    });
    await t.rejects(broken.asPromise(), RangeError);
  });
});

t.test(
  'DEF-07: whatever is thrown becomes a Failure that can be looked at and logged',
  async (t) => {
    const unreadable = new Error('x');
    Object.defineProperty(unreadable, 'message', { get: () => hostileProxy() });
    Object.defineProperty(unreadable, 'name', {
      get() {
        throw new Error('hands off');
      },
    });
    const symbolic = Object.assign(new Error('x'), { message: Symbol('not text') });
    const revoked = Proxy.revocable(new Error('x'), {});
    revoked.revoke();
    const things: [name: string, thing: unknown][] = [
      ['undefined', undefined],
      ['null', null],
      ['a string', 'tea'],
      ['a frozen object', Object.freeze({ cups: 7 })],
      ['a frozen Error', Object.freeze(tooMany())],
      ['an Error whose message cannot be read', unreadable],
      ['an Error whose message is no text', symbolic],
      ['an object without a prototype', Object.create(null)],
      ['a Proxy that throws', hostileProxy()],
      ['a revoked Proxy', revoked.proxy],
    ];
    for (const [name, thing] of things) {
      const d = succeed(1).addCallback(() => {
        throw thing;
      });
      const failure = failureResultOf(d);
      t.ok(failure.value instanceof Error, name);
      t.equal(failure.check(TypeError, 'ENOENT'), undefined);
      t.equal(failure.check(Error), failure.value);
      t.equal(failure.trap(Error), failure.value);
      const texts: string[] = [];
      const log = new Logger('tea', new LogPublisher((event) => texts.push(eventAsText(event))));
      log.failure('it was thrown', failure);
      t.match(texts, [/it was thrown\n./]);
      for (const text of [String(failure), failure.getErrorMessage(), failure.getTraceback()])
        t.type(text, 'string');
    }
  },
);

// ── Failures that nobody handles ─────────────────────────────────────────────────────────────────────────────────────

t.test('DEF-06: a failure that nobody handles', async (t) => {
  t.test(
    'is logged once when its Deferred is collected, with the stack of the error',
    async (t) => {
      (function drop() {
        const d = new Deferred<string>();
        // Thrown by a callback: the Error’s stack must not keep the Deferred alive.
        d.addCallback(() => {
          throw tooMany();
        });
        d.callback('tea');
      })();
      let logged = flushLoggedErrors(RangeError);
      await collectGarbage(
        () => (logged = [...logged, ...flushLoggedErrors(RangeError)]).length > 0,
      );
      await collectGarbage(() => false, 3);
      logged.push(...flushLoggedErrors());
      t.match(logged, [
        { level: 'critical', namespace: 'plait.defer', format: 'unhandled failure in a Deferred' },
      ]);
      t.match(logged[0]?.failure?.getTraceback(), /RangeError: 7 is too many\n.*defer\.test\.ts/);
      t.equal(unhandledFailures().length, 0);
    },
  );

  t.test('is not reported while the Deferred lives, nor when it is handled late', async (t) => {
    const reported = reports(t);
    let d: Deferred<unknown> | undefined = fail(tooMany());
    await collectGarbage(() => false, 5);
    t.equal(unhandledFailures().length, 1);
    t.same(reported, []);
    failureResultOf(d, RangeError);
    d = undefined;
    await collectGarbage(() => false, 5);
    t.same(reported, []);
    t.equal(unhandledFailures().length, 0);
  });

  t.test('is reported once, for the last that has it', async (t) => {
    const reported = reports(t);
    (function drop() {
      const inner = fail(tooMany());
      succeed(1)
        .addCallback(() => inner)
        .addCallback(() => t.fail('has failed'));
    })();
    await collectGarbage(() => reported.length > 0);
    await collectGarbage(() => false, 3);
    t.equal(reported.length, 1);
  });

  t.test('is not reported if another came instead of it; the other is', async (t) => {
    const reported = reports(t);
    const kept = [fail(tooMany())];
    await turn();
    (function drop() {
      kept.pop()?.addErrback(() => {
        throw new TypeError('worse');
      });
    })();
    t.same(
      unhandledFailures().map(({ failure }) => failure.value.name),
      ['TypeError'],
    );
    await collectGarbage(() => reported.length > 0);
    await collectGarbage(() => false, 3);
    t.same(
      reported.map(({ failure }) => failure.value.name),
      ['TypeError'],
    );
  });

  t.test('is reported for each member of a list that does not consume errors', async (t) => {
    const reported = reports(t);
    (function drop() {
      new DeferredList([fail(new Error('kept'))]);
      new DeferredList([fail(new Error('consumed'))], { consumeErrors: true });
    })();
    await collectGarbage(() => reported.length > 0);
    await collectGarbage(() => false, 3);
    t.same(
      reported.map(({ failure }) => failure.value.message),
      ['kept'],
    );
  });

  t.test('is known before it is reported, and then reported on demand, once', async (t) => {
    const reported = reports(t);
    const d = fail(tooMany());
    t.match(unhandledFailures(), [
      { failure: { value: { message: '7 is too many' } }, history: '' },
    ]);
    reportUnhandledFailures();
    t.equal(reported.length, 1);
    t.equal(unhandledFailures().length, 0);
    reportUnhandledFailures();
    failureResultOf(d, RangeError);
    await collectGarbage(() => false, 3);
    t.equal(reported.length, 1);
  });

  t.test('is reported though its error does not let itself be looked at', async (t) => {
    const reported = reports(t);
    const silent = Object.defineProperty(new Error('x'), 'cause', {
      get() {
        throw new Error('hands off');
      },
    });
    fail(silent);
    reportUnhandledFailures();
    t.equal(reported[0]?.failure.value, silent);
  });

  t.test('is found among thousands in one turn', async (t) => {
    const all = Array.from({ length: 5_000 }, (_, i) => fail(new Error(String(i))));
    t.equal(unhandledFailures().length, 5_000);
    for (const d of all.slice(1)) failureResultOf(d);
    t.same(
      unhandledFailures().map(({ failure }) => failure.value.message),
      ['0'],
    );
    failureResultOf(all[0] as Deferred<never>);
  });

  t.test('is reported by a hook, which may fail without harm', async (t) => {
    const before = setUnhandledFailureHook(() => {
      throw tooMany();
    });
    t.teardown(() => setUnhandledFailureHook());
    fail(new Error('no'));
    reportUnhandledFailures();
    t.match(flushLoggedErrors(RangeError), [
      { format: 'what is told of unhandled failures failed: {error}' },
    ]);
    setUnhandledFailureHook(before);
    fail(new TypeError('yes'));
    reportUnhandledFailures();
    t.equal(flushLoggedErrors(TypeError).length, 1, 'the hook that was there before logs it');
    t.equal(setUnhandledFailureHook(), before);
  });

  t.test('is reported when the process exits', async (t) => {
    const { stdout, stderr, code } = await run(
      t,
      `
      import { fail } from 'plait';
      const kept = globalThis.kept = [fail(new RangeError('7 is too many')), fail(new Error('8'))];
      kept.push(fail(new Error('handled')).addErrback(() => {}));
      setTimeout(() => console.log('not reported yet'), 1);
      `,
    );
    t.equal(stdout, 'not reported yet\n');
    t.equal(stderr.match(/unhandled failure in a Deferred/g)?.length, 2);
    t.match(stderr, /RangeError: 7 is too many\n.*program\.mjs/);
    t.equal(code, 0);
  });
});

t.test('with debugging on, errors tell where a Deferred was made and fired', async (t) => {
  t.equal(getDebugging(), false);
  setDebugging(true);
  t.teardown(() => setDebugging(false));
  t.equal(getDebugging(), true);
  function makes() {
    return new Deferred<number>();
  }
  function fires(d: Deferred<number>) {
    d.callback(1);
  }
  const d = makes();
  fires(d);
  const history = /\ncreated here:\n.*makes.*defer\.test\.ts[^]*\nfirst fired here:\n[^]*fires/;
  t.throws(() => d.callback(2), { name: 'AlreadyCalledError', message: history });
  const failed = makes().addErrback((failure) => failure);
  failed.errback(tooMany());
  const [unhandled] = unhandledFailures();
  t.match(unhandled?.history, /\ncreated here:\n.*makes/);
  reportUnhandledFailures();
  const [event] = flushLoggedErrors(RangeError);
  t.match(
    eventAsText(event as never),
    /unhandled failure in a Deferred\n\s*created here:\n.*makes/,
  );
  failureResultOf(failed);
  setDebugging(false);
  const plain = makes();
  fires(plain);
  t.throws(() => fires(plain), { message: 'this Deferred has already been fired' });
});

// ── Coroutines ───────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a coroutine', async (t) => {
  t.test('starts at once, and goes on inside the callback() that it waits for', async (t) => {
    const seen: string[] = [];
    const tea = new Deferred<string>();
    const d = inlineCallbacks(function* (who: string) {
      seen.push(`${who} waits`);
      const what = yield* tea;
      seen.push(`${who} has ${what}`);
      return what.length;
    })('she');
    t.same(seen, ['she waits']);
    assertNoResult(d);
    tea.callback('tea');
    t.same(seen, ['she waits', 'she has tea']);
    t.equal(successResultOf(d), 3);
  });

  t.test('has this, and all arguments', async (t) => {
    class Shop {
      readonly name = 'tea shop';
      readonly greet = inlineCallbacks(function* (this: Shop, ...whom: string[]) {
        return `${this.name} greets ${whom.join(', ')}`;
      });
    }
    t.equal(successResultOf(new Shop().greet('her', 'him')), 'tea shop greets her, him');
  });

  t.test('shares what it waits for: the value stays in the Deferred', async (t) => {
    const shared = new Deferred<string>();
    const wait = inlineCallbacks(function* () {
      return yield* shared;
    });
    const before = [wait(), wait()];
    shared.callback('tea');
    t.same(
      [...before, wait()].map((d) => successResultOf(d)),
      ['tea', 'tea', 'tea'],
    );
    t.equal(successResultOf(shared), 'tea');
  });

  t.test('has a failure thrown where it waits, and may catch it', async (t) => {
    const wait = inlineCallbacks(function* (d: Deferred<string>) {
      try {
        return yield* d;
      } catch (error) {
        return (error as Error).message;
      }
    });
    t.equal(successResultOf(wait(fail(tooMany()))), '7 is too many');
    const later = new Deferred<string>();
    const d = wait(later);
    later.errback(tooMany());
    t.equal(successResultOf(d), '7 is too many');
    t.equal(unhandledFailures().length, 0, 'the failure was seen, so it is not unhandled');
    t.ok(later.result instanceof Failure, 'and stays where it was');
  });

  t.test('fails with what it does not catch, the same Error', async (t) => {
    const error = tooMany();
    const wait = inlineCallbacks(function* (d: Deferred<string>) {
      yield* d;
    });
    const thrown = inlineCallbacks(function* () {
      throw error;
    });
    const later = new Deferred<string>();
    const waiting = wait(later);
    later.errback(error);
    for (const d of [waiting, wait(fail(error)), thrown()])
      t.equal(failureResultOf(d, RangeError).value, error);
  });

  t.test('waits for promises and other coroutines that it yields', async (t) => {
    function* brew(what: string): Coroutine<string> {
      return `a cup of ${(yield succeed(what)) as string}`;
    }
    const d = inlineCallbacks(function* () {
      const cup = (yield brew('tea')) as string;
      const same = yield* brew('tea');
      t.equal(cup, same);
      const late = (yield Promise.resolve(7)) as number;
      const thenable = (yield { then: (ok: (n: number) => void) => ok(1) }) as number;
      try {
        yield Promise.reject(tooMany());
      } catch (error) {
        return [cup, late, thenable, (error as Error).message];
      }
      return [];
    })();
    t.same(await d, ['a cup of tea', 7, 1, '7 is too many']);
  });

  t.test('gets everything else that it yields straight back; a Failure is thrown', async (t) => {
    const things = [
      undefined,
      null,
      0,
      'tea',
      { cups: 7 },
      [1, 2],
      () => 1,
      new Date(0),
      new Map(),
    ];
    const back = inlineCallbacks(function* () {
      const all: unknown[] = [];
      for (const thing of things) all.push(yield thing);
      return all;
    });
    const all = successResultOf(back());
    t.ok(things.every((thing, i) => thing === all[i]));
    const thrown = inlineCallbacks(function* () {
      yield new Failure(tooMany());
    });
    failureResultOf(thrown(), RangeError);
  });

  t.test('has the error thrown where what it yields cannot even be looked at', async (t) => {
    const catching = inlineCallbacks(function* (thing: unknown) {
      try {
        yield thing;
        return 'not thrown';
      } catch (error) {
        return error instanceof RangeError ? 'caught' : error;
      }
    });
    const throwing = (key: string) =>
      Object.defineProperty({}, key, {
        get() {
          throw tooMany();
        },
      });
    t.equal(successResultOf(catching(throwing('then'))), 'caught');
    t.equal(successResultOf(catching(throwing('next'))), 'caught');
  });

  t.test('returns a Deferred, a promise or a Failure as a callback does', async (t) => {
    const returns = (thing: unknown) =>
      inlineCallbacks(function* () {
        yield* succeed(1);
        return thing;
      })();
    const later = new Deferred<string>();
    const d = returns(later);
    assertNoResult(d);
    later.callback('tea');
    t.equal(successResultOf(d), 'tea');
    t.equal(await returns(Promise.resolve(1)), 1);
    failureResultOf(returns(new Failure(tooMany())), RangeError);
  });

  t.test('must be a generator', async (t) => {
    const none = inlineCallbacks((() => 1) as never);
    const error = failureResultOf(none(), TypeError).value;
    t.match(error.message, /needs a generator function: write function\* and yield\*/);
    const throws = inlineCallbacks(() => {
      throw tooMany();
    });
    failureResultOf(throws(), RangeError);
    failureResultOf(inlineCallbacks((() => null) as never)(), TypeError);
    failureResultOf(inlineCallbacks((() => [1]) as never)(), TypeError);
  });

  t.test('waits for one that is paused, or that has callbacks to run first', async (t) => {
    const paused = succeed(1);
    paused.pause();
    const d = inlineCallbacks(function* () {
      return yield* paused.addCallback((n) => n + 1);
    })();
    assertNoResult(d);
    paused.unpause();
    t.equal(successResultOf(d), 2);
    const inside = new Deferred<number>();
    const told: number[] = [];
    inside.addCallback((n) => {
      const seen = inlineCallbacks(function* () {
        return yield* inside;
      })();
      assertNoResult(seen);
      seen.addCallback((value) => told.push(value));
      return n * 10;
    });
    inside.callback(1);
    t.same(told, [10]);
    t.equal(successResultOf(inside), 10);
  });

  t.test(
    'whose Deferred somebody else has fired goes to its end, and that is logged',
    async (t) => {
      const gate = new Deferred<string>();
      const d = inlineCallbacks(function* () {
        return yield* gate;
      })();
      d.callback('not yours to fire');
      gate.callback('tea');
      t.equal(flushLoggedErrors(AlreadyCalledError).length, 1);
      t.equal(successResultOf(d), 'not yours to fire');
      t.equal(successResultOf(gate), 'tea', 'the Deferred that it waited for is sound');
    },
  );

  t.test('keeps the AsyncLocalStorage context of its caller throughout', async (t) => {
    const storage = new AsyncLocalStorage<string>();
    const gate = [new Deferred<void>(), new Deferred<void>()];
    const walk = inlineCallbacks(function* () {
      const seen = [storage.getStore()];
      for (const d of gate) {
        yield* d;
        seen.push(storage.getStore());
      }
      return seen;
    });
    const first = storage.run('caller', () => walk());
    const none = walk();
    storage.run('somebody else', () => gate[0]?.callback());
    gate[1]?.callback();
    t.same(successResultOf(first), ['caller', 'caller', 'caller']);
    t.same(successResultOf(none), [undefined, undefined, undefined]);
  });

  t.test('tells async hooks of its end as it did of its beginning', async (t) => {
    const known = new Set<number>();
    const hook = createHook({
      init: (id, type) => type === 'plait.coroutine' && known.add(id),
      destroy: (id) => known.delete(id),
    }).enable();
    t.teardown(() => hook.disable());
    const wait = inlineCallbacks(function* (first: Deferred<void>, d: Deferred<number>) {
      yield* first;
      return yield* d;
    });
    const [good, bad] = [new Deferred<number>(), new Deferred<number>()];
    const gates = [new Deferred<void>(), new Deferred<void>()] as const;
    const waiting = [wait(gates[0], good), wait(gates[1], bad)];
    for (const gate of gates) gate.callback();
    // From Node 24 on there is one for each wait as well.
    t.ok(known.size >= 2, `${known.size}`);
    good.callback(1);
    bad.errback(tooMany());
    successResultOf(waiting[0] as Deferred<number>);
    failureResultOf(waiting[1] as Deferred<number>);
    await turn();
    t.equal(known.size, 0);
  });

  t.test('with a Clock is done when advance() returns', async (t) => {
    const clock = new Clock();
    const seen: number[] = [];
    const countdown = inlineCallbacks(function* (from: number) {
      for (let n = from; n > 0; n--) {
        seen.push(n);
        yield* deferLater(clock, 1);
      }
      return 'lift-off';
    });
    const d = countdown(3);
    clock.pump([1, 1]);
    t.same(seen, [3, 2, 1]);
    assertNoResult(d);
    clock.advance(1);
    t.equal(successResultOf(d), 'lift-off');
  });
});

t.test('cancelling a coroutine', async (t) => {
  t.test('cancels what it waits for, and throws CancelledError there', async (t) => {
    let cancelled = 0;
    let cleaned = false;
    const d = inlineCallbacks(function* () {
      try {
        yield* new Deferred<void>(() => cancelled++);
      } finally {
        cleaned = true;
      }
    })();
    d.cancel();
    t.equal(cancelled, 1);
    t.equal(cleaned, true);
    failureResultOf(d, CancelledError);
  });

  t.test('lets it catch that, wait again, be cancelled again, and return a value', async (t) => {
    const d = inlineCallbacks(function* () {
      let caught = 0;
      for (;;) {
        try {
          yield* new Deferred<void>();
        } catch {
          if (++caught === 2) return `cancelled ${caught} times`;
        }
      }
    })();
    d.cancel();
    assertNoResult(d);
    d.cancel();
    t.equal(successResultOf(d), 'cancelled 2 times');
  });

  t.test('goes through coroutines that wait for one another', async (t) => {
    let cancelled = 0;
    const inner = inlineCallbacks(function* () {
      yield* new Deferred<void>(() => cancelled++);
    });
    const outer = inlineCallbacks(function* () {
      yield* succeed(1).addCallback(() => inner());
    });
    const d = succeed(1).addCallback(() => outer());
    d.cancel();
    t.equal(cancelled, 1);
    failureResultOf(d, CancelledError);
  });

  t.test('from inside itself cancels what it waits for next, and no more', async (t) => {
    const start = new Deferred<void>();
    const next = new Deferred<string>();
    const after = new Deferred<string>();
    const d: Deferred<string> = inlineCallbacks(function* () {
      yield* start;
      d.cancel();
      yield* succeed('what is there already is not waited for');
      try {
        return yield* next;
      } catch (error) {
        return `${yield* after} after ${(error as Error).name}`;
      }
    })();
    start.callback();
    t.equal(next.called, true);
    assertNoResult(d);
    after.callback('tea');
    t.equal(successResultOf(d), 'tea after CancelledError');
  });

  t.test('from inside itself survives a canceller that throws', async (t) => {
    const start = new Deferred<void>();
    const stubborn = new Deferred<string>(() => {
      throw tooMany();
    });
    const d: Deferred<string> = inlineCallbacks(function* () {
      yield* start;
      d.cancel();
      return yield* stubborn;
    })();
    start.callback();
    t.equal(flushLoggedErrors(RangeError).length, 1);
    failureResultOf(d, CancelledError);
    stubborn.callback('in the end, and ignored');
    start.addCallback(() => t.pass('the Deferred that resumed it is sound'));
  });

  t.test('that waits for itself, alone or in a ring, comes to an end', async (t) => {
    for (const size of [1, 2, 3, 10]) {
      const start = new Deferred<void>();
      const ring: Deferred<unknown>[] = [];
      const wait = inlineCallbacks(function* (i: number) {
        yield* start;
        yield* ring[(i + 1) % size] as Deferred<unknown>;
      });
      for (let i = 0; i < size; i++) ring.push(wait(i));
      start.callback();
      for (const d of ring) d.cancel();
      for (const d of ring) assertNoResult(d);
    }
  });

  t.test('that has come to its end does nothing', async (t) => {
    const d = inlineCallbacks(function* () {
      return 1;
    })();
    d.cancel();
    t.equal(successResultOf(d), 1);
  });

  t.test('of a list that it waits for reaches the members of the list', async (t) => {
    const member = new Deferred<string>();
    const d = inlineCallbacks(function* () {
      return yield* gatherResults([member]);
    })();
    d.cancel();
    t.equal(member.called, true);
    failureResultOf(d, FirstError);
    failureResultOf(member, CancelledError);
  });
});

t.test('yield* outside a coroutine runner is an ordinary generator', async (t) => {
  const iterate = (d: Deferred<string>) => d[Symbol.iterator]();
  const waiting = new Deferred<string>();
  const one = iterate(waiting);
  t.same(one.next(), { done: false, value: waiting });
  t.same(one.next('tea'), { done: true, value: 'tea' });
  t.same(iterate(succeed('tea')).next(), { done: true, value: 'tea' });
  t.throws(() => iterate(fail(tooMany())).next(), RangeError);
  const stopped = iterate(waiting);
  stopped.next();
  t.same(stopped.return('enough'), { done: true, value: 'enough' });
  t.throws(() => stopped.throw(tooMany()), RangeError);
  t.equal(stopped[Symbol.iterator](), stopped);
});

t.test('ensureDeferred', async (t) => {
  const d = new Deferred<number>();
  t.equal(ensureDeferred(d), d, 'returns a Deferred as it is');
  function* one(): Coroutine<number> {
    return (yield* succeed(1)) + 1;
  }
  t.equal(successResultOf(ensureDeferred(one())), 2, 'runs a generator');
  t.equal(await ensureDeferred(Promise.resolve(3)), 3, 'waits for a promise');
  for (const thing of [undefined, null, 7, 'tea', {}, [], one])
    t.throws(() => ensureDeferred(thing as never), NotACoroutineError);
});

// ── Several at once ──────────────────────────────────────────────────────────────────────────────────────────────────

t.test('DeferredList', async (t) => {
  t.test('fires with what became of each, in the order given', async (t) => {
    const all = [new Deferred<number>(), new Deferred<number>(), new Deferred<number>()] as const;
    const list = new DeferredList(all);
    all[2].callback(3);
    all[1].errback(tooMany());
    assertNoResult(list);
    all[0].callback(1);
    t.match(successResultOf(list), [
      [true, 1],
      [false, { value: { message: '7 is too many' } }],
      [true, 3],
    ]);
    t.equal(successResultOf(all[0]), 1, 'the Deferreds keep their results');
    failureResultOf(all[1], RangeError);
  });

  t.test('of none fires at once', async (t) => {
    t.same(successResultOf(new DeferredList([])), []);
    t.same(successResultOf(new DeferredList([], { fireOnOneErrback: true })), []);
    assertNoResult(new DeferredList([], { fireOnOneCallback: true }));
  });

  t.test('keeps to the Deferreds that it was given', async (t) => {
    const first = new Deferred<number>();
    const given = [first];
    const list = new DeferredList(given);
    given.push(new Deferred<number>());
    first.callback(1);
    t.same(successResultOf(list), [[true, 1]]);
  });

  t.test('with consumeErrors handles each failure, even after it has fired', async (t) => {
    const all = [new Deferred<number>(), new Deferred<number>()] as const;
    const list = new DeferredList(all, { consumeErrors: true, fireOnOneErrback: true });
    all[0].errback(tooMany());
    const { index, subFailure } = failureResultOf(list, FirstError).value;
    t.equal(index, 0);
    t.ok(subFailure.check(RangeError));
    all[1].errback(new Error('too late to be heard'));
    t.equal(successResultOf(all[1]), undefined);
  });

  t.test('with fireOnOneCallback fires with the first value and its number', async (t) => {
    const all = [new Deferred<string>(), new Deferred<string>()] as const;
    const list = new DeferredList(all, { fireOnOneCallback: true, consumeErrors: true });
    all[0].errback(tooMany());
    assertNoResult(list);
    all[1].callback('tea');
    t.same(successResultOf(list), ['tea', 1]);
    const failing = [fail(tooMany()), fail(tooMany())];
    const none = new DeferredList(failing, { fireOnOneCallback: true, consumeErrors: true });
    t.match(successResultOf(none), [[false], [false]], 'if all fail, with what became of each');
  });

  t.test('cancelled, cancels each, and fires when they have', async (t) => {
    const stubborn = new Deferred<string>((d) => d.callback('not me'));
    const broken = new Deferred<string>(() => {
      throw tooMany();
    });
    const all = [new Deferred<string>(), stubborn, broken] as const;
    const list = new DeferredList(all, { consumeErrors: true });
    list.cancel();
    t.match(flushLoggedErrors(RangeError), [{ format: 'a canceller failed' }]);
    t.match(successResultOf(list), [
      [false, { value: { name: 'CancelledError' } }],
      [true, 'not me'],
      [false, { value: { name: 'CancelledError', cause: { name: 'RangeError' } } }],
    ]);
    broken.callback('in the end, and ignored');
  });

  t.test('cancelled after it has fired, leaves the others alone', async (t) => {
    const other = new Deferred<string>();
    const list = new DeferredList([succeed('tea'), other], { fireOnOneCallback: true });
    list.cancel();
    t.equal(other.called, false);
    t.same(successResultOf(list), ['tea', 0]);
  });

  t.test('cancelled while its chain waits for another, cancels that', async (t) => {
    const next = new Deferred<string>();
    const list: Deferred<unknown> = new DeferredList([succeed('tea')]).addCallback(() => next);
    list.cancel();
    t.equal(next.called, true);
    failureResultOf(list, CancelledError);
  });

  t.test('whose member waits for it in turn can be cancelled', async (t) => {
    const member: Deferred<unknown> = new Deferred<unknown>(() => list.cancel());
    const list = new DeferredList([member], { consumeErrors: true });
    list.cancel();
    t.match(successResultOf(list), [[false, { value: { name: 'CancelledError' } }]]);
  });
});

t.test('gatherResults', async (t) => {
  t.test('has the values in order', async (t) => {
    const second = new Deferred<string>();
    const d = gatherResults([succeed(1), second]);
    second.callback('two');
    t.same(successResultOf(d), [1, 'two']);
    t.same(successResultOf(gatherResults([])), []);
  });

  t.test('fails with the first failure, and leaves the others running', async (t) => {
    const all = [new Deferred<number>(), new Deferred<number>(), new Deferred<number>()] as const;
    const d = gatherResults(all);
    all[1].errback(tooMany());
    const error = failureResultOf(d, FirstError).value;
    t.equal(error.index, 1);
    t.equal(error.message, 'number 1 failed first: RangeError: 7 is too many');
    t.equal(error.cause, failureResultOf(all[1], RangeError).value);
    t.equal(all[0].called, false);
    all[2].errback(new Error('still its own'));
    failureResultOf(all[2]);
  });

  t.test('with cancelOnError cancels the others, and handles their failures', async (t) => {
    const all = [new Deferred<number>(), new Deferred<number>(), succeed(3)];
    const d = gatherResults(all, { cancelOnError: true });
    all[1]?.errback(tooMany());
    t.equal(failureResultOf(d, FirstError).value.index, 1);
    t.equal(all[0]?.called, true);
    t.equal(unhandledFailures().length, 0);
    t.equal(successResultOf(all[2] as Deferred<number>), 3);
  });

  t.test('cancelled, cancels each', async (t) => {
    const all = [new Deferred<number>(), new Deferred<number>()];
    const d = gatherResults(all, { consumeErrors: true });
    d.cancel();
    t.ok(all.every((each) => each.called));
    const { subFailure } = failureResultOf(d, FirstError).value;
    t.ok(subFailure.check(CancelledError));
  });

  t.test('DEF-10: of 100,000 that fire in random order keeps the order', async (t) => {
    const SIZE = 100_000;
    const all = Array.from({ length: SIZE }, () => new Deferred<number>());
    const d = gatherResults(all);
    const list = new DeferredList(all);
    const seed = Date.now() % SIZE;
    t.comment(`seed ${seed}`);
    // The step and the size have no common factor, so that it comes to each of them once.
    for (let i = 0, at = seed; i < SIZE; i++, at = (at + 60_013) % SIZE) all[at]?.callback(at);
    t.ok(successResultOf(d).every((value, i) => value === i));
    t.ok(successResultOf(list).every(([ok, value], i) => ok && value === i));
  });
});

t.test('race', async (t) => {
  t.test('has the first value and its number, and cancels the others', async (t) => {
    const all = [new Deferred<string>(), new Deferred<string>(), new Deferred<string>()];
    const d = race(all);
    all[0]?.errback(tooMany());
    assertNoResult(d);
    all[1]?.callback('tea');
    t.same(successResultOf(d), [1, 'tea']);
    t.equal(all[2]?.called, true);
    t.equal(unhandledFailures().length, 0);
  });

  t.test('is won by one that has fired before', async (t) => {
    const other = new Deferred<string>((d) => d.callback('too late'));
    t.same(successResultOf(race([succeed('tea'), other])), [0, 'tea']);
    t.equal(other.called, true);
  });

  t.test('that all lose fails with all their failures, in order', async (t) => {
    const all = [new Deferred<string>(), new Deferred<string>()];
    const d = race(all);
    all[1]?.errback(new TypeError('no water'));
    all[0]?.errback(tooMany());
    const group = failureResultOf(d, FailureGroup).value;
    t.same(
      group.failures.map(({ value }) => value.name),
      ['RangeError', 'TypeError'],
    );
    t.equal(group.message, 'all 2 failed: RangeError: 7 is too many; TypeError: no water');
  });

  t.test('cancelled, cancels each', async (t) => {
    const all = [new Deferred<string>(), new Deferred<string>()];
    const d = race(all);
    d.cancel();
    const group = failureResultOf(d, FailureGroup).value;
    t.ok(group.failures.every((failure) => failure.check(CancelledError)));
  });

  t.test('of none is refused', async (t) => {
    t.throws(() => race([]), {
      name: 'RangeError',
      message: /^race: deferreds must be one Deferred or more/,
    });
  });
});

// ── Long chains ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Fails the test rather than the process if a stack grows; with a context, since hooks make an overflow worse. */
const deep = (fn: () => void) => new AsyncLocalStorage().run('deep', fn);

t.test('DEF-01: 1,000,000 callbacks on one Deferred run without growing the stack', async (t) => {
  for (const firedFirst of [false, true]) {
    deep(() => {
      let d = new Deferred<number>();
      if (firedFirst) d.callback(0);
      for (let i = 0; i < 1_000_000; i++) d = d.addCallback((n) => n + 1);
      if (!firedFirst) d.callback(0);
      t.equal(successResultOf(d), 1_000_000);
    });
  }
});

t.test('100,000 callbacks that each return a Deferred', async (t) => {
  t.test('that has fired take a time that grows with their number, no faster', async (t) => {
    const run = (size: number) => {
      let d = new Deferred<number>();
      for (let i = 0; i < size; i++) d = d.addCallback((n) => succeed(n + 1));
      d.callback(0);
      if (successResultOf(d) !== size) throw new Error('a callback was left out');
    };
    t.ok(growsLinearly(run, 12_500));
  });

  t.test('that fires later are gone through one by one', async (t) => {
    const later: Deferred<number>[] = [];
    let d: Deferred<number> = succeed(0);
    for (let i = 0; i < 100_000; i++) {
      d = d.addCallback((n) => {
        const inner = new Deferred<number>();
        later.push(inner);
        return inner.addCallback((m) => n + m);
      });
    }
    for (let inner = later.pop(); inner !== undefined; inner = later.pop()) inner.callback(1);
    t.equal(successResultOf(d), 100_000);
  });
});

t.test('DEF-02: Deferreds that each wait for the next', async (t) => {
  const chain = (size: number) => {
    const all = Array.from({ length: size }, () => new Deferred<unknown>());
    for (let i = 0; i < size - 1; i++) all[i]?.addCallback(() => all[i + 1]);
    return all;
  };
  const fireLast = (all: Deferred<unknown>[], failing: boolean) => {
    if (failing) all.at(-1)?.errback(tooMany());
    else all.at(-1)?.callback('tea');
  };
  const check = (t: Test, first: Deferred<unknown> | undefined, failing: boolean) => {
    if (failing) failureResultOf(first as Deferred<unknown>, RangeError);
    else t.equal(successResultOf(first as Deferred<unknown>), 'tea');
    t.equal(unhandledFailures().length, 0);
  };
  for (const failing of [false, true]) {
    const outcome = failing ? 'failure' : 'success';
    const many = failing ? 100_000 : 1_000_000;
    t.test(`fired outermost first, ${many} come to their ${outcome}`, async (t) => {
      deep(() => {
        const all = chain(many);
        for (const d of all.slice(0, -1)) d.callback(0);
        t.equal(all[0]?.state, 'waiting');
        fireLast(all, failing);
        check(t, all[0], failing);
      });
    });
    const more = failing ? 1_000_000 : 100_000;
    t.test(`fired innermost first, ${more} come to their ${outcome}`, async (t) => {
      deep(() => {
        const all = chain(more);
        fireLast(all, failing);
        for (const d of all.slice(0, -1).reverse()) d.callback(0);
        check(t, all[0], failing);
      });
    });
  }

  t.test('are cancelled from the outermost, 100,000 of them', async (t) => {
    const all = chain(100_000);
    for (const d of all.slice(0, -1)) d.callback(0);
    all[0]?.cancel();
    failureResultOf(all[0] as Deferred<unknown>, CancelledError);
    t.equal(all.at(-1)?.called, true);
  });
});

t.test('DEF-03: a coroutine', async (t) => {
  t.test('waits for 1,000,000 fired Deferreds and plain values without a stack', async (t) => {
    const fired = succeed(1);
    const sum = inlineCallbacks(function* () {
      let total = 0;
      for (let i = 0; i < 500_000; i++) {
        total += yield* fired;
        total += (yield 1) as number;
        total += (yield fired) as number;
      }
      return total;
    });
    deep(() => t.equal(successResultOf(sum()), 1_500_000));
  });

  t.test('waits for 100,000 that fire later', async (t) => {
    let waited: Deferred<number> | undefined;
    const sum = inlineCallbacks(function* () {
      let total = 0;
      for (let i = 0; i < 100_000; i++) total += yield* (waited = new Deferred<number>());
      return total;
    })();
    while (!sum.called) waited?.callback(1);
    t.equal(successResultOf(sum), 100_000);
  });

  t.test('is one of 100,000 that wait for one another, and go on without a stack', async (t) => {
    const next = inlineCallbacks(function* (before: Deferred<number>) {
      return (yield* before) + 1;
    });
    for (const failing of [false, true]) {
      deep(() => {
        const first = new Deferred<number>();
        let last = first;
        for (let i = 0; i < 100_000; i++) last = next(last);
        if (failing) first.errback(tooMany());
        else first.callback(0);
        if (failing) failureResultOf(last, RangeError);
        else t.equal(successResultOf(last), 100_000);
      });
    }
    t.equal(unhandledFailures().length, 0);
  });

  t.test('cancelled, reaches the first of 100,000 that wait for one another', async (t) => {
    const next = inlineCallbacks(function* (before: Deferred<number>) {
      return (yield* before) + 1;
    });
    const first = new Deferred<number>();
    let last = first;
    for (let i = 0; i < 100_000; i++) last = next(last);
    last.cancel();
    failureResultOf(last, CancelledError);
    t.equal(first.called, true);
  });

  t.test('may call itself, a thousand deep', async (t) => {
    const gate = new Deferred<number>();
    const recurse: (depth: number) => Deferred<number> = inlineCallbacks(function* (depth: number) {
      return depth === 0 ? yield* gate : (yield* recurse(depth - 1)) + 1;
    });
    const d = recurse(1000);
    gate.callback(0);
    t.equal(successResultOf(d), 1000);
  });
});
