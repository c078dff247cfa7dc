/**
 * What each public class does when what it stands for has gone: every method and getter is called then, as it comes out
 * of the class itself. Right are nothing, a value, and an error that says what is wrong; wrong are a TypeError about
 * something undefined, and a Deferred or promise that never fires.
 */
import { mkdtempSync, rmSync, unlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as plait from '../../lib/index.ts';
import {
  Clock,
  connectedServerAndClient,
  ConnectionCompleter,
  EventLoggingObserver,
  FakeDatagramTransport,
  flushLoggedErrors,
  type MemoryProcess,
  MemoryReactor,
  StringTransport,
  StringTransportWithDisconnection,
  testCertificates,
} from '../../lib/testing/index.ts';
import { LineOnlyReceiver, LineReceiver } from '../../protocols/basic.ts';
import {
  ProtocolWrapper,
  ThrottlingFactory,
  TimeoutMixin,
  WrappingFactory,
} from '../../protocols/policies.ts';
import t, { type Test } from '../fixture.ts';

const { Deferred, Factory, Protocol, Reactor, succeed } = plait;

const LOCAL = { interface: '127.0.0.1' };
const certificates = testCertificates();

const producer = { pauseProducing() {}, resumeProducing() {}, stopProducing() {} };
const lost = new plait.Failure(new plait.ConnectionLost('gone'));
const tls = certificates.client.options;

const connector = {
  getDestination: () => 'nowhere',
  state: 'disconnected',
  connect() {},
  stopConnecting() {},
  disconnect() {},
};

/** What the methods are called with, by their names; the others with nothing. */
const ARGUMENTS: Readonly<Record<string, readonly unknown[]>> = {
  addService: [new plait.Service()],
  removeService: [new plait.Service()],
  getServiceNamed: ['none'],
  setServiceParent: [new plait.MultiService()],
  setName: ['name'],
  write: ['x'],
  writeSequence: [['x']],
  writeToChild: [0, 'x'],
  closeChildFD: [0],
  signalProcess: ['KILL'],
  registerProducer: [producer, true],
  startTLS: [tls],
  switchProtocol: [new Protocol()],
  replaceProtocol: [new Protocol()],
  readExactly: [1],
  readUntil: ['x'],
  setTcpNoDelay: [true],
  setTcpKeepAlive: [true],
  sendLine: ['x'],
  sendString: ['x'],
  lineLengthExceeded: [Buffer.from('x')],
  lengthLimitExceeded: [10],
  dataReceived: [Buffer.from('x')],
  rawDataReceived: [Buffer.from('x')],
  lineReceived: [Buffer.from('x')],
  stringReceived: [Buffer.from('x')],
  connectionLost: [lost],
  connect: ['127.0.0.1', 9],
  reset: [1],
  delay: [1],
  callLater: [0, () => {}],
  callFromThread: [() => {}],
  callWhenRunning: [() => {}],
  cooperate: [[].values()],
  coiterate: [[].values()],
  spawn: [function* () {}],
  deferUntilLocked: [0],
  whenConnected: [],
  publish: [{ time: 0, level: 'info', namespace: 'x', format: 'x' }],
  emit: [{ time: 0, level: 'info', namespace: 'x', format: 'x' }],
  addObserver: [() => {}],
  removeObserver: [() => {}],
  put: [1],
  putWait: [1],
  run: [() => 1],
  adjustPoolsize: [1],
  callAllInThread: [[[Math.max, 1]]],
  callInThread: [Math.max, 1],
  callInThreadWithCallback: [() => {}, Math.max, 1],
  deferToThread: [Math.max, 1],
  advance: [0],
  pump: [[0]],
  hookFailed: ['dataReceived', lost],
  joinGroup: ['224.0.0.1'],
  leaveGroup: ['224.0.0.1'],
  setBroadcastAllowed: [false],
  setTTL: [1],
  setLoopbackMode: [true],
  setOutgoingInterface: ['127.0.0.1'],
  buildProtocol: [new plait.IPv4Address('TCP', '127.0.0.1', 1)],
  setTimeout: [null],
  addSystemEventTrigger: ['after', 'never', () => {}],
  removeSystemEventTrigger: [{}],
  fireSystemEvent: ['never'],
  removeSignalHandler: ['SIGUSR2'],
  allowFromThread: [{}],
  allowedFromThread: ['none'],
  suggestThreadPoolSize: [1],
  resolve: ['127.0.0.1'],
  failOnce: [],
  check: [Error],
  throwExceptionIntoGenerator: [(function* () {})()],
  startedConnecting: [connector],
  clientConnectionFailed: [connector, lost],
  clientConnectionLost: [connector, lost],
  trap: [Error],
  childDataReceived: [1, Buffer.from('x')],
  childConnectionLost: [1],
  processExited: [lost],
  processEnded: [lost],
};

/** Seams of plait's own, which its transports and wires call; and what would only begin something new. */
const NOT_CALLED =
  /^(?:constructor|bound|failed|received|refused|connectFailed|troubled|closed|begin|refuse|wire.*|producerFailed|finishIfSent|stopConsuming|readEnded|writeEnded|lost|add|remove|step|abandon|makeConnection|connectionMade|handshakeCompleted|listen[A-Z].*|connect[A-Z].*|adopt.*|spawn.*|standardIO|install.*|run|addSignalHandler|beginFileTransfer|start|literal|live|_.*|on|once|off|addListener|removeListener|removeAllListeners|emit(?:Destroy)?|runInAsyncScope|bind|asyncId|triggerAsyncId|pipe|unpipe|wrap|toArray|forEach|reduce|map|filter|flatMap|some|every|find|drop|take|compose|iterator)$/;

/** Methods of the class and its parents, up to those of the runtime. */
function membersOf(subject: object): string[] {
  const names = new Set<string>();
  for (
    let proto = Object.getPrototypeOf(subject) as object | null;
    proto !== null &&
    proto !== Object.prototype &&
    !/^(?:Duplex|Stream|Readable|AsyncResource|EventEmitter)$/.test(proto.constructor.name);
    proto = Object.getPrototypeOf(proto) as object | null
  )
    for (const name of Object.getOwnPropertyNames(proto)) names.add(name);
  return [...names].filter((name) => !NOT_CALLED.test(name));
}

const UNTYPED = /Cannot (?:read|set) prop|is not a function|is not iterable|of (?:undefined|null)/;

/** What came of it, in words: with `WRONG` where it is. */
function judged(error: unknown): string {
  if (!(error instanceof Error)) return `WRONG: ${String(error)}`;
  const untyped = error.name === 'TypeError' && UNTYPED.test(error.message);
  return `${untyped ? 'WRONG: ' : ''}${error.name}: ${error.message}`;
}

/** Turns; most of them of 5 ms, for what the system or another thread is to do. */
const LATER = 300;

async function outcomeOf(value: unknown): Promise<string> {
  if (!(value instanceof Deferred) && !(value instanceof Promise)) return 'a value';
  const done = value instanceof Deferred ? value.asPromise() : (value as Promise<unknown>);
  let said: string | undefined;
  done.then(
    () => (said = 'fires'),
    (error: unknown) => (said = judged(error)),
  );
  for (let turns = 0; said === undefined && turns < LATER; turns++)
    await new Promise((resolve) => setTimeout(resolve, turns < 50 ? 0 : 5));
  if (said === undefined && value instanceof Deferred) value.cancel();
  return said ?? 'WRONG: never fires';
}

/** Calls everything, in this order or the reverse one; returns what came of it. */
async function callAll(subject: object, order: 1 | -1): Promise<Record<string, string>> {
  const outcomes: Record<string, string> = {};
  const members = membersOf(subject).sort();
  if (order < 0) members.reverse();
  for (const name of members) {
    let outcome: string;
    try {
      const member = (subject as Record<string, unknown>)[name];
      const value: unknown =
        typeof member === 'function'
          ? Reflect.apply(member, subject, ARGUMENTS[name] ?? [])
          : member;
      outcome = await outcomeOf(value);
    } catch (error) {
      outcome = judged(error);
    }
    outcomes[name] = outcome;
  }
  return outcomes;
}

/** Leaves out a method that would only begin something new. */
function without(subject: object, name: string): object {
  return Object.defineProperty(subject, name, { value: undefined });
}

/** By name: what makes a subject, and lets go what it stands for. What is to be tidied is left to `t.teardown`. */
const SUBJECTS: Record<string, (t: Test) => Promise<object> | object> = {};

/** Both ends of a connection, how it was made, and how it went. */
const ENDS: Record<string, (here: plait.ITransport, there: plait.ITransport) => void> = {
  closed: (here) => here.loseConnection(),
  'closed by the peer': (_, there) => there.loseConnection(),
  aborted: (here) => here.abortConnection(),
  'reset by the peer': (_, there) => there.abortConnection(),
};

class Ends extends Protocol {
  readonly made = new Deferred<plait.ITransport>();
  readonly gone = new Deferred<void>();
  override connectionMade(): void {
    this.made.callback(this.transport);
  }
  override connectionLost(): void {
    this.gone.callback();
  }
}

type Made = { port: plait.IListeningPort; connector: plait.IConnector; here: Ends; there: Ends };

function portOf(port: plait.IListeningPort): number {
  return (port.getHost() as { readonly port: number }).port;
}

async function connected(t: Test, kind: string): Promise<Made> {
  const reactor = new Reactor();
  const here = new Ends();
  const there = new Ends();
  const server = new Factory();
  server.buildProtocol = () => there;
  const client = new plait.ClientFactory();
  client.buildProtocol = () => here;
  server.noisy = client.noisy = false;
  let port: plait.IListeningPort;
  let connector: plait.IConnector;
  if (kind === 'unix') {
    const folder = mkdtempSync(join(tmpdir(), 'plait-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    port = reactor.listenUNIX(join(folder, 's'), server);
    await port.ready;
    connector = reactor.connectUNIX(join(folder, 's'), client);
  } else if (kind === 'tls') {
    port = reactor.listenSSL(0, server, certificates.server.options, LOCAL);
    await port.ready;
    const number = portOf(port);
    connector = reactor.connectSSL('127.0.0.1', number, client, tls);
  } else {
    port = reactor.listenTCP(0, server, LOCAL);
    await port.ready;
    connector = reactor.connectTCP('127.0.0.1', portOf(port), client);
  }
  t.teardown(() => port.stopListening().asPromise());
  await here.made;
  await there.made;
  return { port, connector, here, there };
}

for (const kind of ['tcp', 'unix', 'tls'])
  for (const [how, end] of Object.entries(ENDS)) {
    SUBJECTS[`${kind}: a transport, ${how}`] = async (t) => {
      const { here, there } = await connected(t, kind);
      end(here.transport, there.transport);
      await here.gone;
      await there.gone;
      return here.transport;
    };
  }

Object.assign(SUBJECTS, {
  'a connector whose connection is lost': async (t: Test) => {
    const { connector, here } = await connected(t, 'tcp');
    here.transport.loseConnection();
    await here.gone;
    return without(connector, 'connect');
  },
  'a port that is closed': async (t: Test) => {
    const { port, here } = await connected(t, 'tcp');
    here.transport.loseConnection();
    await here.gone;
    await port.stopListening();
    return port;
  },
  'a port whose UNIX path was unlinked': async (t: Test) => {
    const reactor = new Reactor();
    const folder = mkdtempSync(join(tmpdir(), 'plait-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const port = reactor.listenUNIX(join(folder, 's'), Factory.forProtocol(Protocol));
    await port.ready;
    unlinkSync(join(folder, 's'));
    return port;
  },
  'a port that could not be bound': async () => {
    const reactor = new Reactor();
    const port = reactor.listenUNIX('/nonexistent/s', Factory.forProtocol(Protocol));
    await port.ready.addErrback(() => {});
    return port;
  },
  'a UDP port that is closed': async () => {
    const reactor = new Reactor();
    const port = reactor.listenUDP(0, new plait.DatagramProtocol(), LOCAL);
    await port.ready;
    await port.stopListening();
    return port;
  },
  'a process that has ended': async () => {
    const ended = new Deferred<void>();
    class Child extends plait.ProcessProtocol {
      override processEnded(): void {
        ended.callback();
      }
    }
    const process = new Reactor().spawnProcess(new Child(), '/bin/true', { args: ['true'] });
    await ended;
    return process;
  },
  'a process that could not be started': async () => {
    const ended = new Deferred<void>();
    class Child extends plait.ProcessProtocol {
      override processEnded(): void {
        ended.callback();
      }
    }
    const process = new Reactor().spawnProcess(new Child(), '/nonexistent', { args: ['none'] });
    await ended;
    return process;
  },
  'a Connection that is closed': async (t: Test) => {
    const { connection, there } = await connection_(t);
    connection.close().addErrback(() => {});
    await there.gone;
    await connection.closed.addErrback(() => {});
    return connection;
  },
  'a Connection that is aborted by the peer': async (t: Test) => {
    const { connection, there } = await connection_(t);
    there.transport.abortConnection();
    await connection.closed.addErrback(() => {});
    return connection;
  },
  'a pool that was never started': () => new plait.ThreadPool({ reactor: new Reactor(), max: 1 }),
  'a stopped pool': async () => {
    const pool = new plait.ThreadPool({ reactor: new Reactor(), max: 1 });
    pool.start();
    await pool.stop();
    return pool;
  },
  'a stopped Service': () => stopped(new plait.Service()),
  'a stopped MultiService': () => stopped(new plait.MultiService()),
  'a stopped TimerService': () => {
    const service = new plait.TimerService(1, () => {});
    service.clock = new Clock();
    return stopped(service);
  },
  'a stopped StreamServerEndpointService': (t: Test) => {
    const endpoint = new plait.TCP4ServerEndpoint(new Reactor(), 0, LOCAL);
    const factory = Factory.forProtocol(Protocol);
    const service = new plait.StreamServerEndpointService(endpoint, factory);
    t.teardown(() => service.stopService().asPromise());
    // It waits for the next start.
    return stopped(without(service, 'whenListening') as plait.Service);
  },
  'a stopped ClientService': () => {
    const endpoint = { connect: () => new Deferred<never>() };
    return stopped(
      new plait.ClientService(endpoint, Factory.forProtocol(Protocol), { clock: new Clock() }),
    );
  },
  'a stopped CooperatorService': () => stopped(new plait.CooperatorService()),
  'a task that is done': async () => {
    const task = plait.cooperate([].values());
    await task.whenDone();
    return task;
  },
  'a task that was stopped': () => {
    const task = plait.cooperate([1, 2].values());
    task.stop();
    return task;
  },
  'a stopped Cooperator': () => {
    const cooperator = new plait.Cooperator({
      scheduler: (turn) => new Clock().callLater(0, turn),
    });
    cooperator.stop();
    return cooperator;
  },
  'a call that was made': () => {
    const clock = new Clock();
    const call = clock.callLater(1, () => {});
    clock.advance(1);
    return call;
  },
  'a call that was cancelled': () => {
    const call = new Clock().callLater(1, () => {});
    call.cancel();
    return call;
  },
  'a LoopingCall that has ended': () => {
    const loop = new plait.LoopingCall(() => {});
    loop.clock = new Clock();
    loop.start(1).addErrback(() => {});
    loop.stop();
    return loop;
  },
  'a LoopingCall that was never started': () => {
    const loop = new plait.LoopingCall(() => {});
    loop.clock = new Clock();
    return loop;
  },
  'a scope that is over': async () => {
    let kept: plait.Scope | undefined;
    await plait.scope(function* (scope) {
      kept = scope;
      yield* succeed(1);
    });
    return kept as plait.Scope;
  },
  'a FileSender whose file was closed': async () => {
    const sender = new plait.FileSender();
    const file = await open('/dev/null');
    await file.close();
    const transport = new StringTransport();
    const sent = sender.beginFileTransfer(file, transport);
    sender.resumeProducing();
    await sent.addErrback(() => {});
    return sender;
  },
  'a FileSender that sends nothing': () => new plait.FileSender(),
  'a proxy whose consumer is gone': () => {
    const proxy = new plait.ProducerConsumerProxy(new StringTransport());
    proxy.stopProducing();
    return proxy;
  },
  'a basic proxy whose consumer is gone': () => {
    const proxy = new plait.BasicProducerConsumerProxy(new StringTransport());
    proxy.stopProducing();
    return proxy;
  },
  'a consumer whose protocol is not connected': () =>
    new plait.ProtocolToConsumerAdapter(new Protocol()),
  'a protocol without a consumer': () => new plait.ConsumerToProtocolAdapter(new StringTransport()),
  'a lock of files that was taken away': () => {
    const path = join(mkdtempSync(join(tmpdir(), 'plait-')), 'lock');
    const lock = new plait.DeferredFilesystemLock(path);
    lock.lock();
    rmSync(join(path, '..'), { recursive: true });
    return lock;
  },
  'a closed log file': async (t: Test) => {
    const observer = plait.textFileLogObserver(join(t.testdir({}), 'log'));
    await observer.close();
    return observer;
  },
  'an EventLoggingObserver that has stopped': () => {
    const observer = new EventLoggingObserver(new plait.LogPublisher());
    observer.stop();
    return observer;
  },
  'a publisher without observers': () => new plait.LogPublisher(),
  'a broken barrier': () => {
    const barrier = new plait.DeferredBarrier(2);
    barrier.abort();
    return without(barrier, 'reset');
  },
  'a queue that was shut down': () => {
    const queue = new plait.DeferredQueue<number>();
    queue.shutdown();
    return queue;
  },
  'a ReconnectingClientFactory that has stopped': () => {
    const factory = new (class extends plait.ReconnectingClientFactory {
      override protocol = Protocol;
    })();
    factory.clock = new Clock();
    factory.stopTrying();
    return factory;
  },
  'a StringTransport that is aborted': () => {
    const transport = new StringTransport();
    transport.abortConnection();
    return transport;
  },
  'a StringTransport that is disconnected': () => {
    const transport = new StringTransportWithDisconnection();
    transport.protocol = new Protocol();
    transport.protocol.makeConnection(transport);
    transport.loseConnection();
    return transport;
  },
  'a StringTransport without a protocol': () => new StringTransportWithDisconnection(),
  'a simulated pair that is lost': () => {
    const { client, pump } = connectedServerAndClient(
      Factory.forProtocol(Protocol),
      Factory.forProtocol(Protocol),
    );
    client.transport.loseConnection();
    pump.flush();
    return client.transport;
  },
  'the pump of a pair that is lost': () => {
    const { client, pump } = connectedServerAndClient(
      Factory.forProtocol(Protocol),
      Factory.forProtocol(Protocol),
    );
    client.transport.loseConnection();
    pump.flush();
    return pump;
  },
  'a duplex whose connection is lost': async (t: Test) => {
    const { duplex, there } = await duplex_(t);
    there.transport.abortConnection();
    await new Promise((resolve) => duplex.once('close', resolve));
    return duplex;
  },
  'a reactor that has stopped': async () => {
    const reactor = new Reactor();
    const over = reactor.run({ installSignalHandlers: false });
    reactor.callWhenRunning(() => reactor.stop());
    await over;
    return reactor;
  },
  'a MemoryReactor that has stopped': async () => {
    const reactor = new MemoryReactor();
    const over = reactor.run();
    reactor.callWhenRunning(() => reactor.stop());
    reactor.flush();
    await over;
    return reactor;
  },
  'a reactor that has not run': () => new Reactor(),
  'a MemoryProcess that has ended': () => {
    const reactor = new MemoryReactor();
    reactor.spawnProcess(new plait.ProcessProtocol(), '/bin/x', { args: ['x'] });
    reactor.flush();
    const process = reactor.processes[0]?.child as MemoryProcess;
    process.exit();
    reactor.flush();
    return process;
  },
  'a completer without attempts': () => new ConnectionCompleter(new MemoryReactor()),
  'a datagram transport that is closed': async () => {
    const transport = new FakeDatagramTransport();
    await transport.stopListening();
    return transport;
  },
  'a Failure': () => new plait.Failure(new Error('x')),
  'a ProcessProtocol that was never started': () => new plait.ProcessProtocol(),
  'a DatagramProtocol that was never started': () => new plait.DatagramProtocol(),
  'an AcceptableCiphers': () => plait.AcceptableCiphers.fromOpenSSLCipherString('HIGH'),
  'a half-closed transport': async (t: Test) => {
    const { here, there } = await connected(t, 'tcp');
    here.transport.loseWriteConnection();
    there.transport.loseWriteConnection();
    await here.gone;
    return here.transport;
  },
  'an AsyncResult that has its value': () => {
    const result = new plait.AsyncResult<number>();
    result.set(1);
    return result;
  },
  'a line receiver that was never connected': () =>
    new (class extends LineReceiver {
      lineReceived(): void {}
    })(),
  'a receiver of lines only that was never connected': () =>
    new (class extends LineOnlyReceiver {
      lineReceived(): void {}
    })(),
  'a wrapper that was never connected': () =>
    new ProtocolWrapper(new WrappingFactory(Factory.forProtocol(Protocol)), new Protocol()),
  'a wrapper whose connection is lost': () => {
    const factory = new ThrottlingFactory(Factory.forProtocol(Protocol), { clock: new Clock() });
    const wrapper = factory.buildProtocol(new plait.IPv4Address('TCP', '127.0.0.1', 1));
    const transport = new StringTransportWithDisconnection();
    transport.protocol = wrapper as ProtocolWrapper;
    void wrapper?.makeConnection(transport);
    transport.loseConnection();
    return wrapper as ProtocolWrapper;
  },
  'a protocol with a timeout that was never connected': () =>
    new (class extends TimeoutMixin(Protocol) {
      callLater = new Clock().callLater.bind(new Clock());
    })(),
  'a TLS wrapper that was never connected': () =>
    new plait.TLSMemoryBIOFactory(tls, true, Factory.forProtocol(Protocol)).buildProtocol(
      new plait.IPv4Address('TCP', '127.0.0.1', 1),
    ) as object,
});

function stopped(service: plait.Service): Promise<plait.Service> {
  service.startService();
  return service
    .stopService()
    .addCallback(() => service)
    .asPromise();
}

async function connection_(t: Test): Promise<{ connection: plait.Connection; there: Ends }> {
  const reactor = new Reactor();
  const there = new Ends();
  const server = new Factory();
  server.noisy = false;
  server.buildProtocol = () => there;
  const port = reactor.listenTCP(0, server, LOCAL);
  await port.ready;
  t.teardown(() => port.stopListening().asPromise());
  const number = portOf(port);
  const endpoint = new plait.TCP4ClientEndpoint(reactor, '127.0.0.1', number);
  const connection = await plait.Connection.connect(endpoint);
  await there.made;
  return { connection, there };
}

async function duplex_(t: Test): Promise<{ duplex: plait.TransportDuplex; there: Ends }> {
  const reactor = new Reactor();
  const there = new Ends();
  const server = new Factory();
  server.noisy = false;
  server.buildProtocol = () => there;
  const port = reactor.listenTCP(0, server, LOCAL);
  await port.ready;
  t.teardown(() => port.stopListening().asPromise());
  const number = portOf(port);
  const endpoint = new plait.TCP4ClientEndpoint(reactor, '127.0.0.1', number);
  const duplex = await plait.connectDuplex(endpoint);
  duplex.on('error', () => {});
  duplex.resume();
  await there.made;
  return { duplex, there };
}

for (const [name, make] of Object.entries(SUBJECTS))
  t.test(`${name}: nothing, a value, or an error that says so`, async (t) => {
    for (const order of [1, -1] as const) {
      const outcomes = await callAll(await make(t), order);
      const wrong = Object.entries(outcomes).filter(([, outcome]) => outcome.startsWith('WRONG'));
      t.strictSame(wrong, []);
    }
    await new Promise((resolve) => setImmediate(resolve));
    flushLoggedErrors();
  });

t.test('a protocol that has never been connected says so, and does nothing', (t) => {
  class Lines extends LineReceiver {
    lines: string[] = [];
    lineReceived(line: Buffer): void {
      this.lines.push(String(line));
    }
  }
  const lines = new Lines();
  t.throws(() => lines.pauseProducing(), {
    name: 'NotConnectedError',
    message: 'Lines is not connected: it has no transport',
  });
  t.equal(lines.paused, false);
  t.throws(() => lines.stopProducing(), { name: 'NotConnectedError' });
  t.equal(lines.paused, false);
  void lines.dataReceived(Buffer.from('still tried out without one\r\n'));
  t.same(lines.lines, ['still tried out without one']);
  const factory = new WrappingFactory(Factory.forProtocol(Protocol));
  const wrapper = new ProtocolWrapper(factory, new Protocol());
  t.match(wrapper, { connected: false, disconnecting: false, bufferedBytes: 0 });
  t.throws(() => wrapper.write('x'), {
    name: 'NotConnectedError',
    message: 'ProtocolWrapper is not connected: it has no transport',
  });
  t.end();
});

t.test(
  'a DuplexProtocol whose connectionMade failed before there was a stream hears of the end',
  (t) => {
    class Failing extends plait.DuplexProtocol {
      override connectionMade(): void {
        throw new Error('too early');
      }
    }
    const failing = new Failing();
    const transport = new StringTransport();
    t.throws(() => failing.makeConnection(transport), /too early/);
    failing.connectionLost(lost);
    t.end();
  },
);
