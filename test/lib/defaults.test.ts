/**
 * What is documented as a default: one row each, in seconds on a clock that is moved by hand, or in numbers. A default
 * that is changed fails here, and is changed on its page of docs/reference too.
 */
import {
  backoffPolicy,
  ClientFactory,
  ConnectionLost,
  ClientService,
  CertificateOptions,
  Deferred,
  DeferredQueue,
  Factory,
  Failure,
  HostnameEndpoint,
  IPv4Address,
  type IStreamClientEndpoint,
  KeyPair,
  LimitedHistoryLogObserver,
  Logger,
  LogLevelFilterPredicate,
  MultiService,
  ProducerConsumerProxy,
  Protocol,
  ReconnectingClientFactory,
  Service,
  succeed,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
  ThreadPool,
  TimerService,
  TLSMemoryBIOFactory,
  UNIXClientEndpoint,
  UNIXServerEndpoint,
} from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import { FakeClamd, ping } from 'plait/protocols/clamd';
import { getPage } from 'plait/protocols/http';
import { TimeoutFactory, TimeoutMixin } from 'plait/protocols/policies';
import { MemoryReactor, MemoryReactorClock, simulate, StringTransport } from 'plait/testing';
import { RESPONSE_LIMITS } from '../../protocols/http/grammar.ts';
import { SlowCallbacks } from '../../lib/slow-callbacks.ts';
import t from '../fixture.ts';

/** Begins something on a clock; returns a function that says whether it has ended. */
type Timed = (clock: MemoryReactorClock) => () => boolean;

/** Whether a Deferred has a result; a failure is handled. */
function over(deferred: Deferred<unknown>): () => boolean {
  deferred.addErrback(() => undefined);
  return () => deferred.called;
}

const never = (): Deferred<void> => new Deferred<void>(() => {});

class Telling extends ClientFactory {
  failed = false;
  override clientConnectionFailed(): void {
    this.failed = true;
  }
}

/** A resolver that never answers. */
const silent = {
  resolveHostName(receiver: { resolutionBegan(resolution: unknown): void }, name: string) {
    const resolution = { name, cancel() {} };
    receiver.resolutionBegan(resolution);
    return resolution;
  },
} as never;

class Timing extends TimeoutMixin(Protocol) {}

/** Seconds by name. */
const SECONDS: Record<string, readonly [seconds: number, timed: Timed]> = {
  'connectTCP: timeout': [
    30,
    (clock) => {
      const factory = new Telling();
      clock.connectTCP('10.0.0.1', 7, factory);
      return () => factory.failed;
    },
  ],
  'connectUNIX: timeout': [
    30,
    (clock) => {
      const factory = new Telling();
      clock.connectUNIX('/run/s', factory);
      return () => factory.failed;
    },
  ],
  'connectSSL: timeout': [
    30,
    (clock) => {
      const factory = new Telling();
      clock.connectSSL('10.0.0.1', 7, factory, new CertificateOptions({ verify: false }));
      return () => factory.failed;
    },
  ],
  'TCP4ClientEndpoint: timeout': [
    30,
    (clock) => over(new TCP4ClientEndpoint(clock, '10.0.0.1', 7).connect(new Factory())),
  ],
  'UNIXClientEndpoint: timeout': [
    30,
    (clock) => over(new UNIXClientEndpoint(clock, '/run/s').connect(new Factory())),
  ],
  'HostnameEndpoint: timeout': [
    30,
    (clock) => {
      clock.installNameResolver(silent);
      return over(new HostnameEndpoint(clock, 'a.example', 7).connect(new Factory()));
    },
  ],
  'HostnameEndpoint: attemptDelay': [
    0.25,
    (clock) => {
      clock.installNameResolver({
        resolveHostName(
          receiver: Record<
            'resolutionBegan' | 'addressResolved' | 'resolutionComplete',
            (...args: unknown[]) => void
          >,
          name: string,
          port: number,
        ) {
          const resolution = { name, cancel() {} };
          receiver.resolutionBegan(resolution);
          for (const host of ['10.0.0.1', '10.0.0.2'])
            receiver.addressResolved(new IPv4Address('TCP', host, port));
          receiver.resolutionComplete();
          return resolution;
        },
      });
      const connecting = new HostnameEndpoint(clock, 'a.example', 7).connect(new Factory());
      connecting.addErrback(() => undefined);
      return () => clock.tcpClients.length > 1;
    },
  ],
  'resolve: timeout, all together': [
    60,
    (clock) => {
      clock.installNameResolver(silent);
      return over(clock.resolve('a.example'));
    },
  ],
  'a shutdown: shutdownTimeout': [
    60,
    (clock) => {
      clock.addSystemEventTrigger('before', 'shutdown', never);
      const stopped = clock.run();
      clock.stop();
      clock.flush();
      return over(stopped);
    },
  ],
  'MultiService: grace': [
    45,
    (clock) => {
      const parts = new MultiService();
      parts.clock = clock;
      class Slow extends Service {
        override stopService(): Deferred<void> {
          return never();
        }
      }
      new Slow().setServiceParent(parts);
      parts.startService();
      return over(parts.stopService());
    },
  ],
  'TimerService: grace': [
    30,
    (clock) => {
      const service = new TimerService(1, never);
      service.clock = clock;
      service.startService();
      return over(service.stopService());
    },
  ],
  'ClientService: grace': [
    30,
    (clock) => {
      const transport = new StringTransport();
      transport.loseConnection = () => {};
      const endpoint: IStreamClientEndpoint = {
        connect(factory) {
          const protocol = factory.buildProtocol(transport.getPeer());
          protocol?.makeConnection(transport);
          return succeed(protocol) as never;
        },
      };
      const service = new ClientService(endpoint, Factory.forProtocol(Protocol), { clock });
      service.startService();
      void service.whenConnected();
      service.stopService().addErrback(() => undefined);
      return () => transport.aborting;
    },
  ],
  'a handshake of TLS: handshakeTimeout': [
    30,
    (clock) => {
      const options = new CertificateOptions({ verify: false });
      const inner = Factory.forProtocol(Protocol);
      const factory = new TLSMemoryBIOFactory(options, true, inner, { clock });
      const transport = new StringTransport();
      const protocol = factory.buildProtocol(transport.getPeer());
      protocol?.makeConnection(transport);
      return () => {
        const isOver = transport.aborting || transport.disconnecting;
        if (isOver) protocol?.connectionLost(new Failure(new ConnectionLost('it is over')));
        return isOver;
      };
    },
  ],
  'TimeoutFactory: timeout': [
    1800,
    (clock) => {
      const factory = new TimeoutFactory(Factory.forProtocol(Protocol), { clock });
      const transport = new StringTransport();
      factory.buildProtocol(transport.getPeer())?.makeConnection(transport);
      return () => transport.disconnecting;
    },
  ],
  'TimeoutMixin: abortTimeout': [
    15,
    (clock) => {
      const transport = new StringTransport();
      let aborted = false;
      transport.loseConnection = () => {};
      transport.abortConnection = () => {
        aborted = true;
      };
      const protocol = new Timing();
      protocol.clock = clock;
      protocol.makeConnection(transport);
      protocol.setTimeout(1);
      clock.advance(1);
      return () => aborted;
    },
  ],
  'getPage: timeout': [
    60,
    (clock) => over(getPage('http://10.0.0.1/', { reactor: clock, connectTimeout: 1000 })),
  ],
  'getPage: connectTimeout': [
    30,
    (clock) => over(getPage('http://10.0.0.1/', { reactor: clock, timeout: null })),
  ],
  'clamd: timeout': [
    120,
    (clock) =>
      over(ping({ reactor: clock, endpoint: { connect: never } as never, idleTimeout: null })),
  ],
  'clamd: idleTimeout': [
    120,
    (clock) => over(ping({ reactor: clock, endpoint: { connect: never } as never, timeout: null })),
  ],
  'FakeClamd: commandReadTimeout': [
    30,
    (clock) => {
      const transport = new StringTransport();
      new FakeClamd({ reactor: clock })
        .buildProtocol(transport.getPeer())
        .makeConnection(transport);
      return () => transport.disconnecting;
    },
  ],
  'FakeClamd: readTimeout': [
    120,
    (clock) => {
      const transport = new StringTransport();
      const clamd = new FakeClamd({ reactor: clock }).buildProtocol(transport.getPeer());
      clamd.makeConnection(transport);
      clamd.dataReceived(Buffer.from('zINSTREAM\0'));
      return () => transport.disconnecting;
    },
  ],
};

for (const [name, [seconds, timed]] of Object.entries(SECONDS)) {
  t.test(`FND-75: ${name} is ${seconds} seconds by default`, (t) => {
    const clock = new MemoryReactorClock();
    const isOver = timed(clock);
    t.notOk(isOver(), 'it has begun');
    clock.advance(seconds - 0.01);
    t.notOk(isOver(), `not before ${seconds} seconds`);
    clock.advance(0.02);
    t.ok(isOver(), `after ${seconds} seconds`);
    clock.flush();
    for (const call of clock.getDelayedCalls()) call.cancel();
    t.end();
  });
}

/** Numbers, texts and the like by name. */
const VALUES: Record<string, readonly [expected: unknown, actual: () => unknown]> = {
  'listenTCP: backlog, interface': [
    [511, ''],
    () => {
      const reactor = new MemoryReactor();
      reactor.listenTCP(7, new Factory());
      return [reactor.tcpServers[0]?.backlog, reactor.tcpServers[0]?.interface];
    },
  ],
  'listenUNIX: backlog, mode, wantPID': [
    [511, 0o666, false],
    () => {
      const reactor = new MemoryReactor();
      reactor.listenUNIX('/run/s', new Factory());
      const [port] = reactor.unixServers;
      return [port?.backlog, port?.mode, port?.wantPID];
    },
  ],
  'server endpoints: backlog, mode, wantPID': [
    [511, 511, 0o666, false],
    () => {
      const reactor = new MemoryReactor();
      void new TCP4ServerEndpoint(reactor, 7).listen(new Factory());
      void new UNIXServerEndpoint(reactor, '/run/s').listen(new Factory());
      reactor.flush();
      const [port] = reactor.unixServers;
      return [reactor.tcpServers[0]?.backlog, port?.backlog, port?.mode, port?.wantPID];
    },
  ],
  'connectUNIX: checkPID; timeouts of a MemoryReactor': [
    [false, 30, 30],
    () => {
      const reactor = new MemoryReactor();
      reactor.connectUNIX('/run/s', new ClientFactory());
      reactor.connectTCP('10.0.0.1', 7, new ClientFactory());
      for (const connector of reactor.connectors) connector.stopConnecting();
      const [client] = reactor.unixClients;
      return [client?.checkPID, client?.timeout, reactor.tcpClients[0]?.timeout];
    },
  ],
  'backoffPolicy: initialDelay * factor, maxDelay, jitter': [
    [true, true, true, true],
    () => {
      const policy = backoffPolicy();
      const between = (value: number, least: number): boolean =>
        value >= least && value < least + 1;
      return [
        between(policy(0), 1),
        between(policy(1), 1.5),
        between(policy(2), 2.25),
        between(policy(100), 60),
      ];
    },
  ],
  'ReconnectingClientFactory: delays': [
    [3600, 1, Math.E, 0.11962656472, null, Math.random],
    () => {
      const factory = new ReconnectingClientFactory();
      const { maxDelay, initialDelay, factor, jitter, maxRetries, random } = factory;
      return [maxDelay, initialDelay, factor, jitter, maxRetries, random];
    },
  ],
  'DeferredQueue: size, backlog': [
    [Infinity, Infinity],
    () => [new DeferredQueue().size, new DeferredQueue().backlog],
  ],
  'LineReceiver: maxLength, delimiter': [
    [16_384, '\r\n'],
    () => {
      const receiver = new (class extends LineReceiver {
        override lineReceived(): void {}
      })();
      return [receiver.maxLength, Buffer.from(receiver.delimiter).toString()];
    },
  ],
  'LimitedHistoryLogObserver: size': [
    65_536,
    () => {
      const observer = new LimitedHistoryLogObserver();
      const event = { time: 1, level: 'info', namespace: 'x', format: '' } as never;
      for (let n = 0; n < 65_540; n++) observer.emit(event);
      return observer.events.length;
    },
  ],
  'Logger: namespace; LogLevelFilterPredicate: level': [
    ['main', 'info'],
    () => [new Logger().namespace, new LogLevelFilterPredicate().logLevelForNamespace('x')],
  ],
  'responses of HTTP: limits': [
    {
      maxHeaderLine: 16_384,
      maxHeaderSize: 65_536,
      maxHeaderCount: 500,
      maxInterim: 32,
      maxChunkLine: 1_024,
      maxChunkExtensions: 16_384,
      maxTrailerSize: 65_536,
    },
    () => RESPONSE_LIMITS,
  ],
  'certificates: days; keys: kind, bits': [
    [365, 'ec', 'prime256v1', 2048],
    () => {
      const certificate = KeyPair.generate().selfSignedCert(1, { CN: 'x' });
      const days = (certificate.validTo.getTime() - certificate.validFrom.getTime()) / 86_400_000;
      const ec = KeyPair.generate().original;
      const rsa = KeyPair.generate('rsa').original;
      const bits = rsa.asymmetricKeyDetails?.modulusLength;
      return [days, ec.asymmetricKeyType, ec.asymmetricKeyDetails?.namedCurve, bits];
    },
  ],
  'ProducerConsumerProxy: bufferSize': [
    [65_535, 65_536],
    () => {
      const proxy = new ProducerConsumerProxy(new StringTransport());
      const paused: boolean[] = [];
      const pauseProducing = (): void => void paused.push(true);
      proxy.registerProducer({ pauseProducing, resumeProducing() {}, stopProducing() {} }, true);
      proxy.pauseProducing();
      let written = 0;
      for (; paused.length === 0; written++) proxy.write(Buffer.alloc(1));
      return [written - 1, written];
    },
  ],
  'StringTransport: addresses': [
    ['10.0.0.1:12345', '192.168.1.1:54321'],
    () => {
      const transport = new StringTransport();
      const text = ({ host, port }: { host?: string; port?: number }): string => `${host}:${port}`;
      return [text(transport.getHost() as never), text(transport.getPeer() as never)];
    },
  ],
  'debug: slowCallback': [
    0.1,
    () =>
      new SlowCallbacks(
        {},
        () => 0,
        () => {},
      ).slowCallback,
  ],
};

for (const [name, [expected, actual]] of Object.entries(VALUES)) {
  t.test(`FND-75: ${name}, by default`, (t) => {
    t.same(actual(), expected);
    t.end();
  });
}

t.test('FND-75: simulate tries 100 seeds from 1, in 2027', async (t) => {
  const dates = new Set<number>();
  const report = await simulate({}, () => {
    dates.add(new Date().getTime());
    return succeed();
  });
  t.equal(report.runs, 100);
  t.same([...dates], [Date.UTC(2027, 0, 1)]);
});

t.test('FND-75: a pool has ten threads at most', async (t) => {
  t.equal(new ThreadPool().max, 10);
});
