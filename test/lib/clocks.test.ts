/** What is made for a reactor keeps that reactor's time: in a simulation nothing asks the process's own. */
import {
  clientFromString,
  ClientService,
  coiterate,
  ConnectionDone,
  connectProtocol,
  cooperate,
  CooperatorService,
  Deferred,
  deferLater,
  Factory,
  Failure,
  HostnameEndpoint,
  type IProtocolFactory,
  LoopingCall,
  MultiService,
  optionsForClientTLS,
  Protocol,
  reactor as theReactor,
  scope,
  Service,
  serverFromString,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
  TimerService,
  TLSMemoryBIOFactory,
  wrapClientTLS,
  wrapServerTLS,
} from 'plait';
import { scan } from 'plait/protocols/clamd';
import { getPage } from 'plait/protocols/http';
import { ThrottlingFactory, TimeoutFactory, TimeoutMixin } from 'plait/protocols/policies';
import {
  Clock,
  Simulation,
  StringTransport,
  successResultOf,
  testCertificates,
} from 'plait/testing';
import t, { type Test } from '../fixture.ts';

/** Whoever asks the process's reactor for time fails the test, until that ends. */
function forbidGlobalTime(t: Test): void {
  const asked: string[] = [];
  const forbid = (name: 'callLater' | 'seconds') =>
    Object.defineProperty(theReactor, name, {
      configurable: true,
      value: () => {
        asked.push(name);
        throw new Error(`${name} of the process's reactor was called`);
      },
    });
  forbid('callLater');
  forbid('seconds');
  t.teardown(() => {
    Reflect.deleteProperty(theReactor, 'callLater');
    Reflect.deleteProperty(theReactor, 'seconds');
    if (asked.length > 0) throw new Error(`asked of the process's reactor: ${asked.join(', ')}`);
  });
}

/** Notes how its connection ends. */
class Noting extends Protocol {
  readonly lost: Deferred<string> = new Deferred<string>();
  override connectionLost(reason: { readonly value: Error }) {
    this.lost.callback(reason.value.name);
  }
}

t.test('FND-05: handshakes have the time of their reactor', async (t) => {
  forbidGlobalTime(t);
  const sim = new Simulation();
  const server = sim.host('server').reactor;
  const client = sim.host('client').reactor;
  // Says nothing.
  server.listenTCP(443, Factory.forProtocol(Protocol));
  await Promise.all(
    ['tls:server:443', 'ssl:server:443', 'tls:server:443:endpoint=tcp\\:server\\:443'].map(
      async (description) => {
        const noting = new Noting();
        await sim.finish(connectProtocol(clientFromString(client, description), noting));
        t.match(await sim.finish(noting.lost, 100), /Error/, description);
      },
    ),
  );
  const plain = new TCP4ClientEndpoint(client, 'server', 443);
  const wrapped = wrapClientTLS(optionsForClientTLS('server'), plain);
  const twice = wrapClientTLS(optionsForClientTLS('server'), wrapped);
  for (const endpoint of [wrapped, twice]) {
    const noting = new Noting();
    await sim.finish(connectProtocol(endpoint, noting));
    t.match(await sim.finish(noting.lost, 100), /Error/);
  }

  const identity = testCertificates().server.certificate;
  const taken: Noting[] = [];
  const factory = new Factory<Noting>();
  factory.buildProtocol = () => {
    const noting = new Noting();
    taken.push(noting);
    return noting;
  };
  await sim.finish(
    wrapServerTLS(identity.options(), new TCP4ServerEndpoint(server, 8443)).listen(factory),
  );
  const silent = new Noting();
  await sim.finish(connectProtocol(new TCP4ClientEndpoint(client, 'server', 8443), silent));
  await sim.finish(silent.lost, 100);
  t.equal(taken.length, 1);
  t.match(await sim.finish(taken[0]!.lost), /Error/);
});

t.test(
  'FND-05: endpoints, services and protocols have the time that they were given',
  async (t) => {
    forbidGlobalTime(t);
    const sim = new Simulation();
    const server = sim.host('server').reactor;
    const { reactor } = sim.host('client');
    const throttled = new ThrottlingFactory(Factory.forProtocol(Protocol), {
      clock: server,
      readLimit: 1000,
    });
    const idle = new TimeoutFactory(throttled, { clock: server, timeout: 5 });
    await sim.finish(serverFromString(server, 'tcp:7').listen(idle as IProtocolFactory));
    const noting = new Noting();
    await sim.finish(connectProtocol(new HostnameEndpoint(reactor, 'server', 7), noting));
    t.equal(await sim.finish(noting.lost), 'ConnectionDone');
    await sim.finish(deferLater(reactor, 3));
    await t.rejects(sim.finish(getPage('http://server:7/', { reactor, timeout: 3 })));
    const scanned = await sim
      .finish(
        scan(Buffer.from('x'), {
          reactor,
          endpoint: new TCP4ClientEndpoint(reactor, 'server', 7),
          timeout: 9,
        }),
      )
      .catch(() => ({ status: 'error' }));
    t.not(scanned.status, 'clean');
    await t.rejects(sim.finish(scope(() => new Deferred(), { timeout: 2, clock: reactor })));
    const all = new MultiService();
    all.clock = reactor;
    const timer = new TimerService(1, () => deferLater(reactor, 5));
    timer.clock = reactor;
    timer.setServiceParent(all);
    new ClientService(new TCP4ClientEndpoint(reactor, 'server', 7), Factory.forProtocol(Protocol), {
      clock: reactor,
    }).setServiceParent(all);
    all.startService();
    const loop = new LoopingCall(() => {});
    loop.clock = reactor;
    void loop.start(1);
    sim.advance(10);
    loop.stop();
    await sim.finish(all.stopService());
  },
);

t.test('FND-05: a protocol that times out has the time of its transport', async (t) => {
  forbidGlobalTime(t);
  const sim = new Simulation();
  const server = sim.host('server').reactor;
  const { reactor } = sim.host('client');
  class Patient extends TimeoutMixin(Protocol) {
    override connectionMade() {
      this.setTimeout(5);
    }
  }
  // Below policies, and below TLS, too.
  server.listenTCP(7, Factory.forProtocol(Patient));
  server.listenTCP(8, new ThrottlingFactory(Factory.forProtocol(Patient), { clock: server }));
  for (const port of [7, 8]) {
    const noting = new Noting();
    await sim.finish(connectProtocol(new TCP4ClientEndpoint(reactor, 'server', port), noting));
    const before = reactor.seconds();
    t.equal(await sim.finish(noting.lost), 'ConnectionDone');
    t.ok(reactor.seconds() - before < 6);
  }
  const clock = new Clock();
  const transport = new StringTransport({ clock });
  const patient = new Patient();
  patient.makeConnection(transport);
  t.equal(patient.clock, clock);
  clock.advance(5);
  t.equal(transport.disconnecting, true);
  patient.connectionLost(new Failure(new ConnectionDone()));
  t.same(clock.getDelayedCalls(), []);
  t.equal(new StringTransport().clock, undefined);

  const below = new StringTransport({ clock });
  const secured = new TLSMemoryBIOFactory(
    optionsForClientTLS('server'),
    true,
    Factory.forProtocol(Patient),
  ).buildProtocol(below.getPeer());
  secured?.makeConnection(below);
  t.ok(clock.getDelayedCalls().length > 0, 'the time of the transport below');
  t.equal(secured?.wrappedProtocol.clock, clock);
  secured?.connectionLost(new Failure(new ConnectionDone()));
  clock.advance(0);
});

t.test(
  'FND-05: what takes turns has the time that it was given, also one that stands still',
  (t) => {
    forbidGlobalTime(t);
    const clock = new Clock();
    let pieces = 0;
    let between = 0;
    function* work() {
      clock.callLater(0, () => (between = pieces));
      while (++pieces < 2500) yield;
    }
    const first = coiterate(work(), { clock });
    const task = cooperate([1, 2].values(), { clock });
    clock.advance(0);
    // Few: FND-86 counts turns at one moment, and an endless task is to be found within seconds.
    t.ok(between > 0 && between <= 100, `others have had a turn after ${between} pieces`);
    successResultOf(first);
    successResultOf(task.whenDone());
    const service = new CooperatorService({ clock });
    service.startService();
    const done = service.coiterate([1].values());
    clock.advance(0);
    successResultOf(done);
    void service.stopService();
    t.same(clock.getDelayedCalls(), []);
    t.end();
  },
);

t.test('FND-05: a set of services has the time of the sets above, or of its parts', (t) => {
  forbidGlobalTime(t);
  class Stuck extends Service {
    override stopService() {
      return new Deferred<void>();
    }
  }
  const clock = new Clock();
  const [outer, inner, alone] = [new MultiService(), new MultiService(), new MultiService()];
  outer.clock = clock;
  inner.setServiceParent(outer);
  new Stuck().setServiceParent(inner);
  const timer = new TimerService(1, () => new Deferred());
  timer.setServiceParent(inner);
  t.equal(timer.clock, clock);
  outer.startService();
  const stopped = outer.stopService();
  clock.advance(45);
  successResultOf(stopped);

  new Stuck().setServiceParent(alone);
  t.equal(alone.clock, theReactor);
  const client = new ClientService(
    { connect: () => new Deferred() },
    Factory.forProtocol(Protocol),
    { clock },
  );
  client.setServiceParent(alone);
  alone.startService();
  const over = alone.stopService();
  clock.advance(45);
  successResultOf(over);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});
