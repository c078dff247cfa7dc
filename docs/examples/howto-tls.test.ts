/** What docs/howto/tls.md and docs/reference/ssl.md show, as tests. */
import { readFileSync } from 'node:fs';
import {
  Certificate,
  CertificateOptions,
  ClientFactory,
  Deferred,
  DistinguishedName,
  Factory,
  type Failure,
  type ITLSContextFactory,
  type ITLSTransport,
  KeyPair,
  optionsForClientTLS,
  PrivateCertificate,
  Protocol,
  Reactor,
  ServerNames,
  trustRootFromCertificates,
  VerificationError,
} from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import { Echo } from 'plait/protocols/echo';
import { getPage } from 'plait/protocols/http';
import t, { type Test } from 'tap';

const file = (name: string) =>
  readFileSync(new URL(`../../test/fixtures/tls/${name}`, import.meta.url));
const reactor = new Reactor();

/** Says hello, waits for the answer, and hangs up. */
class Greeter extends Protocol {
  readonly answer = new Deferred<string>();
  #text = '';

  override connectionMade() {
    this.transport.write('hello');
  }

  override dataReceived(data: Buffer) {
    this.#text += data.toString();
    if (this.#text.length >= 5) this.transport.loseConnection();
  }

  override connectionLost(reason: Failure) {
    if (this.#text === '') this.answer.errback(reason);
    else this.answer.callback(this.#text);
  }
}

function greet(port: number, options: ITLSContextFactory): Deferred<string> {
  const greeter = new Greeter();
  const factory = new ClientFactory();
  factory.buildProtocol = () => greeter;
  reactor.connectSSL('localhost', port, factory, options);
  return greeter.answer;
}

async function serve(
  t: Test,
  options: ITLSContextFactory,
  factory: Factory = Factory.forProtocol(Echo),
) {
  const port = reactor.listenSSL(0, factory, options, { interface: '127.0.0.1' });
  await port.ready;
  t.teardown(() => port.stopListening());
  return (port.getHost() as { port: number }).port;
}

t.test('a server, and a client that knows its name', async (t) => {
  // #region server
  const options = new CertificateOptions({
    certificate: file('chained-full.pem'), // ours, and those between it and its root
    privateKey: file('chained.key'),
  });
  const port = reactor.listenSSL(0, Factory.forProtocol(Echo), options);
  // #endregion
  await port.ready;
  t.teardown(() => port.stopListening());
  const number = (port.getHost() as { port: number }).port;
  // #region client
  const trusted = optionsForClientTLS('localhost', { trustRoot: file('ca.pem') });
  // #endregion
  t.equal(await greet(number, trusted), 'hello');

  const url = `https://localhost:${number}/`;
  const trustRoot = file('other-ca.pem');
  // #region getPage
  const page = getPage(url, { reactor, trustRoot }).addErrback((failure) => {
    const { message, code } = failure.trap(VerificationError);
    return Buffer.from(`${code}: ${message}`);
  });
  // #endregion
  t.match(String(await page), /^\w+: GET https:.* the certificate of the server was refused: /);
});

t.test('clients with certificates', async (t) => {
  // #region client-certificates
  const server = new CertificateOptions({
    certificate: file('server.pem'),
    privateKey: file('server.key'),
    trustRoot: file('ca.pem'), // who vouches for clients; without a certificate nobody gets in
  });
  const client = optionsForClientTLS('localhost', {
    trustRoot: file('ca.pem'),
    clientCertificate: PrivateCertificate.loadPEM(file('client-full.pem')),
  });
  class Welcome extends Protocol {
    handshakeCompleted() {
      const name = Certificate.peerFromTransport(this.transport as ITLSTransport).getSubject();
      this.transport.write(`welcome, ${name.commonName}`);
    }
  }
  // #endregion
  const port = await serve(t, server, Factory.forProtocol(Welcome));
  t.equal(await greet(port, client), 'welcome, a client');
});

t.test('STARTTLS', async (t) => {
  const options = new CertificateOptions({
    certificate: file('server.pem'),
    privateKey: file('server.key'),
  });
  // #region starttls
  class Server extends LineReceiver {
    #secure = false;

    override lineReceived(line: Buffer) {
      if (line.equals(Buffer.from('STARTTLS')) && !this.#secure) {
        this.#secure = true;
        this.sendLine('go ahead'); // goes out in the clear, and first
        (this.transport as ITLSTransport).startTLS(options);
      } else {
        this.sendLine(this.#secure ? `secret ${line}` : 'not in the clear');
      }
    }
  }
  class Client extends LineReceiver {
    readonly said = new Deferred<string>();

    override connectionMade() {
      this.sendLine('STARTTLS');
    }
    override lineReceived(line: Buffer) {
      if (line.equals(Buffer.from('go ahead'))) {
        const trust = { trustRoot: file('ca.pem') };
        (this.transport as ITLSTransport).startTLS(optionsForClientTLS('localhost', trust));
        this.sendLine('hello'); // waits for the handshake
      } else {
        this.said.callback(String(line));
        this.transport.loseConnection();
      }
    }
  }
  // #endregion
  const port = reactor.listenTCP(0, Factory.forProtocol(Server), { interface: '127.0.0.1' });
  await port.ready;
  const client = new Client();
  const factory = new ClientFactory();
  factory.buildProtocol = () => client;
  reactor.connectTCP('127.0.0.1', (port.getHost() as { port: number }).port, factory);
  t.equal(await client.said, 'secret hello');
  await port.stopListening();
});

t.test('protocols and names', async (t) => {
  const own = { certificate: file('server.pem'), privateKey: file('server.key') };
  const trustRoot = file('ca.pem');
  // #region alpn
  const server = new CertificateOptions({ ...own, acceptableProtocols: ['echo/2', 'echo/1'] });
  const client = optionsForClientTLS('localhost', {
    trustRoot,
    acceptableProtocols: ['echo/1'],
  });
  class Versioned extends Protocol {
    handshakeCompleted() {
      this.transport.write((this.transport as ITLSTransport).negotiatedProtocol ?? 'none');
    }
  }
  // #endregion
  t.equal(await greet(await serve(t, server, Factory.forProtocol(Versioned)), client), 'echo/1');

  const pair = (name: string) => ({
    certificate: file(`${name}.pem`),
    privateKey: file(`${name}.key`),
  });
  // #region sni
  const names = new ServerNames(
    {
      'a.example': new CertificateOptions(pair('sni-a')),
      '*.a.com': new CertificateOptions(pair('wildcard')),
    },
    new CertificateOptions(own), // for all others
  );
  // #endregion
  const port = await serve(t, names);
  for (const name of ['a.example', 'www.a.com', 'localhost']) {
    t.equal(await greet(port, optionsForClientTLS(name, { trustRoot })), 'hello', name);
  }
});

t.test('more than the usual checks', async (t) => {
  const pinned = Certificate.loadPEM(file('server.pem')).digest();
  // #region more-checks
  const options = optionsForClientTLS('localhost', {
    trustRoot: trustRootFromCertificates([file('ca.pem')]),
    extraCertificateOptions: {
      crl: file('crl.pem'),
      raiseMinimumTo: 'TLSv1.3',
      verifyPeer: (certificate) => certificate.digest() === pinned,
    },
  });
  // #endregion
  const own = { certificate: file('server.pem'), privateKey: file('server.key') };
  t.equal(await greet(await serve(t, new CertificateOptions(own)), options), 'hello');
});

t.test('certificates are read', async (t) => {
  // #region certificates
  const certificate = Certificate.loadPEM(file('server.pem'));
  const key = KeyPair.loadPEM(file('server-encrypted.key'), 'secret');
  const facts = {
    subject: certificate.getSubject().toString(),
    issuer: certificate.getIssuer().get('CN'),
    names: certificate.getNames().names,
    expires: certificate.validTo.getUTCFullYear(),
    together: key.matches(certificate),
  };
  // #endregion
  t.match(facts, {
    subject: 'CN=localhost',
    issuer: 'plait test root',
    names: ['localhost'],
    together: true,
  });
});

t.test('certificates are made', async (t) => {
  // #region signing
  const authority = KeyPair.generate().selfSignedCert(1, { CN: 'our authority' });

  const key = KeyPair.generate(); // on the server, which keeps it
  const request = key.certificateRequest(new DistinguishedName({ CN: 'example.com' }));

  const mayHave = (name: DistinguishedName) => name.commonName === 'example.com';
  const der = await authority.signCertificateRequest(request, mayHave, 2, {
    names: ['example.com', '*.example.com', '192.0.2.1'],
    usages: ['server'],
  });

  const own = key.newCertificate(der); // on the server again: a PrivateCertificate
  const options = own.options();
  // #endregion
  t.same(own.getNames().names, ['example.com', '*.example.com']);
  t.equal(options.tlsSettings('server').requestCertificate, false);
});
