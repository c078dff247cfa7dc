/**
 * More hooks than `functions.test.ts` has, over connections, datagrams and processes: each may be any kind of function,
 * is called, and what it fails with is logged once, as if it had been thrown.
 */
import {
  type Address,
  ClientFactory,
  DatagramProtocol,
  Factory,
  formatEvent,
  globalLogPublisher,
  type HookResult,
  type LogEvent,
  Deferred,
  maybeDeferred,
  ProcessProtocol,
  Protocol,
  Reactor,
  succeed,
} from 'plait';
import { LineOnlyReceiver, LineReceiver } from 'plait/protocols/basic';
import { WrappingFactory } from 'plait/protocols/policies';
import {
  connectedServerAndClient,
  flushLoggedErrors,
  MemoryReactor,
  Simulation,
  StringTransport,
} from 'plait/testing';
import t from '../fixture.ts';

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
  sim.host('client').reactor.connectTCP('server', 80, factory as ClientFactory);
  sim.advance(60);
  void port?.stopListening();
  sim.advance(60);
}

function udp(hook: string, fn: Fn): void {
  const sim = new Simulation({ seed: 1, conditions: 'calm' });
  const protocol = Object.assign(new DatagramProtocol(), { [hook]: fn });
  const port = sim.host('b').reactor.listenUDP(53, protocol);
  const other = new DatagramProtocol();
  const away = sim.host('a').reactor.listenUDP(0, other);
  sim.advance(1);
  const [host = ''] = sim.host('b').addresses;
  if (hook === 'datagramReceived') other.transport.write('x', { host, port: 53 });
  sim.advance(1);
  void port.stopListening();
  void away.stopListening();
  sim.advance(1);
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
