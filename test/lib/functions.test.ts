/** A function is a function: plain, `async`, generator, or one that returns a Deferred or a promise, wherever it is called. */
import { Readable } from 'node:stream';
import {
  buildFrom,
  CancelledError,
  ClientFactory,
  Cooperator,
  Deferred,
  DeferredLock,
  deferLater,
  Factory,
  FileSender,
  fail,
  formatEvent,
  gatherResults,
  globalLogPublisher,
  type HookResult,
  type IPullProducer,
  IPv4Address,
  type LogEvent,
  LoopingCall,
  maybeDeferred,
  observeUnhandledFailures,
  Protocol,
  ProcessProtocol,
  race,
  Reactor,
  react,
  reportUnhandledFailures,
  scope,
  setUnhandledFailureHook,
  succeed,
  TCP4ServerEndpoint,
  TimerService,
} from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import { TimeoutMixin, WrappingFactory } from 'plait/protocols/policies';
import { Clock, connectedServerAndClient, flushLoggedErrors, StringTransport } from 'plait/testing';
import t from '../fixture.ts';

type Fn = () => HookResult;

/** Each kind of function, around a body that may throw. */
const KINDS: Readonly<Record<string, (body: () => void) => Fn>> = {
  plain: (body) => body,
  async: (body) => async () => {
    await Promise.resolve();
    body();
  },
  generator: (body) =>
    function* () {
      yield* succeed();
      body();
    },
  'returns a Deferred': (body) => () => succeed().addCallback(body),
  'returns a promise': (body) => () => Promise.resolve().then(body),
};

async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** What is waited for: calls `fn`, and gives a Deferred of what comes of it. */
const WAITED: Readonly<Record<string, (fn: Fn) => Deferred<unknown>>> = {
  maybeDeferred: (fn) => maybeDeferred(fn),
  addCallback: (fn) => succeed().addCallback(fn),
  addErrback: (fn) => fail(new Error('x')).addErrback(fn),
  'DeferredLock.run': (fn) => new DeferredLock().run(fn),
  'scope.spawn': (fn) => scope((s) => s.spawn(fn)),
  deferLater: (fn) => {
    const clock = new Clock();
    const later = deferLater(clock, 1, fn);
    clock.advance(1);
    return later;
  },
  LoopingCall: (fn) => {
    const loop: LoopingCall = new LoopingCall(() => {
      if (loop.running) queueMicrotask(() => loop.running && loop.stop());
      return fn();
    });
    loop.clock = new Clock();
    return loop.start(1);
  },
  'a trigger before shutdown': (fn) => {
    const reactor = new Reactor();
    const done = new Deferred<void>();
    const stopped = reactor.run();
    reactor.addSystemEventTrigger('before', 'shutdown', () =>
      maybeDeferred(fn).addCallbacks(
        () => done.callback(),
        (failure) => done.errback(failure),
      ),
    );
    reactor.stop();
    return stopped.addCallback(() => done);
  },
};

for (const [place, call] of Object.entries(WAITED)) {
  t.test(`FND-06: ${place} takes every kind of function, and waits for it`, async (t) => {
    for (const [kind, make] of Object.entries(KINDS)) {
      let ran = false;
      await call(make(() => void (ran = true)));
      t.equal(ran, true, kind);
      const broken = make(() => {
        throw new RangeError('broken');
      });
      await t.rejects(call(broken).asPromise(), RangeError, `${kind} that fails`);
    }
  });
}

class Line extends LineReceiver {
  run: Fn = () => undefined;
  override lineReceived(): HookResult {
    return this.run();
  }
}

const address = new IPv4Address('TCP', '127.0.0.1', 1);

/** A protocol whose hook is `fn`. */
function protocolWith(hook: string, fn: Fn): Protocol {
  const protocol = new Protocol();
  (protocol as unknown as Record<string, Fn>)[hook] = fn;
  return protocol;
}

/** What is not waited for: calls `fn`; what it fails with is logged as what is given. */
const HOOKS: Record<string, { call: (fn: Fn) => unknown; logged: string }> = {
  callLater: {
    logged: 'a delayed call failed',
    call(fn) {
      const clock = new Clock();
      clock.callLater(1, fn);
      clock.advance(1);
    },
  },
  callWhenRunning: {
    logged: 'a function called when running failed',
    call(fn) {
      const reactor = new Reactor();
      const stopped = reactor.run();
      reactor.callWhenRunning(fn);
      reactor.stop();
      return stopped;
    },
  },
  callFromThread: {
    logged: 'a function called from a thread failed',
    call: (fn) => {
      const reactor = new Reactor();
      reactor.callFromThread(fn);
    },
  },
  'a signal handler': {
    logged: 'a handler of SIGUSR2 failed',
    call(fn) {
      const reactor = new Reactor();
      const handler = reactor.addSignalHandler('SIGUSR2', fn);
      process.emit('SIGUSR2');
      handler[Symbol.dispose]();
    },
  },
  lineReceived: {
    logged: 'lineReceived failed',
    call(fn) {
      const line = new Line();
      line.run = fn;
      line.makeConnection(new StringTransport());
      line.dataReceived(Buffer.from('one\r\n'));
    },
  },
  timeoutConnection: {
    logged: 'a delayed call failed',
    call(fn) {
      const clock = new Clock();
      const patient = new (TimeoutMixin(Protocol))();
      patient.timeoutConnection = fn;
      patient.clock = clock;
      patient.makeConnection(new StringTransport());
      patient.setTimeout(1);
      clock.advance(1);
    },
  },
  'childDataReceived to outReceived': {
    logged: 'outReceived failed',
    call(fn) {
      const protocol = new ProcessProtocol();
      protocol.outReceived = fn;
      protocol.childDataReceived(1, Buffer.from('x'));
    },
  },
};

/** Hooks over a connection of a real reactor; what they fail with ends it. */
const OVER_TCP = ['connectionMade', 'dataReceived', 'connectionLost'];

for (const wrapped of [false, true]) {
  for (const hook of OVER_TCP) {
    HOOKS[`${hook} over TCP${wrapped ? ', within a wrapper' : ''}`] = {
      logged: hook === 'connectionMade' ? 'makeConnection failed' : `${hook} failed`,
      async call(fn) {
        const reactor = new Reactor();
        const ended = new Deferred<void>();
        const inner = Factory.forProtocol(Protocol);
        inner.buildProtocol = () => protocolWith(hook, fn);
        const factory = wrapped ? new WrappingFactory(inner) : inner;
        const port = await new TCP4ServerEndpoint(reactor, 0, { interface: '127.0.0.1' }).listen(
          factory,
        );
        const connectClient = new Protocol();
        connectClient.connectionMade = () => {
          connectClient.transport.write('x');
          if (hook === 'connectionLost') connectClient.transport.loseConnection();
        };
        connectClient.connectionLost = () => ended.callback();
        const client = new ClientFactory();
        client.buildProtocol = () => connectClient;
        const { port: number } = port.getHost() as { readonly port?: number };
        reactor.connectTCP('127.0.0.1', number ?? 0, client);
        // Where the hook does not fail, the connection lives on.
        for (let i = 0; i < 200 && !ended.called; i++)
          await new Promise((resolve) => setImmediate(resolve));
        connectClient.transport.loseConnection();
        await ended;
        await port.stopListening();
      },
    };
  }
}

for (const [place, { call, logged }] of Object.entries(HOOKS)) {
  t.test(`FND-07: ${place} takes every kind of function; a failure counts as thrown`, async (t) => {
    const texts: string[] = [];
    const observer = (event: LogEvent): void => {
      if (event.failure !== undefined) texts.push(formatEvent(event).replace(/:.*/s, ''));
    };
    globalLogPublisher.addObserver(observer);
    t.teardown(() => globalLogPublisher.removeObserver(observer));
    for (const [kind, make] of Object.entries(KINDS)) {
      let ran = false;
      await call(make(() => void (ran = true)));
      await settle();
      t.equal(ran, true, kind);
      const broken = make(() => {
        throw new RangeError(`broken ${kind}`);
      });
      try {
        await call(broken);
      } catch (error) {
        // A plain function's error comes back to a caller that is no reactor.
        t.equal(kind, 'plain');
        t.type(error, RangeError);
        continue;
      }
      await settle();
      t.same(texts.splice(0), [logged], `${kind} that fails is logged once, as if it had thrown`);
      t.equal(flushLoggedErrors(RangeError)[0]?.failure?.value.message, `broken ${kind}`);
    }
  });
}

t.test('FND-07: a promise is no protocol', async (t) => {
  const factory = new Factory();
  for (const [kind, make] of Object.entries(KINDS)) {
    if (kind === 'plain') continue;
    factory.buildProtocol = make(() => {
      throw new Error('swallowed');
    }) as never;
    t.throws(() => buildFrom(factory, address), {
      name: 'TypeError',
      message: /^Factory\.buildProtocol returned a promise or a generator, which is no protocol/,
    });
  }
  factory.buildProtocol = () => 5 as never;
  t.throws(() => buildFrom(factory, address), TypeError);
  factory.buildProtocol = () => undefined as never;
  t.equal(buildFrom(factory, address), null);
  await settle();
});

t.test('FND-07: an async generator as a hook is said to be a mistake', (t) => {
  const clock = new Clock();
  clock.callLater(0, async function* () {});
  clock.advance(0);
  t.match(flushLoggedErrors(TypeError)[0]?.failure?.value.message, /async generator/);
  // What else a hook returns is ignored.
  for (const value of [null, 5, 'x', {}, () => 1, Symbol('s')]) clock.callLater(0, () => value);
  clock.advance(0);
  t.end();
});

t.test('FND-06: a timer service runs generators, one after the other', async (t) => {
  const clock = new Clock();
  let steps = 0;
  const service = new TimerService(1, function* () {
    yield* deferLater(clock, 1.5);
    steps++;
  });
  service.clock = clock;
  service.startService();
  clock.pump([1, 1, 1, 1]);
  t.equal(steps, 1);
  const over = service.stopService();
  clock.advance(2);
  await over;
  t.equal(steps, 2);
});

t.test('FND-06: react runs a bare generator function', async (t) => {
  const reactor = new Reactor();
  let ran = false;
  const code = await react(
    function* () {
      yield* deferLater(reactor, 0);
      ran = true;
    },
    { reactor, argv: [] },
  );
  t.same([code, ran], [0, true]);
});

t.test('FND-07: startFactory that fails later closes the port', async (t) => {
  const real = new Reactor();
  const factory = new Factory();
  factory.startFactory = async () => {
    await Promise.resolve();
    throw new RangeError('not ready');
  };
  const port = real.listenTCP(0, factory, { interface: '127.0.0.1' });
  await port.ready;
  await settle();
  t.equal(flushLoggedErrors(RangeError).length, 1);
  t.doesNotThrow(() => port.startListening(), 'it is closed');
  await port.stopListening();
});

t.test(
  'FND-09: a program that stops its reactor ends with 0, and with the error that main has',
  async (t) => {
    const reactor = new Reactor();
    const never = await react(
      (r) => {
        r.callLater(0.01, () => r.stop());
        return new Deferred<void>();
      },
      { reactor, argv: [] },
    );
    t.equal(never, 0);
    const failing = await react(
      function* (r) {
        r.callLater(0.01, () => r.stop());
        try {
          yield* new Deferred<void>();
        } finally {
          throw new RangeError('could not tidy up');
        }
      },
      { reactor, argv: [] },
    );
    t.equal(failing, 1);
    t.equal(flushLoggedErrors(RangeError).length, 1);
    const cancelled = await react(() => fail(new CancelledError('of its own')), {
      reactor,
      argv: [],
    });
    t.equal(cancelled, 1, 'where nothing was stopped, it is a failure like any other');
    t.equal(flushLoggedErrors(CancelledError).length, 1);
    const several: Readonly<Record<string, () => unknown>> = {
      gathered: () => gatherResults([gatherResults([new Deferred()]), new Deferred()]),
      raced: () => race([new Deferred(), new Deferred()]),
      'Promise.any': async () => Promise.any([new Deferred(), new Deferred()]),
    };
    for (const [name, main] of Object.entries(several)) {
      const code = await react(
        (r) => {
          r.callLater(0.01, () => r.stop());
          return main();
        },
        { reactor, argv: [] },
      );
      t.equal(code, 0, name);
    }
    process.exitCode = 0;
  },
);

t.test('FND-07: a listener of reactor.events may be of any kind, and fails alone', async (t) => {
  const reactor = new Reactor();
  let called = 0;
  const { events } = reactor;
  for (const [kind, make] of Object.entries(KINDS)) {
    const listener: () => undefined = make(() => {
      called++;
      throw new RangeError(kind);
    }) as never;
    events.on('startup', listener);
    events.addListener('startup', listener).removeListener('startup', listener);
    events.once('startup', listener);
  }
  const gone = (): void => void t.fail('it was taken away');
  events.once('startup', gone).off('startup', gone);
  const stopped = reactor.run();
  reactor.stop();
  await stopped;
  await settle();
  t.equal(called, 5);
  t.equal(flushLoggedErrors(RangeError).length, 5);
  t.throws(() => events.on('startup', 5 as never), TypeError);
  events.off('startup');
  t.equal(events.listenerCount('startup'), 0);
});

t.test('FND-07: what is told of unhandled failures may be a function of any kind', async (t) => {
  for (const [kind, make] of Object.entries(KINDS)) {
    let ran = 0;
    const told = make(() => {
      ran++;
      throw new RangeError('cannot tell');
    });
    const previous = setUnhandledFailureHook(told);
    const stop = observeUnhandledFailures(told);
    fail(new TypeError('nobody cares'));
    reportUnhandledFailures();
    setUnhandledFailureHook(previous);
    stop();
    await settle();
    t.equal(ran, 2, kind);
    t.equal(flushLoggedErrors().length, 2, kind);
  }
});

t.test(
  'FND-07: what the hooks of a wrapping factory fail with counts, whatever it wraps',
  async (t) => {
    const real = new Reactor();
    for (const [kind, make] of Object.entries(KINDS)) {
      const broken = (what: string) =>
        make(() => {
          throw new RangeError(what);
        });
      const inner = Object.assign(Factory.forProtocol(Protocol), { stopFactory: broken('inner') });
      const factory = Object.assign(new WrappingFactory(inner), { stopFactory: broken('outer') });
      const port = real.listenTCP(0, factory, { interface: '127.0.0.1' });
      await port.ready;
      await t.rejects(port.stopListening().asPromise(), { message: 'outer' }, kind);
      t.equal(flushLoggedErrors(RangeError).length, 1, `the other one is logged: ${kind}`);

      const wrapped = Factory.forProtocol(Protocol);
      const unready = new WrappingFactory(wrapped);
      unready.startFactory = broken('not ready');
      const refused = real.listenTCP(0, unready, { interface: '127.0.0.1' });
      refused.ready.addErrback(() => {});
      for (let i = 0; i < 10; i++) await settle();
      t.equal(flushLoggedErrors(RangeError).length, 1, kind);
      t.equal(wrapped.numPorts, 0, `it is let go of: ${kind}`);
      await refused.stopListening();
    }
  },
);

t.test(
  'FND-07: what a base class of TimeoutMixin fails with when it is replaced counts',
  async (t) => {
    class Base extends Protocol {
      async protocolReplaced(): Promise<void> {
        await Promise.resolve();
        throw new RangeError('not to be replaced');
      }
    }
    class Patient extends TimeoutMixin(Base) {}
    const { server, pump } = connectedServerAndClient(Patient, Protocol);
    server.transport.switchProtocol(new Protocol());
    await settle();
    pump.flush();
    t.equal(flushLoggedErrors(RangeError).length, 1);
  },
);

t.test(
  'FND-07: where the value is needed at once, a promise is an error, and its rejection is for nobody',
  async (t) => {
    const broken = async (): Promise<never> => {
      await Promise.resolve();
      throw new RangeError('later');
    };
    const transport = new StringTransport();
    const sent = new FileSender().beginFileTransfer(
      Readable.from([Buffer.from('x')]),
      transport,
      broken as never,
    );
    (transport.producer as IPullProducer).resumeProducing();
    await t.rejects(sent.asPromise(), {
      name: 'TypeError',
      message: /^transform returned a promise/,
    });
    const clock = new Clock();
    const cooperator = new Cooperator({
      scheduler: (turn) => clock.callLater(0, turn),
      terminationPredicateFactory: () => broken as never,
    });
    const work = cooperator.coiterate([1, 2].values());
    clock.pump([0, 0, 0, 0]);
    await work;
    t.ok(flushLoggedErrors(TypeError).length > 0);
    await settle();
  },
);
