/**
 * Stopping always ends: reactors, services and threads, whatever a trigger, a peer, a canceller or a thread does.
 */
import { join } from 'node:path';
import {
  ClientService,
  ConnectionAborted,
  ConnectionDone,
  ConnectionLost,
  DatagramProtocol,
  Deferred,
  deferLater,
  deferToThreadPool,
  Factory,
  fail,
  Failure,
  getProcessOutput,
  getProcessOutputAndValue,
  getProcessValue,
  globalLogPublisher,
  inlineCallbacks,
  type IListeningPort,
  type IProtocol,
  type IProtocolFactory,
  type IStreamClientEndpoint,
  type IStreamServerEndpoint,
  type LogEvent,
  formatEvent,
  maybeDeferred,
  MultiService,
  NotListeningError,
  ProcessProtocol,
  Protocol,
  react,
  Reactor,
  ReconnectingClientFactory,
  Service,
  StreamServerEndpointService,
  succeed,
  ThreadPoolStopped,
  TimerService,
  TCP4ClientEndpoint,
} from 'plait';
import {
  assertNoResult,
  Clock,
  flushLoggedErrors,
  MemoryReactorClock,
  Simulation,
  StringTransport,
  successResultOf,
} from 'plait/testing';
import { run, start } from '../child.ts';
import t, { type Test } from '../fixture.ts';

/** What is logged at the level of warnings until the test ends, as text. */
function warnings(t: Test): string[] {
  const seen: string[] = [];
  const note = (event: LogEvent) => {
    if (event.level === 'warn') seen.push(formatEvent(event));
  };
  globalLogPublisher.addObserver(note);
  t.teardown(() => globalLogPublisher.removeObserver(note));
  return seen;
}

/** Fires never, not even when it is cancelled. */
const deaf = () => new Deferred<void>().addBoth(() => new Deferred<void>(() => {}));

// ── Reactors ─────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('FND-02: a shutdown ends, whatever its triggers wait for', async (t) => {
  const seen = warnings(t);
  const reactor = new MemoryReactorClock();
  const cancelled: string[] = [];
  reactor.addSystemEventTrigger('before', 'shutdown', function idle() {
    return new Deferred<void>(() => cancelled.push('idle'));
  });
  reactor.addSystemEventTrigger('before', 'shutdown', () => deferLater(reactor, 59));
  reactor.addSystemEventTrigger(
    'before',
    'shutdown',
    () =>
      new Deferred<void>(() => {
        throw new RangeError('7 is too many');
      }),
  );
  const after: string[] = [];
  reactor.addSystemEventTrigger('after', 'shutdown', () => after.push('after'));
  const stopped = reactor.run();
  reactor.stop();
  reactor.flush();
  reactor.advance(59.9);
  assertNoResult(stopped);
  t.same(after, []);
  reactor.advance(0.2);
  successResultOf(stopped);
  t.same(cancelled, ['idle']);
  t.same(after, ['after']);
  t.same(reactor.getDelayedCalls(), []);
  t.match(seen, [
    /^still stopping after 1 second, waiting for the trigger before shutdown idle, the trigger before shutdown \(\) => deferLater\(reactor, 59\), .* another signal ends the process$/,
    /^the trigger before shutdown idle, .* not over after 60 seconds: given up$/,
  ]);
  t.equal(flushLoggedErrors(RangeError).length, 1, 'what the canceller threw is logged');
});

t.test('FND-02: how long a shutdown may take is an option', async (t) => {
  const reactor = new MemoryReactorClock();
  const trigger = () => reactor.addSystemEventTrigger('before', 'shutdown', deaf);
  trigger();
  const stopped = reactor.run({ shutdownTimeout: 0.5, installSignalHandlers: false });
  reactor.stop();
  reactor.flush();
  reactor.advance(0.4);
  assertNoResult(stopped);
  reactor.advance(0.1);
  successResultOf(stopped);

  trigger();
  const patient = reactor.run({ shutdownTimeout: null, installSignalHandlers: false });
  reactor.stop();
  reactor.flush();
  reactor.advance(100_000);
  assertNoResult(patient);
  reactor.crash();
  successResultOf(patient);
  t.same(reactor.getDelayedCalls(), []);
  t.throws(() => reactor.run({ shutdownTimeout: -1 }), RangeError);
  t.throws(() => reactor.run({ threadGrace: NaN }), RangeError);
  t.equal(reactor.running, false);
});

t.test('FND-02: a trigger without a name is called by how it begins', async (t) => {
  const seen = warnings(t);
  const reactor = new MemoryReactorClock();
  reactor.addSystemEventTrigger('before', 'shutdown', () =>
    deferLater(reactor, 2).addCallback(() => 'a long story that is told from beginning to end'),
  );
  reactor.run();
  reactor.stop();
  reactor.flush();
  reactor.advance(1);
  reactor.advance(1);
  t.match(seen, [/trigger before shutdown \(\) => deferLater\(.{40,50}…; another signal/]);
  t.throws(() => reactor.addSystemEventTrigger('before', 'shutdown', 'tidy' as never), {
    name: 'TypeError',
    message: 'addSystemEventTrigger: fn must be a function, not "tidy"',
  });
});

t.test('FND-1H: after a second a line says what is waited for, and how to end it', async (t) => {
  const seen = warnings(t);
  const sim = new Simulation();
  const host = sim.host('server');
  const { reactor } = host;
  const stuck = function stuck() {
    return new Deferred<void>();
  };
  const begin = () => {
    reactor.addSystemEventTrigger('before', 'shutdown', stuck);
    return reactor.run();
  };
  const stopped = begin();
  host.signal('SIGINT');
  host.signal('SIGINT'); // as npm does it
  sim.advance(0.9);
  t.same(seen, []);
  sim.advance(0.2);
  t.same(seen.splice(0), [
    'still stopping after 1 second, waiting for the trigger before shutdown stuck; another signal ends the process',
  ]);
  assertNoResult(stopped);
  host.signal('SIGTERM');
  sim.advance(0);
  successResultOf(stopped);
  t.equal(reactor.exitSignal, 'SIGINT');
  t.match(seen.splice(0), [
    /^SIGTERM received again while stopping: ending at once, without the t/,
  ]);

  const impatient = begin();
  host.signal('SIGINT');
  sim.advance(0.5);
  host.signal('SIGINT');
  sim.advance(0.4);
  assertNoResult(impatient);
  sim.advance(0.2);
  successResultOf(impatient);
  t.equal(seen.splice(0).length, 2, 'who has asked twice need not ask again');

  const asked = begin();
  reactor.stop();
  sim.advance(2);
  t.equal(seen.length, 1);
  host.signal('SIGINT');
  sim.advance(0);
  successResultOf(asked);
  t.same(reactor.getDelayedCalls(), []);
});

t.test('FND-02, FND-1H: a second signal ends the process', async (t) => {
  const child = start(
    t,
    `
    import { Deferred, react, reactor } from 'plait';
    react(() => {
      console.log('ready');
      return new Deferred(() => {}).addBoth(function stuck() { return new Promise(() => {}); });
    });
    process.on('exit', (code) => console.log('exit', code));
    `,
  );
  await child.line('ready');
  child.process.kill('SIGTERM');
  await child.errorLine(/another signal ends the process/);
  child.process.kill('SIGINT');
  const { code, stdout, stderr } = await child.ended;
  t.equal(code, 130);
  t.match(stdout, /exit 130/);
  t.match(stderr, /still stopping after 1 second, waiting for the trigger before shutdown/);
});

t.test('FND-02: react ends, though its main does not', async (t) => {
  const before = process.exitCode;
  t.teardown(() => (process.exitCode = before));
  const seen = warnings(t);
  /** Goes on, however often it is cancelled. */
  const stubborn = inlineCallbacks(function* () {
    for (;;) {
      try {
        yield* new Deferred<void>();
      } catch {
        continue;
      }
    }
  });
  for (const [signal, code] of [
    ['SIGTERM', 143],
    [undefined, 1],
  ] as const) {
    const reactor = new MemoryReactorClock();
    reactor.exitSignal = undefined;
    const exit = react(stubborn, { reactor, shutdownTimeout: 3 });
    reactor.stop();
    reactor.exitSignal = signal;
    reactor.flush();
    reactor.advance(2.9);
    assertNoResult(exit);
    reactor.advance(0.1);
    t.equal(successResultOf(exit), code);
    process.exitCode = before;
  }
  t.equal(seen.length, 4);
});

t.test('FND-02: what connects again and again does not keep a reactor from stopping', async (t) => {
  const reactor = new Reactor();
  const factory = new ReconnectingClientFactory();
  factory.protocol = Protocol;
  factory.clock = reactor;
  class Server extends Protocol {
    override connectionLost() {
      reactor.connectTCP('127.0.0.1', port.getHost().port, factory);
    }
  }
  const port = reactor.listenTCP(0, Factory.forProtocol(Server), { interface: '127.0.0.1' }) as {
    ready: Deferred<unknown>;
    getHost(): { port: number };
  };
  const stopped = reactor.run({ installSignalHandlers: false });
  await port.ready;
  await new TCP4ClientEndpoint(reactor, '127.0.0.1', port.getHost().port).connect(
    Factory.forProtocol(Protocol),
  );
  reactor.stop();
  await stopped;
  factory.stopTrying();
});

t.test('FND-1D: a port that is asked for when connections have been cut is refused', async (t) => {
  const folder = t.testdir({});
  const reactor = new Reactor();
  const refused: unknown[] = [];
  const note = (error: Error) => refused.push([error.name, (error.cause as Error).name]);
  const ask = () => {
    const ports = [
      reactor.listenTCP(0, new Factory(), { interface: '127.0.0.1' }),
      reactor.listenUNIX(join(folder, 'socket'), new Factory()),
      reactor.listenUDP(0, new DatagramProtocol(), { interface: '127.0.0.1' }),
      reactor.listenMulticast(0, new DatagramProtocol()),
    ];
    for (const port of ports) {
      port.ready.addErrback((failure) => note(failure.value));
      t.throws(() => port.getHost(), NotListeningError);
      successResultOf(maybeDeferred(() => port.stopListening()));
    }
    // Nobody looks: that the reactor stops is no reason for the program to fail.
    reactor.listenTCP(0, new Factory());
    reactor.listenUDP(0, new DatagramProtocol());
  };
  reactor.addSystemEventTrigger('during', 'shutdown', ask);
  const stopped = reactor.run({ installSignalHandlers: false });
  reactor.stop();
  await stopped;
  t.same(refused, Array(4).fill(['CannotListenError', 'ConnectionLost']));
  const port = reactor.listenTCP(0, new Factory(), { interface: '127.0.0.1' });
  await port.ready;
  await port.stopListening();
});

t.test('FND-1D: a port over a descriptor that is handed over too late is refused', async (t) => {
  const { code, stdout, stderr } = await run(
    t,
    `
    import { spawnSync } from 'node:child_process';
    import { createServer } from 'node:net';
    import { createSocket } from 'node:dgram';
    import { once } from 'node:events';
    import { DatagramProtocol, Factory, reactor } from 'plait';

    if (process.env.SOCKETS === undefined) {
      const server = createServer().listen(0, '127.0.0.1');
      const socket = createSocket('udp4').bind(0, '127.0.0.1');
      await Promise.all([once(server, 'listening'), once(socket, 'listening')]);
      const state = Object.getOwnPropertySymbols(socket).map((key) => socket[key]).find((it) => it?.handle);
      const { status } = spawnSync(process.execPath, [...process.execArgv, process.argv[1]], {
        env: { ...process.env, SOCKETS: '1' },
        stdio: [0, 1, 2, server._handle.fd, state.handle.fd],
      });
      process.exit(status);
    }
    reactor.addSystemEventTrigger('during', 'shutdown', () => {
      for (const port of [
        reactor.adoptStreamPort(3, 'AF_INET', new Factory()),
        reactor.adoptDatagramPort(4, 'AF_INET', new DatagramProtocol()),
      ])
        port.ready.addCallbacks(() => console.log('listens'), (failure) => console.log(failure.value.cause?.name));
    });
    const stopped = reactor.run();
    reactor.stop();
    await stopped;
    `,
  );
  t.equal(code, 0, stderr);
  t.same(stdout.split('\n'), ['ConnectionLost', 'ConnectionLost', '']);
});

t.test('FND-1D: no process waits for calls from before its reactor has stopped', async (t) => {
  const programs: Readonly<Record<string, readonly [program: string, seen: string[]]>> = {
    'a call asked for later is made, and no more': [
      `reactor.callLater(0.02, console.log, 'later');`,
      ['later'],
    ],
    'also one behind those from before': [
      `reactor.callLater(0.4, console.log, 'later');`,
      ['earlier', 'later'],
    ],
    'one that is put off is asked for anew': [`earlier.reset(0.01);`, ['earlier']],
    'one that is called off is not waited for': [
      `earlier.cancel(); reactor.callLater(20, console.log, 'never').cancel();`,
      [],
    ],
    'one that is made is one less': [
      `reactor.callLater(0.4, () => { earliest.cancel(); reactor.callLater(0.01, console.log, 'later'); });`,
      ['earlier', 'later'],
    ],
    'those of a second run count again': [
      `reactor.run(); setTimeout(() => { const last = reactor.callLater(0.1, console.log, 'last'); reactor.stop(); });`,
      [],
    ],
  };
  await Promise.all(
    Object.entries(programs).map(async ([name, [program, seen]]) => {
      const { code, stdout, stderr } = await run(
        t,
        `
        import { reactor } from 'plait';
        const stopped = reactor.run();
        reactor.callLater(3600, console.log, 'never');
        const earliest = reactor.callLater(3600, console.log, 'never');
        const earlier = reactor.callLater(${seen.length > 1 ? 0.2 : 3000}, console.log, 'earlier');
        reactor.stop();
        stopped.addCallback(() => {
          ${program}
        });
        `,
      );
      t.equal(code, 0, stderr);
      t.same(stdout.split('\n').slice(0, -1), seen, name);
    }),
  );
});

// ── Threads ──────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('FND-1G: a reactor that stops waits for what its threads do', async (t) => {
  const reactor = new Reactor();
  const seen: unknown[] = [];
  reactor.addSystemEventTrigger('after', 'shutdown', () => seen.push('after'));
  // On a busy machine it may take a thread longer than the default to start.
  const stopped = reactor.run({ installSignalHandlers: false, threadGrace: null });
  const slow = (milliseconds: number) => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
    return 'done';
  };
  const work = deferToThreadPool(reactor, reactor.getThreadPool(), slow, 300);
  work.addCallback((value) => {
    seen.push(value);
    // What is asked for too late fails at once.
    return deferToThreadPool(reactor, reactor.getThreadPool(), slow, 1).addErrback((failure) => {
      seen.push(failure.trap(ThreadPoolStopped).message);
    });
  });
  reactor.stop();
  await stopped;
  t.same(seen, ['done', 'the pool of threads plait is stopped', 'after']);
  t.equal(await deferToThreadPool(reactor, reactor.getThreadPool(), slow, 1), 'done');
  await reactor.getThreadPool().stop();
});

t.test('FND-1G: threads that do not end are ended, and their work has failed', async (t) => {
  const seen = warnings(t);
  const reactor = new Reactor();
  const stopped = reactor.run({ installSignalHandlers: false, threadGrace: 0.05 });
  const forever = () => {
    for (;;);
  };
  const works = Array.from({ length: 7 }, () =>
    deferToThreadPool(reactor, reactor.getThreadPool(), forever),
  );
  const outcomes: string[] = [];
  for (const work of works)
    work.addErrback((failure) => outcomes.push(failure.trap(ThreadPoolStopped).name));
  reactor.stop();
  await stopped;
  t.same(outcomes, Array(7).fill('ThreadPoolStopped'), 'before run is over');
  t.same(seen, [
    `work in threads: ${Array(5).fill('a function').join(', ')} and 2 more not over after 0.05 seconds: given up`,
  ]);
  t.equal(reactor.getThreadPool().threads, 0);
});

t.test('FND-1G: a thread that is asked for while the reactor stops is refused', async (t) => {
  const reactor = new Reactor();
  const refused: unknown[] = [];
  reactor.addSystemEventTrigger('during', 'shutdown', () => {
    try {
      reactor.callInThread(() => {});
    } catch (error) {
      refused.push(error);
    }
  });
  const stopped = reactor.run({ installSignalHandlers: false });
  reactor.stop();
  await stopped;
  t.match(refused, [{ name: 'ThreadPoolStopped' }]);
  t.equal(reactor.getThreadPool().started, true, 'and works again when it has stopped');
});

// ── Services ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** An endpoint that connects at once, over a transport that never says that it is closed. */
function silent(transport: StringTransport): IStreamClientEndpoint {
  return {
    connect(factory: IProtocolFactory) {
      const protocol = factory.buildProtocol(transport.getPeer());
      if (protocol === null) throw new Error('refused');
      protocol.makeConnection(transport);
      return succeed(protocol) as never;
    },
  };
}

t.test('FND-02: a ClientService stops, whatever the transport says', async (t) => {
  const seen = warnings(t);
  const clock = new Clock();
  const transport = new StringTransport();
  const service = new ClientService(silent(transport), Factory.forProtocol(Protocol), { clock });
  service.startService();
  const [first, second] = [service.stopService(), service.stopService()];
  t.equal(transport.disconnecting, true);
  clock.advance(29.9);
  t.equal(transport.aborting, false);
  clock.advance(0.1);
  t.equal(transport.aborting, true);
  assertNoResult(first);
  clock.advance(1);
  successResultOf(first);
  successResultOf(second);
  successResultOf(service.stopService());
  t.same(seen, ['a connection was not closed in 30 seconds: aborting that with 192.168.1.1:54321']);
  t.same(clock.getDelayedCalls(), []);
  t.throws(
    () => new ClientService(silent(transport), Factory.forProtocol(Protocol), { grace: -1 }),
    RangeError,
  );
});

t.test('FND-82: a ClientService stops, whatever the cancellers do', async (t) => {
  const clock = new Clock();
  const throwing = <T>() =>
    new Deferred<T>(() => {
      throw new RangeError('7 is too many');
    });
  const dialing = new ClientService({ connect: throwing }, Factory.forProtocol(Protocol), {
    clock,
  });
  dialing.startService();
  successResultOf(dialing.stopService());
  successResultOf(dialing.stopService());
  t.equal(flushLoggedErrors(RangeError).length, 1);

  const transport = new StringTransport();
  const preparing = new ClientService(silent(transport), Factory.forProtocol(Protocol), {
    clock,
    grace: 2,
    prepareConnection: deaf,
  });
  preparing.startService();
  const stop = preparing.stopService();
  clock.advance(2);
  clock.advance(1);
  successResultOf(stop);
  t.same(clock.getDelayedCalls(), []);
});

t.test('FND-82: other services stop, whatever the cancellers do', (t) => {
  const clock = new Clock();
  const throwing = <T>() =>
    new Deferred<T>(() => {
      throw new RangeError('7 is too many');
    });
  const listening = new StreamServerEndpointService({ listen: throwing }, new Factory());
  listening.startService();
  for (let i = 0; i < 2; i++) successResultOf(listening.stopService());
  t.equal(flushLoggedErrors(RangeError).length, 1);

  const timer = new TimerService(1, throwing);
  timer.clock = clock;
  timer.startService();
  const stops = [timer.stopService(), timer.stopService()];
  clock.advance(timer.grace ?? 0);
  stops.forEach(successResultOf);
  t.equal(flushLoggedErrors(RangeError).length, 1);
  t.equal(timer.running, false);
  t.end();
});

t.test('FND-02: a connection that comes after its service has stopped is refused', async (t) => {
  const clock = new Clock();
  let factory: IProtocolFactory | undefined;
  const endpoint: IStreamClientEndpoint = {
    connect(given: IProtocolFactory) {
      factory = given;
      return deaf() as never;
    },
  };
  const service = new ClientService(endpoint, Factory.forProtocol(Protocol), { clock, grace: 1 });
  service.startService();
  const stop = service.stopService();
  clock.pump([1, 1]);
  successResultOf(stop);
  t.equal(factory?.buildProtocol(new StringTransport().getPeer()), null);

  const patient = new ClientService(endpoint, Factory.forProtocol(Protocol), {
    clock,
    grace: null,
  });
  patient.startService();
  void patient.stopService();
  t.same(clock.getDelayedCalls(), [], 'unless it may take any time');
});

t.test('FND-02: a TimerService stops, whatever its call waits for', async (t) => {
  const seen = warnings(t);
  const clock = new Clock();
  let calls = 0;
  const service = new TimerService(1, () => {
    calls++;
    return calls === 1 ? deaf() : undefined;
  });
  service.clock = clock;
  service.startService();
  const [first, second] = [service.stopService(), service.stopService()];
  clock.advance(29);
  assertNoResult(first);
  service.startService();
  t.equal(calls, 1);
  clock.advance(1);
  successResultOf(first);
  successResultOf(second);
  t.equal(calls, 2, 'it goes on where it was started again');
  successResultOf(service.stopService());
  t.same(seen, ['a call of a timer service was not over in 30 seconds: cancelled']);
  t.same(flushLoggedErrors(), []);

  const cancelled = new TimerService(1, () => new Deferred<void>());
  cancelled.clock = clock;
  cancelled.grace = 2;
  cancelled.startService();
  const stop = cancelled.stopService();
  clock.advance(2);
  successResultOf(stop);
  t.same(flushLoggedErrors(), [], 'that it was cancelled is no failure');
  cancelled.grace = null;
  cancelled.startService();
  const never = cancelled.stopService();
  clock.advance(1000);
  assertNoResult(never);
  t.same(clock.getDelayedCalls(), []);
});

t.test('FND-02: a MultiService stops, whatever its parts do, and names those', async (t) => {
  const seen = warnings(t);
  class Stuck extends Service {
    override stopService() {
      void super.stopService();
      return new Deferred<void>();
    }
  }
  const clock = new Clock();
  const all = new MultiService();
  all.clock = clock;
  const stuck = new Stuck();
  stuck.setName('mail');
  all.addService(stuck);
  all.addService(new Stuck());
  all.addService(new Service());
  all.startService();
  const stop = all.stopService();
  clock.advance(44);
  assertNoResult(stop);
  clock.advance(1);
  successResultOf(stop);
  t.same(seen, ['not stopped in 45 seconds, and not waited for any more: Stuck, Stuck mail']);
  all.grace = null;
  void all.stopService();
  t.same(clock.getDelayedCalls(), []);
});

t.test('FND-02: a port that comes after its service was stopped is closed', async (t) => {
  const ports: MemoryPort[] = [];
  class MemoryPort {
    readonly ready = succeed(this as unknown as IListeningPort);
    closed = 0;
    stopListening() {
      this.closed++;
      return ports[0] === this ? fail<void>(new RangeError('it stays open')) : succeed();
    }
  }
  const opened: Deferred<void>[] = [];
  const endpoint = {
    async listen() {
      const port = new MemoryPort();
      ports.push(port);
      const gate = new Deferred<void>();
      opened.push(gate);
      // What is awaited cannot be cancelled.
      await new Promise<void>((resolve) => {
        gate.addCallback(resolve);
      });
      return port;
    },
  } as unknown as IStreamServerEndpoint;
  const service = new StreamServerEndpointService(endpoint, new Factory());
  service.startService();
  await service.stopService();
  service.startService();
  for (const gate of opened) gate.callback();
  t.equal(await service.whenListening(), ports[1] as unknown as IListeningPort);
  t.same(
    ports.map(({ closed }) => closed),
    [1, 0],
  );
  t.equal(flushLoggedErrors(RangeError).length, 1, 'no one else can be told');
  await service.stopService();
  t.same(
    ports.map(({ closed }) => closed),
    [1, 1],
  );
});

t.test(
  'FND-1G: the output of a process that a stop has cut is a failure, not a result',
  async (t) => {
    const reactor = new Reactor();
    const stopped = reactor.run({ installSignalHandlers: false });
    // It ends with 0 when it cannot write any more.
    const program = `process.stdout.on('error', () => process.exit(0)); setInterval(() => console.log('more'), 5);`;
    const options = { reactor, args: ['-e', program] };
    const ready = new Deferred<void>();
    class Told extends ProcessProtocol {
      override outReceived() {
        ready.callback();
      }
    }
    reactor.spawnProcess(new Told(), process.execPath, {
      args: ['node', '-e', program],
    });
    const seen: unknown[] = [];
    for (const output of [
      getProcessOutput(process.execPath, options),
      getProcessOutputAndValue(process.execPath, options),
    ])
      (output as Deferred<unknown>).addErrback((failure) => seen.push(failure.value));
    const value = getProcessValue('/bin/sh', { reactor, args: ['-c', 'read line; exit 4'] });
    await ready;
    reactor.stop();
    await stopped;
    t.match(seen, [ConnectionLost, ConnectionLost]);
    t.equal(await value, 4);
  },
);

t.test('of many that are waited for, the first are named, and the others counted', async (t) => {
  const seen = warnings(t);
  const reactor = new MemoryReactorClock();
  const slow = new Deferred<void>();
  for (let i = 0; i < 7; i++)
    reactor.addSystemEventTrigger('before', 'shutdown', function tidy() {
      return slow;
    });
  const stopped = reactor.run({ installSignalHandlers: false });
  reactor.stop();
  reactor.flush();
  reactor.advance(1);
  t.match(seen, [/waiting for (the trigger before shutdown tidy, ){4}\S.* tidy and 2 more$/]);
  slow.callback();
  reactor.flush();
  successResultOf(stopped);
});

t.test('SIGBREAK, which not every system has, ends the process when it comes again', async (t) => {
  const sim = new Simulation();
  const host = sim.host('server');
  const { reactor } = host;
  reactor.addSystemEventTrigger('before', 'shutdown', deaf);
  const stopped = reactor.run();
  host.signal('SIGBREAK');
  sim.advance(2);
  assertNoResult(stopped);
  host.signal('SIGBREAK');
  sim.advance(0);
  successResultOf(stopped);
  t.equal(reactor.exitSignal, 'SIGBREAK');
});

t.test('what a part fails with once the time of its set is over is logged', (t) => {
  const slow = new Deferred<void>();
  class Slow extends Service {
    override stopService() {
      super.stopService();
      return slow;
    }
  }
  const clock = new MemoryReactorClock();
  const all = new MultiService();
  all.grace = 1;
  all.clock = clock;
  all.addService(new Slow());
  all.startService();
  const stopped = all.stopService();
  clock.advance(1);
  successResultOf(stopped);
  slow.errback(new RangeError('at last'));
  t.match(flushLoggedErrors(RangeError), [
    { format: '{service} could not be stopped', service: 'Slow' },
  ]);
  t.end();
});

t.test(
  'FND-82: a ClientService that is stopped within connect, or loses what it prepares',
  async (t) => {
    const clock = new Clock();
    const throwing = <T>() =>
      new Deferred<T>(() => {
        throw new RangeError('7 is too many');
      });
    let stop = new Deferred<void>();
    const hasty: ClientService<Protocol> = new ClientService(
      {
        connect() {
          stop = hasty.stopService();
          return throwing();
        },
      },
      Factory.forProtocol(Protocol),
      { clock },
    );
    t.doesNotThrow(() => hasty.startService());
    successResultOf(stop);
    t.equal(flushLoggedErrors(RangeError).length, 1);

    let protocol: IProtocol | null = null;
    const transport = new StringTransport();
    const losing = new ClientService(
      {
        connect(factory: IProtocolFactory) {
          protocol = factory.buildProtocol(transport.getPeer());
          protocol?.makeConnection(transport);
          return succeed(protocol) as never;
        },
      },
      Factory.forProtocol(Protocol),
      { clock, prepareConnection: throwing },
    );
    losing.startService();
    t.doesNotThrow(() => protocol?.connectionLost(new Failure(new ConnectionLost())));
    t.equal(flushLoggedErrors(RangeError).length, 1);
    successResultOf(losing.stopService());
    t.same(clock.getDelayedCalls(), []);
  },
);

t.test(
  'a ClientService whose connection is closed by its deadline has nothing left to cancel',
  (t) => {
    const clock = new Clock();
    const transport = new (class extends StringTransport {
      override abortConnection() {
        super.abortConnection();
        protocol?.connectionLost(new Failure(new ConnectionAborted()));
      }
    })();
    let protocol: IProtocol | null = null as IProtocol | null;
    const service = new ClientService(
      {
        connect(factory: IProtocolFactory) {
          protocol = factory.buildProtocol(transport.getPeer());
          protocol?.makeConnection(transport);
          return succeed(protocol) as never;
        },
      },
      Factory.forProtocol(Protocol),
      { clock, grace: 1 },
    );
    service.startService();
    const stop = service.stopService();
    t.doesNotThrow(() => clock.advance(1));
    successResultOf(stop);
    service.startService();
    const again = service.stopService();
    for (const call of clock.getDelayedCalls()) call.cancel();
    t.doesNotThrow(() => protocol?.connectionLost(new Failure(new ConnectionDone())));
    successResultOf(again);
    t.same(clock.getDelayedCalls(), []);
    t.end();
  },
);
