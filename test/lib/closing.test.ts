/**
 * That closing always ends: no close waits for a producer that can no longer answer. And that whoever closes is told
 * what the clean-up has failed with.
 */
import { Duplex } from 'node:stream';
import {
  ClientFactory,
  connectProtocol,
  Deferred,
  DatagramProtocol,
  Factory,
  type Failure,
  type IConnector,
  type IListeningPort,
  type IPullProducer,
  type IPushProducer,
  IPv4Address,
  Protocol,
  Reactor,
  StreamServerEndpointService,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
} from 'plait';
import {
  Clock,
  connectedServerAndClient,
  failureResultOf,
  FakeDatagramTransport,
  flushLoggedErrors,
  MemoryReactorClock,
  Simulation,
  successResultOf,
} from 'plait/testing';
import t, { type Test } from '../fixture.ts';

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    if (i > 200_000) throw new Error(`it never came to ${condition.toString()}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** One end of a forwarded connection, in the shape of Twisted's `twisted.protocols.portforward`. */
class Proxy extends Protocol {
  other: Proxy | undefined;

  override dataReceived(data: Buffer): void {
    this.other?.transport.write(data);
  }

  override connectionLost(): void {
    this.other?.transport.loseConnection();
    this.other = undefined;
  }
}

class ProxyClient extends Proxy {
  constructor(server: Proxy) {
    super();
    this.other = server;
  }

  override connectionMade(): void {
    const server = this.other as Proxy;
    server.other = this;
    server.transport.registerProducer(this.transport, true);
    this.transport.registerProducer(server.transport, true);
    server.transport.resumeProducing();
  }
}

/** Forwards each connection to `backend`. */
function forwarder(reactor: Reactor, backend: IPv4Address): Factory {
  return new (class extends Factory {
    override buildProtocol(): Proxy {
      const server = new Proxy();
      server.connectionMade = () => {
        server.transport.pauseProducing();
        const factory = new (class extends ClientFactory {
          override buildProtocol(): Proxy {
            return new ProxyClient(server);
          }
          override clientConnectionFailed(_: IConnector): void {
            server.transport.loseConnection();
          }
        })();
        reactor.connectTCP(backend.host, backend.port, factory);
      };
      return server;
    }
  })();
}

async function listen(t: Test, reactor: Reactor, factory: Factory): Promise<IPv4Address> {
  const port: IListeningPort = reactor.listenTCP(0, factory, { interface: '127.0.0.1' });
  t.teardown(() => port.stopListening().asPromise());
  await port.ready;
  const address = port.getHost();
  if (!(address instanceof IPv4Address)) throw new TypeError(`it listens at ${address}`);
  return address;
}

t.test('FND-01: a forwarder closes when the backend does, each time', async (t) => {
  const reactor = new Reactor();
  const page = Buffer.alloc(100_000, 'x');
  const backend = await listen(
    t,
    reactor,
    new (class extends Factory {
      override buildProtocol(): Protocol {
        const protocol = new Protocol();
        protocol.dataReceived = () => {
          protocol.transport.write(page);
          protocol.transport.loseConnection();
        };
        return protocol;
      }
    })(),
  );
  const front = await listen(t, reactor, forwarder(reactor, backend));
  const reasons: string[] = [];
  let bytes = 0;
  for (let i = 0; i < 20; i++) {
    const client = new (class extends Protocol {
      override connectionMade(): void {
        this.transport.write('GET');
      }
      override dataReceived(data: Buffer): void {
        bytes += data.length;
      }
    })();
    client.connectionLost = ({ value }) => reasons.push(value.name);
    const factory = new ClientFactory();
    factory.buildProtocol = () => client;
    reactor.connectTCP(front.host, front.port, factory);
  }
  await until(() => reasons.length === 20);
  t.same(new Set(reasons), new Set(['ConnectionDone']));
  t.equal(bytes, 20 * page.length);
});

/** A pair in memory, whose time is a Clock's. */
function pair() {
  const clock = new Clock();
  const lost: string[] = [];
  class Noter extends Protocol {
    readonly who: string = 'server';
    override connectionLost({ value }: Failure): void {
      lost.push(`${this.who} ${value.name}`);
    }
  }
  class Client extends Noter {
    override readonly who = 'client';
  }
  const { client, pump } = connectedServerAndClient(Noter, Client, { clock });
  return { clock, pump, lost, transport: client.transport };
}

t.test('FND-01: a pull producer that gives nothing is not waited for for ever', (t) => {
  const { clock, pump, lost, transport } = pair();
  const told: string[] = [];
  const producer: IPullProducer = {
    resumeProducing: () => told.push('resume'),
    stopProducing: () => told.push('stop'),
  };
  transport.registerProducer(producer, false);
  transport.loseConnection();
  pump.flush();
  clock.advance(29);
  pump.flush();
  t.same(lost, [], 'it has half a minute');
  transport.write('a piece');
  pump.flush();
  clock.advance(29);
  pump.flush();
  t.same(lost, [], 'and again after each piece');
  clock.advance(1);
  pump.flush();
  t.same(lost.sort(), ['client ConnectionDone', 'server ConnectionDone']);
  t.same(told, ['resume', 'resume', 'stop']);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('FND-02: nor is a push producer that was told to go on and does not', (t) => {
  const { clock, pump, lost, transport } = pair();
  const told: string[] = [];
  const producer: IPushProducer = {
    pauseProducing: () => told.push('pause'),
    resumeProducing: () => told.push('resume'),
    stopProducing: () => told.push('stop'),
  };
  transport.registerProducer(producer, true);
  transport.write(Buffer.alloc(100_000));
  transport.loseConnection();
  pump.flush();
  t.same(told, ['pause', 'resume']);
  t.same(lost, []);
  clock.advance(30);
  pump.flush();
  t.equal(lost.length, 2);
  t.same(told, ['pause', 'resume', 'stop']);
  t.end();
});

t.test('FND-02: a producer that unregisters in time leaves no timer behind', (t) => {
  const { clock, pump, lost, transport } = pair();
  transport.registerProducer({ resumeProducing() {}, stopProducing() {} }, false);
  transport.loseConnection();
  pump.flush();
  t.equal(clock.getDelayedCalls().length, 1);
  transport.unregisterProducer();
  t.same(clock.getDelayedCalls(), []);
  pump.flush();
  t.equal(lost.length, 2);
  t.end();
});

t.test('a producer that throws when it is told to go on ends a close too', (t) => {
  const { pump, lost, transport } = pair();
  let asked = 0;
  transport.registerProducer(
    {
      resumeProducing() {
        if (asked++ > 0) throw new RangeError('no more');
        transport.write('one');
      },
      stopProducing() {},
    },
    false,
  );
  transport.loseConnection();
  pump.flush();
  t.ok(lost.includes('client RangeError'));
  t.equal(flushLoggedErrors(RangeError).length, 1);
  t.end();
});

// ── What the clean-up fails with ─────────────────────────────────────────────────────────────────────────────────────

/** A way to fail, for each kind of function. */
const FAILURES: ReadonlyMap<string, () => unknown> = new Map<string, () => unknown>([
  [
    'a plain function',
    () => {
      throw new RangeError('not stopped');
    },
  ],
  ['an async function', () => Promise.reject(new RangeError('not stopped'))],
  [
    'a generator function',
    function* () {
      yield Promise.resolve();
      throw new RangeError('not stopped');
    },
  ],
]);

class Stubborn extends Factory {
  override stopFactory: () => never;

  constructor(stop: () => unknown) {
    super();
    this.stopFactory = stop as () => never;
  }
}

/** Ports of each kind, whose last hook is `stop`. */
function ports(reactor: Reactor, stop: () => unknown): Map<string, IListeningPort> {
  const protocol = new DatagramProtocol();
  protocol.stopProtocol = stop as () => never;
  const served = { interface: '127.0.0.1' };
  return new Map<string, IListeningPort>([
    ['TCP', reactor.listenTCP(0, new Stubborn(stop), served)],
    ['UDP', reactor.listenUDP(0, protocol, served)],
  ]);
}

/** A port as it shows itself: the interface promises no text. */
const shown = (port: unknown): string => String(port);

t.test('FND-12: who stops a port is told what its last hook fails with', async (t) => {
  for (const [way, stop] of FAILURES) {
    for (const reactor of [new Reactor(), new MemoryReactorClock()]) {
      for (const [kind, port] of ports(reactor, stop)) {
        await port.ready;
        const stops = [port.stopListening(), port.stopListening()];
        if (reactor instanceof MemoryReactorClock) reactor.flush();
        for (const stopped of stops)
          await t.rejects(stopped.asPromise(), { message: 'not stopped' }, `${kind}, ${way}`);
        t.match(shown(port), /closed/);
        await port.stopListening();
        t.same(reactor.getDelayedCalls(), []);
      }
    }
  }
});

t.test('FND-12: an asynchronous stopFactory is waited for, but not for ever', async (t) => {
  const reactor = new MemoryReactorClock();
  const late = new Deferred<void>();
  const [[, tcp], [, udp]] = [...ports(reactor, () => late.asPromise())] as [
    [string, IListeningPort],
    [string, IListeningPort],
  ];
  reactor.flush();
  const over: string[] = [];
  const stops = [tcp, udp].map((port) => port.stopListening().addCallback(() => over.push('over')));
  reactor.flush();
  reactor.advance(29);
  t.same(over, []);
  t.throws(() => tcp.startListening(), /the port is closing/);
  reactor.advance(1);
  t.same(over, ['over', 'over']);
  stops.forEach(successResultOf);
  late.errback(new RangeError('late'));
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(flushLoggedErrors(RangeError).length, 2, 'nobody waits for it any more');
});

t.test('FND-12: what nobody waits for is logged', async (t) => {
  const stop = FAILURES.get('a plain function')!;
  const reactor = new MemoryReactorClock();
  const stopped = reactor.run({ installSignalHandlers: false });
  const opened = ports(reactor, stop);
  reactor.flush();
  reactor.stop();
  reactor.flush();
  successResultOf(stopped);
  t.equal(flushLoggedErrors(RangeError).length, 2, 'the reactor has stopped');
  for (const port of opened.values()) t.match(shown(port), /closed/);

  const failing = new MemoryReactorClock();
  const started = new Stubborn(stop);
  started.startFactory = () => Promise.reject(new TypeError('not started'));
  const port = failing.listenTCP(0, started);
  port.ready.addErrback(() => {});
  failing.flush();
  await new Promise((resolve) => setImmediate(resolve));
  failing.flush();
  t.match(shown(port), /closed/);
  t.equal(flushLoggedErrors(RangeError, TypeError).length, 2, 'it has ended by itself');

  const datagrams = new DatagramProtocol();
  datagrams.startProtocol = () => started.startFactory();
  datagrams.stopProtocol = stop as () => never;
  const socket = failing.listenUDP(0, datagrams);
  socket.ready.addErrback(() => {});
  failing.flush();
  await new Promise((resolve) => setImmediate(resolve));
  failing.flush();
  t.match(shown(socket), /closed/);
  t.equal(flushLoggedErrors(RangeError, TypeError).length, 2, 'so has a UDP port');

  const transport = new FakeDatagramTransport();
  transport.loseConnection();
  t.match(String(transport), /closed/);
});

t.test('FND-12: a service that listens fails with what stopFactory fails with', async (t) => {
  const reactor = new MemoryReactorClock();
  const stop = FAILURES.get('a plain function')!;
  const service = new StreamServerEndpointService(
    new TCP4ServerEndpoint(reactor, 0),
    new Stubborn(stop),
  );
  service.startService();
  reactor.flush();
  const stopped = service.stopService();
  reactor.flush();
  failureResultOf(stopped, RangeError);
  t.equal(service.running, false);

  service.startService();
  reactor.flush();
  const disposed = service[Symbol.asyncDispose]();
  reactor.flush();
  await t.rejects(disposed, RangeError);

  const strange = { listen: () => ({ stopListening: stop }) as never as Deferred<IListeningPort> };
  const broken = new StreamServerEndpointService(strange, new Factory());
  broken.startService();
  failureResultOf(broken.stopService(), RangeError);
});

t.test('FND-81: a Duplex whose destroy throws ends its connection all the same', async (t) => {
  class Stuck extends Duplex {
    override _read(): void {}
    override _write(_chunk: unknown, _encoding: string, done: () => void): void {
      done();
    }
    override destroy(): never {
      throw new RangeError('stuck');
    }
  }
  class Noting extends Protocol {
    readonly reasons: Error[] = [];
    override connectionLost(reason: Failure): void {
      this.reasons.push(reason.value);
    }
  }
  const reactor = new Reactor();
  const ways: ((protocol: Noting, duplex: Duplex) => void)[] = [
    ({ transport }) => transport.loseConnection(),
    ({ transport }) => transport.abortConnection(),
    (_protocol, duplex) => void duplex.emit('error', new TypeError('broken')),
    (_protocol, duplex) => void duplex.emit('data', 7),
  ];
  const ended = await Promise.all(
    ways.map(async (way) => {
      const [protocol, duplex] = [new Noting(), new Stuck()];
      reactor.adoptDuplex(duplex, protocol);
      await until(() => protocol.connected);
      way(protocol, duplex);
      await until(() => protocol.reasons.length > 0);
      for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
      return protocol.reasons.map(({ name }) => name);
    }),
  );
  t.same(ended, [
    ['ConnectionDone'],
    ['ConnectionAborted'],
    ['ConnectionLost'],
    ['ConnectionLost'],
  ]);
});

t.test('FND-12: a port that waits for stopFactory says that it is closing', (t) => {
  const sim = new Simulation({ conditions: 'ideal' });
  const slow = new Deferred<void>();
  class Patient extends Protocol {
    connectionDraining() {}
  }
  class Slow extends Factory<Protocol> {
    override protocol = Patient;
    override stopFactory() {
      return slow;
    }
  }
  const port = sim.host('server').reactor.listenTCP(7, new Slow());
  const text = () => (port as object as { toString(): string }).toString();
  const client = new TCP4ClientEndpoint(sim.host('client').reactor, 'server', 7);
  const connected = connectProtocol(client, new Protocol());
  sim.advance(1);
  const stopped = port.stopListening({ connections: 'drain' });
  sim.advance(1);
  t.equal(text(), '<Port draining 0.0.0.0:7>');
  successResultOf(connected).transport.loseConnection();
  sim.advance(1);
  t.equal(text(), '<Port closing 0.0.0.0:7>');
  slow.callback();
  sim.advance(1);
  successResultOf(stopped);
  t.match(text(), /^<Port closed /);
  t.end();
});
