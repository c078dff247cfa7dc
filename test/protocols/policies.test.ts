import {
  type Address,
  capturedLogs,
  ClientFactory,
  ConnectionAborted,
  ConnectionDone,
  ConnectionLost,
  connectProtocol,
  Deferred,
  Factory,
  Failure,
  formatEvent,
  type IConnector,
  IPv4Address,
  IPv6Address,
  isHalfCloseableProtocol,
  type LogEvent,
  Logger,
  LogPublisher,
  Protocol,
  Reactor,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
  UNIXAddress,
} from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import { Echo } from 'plait/protocols/echo';
import {
  LimitConnectionsByPeer,
  LimitTotalConnectionsFactory,
  type ProtocolWrapper,
  ThrottlingFactory,
  TimeoutFactory,
  TimeoutMixin,
  SpewingFactory,
  TrafficLoggingFactory,
  WrappingFactory,
} from 'plait/protocols/policies';
import { Clock, flushLoggedErrors, StringTransport } from 'plait/testing';
import t from '../fixture.ts';

const done = new Failure(new ConnectionDone());
const peer = new IPv4Address('TCP', '192.168.1.1', 54321);

/** Notes what it is told. */
class Noting extends Protocol {
  readonly notes: string[] = [];
  override connectionMade() {
    this.notes.push('made');
  }
  override dataReceived(data: Buffer) {
    this.notes.push(`data ${data}`);
  }
  override connectionLost(reason: Failure) {
    this.notes.push(`lost ${reason.value.name}`);
  }
}

/** A connection through `factory`, as a port would make it. */
function connect(factory: WrappingFactory, address: Address = peer) {
  const wrapper = factory.buildProtocol(address);
  if (wrapper === null) throw new Error('refused');
  const transport = new StringTransport({ peerAddress: address });
  wrapper.makeConnection(transport);
  return {
    wrapper,
    transport,
    get protocol(): Noting {
      if (wrapper.wrappedProtocol instanceof Noting) return wrapper.wrappedProtocol;
      throw new TypeError('the protocol takes no notes');
    },
  };
}

// ── TimeoutMixin ─────────────────────────────────────────────────────────────────────────────────────────────────────

class Patient extends TimeoutMixin(Protocol) {
  timeouts = 0;
  override dataReceived() {
    this.resetTimeout();
  }
  override timeoutConnection() {
    this.timeouts++;
    super.timeoutConnection();
  }
}

function patient() {
  const clock = new Clock();
  const protocol = new Patient();
  protocol.clock = clock;
  const transport = new StringTransport();
  protocol.makeConnection(transport);
  return { clock, protocol, transport };
}

t.test('a protocol with a timeout hangs up when nothing has reset it in time', (t) => {
  const { clock, protocol, transport } = patient();
  t.equal(protocol.setTimeout(10), null);
  t.equal(protocol.timeOut, 10);
  clock.advance(9);
  protocol.dataReceived();
  clock.advance(9.9);
  t.equal(transport.disconnecting, false);
  clock.advance(0.1);
  t.equal(transport.disconnecting, true);
  t.equal(protocol.timeouts, 1);
  t.equal(protocol.timeOut, null, 'it has passed, and is not set any more');
  protocol.resetTimeout();
  protocol.connectionLost(new Failure(new ConnectionDone()));
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('FND-02: a connection that does not close when its time has passed is cut off', (t) => {
  const { clock, protocol, transport } = patient();
  protocol.setTimeout(10);
  clock.advance(10);
  protocol.timeoutConnection();
  clock.advance(14.9);
  t.equal(transport.aborting, false);
  clock.advance(0.1);
  t.equal(transport.aborting, true);
  t.same(clock.getDelayedCalls(), []);

  const slow = patient();
  slow.protocol.abortTimeout = null;
  slow.protocol.setTimeout(10);
  slow.clock.advance(10);
  t.same(slow.clock.getDelayedCalls(), [], 'unless it may take any time');
  t.end();
});

t.test('a timeout can be changed, and switched off', (t) => {
  const { clock, protocol, transport } = patient();
  protocol.setTimeout(10);
  clock.advance(5);
  t.equal(protocol.setTimeout(20), 10, 'it says what was set before');
  clock.advance(19);
  t.equal(transport.disconnecting, false);
  t.equal(protocol.setTimeout(null), 20);
  clock.advance(1000);
  t.equal(protocol.timeouts, 0);
  t.throws(() => protocol.setTimeout(-1), RangeError);
  t.throws(() => protocol.setTimeout(NaN), RangeError);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('TIM-08: no timer of a timeout outlives its connection', (t) => {
  const { clock, protocol } = patient();
  protocol.setTimeout(10);
  protocol.connectionLost(done);
  t.same(clock.getDelayedCalls(), [], 'lost with a timeout pending');
  protocol.resetTimeout();
  t.equal(protocol.setTimeout(5), null);
  t.same(clock.getDelayedCalls(), [], 'reset and set after it was lost');
  t.equal(protocol.setTimeout(null), null);
  t.equal(protocol.setTimeout(null), null, 'switched off twice');

  protocol.makeConnection(new StringTransport());
  protocol.setTimeout(1);
  clock.advance(1);
  t.equal(protocol.timeouts, 1, 'a protocol that gets another connection can time out again');
  t.end();
});

t.test('a timeout goes with any class of protocols, abstract ones too', (t) => {
  class Lines extends TimeoutMixin(LineReceiver) {
    readonly lines: string[] = [];
    override connectionMade() {
      this.setTimeout(3);
    }
    override lineReceived(line: Buffer) {
      this.resetTimeout();
      this.lines.push(line.toString());
    }
    override timeoutConnection() {
      this.sendLine('too slow');
      this.transport.loseConnection();
    }
  }
  const lines = new Lines();
  const clock = (lines.clock = new Clock());
  const transport = new StringTransport();
  lines.makeConnection(transport);
  clock.advance(2);
  lines.dataReceived(Buffer.from('hello\r\n'));
  clock.advance(2);
  t.equal(transport.value().toString(), '');
  clock.advance(1);
  t.equal(transport.value().toString(), 'too slow\r\n');
  t.same(lines.lines, ['hello']);
  t.end();
});

// ── Wrapping ─────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a wrapper passes everything on, both ways', (t) => {
  const factory = new WrappingFactory(Factory.forProtocol(Noting));
  const { wrapper, transport, protocol } = connect(factory);
  t.equal(protocol.transport, wrapper);
  t.same([...factory.protocols], [wrapper]);
  wrapper.dataReceived(Buffer.from('hi'));
  protocol.transport.write('a');
  protocol.transport.writeSequence(['b', Buffer.from('c')]);
  t.equal(transport.value().toString(), 'abc');
  t.equal(protocol.transport.getPeer(), transport.getPeer());
  t.equal(protocol.transport.getHost().toString(), transport.getHost().toString());
  t.equal(wrapper.bufferedBytes, 0);
  t.equal(wrapper.connected, true);

  wrapper.setTcpNoDelay(true);
  wrapper.setTcpKeepAlive(true);
  t.same([transport.getTcpNoDelay(), transport.getTcpKeepAlive()], [true, true]);
  t.same([wrapper.getTcpNoDelay(), wrapper.getTcpKeepAlive()], [true, true]);

  wrapper.pauseProducing();
  t.equal(transport.producerState, 'paused');
  wrapper.resumeProducing();
  t.equal(transport.producerState, 'producing');
  wrapper.stopProducing();
  t.equal(transport.producerState, 'stopped');
  const producer = { pauseProducing() {}, resumeProducing() {}, stopProducing() {} };
  wrapper.registerProducer(producer, true);
  t.equal(transport.producer, producer);
  wrapper.unregisterProducer();
  t.equal(transport.producer, undefined);

  wrapper.loseWriteConnection();
  t.equal(transport.writeDisconnecting, true);
  wrapper.abortConnection();
  t.same([transport.aborting, wrapper.disconnecting], [true, true]);
  wrapper.connectionLost(new Failure(new ConnectionAborted()));
  t.same(protocol.notes, ['made', 'data hi', 'lost ConnectionAborted']);
  t.equal(factory.protocols.size, 0);
  t.end();
});

t.test('a factory that refuses a connection refuses it through its wrapper too', (t) => {
  const inner = new Factory();
  inner.buildProtocol = () => null;
  const clock = new Clock();
  const options = { maxConnectionsPerPeer: 1 };
  for (const factory of [
    new WrappingFactory(inner),
    new TimeoutFactory(inner, { clock }),
    new ThrottlingFactory(inner, { clock, readLimit: 1 }),
    new LimitTotalConnectionsFactory(inner, { connectionLimit: 1 }),
    new LimitConnectionsByPeer(inner, options),
    new TrafficLoggingFactory(inner, () => {}),
  ]) {
    t.equal(factory.buildProtocol(peer), null, factory.constructor.name);
    t.equal(factory.buildProtocol(peer), null, 'and as often as it is asked');
  }
  t.same(clock.getDelayedCalls(), []);
  inner.buildProtocol = () => undefined as never;
  t.equal(new WrappingFactory(inner).buildProtocol(peer), null);
  t.end();
});

t.test('a wrapper outlives the end of one direction if its protocol does', (t) => {
  const [echo, noting] = [Echo, Noting].map((protocol) =>
    connect(new WrappingFactory(Factory.forProtocol<Protocol, Factory<Protocol>>(protocol))),
  );
  t.equal(isHalfCloseableProtocol(noting?.wrapper ?? {}), false);
  t.equal(isHalfCloseableProtocol(echo?.wrapper ?? {}), true);
  echo?.wrapper.writeConnectionLost?.();
  echo?.wrapper.readConnectionLost?.();
  t.equal(echo?.transport.disconnecting, true, 'the echo was told, and closes');
  t.end();
});

t.test('a wrapping factory starts, stops and informs the one inside', (t) => {
  const notes: string[] = [];
  class Told extends ClientFactory {
    override noisy = false;
    override startFactory() {
      notes.push('start');
    }
    override stopFactory() {
      notes.push('stop');
    }
    override startedConnecting() {
      notes.push('connecting');
    }
    override clientConnectionFailed() {
      notes.push('failed');
    }
    override clientConnectionLost() {
      notes.push('lost');
    }
  }
  const connector = {} as IConnector;
  for (const inner of [new Told(), new Factory()]) {
    const factory = new WrappingFactory(inner);
    factory.doStart();
    factory.startedConnecting(connector);
    factory.clientConnectionFailed(connector, done);
    factory.clientConnectionLost(connector, done);
    factory.doStop();
  }
  t.same(notes, ['start', 'connecting', 'failed', 'lost', 'stop']);
  t.end();
});

t.test('all connections of a wrapping factory can be closed at once', (t) => {
  const factory = new WrappingFactory(Factory.forProtocol(Noting));
  const connections = [connect(factory), connect(factory)];
  factory.disconnectAllConnections();
  t.ok(connections.every(({ transport }) => transport.disconnecting));
  t.end();
});

// ── Limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('connections beyond the total limit are refused until one is lost', (t) => {
  const factory = new LimitTotalConnectionsFactory(Factory.forProtocol(Noting), {
    connectionLimit: 2,
  });
  const first = connect(factory);
  connect(factory);
  t.equal(factory.connectionCount, 2);
  t.equal(factory.buildProtocol(peer), null);
  first.wrapper.connectionLost(done);
  t.equal(factory.connectionCount, 1);
  connect(factory);
  t.equal(factory.buildProtocol(peer), null);
  t.throws(() => new LimitTotalConnectionsFactory(factory, { connectionLimit: -1 }), RangeError);
  t.end();
});

t.test('one connection too many can be told so; they are limited as well', (t) => {
  class Sorry extends Noting {
    override connectionMade() {
      this.transport.write('full\r\n');
      this.transport.loseConnection();
    }
  }
  const factory = new LimitTotalConnectionsFactory(Factory.forProtocol(Noting), {
    connectionLimit: 1,
    overflowProtocol: () => new Sorry(),
  });
  const regular = connect(factory);
  const tooMany = connect(factory);
  t.equal(tooMany.transport.value().toString(), 'full\r\n');
  t.equal(factory.connectionCount, 1, 'it does not count');
  t.equal(factory.buildProtocol(peer), null, 'and there is only one such at a time');
  regular.wrapper.connectionLost(done);
  const next = connect(factory);
  t.type(next.protocol, Noting, 'nor does it take the place of a regular one');
  tooMany.transport.disconnecting = false;
  factory.disconnectAllConnections();
  t.same([next.transport.disconnecting, tooMany.transport.disconnecting], [true, true]);
  tooMany.wrapper.connectionLost(done);
  t.type(connect(factory).protocol, Sorry);
  t.end();
});

t.test('connections of one host are limited, whatever their ports', (t) => {
  const factory = new LimitConnectionsByPeer(Factory.forProtocol(Noting), {
    maxConnectionsPerPeer: 2,
  });
  const at = (host: string, port: number) => new IPv4Address('TCP', host, port);
  const first = connect(factory, at('10.0.0.1', 1));
  connect(factory, at('10.0.0.1', 2));
  t.equal(factory.buildProtocol(at('10.0.0.1', 3)), null);
  const mapped = new IPv6Address('TCP', '::ffff:10.0.0.1', 4);
  t.equal(factory.buildProtocol(mapped), null, 'the same host, seen on a port for IPv6');
  connect(factory, at('10.0.0.2', 1));
  connect(factory, new IPv6Address('TCP', '::1', 1));

  first.wrapper.connectionLost(done);
  first.wrapper.connectionLost(done);
  connect(factory, at('10.0.0.1', 4));
  t.equal(factory.buildProtocol(at('10.0.0.1', 5)), null, 'a loss counts once');

  connect(factory, new UNIXAddress(null));
  connect(factory, new UNIXAddress('/run/client'));
  t.equal(factory.buildProtocol(new UNIXAddress(null)), null, 'a UNIX socket is one host');
  t.throws(
    () => new LimitConnectionsByPeer(factory, { maxConnectionsPerPeer: 1.5 }),
    /maxConnectionsPerPeer must be a whole number from 0, or Infinity, not 1.5/,
  );
  t.end();
});

t.test('a protocol that throws when its connection is lost is not counted for ever', (t) => {
  class Clumsy extends Protocol {
    override connectionLost() {
      throw new Error('oops');
    }
  }
  for (const factory of [
    new LimitConnectionsByPeer(Factory.forProtocol(Clumsy), { maxConnectionsPerPeer: 1 }),
    new LimitTotalConnectionsFactory(Factory.forProtocol(Clumsy), { connectionLimit: 1 }),
    new ThrottlingFactory(Factory.forProtocol(Clumsy), {
      maxConnectionCount: 1,
      clock: new Clock(),
    }),
  ]) {
    const { wrapper } = connect(factory);
    t.equal(factory.buildProtocol(peer), null);
    t.throws(() => wrapper.connectionLost(done), /oops/);
    t.ok(factory.buildProtocol(peer), factory.constructor.name);
  }
  t.end();
});

// ── TimeoutFactory ───────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a connection on which nothing passes is closed, any byte either way puts it off', (t) => {
  const clock = new Clock();
  const factory = new TimeoutFactory(Factory.forProtocol(Noting), { timeout: 10, clock });
  const { wrapper, transport, protocol } = connect(factory);
  clock.advance(9);
  wrapper.dataReceived(Buffer.from('x'));
  clock.advance(9);
  protocol.transport.write('y');
  clock.advance(9);
  protocol.transport.writeSequence(['z']);
  clock.advance(9);
  t.equal(transport.disconnecting, false);
  clock.advance(1);
  t.equal(transport.disconnecting, true);
  wrapper.connectionLost(done);
  t.same(clock.getDelayedCalls(), []);
  t.same(protocol.notes, ['made', 'data x', 'lost ConnectionDone']);
  t.end();
});

t.test('a peer that does not even take what was written is cut off', (t) => {
  const clock = new Clock();
  const factory = new TimeoutFactory(Factory.forProtocol(Noting), { timeout: 10, clock });
  const { wrapper, transport, protocol } = connect(factory);
  clock.advance(10);
  t.equal(transport.aborting, false);
  protocol.transport.write('what is written now puts off nothing');
  clock.advance(10);
  t.equal(transport.aborting, true);
  wrapper.connectionLost(new Failure(new ConnectionAborted()));
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('half an hour is allowed unless told otherwise', (t) => {
  const clock = new Clock();
  const { wrapper, transport } = connect(
    new TimeoutFactory(Factory.forProtocol(Noting), { clock }),
  );
  clock.advance(1799);
  t.equal(transport.disconnecting, false);
  clock.advance(1);
  t.equal(transport.disconnecting, true);
  wrapper.connectionLost(done);
  t.throws(() => new TimeoutFactory(new Factory(), { timeout: Infinity }), RangeError);
  t.end();
});

// ── ThrottlingFactory ────────────────────────────────────────────────────────────────────────────────────────────────

function throttled(options: { readLimit?: number; writeLimit?: number }) {
  const clock = new Clock();
  const factory = new ThrottlingFactory(Factory.forProtocol(Noting), { ...options, clock });
  return { clock, factory };
}

t.test('when a second has brought enough, nobody is read from until that is made up for', (t) => {
  const { clock, factory } = throttled({ readLimit: 100 });
  const [a, b] = [connect(factory), connect(factory)];
  const states = () => [a, b].map(({ transport }) => transport.producerState);
  a.wrapper.dataReceived(Buffer.alloc(60));
  t.same(states(), ['producing', 'producing']);
  b.wrapper.dataReceived(Buffer.alloc(90));
  t.same(states(), ['paused', 'paused'], 'the limit is for all of them together');
  t.equal(b.protocol.notes.length, 2, 'what has arrived is delivered');
  const late = connect(factory);
  t.equal(late.transport.producerState, 'paused', 'who comes now has to wait too');
  clock.advance(1.4);
  t.same(states(), ['paused', 'paused']);
  clock.advance(0.2);
  t.same(states(), ['producing', 'producing'], '150 bytes take a second and a half');
  t.equal(late.transport.producerState, 'producing');
  for (const { wrapper } of [a, b, late]) wrapper.connectionLost(done);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('throttling keeps to the rate in the long run', (t) => {
  const { clock, factory } = throttled({ readLimit: 1000 });
  const { wrapper, transport } = connect(factory);
  let delivered = 0;
  for (let tick = 0; tick < 1000; tick++) {
    if (transport.producerState === 'producing') {
      wrapper.dataReceived(Buffer.alloc(170));
      delivered += 170;
    }
    clock.advance(0.1);
  }
  // A hundred seconds, and the second's worth that may come at once.
  t.ok(delivered <= 101_170, `${delivered} bytes in 100 seconds`);
  t.ok(delivered >= 80_000, `${delivered} bytes in 100 seconds`);
  wrapper.connectionLost(done);
  t.end();
});

t.test('what a protocol has paused for itself stays paused, and the other way round', (t) => {
  const { clock, factory } = throttled({ readLimit: 10 });
  const { wrapper, transport } = connect(factory);
  wrapper.pauseProducing();
  wrapper.dataReceived(Buffer.alloc(10));
  clock.advance(1);
  t.equal(transport.producerState, 'paused', 'the protocol has paused it');
  wrapper.resumeProducing();
  t.equal(transport.producerState, 'producing');

  wrapper.dataReceived(Buffer.alloc(10));
  wrapper.resumeProducing();
  t.equal(transport.producerState, 'paused', 'the policy has paused it');
  clock.advance(1);
  t.equal(transport.producerState, 'producing');
  wrapper.connectionLost(done);
  t.end();
});

t.test('a connection that closes is left alone by the policy', (t) => {
  const { clock, factory } = throttled({ readLimit: 10 });
  const [a, b] = [connect(factory), connect(factory)];
  a.wrapper.loseConnection();
  b.wrapper.dataReceived(Buffer.alloc(10));
  clock.advance(1); // a StringTransport that closes throws if it is paused or resumed
  t.equal(a.transport.producerState, 'producing');
  for (const { wrapper } of [a, b]) wrapper.connectionLost(done);
  t.end();
});

/** Notes when it is to produce and when not. */
class Source {
  readonly notes: string[] = [];
  pauseProducing() {
    this.notes.push('pause');
  }
  resumeProducing() {
    this.notes.push('resume');
  }
  stopProducing() {
    this.notes.push('stop');
  }
}

t.test('when enough is written in a second, producers pause', (t) => {
  const { clock, factory } = throttled({ writeLimit: 100 });
  const { wrapper, transport } = connect(factory);
  const source = new Source();
  wrapper.registerProducer(source, true);
  wrapper.write('é'.repeat(25));
  t.same(source.notes, []);
  wrapper.writeSequence([Buffer.alloc(49), 'x']);
  t.same(source.notes, ['pause']);
  t.equal(transport.value().length, 100, 'what is written is sent');

  const registered = transport.producer as Source;
  registered.pauseProducing();
  clock.advance(1);
  t.same(source.notes, ['pause'], 'the transport is not ready');
  registered.resumeProducing();
  t.same(source.notes, ['pause', 'resume']);
  registered.pauseProducing();
  wrapper.write(Buffer.alloc(100));
  registered.resumeProducing();
  t.same(source.notes, ['pause', 'resume', 'pause'], 'the policy does not let it');
  wrapper.write(Buffer.alloc(50));
  clock.advance(1);
  t.equal(source.notes.length, 3, 'what was written meanwhile counts too');
  clock.advance(0.5);
  t.same(source.notes.slice(3), ['resume']);
  registered.stopProducing();
  t.same(source.notes.slice(4), ['stop']);
  wrapper.unregisterProducer();
  wrapper.connectionLost(done);
  wrapper.write(Buffer.alloc(1000));
  t.same(clock.getDelayedCalls(), [], 'what is written when it is over does not count');
  t.end();
});

t.test('a pull producer is asked again only when there is room', (t) => {
  const { clock, factory } = throttled({ writeLimit: 10 });
  const { wrapper, transport } = connect(factory);
  const source = new Source();
  wrapper.registerProducer(source, false);
  const registered = transport.producer as Source;
  registered.resumeProducing();
  t.same(source.notes, ['resume']);
  wrapper.write(Buffer.alloc(10));
  registered.resumeProducing();
  t.same(source.notes, ['resume']);
  clock.advance(1);
  t.same(source.notes, ['resume', 'resume']);
  wrapper.write(Buffer.alloc(10));
  clock.advance(1);
  t.same(source.notes, ['resume', 'resume'], 'it was not asked for anything');
  wrapper.unregisterProducer();

  wrapper.write(Buffer.alloc(10));
  const late = new Source();
  wrapper.registerProducer(late, true);
  t.same(late.notes, ['pause'], 'one that comes when there is no room waits');
  clock.advance(1);
  t.same(late.notes, ['pause', 'resume']);
  wrapper.connectionLost(done);
  t.end();
});

t.test('a producer that throws costs its own connection only', (t) => {
  const { clock, factory } = throttled({ writeLimit: 10 });
  const [a, b] = [connect(factory), connect(factory)];
  const broken = new Source();
  broken.pauseProducing = () => {
    throw new Error('cannot pause');
  };
  const source = new Source();
  a.wrapper.registerProducer(broken, true);
  b.wrapper.registerProducer(source, true);
  b.wrapper.write(Buffer.alloc(10));
  t.same(source.notes, ['pause']);
  t.same([a.transport.aborting, b.transport.aborting], [true, false]);
  t.equal(flushLoggedErrors(Error).length, 1);
  for (const { wrapper } of [a, b]) wrapper.connectionLost(done);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('leaving and coming back does not get round a limit', (t) => {
  const { clock, factory } = throttled({ readLimit: 10 });
  const first = connect(factory);
  first.wrapper.dataReceived(Buffer.alloc(100));
  first.wrapper.connectionLost(done);
  t.same(clock.getDelayedCalls(), [], 'nobody is there, and nothing waits');
  const second = connect(factory);
  t.equal(second.transport.producerState, 'paused');
  clock.advance(10);
  t.equal(second.transport.producerState, 'producing');
  second.wrapper.connectionLost(done);
  t.end();
});

t.test('a throttling factory limits connections, and refuses limits that cannot be', (t) => {
  const factory = new ThrottlingFactory(Factory.forProtocol(Noting), { maxConnectionCount: 1 });
  const { wrapper } = connect(factory);
  t.equal(factory.buildProtocol(peer), null);
  wrapper.connectionLost(done);
  t.ok(factory.buildProtocol(peer));
  for (const readLimit of [0, -1, NaN]) {
    t.throws(() => new ThrottlingFactory(factory, { readLimit }), RangeError, `${readLimit}`);
  }
  t.throws(() => new ThrottlingFactory(factory, { maxConnectionCount: NaN }), RangeError);
  t.doesNotThrow(() => new ThrottlingFactory(factory, { writeLimit: Infinity }));
  t.end();
});

// ── TrafficLoggingFactory ────────────────────────────────────────────────────────────────────────────────────────────

t.test('traffic is told to an observer: what, which way, on which connection', (t) => {
  const events: LogEvent[] = [];
  const factory = new TrafficLoggingFactory(Factory.forProtocol(Noting), (event) => {
    events.push(event);
  });
  const { wrapper, protocol } = connect(factory);
  wrapper.dataReceived(Buffer.from('hi\r\n\x1b'));
  protocol.transport.write('ho');
  connect(factory).protocol.transport.writeSequence([Buffer.alloc(2000, 'x')]);
  wrapper.connectionLost(new Failure(new ConnectionLost('gone')));
  t.same(
    events.map((event) => formatEvent(event).replace(/x{1024}/, 'x…')),
    [
      `connection 1 connected to ${peer}`,
      'connection 1 received 5 bytes: "hi\\r\\n\\u001b"',
      'connection 1 sent 2 bytes: "ho"',
      `connection 2 connected to ${peer}`,
      'connection 2 sent 2000 bytes: "x…" and more',
      'connection 1 lost: ConnectionLost: gone',
    ],
  );
  t.same(events[1]?.['data'], Buffer.from('hi\r\n\x1b'));
  t.match(events[2], { level: 'info', direction: 'sent', size: 2, connection: 1 });
  t.same(protocol.notes, ['made', 'data hi\r\n\x1b', 'lost ConnectionLost']);
  t.end();
});

t.test('traffic can be told by a Logger; an observer that throws disturbs nothing', (t) => {
  const events: LogEvent[] = [];
  const logger = new Logger('shop', new LogPublisher((event) => events.push(event)));
  connect(new TrafficLoggingFactory(Factory.forProtocol(Noting), logger));
  t.match(events, [{ namespace: 'shop', peer }]);
  const broken = new TrafficLoggingFactory(Factory.forProtocol(Noting), () => {
    throw new Error('disk full');
  });
  const { wrapper, protocol } = connect(broken);
  wrapper.dataReceived(Buffer.from('x'));
  t.same(protocol.notes, ['made', 'data x']);
  t.end();
});

// ── Over a network ───────────────────────────────────────────────────────────────────────────────────────────────────

t.test('policies around one another serve real connections', async (t) => {
  const reactor = new Reactor();
  const events: string[] = [];
  const limited = new LimitTotalConnectionsFactory(Factory.forProtocol(Echo), {
    connectionLimit: 1,
  });
  const throttling = new ThrottlingFactory(limited, {
    readLimit: 1_000_000,
    writeLimit: 1_000_000,
    clock: reactor,
  });
  const timeout = new TimeoutFactory(throttling, { timeout: 60, clock: reactor });
  const factory = new TrafficLoggingFactory(timeout, (event) => {
    const { direction } = event as { direction?: string };
    events.push(direction ?? event.format.split(' ')[2] ?? '');
  });
  const port = await new TCP4ServerEndpoint(reactor, 0, { interface: '127.0.0.1' }).listen(factory);
  t.teardown(() => port.stopListening());
  const address = port.getHost();
  if (!(address instanceof IPv4Address)) throw new Error(`listens on ${address}`);

  class Client extends Protocol {
    readonly lost = new Deferred<Error>();
    readonly echoed = new Deferred<void>();
    #missing = 300_000;
    override dataReceived(data: Buffer) {
      this.#missing -= data.length;
      if (this.#missing === 0) this.echoed.callback();
    }
    override connectionLost(reason: Failure) {
      this.lost.callback(reason.value);
    }
  }
  const endpoint = new TCP4ClientEndpoint(reactor, '127.0.0.1', address.port);
  const first = await connectProtocol(endpoint, new Client());
  first.transport.write(Buffer.alloc(300_000));
  await first.echoed;
  const second = await connectProtocol(endpoint, new Client());
  t.type(await second.lost, ConnectionDone, 'the second is refused, in order');
  t.equal(limited.connectionCount, 1);
  first.transport.loseConnection();
  t.type(await first.lost, ConnectionDone);
  while (factory.protocols.size > 0) await new Promise((resolve) => setImmediate(resolve));

  t.equal(limited.connectionCount, 0);
  t.same(reactor.getDelayedCalls(), [], 'no timer is left');
  t.same([events.at(0), events.at(-1)], ['connected', 'lost:']);
  t.ok(events.includes('received') && events.includes('sent'));

  const wrapper: ProtocolWrapper = await endpoint.connect(
    new TimeoutFactory(Factory.forProtocol(Client), { timeout: 0.01, clock: reactor }),
  );
  const client = wrapper.wrappedProtocol;
  if (!(client instanceof Client)) throw new TypeError('not the protocol that was asked for');
  t.type(await client.lost, ConnectionDone, 'a client that is silent is closed');
});

t.test('a SpewingFactory tells the log of the program all that is said', (t) => {
  using captured = capturedLogs();
  const factory = new SpewingFactory(Factory.forProtocol(Protocol));
  const wrapper = factory.buildProtocol(peer);
  wrapper?.makeConnection(new StringTransport());
  wrapper?.dataReceived(Buffer.from('tea'));
  const texts = captured
    .filter(({ namespace }) => namespace === 'plait.protocols.policies')
    .map(formatEvent);
  t.match(texts.at(-1), 'connection 1 received 3 bytes: "tea"');
  t.end();
});

t.test('a wrapper has the hooks that its protocol has, and hands them on', async (t) => {
  const calls: string[] = [];
  class Full extends LineReceiver {
    override lineReceived() {}
    handshakeCompleted() {
      calls.push('handshakeCompleted');
    }
    connectionDraining() {
      calls.push('connectionDraining');
    }
    readConnectionLost() {
      calls.push('readConnectionLost');
    }
    writeConnectionLost() {
      calls.push('writeConnectionLost');
    }
  }
  const full = new WrappingFactory(Factory.forProtocol(Full)).buildProtocol(peer)!;
  full.makeConnection(new StringTransport());
  full.handshakeCompleted?.();
  full.connectionDraining?.();
  full.readConnectionLost?.();
  full.writeConnectionLost?.();
  t.same(calls, [
    'handshakeCompleted',
    'connectionDraining',
    'readConnectionLost',
    'writeConnectionLost',
  ]);
  full.dataReceived(Buffer.from('no line yet'));
  t.equal(String(full.takeUnread?.()), 'no line yet');

  const plain = new WrappingFactory(Factory.forProtocol(Protocol)).buildProtocol(peer)!;
  for (const hook of ['handshakeCompleted', 'connectionDraining', 'takeUnread'] as const)
    t.equal(plain[hook], undefined);
  t.equal(isHalfCloseableProtocol(plain), false);
});

t.test('a wrapper hands on what belongs to TLS and to TCP', async (t) => {
  const { wrapper, transport } = connect(new WrappingFactory(Factory.forProtocol(Noting)));
  const context = { tlsSettings: () => ({ context: {} }) };
  wrapper.startTLS(context);
  t.equal(transport.startedTLS[0]?.contextFactory, context);
  transport.negotiatedProtocol = 'tea';
  t.equal(wrapper.negotiatedProtocol, 'tea');
  t.equal(wrapper.getPeerCertificate(), undefined);
  wrapper.setTcpNoDelay(false);
  t.equal(wrapper.getTcpNoDelay(), false);
  wrapper.setTcpKeepAlive(true);
  t.equal(wrapper.getTcpKeepAlive(), true);
});
