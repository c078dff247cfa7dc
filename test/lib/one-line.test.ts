/** What objects with private state print: one line that tells which one it is. */
import { inspect } from 'node:util';
import * as plait from 'plait';
import * as testing from 'plait/testing';
import * as basic from 'plait/protocols/basic';
import * as clamd from 'plait/protocols/clamd';
import * as echo from 'plait/protocols/echo';
import * as http from 'plait/protocols/http';
import * as policies from 'plait/protocols/policies';
import t from '../fixture.ts';

const DOORS: Readonly<Record<string, object>> = {
  plait,
  testing,
  basic,
  clamd,
  echo,
  http,
  policies,
};

type Class = abstract new (...args: never[]) => object;

function isClass(thing: unknown): thing is Class {
  return typeof thing === 'function' && /^class\b/.test(Function.prototype.toString.call(thing));
}

const memory = new testing.MemoryReactorClock();
const clock = new testing.Clock();
const factory = plait.Factory.forProtocol(plait.Protocol);
const made = testing.testCertificates();
const { authority } = made;
const { certificate } = authority;
const context = new plait.CertificateOptions();
const endpoint = new plait.TCP4ClientEndpoint(memory, 'example.com', 80);
const server = new plait.TCP4ServerEndpoint(memory, 0);
const key = plait.KeyPair.generate();
const simulation = new testing.Simulation({ conditions: 'ideal' });
const nothing = (): void => {};

function connected(): plait.Connection {
  const transport = new testing.StringTransport();
  const built = plait.Connection.factory(() => new plait.Deferred()).buildProtocol(
    transport.getPeer(),
  );
  built?.makeConnection(transport);
  return (built as unknown as { connection: plait.Connection }).connection;
}

function duplex(): plait.TransportDuplex {
  const protocol = new plait.DuplexProtocol();
  protocol.makeConnection(new testing.StringTransport());
  return protocol.duplex;
}

function scope(): plait.Scope {
  let found: plait.Scope | undefined;
  plait.scope((each) => {
    found = each;
  });
  return found as unknown as plait.Scope;
}

function pumped(): testing.IOPump<testing.FakeTransport> {
  return testing.connectedServerAndClient(plait.Protocol, plait.Protocol).pump;
}

/** Those that `new` makes of no arguments are not listed. */
const MADE: Readonly<Record<string, () => object>> = {
  AcceptableCiphers: () => plait.AcceptableCiphers.fromOpenSSLCipherString('ECDHE'),
  AdoptedStreamServerEndpoint: () => new plait.AdoptedStreamServerEndpoint(memory, 3, 'AF_INET'),
  CallQueue: () => new plait.CallQueue(() => 0),
  Certificate: () => plait.Certificate.loadPEM(certificate.dumpPEM()),
  CertificateRequest: () => key.requestObject(new plait.DistinguishedName({ CN: 'example.com' })),
  ClientCreator: () => new plait.ClientCreator(memory, plait.Protocol),
  ClientService: () => new plait.ClientService(endpoint, factory, { clock }),
  ComplexResolverSimplifier: () => new plait.ComplexResolverSimplifier(memory.nameResolver),
  Connection: connected,
  ConsumerToProtocolAdapter: () =>
    new plait.ConsumerToProtocolAdapter(new testing.StringTransport()),
  CooperativeTask: () => new plait.Cooperator({ clock }).cooperate([].values()),
  DN: () => new plait.DN({ CN: 'example.com' }),
  DeferredBarrier: () => new plait.DeferredBarrier(2),
  DeferredFilesystemLock: () => new plait.DeferredFilesystemLock('/nowhere/lock'),
  DeferredList: () => new plait.DeferredList([]),
  DeferredSemaphore: () => new plait.DeferredSemaphore(2),
  DelayedCall: () => clock.callLater(1, function later() {}),
  DistinguishedName: () => new plait.DistinguishedName({ CN: 'example.com' }),
  Failure: () => new plait.Failure(new Error('odd')),
  FileLogObserver: () => new plait.FileLogObserver('/nowhere/log', String),
  FilesystemLock: () => new plait.FilesystemLock('/nowhere/lock'),
  FilteringLogObserver: () => new plait.FilteringLogObserver(nothing, []),
  GAIResolver: () => memory.nameResolver,
  HostnameAddress: () => new plait.HostnameAddress('example.com', 80),
  HostnameEndpoint: () => new plait.HostnameEndpoint(memory, 'example.com', 80),
  IPv4Address: () => new plait.IPv4Address('TCP', '127.0.0.1', 80),
  IPv6Address: () => new plait.IPv6Address('TCP', '::1', 80),
  KeyPair: () => key,
  ListenFDs: () => new plait.ListenFDs([3], ['web']),
  LogBeginner: () => plait.globalLogBeginner,
  LoopingCall: () => new plait.LoopingCall(function tick() {}),
  MulticastServer: () => new plait.MulticastServer(0, new plait.DatagramProtocol()),
  PrivateCertificate: () => certificate,
  ProcessEndpoint: () => new plait.ProcessEndpoint(memory, '/bin/true'),
  ProducerConsumerProxy: () => new plait.ProducerConsumerProxy(new testing.StringTransport()),
  BasicProducerConsumerProxy: () =>
    new plait.BasicProducerConsumerProxy(new testing.StringTransport()),
  ProtocolToConsumerAdapter: () => new plait.ProtocolToConsumerAdapter(new plait.Protocol()),
  PublicKey: () => certificate.getPublicKey(),
  SSL4ClientEndpoint: () => new plait.SSL4ClientEndpoint(memory, 'example.com', 443, context),
  SSL4ServerEndpoint: () => new plait.SSL4ServerEndpoint(memory, 443, made.server.options),
  SSLClient: () => new plait.SSLClient('example.com', 443, new plait.ClientFactory(), context),
  SSLServer: () => new plait.SSLServer(443, factory, made.server.options),
  Scope: scope,
  ServerNames: () => new plait.ServerNames({}, made.server.options),
  SimpleResolverComplexifier: () =>
    new plait.SimpleResolverComplexifier({ getHostByName: () => new plait.Deferred() }),
  StandIn: () => new plait.StandIn(new plait.Protocol()),
  StandardIOEndpoint: () => new plait.StandardIOEndpoint(memory),
  StreamServerEndpointService: () => new plait.StreamServerEndpointService(server, factory),
  TCP4ClientEndpoint: () => endpoint,
  TCP4ServerEndpoint: () => server,
  TCP6ClientEndpoint: () => new plait.TCP6ClientEndpoint(memory, '::1', 80),
  TCP6ServerEndpoint: () => new plait.TCP6ServerEndpoint(memory, 80),
  TCPClient: () => new plait.TCPClient('example.com', 80, new plait.ClientFactory()),
  TCPServer: () => new plait.TCPServer(80, factory),
  TLSMemoryBIOFactory: () =>
    new plait.TLSMemoryBIOFactory(made.client.optionsFor('localhost'), true, factory),
  TLSMemoryBIOProtocol: () =>
    new plait.TLSMemoryBIOProtocol(new plait.Protocol(), undefined, 'client', {} as never),
  TimerService: () => new plait.TimerService(5, function sweep() {}),
  TransportDuplex: duplex,
  TrustRoot: () => plait.platformTrust(),
  UDPServer: () => new plait.UDPServer(0, new plait.DatagramProtocol()),
  UNIXAddress: () => new plait.UNIXAddress('/nowhere/socket'),
  UNIXClient: () => new plait.UNIXClient('/nowhere/socket', new plait.ClientFactory()),
  UNIXClientEndpoint: () => new plait.UNIXClientEndpoint(memory, '/nowhere/socket'),
  UNIXServer: () => new plait.UNIXServer('/nowhere/socket', factory),
  UNIXServerEndpoint: () => new plait.UNIXServerEndpoint(memory, '/nowhere/socket'),
  ConnectionCompleter: () => new testing.ConnectionCompleter(memory),
  FakeTransport: () => pumped().clientIO,
  IOPump: pumped,
  FakeDatagramTransport: () => new testing.FakeDatagramTransport(),
  MemoryDatagramSocket: () => {
    memory.listenUDP(0, new plait.DatagramProtocol());
    return memory.udpPorts[0]?.socket as object;
  },
  MemoryProcess: () => {
    memory.spawnProcess(new plait.ProcessProtocol(), 'cat');
    return memory.processes[0]?.child as object;
  },
  TestAuthority: () => authority,
  NonStreamingProducer: () => new testing.NonStreamingProducer(new testing.StringTransport()),
  Random: () => new testing.Random('7'),
  SimHost: () => simulation.host('alice'),
  SimReactor: () => simulation.host('bob').reactor,
  Simulation: () => simulation,
  Trace: () => simulation.trace,
  LineOnlyReceiver: () =>
    new (class LineOnlyReceiver extends basic.LineOnlyReceiver {
      override lineReceived(): void {}
    })(),
  LineReceiver: () =>
    new (class LineReceiver extends basic.LineReceiver {
      override lineReceived(): void {}
    })(),
  FakeClamdProtocol: () => new clamd.FakeClamd().buildProtocol(new plait.PipeAddress()),
  Exchange: () =>
    new http.Exchange({
      method: 'GET',
      url: new URL('http://a:b@example.com/'),
      body: undefined,
      headers: new http.Headers({ host: 'example.com' }),
    }),
  Headers: () => new http.Headers({ authorization: 'Basic c2VjcmV0' }),
  ResponseReader: () => new http.ResponseReader('GET'),
  LimitConnectionsByPeer: () =>
    new policies.LimitConnectionsByPeer(factory, { maxConnectionsPerPeer: 1 }),
  LimitTotalConnectionsFactory: () => new policies.LimitTotalConnectionsFactory(factory),
  ProtocolWrapper: () =>
    new policies.ProtocolWrapper(new policies.WrappingFactory(factory), new plait.Protocol()),
  SpewingFactory: () => new policies.SpewingFactory(factory),
  ThrottlingFactory: () => new policies.ThrottlingFactory(factory, { clock }),
  TimeoutFactory: () => new policies.TimeoutFactory(factory),
  TimeoutProtocol: () =>
    new policies.TimeoutProtocol(
      new policies.TimeoutFactory(factory),
      new plait.Protocol(),
      5,
      clock,
    ),
  TrafficLoggingFactory: () => new policies.TrafficLoggingFactory(factory, 'odd'),
  WrappingFactory: () => new policies.WrappingFactory(factory),
};

const classes = Object.entries(DOORS).flatMap(([door, exports]) =>
  Object.entries(exports as Record<string, unknown>)
    .filter((each): each is [string, Class] => isClass(each[1]))
    .filter(([, { prototype }]) => !(prototype instanceof Error))
    // It would take the descriptors of this process.
    .filter(([name]) => name !== 'StandardIO')
    .map(([name, made]) => ({ door, name, made })),
);

t.test('FND-33: each class prints one line that tells which one it is', (t) => {
  t.ok(classes.length > 100);
  for (const { door, name, made } of classes) {
    let thing: object | undefined;
    try {
      thing = MADE[name]?.() ?? new (made as new () => object)();
    } catch (error) {
      t.fail(`${door}: ${name} could not be made`, { error: String(error) });
      continue;
    }
    const text = `${door}: ${name}`;
    t.ok(thing instanceof made, text);
    const line = inspect(thing);
    const own = name === 'DN' ? 'DistinguishedName' : name;
    t.match(line, own, text);
    t.notMatch(line, /^\S+( \[\w+\])? \{\}$/, text);
    t.notMatch(line, /\n/, text);
    t.ok(line.length <= 220, `${text}: ${line.length} characters`);
    const saying: { toString(): string } = thing;
    const string = String(saying);
    t.notMatch(string, /\[object |\n/, text);
    t.ok(string.length <= 220, text);
  }
  t.end();
});

t.test('FND-33: what is open says which it is, and in which state', async (t) => {
  const reactor = new testing.MemoryReactorClock();
  const port = reactor.listenTCP(80, factory);
  t.match(inspect(port), /^<Port .*80.*>$/);
  reactor.advance(0);
  await port.ready;
  t.match(inspect(port), /^<Port listening 0\.0\.0\.0:80>$/);
  const connector = reactor.connectTCP('example.com', 80, new plait.ClientFactory());
  t.equal(inspect(connector), '<connector connecting to example.com:80>');
  const udp = reactor.listenUDP(9, new plait.DatagramProtocol());
  t.match(inspect(udp), /^<UDP port .*:9>$/);
  const child = reactor.spawnProcess(new plait.ProcessProtocol(), 'cat');
  t.match(inspect(child), /^<process \d+ cat>$/);
  const loop = new plait.LoopingCall(function tick() {});
  loop.clock = new testing.Clock();
  t.equal(inspect(loop), '<LoopingCall stopped tick>');
  const stopped = loop.start(5);
  t.equal(inspect(loop), '<LoopingCall running every 5 s tick>');
  loop.stop();
  await stopped;
  connector.disconnect();
  const closed = port.stopListening();
  reactor.advance(0);
  await closed;
  const { clientIO } = pumped();
  t.match(inspect(clientIO), /^<FakeTransport connection open .* for a Protocol>$/);
});

t.test('FND-33: an endpoint is its description', (t) => {
  const told = (each: { toString(): string }): string => String(each);
  t.equal(told(endpoint), 'tcp:example.com:80');
  t.equal(inspect(endpoint), '<TCP4ClientEndpoint tcp:example.com:80>');
  const local = new plait.TCP4ServerEndpoint(memory, 8080, { interface: '127.0.0.1' });
  t.equal(told(local), 'tcp:8080:interface=127.0.0.1');
  t.equal(told(plait.serverFromString(memory, told(local))), told(local));
  const six = new plait.TCP6ServerEndpoint(memory, 80);
  t.equal(told(six), 'tcp6:80:interface=\\:\\:');
  t.equal(told(plait.serverFromString(memory, told(six))), told(six));
  t.equal(told(new plait.UNIXServerEndpoint(memory, '/a:b')), 'unix:/a\\:b');
  t.equal(told(new plait.HostnameEndpoint(memory, 'example.com', 80)), 'host:example.com:80');
  t.end();
});

t.test('FND-33: subclasses print their own names, and the fields that they add', (t) => {
  class Brewery extends plait.Service {
    cups = 3;
  }
  class Pot extends plait.DeferredLock {}
  class Odd extends plait.DeferredLock {
    override toString(): string {
      throw new Error('odd');
    }
  }
  class Named extends plait.DeferredLock {
    override toString(): string {
      return 'the one\nand only\u001b[31m';
    }
  }
  t.equal(inspect(new Brewery()), '<Brewery stopped> { cups: 3 }');
  t.equal(String(new Brewery()), '<Brewery stopped>');
  t.equal(inspect(new Pot()), '<Pot 1 of 1 free, 0 waiting>');
  t.equal(inspect(new Odd()), '<Odd>');
  t.equal(inspect(new Named()), '<Named the one>');
  t.equal(String(new (class extends plait.DeferredEvent {})()), '<Object not set, 0 waiting>');
  const bare = new plait.DeferredEvent();
  Object.defineProperty(bare, 'constructor', {
    get() {
      throw new Error('odd');
    },
  });
  t.equal(String(bare), '<Object not set, 0 waiting>');
  t.end();
});

t.test('FND-33: depth and colours are those that the caller asked for', (t) => {
  const lock = new plait.DeferredLock();
  t.equal(inspect({ a: { b: { c: { lock } } } }, { depth: 3 }).includes('[DeferredLock]'), true);
  t.equal(inspect({ lock }), '{ lock: <DeferredLock 1 of 1 free, 0 waiting> }');
  t.match(inspect(lock, { colors: true }), /^\u001b\[\d+m<DeferredLock .*>\u001b\[\d+m$/);
  class Service extends plait.Service {
    lock = lock;
  }
  t.equal(inspect([new Service()], { depth: 0 }), '[ [Service] ]');
  t.equal(inspect(new Service(), { depth: 0 }), '<Service stopped> { lock: [DeferredLock] }');
  t.end();
});

t.test('FND-33: no line shows a secret, or is long', (t) => {
  const headers = new http.Headers({ authorization: 'Basic c2VjcmV0' });
  t.equal(inspect(headers), '<Headers authorization>');
  t.notMatch(inspect(key), 'PRIVATE');
  t.notMatch(inspect(certificate), 'PRIVATE');
  const hidden = new plait.CertificateOptions({
    privateKey: key,
    certificate: key.selfSignedCert(1, { CN: 'x' }),
  });
  t.equal(inspect(hidden), '<CertificateOptions with a certificate, not verifying>');
  const long = new plait.Logger('x'.repeat(100_000));
  t.ok(inspect(long).length < 220);
  const done = plait.succeed({ a: 'x'.repeat(1_000), b: Array.from({ length: 1_000 }, String) });
  t.ok(String(done).length < 220);
  t.notMatch(inspect(done), /\n/);
  plait.setDebugging(true);
  const call = clock.callLater(1, function brew() {});
  plait.setDebugging(false);
  t.match(inspect(call), /^<DelayedCall pending brew at \d+>$/);
  t.end();
});
