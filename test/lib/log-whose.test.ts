/** Who is spoken of in the log: protocols, factories, ports and peers (lib/log-prefix.ts), and a Logger's failures with fields. */
import {
  ClientFactory,
  Deferred,
  DatagramProtocol,
  Factory,
  Failure,
  formatEvent,
  globalLogPublisher,
  HostnameEndpoint,
  type HookResult,
  type IConnector,
  type ITransport,
  IPv4Address,
  type LogEvent,
  logPrefixOf,
  Logger,
  ProcessProtocol,
  Protocol,
  succeed,
  TLSMemoryBIOFactory,
  CertificateOptions,
} from 'plait';
import { ConnectionCompleter, flushLoggedErrors, MemoryReactorClock } from 'plait/testing';
import { WrappingFactory } from 'plait/protocols/policies';
import t, { type Test } from '../fixture.ts';

/** What is logged until the test ends. */
function events(t: Test): LogEvent[] {
  const seen: LogEvent[] = [];
  const observer = (event: LogEvent) => void seen.push(event);
  globalLogPublisher.addObserver(observer);
  t.teardown(() => globalLogPublisher.removeObserver(observer));
  return seen;
}

const turns = async () => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
};

class Named extends Protocol {
  override logPrefix() {
    return 'Tea';
  }
}

t.test('FND-65: Logger.failure takes fields, with a level or without', async (t) => {
  const seen: LogEvent[] = [];
  const log = new Logger('shop', (event) => void seen.push(event));
  const failure = new Failure(new RangeError('no more'));
  log.failure('order {id} failed', failure);
  log.failure('order {id} failed', failure, 'warn');
  log.failure('order {id} failed', failure, { id: 7 });
  log.failure('order {id} failed', failure, 'error', { id: 8, failure: 'x', level: 'y', time: 0 });
  t.same(
    seen.map((event) => [event.level, formatEvent(event), event.failure === failure]),
    [
      ['critical', 'order {id} failed', true],
      ['warn', 'order {id} failed', true],
      ['critical', 'order 7 failed', true],
      ['error', 'order 8 failed', true],
    ],
  );
  t.not(seen[3]?.time, 0);
  const odd = Object.defineProperty({ id: 9 }, 'x', {
    enumerable: true,
    get: () => {
      throw new RangeError('unreadable');
    },
  });
  log.failure('order {id} failed', failure, odd);
  t.match(seen[4], { id: 9, failure });
  const broken = () => {
    throw failure.value;
  };
  log.failuresHandled('{id}', broken, { id: 1 });
  log.failuresHandled('{id}', broken, 'warn', { id: 2 });
  log.failureHandler('{id}', { id: 3 })(broken);
  log.failureHandler('{id}', 'info', { id: 4 })(broken);
  t.same(
    seen.slice(5).map((event) => `${event.level} ${formatEvent(event)}`),
    ['critical 1', 'warn 2', 'critical 3', 'info 4'],
  );
});

t.test('FND-65: what starts and stops to listen is logged with address and port', async (t) => {
  const seen = events(t);
  const reactor = new MemoryReactorClock();
  class Shop extends Factory<Named> {
    override protocol = Named;
    override noisy = false;
  }
  class Post extends DatagramProtocol {
    override noisy = false;
  }
  const ports = [
    reactor.listenTCP(8000, new Shop(), { interface: '10.0.0.7' }),
    reactor.listenUNIX('/run/tea', new WrappingFactory(new Shop())),
    reactor.listenUDP(53, new Post(), { interface: '10.0.0.8' }),
  ];
  reactor.advance(0);
  for (const port of ports) void port.stopListening();
  reactor.advance(0);
  const told = seen.filter(({ level }) => level === 'info');
  t.same(told.map(formatEvent), [
    'Shop starting on 10.0.0.7:8000',
    'Shop (WrappingFactory) starting on unix:/run/tea',
    'Post starting on 10.0.0.8:53',
    'Shop has stopped listening on 10.0.0.7:8000',
    'Shop (WrappingFactory) has stopped listening on unix:/run/tea',
    'Post has stopped listening on 10.0.0.8:53',
  ]);
  t.match(told[0], { factory: 'Shop', host: '10.0.0.7', port: 8000, namespace: 'plait.transport' });
  t.match(told[5], { protocol: 'Post', host: '10.0.0.8', port: 53 });
});

const thrown = () => new RangeError('broken');

/** Hooks of a connection's that fail, and what makes them be called. */
const HOOKS: Record<
  string,
  (broken: () => HookResult) => { protocol: object; cause?: (one: ITransport) => void }
> = {
  makeConnection: (broken) => ({ protocol: { connectionMade: broken } }),
  dataReceived: (broken) => ({ protocol: { dataReceived: broken } }),
  connectionLost: (broken) => ({
    protocol: { connectionLost: broken },
    cause: (transport) => transport.loseConnection(),
  }),
  readConnectionLost: (broken) => ({
    protocol: { readConnectionLost: broken, writeConnectionLost() {} },
  }),
  resumeProducing: (broken) => ({
    protocol: {},
    cause: (transport) =>
      transport.registerProducer({ resumeProducing: broken, stopProducing() {} }, false),
  }),
  stopProducing: (broken) => ({
    protocol: {},
    cause: (transport) => {
      transport.registerProducer({ resumeProducing() {}, stopProducing: broken }, false);
      transport.abortConnection();
    },
  }),
  switchProtocol: (broken) => ({
    protocol: { takeUnread: () => Buffer.alloc(0), protocolReplaced: broken },
    cause: (transport) => transport.switchProtocol(new Named()),
  }),
};

for (const [hook, make] of Object.entries(HOOKS)) {
  for (const kind of ['at once', 'later']) {
    t.test(
      `FND-65: ${hook} that fails ${kind} is logged with its protocol and the peer`,
      async (t) => {
        const reactor = new MemoryReactorClock();
        const broken =
          kind === 'at once'
            ? () => {
                throw thrown();
              }
            : async () => {
                await Promise.resolve();
                throw thrown();
              };
        const { protocol, cause } = make(broken);
        const named = Object.assign(new Named(), protocol);
        const factory = Object.assign(new Factory(), { buildProtocol: () => named, noisy: false });
        const port = reactor.listenTCP(80, factory);
        reactor.advance(0);
        const client = Object.assign(new ClientFactory(), {
          buildProtocol: () => new Protocol(),
          noisy: false,
        });
        const connector = reactor.connectTCP('127.0.0.1', 80, client);
        const pump = new ConnectionCompleter(reactor).succeedOnce();
        pump.flush();
        if (hook === 'dataReceived') pump.clientIO?.write('tea');
        if (hook === 'readConnectionLost') pump.clientIO?.loseWriteConnection();
        cause?.(pump.serverIO as ITransport);
        pump.flush();
        await turns();
        pump.flush();
        const [event, ...more] = flushLoggedErrors(RangeError);
        t.same(more, []);
        if (hook !== 'switchProtocol' || kind === 'at once') t.equal(event?.['hook'], hook);
        t.match(event, { protocol: 'Tea', peer: pump.serverIO?.getPeer() });
        t.match(formatEvent(event as LogEvent), /^\w+ failed: Tea with [\d.]+:\d+$/);
        connector.disconnect();
        pump.serverIO?.abortConnection();
        void port.stopListening();
        reactor.advance(0);
      },
    );
  }
}

t.test(
  'FND-65: hooks of factories are logged with their factory and where it is used',
  async (t) => {
    const reactor = new MemoryReactorClock();
    const broken = () => {
      throw thrown();
    };
    const last = () => {
      const [event, ...more] = flushLoggedErrors(RangeError);
      t.same(more, []);
      return formatEvent(event as LogEvent);
    };
    class Shop extends Factory<Protocol> {
      override noisy = false;
      override protocol = Protocol;
    }
    const start = reactor.listenTCP(81, Object.assign(new Shop(), { startFactory: broken }));
    start.ready.addErrback(() => {});
    reactor.advance(0);
    t.equal(last(), 'startFactory failed: Shop on 0.0.0.0:81');

    const late = reactor.listenTCP(
      82,
      Object.assign(new Shop(), {
        buildProtocol: broken,
        stopFactory: () => Promise.reject(thrown()),
      }),
    );
    reactor.advance(0);
    reactor.connectTCP('127.0.0.1', 82, Object.assign(new ClientFactory(), { noisy: false }));
    new ConnectionCompleter(reactor).failOnce();
    const socket = reactor.memory.listeners;
    t.equal(socket.size, 1);
    const client = Object.assign(new ClientFactory(), {
      noisy: false,
      buildProtocol: () => new Protocol(),
    });
    const connector = reactor.connectTCP('127.0.0.1', 82, client);
    new ConnectionCompleter(reactor).succeedOnce();
    t.match(last(), /^buildProtocol failed: Shop on 0\.0\.0\.0:82 with [\d.]+:\d+$/);
    connector.disconnect();
    reactor.advance(0);
    late.stopListening().addErrback(() => {});
    reactor.advance(0);
    await turns();
    flushLoggedErrors(RangeError);

    class Buys extends ClientFactory<Protocol> {
      override noisy = false;
      override clientConnectionFailed(_connector: IConnector) {
        throw thrown();
      }
    }
    reactor.connectTCP('127.0.0.1', 83, new Buys());
    new ConnectionCompleter(reactor).failOnce();
    t.equal(last(), 'clientConnectionFailed failed: Buys connecting to 127.0.0.1:83');
    reactor.connectTCP(
      '127.0.0.1',
      83,
      Object.assign(new ClientFactory(), { noisy: false, buildProtocol: broken }),
    );
    new ConnectionCompleter(reactor).succeedOnce(new Protocol()).flush();
    t.match(last(), /^buildProtocol failed: ClientFactory connecting to 127\.0\.0\.1:83 with 127/);

    const stopping = Object.assign(new Shop(), { stopFactory: broken });
    const named = new HostnameEndpoint(reactor, '127.0.0.1', 84).connect(stopping);
    named.addErrback(() => {});
    new ConnectionCompleter(reactor).failOnce();
    reactor.advance(0);
    t.equal(last(), 'stopFactory failed: Shop connecting to 127.0.0.1:84');
  },
);

t.test(
  'FND-65: hooks of datagrams and processes are logged with what they belong to',
  async (t) => {
    const reactor = new MemoryReactorClock();
    class Post extends DatagramProtocol {
      override noisy = false;
      override datagramReceived() {
        throw thrown();
      }
    }
    const port = reactor.listenUDP(53, new Post(), { interface: '10.0.0.8' });
    reactor.advance(0);
    reactor.udpPorts[0]?.socket.receive('x', {
      host: '10.0.0.9',
      port: 1,
      family: 'IPv4',
    } as never);
    reactor.advance(0);
    let [event] = flushLoggedErrors(RangeError);
    t.equal(formatEvent(event as LogEvent), 'datagramReceived failed: Post on 10.0.0.8:53');
    void port.stopListening();
    class Job extends ProcessProtocol {
      override processEnded() {
        throw thrown();
      }
    }
    reactor.spawnProcess(new Job(), 'brew');
    reactor.processes[0]?.child.exit(0);
    reactor.advance(0);
    [event] = flushLoggedErrors(RangeError);
    t.match(formatEvent(event as LogEvent), /^processEnded failed: Job of <process .* brew>$/);
  },
);

t.test('FND-65: logPrefix is asked, and a class has its name', async (t) => {
  t.equal(logPrefixOf(new Named()), 'Tea');
  t.equal(logPrefixOf(new Protocol()), 'Protocol');
  t.equal(logPrefixOf(new Factory()), 'Factory');
  t.equal(new WrappingFactory(new Factory()).logPrefix(), 'Factory (WrappingFactory)');
  const wrapped = new WrappingFactory(
    Object.assign(new Factory(), { buildProtocol: () => new Named() }),
  );
  const wrapper = wrapped.buildProtocol(new IPv4Address('TCP', '10.0.0.1', 1));
  t.equal(wrapper?.logPrefix(), 'Tea (ProtocolWrapper)');
  const options = { tlsSettings: () => new CertificateOptions().tlsSettings('client') };
  t.throws(() => new TLSMemoryBIOFactory(options, true, new Factory()), {
    name: 'CertificateError',
  });
  for (const odd of [
    {
      logPrefix() {
        throw thrown();
      },
    },
    { logPrefix: () => Promise.reject(thrown()) },
    { logPrefix: () => succeed('x') },
    { logPrefix: () => 7 },
    { logPrefix: () => '' },
    { logPrefix: 'x' },
    Object.create(null) as object,
  ])
    t.equal(logPrefixOf(odd), 'an object');
  await turns();
  t.equal(logPrefixOf(new Deferred()), 'Deferred');
});
