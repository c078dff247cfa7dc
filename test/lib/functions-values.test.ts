/**
 * Functions of which the value is needed at once, and those that are told of something besides the hooks of
 * `functions.test.ts`: whatever kind of function they are, what they fail with ends no process and is not lost.
 */
import { PassThrough } from 'node:stream';
import {
  backoffPolicy,
  CancelledError,
  Connection,
  duplexFactory,
  Logger,
  LoopingCall,
  react,
  TCP4ClientEndpoint,
  webStreamsFactory,
  withSignal,
  buildFrom,
  ClientService,
  clientFromString,
  Cooperator,
  Deferred,
  DeferredCondition,
  Factory,
  fail,
  FileLogObserver,
  HostnameEndpoint,
  type HookResult,
  IPv4Address,
  type LogEvent,
  maybeDeferred,
  MultiService,
  PriorityQueue,
  Protocol,
  Reactor,
  ReconnectingClientFactory,
  registerClientEndpointParser,
  registerServerEndpointParser,
  serverFromString,
  ServerNames,
  Service,
  SimpleResolverComplexifier,
  succeed,
} from 'plait';
import { request } from 'plait/protocols/http';
import { LimitTotalConnectionsFactory } from 'plait/protocols/policies';
import {
  Clock,
  eachChunking,
  flushLoggedErrors,
  MemoryReactor,
  MemoryReactorClock,
  StringTransportWithDisconnection,
  simulate,
  Simulation,
  StringTransport,
} from 'plait/testing';
import t from '../fixture.ts';

type Fn = () => HookResult;

async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Each kind of function that has no value at once, around a body that may throw. */
const LATER: Readonly<Record<string, (body: () => unknown) => Fn>> = {
  async: (body) => async () => {
    await Promise.resolve();
    return body();
  },
  generator: (body) =>
    function* () {
      yield* succeed();
      return body();
    },
  'returns a promise': (body) => () => Promise.resolve().then(body),
};

const nothing = (): void => {};

/** Calls `fn` where its value is needed at once; throws, or fails or logs what comes of that. */
const AT_ONCE: Readonly<Record<string, (fn: never) => unknown>> = {
  'jitter of backoffPolicy': (jitter) => backoffPolicy({ jitter })(1),
  'random of a ReconnectingClientFactory': (random) => {
    const factory = new ReconnectingClientFactory();
    factory.random = random;
    factory.retry({ state: 'disconnected', getDestination: nothing } as never);
  },
  'the scheduler of a Cooperator': (scheduler) =>
    new Cooperator({ scheduler }).coiterate([1].values()),
  'a parser of server endpoints': (parseStreamServer) => {
    const forget = registerServerEndpointParser({ prefix: 'later', parseStreamServer });
    try {
      serverFromString(new MemoryReactor(), 'later:');
    } finally {
      forget();
    }
  },
  'a parser of client endpoints': (parseStreamClient) => {
    const forget = registerClientEndpointParser({ prefix: 'later', parseStreamClient });
    try {
      clientFromString(new MemoryReactor(), 'later:');
    } finally {
      forget();
    }
  },
  'tlsSettings of ServerNames': (tlsSettings) => new ServerNames({}, { tlsSettings }),
  'tlsSettings of a port': (tlsSettings) =>
    new MemoryReactor().listenSSL(0, new Factory(), { tlsSettings }),
  'contextFactory of a request': (contextFactory) =>
    request('https://tea.test/', { contextFactory, reactor: new MemoryReactor() }),
  overflowProtocol: (overflowProtocol) => {
    const wrapped = Factory.forProtocol(Protocol);
    const factory = new LimitTotalConnectionsFactory(wrapped, {
      connectionLimit: 1,
      overflowProtocol,
    });
    const address = new IPv4Address('TCP', '127.0.0.1', 1);
    factory.buildProtocol(address)?.makeConnection(new StringTransport());
    return buildFrom(factory, address);
  },
  'resolveHostName, asked by resolve': (resolveHostName) => {
    const reactor = new Reactor();
    reactor.installNameResolver({ resolveHostName });
    return reactor.resolve('tea.test');
  },
  'resolveHostName, asked by HostnameEndpoint': (resolveHostName) => {
    const reactor = new Reactor();
    reactor.installNameResolver({ resolveHostName });
    return new HostnameEndpoint(reactor, 'tea.test', 80).connect(new Factory());
  },
  'until of Simulation.run': (until) => new Simulation({ seed: 1 }).run(until),
  'until of Simulation.settle': (until) => new Simulation({ seed: 1 }).settle(until),
  eachChunking: (fn) => eachChunking('ab', fn),
  'compare of a PriorityQueue': (compare) => {
    const queue = new PriorityQueue<number>(compare);
    queue.put(1);
    queue.put(2);
  },
  'the formatter of a FileLogObserver': (format) => {
    const event: LogEvent = { time: 0, level: 'info', namespace: 'tea', format: 'hot' };
    new FileLogObserver(new PassThrough(), format).emit(event);
  },
};

for (const [place, call] of Object.entries(AT_ONCE)) {
  t.test(`FND-07: ${place} must have its value at once; a promise is an error`, async (t) => {
    for (const [kind, make] of Object.entries(LATER)) {
      const broken = make(() => {
        throw new RangeError('later');
      });
      const outcome: { error?: unknown } = {};
      try {
        await (call(broken as never) as PromiseLike<unknown> | undefined);
      } catch (error) {
        outcome.error = error;
      }
      await settle();
      const { error } = outcome;
      t.ok(error instanceof Error, `${kind} fails`);
      t.match(
        [error, (error as { cause?: unknown } | undefined)?.cause].map(String).join(),
        /promise|at once/,
        `${kind}: why is said`,
      );
    }
  });
}

function locked<T>(condition: DeferredCondition, work: () => Deferred<T> | T): Deferred<T> {
  return condition
    .acquire()
    .addCallback(work)
    .addBoth((result) => {
      condition.release();
      return result;
    });
}

/** Each kind, and plain ones. */
const ALL: typeof LATER = {
  plain: (body) => body as Fn,
  'returns a Deferred': (body) => () => succeed().addCallback(body),
  ...LATER,
};

/** Calls `fn` where its outcome is waited for; gives what has come of it. */
const WAITED: Readonly<Record<string, (fn: never) => unknown>> = {
  'getHostByName, asked by resolve': (getHostByName) => {
    const reactor = new Reactor();
    reactor.installResolver({ getHostByName });
    return reactor.resolve('tea.test');
  },
  'getHostByName, asked for many': (getHostByName) => {
    const found = new Deferred<unknown>();
    const seen: string[] = [];
    new SimpleResolverComplexifier({ getHostByName }).resolveHostName(
      {
        resolutionBegan: nothing,
        addressResolved: ({ host }) => void seen.push(host),
        resolutionComplete: (error) =>
          error === undefined ? found.callback(seen[0]) : found.errback(error),
      },
      'tea.test',
    );
    return found;
  },
  'waitFor of a DeferredCondition': (predicate: Fn) => {
    const condition = new DeferredCondition();
    return locked(condition, () => condition.waitFor(predicate));
  },
  'a program of simulate': async (program: Fn) => {
    let result: unknown;
    await simulate({ runs: 1 }, () =>
      maybeDeferred(program as () => unknown).addCallback((value) => (result = value)),
    );
    return result;
  },
};

for (const [place, call] of Object.entries(WAITED)) {
  t.test(`FND-07: ${place} may be any kind of function, and is waited for`, async (t) => {
    for (const [kind, make] of Object.entries(ALL)) {
      t.equal(await call(make(() => '127.0.0.1') as never), '127.0.0.1', kind);
      let message = 'it did not fail';
      try {
        await call(
          make(() => {
            throw new RangeError('broken');
          }) as never,
        );
      } catch (error) {
        ({ message } = error as Error);
      }
      t.match(message, /broken/, `${kind} that fails`);
    }
    await settle();
  });
}

t.test('FND-07: simulate runs a program of any kind to its end', async (t) => {
  for (const [kind, make] of Object.entries(ALL)) {
    let ran = 0;
    await simulate(
      { runs: 2 },
      make(() => ran++),
    );
    t.equal(ran, 2, kind);
    await t.rejects(
      simulate(
        { runs: 1 },
        make(() => {
          throw new RangeError('broken');
        }),
      ),
      /broken/,
      `${kind} that fails`,
    );
  }
});

t.test('FND-07: a predicate that says no later is asked again when it is notified', async (t) => {
  const condition = new DeferredCondition();
  let ready = false;
  const waiting = locked(condition, () => condition.waitFor(async () => ready));
  let over = false;
  waiting.addCallback((value) => {
    over = true;
    return value;
  });
  await settle();
  t.equal(over, false);
  ready = true;
  await locked(condition, () => condition.notify());
  t.equal(await waiting, true);
});

/** Calls `fn`, which is told of something and not waited for. */
const TOLD: Readonly<Record<string, { call: (fn: () => undefined) => unknown }>> = {
  'a canceller': { call: (fn) => new Deferred(fn).addErrback(nothing).cancel() },
  resolutionComplete: {
    call: (resolutionComplete) =>
      new SimpleResolverComplexifier({
        getHostByName: () => fail(new Error('none')),
      }).resolveHostName(
        {
          resolutionBegan: nothing,
          addressResolved: nothing,
          resolutionComplete,
        },
        'tea.test',
      ),
  },
  'startService of a part': {
    call(fn) {
      const part = new Service();
      part.startService = fn;
      const all = new MultiService();
      part.setServiceParent(all);
      all.startService();
    },
  },
  'privilegedStartService of a part that comes later': {
    call(fn) {
      const part = new Service();
      part.privilegedStartService = fn;
      const all = new MultiService();
      all.startService();
      part.setServiceParent(all);
    },
  },
  'a trigger of a MemoryReactor': {
    async call(fn) {
      const reactor = new MemoryReactor();
      reactor.addSystemEventTrigger('during', 'shutdown', fn);
      const over = reactor.run();
      reactor.stop();
      reactor.flush();
      await settle();
      reactor.flush();
      await over;
    },
  },
  'callWhenRunning of a MemoryReactor': {
    async call(fn) {
      const reactor = new MemoryReactor();
      reactor.callWhenRunning(fn);
      const over = reactor.run();
      reactor.flush();
      reactor.stop();
      reactor.flush();
      await over;
    },
  },
};

for (const [place, { call }] of Object.entries(TOLD)) {
  t.test(`FND-07: what ${place} fails with is logged`, async (t) => {
    for (const [kind, make] of Object.entries(ALL)) {
      // A Deferred reports its failure itself.
      if (place === 'a canceller' && kind === 'returns a Deferred') continue;
      let ran = false;
      await call(make(() => void (ran = true)) as () => undefined);
      await settle();
      t.equal(ran, true, kind);
      try {
        await call(
          make(() => {
            throw new RangeError(`broken ${kind}`);
          }) as () => undefined,
        );
      } catch {
        // A plain function's error comes back where there is a caller for it.
        t.equal(kind, 'plain');
        continue;
      }
      await settle();
      t.equal(
        flushLoggedErrors(RangeError)[0]?.failure?.value.message,
        `broken ${kind}`,
        `${kind} that fails`,
      );
    }
  });
}

t.test('FND-07: a retry policy that returns a promise counts as one that throws', async (t) => {
  for (const [kind, make] of Object.entries(LATER)) {
    const clock = new Clock();
    const service = new ClientService(
      { connect: () => fail(new RangeError('no')) },
      new Factory(),
      { clock, retryPolicy: make(() => 1) as never },
    );
    service.startService();
    t.equal(flushLoggedErrors(TypeError).length, 1, kind);
    t.equal(clock.getDelayedCalls()[0]?.getTime(), 60, kind);
    await service.stopService();
  }
});

t.test('FND-07: what a function of failuresHandled fails with later is logged', async (t) => {
  const log = new Logger('test');
  const kinds: Readonly<Record<string, () => unknown>> = {
    async: async () => {
      await Promise.resolve();
      throw new RangeError('late');
    },
    *generator() {
      yield new Promise((resolve) => setImmediate(resolve));
      throw new RangeError('late');
    },
    thenable: () => ({
      then(_ok: unknown, bad: (error: Error) => void) {
        setImmediate(bad, new RangeError('late'));
      },
    }),
  };
  for (const [kind, fn] of Object.entries(kinds)) {
    t.ok(log.failuresHandled('cannot count the tea', fn).succeeded, kind);
    await settle();
    await settle();
    t.match(flushLoggedErrors(RangeError), [{ format: 'cannot count the tea' }], kind);
  }
  const own = fail(new RangeError('its own'));
  t.equal(log.failuresHandled('no', () => own).value, own);
  own.addErrback(() => {});
  t.same(flushLoggedErrors(), [], 'a Deferred is for the caller');
});

t.test('FND-06: a generator function of withSignal is run, and cancelled', async (t) => {
  t.equal(
    await withSignal(function* (signal) {
      return yield* succeed(signal.aborted);
    }),
    false,
  );
  const told: unknown[] = [];
  const waits = withSignal(function* (signal) {
    signal.onabort = () => told.push('aborted');
    try {
      yield* new Deferred<void>();
    } finally {
      told.push('tidy');
    }
  });
  waits.cancel();
  await t.rejects(waits.asPromise(), CancelledError);
  t.same(told, ['aborted', 'tidy']);
});

t.test('FND-07: what aborts a promise may be a function of any kind', async (t) => {
  const kinds: Readonly<Record<string, () => unknown>> = {
    async: async () => {
      await Promise.resolve();
      throw new RangeError('not aborted');
    },
    *generator() {
      yield succeed();
      throw new RangeError('not aborted');
    },
  };
  for (const [kind, abort] of Object.entries(kinds)) {
    let reject!: (error: Error) => void;
    const promise = new Promise<void>((_resolve, bad) => (reject = bad));
    const waits = Deferred.fromPromise(promise, { abort: abort });
    waits.cancel();
    reject(new CancelledError());
    await t.rejects(waits.asPromise(), CancelledError, kind);
    await settle();
    t.equal(flushLoggedErrors(RangeError).length, 1, kind);
  }
});

t.test('FND-06: what a clock calls between its steps may be a generator function', async (t) => {
  const clock = new Clock();
  let steps = 0;
  clock.callLater(1, () => {});
  await clock.advanceAsync(2, function* () {
    yield succeed();
    steps++;
  });
  t.ok(steps > 0);
});

t.test('FND-06: an async generator function that nothing would run is a mistake', async (t) => {
  async function* never(): AsyncGenerator<number, void> {
    yield await Promise.resolve(1);
  }
  const mistake = { message: /is an async generator function, which is never run/ };
  const loop = new LoopingCall(never);
  loop.clock = new Clock();
  await t.rejects(loop.start(1).asPromise(), mistake);

  const reactor = new MemoryReactorClock();
  reactor.addSystemEventTrigger('before', 'shutdown', never);
  reactor.addSystemEventTrigger('after', 'shutdown', never);
  const stopped = reactor.run({ installSignalHandlers: false });
  reactor.flush();
  reactor.stop();
  reactor.flush();
  await stopped;
  t.equal(flushLoggedErrors(TypeError).length, 2, 'triggers');

  for (const factory of [
    Connection.factory(never),
    duplexFactory(never),
    webStreamsFactory(never),
  ]) {
    const protocol = factory.buildProtocol(new IPv4Address('TCP', '192.0.2.1', 1));
    const transport = new StringTransportWithDisconnection();
    transport.protocol = protocol as Protocol;
    protocol?.makeConnection(transport);
    for (let i = 0; i < 5; i++) await settle();
    t.equal(flushLoggedErrors(TypeError).length, 1, 'handlers');
    t.equal(transport.connected, false, 'the connection is at an end');
  }

  const sim = new Simulation({ conditions: 'calm' });
  sim.host('server').reactor.listenTCP(7, Factory.forProtocol(Protocol));
  const here = sim.host('client').reactor;
  const service = new ClientService(
    new TCP4ClientEndpoint(here, 'server', 7),
    Factory.forProtocol(Protocol),
    { prepareConnection: never, clock: here },
  );
  service.startService();
  const connected = service.whenConnected({ failAfterFailures: 1 });
  sim.advance(1);
  await settle();
  await t.rejects(connected.asPromise(), mistake);
  const stop = service.stopService();
  sim.advance(5);
  await stop;
  flushLoggedErrors(TypeError);

  t.equal(await react(never, { reactor: new Reactor(), argv: [] }), 1);
  process.exitCode = undefined;
  t.equal(flushLoggedErrors(TypeError).length, 1, 'main');
});
