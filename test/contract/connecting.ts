/**
 * How outgoing connections are born: a connector and its factory, in every state, and each way to fail.
 */
import {
  ConnectBindError,
  ConnectionLost,
  DNSLookupError,
  type Failure,
  type IConnector,
  type IListeningPort,
  NotConnectingError,
  UNIXAddress,
  UserError,
} from 'plait';
import type { Test } from '../fixture.ts';
import { inet, type Kind, pathOf } from './kinds.ts';
import { Recorder, RecordingFactory, serving } from './recorder.ts';
import { fail, logged, type Exception, Rules, type Stage } from './rules.ts';

export function contract(t: Pick<Test, 'test'>, kind: Kind): void {
  rules.show(t, kind, 'connecting', (stage) => stage);
}

const rules = new Rules<Stage>();

const needsIP: Exception = ({ address }) =>
  address === UNIXAddress ? 'it is about IP addresses' : '';

// ── The life of a connector ──────────────────────────────────────────────────────────────────────────────────────────

rules.state('the factory hears of everything, in order', async ({ t, world, kind }) => {
  const order: string[] = [];
  const note = (what: string) => () => order.push(`${what}: ${connector.state}`);
  const protocol = new Recorder({ made: note('made'), lost: note('lost') });
  const factory = new RecordingFactory({
    start: () => order.push('start'),
    connecting: (connector) => order.push(`connecting: ${connector.state}`),
    build: () => {
      note('build')();
      return protocol;
    },
    lost: note('client lost'),
    stop: note('stop'),
  });
  const server = await world.answer();
  const connector: IConnector = world.connect(server.address, factory);
  t.same(order, ['start', 'connecting: connecting']);
  const peer = await server.peer();
  await world.until(() => protocol.events.length === 1);
  t.ok(factory.addresses[0] instanceof kind.address);
  t.equal(String(factory.addresses[0]), String(server.address));
  t.equal(String(protocol.transport.getPeer()), String(server.address));
  t.equal(String(connector.getDestination()), String(server.address));
  peer.end();
  await world.until(() => order.at(-1)?.startsWith('stop') === true);
  t.same(order, [
    'start',
    'connecting: connecting',
    'build: connected',
    'made: connected',
    'lost: connected',
    'client lost: disconnected',
    'stop: disconnected',
  ]);
  t.equal(factory.reason, protocol.reason, 'both are given the same reason');
});

rules.state('where nobody listens it fails, once', async ({ t, world, kind }) => {
  const where = await world.nobody();
  const factory = new RecordingFactory();
  const connector = world.connect(where, factory);
  await world.until(() => factory.events.includes('stop'));
  await world.settle();
  t.same(factory.events, ['start', 'connecting', `failed ${kind.refusal.name}`, 'stop']);
  t.ok(factory.reason?.value instanceof kind.refusal);
  t.match(factory.reason?.value.message, `cannot connect to ${where}: `);
  t.match((factory.reason?.value as NodeJS.ErrnoException).code, /^(ECONNREFUSED|ENOENT)$/);
  t.equal(connector.state, 'disconnected');
});

rules.state(
  'disconnect closes, and whatever is not possible in a state throws',
  async ({ t, world }) => {
    const factory = new RecordingFactory();
    const server = await world.answer();
    const connector = world.connect(server.address, factory);
    t.throws(() => connector.connect(), /the connector is connecting/);
    const peer = await server.peer();
    await world.until(() => connector.state === 'connected');
    t.throws(() => connector.connect(), /the connector is connected/);
    t.throws(() => connector.stopConnecting(), NotConnectingError);
    connector.disconnect();
    connector.disconnect();
    await world.until(() => factory.events.includes('stop') && peer.ended);
    t.same(factory.built[0]?.events, ['made', 'lost ConnectionDone']);
    t.same(factory.events, ['start', 'connecting', 'build', 'lost ConnectionDone', 'stop']);
    t.throws(() => connector.stopConnecting(), NotConnectingError);
    connector.disconnect();
    connector.connect();
    await world.until(() => connector.state === 'connected');
    t.same(factory.events.slice(5), ['start', 'connecting', 'build']);
  },
);

rules.state(
  'connect may be asked for again inside either hook of the end',
  async ({ t, world }) => {
    let failures = 0;
    let losses = 0;
    const where = await world.nobody();
    const refused = new RecordingFactory({
      failed: (connector) => {
        if (++failures < 3) connector.connect();
      },
    });
    world.connect(where, refused);
    await world.until(() => refused.events.includes('stop'));
    t.equal(failures, 3);
    t.same(
      refused.events.filter((event) => event === 'start' || event === 'stop'),
      ['start', 'stop'],
    );

    const server = await world.answer();
    const lost = new RecordingFactory({
      lost: (connector) => {
        if (++losses < 3) connector.connect();
      },
    });
    world.connect(server.address, lost);
    for (let i = 0; i < 3; i++) {
      const peer = await server.peer();
      await world.until(() => lost.built.length === i + 1);
      peer.end();
    }
    await world.until(() => lost.events.includes('stop'));
    t.equal(losses, 3);
    t.same(
      lost.events.filter((event) => event === 'start' || event === 'stop'),
      ['start', 'stop'],
    );
    t.equal(lost.numPorts, 0);
  },
);

rules.state('it may be asked for again later, too', async ({ t, world }) => {
  const factory = new RecordingFactory();
  const where = await world.nobody();
  const connector = world.connect(where, factory);
  await world.until(() => factory.events.includes('stop'));
  const port = world.listen(new RecordingFactory(), where);
  await port.ready;
  connector.connect();
  await world.until(() => connector.state === 'connected');
  t.same(factory.events.slice(4), ['start', 'connecting', 'build']);
});

// ── Giving up ────────────────────────────────────────────────────────────────────────────────────────────────────────

rules.state(
  'REA-16: an attempt can be given up at once, inside the hook that announces it, or later',
  async ({ t, world }) => {
    const server = await world.answer();
    const waysToStop: ((factory: RecordingFactory) => Promise<void>)[] = [
      async (factory) => world.connect(server.address, factory).stopConnecting(),
      async (factory) => world.connect(server.address, factory).disconnect(),
      async (factory) => {
        const connector = world.connect(server.address, factory);
        await new Promise((resolve) => process.nextTick(resolve));
        if (connector.state === 'connecting') connector.stopConnecting();
      },
    ];
    for (const stop of waysToStop) {
      const factory = new RecordingFactory();
      await stop(factory);
      t.same(factory.events, ['start', 'connecting', 'failed UserError', 'stop']);
      t.match(factory.reason?.value.message, `connecting to ${server.address} was given up`);
    }
    const inside = new RecordingFactory({ connecting: (connector) => connector.stopConnecting() });
    const connector = world.connect(server.address, inside);
    await world.settle();
    t.same(inside.events, ['start', 'connecting', 'failed UserError', 'stop']);
    t.ok(inside.reason?.value instanceof UserError);
    t.equal(connector.state, 'disconnected');
  },
);

rules.state(
  'REA-16: one that nobody answers can be given up, and runs out of time',
  async ({ t, world }) => {
    const where = await world.blackhole!();
    const timed = new RecordingFactory();
    world.connect(where, timed, { timeout: 0.05 });
    const given = new RecordingFactory();
    const connector = world.connect(where, given, { timeout: null });
    await new Promise<void>((resolve) => world.reactor.callLater(0.01, resolve));
    t.equal(connector.state, 'connecting');
    connector.stopConnecting();
    t.same(given.events, ['start', 'connecting', 'failed UserError', 'stop']);
    await world.until(() => timed.events.includes('stop'));
    t.same(timed.events, ['start', 'connecting', 'failed TimeoutError', 'stop']);
    t.match(
      timed.reason?.value.message,
      `cannot connect to ${where}: no connection after 0.05 seconds`,
    );
    t.same(world.reactor.getDelayedCalls(), []);
  },
  ({ name }) => (name.startsWith('tcp') ? '' : 'there, to be connected is not to be accepted'),
);

rules.state(
  'no timer is left when it has connected, failed or been given up',
  async ({ t, world, kind }) => {
    const server = await world.answer();
    const factories = [new RecordingFactory(), new RecordingFactory(), new RecordingFactory()];
    world.connect(server.address, factories[0]!);
    world.connect(await world.nobody(), factories[1]!);
    world.connect(server.address, factories[2]!).stopConnecting();
    await world.until(() => factories[0]!.built.length === 1);
    await world.until(() => factories[1]!.events.includes('stop'));
    // A handshake has a time of its own, and goes on.
    if (kind.name === 'tls') await world.until(() => world.reactor.getDelayedCalls().length === 0);
    t.same(world.reactor.getDelayedCalls(), []);
  },
);

rules.state('attempts that are given up leave nothing at either side', async ({ t, world }) => {
  const factory = new RecordingFactory();
  const port = world.listen(factory);
  await port.ready;
  for (let i = 0; i < 100; i++) {
    const client = new RecordingFactory();
    const connector = world.connect(port.getHost(), client);
    if (i % 2 === 0) await new Promise((resolve) => process.nextTick(resolve));
    connector.stopConnecting();
    t.same(client.events, ['start', 'connecting', 'failed UserError', 'stop']);
  }
  await world.settle();
  await world.until(() => factory.built.every(({ lost }) => lost));
});

// ── Odd factories ────────────────────────────────────────────────────────────────────────────────────────────────────

rules.state(
  'REA-05: a factory that builds nothing has its connection closed, and is told once',
  async ({ t, world }) => {
    for (const nothing of [null, undefined as unknown as null]) {
      const server = await world.answer();
      const factory = new RecordingFactory({ build: () => nothing });
      const connector = world.connect(server.address, factory);
      const peer = await server.peer();
      await world.until(() => factory.events.includes('stop') && (peer.ended || peer.closed));
      await world.settle();
      t.same(factory.events, ['start', 'connecting', 'build', 'lost ConnectionDone', 'stop']);
      t.equal(connector.state, 'disconnected');
    }
  },
);

rules.state(
  'REA-06: what buildProtocol throws is logged, and a failure to connect',
  async ({ t, world }) => {
    const server = await world.answer();
    const factory = new RecordingFactory({ build: () => fail('not built') });
    const connector = world.connect(server.address, factory);
    const peer = await server.peer();
    await world.until(() => factory.events.includes('stop') && (peer.ended || peer.closed));
    await world.settle();
    t.same(factory.events, ['start', 'connecting', 'build', 'failed ConnectError', 'stop']);
    t.match(factory.reason?.value.cause, { message: 'not built' });
    t.same(logged(), ['not built']);
    t.equal(connector.state, 'disconnected');
  },
);

rules.state(
  'REA-06: what the other hooks throw is logged, and changes nothing',
  async ({ t, world }) => {
    const server = await world.answer();
    const refused = new RecordingFactory({
      connecting: () => fail('not connecting'),
      failed: () => fail('not failed'),
      stop: () => fail('not stopped'),
    });
    world.connect(await world.nobody(), refused);
    t.same(logged(), ['not connecting']);
    await world.until(() => refused.events.includes('stop'));
    t.same(logged(), ['not failed', 'not stopped']);

    const lost = new RecordingFactory({
      build: () => new Recorder({ lost: () => fail('not lost') }),
      lost: () => fail('client not lost'),
    });
    const connector = world.connect(server.address, lost);
    const peer = await server.peer();
    peer.end();
    await world.until(() => lost.events.includes('stop'));
    t.same(logged(), ['not lost', 'client not lost']);
    t.equal(connector.state, 'disconnected');
    connector.connect();
    await world.until(() => connector.state === 'connected');
    connector.disconnect();
    await world.until(() => connector.state === 'disconnected');
    t.same(logged(), ['not lost', 'client not lost']);
  },
);

rules.state('REA-06: what startFactory throws is thrown by whoever asked', async ({ t, world }) => {
  const server = await world.answer();
  const factory = new RecordingFactory({ start: () => fail('not started') });
  t.throws(() => world.connect(server.address, factory), /not started/);
  await world.settle();
  t.equal(server.count, 0);
  t.same(factory.events, ['start']);
  t.equal(factory.numPorts, 0);
  t.same(world.reactor.getDelayedCalls(), []);
});

// ── The reactor’s stop ───────────────────────────────────────────────────────────────────────────────────────────────

rules.state(
  'when the reactor stops, an attempt fails and a connection is lost, once',
  async ({ t, world }) => {
    const server = await world.answer();
    const connected = new RecordingFactory();
    world.connect(server.address, connected);
    const peer = await server.peer();
    await world.until(() => connected.built.length === 1);
    const connecting = new RecordingFactory();
    const where = await (world.blackhole ?? world.nobody).call(world);
    const stopped = new Promise<void>((resolve) => {
      world.reactor.run({ installSignalHandlers: false }).addCallback(() => resolve());
    });
    world.reactor.addSystemEventTrigger('before', 'shutdown', () => {
      world.connect(where, connecting);
    });
    world.reactor.stop();
    await stopped;
    t.same(connected.events, ['start', 'connecting', 'build', 'lost ConnectionLost', 'stop']);
    t.same(connected.built[0]?.events, ['made', 'lost ConnectionLost']);
    t.same(connecting.events, ['start', 'connecting', 'failed ConnectionLost', 'stop']);
    t.ok(connecting.reason?.value instanceof ConnectionLost);
    await world.until(() => peer.ended || peer.closed);
  },
);

rules.state(
  'a factory that always wants another connection gets none once the reactor has stopped',
  async ({ t, world }) => {
    const server = await world.answer();
    const again = (connector: IConnector) => connector.connect();
    const eager = new RecordingFactory({ failed: again, lost: again });
    const connector = world.connect(server.address, eager);
    await world.until(() => eager.built.length === 1);
    const refused = new RecordingFactory({ failed: again });
    const dead = world.connect(await world.nobody(), refused);
    await world.stop();
    await world.settle();
    t.same(eager.events, [
      ...['start', 'connecting', 'build', 'lost ConnectionLost'],
      ...['connecting', 'failed ConnectionLost', 'stop'],
    ]);
    t.match(eager.reason?.value.message, /the reactor has stopped/);
    t.equal(connector.state, 'disconnected');
    t.equal(refused.events.at(-1), 'stop');
    t.equal(dead.state, 'disconnected');
    t.same(world.reactor.getDelayedCalls(), []);
    t.equal(server.count, 1);
    eager.events.length = 0;
    connector.connect();
    await world.until(() => eager.events.includes('build') && server.count === 2);
    t.equal(connector.state, 'connected', 'later it may connect again');
  },
);

rules.state(
  'what is begun while the reactor is cutting everything is cut too, or never begun',
  async ({ t, world }) => {
    const server = await world.answer();
    const late = new RecordingFactory();
    const given = new RecordingFactory();
    const port: IListeningPort[] = [];
    const factory = new RecordingFactory({
      lost: () => {
        world.connect(server.address, late);
        world.connect(server.address, given).stopConnecting();
        port.push(world.listen(new RecordingFactory()));
      },
    });
    world.connect(server.address, factory);
    await world.until(() => factory.built.length === 1);
    await world.stop();
    const error = await port[0]!.ready.asPromise().catch((error: unknown) => error as Error);
    await world.settle();
    t.same(late.events, ['start', 'connecting', 'failed ConnectionLost', 'stop']);
    t.same(given.events, ['start', 'connecting', 'failed UserError', 'stop']);
    t.match(`${port[0] as unknown}`, /^<Port closed /);
    t.match((error as Error).name, /^(CannotListenError|Object)$/);
    t.equal(server.count, 1);
  },
);

// ── What only some kinds have ────────────────────────────────────────────────────────────────────────────────────────

rules.state(
  'REA-16: a name that cannot be found is DNSLookupError',
  async ({ t, world }) => {
    const factory = new RecordingFactory();
    const connector = world.reactor.connectTCP('no-such-host.invalid', 1, factory);
    t.equal(String(connector.getDestination()), 'no-such-host.invalid:1');
    await world.until(() => factory.events.includes('stop'));
    t.same(factory.events, ['start', 'connecting', 'failed DNSLookupError', 'stop']);
    t.ok(factory.reason?.value instanceof DNSLookupError);

    const given = new RecordingFactory();
    world.reactor.connectTCP('no-such-host.invalid', 1, given).stopConnecting();
    // The lookup itself cannot be called off; it is only forgotten.
    await world.until(() => !process.getActiveResourcesInfo().includes('GetAddrInfoReqWrap'));
    t.same(given.events, ['start', 'connecting', 'failed UserError', 'stop']);
  },
  needsIP,
);

rules.state(
  'a host can be named',
  async ({ t, world }) => {
    const server = await world.answer();
    const factory = new RecordingFactory();
    const { port } = inet(server.address);
    world.reactor.connectTCP('localhost', port, factory);
    await world.until(() => factory.built.length === 1);
    t.equal(String(factory.addresses[0]), `127.0.0.1:${port}`);
  },
  ({ name }) => (name === 'tcp' ? '' : 'it is about names of IPv4 addresses'),
);

rules.state(
  'the local address can be chosen, if it is ours',
  async ({ t, world }) => {
    const server = await world.answer();
    const { host, port } = inet(server.address);
    const free = inet(await world.nobody());
    const good = serving(new Recorder());
    world.reactor.connectTCP(host, port, good, { bindAddress: { host, port: free.port } });
    await world.until(() => good.built.length === 1);
    t.match(good.built[0]!.transport.getHost(), free);

    const foreign = inet(world.foreign());
    const otherFamily = host.includes(':') ? '127.0.0.1' : '::1';
    for (const address of [foreign.host, otherFamily]) {
      const bad = new RecordingFactory();
      world.reactor.connectTCP(host, port, bad, { bindAddress: { host: address } });
      await world.until(() => bad.events.includes('stop'));
      t.same(bad.events, ['start', 'connecting', 'failed ConnectBindError', 'stop'], address);
      t.ok(bad.reason?.value instanceof ConnectBindError);
    }
    const taken = new RecordingFactory();
    world.reactor.connectTCP(host, port, taken, { bindAddress: { host, port } });
    await world.until(() => taken.events.includes('stop'));
    t.same(taken.events, ['start', 'connecting', 'failed ConnectBindError', 'stop']);
  },
  needsIP,
);

rules.state(
  'a path that is too long, or no socket, is told from one where nobody listens',
  async ({ t, world }) => {
    const path = pathOf(await world.nobody());
    const attempt = async (path: string): Promise<Failure | undefined> => {
      const factory = new RecordingFactory();
      world.connect(new UNIXAddress(path), factory);
      await world.until(() => factory.events.includes('stop'));
      return factory.reason;
    };
    const long = await attempt(`${path}${'x'.repeat(108)}`);
    t.match(long?.value.message, /name too long \(ENAMETOOLONG\)$/);
    const file = await attempt(import.meta.filename);
    t.match(file?.value.name, /^(ConnectionRefusedError|BadFileError)$/);
  },
  ({ address }) => (address === UNIXAddress ? '' : 'it is about the files of UNIX sockets'),
);
