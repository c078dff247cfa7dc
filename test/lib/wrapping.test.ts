/** Stand-ins for protocols: each passes on every hook, and lets the protocol behind it be replaced. */
import {
  type ClientFactory,
  ClientService,
  connectProtocol,
  type Deferred,
  Factory,
  type Failure,
  forwardHooks,
  type IListeningPort,
  IPv4Address,
  type IProtocol,
  type IProtocolFactory,
  isStandIn,
  type IStreamClientEndpoint,
  type IStreamServerEndpoint,
  type ITransport,
  Protocol,
  Reactor,
  ReconnectingClientFactory,
  StandIn,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
  TLSMemoryBIOFactory,
  wrapClientTLS,
  wrapServerTLS,
} from 'plait';
import { TimeoutFactory, TimeoutMixin, WrappingFactory } from 'plait/protocols/policies';
import { Clock, failureResultOf, flushLoggedErrors, StringTransport } from 'plait/testing';
import { OPTIONAL_HOOKS } from '../../lib/wrapping.ts';
import { CLIENT, SERVER } from '../contract/tls-kind.ts';
import t, { type Test } from '../fixture.ts';

const HOOKS = [
  'readConnectionLost',
  'writeConnectionLost',
  'handshakeCompleted',
  'connectionDraining',
  'takeUnread',
];

/** Has all hooks, and says which was called. */
class Full extends Protocol {
  readonly calls: string[] = [];
  override dataReceived(data: Buffer): void {
    this.calls.push(`data ${data.toString()}`);
  }
  override connectionLost(reason: Failure): void {
    this.calls.push(`lost ${reason.value.name}`);
  }
  readConnectionLost(): void {
    this.calls.push('readConnectionLost');
  }
  writeConnectionLost(): void {
    this.calls.push('writeConnectionLost');
  }
  handshakeCompleted(): void {
    this.calls.push('handshakeCompleted');
  }
  connectionDraining(): void {
    this.calls.push('connectionDraining');
  }
  protocolReplaced(): void {
    this.calls.push('protocolReplaced');
  }
  takeUnread(): Buffer {
    this.calls.push('takeUnread');
    return Buffer.from('unread');
  }
}

/** Everything that plait puts between a transport and a protocol: gives what the transport is given. */
const STAND_INS: Record<string, (protocol: Protocol) => IProtocol> = {
  StandIn: (protocol) => new StandIn(protocol),
  'an endpoint': (protocol) => viaEndpoint((endpoint) => void connectProtocol(endpoint, protocol)),
  ClientService: (protocol) =>
    viaEndpoint((endpoint) => {
      const factory = { buildProtocol: () => protocol, doStart() {}, doStop() {} };
      new ClientService(endpoint, factory, { clock: new Clock() }).startService();
    }),
  WrappingFactory: (protocol) => wrapped(new WrappingFactory(factoryOf(protocol))),
  TimeoutFactory: (protocol) =>
    wrapped(new TimeoutFactory(factoryOf(protocol), { clock: new Clock(), timeout: 30 })),
  'two of them': (protocol) =>
    wrapped(new WrappingFactory(new WrappingFactory(factoryOf(protocol)))),
  'a service over a policy': (protocol) =>
    viaEndpoint((endpoint) => {
      const factory = new WrappingFactory(factoryOf(protocol));
      new ClientService(endpoint, factory, { clock: new Clock() }).startService();
    }),
};

function factoryOf<P extends IProtocol>(protocol: P): Factory<P> {
  const factory = new Factory<P>();
  factory.buildProtocol = () => protocol;
  return factory;
}

const PEER = new StringTransport().getPeer();

function wrapped(factory: IProtocolFactory): IProtocol {
  return factory.buildProtocol(PEER) as IProtocol;
}

/** What `start` has an endpoint connect: through the reactor that it asks. */
function viaEndpoint(start: (endpoint: IStreamClientEndpoint) => void): IProtocol {
  let built: IProtocol | null = null;
  const reactor = {
    connectTCP: (_host: string, _port: number, factory: ClientFactory) => {
      built = factory.buildProtocol(PEER);
      return { getDestination: () => PEER, disconnect() {} };
    },
  };
  start(new TCP4ClientEndpoint(reactor as never, 'localhost', 1));
  return built as unknown as IProtocol;
}

t.test('FND-04: the list of the hooks that a protocol may have is whole', (t) => {
  t.same(OPTIONAL_HOOKS.flat(), HOOKS);
  t.end();
});

for (const [name, make] of Object.entries(STAND_INS)) {
  t.test(`FND-04: ${name} passes on each hook, and has those only that the protocol has`, (t) => {
    const full = new Full();
    const standIn = make(full) as unknown as Record<string, () => unknown>;
    for (const hook of HOOKS) {
      t.type(standIn[hook], 'function', hook);
      standIn[hook]?.();
      t.equal(full.calls.at(-1), hook);
    }
    t.same(standIn['takeUnread']?.(), Buffer.from('unread'), 'and gives back what it returns');
    const plain = make(new Protocol()) as unknown as Record<string, unknown>;
    for (const hook of HOOKS) t.type(plain[hook], 'undefined', hook);
    t.end();
  });

  t.test(`FND-25: a protocol behind ${name} is replaced, and that stays where it is`, (t) => {
    const before = new Full();
    const standIn = make(before);
    const transport = new StringTransport();
    standIn.makeConnection(transport);
    const own = before.transport;
    if (!isStandIn(standIn)) throw new TypeError(`${name} cannot be replaced`);
    const next = new Protocol();
    const got: string[] = [];
    next.dataReceived = (data) => void got.push(data.toString());
    next.connectionLost = ({ value }) => void got.push(value.name);
    standIn.replaceProtocol(next, transport);
    t.equal(next.transport, own, 'it has the transport that the one before had');
    standIn.dataReceived(Buffer.from('hello'));
    t.same(got, ['hello']);
    t.notOk('takeUnread' in standIn, 'its hooks are those of the new one');
    const third = new Full();
    standIn.replaceProtocol(third, transport);
    t.ok('takeUnread' in standIn);
    t.same(before.calls, ['protocolReplaced']);
    t.end();
  });
}

t.test('forwardHooks takes away what another protocol had', (t) => {
  const standIn = new Protocol() as Protocol & Partial<Full>;
  forwardHooks(standIn, new Full());
  forwardHooks(standIn, { readConnectionLost() {} });
  t.same(
    Object.keys(standIn).filter((key) => HOOKS.includes(key)),
    [],
  );
  t.end();
});

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    if (i > 200_000) throw new Error(`it never came to ${condition.toString()}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function addressOf(port: IListeningPort): IPv4Address {
  const address = port.getHost();
  if (!(address instanceof IPv4Address)) throw new TypeError(`it listens at ${address}`);
  return address;
}

async function serve(t: Test, reactor: Reactor, factory: IProtocolFactory): Promise<IPv4Address> {
  const endpoint = new TCP4ServerEndpoint(reactor, 0, { interface: '127.0.0.1' });
  const port = await endpoint.listen(factory);
  t.teardown(() => port.stopListening({ connections: 'abort' }).asPromise());
  return addressOf(port);
}

t.test('FND-25: a service goes on watching a connection whose protocol was replaced', async (t) => {
  const reactor = new Reactor();
  const accepted: ITransport[] = [];
  const greeter = factoryOf(new Protocol());
  greeter.buildProtocol = () => {
    const protocol = new Protocol();
    protocol.connectionMade = () => void accepted.push(protocol.transport);
    return protocol;
  };
  const { host, port } = await serve(t, reactor, greeter);
  const events: string[] = [];
  class Next extends Protocol {
    override connectionLost(): void {
      events.push('next lost');
    }
  }
  class Timed extends TimeoutMixin(Protocol) {
    override connectionMade(): void {
      this.clock = clock;
      this.setTimeout(10);
      this.transport.switchProtocol(new Next());
      t.equal(this.timeOut, null, 'the time-out of the one before is off');
      this.setTimeout(10);
      t.equal(this.timeOut, null, 'and cannot be set any more');
    }
    override connectionLost(): void {
      events.push('before lost');
    }
  }
  const clock = new Clock();
  const endpoint = new TCP4ClientEndpoint(reactor, host, port);
  const service = new ClientService(endpoint, Factory.forProtocol(Timed), {
    retryPolicy: () => 0,
  });
  service.startService();
  await until(() => accepted.length === 1);
  accepted[0]?.loseConnection();
  await until(() => accepted.length === 2);
  t.same(events, ['next lost']);
  await service.stopService();
  t.same(events, ['next lost', 'next lost']);
  t.same(clock.getDelayedCalls(), []);
});

t.test('FND-11: a client that fails in connectionMade is lost, and tried again', async (t) => {
  const reactor = new Reactor();
  const { host, port } = await serve(t, reactor, factoryOf(new Protocol()));
  const lost: string[] = [];
  let made = 0;
  class HalfBuilt extends Protocol {
    override connectionMade(): void {
      made++;
      if (made < 3) throw new RangeError('not yet');
      this.transport.loseConnection();
    }
  }
  class Again extends ReconnectingClientFactory {
    override initialDelay = 0;
    override jitter = 0;
    override buildProtocol(): Protocol {
      return new HalfBuilt();
    }
    override clientConnectionLost(
      ...args: Parameters<ClientFactory['clientConnectionLost']>
    ): void {
      lost.push(args[1].value.name);
      if (made < 3) super.clientConnectionLost(...args);
    }
  }
  reactor.connectTCP(host, port, new Again());
  await until(() => lost.length === 3);
  t.same(lost, ['RangeError', 'RangeError', 'ConnectionDone']);
  t.equal(flushLoggedErrors(RangeError).length, 2);
});

t.test(
  'FND-11: with an endpoint, the protocol hears what it has thrown, as the caller does',
  async (t) => {
    const reactor = new Reactor();
    const { host, port } = await serve(t, reactor, factoryOf(new Protocol()));
    const full = new Full();
    full.connectionMade = () => {
      throw new RangeError('half built');
    };
    const connecting = connectProtocol(new TCP4ClientEndpoint(reactor, host, port), full);
    await until(() => full.calls.length > 0);
    failureResultOf(connecting, RangeError);
    t.same(full.calls, ['lost RangeError']);
  },
);

/** What listens with TLS: with stand-ins over and under it too. */
const SECURED: Record<
  string,
  (below: IStreamServerEndpoint, factory: Factory, clock: Reactor) => Deferred<IListeningPort>
> = {
  'wrapServerTLS around an endpoint': (below, factory, clock) =>
    wrapServerTLS(SERVER, below, { clock }).listen(factory),
  'a policy within wrapServerTLS': (below, factory, clock) =>
    wrapServerTLS(SERVER, below, { clock }).listen(new WrappingFactory(factory)),
  'a policy around TLS': (below, factory, clock) =>
    below.listen(new WrappingFactory(new TLSMemoryBIOFactory(SERVER, false, factory, { clock }))),
};

for (const [name, listen] of Object.entries(SECURED)) {
  t.test(`FND-04: ${name} drains as an endpoint with TLS does`, async (t) => {
    const reactor = new Reactor();
    let asked = 0;
    class LastWords extends Protocol {
      override connectionMade(): void {
        this.transport.write('hello');
      }
      connectionDraining(): void {
        asked++;
        this.transport.write(', and goodbye');
        this.transport.loseConnection();
      }
    }
    const below = new TCP4ServerEndpoint(reactor, 0, { interface: '127.0.0.1' });
    const port = await listen(below, Factory.forProtocol(LastWords), reactor);
    const { host, port: number } = addressOf(port);
    let text = '';
    let lost = '';
    class Client extends Protocol {
      override dataReceived(data: Buffer): void {
        text += data.toString();
      }
      override connectionLost({ value }: Failure): void {
        lost = value.name;
      }
    }
    const endpoint = wrapClientTLS(CLIENT, new TCP4ClientEndpoint(reactor, host, number), {
      clock: reactor,
    });
    await connectProtocol(endpoint, new Client());
    await until(() => text === 'hello');
    await port.stopListening({ connections: 'drain' });
    await until(() => lost !== '');
    t.equal(asked, 1);
    t.same([text, lost], ['hello, and goodbye', 'ConnectionDone']);
  });
}
