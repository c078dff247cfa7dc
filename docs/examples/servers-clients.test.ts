/** What docs/howto/servers.md, docs/howto/clients.md and docs/reference/transports.md show, as tests. */
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  BadFileError,
  ClientFactory,
  connectProtocol,
  ConnectionRefusedError,
  Deferred,
  DNSLookupError,
  type Failure,
  type IConnector,
  type IDrainableProtocol,
  type IListeningPort,
  inlineCallbacks,
  IPv4Address,
  Protocol,
  type Factory,
  Reactor,
  ReconnectingClientFactory,
  ServerFactory,
  TCP4ClientEndpoint,
  TimeoutError,
} from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import t from 'tap';

const reactor = new Reactor();

// #region protocol
class Chat extends LineReceiver implements IDrainableProtocol {
  declare factory: ChatFactory;

  override connectionMade() {
    this.factory.guests.add(this);
    this.sendLine(`welcome, ${this.factory.guests.size} are here`);
  }
  override lineReceived(line: Buffer) {
    for (const guest of this.factory.guests) guest.sendLine(line);
  }
  connectionDraining() {
    this.sendLine('we are closing');
    this.transport.loseConnection();
  }
  override connectionLost(reason: Failure) {
    this.factory.guests.delete(this);
    super.connectionLost(reason);
  }
}
// #endregion

// #region factory
class ChatFactory extends ServerFactory {
  readonly guests = new Set<Chat>();
  override protocol = Chat;
}
// #endregion

/** Where a TCP port listens. */
function tcpAddress(port: IListeningPort): IPv4Address {
  const address = port.getHost();
  if (!(address instanceof IPv4Address)) throw new TypeError(`${address} is no IPv4 address`);
  return address;
}

/** Everything that a server says until it hangs up. */
class Listener extends Protocol {
  readonly said = new Deferred<string>();
  #text = '';
  override dataReceived(data: Buffer) {
    this.#text += data.toString();
  }
  override connectionLost() {
    this.said.callback(this.#text);
  }
}

t.test('a server is stopped gracefully', async (t) => {
  // #region listen
  const port = reactor.listenTCP(0, new ChatFactory(), { interface: '127.0.0.1' });
  await port.ready;
  const where = port.getHost();
  // #endregion
  const address = tcpAddress(port);
  t.equal(where, address);
  const endpoint = new TCP4ClientEndpoint(reactor, address.host, address.port);
  const guest = await connectProtocol(endpoint, new Listener());
  // #region drain
  await port.stopListening({ connections: 'drain', grace: 10 });
  // #endregion
  t.equal(await guest.said, 'welcome, 1 are here\r\nwe are closing\r\n');
});

t.test('a server over a UNIX socket', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'plait-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'chat.sock');
  // #region unix
  const port = reactor.listenUNIX(path, new ChatFactory(), { mode: 0o660, wantPID: true });
  await port.ready;
  // #endregion
  t.equal(statSync(path).mode & 0o777, 0o660);
  await port.stopListening();
  t.equal(existsSync(path), false);
});

// #region client
class Ask extends LineReceiver {
  readonly answer = new Deferred<string>();

  override lineReceived(line: Buffer) {
    if (!this.answer.called) this.answer.callback(line.toString());
    this.transport.loseConnection();
  }
  override connectionLost(reason: Failure) {
    if (!this.answer.called) this.answer.errback(reason);
    super.connectionLost(reason);
  }
}

const ask = inlineCallbacks(function* (host: string, port: number) {
  const endpoint = new TCP4ClientEndpoint(reactor, host, port, { timeout: 5 });
  const connection = yield* connectProtocol(endpoint, new Ask());
  return yield* connection.answer.addTimeout(10, reactor);
});
// #endregion

// #region errors
/** What to tell the user. */
function advice(failure: Failure): string {
  if (failure.check(ConnectionRefusedError)) return 'nobody listens there: is the server up?';
  if (failure.check(DNSLookupError)) return 'there is no such host: is the name right?';
  if (failure.check(TimeoutError)) return 'it takes too long: try again later';
  return failure.getErrorMessage();
}
// #endregion

t.test('a client asks, and says by the class of the error what is wrong', async (t) => {
  const port = reactor.listenTCP(0, new ChatFactory(), { interface: '127.0.0.1' });
  await port.ready;
  const address = tcpAddress(port);
  t.equal(await ask(address.host, address.port), 'welcome, 1 are here');
  await port.stopListening({ connections: 'drain' });
  t.match(await ask(address.host, address.port).addErrback(advice), /nobody listens/);
  t.match(await ask('no-such-host.invalid', 80).addErrback(advice), /no such host/);
});

// #region reconnecting
class Watch extends Protocol {
  declare factory: Factory & WatchFactory;

  override connectionMade() {
    this.factory.resetDelay(); // it works again: the next wait is short
  }
}

class WatchFactory extends ReconnectingClientFactory {
  override protocol = Watch;
  override initialDelay = 0.5;
  override maxDelay = 60;
}
// #endregion

t.test('a client connects again', async (t) => {
  const server = new ChatFactory();
  const port = reactor.listenTCP(0, server, { interface: '127.0.0.1' });
  await port.ready;
  const address = tcpAddress(port);
  const factory = new WatchFactory();
  factory.clock = reactor;
  factory.initialDelay = 0;
  const connector = reactor.connectTCP(address.host, address.port, factory);
  const guests = async (count: number) => {
    while (server.guests.size !== count) await new Promise((resolve) => setImmediate(resolve));
  };
  await guests(1);
  for (const guest of server.guests) guest.transport.abortConnection();
  await guests(0);
  await guests(1);
  factory.stopTrying();
  connector.disconnect();
  await guests(0);
  await port.stopListening({ connections: 'abort' });
});

t.test('a connector is told by hand', async (t) => {
  const outcome = new Deferred<string>();
  // #region connector
  class Once extends ClientFactory {
    override protocol = Protocol;

    override clientConnectionFailed(connector: IConnector, reason: Failure) {
      const wrong = reason.trap(BadFileError);
      outcome.callback(`${connector.getDestination()}: ${wrong.code}`);
    }
  }
  reactor.connectUNIX('/nowhere/at.all', new Once(), { timeout: 5, checkPID: false });
  // #endregion
  t.equal(await outcome, 'unix:/nowhere/at.all: ENOENT');
});
