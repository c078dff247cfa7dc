/** Twisted's datagrams and plait's: an echo server of the one and a client of the other, both ways. */
import { DatagramProtocol, type DatagramSource, Deferred, type Failure, Reactor } from 'plait';
import t, { type Test } from '../fixture.ts';
import { needs, python } from './servers.ts';

/** What is sent: of each length, and at both ends of what a datagram may have. */
const LENGTHS = [0, 1, 2, 512, 1472, 8191, 8192, 40_000, 65_507];

/** Prints its port, and sends back what it gets until that is `stop`. */
const SERVER = `
from twisted.internet import protocol, reactor

class Echo(protocol.DatagramProtocol):
    def datagramReceived(self, data, addr):
        if data == b"stop":
            reactor.stop()
        else:
            self.transport.write(data, addr)

print(reactor.listenUDP(0, Echo(), "127.0.0.1", 65535).getHost().port)
reactor.run()
`;

/** Sends each length by a connected port, one after the other, and prints those that came back as they were. */
const CLIENT = `
import sys
from twisted.internet import protocol, reactor

class Client(protocol.DatagramProtocol):
    def startProtocol(self):
        self.transport.connect("127.0.0.1", int(sys.argv[1]))
        self.lengths = [int(length) for length in sys.argv[2:]]
        self.same = []
        self.next()

    def next(self):
        if not self.lengths:
            print(self.same)
            reactor.stop()
            return
        self.sent = bytes(i % 251 for i in range(self.lengths.pop(0)))
        self.transport.write(self.sent)

    def datagramReceived(self, data, addr):
        if data == self.sent:
            self.same.append(len(data))
        self.next()

reactor.listenUDP(0, Client(), "127.0.0.1", 65535)
reactor.run()
`;

const OPTIONS = { interface: '127.0.0.1', maxPacketSize: 65_535 };

class Echo extends DatagramProtocol {
  override datagramReceived(data: Buffer, from: DatagramSource): void {
    this.transport.write(data, from);
  }
}

/** Sends each length and notes those that came back as they were. */
class Client extends DatagramProtocol {
  readonly done = new Deferred<number[]>();
  readonly #same: number[] = [];
  readonly #lengths = [...LENGTHS];
  readonly #there: number;
  #sent = Buffer.alloc(0);

  constructor(there: number) {
    super();
    this.#there = there;
  }

  override startProtocol(): void {
    this.transport.connect('127.0.0.1', this.#there);
    this.#next();
  }

  #next(): void {
    const length = this.#lengths.shift();
    if (length === undefined) {
      this.transport.write('stop');
      this.done.callback(this.#same);
      return;
    }
    this.#sent = Buffer.from(Array.from({ length }, (_, i) => i % 251));
    this.transport.write(this.#sent);
  }

  override datagramReceived(data: Buffer): void {
    if (data.equals(this.#sent)) this.#same.push(data.length);
    this.#next();
  }

  override errorReceived(reason: Failure): void {
    this.done.errback(reason);
  }
}

async function listen(t: Test, protocol: DatagramProtocol): Promise<number> {
  const port = new Reactor().listenUDP(0, protocol, OPTIONS);
  t.teardown(() => port.stopListening().asPromise());
  await port.ready;
  return port.getHost().port;
}

t.test("REA-29: plait's client gets back what it sends to Twisted's server", async (t) => {
  if (!needs(t, 'python')) return;
  const server = python(t, SERVER);
  const client = new Client(Number(await server.firstLine()));
  await listen(t, client);
  t.same(await client.done, LENGTHS);
  const { code, stderr } = await server.ended;
  t.equal(stderr.toString(), '');
  t.equal(code, 0);
});

t.test("REA-29: Twisted's client gets back what it sends to plait's server", async (t) => {
  if (!needs(t, 'python')) return;
  const port = await listen(t, new Echo());
  const { code, stdout, stderr } = await python(t, CLIENT, [port, ...LENGTHS].map(String)).ended;
  t.equal(stderr.toString(), '');
  t.equal(stdout.toString(), `[${LENGTHS.join(', ')}]\n`);
  t.equal(code, 0);
});
