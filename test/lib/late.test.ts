/**
 * What comes late: calls on connections that close or are gone, in the doubles as in life; closings that wait for what
 * may be gone itself; and calls from inside of the calls that closing makes.
 */
import {
  ConnectionDone,
  ConnectionLost,
  ConsumerStopped,
  type Deferred,
  Factory,
  type Failure,
  FileSender,
  getProcessOutput,
  HostnameEndpoint,
  type IProcessProtocol,
  type IProcessTransport,
  type ITLSTransport,
  NotSupportedError,
  ProcessEndpoint,
  Protocol,
  Reactor,
  SSLError,
} from 'plait';
import { ThrottlingFactory, TimeoutMixin, WrappingFactory } from 'plait/protocols/policies';
import {
  AccumulatingProtocol,
  Clock,
  connectedServerAndClient,
  failureResultOf,
  flushLoggedErrors,
  StringTransport,
  StringTransportWithDisconnection,
} from 'plait/testing';
import t from '../fixture.ts';
import { CLIENT, SERVER } from '../contract/tls-kind.ts';

t.test('FND-20: a StringTransport sends, while it closes, what a transport sends', (t) => {
  const written = (end: (transport: StringTransport) => void): string => {
    const transport = new StringTransport();
    transport.write('before');
    end(transport);
    transport.write(', after');
    transport.writeSequence([', and', ' later']);
    return transport.value().toString();
  };
  const all = 'before, after, and later';
  // There are no turns here: whatever is written is written in the same one.
  t.equal(
    written((transport) => transport.loseConnection()),
    all,
  );
  t.equal(
    written((transport) => transport.loseWriteConnection()),
    all,
  );
  t.equal(
    written((transport) => transport.abortConnection()),
    'before',
  );
  t.equal(
    written((transport) => (transport.connected = false)),
    'before',
  );
  const late = new StringTransport();
  late.abortConnection();
  t.throws(() => late.write(7 as never), TypeError, 'what is wrong is wrong in each state');
  t.throws(() => late.startTLS(SERVER), SSLError);
  t.end();
});

t.test('FND-20: a StringTransport that is closed does what a closed transport does', (t) => {
  const transport = new StringTransportWithDisconnection();
  const protocol = new AccumulatingProtocol();
  transport.protocol = protocol;
  protocol.makeConnection(transport);
  transport.loseConnection();
  const told: string[] = [];
  const producer = { resumeProducing() {}, stopProducing: () => void told.push('stop') };
  transport.registerProducer(producer, false);
  t.same(told, ['stop']);
  t.equal(transport.producer, undefined);
  transport.unregisterProducer();
  transport.startTLS(SERVER);
  t.same(transport.startedTLS, []);
  transport.loseWriteConnection();
  transport.abortConnection();
  t.same([transport.writeDisconnecting, transport.aborting], [false, false]);
  t.throws(() => transport.switchProtocol(protocol), { name: 'ConnectionLost' });
  t.end();
});

// ── Closings that wait for what is gone ──────────────────────────────────────────────────────────────────────────────

t.test('FND-01: a lost connection is gone behind a policy too', (t) => {
  const clock = new Clock();
  const inner = new Protocol();
  const lost: string[] = [];
  inner.connectionLost = ({ value }) => lost.push(value.name);
  const factory = new Factory();
  factory.buildProtocol = () => inner;
  class Reader extends Protocol {
    override connectionMade(): void {
      this.transport.pauseProducing();
    }
  }
  for (const policy of [WrappingFactory, ThrottlingFactory]) {
    lost.length = 0;
    const wrapped = new policy(factory, { clock });
    const { client, pump } = connectedServerAndClient(wrapped, Reader, { clock });
    const source = connectedServerAndClient(Protocol, Protocol);
    inner.transport.registerProducer(source.client.transport, true);
    inner.transport.write(Buffer.alloc(300_000));
    inner.transport.loseConnection();
    pump.flush();
    t.same(lost, [], 'the source is paused, and waited for');
    source.client.transport.abortConnection();
    source.pump.flush();
    client.transport.resumeProducing();
    pump.flush();
    t.same(lost, ['ConnectionDone'], policy.name);
  }
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('FND-01: who would feed a connection that is half-closed is stopped at once', async (t) => {
  const { client, pump } = connectedServerAndClient(Protocol, Protocol);
  const { transport } = client;
  transport.loseWriteConnection();
  pump.flush();
  t.equal(transport.connected, false, 'the server is not half-closeable');

  class Halves extends Protocol {
    readConnectionLost(): void {}
    writeConnectionLost(): void {}
  }
  const open = connectedServerAndClient(Halves, Halves);
  const half = open.client.transport;
  half.loseWriteConnection();
  open.pump.flush();
  t.equal(half.connected, true);
  const told: string[] = [];
  const producer = {
    pauseProducing: () => told.push('pause'),
    resumeProducing: () => told.push('resume'),
    stopProducing: () => told.push('stop'),
  };
  for (const streaming of [true, false]) half.registerProducer(producer, streaming);
  t.same(told, ['stop', 'stop']);
  const sent = new FileSender().beginFileTransfer(import.meta.filename, half);
  failureResultOf(sent, ConsumerStopped);
  half.loseConnection();
  open.pump.flush();
  t.equal(half.connected, false);
});

t.test('FND-02: an idle push producer holds up neither kind of closing', (t) => {
  for (const close of ['loseConnection', 'loseWriteConnection', 'stopProducing'] as const) {
    const clock = new Clock();
    const { client, pump } = connectedServerAndClient(Protocol, Protocol, { clock });
    const told: string[] = [];
    client.transport.registerProducer(
      {
        pauseProducing: () => told.push('pause'),
        resumeProducing: () => told.push('resume'),
        stopProducing: () => told.push('stop'),
      },
      true,
    );
    client.transport.write('something');
    client.transport[close]();
    pump.flush();
    t.equal(client.transport.connected, false, close);
    t.same(told, ['stop']);
    t.same(clock.getDelayedCalls(), [], 'and takes no time');
  }
  t.end();
});

t.test(
  'FND-25: a switch in the middle of a handshake is one that TLS goes on behind',
  async (t) => {
    const { client, server, pump } = connectedServerAndClient(AccumulatingProtocol, Protocol, {});
    const next = new AccumulatingProtocol();
    (server.transport as ITLSTransport).startTLS(SERVER);
    (client.transport as ITLSTransport).startTLS(CLIENT);
    client.transport.write('secret');
    pump.flush();
    server.transport.switchProtocol(next);
    await pump.settle(() => next.data.length === 6);
    t.equal(next.data.toString(), 'secret');
    t.equal(server.data.length, 0);
    t.ok((client.transport as ITLSTransport).getPeerCertificate());
    next.transport.loseConnection();
    await pump.settle(() => !client.transport.connected && !next.transport.connected);
    await pump.settle();
    t.ok(next.closedReason?.check(ConnectionDone));
    t.equal(server.closedReason, undefined);
  },
);

t.test('FND-25: TimeoutMixin of the one before does not end the one that takes over', (t) => {
  const time = new Clock();
  class Timed extends TimeoutMixin(Protocol) {
    override clock = time;
    override connectionMade(): void {
      this.setTimeout(5);
    }
  }
  const { server, client, pump } = connectedServerAndClient(Timed, Protocol, { clock: time });
  const [second, third] = [new AccumulatingProtocol(), new AccumulatingProtocol()];
  server.transport.pauseProducing();
  server.transport.switchProtocol(second, { unread: Buffer.from('a') });
  second.transport.switchProtocol(third, { unread: Buffer.from('b') });
  t.same(time.getDelayedCalls(), []);
  client.transport.write('c');
  pump.advance(60);
  t.equal(third.data.length, 0, 'it is paused still');
  third.transport.resumeProducing();
  pump.flush();
  t.equal(third.data.toString(), 'bac', 'what was given back last is the next to be read');
  t.equal(second.data.length, 0);
  third.transport.loseConnection();
  pump.flush();
  t.ok(third.closedReason);
  t.equal(second.closedReason, undefined);
  t.end();
});

t.test('FND-82: a resolver whose look-ups cannot be cancelled holds nothing up', async (t) => {
  const reactor = new Reactor();
  for (const cancel of [
    () => {
      throw new RangeError('cannot be called off');
    },
    async () => {
      await Promise.resolve();
      throw new RangeError('cannot be called off');
    },
  ]) {
    reactor.installNameResolver({
      resolveHostName(receiver, name) {
        const resolution = { name, cancel };
        receiver.resolutionBegan(resolution);
        return resolution;
      },
    });
    for (const begin of [
      () => new HostnameEndpoint(reactor, 'tea.test', 80).connect(new Factory()),
      () => reactor.resolve('tea.test'),
    ]) {
      const found: Deferred<unknown> = begin();
      found.cancel();
      t.match(failureResultOf(found).value.name, /Cancelled/);
      for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
      t.not(flushLoggedErrors(RangeError).length, 0);
    }
  }
});

t.test('FND-25: a connection to a process changes its protocol', async (t) => {
  const endpoint = new ProcessEndpoint(new Reactor(), '/bin/cat', { args: ['cat'] });
  const first = await endpoint.connect(Factory.forProtocol(AccumulatingProtocol));
  const transport = first.transport;
  const turns = async (until: () => boolean): Promise<void> => {
    while (!until()) await new Promise((resolve) => setImmediate(resolve));
  };
  class Careful extends AccumulatingProtocol {
    override connectionMade(): void {
      super.connectionMade();
      this.transport.pauseProducing();
    }
  }
  const careful = new Careful();
  transport.switchProtocol(careful, { unread: Buffer.from('early ') });
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
  t.equal(careful.data.toString(), '', 'it has paused: what is unread waits');
  transport.write('tea');
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  transport.resumeProducing();
  await turns(() => careful.data.length >= 9);
  t.equal(careful.data.toString(), 'early tea');
  const last = new AccumulatingProtocol();
  transport.switchProtocol(last);
  transport.write('cups');
  await turns(() => last.data.length >= 4);
  t.equal(last.data.toString(), 'cups');
  t.equal(first.data.length, 0);
  transport.loseConnection();
  await turns(() => last.closed);
  t.throws(() => transport.switchProtocol(first), ConnectionLost);
});

for (const [what, make] of Object.entries({
  'throws over what was left for it': () =>
    Object.assign(new AccumulatingProtocol(), { dataReceived: fails }),
  'throws when it is made a connection': () =>
    Object.assign(new AccumulatingProtocol(), { connectionMade: fails }),
})) {
  t.test(`FND-25: over a process, a protocol that takes over and ${what} ends`, async (t) => {
    const endpoint = new ProcessEndpoint(new Reactor(), '/bin/cat', { args: ['cat'] });
    const first = await endpoint.connect(Factory.forProtocol(AccumulatingProtocol));
    const next = make();
    const ended = new Promise<Failure>((resolve) => {
      next.connectionLost = resolve;
    });
    first.transport.switchProtocol(next, { unread: Buffer.from('tea') });
    t.match((await ended).value, { message: 'broken' });
    t.equal(flushLoggedErrors(RangeError).length, 1);
  });
}

t.test('FND-02: a process that cannot be killed has its pipes closed all the same', async (t) => {
  let closed = 0;
  const child = {
    pid: 1,
    signalProcess(): never {
      throw new NotSupportedError('not permitted');
    },
    loseConnection() {
      closed++;
    },
  } as unknown as IProcessTransport;
  const reactor = {
    spawnProcess(protocol: IProcessProtocol) {
      protocol.makeConnection(child);
      return child;
    },
  };
  const endpoint = new ProcessEndpoint(reactor, '/usr/bin/sudo');
  const { transport } = await endpoint.connect(Factory.forProtocol(Protocol));
  transport.abortConnection();
  t.equal(closed, 1);
  t.equal(flushLoggedErrors(NotSupportedError).length, 1);
  Object.assign(child, { closeStdin() {} });
  const output = getProcessOutput('/usr/bin/sudo', { reactor });
  t.throws(() => output.cancel(), NotSupportedError);
  t.equal(closed, 2);
});

function fails(): never {
  throw new RangeError('broken');
}
