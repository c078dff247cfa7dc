/**
 * What the types of Deferreds and their friends must say. Nothing here is run: the type checker is the test. A line
 * `is<…>(…)` must compile, since the value has exactly that type; one behind `@ts-expect-error` must not.
 */
import {
  asCompleted,
  AsyncResult,
  Deferred,
  DeferredBarrier,
  DeferredCondition,
  DeferredEvent,
  deferLater,
  DeferredList,
  DeferredLock,
  DeferredQueue,
  DeferredSemaphore,
  ensureDeferred,
  Factory,
  fail,
  Failure,
  FirstError,
  gatherResults,
  inlineCallbacks,
  type IReactorTime,
  IPv4Address,
  LoopingCall,
  maybeDeferred,
  type Outcome,
  PriorityQueue,
  Protocol,
  race,
  react,
  scope,
  Service,
  type Settled,
  shield,
  succeed,
  wait,
  withSignal,
} from 'plait';
import { LineReceiver } from 'plait/protocols/basic';

type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Compiles only if the argument's type is exactly `Expected`. */
declare function is<Expected>(): <Actual>(
  value: Actual & (Same<Actual, Expected> extends true ? unknown : never),
) => void;

declare const clock: IReactorTime;
declare const number: Deferred<number>;
declare const text: Deferred<string>;
declare const nothing: Deferred<void>;
declare const promise: Promise<Date>;
declare const failure: Failure;

// ── Chains ───────────────────────────────────────────────────────────────────────────────────────────────────────────
is<Deferred<string>>()(number.addCallback((n) => n.toFixed()));
is<Deferred<number>>()(number.addCallback((n) => n + 1).addCallback((n) => n * 2));
is<Deferred<string>>()(number.addCallback((n) => String(n)).addCallback((s) => s.trim()));
is<Deferred<boolean>>()(number.addCallback((n, limit: number) => n > limit, 5));
is<Deferred<string>>()(
  number.addCallback((n, a: string, b: string) => a + b + String(n), 'a', 'b'),
);
is<Deferred<string>>()(number.addCallback(() => text));
is<Deferred<Date>>()(number.addCallback(() => promise));
is<Deferred<Date>>()(number.addCallback(async () => await promise));
is<Deferred<number>>()(number.addCallback((n) => (n > 0 ? n : failure)));
is<Deferred<never>>()(number.addCallback(() => failure));
is<Deferred<never>>()(
  number.addCallback(() => {
    throw new Error('no');
  }),
);
is<Deferred<void>>()(number.addCallback(() => {}));
is<Deferred<undefined>>()(number.addCallback(() => undefined));
is<Deferred<string | number>>()(number.addCallback((n) => (n > 0 ? text : n)));
is<Deferred<string>>()(number.addCallback(() => succeed(text)).addCallback((s) => s));
is<Deferred<number>>()(
  number.addCallback(function* (n) {
    return n + (yield* number);
  }),
);
is<Deferred<string>>()(
  number.addCallback(function* (n) {
    yield promise;
    return n > 0 ? text : failure;
  }),
);
is<Deferred<number | string>>()(
  number.addErrback(function* (f) {
    yield* nothing;
    return f.getErrorMessage();
  }),
);
is<Deferred<boolean>>()(
  number.addBoth(async function (n) {
    return await Promise.resolve(
      (function* () {
        yield* nothing;
        return n instanceof Failure;
      })(),
    );
  }),
);
is<Deferred<boolean | string>>()(
  number.addCallbacks(
    function* () {
      yield* nothing;
      return true;
    },
    function* (f) {
      yield* nothing;
      return f.getErrorMessage();
    },
  ),
);
is<Deferred<number>>()(
  maybeDeferred(
    function* (a: number, b: number) {
      yield* nothing;
      return a + b;
    },
    1,
    2,
  ),
);
is<string>()(null as unknown as Settled<Generator<Deferred<number>, Promise<string> | Failure>>);
is<boolean>()(null as unknown as Settled<Generator<unknown, Generator<unknown, boolean>>>);
is<number>()(null as unknown as Settled<number | Generator<unknown, number>>);
is<unknown>()(null as unknown as Settled<unknown>);
is<Deferred<number>>()(number.addErrback((f) => f.raiseException()));
is<Deferred<number | string>>()(number.addErrback((f) => f.getErrorMessage()));
is<Deferred<number | Date>>()(number.addErrback(() => promise));
is<Deferred<number | undefined>>()(number.addErrback(() => undefined));
is<Deferred<number | string>>()(
  number.addErrback((f, prefix: string) => prefix + f.getErrorMessage(), 'oh: '),
);
is<Deferred<number>>()(number.addBoth((result) => (result instanceof Failure ? 0 : result)));
is<Deferred<number>>()(number.addBoth((result) => result));
is<Deferred<string>>()(number.addBoth((result, name: string) => name, 'x'));
is<Deferred<string | boolean>>()(
  number.addCallbacks(
    (n) => String(n),
    () => false,
  ),
);
is<Deferred<string>>()(number.addCallbacks((n) => String(n)));
is<Deferred<void>>()(number.chainDeferred(number));
is<Deferred<number>>()(number.addTimeout(5, clock));
is<Deferred<number | 'late'>>()(number.addTimeout(5, clock, () => 'late' as const));
is<Deferred<number>>()(number.cancelOn(new AbortController().signal));
is<Promise<number>>()(number.asPromise());
is<Promise<string>>()(number.then((n) => String(n)));
is<Promise<number | boolean>>()(number.then(null, () => true));
is<Settled<Promise<string> | Failure | Deferred<number>>>()('' as string | number);
number.callback(5);
nothing.callback();
number.errback(new Error('no'));
number.errback(failure);

// @ts-expect-error -- a string is no number
number.callback('5');
// @ts-expect-error -- a value is needed
number.callback();
// @ts-expect-error -- a Deferred is returned, not fired with
number.callback(number);
// @ts-expect-error -- the reason is needed
number.errback();
// @ts-expect-error -- a reason is an Error or a Failure
number.errback('no');
// @ts-expect-error -- the value is a number
number.addCallback((s: string) => s);
// @ts-expect-error -- the chain carries a string from there on
number.addCallback((n) => String(n)).addCallback((n: number) => n);
// @ts-expect-error -- the argument is missing
number.addCallback((n, limit: number) => n > limit);
// @ts-expect-error -- the argument is no number
number.addCallback((n, limit: number) => n > limit, 'five');
// @ts-expect-error -- there is one argument too many
number.addCallback((n) => n, 1);
// @ts-expect-error -- an errback is given a Failure
number.addErrback((error: Error) => error.message);
// @ts-expect-error -- the result may be a Failure
number.addBoth((result) => result + 1);
// @ts-expect-error -- the other one carries strings
number.chainDeferred(text);
// @ts-expect-error -- a timeout needs a clock
number.addTimeout(5);
// @ts-expect-error -- seconds are a number
number.addTimeout('5', clock);
// @ts-expect-error -- no callback
number.addCallback(undefined);

// ── Making them ──────────────────────────────────────────────────────────────────────────────────────────────────────
is<Deferred<number>>()(succeed(5));
is<Deferred<void>>()(succeed());
is<Deferred<never>>()(fail(new Error('no')));
is<Deferred<string>>()(fail<string>(new Error('no')));
is<Deferred<number>>()(maybeDeferred((a: number) => a, 1));
is<Deferred<number>>()(maybeDeferred(() => number));
is<Deferred<Date>>()(maybeDeferred(async () => await promise));
is<Deferred<Date>>()(Deferred.fromPromise(promise));
is<Deferred<Response>>()(withSignal((signal) => fetch('data:,', { signal })));
is<Deferred<Date>>()(ensureDeferred(promise));
is<Deferred<number>>()(ensureDeferred(number));
is<Deferred<void>>()(deferLater(clock, 1));
is<Deferred<number>>()(deferLater(clock, 1, (a: number, b: number) => a + b, 1, 2));
is<Deferred<string>>()(deferLater(clock, 1, () => text));
is<Deferred<number>>()(shield(number));
new Deferred<number>((deferred) => {
  deferred.callback(1);
});

// @ts-expect-error -- a reason is needed
fail();
// @ts-expect-error -- a wrong argument for the function
maybeDeferred((a: number) => a, 'one');
// @ts-expect-error -- a wrong argument for the function
deferLater(clock, 1, (a: number) => a, 'one');
// @ts-expect-error -- the clock comes first
deferLater(1, () => 1);
// @ts-expect-error -- a number is no coroutine
ensureDeferred(5);
new Deferred<number>((deferred) => {
  // @ts-expect-error -- a canceller may fire with a value of the type only
  deferred.callback('one');
});

// ── Several ──────────────────────────────────────────────────────────────────────────────────────────────────────────
is<Deferred<[number, string]>>()(gatherResults([number, text]));
is<Deferred<number[]>>()(gatherResults([] as Deferred<number>[]));
is<Deferred<[index: number, value: number]>>()(race([number, number]));
new DeferredList([number, text]).addCallback((outcomes) => {
  is<[Outcome<number>, Outcome<string>]>()(outcomes);
});
new DeferredList([number, text], { fireOnOneCallback: true, fireOnOneErrback: true }).addCallback(
  (first) => {
    is<[value: string | number, index: number]>()(first);
  },
);
wait([number], { until: 'first' }).addCallback(({ done }) => {
  is<Deferred<number>[]>()(done);
});
for (const next of asCompleted([number])) is<Deferred<number>>()(next);

// @ts-expect-error -- numbers and texts, in this order
gatherResults([number, text]).addCallback(([t]: [string, number]) => t);
// @ts-expect-error -- no such moment
wait([number], { until: 'second' });
// @ts-expect-error -- no such option
gatherResults([number], { cancelOnFailure: true });

// ── Coroutines ───────────────────────────────────────────────────────────────────────────────────────────────────────
const sum = inlineCallbacks(function* (a: number, name: string) {
  const n = yield* number;
  is<number>()(n);
  const [x, s] = yield* gatherResults([number, text]);
  is<number>()(x);
  is<string>()(s);
  return name + s + String(a + n + x);
});
is<(a: number, name: string) => Deferred<string>>()(
  sum as (a: number, name: string) => Deferred<string>,
);
is<Deferred<string>>()(sum(1, 'n'));
class Counter {
  readonly start = 1;
  readonly count = inlineCallbacks(function* (this: Counter, by: number) {
    return this.start + (yield* number) + by;
  });
}
is<Deferred<number>>()(new Counter().count(2));
is<Deferred<number>>()(
  inlineCallbacks(function* () {
    return number;
  })(),
);

// @ts-expect-error -- an argument is missing
sum(1);
// @ts-expect-error -- a wrong argument
sum('1', 'n');
// @ts-expect-error -- no generator function
inlineCallbacks(() => 5);
inlineCallbacks(function* () {
  // @ts-expect-error -- the value is a number
  const wrong: string = yield* number;
  return wrong;
});

// ── Scopes, locks, queues ────────────────────────────────────────────────────────────────────────────────────────────
is<Deferred<number>>()(
  scope(function* (s) {
    const child = s.spawn(function* (by: number) {
      return (yield* number) + by;
    }, 5);
    is<Deferred<number>>()(child);
    is<Deferred<string>>()(s.spawn(() => text));
    return yield* child;
  }),
);
is<Deferred<DeferredLock>>()(new DeferredLock().acquire());
is<Deferred<number>>()(new DeferredSemaphore(2).run(() => number));
is<Deferred<string>>()(new DeferredQueue<string>().get());
is<Deferred<void>>()(new DeferredQueue<string>().putWait('x'));
is<Deferred<void>>()(new DeferredEvent().wait());
is<Deferred<number>>()(new DeferredBarrier(2).wait());
is<Deferred<string>>()(new AsyncResult<string>().get());
is<Deferred<DeferredCondition>>()(new DeferredCondition().acquire());
new LoopingCall((a: number, b: string) => a + b.length, 1, 'b').start(1);
new PriorityQueue<{ at: number }>((a, b) => a.at - b.at).put({ at: 5 });

// @ts-expect-error -- a number is no string
new DeferredQueue<string>().put(5);
// @ts-expect-error -- how many is needed
new DeferredSemaphore();
// @ts-expect-error -- a wrong argument for the function
new LoopingCall((a: number) => a, 'one');
scope(function* (s) {
  // @ts-expect-error -- a wrong argument for the child
  s.spawn((a: number) => a, 'one');
});

// ── Failures ─────────────────────────────────────────────────────────────────────────────────────────────────────────
is<RangeError | undefined>()(failure.check(RangeError));
is<FirstError>()(failure.trap(FirstError));
is<Error>()(failure.trap('ECONNREFUSED'));

// @ts-expect-error -- a class or a name, not an instance
failure.check(new RangeError('no'));
// @ts-expect-error -- one that does not match is thrown, so there is no undefined to look for
is<RangeError | undefined>()(failure.trap(RangeError));
// @ts-expect-error -- a Failure is no Error
is<Error>()(failure);

// ── Factories ────────────────────────────────────────────────────────────────────────────────────────────────────────
class Ping extends Protocol {
  readonly pings = 0;
}
class PingFactory extends Factory<Ping> {
  readonly shared = 1;
}
is<Factory<Ping>>()(Factory.forProtocol(Ping));
is<1>()(PingFactory.forProtocol(Ping).shared);
is<Ping | null>()(Factory.forProtocol(Ping).buildProtocol(new IPv4Address('TCP', '127.0.0.1', 1)));

// ── Functions of every kind, where plait calls them ──────────────────────────────────────────────────────────────────
is<Deferred<string>>()(
  number.addCallback(function* (n) {
    yield* nothing;
    return n.toFixed();
  }),
);
is<Deferred<string>>()(number.addCallback(async (n) => n.toFixed()));
is<Deferred<number>>()(
  deferLater(clock, 1, function* () {
    return yield* number;
  }),
);
is<Deferred<Date>>()(deferLater(clock, 1, async () => promise));
is<Deferred<number>>()(
  react(function* (reactor, word: string) {
    is<string>()(word);
    yield* deferLater(reactor, 1);
  }),
);
is<Deferred<number>>()(react(async (reactor) => deferLater(reactor, 1)));
clock.callLater(0, async () => promise);
clock.callLater(
  0,
  function* (word: string) {
    yield* nothing;
    is<string>()(word);
  },
  'tea',
);
new LoopingCall(() => 1);
new LoopingCall(async () => promise);
new LoopingCall(() => number);
new LoopingCall(function* () {
  yield* number;
});

class Async extends LineReceiver {
  override async connectionMade() {
    await promise;
  }
  override async dataReceived(data: Buffer) {
    await promise;
    super.dataReceived(data);
  }
  override *lineReceived(line: Buffer) {
    yield* nothing;
    this.sendLine(line);
  }
  override async connectionLost(reason: Failure) {
    await promise;
    super.connectionLost(reason);
  }
}
class Generating extends Protocol {
  override *dataReceived(data: Buffer) {
    yield* nothing;
    this.transport.write(data);
  }
}
class Later extends Service {
  override async startService() {
    await promise;
    super.startService();
  }
}
Factory.forProtocol(Async);
Factory.forProtocol(Generating);
new Later();
class Promised extends Factory {
  // @ts-expect-error a promise is no protocol
  override async buildProtocol() {
    return new Protocol();
  }
}
new Promised();
