/** What plait/testing has besides what idle-echo.test.ts uses; see docs/reference/testing.md. */
import {
  type Address,
  ClientFactory,
  connectProtocol,
  Deferred,
  deferLater,
  Factory,
  HostnameEndpoint,
  type IListeningPort,
  IPv4Address,
  maybeDeferred,
  Protocol,
  Reactor,
  TCP4ServerEndpoint,
  wrapClientTLS,
} from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import { Echo } from 'plait/protocols/echo';
import {
  AccumulatingProtocol,
  assertNoResult,
  checkClean,
  checkFraming,
  Clock,
  collectLoggedErrors,
  ConnectionCompleter,
  connectedServerAndClient,
  failureResultOf,
  FakeDatagramTransport,
  flushLoggedErrors,
  loopback,
  MemoryReactor,
  MemoryReactorClock,
  type PumpPolicy,
  StringTransport,
  successResultOf,
  testCertificates,
} from 'plait/testing';
import t from 'tap';

t.test('what a Deferred has come to', async (t) => {
  // #region results
  const clock = new Clock();
  const tea = deferLater(clock, 180, () => 'tea');
  clock.advance(179);
  assertNoResult(tea);
  clock.advance(1);
  t.equal(successResultOf(tea), 'tea');

  const broken = maybeDeferred(JSON.parse, '{');
  const failure = failureResultOf(broken, SyntaxError);
  t.match(failure.value.message, /JSON/);
  // #endregion
});

t.test('what a protocol does with its transport', async (t) => {
  // #region transport
  class OneAtATime extends LineReceiver {
    override lineReceived(line: Buffer) {
      this.sendLine(`got ${line}`);
      this.pauseProducing();
    }
  }

  const transport = new StringTransport();
  const protocol = new OneAtATime();
  protocol.makeConnection(transport);
  protocol.dataReceived(Buffer.from('one\r\ntw'));
  protocol.dataReceived(Buffer.from('o\r\n'));
  t.equal(transport.value().toString(), 'got one\r\n');
  t.equal(transport.producerState, 'paused');

  transport.clear();
  protocol.resumeProducing();
  t.equal(transport.value().toString(), 'got two\r\n');
  // #endregion
});

t.test('what was logged', async (t) => {
  // #region logged
  const stop = collectLoggedErrors();
  const clock = new Clock();
  clock.callLater(1, () => {
    throw new RangeError('no milk');
  });
  clock.advance(1);
  const [event] = flushLoggedErrors(RangeError);
  t.equal(event?.failure?.value.message, 'no milk');
  t.same(stop(), []);
  // #endregion
});

t.test('both ends', async (t) => {
  // #region pump
  const { client, server, pump } = connectedServerAndClient(Echo, AccumulatingProtocol);
  client.transport.write('hello');
  pump.flush();
  t.equal(client.data.toString(), 'hello');

  server.transport.loseConnection();
  pump.flush();
  t.equal(client.closedReason?.value.name, 'ConnectionDone');
  // #endregion
});

t.test('how bytes arrive', async (t) => {
  // #region policy
  const byteByByte: PumpPolicy = (pieces, target) => {
    for (const byte of Buffer.concat(pieces)) target.dataReceived(Buffer.of(byte));
  };
  class Hasty extends Echo {
    override dataReceived(data: Buffer) {
      super.dataReceived(data);
      this.transport.loseConnection(); // a byte has come: is it all?
    }
  }
  class Asker extends AccumulatingProtocol {
    override connectionMade() {
      this.transport.write('hello');
    }
  }
  const client = new Asker();
  successResultOf(loopback(new Hasty(), client, { pumpPolicy: byteByByte }));
  t.equal(client.data.toString(), 'h');
  // #endregion
});

t.test('a reactor that notes what it is asked for', async (t) => {
  // #region memory
  const reactor = new MemoryReactor();
  const endpoint = new TCP4ServerEndpoint(reactor, 80, { interface: '127.0.0.1' });
  const port = successResultOf(endpoint.listen(Factory.forProtocol(Echo)));
  t.match(reactor.tcpServers, [{ port: 80, interface: '127.0.0.1', backlog: 511 }]);
  t.same(port.getHost(), new IPv4Address('TCP', '127.0.0.1', 80));

  reactor.connectTCP('127.0.0.1', 80, ClientFactory.forProtocol(Protocol));
  const pump = new ConnectionCompleter(reactor).succeedOnce(); // with the port above
  t.equal(pump.serverIO?.connected, true);
  // #endregion
});

t.test('datagrams', async (t) => {
  // #region datagrams
  const transport = new FakeDatagramTransport();
  transport.write('hello', ['192.0.2.7', 9]);
  t.match(transport.written, [{ data: Buffer.from('hello'), to: { host: '192.0.2.7', port: 9 } }]);
  // #endregion
});

t.test('what a protocol makes of its bytes', async (t) => {
  // #region framing
  class Letters extends LineReceiver {
    #missing = 0;
    override lineReceived(line: Buffer) {
      this.#missing = Number(line);
      this.setRawMode();
    }
    override rawDataReceived(data: Buffer) {
      const part = data.subarray(0, this.#missing);
      this.#missing -= part.length;
      if (this.#missing === 0) this.setLineMode(data.subarray(part.length));
    }
  }
  const { events } = checkFraming(() => new Letters(), '2\r\nab3\r\ncde');
  t.same(events.slice(0, 4), [
    'lineReceived("2")',
    'rawDataReceived("ab")',
    'lineReceived("3")',
    'rawDataReceived("cde")',
  ]);
  // #endregion
});

// #region clean
t.test('the shop', async (t) => {
  let reactor: MemoryReactorClock;
  t.beforeEach(() => {
    reactor = new MemoryReactorClock();
  });
  t.afterEach(() => checkClean(reactor));

  t.test('opens, and closes', async () => {
    const port = reactor.listenTCP(80, Factory.forProtocol(Echo));
    void port.stopListening();
  });
});
// #endregion

t.test('certificates', async (t) => {
  class Greeter extends Protocol {
    readonly answer = new Deferred<string>();
    override connectionMade() {
      this.transport.write('hello');
    }
    override dataReceived(data: Buffer) {
      this.answer.callback(data.toString());
      this.transport.loseConnection();
    }
  }
  const portOf = (port: IListeningPort) => (port.getHost() as Address & { port: number }).port;
  // #region certificates
  const { authority, server, client } = testCertificates({
    names: ['localhost', '127.0.0.1', '::1'],
  });

  const reactor = new Reactor();
  const port = reactor.listenSSL(0, Factory.forProtocol(Echo), server.options);
  await port.ready;
  const greeter = new Greeter();
  const below = new HostnameEndpoint(reactor, 'localhost', portOf(port));
  await connectProtocol(wrapClientTLS(client.options, below), greeter);
  t.equal(await greeter.answer, 'hello');

  const stale = authority.server({ expired: true }); // to see it refused
  // #endregion
  t.equal(stale.certificate.validTo.getUTCFullYear(), 2002);
  await port.stopListening({ connections: 'drain' });
});
