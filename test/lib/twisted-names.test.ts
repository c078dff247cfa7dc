/** Names that programs written for Twisted use: each does what Twisted's does, or what the page on Twisted says. */
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ClientFactory,
  ConnectionDone,
  ConnectionRefusedError,
  connectProtocol,
  CooperatorService,
  CancelledError,
  CannotListenError,
  Cooperator,
  DatagramProtocol,
  Deferred,
  deferLater,
  deferToThreadPool,
  Factory,
  Failure,
  type IListeningPort,
  inlineCallbacks,
  isInIOThread,
  MulticastServer,
  MultiService,
  NotACoroutineError,
  optionsForClientTLS,
  ProcessEndpoint,
  Protocol,
  Reactor,
  Service,
  SSLClient,
  SSLServer,
  StandardErrorBehavior,
  strports,
  TCPClient,
  TCPServer,
  threadModule,
  UDPServer,
  UNIXClient,
  UNIXServer,
  which,
} from 'plait';
import { Echo } from 'plait/protocols/echo';
import {
  ThrottlingFactory,
  TimeoutFactory,
  TimeoutProtocol,
  TrafficLoggingFactory,
  WrappingFactory,
} from 'plait/protocols/policies';
import {
  AccumulatingProtocol,
  Clock,
  connect,
  connectableEndpoint,
  failureResultOf,
  flushLoggedErrors,
  loopback,
  loopbackAsync,
  loopbackTCP,
  loopbackUNIX,
  MemoryReactor,
  StringTransport,
  successResultOf,
  testCertificates,
} from 'plait/testing';
import type * as Asks from './thread-asks.ts';
import t from '../fixture.ts';

// ── Services around a call of the reactor ────────────────────────────────────────────────────────────────────────────

t.test(
  'each kind of service listens, or connects, when it is started, and ends when it is stopped',
  async (t) => {
    const reactor = new MemoryReactor();
    const factory = Factory.forProtocol(Protocol);
    const clients = ClientFactory.forProtocol(Protocol);
    const { server } = testCertificates();
    const trusting = optionsForClientTLS('example.com');
    const datagrams = [new DatagramProtocol(), new DatagramProtocol()] as const;
    const at = { interface: '127.0.0.1' };
    const servers = [
      new TCPServer(80, factory, { reactor, backlog: 7, ...at }),
      new SSLServer(443, factory, server.options, { reactor, ...at }),
      new UNIXServer('/x', factory, { reactor, mode: 0o600 }),
      new UDPServer(53, datagrams[0], { reactor, maxPacketSize: 100 }),
      new MulticastServer(5353, datagrams[1], { reactor, listenMultiple: true }),
    ];
    const connecting = [
      new TCPClient('127.0.0.1', 81, clients, { reactor, timeout: 3 }),
      new SSLClient('127.0.0.1', 444, clients, trusting, { reactor }),
      new UNIXClient('/y', clients, { reactor, checkPID: false }),
    ];
    const all = new MultiService();
    for (const service of [...servers, ...connecting]) service.setServiceParent(all);
    t.same([reactor.tcpServers, reactor.tcpClients, reactor.udpPorts], [[], [], []]);
    all.startService();
    t.match(reactor.tcpServers, [{ port: 80, factory, backlog: 7, interface: '127.0.0.1' }]);
    t.match(reactor.sslServers, [{ port: 443, contextFactory: server.options }]);
    t.match(reactor.unixServers, [{ address: '/x', mode: 0o600 }]);
    t.match(reactor.udpPorts, [
      { port: 53, protocol: datagrams[0] },
      { port: 5353, options: { listenMultiple: true } },
    ]);
    t.match(reactor.tcpClients, [{ host: '127.0.0.1', port: 81, factory: clients, timeout: 3 }]);
    t.match(reactor.sslClients, [{ port: 444, contextFactory: trusting }]);
    t.match(reactor.unixClients, [{ address: '/y', checkPID: false }]);
    for (const service of servers) t.equal(service.port?.getHost() === undefined, false);
    t.same(
      connecting.map(({ connector }) => connector?.state),
      ['connecting', 'connecting', 'connecting'],
    );
    const connectors = connecting.map(({ connector }) => connector);

    // What runs is not started again.
    all.startService();
    t.equal(reactor.tcpServers.length + reactor.tcpClients.length, 2);

    const stopped = all.stopService();
    reactor.flush();
    successResultOf(stopped);
    t.same(
      [servers.map(({ port }) => port), connecting.map(({ connector }) => connector)].flat(),
      Array(8).fill(undefined),
    );
    t.same(
      connectors.map((connector) => connector?.state),
      Array(3).fill('disconnected'),
    );
    // And a second time.
    successResultOf(all.stopService());
    all.privilegedStartService();
    t.equal(reactor.tcpServers.length, 2);
    t.equal(reactor.tcpClients.length, 1, 'a client needs no privileges');
    all.startService();
    t.equal(reactor.tcpServers.length, 2);
    t.equal(reactor.tcpClients.length, 2);
    const again = all.stopService();
    reactor.flush();
    successResultOf(again);
  },
);

t.test('a server and a client as services, over a real network', async (t) => {
  const reactor = new Reactor();
  const web = new TCPServer(0, Factory.forProtocol(Echo), { reactor, interface: '127.0.0.1' });
  web.startService();
  const port = await (web.port as IListeningPort).ready;
  const heard = new Deferred<string>();
  const lost = new Deferred<void>();
  class Greeter extends Protocol {
    override connectionMade(): void {
      this.transport.write('hello');
    }
    override dataReceived(data: Buffer): void {
      heard.callback(data.toString());
    }
    override connectionLost(): void {
      lost.callback();
    }
  }
  const { port: number } = port.getHost() as never as { port: number };
  const client = new TCPClient('127.0.0.1', number, ClientFactory.forProtocol(Greeter), {
    reactor,
  });
  client.startService();
  t.equal(await heard, 'hello');
  successResultOf(client.stopService());
  await lost;
  await web.stopService();
  t.equal(web.port, undefined);
});

t.test('what the reactor throws when a service is started is thrown on', async (t) => {
  const reactor = new MemoryReactor();
  const wrong = new TCPServer(-1, Factory.forProtocol(Protocol), { reactor });
  t.throws(() => wrong.startService());
  t.equal(wrong.port, undefined);
  successResultOf(wrong.stopService());
});

t.test('strports spells what serviceFromString does', async (t) => {
  const reactor = new MemoryReactor();
  const factory = Factory.forProtocol(Protocol);
  const web = strports.service('tcp:80:interface=127.0.0.1', factory, reactor);
  web.startService();
  t.match(reactor.tcpServers, [{ port: 80, interface: '127.0.0.1', factory }]);
  const port = successResultOf(strports.listen('tcp:81', factory, reactor));
  t.match(port.getHost(), { port: 81 });
  t.throws(() => strports.service('nonsense', factory, reactor), /nonsense/);
  t.throws(() => strports.listen('nonsense:', factory, reactor), /nonsense/);
  const stopped = web.stopService();
  reactor.flush();
  successResultOf(stopped);
});

// ── Others ───────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a set of services shows its parts, and those that have names', async (t) => {
  const all = new MultiService();
  const [one, two, three] = [new Service(), new Service(), new Service()];
  two.setName('two');
  three.setName('three');
  for (const service of [one, two, three]) service.setServiceParent(all);
  t.strictSame(all.services, [one, two, three]);
  t.strictSame([...all], [one, two, three]);
  t.strictSame(
    [...all.namedServices],
    [
      ['two', two],
      ['three', three],
    ],
  );
  const before = all.namedServices;
  void two.disownServiceParent();
  t.equal(before.size, 2, 'a look does not change');
  t.strictSame([...all.namedServices.keys()], ['three']);
  t.strictSame(all.services, [one, three]);
});

t.test('coiterate fires the Deferred that it is given', async (t) => {
  const clock = new Clock();
  const cooperator = new Cooperator({ clock });
  const done = new Deferred<Iterator<unknown>>();
  const work = [1, 2, 3].values();
  t.equal(cooperator.coiterate(work, done), done);
  t.notOk(done.called);
  clock.advance(1);
  t.equal(successResultOf(done), work);
  const failing = new Deferred<Iterator<unknown>>();
  const broken = {
    next() {
      throw new RangeError('broken');
    },
  };
  cooperator.coiterate(broken, failing);
  clock.advance(1);
  failureResultOf(failing, RangeError);
  const service = new CooperatorService({ clock });
  const later = new Deferred<Iterator<unknown>>();
  service.coiterate([1].values(), later);
  clock.advance(1);
  t.notOk(later.called);
  service.startService();
  clock.advance(1);
  t.ok(successResultOf(later));
  await service.stopService();
});

t.test('Deferred.fromCoroutine runs a coroutine, and takes nothing else', async (t) => {
  const clock = new Clock();
  const work = function* (): Generator<unknown, string> {
    yield* deferLater(clock, 1);
    return 'done';
  };
  const outcome = Deferred.fromCoroutine(work());
  t.notOk(outcome.called);
  clock.advance(1);
  t.equal(successResultOf(outcome), 'done');
  t.equal(await Deferred.fromCoroutine(Promise.resolve(5)), 5);
  const failing = Deferred.fromCoroutine(
    (function* (): Generator<unknown, never> {
      throw new RangeError('no');
    })(),
  );
  failureResultOf(failing, RangeError);
  const cancelled = Deferred.fromCoroutine(work());
  cancelled.cancel();
  failureResultOf(cancelled);
  for (const wrong of [new Deferred(), 5, null, undefined, {}, 'x', inlineCallbacks(work)])
    t.throws(() => Deferred.fromCoroutine(wrong as never), NotACoroutineError);
});

t.test('which lists what may be executed, in the order of PATH', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'plait-which-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const [a, b, c] = ['a', 'b', 'c'].map((name) => join(folder, name)) as [string, string, string];
  for (const one of [a, b, c]) mkdirSync(one);
  const file = (path: string, mode: number) => {
    writeFileSync(path, '');
    chmodSync(path, mode);
    return path;
  };
  const first = file(join(b, 'tool'), 0o755);
  const second = file(join(a, 'tool'), 0o755);
  file(join(c, 'tool'), 0o644);
  mkdirSync(join(c, 'folder'), { mode: 0o755 });
  const script = file(join(a, 'tool.sh'), 0o755);
  const PATH = `${b}:${a}/:${c}:${join(folder, 'missing')}:${b}`;
  t.same(which('tool', { PATH }), [first, second, first]);
  t.same(which('tool', { PATH, PATHEXT: '.sh::.py' }), [first, second, script, first]);
  t.same(which('folder', { PATH }), []);
  t.same(which('nothing', { PATH }), []);
  t.same(which('tool', {}), []);
  t.same(which(first, { PATH: c }), [first]);
  t.same(which('tool', { PATH: '' }), []);
  t.ok(which('node', { PATH: join(process.execPath, '..') }).includes(process.execPath));
  t.type(which('node'), Array);
  t.throws(() => which(5 as never), TypeError);
});

t.test('the thread of the reactor is told from those of its pool', async (t) => {
  t.equal(isInIOThread(), true);
  const reactor = new Reactor();
  const asks = threadModule<typeof Asks>(new URL('./thread-asks.ts', import.meta.url));
  t.equal(await deferToThreadPool(reactor, reactor.getThreadPool(), asks.isInIOThread), false);
  await reactor.getThreadPool().stop();
});

t.test('what a program writes to standard error is dropped, if the constant says so', async (t) => {
  t.same(StandardErrorBehavior, { LOG: 'log', DROP: 'drop' });
  const reactor = new MemoryReactor();
  const endpoint = new ProcessEndpoint(reactor, '/bin/x', { errFlag: StandardErrorBehavior.DROP });
  void endpoint.connect(Factory.forProtocol(Protocol));
  const [started] = reactor.processes;
  t.equal(started?.executable, '/bin/x');
  started?.child.exit(0);
  reactor.flush();
  t.same(flushLoggedErrors(), []);
});

t.test('a factory has a name for the log, as its protocols have', async (t) => {
  class Shop extends Factory {}
  t.equal(new Shop().logPrefix(), 'Shop');
  t.equal(new ClientFactory().logPrefix(), 'ClientFactory');
});

// ── Doubles ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Says what it has to say, and hangs up if it should. */
class Speaker extends AccumulatingProtocol {
  readonly #words: string;
  readonly #hangsUp: boolean;
  constructor(words: string, hangsUp = false) {
    super();
    this.#words = words;
    this.#hangsUp = hangsUp;
  }
  override connectionMade(): void {
    super.connectionMade();
    this.transport.write(this.#words);
    if (this.#hangsUp) this.transport.loseConnection();
  }
}

t.test('connect joins two protocols that are there already', async (t) => {
  const [server, client] = [new Speaker('welcome'), new Speaker('hello')];
  const clock = new Clock();
  const pump = connect(server, client, { clock });
  t.equal(client.data.toString(), 'welcome');
  t.equal(server.data.toString(), 'hello');
  client.transport.loseConnection();
  pump.flush();
  t.equal(server.transport.connected, false);
  const quiet = connect(new Speaker('welcome'), new Speaker('hello'), { greet: false });
  t.equal(quiet.serverIO.getOutBuffer().toString(), 'welcome');
});

t.test('an endpoint that can be connected to, when the test says so', async (t) => {
  const [endpoint, completer] = connectableEndpoint();
  const connected = connectProtocol(endpoint, new Protocol());
  t.notOk(connected.called);
  completer.succeedOnce();
  t.equal(successResultOf(connected).transport.connected, true);
  const refused = connectProtocol(endpoint, new Protocol());
  completer.failOnce();
  failureResultOf(refused, ConnectionRefusedError);
});

t.test('loopbackTCP and loopbackUNIX let two protocols talk over a real socket', async (t) => {
  t.equal(loopbackAsync, loopback);
  const reactor = new Reactor();
  for (const over of [loopbackTCP, loopbackUNIX]) {
    const temporary = () =>
      readdirSync(tmpdir()).filter((name) => name.startsWith('plait-loopback-'));
    const before = temporary().length;
    const words = 'x'.repeat(100_000);
    // Whichever side hangs up, what was said before arrives.
    for (const serverEnds of [true, false]) {
      const server = new Speaker(serverEnds ? words : '', serverEnds);
      const client = new Speaker(serverEnds ? '' : words, !serverEnds);
      await over(server, client, { reactor });
      t.equal((serverEnds ? client : server).data.length, words.length);
      t.notOk(server.transport.connected || client.transport.connected);
    }
    // Cancelled while it goes on, and before it has begun.
    const made = new Deferred<void>();
    class Silent extends Protocol {
      override connectionMade(): void {
        made.callback();
      }
    }
    const talking = over(new Silent(), new Protocol(), { reactor });
    await made;
    talking.cancel();
    await t.rejects(talking.asPromise(), CancelledError);
    const early = over(new Protocol(), new Protocol(), { reactor });
    early.cancel();
    await t.rejects(early.asPromise(), CancelledError);
    t.equal(temporary().length, before);
  }
  const taken = reactor.listenTCP(0, Factory.forProtocol(Protocol), { interface: '127.0.0.1' });
  const { port } = (await taken.ready).getHost() as never as { port: number };
  await t.rejects(
    loopbackTCP(new Protocol(), new Protocol(), { reactor, port }).asPromise(),
    CannotListenError,
  );
  await taken.stopListening();
});

// ── Policies ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const address = new StringTransport().getPeer();

t.test('the timeout of one connection can be cancelled', async (t) => {
  const clock = new Clock();
  const factory = new TimeoutFactory(Factory.forProtocol(Protocol), { timeout: 60, clock });
  const [one, two] = [new StringTransport(), new StringTransport()];
  const wrapper = factory.buildProtocol(address);
  wrapper?.makeConnection(one);
  factory.buildProtocol(address)?.makeConnection(two);
  if (!(wrapper instanceof TimeoutProtocol)) throw new TypeError('another wrapper');
  wrapper.cancelTimeout();
  wrapper.cancelTimeout();
  clock.advance(61);
  t.same([one.disconnecting, two.disconnecting], [false, true]);
  t.equal(wrapper.timeOut, null);
});

t.test(
  'a consumer that is told to stop consuming lets go of its producer, and closes',
  async (t) => {
    const factory = new WrappingFactory(Factory.forProtocol(Protocol));
    const transport = new StringTransport();
    const wrapper = factory.buildProtocol(address);
    wrapper?.makeConnection(transport);
    const producer = { pauseProducing() {}, resumeProducing() {}, stopProducing() {} };
    wrapper?.registerProducer(producer, true);
    t.ok(transport.producer);
    wrapper?.stopConsuming();
    t.notOk(transport.producer);
    t.equal(transport.disconnecting, true);
    const other = new StringTransport();
    other.registerProducer(producer, true);
    other.stopConsuming();
    t.notOk(other.producer);
    t.equal(other.disconnecting, true);
  },
);

t.test('a throttling factory says what has passed within this second', async (t) => {
  const clock = new Clock();
  const factory = new ThrottlingFactory(Factory.forProtocol(Protocol), {
    clock,
    readLimit: 100,
    maxConnectionCount: 2,
  });
  t.match(factory, { readLimit: 100, writeLimit: undefined, maxConnectionCount: 2 });
  const transports = [new StringTransport(), new StringTransport()] as const;
  const [one, two] = transports.map((transport) => {
    const wrapper = factory.buildProtocol(address);
    wrapper?.makeConnection(transport);
    return wrapper;
  });
  t.equal(factory.connectionCount, 2);
  t.equal(factory.buildProtocol(address), null);
  factory.maxConnectionCount = 3;
  t.ok(factory.buildProtocol(address));
  t.throws(() => (factory.maxConnectionCount = -1), RangeError);
  t.same([factory.readThisSecond, factory.writtenThisSecond], [0, 0]);
  one?.dataReceived(Buffer.alloc(30));
  clock.advance(0.5);
  two?.dataReceived(Buffer.alloc(20));
  one?.write('four');
  one?.writeSequence(['five!', 'x']);
  t.same([factory.readThisSecond, factory.writtenThisSecond], [50, 10]);
  clock.advance(0.5);
  t.same([factory.readThisSecond, factory.writtenThisSecond], [0, 10]);
  clock.advance(0.5);
  t.same([factory.readThisSecond, factory.writtenThisSecond], [0, 0]);
  // Whoever counts bytes of his own counts towards the limit.
  factory.registerRead(1000);
  t.same(
    transports.map(({ producerState }) => producerState),
    ['paused', 'paused'],
  );
  clock.advance(20);
  t.same(
    transports.map(({ producerState }) => producerState),
    ['producing', 'producing'],
  );
});

t.test(
  'a throttling factory can be told to hold all connections, and to let them go',
  async (t) => {
    const clock = new Clock();
    const factory = new ThrottlingFactory(Factory.forProtocol(Protocol), { clock, readLimit: 10 });
    const states: string[] = [];
    const producer = {
      pauseProducing: () => states.push('pause'),
      resumeProducing: () => states.push('resume'),
      stopProducing() {},
    };
    const made = () => {
      const transport = new StringTransport();
      const wrapper = factory.buildProtocol(address);
      wrapper?.makeConnection(transport);
      return { transport, wrapper };
    };
    const { transport, wrapper } = made();
    wrapper?.registerProducer(producer, true);
    factory.throttleReads();
    factory.throttleReads();
    t.equal(transport.producerState, 'paused');
    t.equal(made().transport.producerState, 'paused', 'who comes later is held as well');
    factory.throttleWrites();
    t.equal(factory.writesThrottled, true);
    t.same(states, ['pause']);
    factory.unthrottleWrites();
    t.same(states, ['pause', 'resume']);
    // The limit holds all the same.
    factory.registerRead(100);
    factory.unthrottleReads();
    t.equal(transport.producerState, 'paused');
    clock.advance(11);
    t.equal(transport.producerState, 'producing');
  },
);

t.test('traffic is logged to a file for each connection, numbered from 1', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'plait-traffic-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const opened: string[] = [];
  class Traffic extends TrafficLoggingFactory {
    override open(name: string) {
      opened.push(name);
      return super.open(name);
    }
  }
  const factory = new Traffic(Factory.forProtocol(Protocol), join(folder, 'traffic'));
  const talk = (text: string) => {
    const wrapper = factory.buildProtocol(address);
    const transport = new StringTransport();
    wrapper?.makeConnection(transport);
    wrapper?.dataReceived(Buffer.from(text));
    wrapper?.connectionLost(new Failure(new ConnectionDone()));
  };
  talk('first');
  talk('second');
  factory.resetCounter();
  talk('third');
  t.same(
    opened,
    ['traffic-1', 'traffic-2', 'traffic-1'].map((name) => join(folder, name)),
  );
  const text = (name: string) => {
    try {
      return readFileSync(join(folder, name), 'utf8');
    } catch {
      return '';
    }
  };
  const written = () =>
    text('traffic-1').split('lost:').length === 3 && text('traffic-2').includes('lost:');
  for (let turn = 0; turn < 100_000 && !written(); turn++)
    await new Promise((resolve) => setImmediate(resolve));
  t.match(text('traffic-1'), /connection 1 received 5 bytes: "first"/);
  t.match(text('traffic-1'), /connection 1 received 5 bytes: "third"/);
  t.match(text('traffic-2'), /connection 2 received 6 bytes: "second"/);

  // An observer of one's own needs no closing.
  const events: unknown[] = [];
  class Own extends TrafficLoggingFactory {
    override open() {
      return (event: unknown) => void events.push(event);
    }
  }
  const own = new Own(Factory.forProtocol(Protocol), 'x').buildProtocol(address);
  own?.makeConnection(new StringTransport());
  own?.connectionLost(new Failure(new ConnectionDone()));
  t.equal(events.length, 2);
});
