/** What an async function awaits through a Deferred is cancelled with it, wherever plait runs it and can cancel it. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CancelledError,
  currentSignal,
  Deferred,
  DeferredLock,
  deferLater,
  gatherResults,
  inlineCallbacks,
  maybeDeferred,
  Reactor,
  react,
  scope,
  succeed,
  TimeoutError,
  TimerService,
} from 'plait';
import { Clock, failureResultOf, flushLoggedErrors } from 'plait/testing';
import { frames, track } from '../../lib/frames.ts';
import t from '../fixture.ts';

/** Waits for an hour, and tidies up; `said` tells what it did. */
function patient(clock: Clock, said: string[] = []) {
  return async () => {
    said.push('begun');
    try {
      await deferLater(clock, 3600);
      said.push('waited');
    } catch (error) {
      said.push((error as Error).name);
      throw error;
    } finally {
      said.push('tidy');
    }
  };
}

const CANCELLED = ['begun', 'CancelledError', 'tidy'];

async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Where plait runs an async function and can cancel it; each is given one, and calls it at once. */
const PLACES: Record<string, (fn: () => Promise<unknown>, clock: Clock) => Deferred<unknown>> = {
  maybeDeferred: (fn) => maybeDeferred(fn),
  'maybeDeferred, called by a plain function': (fn) => maybeDeferred(() => fn()),
  'maybeDeferred, bound': (fn) => maybeDeferred(fn.bind(undefined)),
  addCallback: (fn) => succeed().addCallback(fn),
  'addCallback, called by a plain function': (fn) => succeed().addCallback(() => fn()),
  'addCallback with arguments': (fn) => succeed().addCallback((_: unknown, f) => f(), fn),
  addBoth: (fn) => succeed().addBoth(fn),
  deferLater: (fn, clock) => {
    const later = deferLater(clock, 1, fn);
    clock.advance(1);
    return later;
  },
  scope: (fn) => scope(fn),
  'scope.spawn': (fn) => scope((s) => s.spawn(fn)),
  'a child of a scope that fails': (fn) =>
    scope(function* (s) {
      s.spawn(fn);
      const failing = new Deferred<void>((d) => d.errback(new CancelledError()));
      yield* failing;
    }),
  'DeferredLock.run': (fn) => new DeferredLock().run(fn),
  'a coroutine that yields it': (fn) =>
    inlineCallbacks(function* () {
      yield fn();
    })(),
  'a coroutine that yields it later': (fn) => {
    const first = new Deferred<void>();
    const work = inlineCallbacks(function* () {
      yield* first;
      yield fn();
    })();
    first.callback();
    return work;
  },
  'a generator': (fn) =>
    maybeDeferred(function* () {
      yield fn();
    }),
  'an async function that awaits it': (fn) =>
    maybeDeferred(async () => {
      await fn();
    }),
  'an async function that hands it over': (fn) =>
    maybeDeferred(async () => {
      await maybeDeferred(fn);
    }),
  gatherResults: (fn) => gatherResults([maybeDeferred(fn)], { consumeErrors: true }),
};

for (const [place, call] of Object.entries(PLACES)) {
  t.test(`FND-08: ${place}: cancelling cancels what the async function awaits`, async (t) => {
    // At first nothing of AsyncLocalStorage is in use, as in a program that begins.
    track(false);
    for (const which of ['the first', 'another']) {
      const clock = new Clock();
      const said: string[] = [];
      const work = call(patient(clock, said), clock);
      await settle();
      t.same(said, ['begun'], which);
      work.cancel();
      await settle();
      t.same(said, CANCELLED, which);
      t.same(clock.getDelayedCalls(), []);
      t.ok(work.called && work.waitingOn === undefined);
      work.addErrback(() => {});
    }
  });
}

type Together = Record<string, (all: PromiseLike<void>[]) => Promise<unknown>>;

t.test('FND-08: Deferreds awaited together are all cancelled', async (t) => {
  for (const together of ['all', 'allSettled', 'race', 'any']) {
    track(false);
    const clock = new Clock();
    const work = maybeDeferred(async () => {
      await (Promise as never as Together)[together]?.([
        deferLater(clock, 1),
        deferLater(clock, 2),
        deferLater(clock, 3),
      ]);
    });
    await settle();
    work.cancel();
    t.same(clock.getDelayedCalls(), [], together);
    await settle();
    work.addErrback(() => {});
  }
});

t.test('FND-08: what is awaited after the cancel is cancelled then, and once', async (t) => {
  track(false);
  const clock = new Clock();
  let open!: () => void;
  const gate = new Promise<void>((resolve) => (open = resolve));
  const said: string[] = [];
  const work = maybeDeferred(async () => {
    await gate;
    try {
      await deferLater(clock, 3600);
    } catch (error) {
      said.push((error as Error).name);
    }
    await deferLater(clock, 1);
    said.push('done');
  });
  await settle();
  work.cancel();
  await settle();
  failureResultOf(work, CancelledError); // it awaits nothing that could be cancelled
  open();
  await settle();
  t.same(said, ['CancelledError']);
  clock.advance(1);
  await settle();
  t.same(said, ['CancelledError', 'done']);
});

t.test(
  'FND-08: it may be cancelled before the await has been heard of, or between two',
  async (t) => {
    for (const rounds of [0, 1, 2, 3, 5, 8]) {
      const clock = new Clock();
      const said: string[] = [];
      const work = maybeDeferred(async () => {
        for (let round = 0; round < rounds; round++) await Promise.resolve();
        await (async () => {
          await patient(clock, said)();
        })();
      });
      work.cancel();
      await settle();
      t.same(said, CANCELLED, `after ${rounds} microtasks`);
      failureResultOf(work, CancelledError);
    }
  },
);

t.test('FND-08: it may catch the error, go on, and be cancelled again', async (t) => {
  track(false);
  const clock = new Clock();
  const work = maybeDeferred(async () => {
    try {
      await deferLater(clock, 10);
    } catch {
      await deferLater(clock, 5);
    }
    return 'done';
  });
  const again = maybeDeferred(async () => {
    try {
      await deferLater(clock, 10);
    } finally {
      await deferLater(clock, 5);
    }
  });
  await settle();
  work.cancel();
  again.cancel();
  await settle();
  again.cancel();
  await settle();
  failureResultOf(again, CancelledError);
  t.equal(work.called, true);
  t.equal(clock.getDelayedCalls().length, 1);
  clock.advance(5);
  await settle();
  t.equal(await work, 'done');
});

t.test(
  'FND-08: what another has cancelled or handed over is cancelled with it, and no more',
  async (t) => {
    track(false);
    const clock = new Clock();
    const page = deferLater(clock, 10, () => 'page');
    const read = async () => await page;
    const [one, two] = [maybeDeferred(read), maybeDeferred(read)];
    const own = maybeDeferred(patient(clock));
    let begun: Deferred<unknown> | undefined;
    const outer = maybeDeferred(async () => {
      begun = maybeDeferred(patient(clock));
      await deferLater(clock, 10);
    });
    await settle();
    one.cancel();
    outer.cancel();
    await settle();
    failureResultOf(one, CancelledError);
    failureResultOf(two, CancelledError); // both waited for the same
    failureResultOf(outer, CancelledError);
    t.notOk(begun?.waitingOn?.called, 'not waited for by the one that was cancelled');
    t.equal(own.called && own.waitingOn?.called !== false, false);
    begun?.cancel();
    own.cancel();
    await settle();
    begun?.addErrback(() => {});
    own.addErrback(() => {});
    t.same(clock.getDelayedCalls(), []);
  },
);

t.test('FND-08: what it sets going for others goes on', async (t) => {
  track(false);
  const clock = new Clock();
  const said: string[] = [];
  const work = maybeDeferred(async () => {
    clock.callLater(1, patient(clock, said));
    clock.callLater(1, () => void patient(clock, said)());
    await deferLater(clock, 10);
  });
  await settle();
  clock.advance(1);
  await settle();
  t.same(said, ['begun', 'begun']);
  work.cancel();
  await settle();
  failureResultOf(work, CancelledError);
  t.same(said, ['begun', 'begun']);
  clock.advance(3600);
  await settle();
  t.same(said, ['begun', 'begun', 'waited', 'tidy', 'waited', 'tidy']);
});

t.test('FND-08: timeouts, signals and loops cancel it', async (t) => {
  track(false);
  const clock = new Clock();
  const late = maybeDeferred(patient(clock)).addTimeout(5, clock);
  const controller = new AbortController();
  const aborted = maybeDeferred(patient(clock)).cancelOn(controller.signal);
  const service = new TimerService(1, patient(clock));
  service.clock = clock;
  service.grace = 2;
  service.startService();
  const scoped = scope(patient(clock), { timeout: 5, clock });
  await settle();
  clock.advance(5);
  controller.abort();
  const stopped = service.stopService();
  clock.advance(2);
  await settle();
  failureResultOf(late, TimeoutError);
  failureResultOf(aborted, CancelledError);
  failureResultOf(scoped, TimeoutError);
  await stopped;
  t.same(clock.getDelayedCalls(), []);
  flushLoggedErrors();
});

t.test('FND-08: the signal is aborted when the function is cancelled', async (t) => {
  track(false);
  const signals: AbortSignal[] = [];
  const said: string[] = [];
  const clock = new Clock();
  const nap = async () => {
    signals.push(currentSignal());
    try {
      await sleep(3_600_000, undefined, { signal: currentSignal() });
    } finally {
      await deferLater(clock, 1);
      said.push('tidy');
    }
  };
  const works = [
    maybeDeferred(nap),
    maybeDeferred(async () => {
      await Promise.resolve();
      await nap();
    }),
    inlineCallbacks(function* () {
      signals.push(currentSignal());
      yield nap();
    })(),
    inlineCallbacks(function* () {
      signals.push(currentSignal());
      yield* new Deferred<void>();
    })(),
  ];
  await settle();
  t.equal(signals.length, 5);
  t.ok(signals.every((signal) => !signal.aborted));
  for (const work of works) work.cancel();
  t.ok(signals.every((signal) => signal.aborted));
  await settle();
  t.equal(clock.getDelayedCalls().length, 3, 'tidying up is not cut');
  clock.advance(1);
  await settle();
  t.same(said, ['tidy', 'tidy', 'tidy']);
  for (const work of works) failureResultOf(work, CancelledError);
  t.equal(currentSignal().aborted, false);
  t.not(currentSignal(), currentSignal(), 'outside there is none');
});

/** Runs `main` until it has begun, and stops it as a signal would. */
async function runAndStop(main: (reactor: Reactor) => unknown): Promise<number> {
  const reactor = new Reactor();
  const ended = react(main, { reactor, argv: [] });
  await settle();
  reactor.stop();
  const code = await ended;
  process.exitCode = 0;
  return code;
}

t.test('FND-08: react cancels what its main awaits, of whatever kind main is', async (t) => {
  const said: string[] = [];
  const mains: Record<string, (reactor: Reactor) => unknown> = {
    async: async (r) => await hour(r),
    bound: (async (r: Reactor) => await hour(r)).bind(undefined),
    'a plain function': (r) => hour(r),
    'a plain function, with a native promise first': async (r) => {
      await Promise.resolve();
      await hour(r);
    },
    generator: function* (r) {
      yield hour(r);
    },
    'a Deferred': (r) => maybeDeferred(() => hour(r)),
    'a signal': async () => {
      try {
        await sleep(3_600_000, undefined, { signal: currentSignal() });
      } finally {
        said.push('tidy');
      }
    },
    'a signal, in a plain function': () => {
      const signal = currentSignal();
      return new Deferred<void>().addBoth(() => {
        said.push(signal.aborted ? 'tidy' : 'not aborted');
      });
    },
  };
  async function hour(reactor: Reactor): Promise<void> {
    try {
      await deferLater(reactor, 3600);
    } finally {
      await deferLater(reactor, 0.001);
      said.push('tidy');
    }
  }
  for (const [kind, main] of Object.entries(mains)) {
    track(false);
    t.equal(await runAndStop(main), 0, kind);
    t.same(said.splice(0), ['tidy'], kind);
  }
});

t.test(
  'FND-08: hooks of what an async main has begun are not cancelled with it, and have its signal',
  async (t) => {
    track(false);
    let signal: AbortSignal | undefined;
    const work = new Deferred<void>();
    let failed = false;
    await runAndStop(async (r) => {
      r.callLater(0, async () => {
        signal = currentSignal();
        await work.addErrback(() => (failed = true));
      });
      await new Deferred<void>();
    });
    t.equal(signal?.aborted, true);
    t.equal(failed, false);
    work.callback();
    await settle();
  },
);

t.test('FND-08: a program without async functions uses no AsyncLocalStorage', async (t) => {
  track(false);
  t.equal(
    await react(
      function* (r) {
        yield* deferLater(r, 0);
        yield* maybeDeferred(() => succeed(1));
      },
      { reactor: new Reactor(), argv: [] },
    ),
    0,
  );
  t.equal(await react(() => maybeDeferred(() => 1), { reactor: new Reactor(), argv: [] }), 0);
  succeed(1).addCallback((n) => n + 1);
  t.equal(frames.tracking, false);
  await maybeDeferred(async () => {});
  t.equal(frames.tracking, true);
});

t.test('FND-08: nothing is kept after the function has ended', async (t) => {
  track(false);
  const refs: WeakRef<object>[] = [];
  for (let round = 0; round < 20; round++) {
    const big = { data: new Array<number>(1000).fill(round) };
    refs.push(new WeakRef(big));
    await maybeDeferred(async () => {
      await succeed(big);
    });
  }
  await settle();
  globalThis.gc?.();
  await settle();
  globalThis.gc?.();
  t.ok(refs.filter((ref) => ref.deref() !== undefined).length < 3);
});

t.test('FND-08: an awaited Deferred is noted once for a hundred thousand of them', async (t) => {
  track(false);
  const clock = new Clock();
  let count = 0;
  const work = maybeDeferred(async () => {
    for (; count < 20_000; count++) {
      const one = new Deferred<void>();
      queueMicrotask(() => one.callback());
      await one;
    }
    await deferLater(clock, 1);
  });
  while (clock.getDelayedCalls().length === 0) await settle();
  work.cancel();
  await settle();
  failureResultOf(work, CancelledError);
  t.equal(count, 20_000);
});

t.test(
  'FND-08: cancelling goes through a hundred thousand that wait for one another',
  async (t) => {
    track(false);
    const clock = new Clock();
    let work: Deferred<unknown> = deferLater(clock, 1);
    for (let depth = 0; depth < 20_000; depth++) {
      const inner = work;
      work = maybeDeferred(async () => await inner);
    }
    await settle();
    work.cancel();
    while (!work.called || work.waitingOn !== undefined) await settle();
    failureResultOf(work, CancelledError);
    t.same(clock.getDelayedCalls(), []);
  },
);

t.test('a function that hides what it is made of is called like any other', async (t) => {
  const hidden = new Proxy(() => 'tea', {
    getPrototypeOf() {
      throw new RangeError('not to be looked at');
    },
  });
  t.equal(await maybeDeferred(hidden), 'tea');
});
