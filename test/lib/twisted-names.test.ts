/** Names that programs written for Twisted use: each does what Twisted's does, or what the page on Twisted says. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ClientFactory,
  CooperatorService,
  Cooperator,
  DatagramProtocol,
  Deferred,
  deferLater,
  deferToThreadPool,
  Factory,
  type IListeningPort,
  inlineCallbacks,
  isInIOThread,
  MulticastServer,
  MultiService,
  NotACoroutineError,
  optionsForClientTLS,
  ProcessEndpoint,
  Protocol,
  Reactor,
  Service,
  SSLClient,
  SSLServer,
  StandardErrorBehavior,
  strports,
  TCPClient,
  TCPServer,
  threadModule,
  UDPServer,
  UNIXClient,
  UNIXServer,
  which,
} from 'plait';
import { Echo } from 'plait/protocols/echo';
import {
  Clock,
  failureResultOf,
  flushLoggedErrors,
  MemoryReactor,
  successResultOf,
  testCertificates,
} from 'plait/testing';
import type * as Asks from './thread-asks.ts';
import t from '../fixture.ts';

// ── Services around a call of the reactor ────────────────────────────────────────────────────────────────────────────

t.test(
  'each kind of service listens, or connects, when it is started, and ends when it is stopped',
  async (t) => {
    const reactor = new MemoryReactor();
    const factory = Factory.forProtocol(Protocol);
    const clients = ClientFactory.forProtocol(Protocol);
    const { server } = testCertificates();
    const trusting = optionsForClientTLS('example.com');
    const datagrams = [new DatagramProtocol(), new DatagramProtocol()] as const;
    const at = { interface: '127.0.0.1' };
    const servers = [
      new TCPServer(80, factory, { reactor, backlog: 7, ...at }),
      new SSLServer(443, factory, server.options, { reactor, ...at }),
      new UNIXServer('/x', factory, { reactor, mode: 0o600 }),
      new UDPServer(53, datagrams[0], { reactor, maxPacketSize: 100 }),
      new MulticastServer(5353, datagrams[1], { reactor, listenMultiple: true }),
    ];
    const connecting = [
      new TCPClient('127.0.0.1', 81, clients, { reactor, timeout: 3 }),
      new SSLClient('127.0.0.1', 444, clients, trusting, { reactor }),
      new UNIXClient('/y', clients, { reactor, checkPID: false }),
    ];
    const all = new MultiService();
    for (const service of [...servers, ...connecting]) service.setServiceParent(all);
    t.same([reactor.tcpServers, reactor.tcpClients, reactor.udpPorts], [[], [], []]);
    all.startService();
    t.match(reactor.tcpServers, [{ port: 80, factory, backlog: 7, interface: '127.0.0.1' }]);
    t.match(reactor.sslServers, [{ port: 443, contextFactory: server.options }]);
    t.match(reactor.unixServers, [{ address: '/x', mode: 0o600 }]);
    t.match(reactor.udpPorts, [
      { port: 53, protocol: datagrams[0] },
      { port: 5353, options: { listenMultiple: true } },
    ]);
    t.match(reactor.tcpClients, [{ host: '127.0.0.1', port: 81, factory: clients, timeout: 3 }]);
    t.match(reactor.sslClients, [{ port: 444, contextFactory: trusting }]);
    t.match(reactor.unixClients, [{ address: '/y', checkPID: false }]);
    for (const service of servers) t.equal(service.port?.getHost() === undefined, false);
    t.same(
      connecting.map(({ connector }) => connector?.state),
      ['connecting', 'connecting', 'connecting'],
    );
    const connectors = connecting.map(({ connector }) => connector);

    // What runs is not started again.
    all.startService();
    t.equal(reactor.tcpServers.length + reactor.tcpClients.length, 2);

    const stopped = all.stopService();
    reactor.flush();
    successResultOf(stopped);
    t.same(
      [servers.map(({ port }) => port), connecting.map(({ connector }) => connector)].flat(),
      Array(8).fill(undefined),
    );
    t.same(
      connectors.map((connector) => connector?.state),
      Array(3).fill('disconnected'),
    );
    // And a second time.
    successResultOf(all.stopService());
    all.privilegedStartService();
    t.equal(reactor.tcpServers.length, 2);
    t.equal(reactor.tcpClients.length, 1, 'a client needs no privileges');
    all.startService();
    t.equal(reactor.tcpServers.length, 2);
    t.equal(reactor.tcpClients.length, 2);
    const again = all.stopService();
    reactor.flush();
    successResultOf(again);
  },
);

t.test('a server and a client as services, over a real network', async (t) => {
  const reactor = new Reactor();
  const web = new TCPServer(0, Factory.forProtocol(Echo), { reactor, interface: '127.0.0.1' });
  web.startService();
  const port = await (web.port as IListeningPort).ready;
  const heard = new Deferred<string>();
  const lost = new Deferred<void>();
  class Greeter extends Protocol {
    override connectionMade(): void {
      this.transport.write('hello');
    }
    override dataReceived(data: Buffer): void {
      heard.callback(data.toString());
    }
    override connectionLost(): void {
      lost.callback();
    }
  }
  const { port: number } = port.getHost() as never as { port: number };
  const client = new TCPClient('127.0.0.1', number, ClientFactory.forProtocol(Greeter), {
    reactor,
  });
  client.startService();
  t.equal(await heard, 'hello');
  successResultOf(client.stopService());
  await lost;
  await web.stopService();
  t.equal(web.port, undefined);
});

t.test('what the reactor throws when a service is started is thrown on', async (t) => {
  const reactor = new MemoryReactor();
  const wrong = new TCPServer(-1, Factory.forProtocol(Protocol), { reactor });
  t.throws(() => wrong.startService());
  t.equal(wrong.port, undefined);
  successResultOf(wrong.stopService());
});

t.test('strports spells what serviceFromString does', async (t) => {
  const reactor = new MemoryReactor();
  const factory = Factory.forProtocol(Protocol);
  const web = strports.service('tcp:80:interface=127.0.0.1', factory, reactor);
  web.startService();
  t.match(reactor.tcpServers, [{ port: 80, interface: '127.0.0.1', factory }]);
  const port = successResultOf(strports.listen('tcp:81', factory, reactor));
  t.match(port.getHost(), { port: 81 });
  t.throws(() => strports.service('nonsense', factory, reactor), /nonsense/);
  t.throws(() => strports.listen('nonsense:', factory, reactor), /nonsense/);
  const stopped = web.stopService();
  reactor.flush();
  successResultOf(stopped);
});

// ── Others ───────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a set of services shows its parts, and those that have names', async (t) => {
  const all = new MultiService();
  const [one, two, three] = [new Service(), new Service(), new Service()];
  two.setName('two');
  three.setName('three');
  for (const service of [one, two, three]) service.setServiceParent(all);
  t.strictSame(all.services, [one, two, three]);
  t.strictSame([...all], [one, two, three]);
  t.strictSame(
    [...all.namedServices],
    [
      ['two', two],
      ['three', three],
    ],
  );
  const before = all.namedServices;
  void two.disownServiceParent();
  t.equal(before.size, 2, 'a look does not change');
  t.strictSame([...all.namedServices.keys()], ['three']);
  t.strictSame(all.services, [one, three]);
});

t.test('coiterate fires the Deferred that it is given', async (t) => {
  const clock = new Clock();
  const cooperator = new Cooperator({ clock });
  const done = new Deferred<Iterator<unknown>>();
  const work = [1, 2, 3].values();
  t.equal(cooperator.coiterate(work, done), done);
  t.notOk(done.called);
  clock.advance(1);
  t.equal(successResultOf(done), work);
  const failing = new Deferred<Iterator<unknown>>();
  const broken = {
    next() {
      throw new RangeError('broken');
    },
  };
  cooperator.coiterate(broken, failing);
  clock.advance(1);
  failureResultOf(failing, RangeError);
  const service = new CooperatorService({ clock });
  const later = new Deferred<Iterator<unknown>>();
  service.coiterate([1].values(), later);
  clock.advance(1);
  t.notOk(later.called);
  service.startService();
  clock.advance(1);
  t.ok(successResultOf(later));
  await service.stopService();
});

t.test('Deferred.fromCoroutine runs a coroutine, and takes nothing else', async (t) => {
  const clock = new Clock();
  const work = function* (): Generator<unknown, string> {
    yield* deferLater(clock, 1);
    return 'done';
  };
  const outcome = Deferred.fromCoroutine(work());
  t.notOk(outcome.called);
  clock.advance(1);
  t.equal(successResultOf(outcome), 'done');
  t.equal(await Deferred.fromCoroutine(Promise.resolve(5)), 5);
  const failing = Deferred.fromCoroutine(
    (function* (): Generator<unknown, never> {
      throw new RangeError('no');
    })(),
  );
  failureResultOf(failing, RangeError);
  const cancelled = Deferred.fromCoroutine(work());
  cancelled.cancel();
  failureResultOf(cancelled);
  for (const wrong of [new Deferred(), 5, null, undefined, {}, 'x', inlineCallbacks(work)])
    t.throws(() => Deferred.fromCoroutine(wrong as never), NotACoroutineError);
});

t.test('which lists what may be executed, in the order of PATH', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'plait-which-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const [a, b, c] = ['a', 'b', 'c'].map((name) => join(folder, name)) as [string, string, string];
  for (const one of [a, b, c]) mkdirSync(one);
  const file = (path: string, mode: number) => {
    writeFileSync(path, '');
    chmodSync(path, mode);
    return path;
  };
  const first = file(join(b, 'tool'), 0o755);
  const second = file(join(a, 'tool'), 0o755);
  file(join(c, 'tool'), 0o644);
  mkdirSync(join(c, 'folder'), { mode: 0o755 });
  const script = file(join(a, 'tool.sh'), 0o755);
  const PATH = `${b}:${a}/:${c}:${join(folder, 'missing')}:${b}`;
  t.same(which('tool', { PATH }), [first, second, first]);
  t.same(which('tool', { PATH, PATHEXT: '.sh::.py' }), [first, second, script, first]);
  t.same(which('folder', { PATH }), []);
  t.same(which('nothing', { PATH }), []);
  t.same(which('tool', {}), []);
  t.same(which(first, { PATH: c }), [first]);
  t.same(which('tool', { PATH: '' }), []);
  t.ok(which('node', { PATH: join(process.execPath, '..') }).includes(process.execPath));
  t.type(which('node'), Array);
  t.throws(() => which(5 as never), TypeError);
});

t.test('the thread of the reactor is told from those of its pool', async (t) => {
  t.equal(isInIOThread(), true);
  const reactor = new Reactor();
  const asks = threadModule<typeof Asks>(new URL('./thread-asks.ts', import.meta.url));
  t.equal(await deferToThreadPool(reactor, reactor.getThreadPool(), asks.isInIOThread), false);
  await reactor.getThreadPool().stop();
});

t.test('what a program writes to standard error is dropped, if the constant says so', async (t) => {
  t.same(StandardErrorBehavior, { LOG: 'log', DROP: 'drop' });
  const reactor = new MemoryReactor();
  const endpoint = new ProcessEndpoint(reactor, '/bin/x', { errFlag: StandardErrorBehavior.DROP });
  void endpoint.connect(Factory.forProtocol(Protocol));
  const [started] = reactor.processes;
  t.equal(started?.executable, '/bin/x');
  started?.child.exit(0);
  reactor.flush();
  t.same(flushLoggedErrors(), []);
});

t.test('a factory has a name for the log, as its protocols have', async (t) => {
  class Shop extends Factory {}
  t.equal(new Shop().logPrefix(), 'Shop');
  t.equal(new ClientFactory().logPrefix(), 'ClientFactory');
});
