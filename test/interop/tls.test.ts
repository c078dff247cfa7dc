/** TLS with other people's engines: OpenSSL's programs, curl, and Twisted. */
import { join } from 'node:path';
import { type ITLSTransport, Reactor } from 'plait';
import { inet } from '../contract/kinds.ts';
import { Recorder, serving } from '../contract/recorder.ts';
import { CLIENT, SERVER } from '../contract/tls-kind.ts';
import t, { type Test } from '../fixture.ts';
import { curl, needs, openssl, python, Running } from './servers.ts';

t.setTimeout(60_000);

const FIXTURES = join(import.meta.dirname, '../fixtures/tls');
const [CA, CERT, KEY] = ['ca.pem', 'server.pem', 'server.key'].map((name) =>
  join(FIXTURES, name),
) as [string, string, string];

async function until(condition: () => boolean): Promise<void> {
  for (const patience = Date.now() + 20_000; !condition();) {
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
