/** That closing always ends: no close waits for a producer that can no longer answer. */
import {
  ClientFactory,
  Factory,
  type Failure,
  type IConnector,
  type IListeningPort,
  type IPullProducer,
  type IPushProducer,
  IPv4Address,
  Protocol,
  Reactor,
} from 'plait';
import { Clock, connectedServerAndClient, flushLoggedErrors } from 'plait/testing';
import t, { type Test } from '../fixture.ts';

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    if (i > 200_000) throw new Error(`it never came to ${condition.toString()}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** One end of a forwarded connection, in the shape of Twisted's `twisted.protocols.portforward`. */
class Proxy extends Protocol {
  other: Proxy | undefined;

  override dataReceived(data: Buffer): void {
    this.other?.transport.write(data);
  }

  override connectionLost(): void {
    this.other?.transport.loseConnection();
    this.other = undefined;
  }
}

class ProxyClient extends Proxy {
  constructor(server: Proxy) {
    super();
    this.other = server;
  }

  override connectionMade(): void {
    const server = this.other as Proxy;
    server.other = this;
    server.transport.registerProducer(this.transport, true);
    this.transport.registerProducer(server.transport, true);
    server.transport.resumeProducing();
  }
}

/** Forwards each connection to `backend`. */
function forwarder(reactor: Reactor, backend: IPv4Address): Factory {
  return new (class extends Factory {
    override buildProtocol(): Proxy {
      const server = new Proxy();
      server.connectionMade = () => {
        server.transport.pauseProducing();
        const factory = new (class extends ClientFactory {
          override buildProtocol(): Proxy {
            return new ProxyClient(server);
          }
          override clientConnectionFailed(_: IConnector): void {
            server.transport.loseConnection();
          }
        })();
        reactor.connectTCP(backend.host, backend.port, factory);
      };
      return server;
    }
  })();
}

async function listen(t: Test, reactor: Reactor, factory: Factory): Promise<IPv4Address> {
  const port: IListeningPort = reactor.listenTCP(0, factory, { interface: '127.0.0.1' });
  t.teardown(() => port.stopListening().asPromise());
  await port.ready;
  const address = port.getHost();
  if (!(address instanceof IPv4Address)) throw new TypeError(`it listens at ${address}`);
  return address;
}

t.test('FND-01: a forwarder closes when the backend does, each time', async (t) => {
  const reactor = new Reactor();
  const page = Buffer.alloc(100_000, 'x');
  const backend = await listen(
    t,
    reactor,
    new (class extends Factory {
      override buildProtocol(): Protocol {
        const protocol = new Protocol();
        protocol.dataReceived = () => {
          protocol.transport.write(page);
          protocol.transport.loseConnection();
        };
        return protocol;
      }
    })(),
  );
  const front = await listen(t, reactor, forwarder(reactor, backend));
  const reasons: string[] = [];
  let bytes = 0;
  for (let i = 0; i < 20; i++) {
    const client = new (class extends Protocol {
      override connectionMade(): void {
        this.transport.write('GET');
      }
      override dataReceived(data: Buffer): void {
        bytes += data.length;
      }
    })();
    client.connectionLost = ({ value }) => reasons.push(value.name);
    const factory = new ClientFactory();
    factory.buildProtocol = () => client;
    reactor.connectTCP(front.host, front.port, factory);
  }
  await until(() => reasons.length === 20);
  t.same(new Set(reasons), new Set(['ConnectionDone']));
  t.equal(bytes, 20 * page.length);
});

/** A pair in memory, whose time is a Clock's. */
function pair() {
  const clock = new Clock();
  const lost: string[] = [];
  class Noter extends Protocol {
    readonly who: string = 'server';
    override connectionLost({ value }: Failure): void {
      lost.push(`${this.who} ${value.name}`);
    }
  }
  class Client extends Noter {
    override readonly who = 'client';
  }
  const { client, pump } = connectedServerAndClient(Noter, Client, { clock });
  return { clock, pump, lost, transport: client.transport };
}

t.test('FND-01: a pull producer that gives nothing is not waited for for ever', (t) => {
  const { clock, pump, lost, transport } = pair();
  const told: string[] = [];
  const producer: IPullProducer = {
    resumeProducing: () => told.push('resume'),
    stopProducing: () => told.push('stop'),
  };
  transport.registerProducer(producer, false);
  transport.loseConnection();
  pump.flush();
  clock.advance(29);
  pump.flush();
  t.same(lost, [], 'it has half a minute');
  transport.write('a piece');
  pump.flush();
  clock.advance(29);
  pump.flush();
  t.same(lost, [], 'and again after each piece');
  clock.advance(1);
  pump.flush();
  t.same(lost.sort(), ['client ConnectionDone', 'server ConnectionDone']);
  t.same(told, ['resume', 'resume', 'stop']);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('FND-02: nor is a push producer that was told to go on and does not', (t) => {
  const { clock, pump, lost, transport } = pair();
  const told: string[] = [];
  const producer: IPushProducer = {
    pauseProducing: () => told.push('pause'),
    resumeProducing: () => told.push('resume'),
    stopProducing: () => told.push('stop'),
  };
  transport.registerProducer(producer, true);
  transport.write(Buffer.alloc(100_000));
  transport.loseConnection();
  pump.flush();
  t.same(told, ['pause', 'resume']);
  t.same(lost, []);
  clock.advance(30);
  pump.flush();
  t.equal(lost.length, 2);
  t.same(told, ['pause', 'resume', 'stop']);
  t.end();
});

t.test('FND-02: a producer that unregisters in time leaves no timer behind', (t) => {
  const { clock, pump, lost, transport } = pair();
  transport.registerProducer({ resumeProducing() {}, stopProducing() {} }, false);
  transport.loseConnection();
  pump.flush();
  t.equal(clock.getDelayedCalls().length, 1);
  transport.unregisterProducer();
  t.same(clock.getDelayedCalls(), []);
  pump.flush();
  t.equal(lost.length, 2);
  t.end();
});

t.test('a producer that throws when it is told to go on ends a close too', (t) => {
  const { pump, lost, transport } = pair();
  let asked = 0;
  transport.registerProducer(
    {
      resumeProducing() {
        if (asked++ > 0) throw new RangeError('no more');
        transport.write('one');
      },
      stopProducing() {},
    },
    false,
  );
  transport.loseConnection();
  pump.flush();
  t.ok(lost.includes('client RangeError'));
  t.equal(flushLoggedErrors(RangeError).length, 1);
  t.end();
});
