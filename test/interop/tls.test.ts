/** TLS with other people's engines: OpenSSL's programs, curl, and Twisted. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Certificate,
  CertificateRequest,
  DistinguishedName,
  type ITLSTransport,
  KeyPair,
  PrivateCertificate,
  Reactor,
} from 'plait';
import { testCertificates } from 'plait/testing';
import { inet } from '../contract/kinds.ts';
import { Recorder, serving } from '../contract/recorder.ts';
import { CLIENT, SERVER } from '../contract/tls-kind.ts';
import t, { type Test } from '../fixture.ts';
import { curl, needs, openssl, python, Running } from './servers.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures/tls');
const [CA, CERT, KEY] = ['ca.pem', 'server.pem', 'server.key'].map((name) =>
  join(FIXTURES, name),
) as [string, string, string];

async function until(condition: () => boolean): Promise<void> {
  for (const patience = Date.now() + 600_000; !condition();) {
    if (Date.now() > patience) throw new Error(`it never came to ${condition.toString()}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Serves one protocol, and returns the port. */
async function serve(t: Test, protocol: Recorder): Promise<number> {
  const port = new Reactor().listenSSL(0, serving(protocol), SERVER, { interface: '127.0.0.1' });
  t.teardown(() => port.stopListening().asPromise());
  await port.ready;
  return inet(port.getHost()).port;
}

t.test('curl gets a page, and sees its end', async (t) => {
  if (!needs(t, 'curl')) return;
  const page = 'x'.repeat(1_000_000);
  const server = new Recorder({
    data: ({ transport }) => {
      transport.write(`HTTP/1.0 200 OK\r\n\r\n${page}`);
      transport.loseConnection();
    },
  });
  const port = await serve(t, server);
  const { stdout, stderr, code } = await curl(t, '--cacert', CA, `https://localhost:${port}/`);
  t.equal(stderr.toString(), '');
  t.equal(code, 0);
  t.ok(stdout.toString() === page);
  await until(() => server.lost);
  t.same(server.events, ['made', 'data', 'lost ConnectionDone']);
});

t.test('openssl s_client talks to a server of plait, with either version', async (t) => {
  if (!needs(t, 'openssl')) return;
  for (const version of ['-tls1_2', '-tls1_3']) {
    const server = new Recorder({
      made: ({ transport }) => transport.write('hello from plait\n'),
      data: ({ transport }) => transport.loseConnection(),
    });
    const port = await serve(t, server);
    const where = ['-connect', `127.0.0.1:${port}`, '-servername', 'localhost'];
    const client = new Running(t, 'openssl', [
      's_client',
      version,
      '-quiet',
      '-CAfile',
      CA,
      ...where,
    ]);
    await until(() => client.output.includes('hello from plait'));
    client.stdin.write('bye\n');
    await client.ended;
    await until(() => server.lost);
    t.same(server.events, ['made', 'data', 'lost ConnectionDone']);
    t.equal(server.text(), 'bye\n');
  }
  const server = new Recorder();
  const old = ['s_client', '-tls1_1', '-connect', `127.0.0.1:${await serve(t, server)}`];
  t.not((await openssl(t, ...old)).code, 0);
  await until(() => server.lost);
  t.same(server.events, ['made', 'lost SSLError'], 'TLS-08: nothing older than TLS 1.2');
});

/** A Twisted echo server that says its port, and a client that echoes what a server says until it hangs up. */
const TWISTED = `
import sys
from twisted.internet import endpoints, protocol, reactor, ssl

ca, cert, key, port = sys.argv[1:]

class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

    def connectionLost(self, reason):
        print(reason.type.__name__, flush=True)
        reactor.stop()

factory = protocol.Factory.forProtocol(Echo)
if port == "0":
    context = ssl.DefaultOpenSSLContextFactory(key, cert)
    print(reactor.listenSSL(0, factory, context, interface="127.0.0.1").getHost().port, flush=True)
else:
    root = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(open(ca).read())])
    options = ssl.optionsForClientTLS("localhost", root)
    below = endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", int(port))
    endpoints.wrapClientTLS(options, below).connect(factory)
reactor.run()
`;

t.test("Twisted's server echoes, and both see an orderly end", async (t) => {
  if (!needs(t, 'python')) return;
  const twisted = python(t, TWISTED, [CA, CERT, KEY, '0']);
  const port = Number(await twisted.firstLine());
  const sent = Buffer.alloc(3_000_000, 'all that was sent, ');
  const client = new Recorder({ made: ({ transport }) => transport.write(sent) });
  new Reactor().connectSSL('127.0.0.1', port, serving(client), CLIENT);
  await until(() => client.count === sent.length);
  t.ok(client.bytes().equals(sent));
  t.match((client.transport as ITLSTransport).getPeerCertificate()?.subject, 'CN=localhost');
  client.transport.loseConnection();
  const { stdout } = await twisted.ended;
  t.match(stdout.toString(), /ConnectionDone/);
  await until(() => client.lost);
  t.same(client.events, ['made', 'data', 'lost ConnectionDone']);
});

t.test("Twisted's client is served, and both see an orderly end", async (t) => {
  if (!needs(t, 'python')) return;
  const sent = Buffer.alloc(3_000_000, 'all that was sent, ');
  const server: Recorder = new Recorder({
    made: ({ transport }) => transport.write(sent),
    data: ({ transport, count }) => {
      if (count === sent.length) transport.loseConnection();
    },
  });
  const port = await serve(t, server);
  const twisted = python(t, TWISTED, [CA, CERT, KEY, String(port)]);
  const { stdout, stderr } = await twisted.ended;
  t.match(stdout.toString(), /ConnectionDone/, stderr.toString());
  await until(() => server.lost);
  t.ok(server.bytes().equals(sent));
  t.same(server.events, ['made', 'data', 'lost ConnectionDone']);
});

t.test('openssl s_server echoes backwards', async (t) => {
  if (!needs(t, 'openssl')) return;
  const files = ['-cert', CERT, '-key', KEY];
  const program = new Running(t, 'openssl', [
    's_server',
    '-rev',
    '-accept',
    '127.0.0.1:0',
    ...files,
  ]);
  await until(() => /ACCEPT 127\.0\.0\.1:\d+/.test(program.output));
  const port = Number(/ACCEPT 127\.0\.0\.1:(\d+)/.exec(program.output)![1]);
  const client = new Recorder({ made: ({ transport }) => transport.write('hello\n') });
  new Reactor().connectSSL('127.0.0.1', port, serving(client), CLIENT);
  await until(() => client.text() === 'olleh\n');
  client.transport.loseConnection();
  await until(() => client.lost);
  t.same(client.events, ['made', 'data', 'lost ConnectionDone']);
  await program.stop();
});

// ── Certificates ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Writes files into a folder of the test, and returns their paths. */
function files<K extends string>(t: Test, contents: Record<K, string>): Record<K, string> {
  const folder = mkdtempSync(join(tmpdir(), 'plait-certificates-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const entries = Object.entries<string>(contents).map(([name, text]) => {
    const path = join(folder, `${name}.pem`);
    writeFileSync(path, text);
    return [name, path];
  });
  return Object.fromEntries(entries) as Record<K, string>;
}

t.test('openssl accepts the certificates that plait makes, with RSA and with ECDSA', async (t) => {
  if (!needs(t, 'openssl')) return;
  for (const keys of ['ec', 'rsa'] as const) {
    const { authority, server } = testCertificates({ keys, names: ['*.a.test', '2001:db8::1'] });
    const below = authority.intermediate();
    const { ca, own, other, between, expired } = files(t, {
      ca: authority.cert,
      own: server.cert,
      between: below.cert,
      other: below.server({ keys: 'ec' }).certificate.dumpPEM(),
      expired: authority.server({ expired: true, keys: 'ec' }).cert,
    });
    const verify = ['verify', '-x509_strict', '-CAfile', ca, '-purpose', 'sslserver'];
    const accepted = [
      [own, '-verify_hostname', 'www.a.test'],
      [own, '-verify_ip', '2001:db8::1'],
      [other, '-untrusted', between, '-verify_hostname', 'localhost'],
      [ca],
    ];
    const refused = [
      [own, '-verify_hostname', 'a.test'],
      [own, '-purpose', 'sslclient'],
      [other],
      [expired],
    ];
    const run = async ([file = '', ...rest]: readonly string[]) =>
      openssl(t, ...verify, ...rest, file);
    for (const args of accepted) {
      const { code, stderr } = await run(args);
      t.equal(code, 0, `${args.join(' ')}: ${stderr.toString()}`);
    }
    for (const args of refused) t.not((await run(args)).code, 0, args.join(' '));
    const { stdout } = await openssl(t, 'x509', '-noout', '-text', '-in', own);
    const text = stdout.toString();
    t.match(text, /Version: 3/);
    t.match(text, /X509v3 Basic Constraints: critical\s+CA:FALSE/);
    t.match(text, /X509v3 Extended Key Usage: \s+TLS Web Server Authentication\n/);
    t.match(text, /DNS:\*\.a\.test, IP Address:2001:DB8:0:0:0:0:0:1/);
    const usage = keys === 'rsa' ? 'Digital Signature, Key Encipherment' : 'Digital Signature';
    t.match(text, new RegExp(`X509v3 Key Usage: critical\\s+${usage}\\n`));
    t.match(text, keys === 'rsa' ? /sha256WithRSAEncryption/ : /ecdsa-with-SHA256/);
    t.match(text, /Not After : Jan {2}1 00:00:00 2200 GMT/);
  }
});

t.test('openssl reads the requests that plait makes, and plait those of openssl', async (t) => {
  if (!needs(t, 'openssl')) return;
  const key = KeyPair.generate();
  const name = new DistinguishedName({ C: 'AT', O: 'Grüße', CN: 'a.test' });
  const paths = files(t, { ours: key.requestObject(name).dumpPEM(), key: key.dumpPEM() });
  const verify = ['req', '-verify', '-noout', '-subject', '-nameopt', 'utf8', '-in', paths.ours];
  const { code, stdout, stderr } = await openssl(t, ...verify);
  t.equal(code, 0);
  t.match(`${stdout.toString()}${stderr.toString()}`, /verify OK/);
  const theirs = ['req', '-new', '-key', paths.key, '-subj', '/O=x/CN=b.test'];
  for (const digest of ['-sha256', '-sha512']) {
    const made = await openssl(t, ...theirs, digest, '-addext', 'subjectAltName=DNS:c.test');
    const request = CertificateRequest.loadPEM(made.stdout);
    t.equal(request.getSubject().toString(), 'O=x, CN=b.test');
    t.ok(request.getPublicKey().matches(key));
  }
});

/** Signs the request on the command line, and prints a request and the certificate, each on a line in hexadecimal. */
const TWISTED_AUTHORITY = `
import sys
from twisted.internet import ssl

boss = ssl.KeyPair.generate(size=2048)
own = boss.selfSignedCert(7, CN=b"boss", O=b"x")
seen = []
signed = own.signCertificateRequest(bytes.fromhex(sys.argv[1]), lambda dn: seen.append(dn) or True, 8)
print(boss.certificateRequest(ssl.DN(CN=b"them", O=b"y")).hex())
print(signed.hex())
print(own.dump().hex())
print(seen[0].commonName.decode(), flush=True)
`;

t.test("plait and Twisted sign one another's requests", async (t) => {
  if (!needs(t, 'python')) return;
  const key = KeyPair.generate();
  const asked = key.certificateRequest(new DistinguishedName({ CN: 'a.test', O: 'z' }));
  const twisted = python(t, TWISTED_AUTHORITY, [asked.toString('hex')]);
  const { stdout, stderr } = await twisted.ended;
  const [theirs = '', signed = '', boss = '', seen] = stdout.toString().trim().split('\n');
  t.equal(seen, 'a.test', stderr.toString());
  const own = key.newCertificate(Buffer.from(signed, 'hex'));
  const authority = Certificate.load(Buffer.from(boss, 'hex'));
  t.equal(own.serialNumber(), 8n);
  t.equal(own.getSubject().toString(), 'CN=a.test, O=z');
  t.ok(own.original.checkIssued(authority.original));
  t.ok(own.original.verify(authority.getPublicKey().original));

  const request = CertificateRequest.load(Buffer.from(theirs, 'hex'));
  t.equal(request.getSubject().commonName, 'them');
  const mine = key.selfSignedCert(1, { CN: 'mine' });
  t.ok(mine instanceof PrivateCertificate);
  const made = mine.signRequestObject(request, 2);
  t.ok(made.original.verify(mine.getPublicKey().original));
  t.ok(made.getPublicKey().matches(request.getPublicKey()));
});
