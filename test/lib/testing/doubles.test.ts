import {
  CancelledError,
  ClientFactory,
  ClientService,
  ConnectingCancelledError,
  ConnectionAborted,
  ConnectionDone,
  ConnectionLost,
  ConnectionRefusedError,
  connectProtocol,
  DatagramProtocol,
  deferLater,
  deferToThreadPool,
  DNSLookupError,
  Factory,
  Failure,
  HostnameEndpoint,
  type IConnector,
  type IHalfCloseableProtocol,
  InvalidAddressError,
  IPv4Address,
  IPv6Address,
  type IPushProducer,
  Logger,
  LogPublisher,
  NoProtocol,
  ProcessDone,
  ProcessExitedAlready,
  ProcessProtocol,
  ProcessTerminated,
  Protocol,
  Reactor,
  SSL4ClientEndpoint,
  SSL4ServerEndpoint,
  SSLError,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
  TCP6ClientEndpoint,
  TCP6ServerEndpoint,
  TimeoutError,
  UNIXClientEndpoint,
  UNIXServerEndpoint,
} from 'plait';
import { Echo } from 'plait/protocols/echo';
import {
  AccumulatingProtocol,
  assertNoResult,
  checkClean,
  Clock,
  collapsingPumpPolicy,
  ConnectionCompleter,
  connectedServerAndClient,
  DirtyReactorAggregateError,
  EventLoggingObserver,
  failureResultOf,
  FakeDatagramTransport,
  leftovers,
  loopback,
  MemoryReactor,
  MemoryReactorClock,
  NonStreamingProducer,
  type PumpPolicy,
  RaisingMemoryReactor,
  StringTransport,
  StringTransportWithDisconnection,
  successResultOf,
  testCertificates,
  waitUntilAllDisconnected,
} from 'plait/testing';
import { Turns } from '../../../lib/testing/turns.ts';
import t from '../../fixture.ts';

const { server: SERVER, client: CLIENT } = testCertificates();
const SERVER_TLS = SERVER.options;
const CLIENT_TLS = CLIENT.options;

const accumulating = () => Factory.forProtocol(AccumulatingProtocol);

// ── One end of a conversation ────────────────────────────────────────────────────────────────────────────────────────

t.test('AccumulatingProtocol keeps what it is told, and tells whoever waits', async (t) => {
  const protocol = new AccumulatingProtocol();
  const made = protocol.madeDeferred;
  const closed = protocol.closedDeferred;
  t.same([protocol.made, protocol.closed, protocol.data.length], [false, false, 0]);
  protocol.makeConnection(new StringTransport());
  t.equal(successResultOf(made), protocol);
  t.equal(successResultOf(protocol.madeDeferred), protocol, 'it may be asked for late');
  for (const piece of ['a', 'b', 'c']) protocol.dataReceived(Buffer.from(piece));
  t.equal(protocol.data.toString(), 'abc');
  protocol.dataReceived(Buffer.from('d'));
  t.equal(protocol.data.toString(), 'abcd');
  protocol.clear();
  t.equal(protocol.data.length, 0);
  assertNoResult(closed);
  const reason = new Failure(new ConnectionLost());
  protocol.connectionLost(reason);
  t.equal(protocol.closedReason, reason);
  t.equal(successResultOf(closed), protocol, 'however it has ended');
  t.equal(successResultOf(protocol.closedDeferred), protocol);
});

t.test('waitUntilAllDisconnected fires when all transports are closed', async (t) => {
  const clock = new Clock();
  const all = [1, 2].map(() => {
    const protocol = new Protocol();
    protocol.makeConnection(new StringTransport());
    return protocol as Protocol & { transport: StringTransport };
  });
  successResultOf(waitUntilAllDisconnected(clock, []));
  const done = waitUntilAllDisconnected(clock, all);
  all[0]!.transport.connected = false;
  clock.advance(1);
  assertNoResult(done);
  const cancelled = waitUntilAllDisconnected(clock, all);
  cancelled.cancel();
  failureResultOf(cancelled, CancelledError);
  all[1]!.transport.connected = false;
  clock.advance(1);
  successResultOf(done);
  t.same(clock.getDelayedCalls(), []);
});

t.test('NonStreamingProducer writes ten pieces, one each time it is asked', async (t) => {
  const transport = new StringTransport();
  const producer = new NonStreamingProducer(transport);
  transport.registerProducer(producer, false);
  for (let i = 0; i < 12; i++) producer.resumeProducing();
  t.equal(transport.value().toString(), '0123456789');
  t.equal(transport.producer, undefined);
  const other = new NonStreamingProducer(transport);
  transport.registerProducer(other, false);
  other.stopProducing();
  other.resumeProducing();
  t.same([other.stopped, transport.value().length], [true, 10]);
});

t.test('EventLoggingObserver keeps what is logged while it observes', async (t) => {
  const log = new Logger('test.doubles');
  const ours = (observer: EventLoggingObserver): string[] =>
    [...observer].filter((event) => event.namespace === 'test.doubles').map(({ format }) => format);
  let tidy: (() => void)[] = [];
  const observer = EventLoggingObserver.createWithCleanup((fn) => tidy.push(fn));
  log.info('one');
  {
    using second = new EventLoggingObserver();
    log.debug('two');
    t.same(ours(second), ['two']);
  }
  for (const fn of tidy) fn();
  tidy = [];
  log.info('three');
  t.same(ours(observer), ['one', 'two']);
  const publisher = new LogPublisher();
  const own = new EventLoggingObserver(publisher);
  log.info('four');
  t.equal(own.events.length, 0);
});

t.test('StringTransport is as strict as a transport', async (t) => {
  const transport = new StringTransport();
  t.throws(
    () => transport.write(7 as never),
    new TypeError('write needs a Uint8Array or a string, not number'),
  );
  t.throws(() => transport.writeSequence(['a', null as never]), TypeError);
  t.equal(transport.value().length, 0, 'nothing is written where one piece cannot be');
  transport.writeSequence(['a', Buffer.from('b')]);
  t.equal(transport.bufferedBytes, 0);
  transport.startTLS(CLIENT_TLS, { normal: false });
  transport.write('c');
  t.same(transport.startedTLS, [
    { contextFactory: CLIENT_TLS, options: { normal: false }, written: 2 },
  ]);
  t.same([transport.getPeerCertificate(), transport.negotiatedProtocol], [undefined, undefined]);
  transport.peerCertificate = {} as never;
  t.ok(transport.getPeerCertificate());
  t.same([transport.getTcpNoDelay(), transport.getTcpKeepAlive()], [true, false]);
  transport.setTcpNoDelay(false);
  transport.setTcpKeepAlive(true);
  t.same([transport.getTcpNoDelay(), transport.getTcpKeepAlive()], [false, true]);
  t.equal(transport.value().toString(), 'abc');
  transport.clear();
  t.equal(transport.value().length, 0);
  transport.loseWriteConnection();
  t.ok(transport.writeDisconnecting);
  t.throws(() => transport.startTLS(CLIENT_TLS), SSLError);
  transport.stopProducing();
  t.equal(transport.producerState, 'stopped');
  t.throws(() => transport.resumeProducing(), /stopped/);
});

t.test('StringTransport may be closed by its protocol, and by itself', async (t) => {
  const transport = new StringTransport();
  t.throws(() => transport.unregisterProducer(), /none is registered/);
  const producer = new NonStreamingProducer(transport);
  transport.registerProducer(producer, false);
  t.throws(() => transport.registerProducer(producer, false), /two producers/);
  t.same(
    [String(transport.getHost()), String(transport.getPeer())],
    ['10.0.0.1:12345', '192.168.1.1:54321'],
  );
  transport.pauseProducing();
  transport.abortConnection();
  t.same([transport.aborting, transport.disconnecting], [true, true]);
  t.throws(() => transport.resumeProducing(), /loseConnection was called/);
  const lenient = new StringTransport({ lenient: true });
  lenient.loseConnection();
  lenient.pauseProducing();
  lenient.resumeProducing();

  const protocol = new AccumulatingProtocol();
  const closing = new StringTransportWithDisconnection();
  closing.protocol = protocol;
  protocol.makeConnection(closing);
  closing.loseConnection();
  closing.loseConnection();
  t.ok(protocol.closedReason?.check(ConnectionDone));
  t.notOk(closing.connected);
});

t.test('FakeDatagramTransport keeps datagrams, and refuses what a port refuses', async (t) => {
  const transport = new FakeDatagramTransport();
  const protocol = new DatagramProtocol();
  protocol.makeConnection(transport);
  protocol.transport.write('one', { host: '192.0.2.1', port: 7 });
  protocol.transport.writeSequence(['t', 'wo'], ['192.0.2.2', 8]);
  const sent = () => transport.written.map(({ data, to }) => [String(data), to?.host, to?.port]);
  t.same(sent(), [
    ['one', '192.0.2.1', 7],
    ['two', '192.0.2.2', 8],
  ]);
  t.throws(() => transport.write('x'), InvalidAddressError);
  t.throws(() => transport.write('x', ['example.com', 7]), InvalidAddressError);
  t.throws(() => transport.write(7 as never, ['192.0.2.1', 7]), TypeError);
  t.equal(transport.connectedTo, undefined);
  transport.connect('192.0.2.3', 9);
  t.same(transport.connectedTo, { host: '192.0.2.3', port: 9 });
  transport.write('three');
  t.same(sent().at(-1), ['three', undefined, undefined]);
  transport.setBroadcastAllowed(true);
  t.equal(transport.getBroadcastAllowed(), true);
  t.equal(transport.bufferedBytes, 0);
  t.same(transport.getHost(), new IPv4Address('UDP', '10.0.0.1', 12_345));
  successResultOf(transport.stopListening());
  transport.write('too late', ['192.0.2.1', 7]);
  t.equal(transport.written.length, 3);

  const six = new FakeDatagramTransport({ hostAddress: new IPv6Address('UDP', '::1', 5) });
  six.write('x', ['::2', 1]);
  t.throws(() => six.write('x', ['192.0.2.1', 1]), /this is an IPv6 port/);
});

// ── Both ends ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Greets, and answers what it gets in capitals. */
class Shouter extends Protocol {
  override connectionMade(): void {
    this.transport.write('hi!');
  }

  override dataReceived(data: Buffer): void {
    this.transport.write(data.toString().toUpperCase());
  }
}

t.test('a client and a server talk step by step', async (t) => {
  const { client, server, pump } = connectedServerAndClient(Shouter, AccumulatingProtocol);
  t.equal(client.data.toString(), 'hi!', 'they have exchanged greetings');
  t.ok(server instanceof Shouter);
  client.clear();
  client.transport.write('one');
  client.transport.write('two');
  t.equal(pump.clientIO.bufferedBytes, 6);
  t.equal(pump.pump(), true);
  t.equal(client.data.length, 0, 'the answer waits for the next step');
  t.equal(pump.pump(), true);
  t.equal(client.data.toString(), 'ONETWO');
  t.equal(pump.pump(), false);
  t.equal(pump.flush(), false);
  client.transport.write('lost');
  t.equal(pump.clientIO.getOutBuffer().toString(), 'lost');
  pump.flush();
  t.equal(client.data.toString(), 'ONETWO', 'what was taken away does not arrive');
  t.match(String(client.transport.getPeer()), '192.168.1.1:80');
  t.match(String(server.transport.getPeer()), '10.0.0.1:49152');
  pump.clientIO.setTcpNoDelay(false);
  pump.clientIO.setTcpKeepAlive(true);
  t.throws(() => pump.advance(1), /without a clock/);
});

t.test('they are made by classes or by factories, and greet when they are told to', async (t) => {
  const seen: string[] = [];
  const factory = {
    buildProtocol(address: { toString(): string }) {
      seen.push(address.toString());
      return new AccumulatingProtocol();
    },
  };
  const addresses = [
    new IPv4Address('TCP', '192.0.2.1', 1),
    new IPv4Address('TCP', '192.0.2.2', 2),
  ] as const;
  const { client, pump } = connectedServerAndClient(Shouter, factory, { greet: false, addresses });
  t.same(seen, ['192.0.2.2:2']);
  t.equal(client.data.length, 0);
  pump.flush();
  t.equal(client.data.toString(), 'hi!');
  t.throws(() => connectedServerAndClient({ buildProtocol: () => null }, Protocol), NoProtocol);
});

t.test('an orderly close is told to both, and loses nothing', async (t) => {
  const { client, server, pump } = connectedServerAndClient(
    AccumulatingProtocol,
    AccumulatingProtocol,
  );
  client.transport.write('bye');
  client.transport.loseConnection();
  t.equal(client.closed, false, 'not from inside the call');
  pump.flush();
  t.equal(server.data.toString(), 'bye');
  t.ok(client.closedReason?.check(ConnectionDone));
  t.ok(server.closedReason?.check(ConnectionDone));
  client.transport.write('late');
  t.equal(pump.flush(), false);
});

t.test('an answer to the last bytes still arrives at a client that half-closes', async (t) => {
  class Asker extends AccumulatingProtocol implements IHalfCloseableProtocol {
    readonly ends: string[] = [];
    override connectionMade(): void {
      super.connectionMade();
      this.transport.write('question');
      this.transport.loseWriteConnection();
    }
    readConnectionLost(): void {
      this.ends.push('read');
    }
    writeConnectionLost(): void {
      this.ends.push('write');
    }
  }
  const { client, server, pump } = connectedServerAndClient(Echo, Asker);
  t.equal(client.data.toString(), 'question');
  t.same(client.ends, ['write', 'read']);
  t.equal(pump.clientIO.connected, false);
  t.equal(server.transport.connected, false);
});

t.test('an answer also gets out where the last bytes and the end are read at once', async (t) => {
  class Asker extends AccumulatingProtocol implements IHalfCloseableProtocol {
    readConnectionLost(): void {}
    writeConnectionLost(): void {}
  }
  const { client, server, pump } = connectedServerAndClient(Shouter, Asker);
  server.transport.pauseProducing();
  client.transport.write('question');
  client.transport.loseWriteConnection();
  pump.flush();
  server.transport.resumeProducing();
  pump.flush();
  t.equal(client.data.toString(), 'hi!QUESTION');
});

t.test('an abort is ConnectionAborted here and ConnectionLost there', async (t) => {
  const { client, server, pump } = connectedServerAndClient(
    AccumulatingProtocol,
    AccumulatingProtocol,
  );
  client.transport.write('never sent');
  client.transport.abortConnection();
  pump.flush();
  t.ok(client.closedReason?.check(ConnectionAborted));
  t.ok(server.closedReason?.check(ConnectionLost));
  t.equal(server.data.length, 0);
});

t.test('who writes to a peer that is gone hears of it', async (t) => {
  class Deaf extends AccumulatingProtocol implements IHalfCloseableProtocol {
    readConnectionLost(): void {}
    writeConnectionLost(): void {}
  }
  const { client, server, pump } = connectedServerAndClient(Deaf, AccumulatingProtocol);
  client.transport.loseConnection();
  pump.flush();
  t.ok(client.closed);
  t.notOk(server.closed, 'its own direction is open');
  server.transport.write('anybody?');
  pump.flush();
  t.ok(server.closedReason?.check(ConnectionLost));
});

t.test('a reader that is paused holds up the writer, and loses nothing', async (t) => {
  const { client, server, pump } = connectedServerAndClient(
    AccumulatingProtocol,
    AccumulatingProtocol,
  );
  server.transport.pauseProducing();
  const calls: string[] = [];
  const producer: IPushProducer = {
    pauseProducing: () => void calls.push('pause'),
    resumeProducing: () => void calls.push('resume'),
    stopProducing: () => void calls.push('stop'),
  };
  client.transport.registerProducer(producer, true);
  const data = Buffer.alloc(200_000, 'x');
  client.transport.write(data.subarray(0, 10));
  client.transport.write(data.subarray(10));
  pump.flush();
  t.same([server.data.length, calls], [0, ['pause']]);
  t.equal(client.transport.bufferedBytes, 200_000 - 65_536);
  client.transport.loseConnection();
  pump.flush();
  t.notOk(client.closed, 'it waits for its producer');
  client.transport.unregisterProducer();
  pump.flush();
  t.notOk(client.closed, 'and for what is not sent');
  server.transport.resumeProducing();
  pump.flush();
  t.equal(server.data.length, 200_000);
  t.ok(client.closed && server.closed);
});

t.test('to close with bytes unread is a reset for the other side', async (t) => {
  const { client, server, pump } = connectedServerAndClient(
    AccumulatingProtocol,
    AccumulatingProtocol,
  );
  server.transport.pauseProducing();
  client.transport.write('unread');
  pump.flush();
  pump.serverIO.connectionLost(new Failure(new ConnectionLost('the reactor stops')));
  pump.flush();
  t.ok(client.closedReason?.check(ConnectionLost));
});

t.test('a pump makes the calls of a clock that are due', async (t) => {
  const clock = new Clock();
  class Ticker extends Protocol {
    override connectionMade(): void {
      clock.callLater(0, () => this.transport.write('0'));
      clock.callLater(5, () => this.transport.write('5'));
    }
  }
  const { client, pump } = connectedServerAndClient(Ticker, AccumulatingProtocol, { clock });
  t.equal(client.data.toString(), '0');
  pump.advance(5);
  t.equal(client.data.toString(), '05');
  t.throws(() => pump.advance(-1), RangeError);
});

t.test('a pump policy decides how bytes arrive', async (t) => {
  class Pieces extends Protocol {
    readonly got: string[] = [];
    override dataReceived(data: Buffer): void {
      this.got.push(data.toString());
    }
  }
  const byteByByte: PumpPolicy = (pieces, target) => {
    for (const byte of Buffer.concat(pieces)) target.dataReceived(Buffer.of(byte));
  };
  const { client, server, pump } = connectedServerAndClient(Pieces, Protocol, {
    pumpPolicy: byteByByte,
  });
  client.transport.write('ab');
  client.transport.write('c');
  pump.flush();
  t.same(server.got, ['a', 'b', 'c']);
});

t.test('a conversation without an end is an error, not a hang', async (t) => {
  const { client, pump } = connectedServerAndClient(Echo, Echo);
  client.transport.write('x');
  t.throws(() => pump.flush(), /no end to it: something happens in each of 10000 rounds/);
  t.equal(new Turns().round(), false);
});

t.test('TLS runs over the pump', async (t) => {
  class Secure extends AccumulatingProtocol {
    secured = false;
    handshakeCompleted(): void {
      this.secured = true;
    }
  }
  const clock = new Clock();
  const { client, server, pump } = connectedServerAndClient(Secure, Secure, { clock });
  pump.serverIO.startTLS(SERVER_TLS);
  pump.clientIO.startTLS(CLIENT_TLS);
  client.transport.write('secret');
  await pump.settle();
  t.ok(client.secured && server.secured);
  t.equal(server.data.toString(), 'secret');
  t.ok(pump.clientIO.getPeerCertificate());
  client.transport.loseConnection();
  await pump.settle();
  t.ok(client.closed && server.closed);
  t.same(clock.getDelayedCalls(), [], 'the times for the handshakes are taken back');
  await t.rejects(
    pump.settle(() => false),
    /has not come in 10000 turns/,
  );
});

t.test('loopback lets two protocols talk to their end', async (t) => {
  class Asker extends AccumulatingProtocol {
    override connectionMade(): void {
      super.connectionMade();
      this.transport.write('a');
      this.transport.write('b');
    }
    override dataReceived(data: Buffer): void {
      super.dataReceived(data);
      if (this.data.length === 2) this.transport.loseConnection();
    }
  }
  class Pieces extends Echo {
    readonly got: string[] = [];
    override dataReceived(data: Buffer): void {
      this.got.push(data.toString());
      super.dataReceived(data);
    }
  }
  const [pieces, whole] = [new Pieces(), new Pieces()];
  successResultOf(loopback(pieces, new Asker()));
  t.same(pieces.got, ['a', 'b'], 'each as it was written');
  successResultOf(loopback(whole, new Asker(), { pumpPolicy: collapsingPumpPolicy }));
  t.same(whole.got, ['ab']);
});

t.test('loopback goes on when one of them writes later', async (t) => {
  class Late extends Protocol {
    readonly #clock: Clock | undefined;
    constructor(clock?: Clock) {
      super();
      this.#clock = clock;
    }
    override connectionMade(): void {
      const speak = () => {
        this.transport.write('late');
        this.transport.loseConnection();
      };
      if (this.#clock === undefined) setImmediate(speak);
      else this.#clock.callLater(3, speak);
    }
  }
  const clock = new Clock();
  const client = new AccumulatingProtocol();
  const over = loopback(new Late(clock), client, { reactor: clock });
  clock.advance(2);
  assertNoResult(over);
  clock.advance(1);
  successResultOf(over);
  t.equal(client.data.toString(), 'late');
  const other = new AccumulatingProtocol();
  await loopback(new Late(), other);
  t.equal(other.data.toString(), 'late');
});

t.test('cancelling a loopback aborts the connection', async (t) => {
  const clock = new Clock();
  const [server, client] = [new AccumulatingProtocol(), new AccumulatingProtocol()];
  const over = loopback(server, client, { reactor: clock });
  over.cancel();
  failureResultOf(over, CancelledError);
  clock.advance(0);
  t.ok(server.closedReason?.check(ConnectionAborted, ConnectionLost));
  t.ok(client.closedReason?.check(ConnectionAborted, ConnectionLost));
});

// ── MemoryReactor ────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('MemoryReactor notes ports, each as it was asked for', async (t) => {
  const reactor = new MemoryReactor();
  const factory = accumulating();
  const port = reactor.listenTCP(80, factory, { backlog: 5, interface: '127.0.0.1' });
  reactor.listenTCP(0, factory);
  reactor.listenSSL(443, factory, SERVER_TLS);
  reactor.listenUNIX('/run/x', factory, { mode: 0o600, wantPID: true });
  reactor.adoptStreamPort(7, 'AF_INET6', factory);
  reactor.adoptStreamPort(8, 'AF_UNIX', factory);
  t.match(reactor.tcpServers, [
    { port: 80, factory, backlog: 5, interface: '127.0.0.1', listeningPort: port },
    { port: 0, factory, backlog: 511, interface: '' },
  ]);
  t.equal(successResultOf(port.ready), port, 'it listens at once');
  t.same(port.getHost(), new IPv4Address('TCP', '127.0.0.1', 80));
  const { listeningPort } = reactor.tcpServers[1]!;
  t.match(
    listeningPort.getHost(),
    { host: '0.0.0.0', port: 49_152 },
    'and has a number of its own',
  );
  t.match(reactor.sslServers, [{ port: 443, contextFactory: SERVER_TLS, backlog: 511 }]);
  t.match(reactor.unixServers, [{ address: '/run/x', mode: 0o600, wantPID: true, backlog: 511 }]);
  t.match(reactor.adoptedPorts, [
    { fd: 7, family: 'AF_INET6', factory },
    { fd: 8, family: 'AF_UNIX', factory },
  ]);
  t.throws(() => reactor.listenTCP(70_000, factory), RangeError);
  t.equal(reactor.tcpServers.length, 2, 'what was refused is not noted');
  const stopped = port.stopListening();
  assertNoResult(stopped);
  reactor.flush();
  successResultOf(stopped);
  t.equal(factory.numPorts, 5);
});

t.test('MemoryReactor notes attempts, which go on until somebody ends them', async (t) => {
  const reactor = new MemoryReactorClock();
  const told: string[] = [];
  class Told extends ClientFactory<AccumulatingProtocol> {
    override protocol = AccumulatingProtocol;
    override clientConnectionFailed(_connector: IConnector, reason: Failure): void {
      told.push(reason.value.name);
    }
    override clientConnectionLost(connector: IConnector): void {
      told.push('lost');
      if (told.length < 4) connector.connect();
    }
  }
  const factory = new Told();
  const bindAddress = { host: '10.0.0.9' };
  const connector = reactor.connectTCP('example.com', 80, factory, { timeout: 5, bindAddress });
  reactor.connectSSL('example.com', 443, factory, CLIENT_TLS);
  reactor.connectUNIX('/run/x', factory, { checkPID: true, timeout: null });
  t.match(reactor.tcpClients, [
    { host: 'example.com', port: 80, factory, timeout: 5, bindAddress, connector },
  ]);
  t.match(reactor.sslClients, [{ host: 'example.com', port: 443, contextFactory: CLIENT_TLS }]);
  t.match(reactor.unixClients, [{ address: '/run/x', checkPID: true, timeout: null }]);
  t.equal(reactor.connectors.length, 3);
  t.equal(connector.state, 'connecting');
  t.match(String(connector.getDestination()), 'example.com:80');
  connector.stopConnecting();
  t.same(told, ['UserError']);
  t.equal(connector.state, 'disconnected');
  connector.connect();
  reactor.advance(5);
  t.same(told, ['UserError', 'TimeoutError'], 'an attempt has its time, and no more');

  const completer = new ConnectionCompleter(reactor);
  t.equal(completer.pending, 2);
  completer.failOnce();
  t.equal(told.at(-1), 'ConnectionRefusedError');
  const pump = completer.succeedOnce(new AccumulatingProtocol());
  t.equal(pump.clientIO?.getPeer().toString(), 'unix:/run/x');
  pump.clientIO?.loseConnection();
  pump.flush();
  t.same(told.slice(3), ['lost']);
  t.equal(completer.pending, 0);
  t.throws(() => completer.failOnce(), /no attempt to connect goes on/);
  t.same(reactor.getDelayedCalls(), []);
});

t.test('a ConnectionCompleter joins client and server of one reactor', async (t) => {
  const reactor = new MemoryReactorClock();
  const servers: AccumulatingProtocol[] = [];
  const factory = accumulating();
  const build = factory.buildProtocol.bind(factory);
  factory.buildProtocol = (address) => {
    const protocol = build(address)!;
    servers.push(protocol);
    return protocol;
  };
  const completer = new ConnectionCompleter(reactor);
  const endpoints = [
    [new TCP4ServerEndpoint(reactor, 80), new TCP4ClientEndpoint(reactor, 'example.com', 80)],
    [new TCP6ServerEndpoint(reactor, 81), new TCP6ClientEndpoint(reactor, '::1', 81)],
    [new UNIXServerEndpoint(reactor, '/a'), new UNIXClientEndpoint(reactor, '/a')],
    [new TCP4ServerEndpoint(reactor, 82), new HostnameEndpoint(reactor, '127.0.0.1', 82)],
    [new TCP4ServerEndpoint(reactor, 83), new HostnameEndpoint(reactor, 'example.com', 83)],
  ] as const;
  for (const [server, client] of endpoints) {
    const port = successResultOf(server.listen(factory));
    const connected = connectProtocol(client, new AccumulatingProtocol());
    assertNoResult(connected);
    const pump = completer.succeedOnce();
    const protocol = successResultOf(connected);
    protocol.transport.write('hello');
    pump.flush();
    t.equal(servers.at(-1)?.data.toString(), 'hello', String(port.getHost()));
    servers.at(-1)?.transport.loseConnection();
    pump.flush();
    t.ok(protocol.closed);
    void port.stopListening();
    reactor.flush();
  }
  t.same(leftovers(reactor), []);
});

t.test('TLS endpoints work over MemoryReactor', async (t) => {
  const reactor = new MemoryReactorClock();
  const factory = accumulating();
  const servers: AccumulatingProtocol[] = [];
  factory.buildProtocol = () => {
    servers.push(new AccumulatingProtocol());
    return servers[0]!;
  };
  const port = successResultOf(new SSL4ServerEndpoint(reactor, 443, SERVER_TLS).listen(factory));
  const endpoint = new SSL4ClientEndpoint(reactor, 'localhost', 443, CLIENT_TLS);
  const connected = connectProtocol(endpoint, new AccumulatingProtocol());
  const pump = new ConnectionCompleter(reactor).succeedOnce();
  const client = successResultOf(connected);
  client.transport.write('secret');
  await pump.settle(() => servers[0]?.data.length === 6);
  t.equal(servers[0]?.data.toString(), 'secret');
  client.transport.loseConnection();
  await pump.settle();
  t.ok(client.closed && servers[0]?.closed);
  void port.stopListening();
  await checkClean(reactor);
});

t.test('names are looked up in a table, at once', async (t) => {
  const reactor = new MemoryReactorClock();
  reactor.hosts.set('dual.example', ['2001:db8::1', '192.0.2.5']);
  reactor.hosts.set('nowhere.example', []);
  const connecting = new HostnameEndpoint(reactor, 'dual.example', 80).connect(accumulating());
  const tried = () => reactor.tcpClients.map(({ host }) => host);
  t.same(tried(), ['2001:db8::1']);
  reactor.advance(0.25);
  t.same(tried(), ['2001:db8::1', '192.0.2.5'], 'the second when the first has had its time');
  const completer = new ConnectionCompleter(reactor);
  completer.failOnce();
  completer.failOnce(new Failure(new ConnectionRefusedError('no')));
  failureResultOf(connecting, ConnectionRefusedError);
  const nowhere = new HostnameEndpoint(reactor, 'nowhere.example', 80).connect(accumulating());
  reactor.advance(1);
  failureResultOf(nowhere, DNSLookupError);
  t.equal(successResultOf(reactor.resolve('any.example')), '192.0.2.1');
  const lookup = new TCP4ClientEndpoint(reactor, 'nowhere.example', 80).connect(accumulating());
  reactor.flush();
  failureResultOf(lookup, DNSLookupError);
  t.same(leftovers(reactor), []);
});

t.test('an attempt over MemoryReactor can be cancelled, and times out', async (t) => {
  const reactor = new MemoryReactorClock();
  const endpoint = new TCP4ClientEndpoint(reactor, 'example.com', 80, { timeout: 7 });
  const cancelled = endpoint.connect(accumulating());
  cancelled.cancel();
  failureResultOf(cancelled, ConnectingCancelledError);
  const late = endpoint.connect(accumulating());
  reactor.pump([3, 3]);
  assertNoResult(late);
  reactor.advance(1);
  failureResultOf(late, TimeoutError);
});

t.test('a completer says so when there is nobody to connect to', async (t) => {
  const reactor = new MemoryReactor();
  const completer = new ConnectionCompleter(reactor);
  t.throws(() => completer.succeedOnce(), /no attempt to connect goes on/);
  const connecting = new TCP4ClientEndpoint(reactor, '192.0.2.9', 80).connect(accumulating());
  reactor.listenTCP(81, accumulating());
  reactor.listenUNIX('/a', accumulating());
  t.throws(() => completer.succeedOnce(), /nobody listens at 192.0.2.9:80: hand succeedOnce/);
  t.equal(completer.pending, 1, 'the attempt goes on');
  completer.failOnce();
  failureResultOf(connecting, ConnectionRefusedError);
  const unix = new UNIXClientEndpoint(reactor, '/b').connect(accumulating());
  t.throws(() => completer.succeedOnce(), /nobody listens at unix:\/b/);
  completer.failOnce();
  failureResultOf(unix, ConnectionRefusedError);
});

t.test('a factory may refuse', async (t) => {
  const reactor = new MemoryReactor();
  const refusing = { buildProtocol: () => null, doStart() {}, doStop() {} };
  reactor.listenTCP(80, refusing);
  const connected = new TCP4ClientEndpoint(reactor, '127.0.0.1', 80).connect(accumulating());
  const pump = new ConnectionCompleter(reactor).succeedOnce();
  t.equal(pump.serverIO, undefined);
  pump.flush();
  t.ok(successResultOf(connected).closedReason?.check(ConnectionDone));
});

t.test('ClientService connects again over MemoryReactor', async (t) => {
  const reactor = new MemoryReactorClock();
  const endpoint = new TCP4ClientEndpoint(reactor, 'example.com', 80);
  const service = new ClientService(endpoint, accumulating(), { clock: reactor });
  service.startService();
  const completer = new ConnectionCompleter(reactor);
  completer.failOnce();
  t.equal(completer.pending, 0);
  reactor.advance(60);
  t.equal(completer.pending, 1);
  const pump = completer.succeedOnce(new AccumulatingProtocol());
  t.equal(pump.clientIO?.connected, true);
  const stopped = service.stopService();
  pump.flush();
  successResultOf(stopped);
  t.same(leftovers(reactor), []);
});

t.test('starting and stopping a MemoryReactor', async (t) => {
  const reactor = new MemoryReactor();
  const ran: string[] = [];
  reactor.callWhenRunning(() => ran.push('running'));
  const id = reactor.addSystemEventTrigger(
    'before',
    'shutdown',
    (what: string) => ran.push(what),
    'no',
  );
  reactor.addSystemEventTrigger('during', 'shutdown', (what: string) => ran.push(what), 'down');
  t.match(reactor.triggers, [
    { phase: 'after', eventType: 'startup' },
    { phase: 'before', eventType: 'shutdown', args: ['no'] },
    { phase: 'during', eventType: 'shutdown', args: ['down'] },
  ]);
  reactor.removeSystemEventTrigger(id);
  t.same([reactor.running, reactor.hasRun, reactor.hasStopped], [false, false, false]);
  const stopped = reactor.run();
  t.same([reactor.running, reactor.hasRun, ran], [true, true, ['running']]);
  const port = reactor.listenTCP(80, accumulating());
  reactor.stop();
  assertNoResult(stopped);
  reactor.flush();
  successResultOf(stopped);
  t.same([reactor.running, reactor.hasStopped, ran], [false, true, ['running', 'down']]);
  t.same(reactor.triggers, []);
  t.same(leftovers(reactor), []);
  failureResultOf(port.ready);
  t.throws(() => reactor.stop(), /not running/);
});

t.test('MemoryReactorClock is a clock', async (t) => {
  const reactor = new MemoryReactorClock();
  const calls: number[] = [];
  reactor.callLater(2, () => {
    calls.push(reactor.seconds());
    reactor.callLater(1, () => calls.push(reactor.seconds()));
  });
  const tea = deferLater(reactor, 180, () => 'tea');
  reactor.pump([1, 1]);
  t.same(calls, [2]);
  reactor.advance(178);
  t.same(calls, [2, 180]);
  t.equal(successResultOf(tea), 'tea');
  t.throws(() => reactor.advance(NaN), RangeError);
});

t.test('MemoryReactor has datagrams', async (t) => {
  const reactor = new MemoryReactor();
  class Shout extends DatagramProtocol {
    override datagramReceived(data: Buffer, from: IPv4Address): void {
      this.transport.write(data.toString().toUpperCase(), from);
    }
  }
  const protocol = new Shout();
  const transport = reactor.listenUDP(53, protocol, { maxPacketSize: 3 });
  const [record] = reactor.udpPorts;
  t.match(record, { port: 53, protocol, transport, options: { maxPacketSize: 3 } });
  record!.socket.receive('hello', new IPv4Address('UDP', '192.0.2.1', 7));
  t.match(record!.socket.sent, [{ data: Buffer.from('HEL'), to: { host: '192.0.2.1', port: 7 } }]);
  const multicast = reactor.listenMulticast(0, new DatagramProtocol());
  successResultOf(multicast.joinGroup('224.0.0.251'));
  successResultOf(multicast.leaveGroup('224.0.0.251'));
  multicast.setTTL(3);
  multicast.setLoopbackMode(false);
  successResultOf(multicast.setOutgoingInterface('127.0.0.1'));
  t.ok(multicast.getHost().port > 49_000);
  reactor.adoptDatagramPort(9, 'AF_INET', new DatagramProtocol());
  reactor.adoptDatagramPort(10, 'AF_INET6', new DatagramProtocol());
  t.match(reactor.udpPorts.slice(2), [{ port: -1 }, { port: -1 }]);
  for (const { transport: each } of reactor.udpPorts) void each.stopListening();
  await checkClean(reactor);
});

t.test('MemoryReactor adopts connections', async (t) => {
  const reactor = new MemoryReactor();
  const factory = accumulating();
  for (const family of ['AF_INET', 'AF_INET6', 'AF_UNIX'] as const) {
    const transport = reactor.adoptStreamConnection(5, family, factory);
    const record = reactor.adoptedStreamConnections.at(-1)!;
    t.match(record, { fd: 5, family, factory, transport });
    transport.write('hello');
    reactor.flush();
    t.equal(record.peer.data.toString(), 'hello');
    record.peer.transport.loseConnection();
    reactor.flush();
    t.notOk(transport.connected);
  }
});

t.test('MemoryReactor has processes that do what the test says', async (t) => {
  const reactor = new MemoryReactor();
  class Told extends ProcessProtocol {
    readonly told: string[] = [];
    override childDataReceived(fd: number, data: Buffer): void {
      this.told.push(`${fd}: ${data}`);
    }
    override processEnded(reason: Failure): void {
      this.told.push(reason.value.constructor.name);
    }
  }
  const protocol = new Told();
  const transport = reactor.spawnProcess(protocol, 'cat', { args: ['cat', '-n'] });
  const [record] = reactor.processes;
  t.match(record, { protocol, executable: 'cat', options: { args: ['cat', '-n'] }, transport });
  const { child } = record!;
  t.equal(transport.pid, child.pid);
  transport.write('to the child');
  child.pipes.get(1)!.transport.write('from the child');
  reactor.flush();
  t.equal(child.pipes.get(0)!.data.toString(), 'to the child');
  transport.signalProcess('TERM');
  t.same(child.signals, [15]);
  child.exit();
  t.throws(() => transport.signalProcess('TERM'), ProcessExitedAlready);
  child.exit(1);
  reactor.flush();
  t.same(protocol.told, ['1: from the child', ProcessDone.name]);

  const killed = new Told();
  const other = reactor.spawnProcess(killed, 'sleep', { childFDs: { 0: 'w', 1: 1 } });
  t.not(other.pid, child.pid);
  reactor.processes[1]!.child.exit(null, 'SIGKILL');
  reactor.flush();
  t.same(killed.told, [ProcessTerminated.name]);
  t.same(leftovers(reactor), []);
});

t.test('RaisingMemoryReactor raises', async (t) => {
  const listenException = new RangeError('no listening');
  const connectException = new TypeError('no connecting');
  const reactor = new RaisingMemoryReactor({ listenException, connectException });
  const factory = accumulating();
  const client = ClientFactory.forProtocol(Protocol);
  const all: [() => unknown, Error][] = [
    [() => reactor.listenTCP(0, factory), listenException],
    [() => reactor.listenSSL(0, factory, SERVER_TLS), listenException],
    [() => reactor.listenUNIX('/x', factory), listenException],
    [() => reactor.listenUDP(0, new DatagramProtocol()), listenException],
    [() => reactor.listenMulticast(0, new DatagramProtocol()), listenException],
    [() => reactor.adoptStreamPort(5, 'AF_INET', factory), listenException],
    [() => reactor.connectTCP('a', 1, client), connectException],
    [() => reactor.connectSSL('a', 1, client, CLIENT_TLS), connectException],
    [() => reactor.connectUNIX('/x', client), connectException],
  ];
  for (const [call, error] of all) t.throws(call, error);
  failureResultOf(new TCP4ServerEndpoint(reactor, 1).listen(factory), RangeError);
  failureResultOf(new TCP4ClientEndpoint(reactor, 'a', 1).connect(factory), TypeError);
  t.same(leftovers(reactor), []);

  const calm = new RaisingMemoryReactor();
  calm.listenTCP(0, factory);
  calm.listenSSL(0, factory, SERVER_TLS);
  calm.listenUNIX('/x', factory);
  calm.listenUDP(0, new DatagramProtocol());
  calm.listenMulticast(0, new DatagramProtocol());
  calm.adoptStreamPort(5, 'AF_INET', factory);
  calm.connectTCP('a', 1, client);
  calm.connectSSL('a', 1, client, CLIENT_TLS);
  calm.connectUNIX('/x', client);
  t.equal(leftovers(calm).length, 9 + 3, 'each attempt has a time');
});

// ── A clean reactor ──────────────────────────────────────────────────────────────────────────────────────────────────

t.test('checkClean names what is left on a MemoryReactor, and takes it away', async (t) => {
  const reactor = new MemoryReactorClock();
  await checkClean(reactor);
  reactor.callLater(5, function tea() {});
  reactor.listenTCP(80, accumulating());
  reactor.listenUDP(53, new DatagramProtocol());
  reactor.connectTCP('example.com', 80, ClientFactory.forProtocol(Protocol), { timeout: null });
  reactor.spawnProcess(new ProcessProtocol(), 'cat');
  reactor.adoptStreamConnection(5, 'AF_UNIX', accumulating());
  const error = await checkClean(reactor).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  t.ok(error instanceof DirtyReactorAggregateError);
  const { left } = error as DirtyReactorAggregateError;
  t.match(left, [
    /^a delayed call: .*tea/,
    'a port: <Port listening 0.0.0.0:80>',
    'a port: <UDP port listening 0.0.0.0:53>',
    'an attempt to connect: example.com:80',
    'a process: 1001',
    'a connection: unix:(unnamed) with unix:(unnamed)',
  ]);
  t.match(String(error), /the reactor is not clean: a delayed call: .*; a port/);
  const { child } = reactor.processes[0]!;
  t.same(child.signals, [9]);
  t.same(leftovers(reactor), ['a process: 1001'], 'which has yet to end');
  child.exit(null, 'SIGKILL');
  await checkClean(reactor);
});

t.test('checkClean waits for what is being closed', async (t) => {
  const reactor = new Reactor();
  const port = reactor.listenTCP(0, Factory.forProtocol(Echo), { interface: '127.0.0.1' });
  await port.ready;
  void port.stopListening();
  await checkClean(reactor);
  const call = reactor.callLater(100, () => {});
  await t.rejects(checkClean(reactor), DirtyReactorAggregateError);
  t.notOk(call.active());
  await checkClean();
});

t.test('checkClean knows of threads', async (t) => {
  const reactor = new Reactor();
  const pool = reactor.getThreadPool();
  const square = await deferToThreadPool(reactor, pool, (n: number) => n ** 2, 12);
  t.equal(square, 144);
  await t.rejects(checkClean(reactor), /threads: 1 of the pool/);
  await checkClean(reactor);
});
