/** What is made for a reactor keeps that reactor's time: in a simulation nothing asks the process's own. */
import { join } from 'node:path';
import {
  clientFromString,
  ClientService,
  connectProtocol,
  Deferred,
  deferLater,
  Factory,
  HostnameEndpoint,
  type IProtocolFactory,
  LoopingCall,
  MultiService,
  optionsForClientTLS,
  PrivateCertificate,
  Protocol,
  reactor as theReactor,
  scope,
  serverFromString,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
  TimerService,
  wrapClientTLS,
  wrapServerTLS,
} from 'plait';
import { scan } from 'plait/protocols/clamd';
import { getPage } from 'plait/protocols/http';
import { ThrottlingFactory, TimeoutFactory } from 'plait/protocols/policies';
import { Simulation } from 'plait/testing';
import { readFileSync } from 'node:fs';
import t, { type Test } from '../fixture.ts';

const folder = join(import.meta.dirname, '../fixtures/tls');

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

  const identity = PrivateCertificate.loadPEM(
    readFileSync(join(folder, 'server.pem'), 'latin1') +
      readFileSync(join(folder, 'server.key'), 'latin1'),
  );
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
