/** Other people's clients at plait's echo server. */
import { IPv4Address, Reactor } from 'plait';
import { EchoFactory } from 'plait/protocols/echo';
import t, { type Test } from '../fixture.ts';
import { needs, python, Running } from './servers.ts';

/** Starts an echo server, and returns its port. */
async function startEcho(t: Test): Promise<number> {
  const port = new Reactor().listenTCP(0, new EchoFactory(), { interface: '127.0.0.1' });
  t.teardown(() => port.stopListening().asPromise());
  await port.ready;
  const host = port.getHost();
  if (!(host instanceof IPv4Address)) throw new Error(`listens on ${host}`);
  return host.port;
}

t.test('curl, as a telnet client, gets back what is typed', async (t) => {
  if (!needs(t, 'curl')) return;
  const port = await startEcho(t);
  const options = ['-q', '--silent', '--show-error', '--no-buffer', '--max-time', '30'];
  const url = `telnet://127.0.0.1:${port}`;
  const curl = new Running(t, 'curl', [...options, '--noproxy', '*', url]);
  curl.stdin.write('hello, server\n');
  t.equal(await curl.firstLine(), 'hello, server');
  const text = 'a line of some length, many times over\n'.repeat(1000);
  curl.stdin.write(text);
  const expected = `hello, server\n${text}`;
  // It stays until the server closes, so what it prints has to be watched.
  while (curl.output.length < expected.length) await new Promise((next) => setImmediate(next));
  await curl.stop();
  t.ok(curl.output === expected);
});

/** Sends as much as it is told, on as many connections as it is told, and says whether all of it came back. */
const CLIENT = `
import os, sys
from twisted.internet import defer, protocol, reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

class Client(protocol.Protocol):
    def __init__(self, size):
        self.sent, self.received, self.missing = os.urandom(size), [], size
        self.done = defer.Deferred()

    def connectionMade(self):
        self.transport.write(self.sent)

    def dataReceived(self, data):
        self.received.append(data)
        self.missing -= len(data)
        if self.missing == 0:
            self.transport.loseConnection()

    def connectionLost(self, reason):
        same = b"".join(self.received) == self.sent
        self.done.callback((same, reason.type.__name__))

def client(size):
    connecting = connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Client(size))
    return connecting.addCallback(lambda client: client.done)

port, sizes = int(sys.argv[1]), [int(size) for size in sys.argv[2:]]
all_done = defer.gatherResults([client(size) for size in sizes])
all_done.addCallback(lambda outcomes: print(sorted(set(outcomes))))
all_done.addErrback(lambda failure: print(failure))
all_done.addBoth(lambda _: reactor.stop())
reactor.run()
`;

t.test("Twisted's clients get back what they send, many at once", async (t) => {
  if (!needs(t, 'python')) return;
  const port = await startEcho(t);
  const sizes = [1, 2, 65_536, 5_000_000, ...Array.from({ length: 20 }, (_, i) => 1 + i * 10_000)];
  const { code, stdout, stderr } = await python(t, CLIENT, [port, ...sizes].map(String)).ended;
  t.equal(stderr.toString(), '');
  t.equal(stdout.toString(), "[(True, 'ConnectionDone')]\n");
  t.equal(code, 0);
});
