/** What docs/reference/tls.md shows, as tests. */
import {
  type Address,
  CertificateOptions,
  connectProtocol,
  Factory,
  type IListeningPort,
  type ITLSTransport,
  optionsForClientTLS,
  Protocol,
  Reactor,
  TCP4ClientEndpoint,
  wrapClientTLS,
} from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import { EchoFactory } from 'plait/protocols/echo';
import { testCertificates } from 'plait/testing';
import t from 'tap';

const made = testCertificates();
const { key: privateKey, cert: certificate } = made.server;
const { trustRoot } = made.authority;
const portOf = (port: IListeningPort) => (port.getHost() as Address & { port: number }).port;

// #region starttls
class Mail extends LineReceiver {
  override lineReceived(line: Buffer) {
    if (line.toString() !== 'STARTTLS') {
      this.sendLine('250 fine');
      return;
    }
    this.sendLine('220 go ahead'); // still in the clear
    (this.transport as ITLSTransport).startTLS(new CertificateOptions({ privateKey, certificate }));
  }
  handshakeCompleted() {
    this.sendLine('250 secured');
  }
}
// #endregion

t.test('a server and a client', async (t) => {
  const reactor = new Reactor();
  const heard: string[] = [];
  class Client extends Protocol {
    override connectionMade() {
      this.transport.write('hello');
    }
    override dataReceived(data: Buffer) {
      heard.push(data.toString());
      this.transport.loseConnection();
    }
  }
  // #region listen
  const options = new CertificateOptions({ privateKey, certificate });
  const port = reactor.listenSSL(0, new EchoFactory(), options, { handshakeTimeout: 10 });
  // #endregion
  await port.ready;
  // #region wrap
  const below = new TCP4ClientEndpoint(reactor, 'localhost', portOf(port));
  const secured = wrapClientTLS(optionsForClientTLS('localhost', { trustRoot }), below);
  const client = await connectProtocol(secured, new Client());
  // #endregion
  t.ok(client.connected);
  while (heard.length === 0) await new Promise((resolve) => setImmediate(resolve));
  t.same(heard, ['hello']);
  await port.stopListening({ connections: 'drain' });
});

t.test('STARTTLS', async (t) => {
  const reactor = new Reactor();
  const heard: string[] = [];
  class Client extends LineReceiver {
    override connectionMade() {
      this.sendLine('STARTTLS');
    }
    override lineReceived(line: Buffer) {
      heard.push(line.toString());
      if (heard.length === 1)
        (this.transport as ITLSTransport).startTLS(optionsForClientTLS('localhost', { trustRoot }));
      else this.transport.loseConnection();
    }
  }
  const port = reactor.listenTCP(0, Factory.forProtocol(Mail));
  await port.ready;
  await connectProtocol(new TCP4ClientEndpoint(reactor, 'localhost', portOf(port)), new Client());
  while (heard.length < 2) await new Promise((resolve) => setImmediate(resolve));
  t.same(heard, ['220 go ahead', '250 secured']);
  await port.stopListening({ connections: 'drain' });
});
