/**
 * More hooks than `functions.test.ts` has, over connections, datagrams and processes: each may be any kind of function,
 * is called, and what it fails with is logged once, as if it had been thrown.
 */
import {
  type Address,
  BasicProducerConsumerProxy,
  ClientFactory,
  ConnectError,
  connectProtocol,
  ConsumerToProtocolAdapter,
  DatagramProtocol,
  DuplexProtocol,
  Factory,
  type Failure,
  formatEvent,
  globalLogPublisher,
  type HookResult,
  HostnameEndpoint,
  type IConsumer,
  IPv4Address,
  type LogEvent,
  Deferred,
  maybeDeferred,
  ProcessEndpoint,
  ProcessProtocol,
  Protocol,
  ProtocolToConsumerAdapter,
  Reactor,
  succeed,
} from 'plait';
import { LineOnlyReceiver, LineReceiver } from 'plait/protocols/basic';
import { ThrottlingFactory, WrappingFactory } from 'plait/protocols/policies';
import {
  Clock,
  connectedServerAndClient,
  flushLoggedErrors,
  MemoryReactor,
  Simulation,
  StringTransport,
} from 'plait/testing';
import { inet } from '../contract/kinds.ts';
import { CLIENT, SERVER } from '../contract/tls-kind.ts';
import t from '../fixture.ts';
import type { DatagramEvents, DatagramSocket, DatagramTarget } from '../../lib/io/io.ts';
import { NodeIO } from '../../lib/io/node.ts';

type Fn = () => HookResult;

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
  'bound generator': (body) =>
    function* (this: unknown) {
      yield* succeed();
      body();
    }.bind(undefined),
  'returns a Deferred': (body) => () => succeed().addCallback(body),
  'returns a promise': (body) => () => Promise.resolve().then(body),
};

function consumer(write: Fn): IConsumer {
  return Object.assign({ registerProducer() {}, unregisterProducer() {} }, { write });
}

async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** A server with `hooks`, connected in memory with a client. */
function connected(hooks: Readonly<Record<string, Fn>>) {
  const protocol = Object.assign(new Protocol(), hooks);
  return connectedServerAndClient({ buildProtocol: () => protocol }, Protocol);
}

/** A wrapper with `wrapper` as its hooks, around a protocol that has `inner`, connected in memory. */
function wrapped(inner: Readonly<Record<string, Fn>>, wrapper: Readonly<Record<string, Fn>>): void {
  const factory = Factory.forProtocol(Protocol);
  factory.buildProtocol = () => Object.assign(new Protocol(), inner);
  const wrapping = new WrappingFactory(factory);
  const buildProtocol = (address: Address) => {
    const built = wrapping.buildProtocol(address);
    return built === null ? null : Object.assign(built, wrapper);
  };
  connectedServerAndClient({ buildProtocol }, Protocol).pump.flush();
}

const nothing = (): void => {};

function producer(hook: string, fn: Fn) {
  const all = { pauseProducing: nothing, resumeProducing: nothing, stopProducing: nothing };
  return { ...all, [hook]: fn };
}

const lineReceiver = (hooks: Readonly<Record<string, unknown>>): LineReceiver => {
  const protocol = Object.assign(
    new (class extends LineReceiver {
      override lineReceived(): void {}
    })(),
    hooks,
  );
  protocol.makeConnection(new StringTransport());
  return protocol;
};

/** Connects by TCP where no port listens, or where one does that hangs up at once. */
function connecting(hook: string, fn: Fn, listens: boolean): void {
  const sim = new Simulation({ seed: 1, conditions: 'calm' });
  const server = sim.host('server').reactor;
  const hangUp = new Factory();
  hangUp.buildProtocol = () =>
    Object.assign(new Protocol(), {
      connectionMade(this: Protocol) {
        this.transport.loseConnection();
      },
    });
  const port = listens ? server.listenTCP(80, hangUp) : undefined;
  const factory = Object.assign(ClientFactory.forProtocol(Protocol), { [hook]: fn });
  sim.host('client').reactor.connectTCP('server', 80, factory);
  sim.advance(60);
  void port?.stopListening();
  sim.advance(60);
}

function udp(hook: string, fn: Fn): void {
  const sim = new Simulation({ seed: 1, conditions: 'calm' });
  const protocol = Object.assign(new DatagramProtocol(), { [hook]: fn });
  const port = sim.host('b').reactor.listenUDP(53, protocol);
  port.ready.addErrback(() => {}); // else what fails in startProtocol would end the program
  const other = new DatagramProtocol();
  const away = sim.host('a').reactor.listenUDP(0, other);
  sim.advance(1);
  const [host] = sim.host('b').addresses;
  if (hook === 'datagramReceived') other.transport.write('x', { host, port: 53 });
  sim.advance(1);
  void port.stopListening();
  void away.stopListening();
  sim.advance(1);
}

/** A connected port whose socket has the trouble that `make` gives it. */
async function troubled(
  hook: string,
  fn: Fn,
  make: (events: DatagramEvents) => void,
): Promise<void> {
  class Scripted extends NodeIO {
    events!: DatagramEvents;
    override datagram(_target: DatagramTarget, events: DatagramEvents): DatagramSocket {
      this.events = events;
      return {
        bufferedBytes: 0,
        send: nothing,
        connect: nothing,
        setBroadcast: nothing,
        joinGroup: nothing,
        leaveGroup: nothing,
        setMulticastTTL: nothing,
        setMulticastLoopback: nothing,
        setMulticastInterface: nothing,
        close: () => setImmediate(() => events.closed()),
      };
    }
  }
  const io = new Scripted();
  const protocol = Object.assign(new DatagramProtocol(), { [hook]: fn });
  const port = new Reactor({ io }).listenUDP(0, protocol);
  io.events.bound(new IPv4Address('UDP', '127.0.0.1', 7));
  port.connect('127.0.0.1', 9);
  make(io.events);
  // What a port hears once it is closed comes to nobody.
  await settle();
  await port.stopListening();
}

/** Connects by TLS, with `fn` as a hook of the client's; the server hangs up. */
async function secured(hook: string, fn: Fn): Promise<void> {
  const reactor = new Reactor();
  const hangUp = new Factory();
  hangUp.buildProtocol = () =>
    Object.assign(new Protocol(), {
      handshakeCompleted(this: Protocol) {
        this.transport.loseConnection();
      },
    });
  const port = reactor.listenSSL(0, hangUp, SERVER, { interface: '127.0.0.1' });
  await port.ready;
  const over = new Deferred<void>();
  const protocol = Object.assign(new Protocol(), {
    [hook]: fn,
    connectionLost: () => over.callback(),
  });
  const factory = new ClientFactory();
  factory.buildProtocol = () => protocol;
  reactor.connectSSL('127.0.0.1', inet(port.getHost()).port, factory, CLIENT);
  await over;
  await port.stopListening({ connections: 'abort' });
}

/** Connects to a name: to a server that hangs up, or where no port listens. */
async function byName(hook: string, fn: Fn, listens: boolean): Promise<void> {
  const sim = new Simulation({ seed: 1, conditions: 'calm' });
  const hangUp = new Factory();
  hangUp.buildProtocol = () =>
    Object.assign(new Protocol(), {
      connectionMade(this: Protocol) {
        this.transport.loseConnection();
      },
    });
  const port = listens ? sim.host('server').reactor.listenTCP(80, hangUp) : undefined;
  sim.host('server');
  const factory = Object.assign(Factory.forProtocol(Protocol), { [hook]: fn });
  const endpoint = new HostnameEndpoint(sim.host('client').reactor, 'server', 80);
  const connecting = endpoint.connect(factory).addErrback((failure) => failure.trap(ConnectError));
  sim.advance(60);
  void port?.stopListening();
  sim.advance(60);
  await connecting;
}

/** Feeds a throttled connection, which first has no room, and then has. */
function throttled(hook: string, fn: Fn): void {
  const clock = new Clock();
  const inner = Factory.forProtocol(Protocol);
  const factory = new ThrottlingFactory(inner, { clock, writeLimit: 10 });
  const wrapper = factory.buildProtocol(new IPv4Address('TCP', '127.0.0.1', 1));
  const transport = new StringTransport();
  wrapper?.makeConnection(transport);
  wrapper?.registerProducer(producer(hook, fn), true);
  wrapper?.write(Buffer.alloc(10));
  clock.advance(1);
  transport.producer?.stopProducing();
}

/** Talks to a program that prints something, and reads all that it is sent. */
async function conversed(hook: string, fn: Fn): Promise<void> {
  const over = new Deferred<void>();
  const protocol = Object.assign(new Protocol(), {
    readConnectionLost: nothing,
    writeConnectionLost: nothing,
    connectionLost: () => over.callback(),
  });
  if (hook === 'connectionLost')
    protocol.connectionLost = () => {
      over.callback();
      return fn() as never;
    };
  else Object.assign(protocol, { [hook]: fn });
  const args = ['sh', '-c', 'echo out'];
  await connectProtocol(new ProcessEndpoint(new Reactor(), '/bin/sh', { args }), protocol);
  await over;
}

/** Runs a program that prints something; all of its hooks but this one do nothing. */
async function spawned(hook: string, fn: Fn): Promise<void> {
  const reactor = new Reactor();
  const over = new Deferred<void>();
  class Child extends ProcessProtocol {
    override processEnded(): HookResult {
      over.callback();
      return hook === 'processEnded' ? fn() : undefined;
    }
  }
  const child = new Child();
  if (hook !== 'processEnded') Object.assign(child, { [hook]: fn });
  reactor.spawnProcess(child, '/bin/sh', {
    args: ['sh', '-c', 'echo out; echo err >&2'],
  });
  await over;
}

async function stopped(phase: 'before' | 'during' | 'after', fn: Fn): Promise<void> {
  const reactor = new MemoryReactor();
  reactor.addSystemEventTrigger(phase, 'shutdown', fn);
  const over = reactor.run();
  reactor.stop();
  for (let i = 0; i < 5; i++) {
    reactor.flush();
    await settle();
  }
  await over;
}

/** Calls `fn`; what it fails with is logged as what is given. */
const HOOKS: Readonly<Record<string, { call: (fn: Fn) => unknown; logged: RegExp }>> = {
  rawDataReceived: {
    logged: /^rawDataReceived failed/,
    call(fn) {
      const protocol = lineReceiver({ rawDataReceived: fn });
      protocol.setRawMode();
      protocol.dataReceived(Buffer.from('x'));
    },
  },
  lineLengthExceeded: {
    logged: /^lineLengthExceeded failed/,
    call: (fn) =>
      lineReceiver({ lineLengthExceeded: fn, maxLength: 2 }).dataReceived(Buffer.from('too long')),
  },
  'lineReceived of a LineOnlyReceiver': {
    logged: /^lineReceived failed/,
    call(fn) {
      const protocol = Object.assign(
        new (class extends LineOnlyReceiver {
          override lineReceived(): void {}
        })(),
        { lineReceived: fn },
      );
      protocol.makeConnection(new StringTransport());
      protocol.dataReceived(Buffer.from('x\r\n'));
    },
  },
  makeConnection: {
    logged: /^makeConnection failed/,
    call: (fn) => connected({ makeConnection: fn }).pump.flush(),
  },
  'makeConnection within a wrapper': {
    logged: /^makeConnection failed/,
    call: (fn) => wrapped({ makeConnection: fn }, {}),
  },
  'connectionMade of a wrapper': {
    logged: /^makeConnection failed/,
    call: (fn) => wrapped({}, { connectionMade: fn }),
  },
  'makeConnection of a datagram protocol': {
    logged: /^startProtocol failed/,
    call: (fn) => udp('makeConnection', fn),
  },
  readConnectionLost: {
    logged: /^readConnectionLost failed/,
    call(fn) {
      const { client, pump } = connected({ readConnectionLost: fn, writeConnectionLost: nothing });
      (client.transport as never as { loseWriteConnection(): void }).loseWriteConnection();
      pump.flush();
    },
  },
  writeConnectionLost: {
    logged: /^writeConnectionLost failed/,
    call(fn) {
      const { server, pump } = connected({ readConnectionLost: nothing, writeConnectionLost: fn });
      (server.transport as never as { loseWriteConnection(): void }).loseWriteConnection();
      pump.flush();
    },
  },
  connectionDraining: {
    logged: /^connectionDraining failed/,
    call(fn) {
      const { server, pump } = connected({ connectionDraining: fn });
      (server.transport as never as { drain(): void }).drain();
      pump.flush();
    },
  },
  pauseProducing: {
    logged: /^pauseProducing failed/,
    call(fn) {
      const { server, pump } = connected({});
      server.transport.registerProducer(producer('pauseProducing', fn), true);
      server.transport.write(Buffer.alloc(1_000_000));
      pump.flush();
      server.transport.abortConnection();
      pump.flush();
    },
  },
  resumeProducing: {
    logged: /^resumeProducing failed/,
    call(fn) {
      const { server, pump } = connected({});
      server.transport.registerProducer(producer('resumeProducing', fn), true);
      server.transport.write(Buffer.alloc(1_000_000));
      pump.flush();
      server.transport.abortConnection();
      pump.flush();
    },
  },
  stopProducing: {
    logged: /^stopProducing failed/,
    call(fn) {
      const { server, pump } = connected({});
      server.transport.registerProducer(producer('stopProducing', fn), true);
      server.transport.abortConnection();
      pump.flush();
    },
  },
  startedConnecting: {
    logged: /^startedConnecting failed/,
    call: (fn) => connecting('startedConnecting', fn, true),
  },
  clientConnectionFailed: {
    logged: /^clientConnectionFailed failed/,
    call: (fn) => connecting('clientConnectionFailed', fn, false),
  },
  clientConnectionLost: {
    logged: /^clientConnectionLost failed/,
    call: (fn) => connecting('clientConnectionLost', fn, true),
  },
  startProtocol: { logged: /^startProtocol failed/, call: (fn) => udp('startProtocol', fn) },
  datagramReceived: {
    logged: /^datagramReceived failed/,
    call: (fn) => udp('datagramReceived', fn),
  },
  outReceived: { logged: /^dataReceived failed/, call: (fn) => spawned('outReceived', fn) },
  errReceived: { logged: /^dataReceived failed/, call: (fn) => spawned('errReceived', fn) },
  outConnectionLost: {
    logged: /^childConnectionLost failed/,
    call: (fn) => spawned('outConnectionLost', fn),
  },
  errConnectionLost: {
    logged: /^childConnectionLost failed/,
    call: (fn) => spawned('errConnectionLost', fn),
  },
  inConnectionLost: {
    logged: /^childConnectionLost failed/,
    call: (fn) => spawned('inConnectionLost', fn),
  },
  processExited: { logged: /^processExited failed/, call: (fn) => spawned('processExited', fn) },
  processEnded: { logged: /^processEnded failed/, call: (fn) => spawned('processEnded', fn) },
  'connectionMade of a process': {
    logged: /^makeConnection failed/,
    call: (fn) => spawned('connectionMade', fn),
  },
  'connectionRefused of a datagram protocol': {
    logged: /^connectionRefused failed/,
    call: (fn) => troubled('connectionRefused', fn, (events) => events.refused()),
  },
  'connectionFailed of a datagram protocol': {
    logged: /^connectionFailed failed/,
    call: (fn) =>
      troubled('connectionFailed', fn, (events) => events.connectFailed(new Error('no'))),
  },
  'errorReceived of a datagram protocol': {
    logged: /^errorReceived failed/,
    call: (fn) => troubled('errorReceived', fn, (events) => events.troubled(new Error('no'))),
  },
  handshakeCompleted: {
    logged: /^handshakeCompleted failed/,
    call: (fn) => secured('handshakeCompleted', fn),
  },
  'startFactory of a client': {
    logged: /^startFactory failed/,
    call: (fn) => connecting('startFactory', fn, true),
  },
  'startFactory of what connects to a name': {
    logged: /^startFactory failed/,
    call: (fn) => byName('startFactory', fn, true),
  },
  'stopFactory of what was connected to a name': {
    logged: /^stopFactory failed/,
    call: (fn) => byName('stopFactory', fn, true),
  },
  'stopFactory of what could not be connected to a name': {
    logged: /^stopFactory failed/,
    call: (fn) => byName('stopFactory', fn, false),
  },
  'pauseProducing of what is throttled': {
    logged: /^(pauseProducing failed|a producer could not be throttled)/,
    call: (fn) => throttled('pauseProducing', fn),
  },
  'resumeProducing of what is throttled': {
    logged: /^(resumeProducing failed|a producer could not be throttled)/,
    call: (fn) => throttled('resumeProducing', fn),
  },
  'stopProducing of what is throttled': {
    logged: /^stopProducing failed/,
    call: (fn) => throttled('stopProducing', fn),
  },
  streamMade: {
    logged: /^(streamMade|makeConnection) failed/,
    call(fn) {
      const protocol = Object.assign(new DuplexProtocol(), {
        streamMade(this: DuplexProtocol) {
          this.duplex.on('error', nothing);
          return fn();
        },
      });
      const buildProtocol = () => protocol;
      connectedServerAndClient({ buildProtocol }, Protocol).pump.flush();
    },
  },
  'stopProducing behind a proxy': {
    logged: /^stopProducing failed/,
    call(fn) {
      const proxy = new BasicProducerConsumerProxy(new StringTransport());
      proxy.registerProducer(producer('stopProducing', fn), true);
      proxy.stopProducing();
    },
  },
  'stopProducing of what comes to a proxy too late': {
    logged: /^stopProducing failed/,
    call(fn) {
      const proxy = new BasicProducerConsumerProxy(new StringTransport());
      proxy.stopProducing();
      proxy.registerProducer(producer('stopProducing', fn), true);
    },
  },
  'pauseProducing behind a proxy': {
    logged: /^pauseProducing failed/,
    call(fn) {
      const proxy = new BasicProducerConsumerProxy(new StringTransport());
      proxy.registerProducer(producer('pauseProducing', fn), true);
      proxy.pauseProducing();
    },
  },
  'write of a consumer behind a proxy': {
    logged: /^write failed/,
    call: (fn) => new BasicProducerConsumerProxy(consumer(fn)).write('x'),
  },
  'write of a consumer that was paused': {
    logged: /^write failed/,
    call(fn) {
      const proxy = new BasicProducerConsumerProxy(consumer(fn));
      proxy.pauseProducing();
      proxy.write('x');
      proxy.resumeProducing();
    },
  },
  'write of a consumer as a protocol': {
    logged: /^dataReceived failed/,
    async call(fn) {
      const { client, pump } = connectedServerAndClient(
        { buildProtocol: () => new ConsumerToProtocolAdapter(consumer(fn)) },
        Protocol,
      );
      client.transport.write('x');
      pump.flush();
      await settle();
      pump.flush();
    },
  },
  'dataReceived of a protocol as a consumer': {
    logged: /^dataReceived failed/,
    call(fn) {
      const protocol = Object.assign(new Protocol(), { dataReceived: fn });
      protocol.makeConnection(new StringTransport());
      new ProtocolToConsumerAdapter(protocol).write('x');
    },
  },
  'resumeProducing of what feeds a protocol': {
    logged: /^resumeProducing failed/,
    call: (fn) =>
      new ProtocolToConsumerAdapter(new Protocol()).registerProducer(
        producer('resumeProducing', fn),
        false,
      ),
  },
  'makeConnection over a process': {
    logged: /^makeConnection failed/,
    call: (fn) => conversed('makeConnection', fn),
  },
  'dataReceived over a process': {
    logged: /^(childD|d)ataReceived failed/,
    call: (fn) => conversed('dataReceived', fn),
  },
  'readConnectionLost over a process': {
    logged: /^(readConnectionLost|childConnectionLost) failed/,
    call: (fn) => conversed('readConnectionLost', fn),
  },
  'writeConnectionLost over a process': {
    logged: /^(writeConnectionLost|childConnectionLost) failed/,
    call: (fn) => conversed('writeConnectionLost', fn),
  },
  'connectionLost over a process': {
    logged: /^(connectionLost|processEnded) failed/,
    call: (fn) => conversed('connectionLost', fn),
  },
  'a trigger before shutdown': { logged: /failed/, call: (fn) => stopped('before', fn) },
  'a trigger during shutdown': { logged: /failed/, call: (fn) => stopped('during', fn) },
  'a trigger after shutdown': { logged: /failed/, call: (fn) => stopped('after', fn) },
};

for (const [place, { call, logged }] of Object.entries(HOOKS)) {
  t.test(`FND-07: ${place} may be any kind of function; a failure is logged once`, async (t) => {
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
      try {
        await call(
          make(() => {
            throw new RangeError(`broken ${kind}`);
          }),
        );
      } catch (error) {
        // Where the caller is no transport, it is thrown.
        t.type(error, RangeError);
        t.equal(kind, 'plain');
        continue;
      }
      await settle();
      t.equal(texts.length, 1, `${kind} that fails is logged once`);
      t.match(texts.splice(0)[0], logged, kind);
      t.equal(flushLoggedErrors(RangeError)[0]?.failure?.value.message, `broken ${kind}`);
    }
  });
}

t.test('FND-07: closing fails with what the last hook fails with, whatever its kind', async (t) => {
  for (const [kind, make] of Object.entries(KINDS)) {
    const broken = make(() => {
      throw new RangeError(kind);
    });
    const sim = new Simulation({ seed: 1, conditions: 'calm' });
    const { reactor } = sim.host('a');
    const datagrams = Object.assign(new DatagramProtocol(), { stopProtocol: broken });
    const factory = Object.assign(new Factory(), { stopFactory: broken });
    for (const port of [reactor.listenUDP(0, datagrams), reactor.listenTCP(0, factory)]) {
      sim.advance(1);
      const closed = port.stopListening();
      const failure = new Deferred<unknown>();
      maybeDeferred(() => closed).addBoth((result) => failure.callback({ result }));
      for (let i = 0; i < 3; i++) {
        sim.advance(1);
        await settle();
      }
      t.match(await failure, { result: { value: { message: kind } } }, kind);
    }
  }
});

t.test(
  'FND-07: a process whose connectionMade fails late is killed, as where it throws',
  async (t) => {
    const sleep = { args: ['sleep', '60'] };
    for (const [kind, make] of Object.entries(KINDS)) {
      if (kind === 'plain') continue;
      const broken = make(() => {
        throw new RangeError('half built');
      });
      for (const hook of ['connectionMade', 'makeConnection']) {
        const child = new ProcessProtocol();
        const ended = new Promise<Failure>((resolve) => (child.processEnded = resolve));
        Object.assign(child, { [hook]: broken });
        new Reactor().spawnProcess(child, '/bin/sleep', sleep);
        t.match((await ended).value, { message: 'half built' }, `${kind} ${hook}`);
        t.equal(flushLoggedErrors(RangeError).length, 1);
      }
      const protocol = new Protocol();
      const lost = new Promise<Failure>((resolve) => (protocol.connectionLost = resolve));
      protocol.connectionMade = broken;
      await connectProtocol(new ProcessEndpoint(new Reactor(), '/bin/sleep', sleep), protocol);
      t.match((await lost).value, { message: 'half built' }, `${kind} over an endpoint`);
      t.equal(flushLoggedErrors(RangeError).length, 1);
    }
  },
);
