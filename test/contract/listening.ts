/**
 * How incoming connections are born: a port, its factory, and what becomes of clients that come at odd moments.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync, statSync, writeFileSync } from 'node:fs';
import {
  type CannotListenError,
  type IDrainableProtocol,
  type IListeningPort,
  IPv4Address,
  type IProtocol,
  NotListeningError,
  UNIXAddress,
} from 'plait';
import type { Test } from '../fixture.ts';
import { inet, type Kind, pathOf, type Peer, type PeerOptions } from './kinds.ts';
import { Recorder, RecordingFactory, serving } from './recorder.ts';
import { fail, logged, type Exception, needsReset, Rules, type Stage } from './rules.ts';

export function contract(t: Pick<Test, 'test'>, kind: Kind): void {
  rules.show(t, kind, 'listening', (stage) => stage);
}

const rules = new Rules<Stage>();

const needsUNIX: Exception = ({ address }) =>
  address === UNIXAddress ? '' : 'it is about UNIX sockets';

const needsFiles: Exception = ({ files }) =>
  files === true ? '' : 'it is about the files of UNIX sockets';

const needsIP: Exception = ({ address }) =>
  address === UNIXAddress ? 'it is about IP addresses' : '';

/** Waits until `port` listens or has failed to; undefined if it listens. */
async function failureOf(port: IListeningPort): Promise<CannotListenError | undefined> {
  return port.ready.asPromise().then(
    () => undefined,
    (error: unknown) => error as CannotListenError,
  );
}

// ── Listening and stopping ───────────────────────────────────────────────────────────────────────────────────────────

rules.state('a port says when it listens, and where', async ({ t, world, kind }) => {
  const factory = new RecordingFactory();
  const port = world.listen(factory);
  if (kind.bindsLater) t.throws(() => port.getHost(), NotListeningError);
  const seen: string[] = [];
  world.reactor.events.on('listening', (which) => seen.push(String(which.getHost())));
  const first = port.ready.addCallback((same) => {
    t.equal(same, port);
    t.same(factory.events, ['start'], 'the factory is started first');
  });
  await Promise.all([first, port.ready, port.ready]);
  await port.ready;
  t.ok(port.getHost() instanceof kind.address);
  t.notMatch(String(port.getHost()), /:0$/);
  t.same(seen, [String(port.getHost())]);
  t.match(`${port as unknown}`, /^<Port listening /);
});

rules.state(
  'each client gets a protocol of its own, with its address',
  async ({ t, world, kind }) => {
    const factory = new RecordingFactory();
    const port = world.listen(factory);
    await port.ready;
    const peers = [await world.call(port.getHost()), await world.call(port.getHost())];
    await world.until(() => factory.built.length === 2);
    for (const address of factory.addresses) t.ok(address instanceof kind.address);
    peers[0]!.say('one');
    peers[1]!.say('two');
    await world.until(() => factory.built.every(({ count }) => count === 3));
    t.same(factory.built.map((protocol) => protocol.text()).sort(), ['one', 'two']);
  },
);

rules.state(
  'stopListening lets nobody in any more, and those who are in stay',
  async ({ t, world }) => {
    const protocol = new Recorder({ data: ({ transport }, data) => transport.write(data) });
    const factory = serving(protocol);
    const port = world.listen(factory);
    await port.ready;
    const where = port.getHost();
    const peer = await world.call(where);
    await world.until(() => factory.events.includes('build'));
    await port.stopListening();
    t.same(factory.events, ['start', 'build', 'stop'], 'the factory is stopped first');
    const late = await world.call(where);
    t.match(late.error, /^(ECONNREFUSED|ENOENT)$/);
    peer.say('still there?');
    await world.until(() => peer.text() === 'still there?');
    t.equal(String(port.getHost()), String(where));
    t.match(`${port as unknown}`, /^<Port closed /);
  },
);

rules.state('stopListening works in every state, as often as one likes', async ({ t, world }) => {
  const factory = new RecordingFactory();
  const port = world.listen(factory);
  const waiting = failureOf(port);
  const stops = [port.stopListening(), port.stopListening()];
  t.match((await failureOf(port))?.message, /^cannot listen on .*: the port was stopped$/);
  t.throws(() => port.startListening(), /the port is closing/);
  await Promise.all(stops);
  t.equal((await waiting)?.name, 'CannotListenError');
  await port.stopListening();
  t.same(factory.events, [], 'it never came to listen');

  port.startListening();
  t.throws(() => port.startListening(), /the port is binding/);
  await port.ready;
  t.throws(() => port.startListening(), /the port is listening/);
  const stopping = port.stopListening();
  t.equal((await failureOf(port))?.name, 'CannotListenError', 'a port that stops is not ready');
  await Promise.all([stopping, port.stopListening()]);
  t.same(factory.events, ['start', 'stop']);
});

rules.state('a port that was stopped before it was bound lets nobody in', async ({ t, world }) => {
  const at = await world.nobody();
  const factory = new RecordingFactory();
  await world.listen(factory, at).stopListening();
  await world.settle();
  t.match((await world.call(at)).error, /^(ECONNREFUSED|ENOENT)$/);
  t.same(factory.events, []);
});

rules.state(
  'a port that is forgotten while it is stopped does not complain',
  async ({ t, world }) => {
    void world.listen(new RecordingFactory()).stopListening();
    await world.settle();
    t.same(logged(), []);
  },
);

rules.state(
  'REA-24: it can be stopped and started on one address, over and over',
  async ({ t, world }) => {
    const at = await world.nobody();
    const factory = new RecordingFactory();
    const port = world.listen(factory, at);
    for (let i = 0; i < 50; i++) {
      await port.ready;
      const peer = await world.call(at);
      await world.until(() => factory.built.length === i + 1);
      factory.built[i]!.transport.loseConnection(); // whoever closes first keeps the address waiting
      await world.until(() => peer.ended);
      peer.close();
      await port.stopListening();
      port.startListening();
    }
    await port.stopListening();
    t.equal(factory.events.filter((event) => event === 'start').length, 50);
    t.equal(factory.events.filter((event) => event === 'stop').length, 50);
  },
);

rules.state('several ports may share a factory: it starts and stops once', async ({ t, world }) => {
  const factory = new RecordingFactory();
  const ports = [world.listen(factory), world.listen(factory)];
  for (const port of ports) await port.ready;
  t.equal(factory.numPorts, 2);
  for (const port of ports) await port.stopListening();
  t.same(factory.events, ['start', 'stop']);
});

rules.state('a port can be disposed of', async ({ t, world }) => {
  const factory = new RecordingFactory();
  const port = world.listen(factory) as IListeningPort & AsyncDisposable;
  await port.ready;
  await port[Symbol.asyncDispose]();
  t.same(factory.events, ['start', 'stop']);
});

// ── Stopping its connections ─────────────────────────────────────────────────────────────────────────────────────────

/** Wants to finish, and says goodbye when it is let. */
class Drainer extends Recorder implements IDrainableProtocol {
  readonly #drain: (protocol: Drainer) => void;

  constructor(drain: (protocol: Drainer) => void) {
    super();
    this.#drain = drain;
  }

  connectionDraining(): void {
    this.events.push('draining');
    this.#drain(this);
  }
}

/** A port that has taken a connection for each of `protocols`, with their peers. */
async function taken(
  { world }: Stage,
  protocols: readonly Recorder[],
  options: PeerOptions = {},
): Promise<{ port: IListeningPort; factory: RecordingFactory; peers: Peer[] }> {
  const left = [...protocols];
  const factory = new RecordingFactory({ build: () => left.shift()! });
  const port = world.listen(factory);
  await port.ready;
  const peers: Peer[] = [];
  for (const protocol of protocols) {
    peers.push(await world.call(port.getHost(), options));
    await world.until(() => protocol.events.includes('made'));
  }
  return { port, factory, peers };
}

rules.state('drained, its connections are closed once all is sent', async (stage) => {
  const { t, world } = stage;
  const protocols = [new Recorder(), new Recorder()];
  const { port, factory, peers } = await taken(stage, protocols, { paused: true });
  const sent = randomBytes(20_000_000);
  for (const { transport } of protocols) transport.write(sent);
  let stopped = false;
  port.stopListening({ connections: 'drain' }).addCallback(() => (stopped = true));
  await world.settle();
  t.match((await world.call(port.getHost())).error, /^(ECONNREFUSED|ENOENT)$/);
  t.equal(stopped, false, 'they are waited for');
  t.same(factory.events, ['start', 'build', 'build'], 'and so is the factory’s end');
  t.throws(() => port.startListening(), /the port is draining/);
  t.match(`${port as unknown}`, /^<Port draining /);
  for (const peer of peers) peer.resume();
  await world.until(() => peers.every(({ ended }) => ended));
  for (const peer of peers) {
    t.ok(peer.bytes().equals(sent));
    peer.end();
  }
  await world.until(() => stopped);
  for (const { events } of protocols) t.same(events, ['made', 'lost ConnectionDone']);
  t.same(factory.events, ['start', 'build', 'build', 'stop']);
  t.same(world.reactor.getDelayedCalls(), [], 'no timer is left');
});

rules.state('drained, a protocol that wants to finish may do so', async (stage) => {
  const { t, world } = stage;
  const busy = new Drainer(({ transport }) => {
    transport.write('nearly done, ');
    world.reactor.callLater(0.01, () => {
      transport.write('done');
      transport.loseConnection();
    });
  });
  const faulty = new Drainer(() => fail('not drained'));
  const leaving = new Drainer(() => {});
  const { port, factory, peers } = await taken(stage, [busy, faulty, leaving]);
  leaving.transport.loseConnection();
  const order: string[] = [];
  const stopped = port.stopListening({ connections: 'drain' });
  stopped.addCallback(() => order.push('stopped'));
  void port.stopListening({ connections: 'drain' }).addCallback(() => order.push('stopped too'));
  t.same(busy.events, ['made'], 'it is told in a turn of its own');
  await world.until(() => peers[0]!.ended);
  for (const peer of peers) peer.end();
  await stopped;
  t.equal(peers[0]!.text(), 'nearly done, done');
  t.same(busy.events, ['made', 'draining', 'lost ConnectionDone'], 'it is told once');
  t.same(faulty.events, ['made', 'draining', 'lost RangeError']);
  t.same(leaving.events, ['made', 'lost ConnectionDone'], 'one that closes need not be told');
  t.same(logged(), ['not drained']);
  t.same(order, ['stopped', 'stopped too']);
  t.equal(factory.events.at(-1), 'stop');
  t.same(world.reactor.getDelayedCalls(), []);
});

rules.state('drained, those that take longer than the grace are aborted', async (stage) => {
  const { t, world } = stage;
  const protocol = new Drainer(() => {});
  const { port } = await taken(stage, [protocol]);
  for (const grace of [-1, NaN, Infinity])
    t.throws(() => port.stopListening({ connections: 'drain', grace }), RangeError);
  t.throws(() => port.stopListening({ connections: 'kept' as 'keep' }), {
    name: 'RangeError',
    message: 'stopListening: connections must be "keep", "drain" or "abort", not "kept"',
  });
  t.match(`${port as unknown}`, /^<Port listening /, 'nothing has happened by then');
  void port.stopListening({ connections: 'drain', grace: null });
  t.same(world.reactor.getDelayedCalls(), [], 'for ever');
  await world.settle();
  t.same(protocol.events, ['made', 'draining']);
  await port.stopListening({ connections: 'drain', grace: 0.01 });
  t.same(protocol.events, ['made', 'draining', 'lost ConnectionAborted']);
  t.same(world.reactor.getDelayedCalls(), []);
});

rules.state(
  'aborted, its connections are cut, also those kept by an earlier stop',
  async (stage) => {
    const { t, world } = stage;
    const protocols = [new Recorder(), new Recorder(), new Drainer(() => {})];
    const { port, factory, peers } = await taken(stage, protocols, { paused: true });
    protocols[0]!.transport.write(Buffer.allocUnsafe(5_000_000));
    protocols[1]!.transport.loseConnection();
    await port.stopListening();
    t.equal(factory.events.at(-1), 'stop');
    t.match(`${port as unknown}`, /^<Port closed /);
    const stopped = port.stopListening({ connections: 'abort' });
    t.equal(protocols[0]!.lost, false, 'it is not lost inside the call');
    await Promise.all([stopped, port.stopListening()]);
    t.same(protocols[0]!.events, ['made', 'lost ConnectionAborted']);
    t.match(protocols[1]!.events.join(), /^made,lost Connection(Aborted|Done)$/);
    t.same(protocols[2]!.events, ['made', 'lost ConnectionAborted']);
    t.equal(factory.events.filter((event) => event === 'stop').length, 1);
    for (const peer of peers) peer.resume();
    await world.until(() => peers.every((peer) => peer.ended || peer.closed));
    await port.stopListening({ connections: 'abort' });
    port.startListening();
    await port.ready;
    t.equal(factory.events.at(-1), 'start', 'it may listen again');
  },
);

rules.state('drained or aborted, it need not have connections, nor listen', async (stage) => {
  const { t, world } = stage;
  for (const connections of ['drain', 'abort'] as const) {
    const { port, factory, peers } = await taken(stage, [new Recorder()]);
    peers[0]!.end();
    await world.until(() => factory.built[0]!.lost);
    await port.stopListening({ connections });
    t.same(factory.events, ['start', 'build', 'stop']);
    port.startListening();
    await port.stopListening({ connections });
    await port.stopListening({ connections });
    t.same(factory.events, ['start', 'build', 'stop']);
  }
  t.same(world.reactor.getDelayedCalls(), []);
});

rules.state('a port is drained inside a hook of its own connection', async (stage) => {
  const { t, world } = stage;
  let stopped = false;
  const protocol: Drainer = new Drainer(({ transport }) => transport.loseConnection());
  const asker = new Recorder({
    data: () => {
      void port.stopListening({ connections: 'drain' }).addCallback(() => (stopped = true));
    },
  });
  const { port, peers } = await taken(stage, [protocol, asker]);
  peers[1]!.say('stop');
  await world.until(() => peers.every(({ ended }) => ended));
  for (const peer of peers) peer.end();
  await world.until(() => stopped);
  t.same(protocol.events, ['made', 'draining', 'lost ConnectionDone']);
  t.same(asker.events, ['made', 'data', 'lost ConnectionDone']);
});

rules.state('a port that drains when the reactor stops is over at once', async (stage) => {
  const { t, world } = stage;
  const protocol = new Drainer(() => {});
  const { port, factory } = await taken(stage, [protocol]);
  let stopped = false;
  void port.stopListening({ connections: 'drain' }).addCallback(() => (stopped = true));
  await world.settle();
  await world.stop();
  t.equal(stopped, true);
  t.same(protocol.events, ['made', 'draining', 'lost ConnectionLost']);
  t.equal(factory.events.at(-1), 'stop');
  t.same(world.reactor.getDelayedCalls(), []);
});

// ── Not listening ────────────────────────────────────────────────────────────────────────────────────────────────────

rules.state(
  'REA-18: an address that is in use is CannotListenError, and a retry works',
  async ({ t, world }) => {
    const first = world.listen(new RecordingFactory());
    await first.ready;
    const factory = new RecordingFactory();
    const second = world.listen(factory, first.getHost());
    const error = await failureOf(second);
    t.equal(error?.name, 'CannotListenError');
    t.match(error?.message, /^cannot listen on .*: address already in use \(EADDRINUSE\)$/);
    t.equal(error?.code, 'EADDRINUSE');
    t.equal((await failureOf(second))?.name, 'CannotListenError', 'a later look is told the same');
    t.same(factory.events, []);
    await second.stopListening();
    await first.stopListening();
    second.startListening();
    await second.ready;
    t.equal(String(second.getHost()), String(first.getHost()));
  },
);

rules.state('REA-18: an address that is not ours is CannotListenError', async ({ t, world }) => {
  const error = await failureOf(world.listen(new RecordingFactory(), world.foreign()));
  t.equal(error?.name, 'CannotListenError');
  t.match(error?.code, /^(EADDRNOTAVAIL|ENOENT|EACCES)$/);
});

rules.state(
  'a port that cannot listen, and is asked about, is not logged and ends nothing',
  async ({ t, world }) => {
    // What becomes of one that is not asked about is in test/lib/starting.test.ts.
    const factory = new RecordingFactory();
    const asked = failureOf(world.listen(factory, world.foreign()));
    t.match((await asked)?.message, /^cannot listen on /);
    await world.settle();
    t.same(logged(), []);
    t.same(factory.events, []);
  },
);

rules.state(
  'REA-06: what startFactory throws is logged once, and why it does not listen',
  async ({ t, world }) => {
    const at = await world.nobody();
    const factory = new RecordingFactory({ start: () => fail('not started') });
    const port = world.listen(factory, at);
    t.equal((await failureOf(port))?.message, 'not started');
    t.match((await world.call(at)).error, /^(ECONNREFUSED|ENOENT)$/);
    t.same(factory.events, ['start']);
    t.same(logged(), ['not started']);

    t.equal((await failureOf(world.listen(factory, at)))?.message, 'not started');
    t.same(factory.events, ['start', 'start']);
    t.same(logged(), ['not started'], 'a factory may be tried again');
  },
);

rules.state(
  'FND-12: what stopFactory throws is what stopListening fails with, after the port is closed',
  async ({ t, world }) => {
    const port = world.listen(new RecordingFactory({ stop: () => fail('not stopped') }));
    await port.ready;
    const at = port.getHost();
    const stops = [port.stopListening(), port.stopListening()];
    for (const stop of stops) await t.rejects(stop.asPromise(), { message: 'not stopped' });
    t.same(logged(), [], 'and is not logged too');
    t.match((await world.call(at)).error, /^(ECONNREFUSED|ENOENT)$/);
    await port.stopListening();
  },
);

// ── Clients at odd moments ───────────────────────────────────────────────────────────────────────────────────────────

rules.state(
  'REA-05: a factory may refuse a client, by null or by nothing',
  async ({ t, world }) => {
    const answers: (() => IProtocol | null)[] = [
      () => null,
      () => undefined as unknown as null,
      () => new Recorder(),
    ];
    const factory = new RecordingFactory({ build: () => answers.shift()!() });
    const port = world.listen(factory);
    await port.ready;
    const peers = [await world.call(port.getHost()), await world.call(port.getHost())];
    peers[0]!.say('let me in');
    await world.until(() => peers.every((peer) => peer.ended || peer.closed));
    for (const peer of peers) peer.close();
    const last = await world.call(port.getHost());
    last.say('let me in');
    await world.until(() => factory.built[0]?.text() === 'let me in');
    t.same(factory.built[0]?.events, ['made', 'data']);
  },
);

rules.state(
  'REA-06: what buildProtocol throws closes that client, and is logged',
  async ({ t, world }) => {
    const answers = [() => new Recorder(), () => fail('not built'), () => new Recorder()];
    const factory = new RecordingFactory({ build: () => answers.shift()!() });
    const port = world.listen(factory);
    await port.ready;
    const bystander = await world.call(port.getHost());
    const refused = await world.call(port.getHost());
    await world.until(() => refused.ended || refused.closed);
    t.same(logged(), ['not built']);
    const last = await world.call(port.getHost());
    for (const peer of [bystander, last]) peer.say('hello');
    await world.until(
      () => factory.built.length === 2 && factory.built.every((b) => b.count === 5),
    );
  },
);

rules.state('REA-06: one connection’s exception is no other’s', async ({ t, world }) => {
  const echo = new Recorder({ data: ({ transport }, data) => transport.write(data) });
  const faulty = new Recorder({ data: () => fail('not that') });
  const protocols = [echo, faulty];
  const port = world.listen(new RecordingFactory({ build: () => protocols.shift()! }));
  await port.ready;
  const bystander = await world.call(port.getHost());
  await world.until(() => protocols.length === 1);
  const peer = await world.call(port.getHost());
  peer.say('that');
  await world.until(() => faulty.lost);
  bystander.say('all is well');
  await world.until(() => bystander.text() === 'all is well');
  t.same(logged(), ['not that']);
});

rules.state('it can be stopped inside each hook', async ({ t, world }) => {
  const whens: ((stop: () => void) => RecordingFactory)[] = [
    (stop) =>
      new RecordingFactory({
        build: () => {
          stop();
          return new Recorder();
        },
      }),
    (stop) => serving(new Recorder({ made: stop })),
    (stop) => serving(new Recorder({ data: stop })),
    (stop) => serving(new Recorder({ lost: stop })),
  ];
  for (const when of whens) {
    let stopped = false;
    const factory = when(() => void port.stopListening().addCallback(() => (stopped = true)));
    const port: IListeningPort = world.listen(factory);
    await port.ready;
    const peer = await world.call(port.getHost());
    peer.say('hello');
    await world.until(() => factory.built[0]?.count === 5);
    peer.end();
    await world.until(() => stopped && factory.built[0]?.lost === true);
    t.same(factory.events, ['start', 'build', 'stop']);
    t.same(factory.built[0]?.events, ['made', 'data', 'lost ConnectionDone']);
  }
});

rules.state(
  'REA-32: clients that reset at once, or in the middle, harm nobody',
  async ({ t, world }) => {
    const factory = new RecordingFactory({
      build: () =>
        new Recorder({
          made: ({ transport }) => transport.write('welcome'),
          data: ({ transport }) => transport.write(Buffer.alloc(100_000)),
        }),
    });
    const port = world.listen(factory);
    await port.ready;
    for (let i = 0; i < 100; i++) {
      const peers = await Promise.all([
        world.call(port.getHost()),
        world.call(port.getHost()),
        world.call(port.getHost()),
      ]);
      peers[0].reset();
      peers[1].say('go');
      peers[1].reset();
      peers[2].say('go');
      await world.until(() => peers[2].count > 0);
      peers[2].reset();
    }
    await world.until(() => factory.built.every(({ lost }) => lost));
    for (const { events } of factory.built)
      t.match(events.join(), /^made(,data)?,lost Connection(Lost|Done)$/);
    const { length } = factory.built;
    await world.haunt!(port.getHost(), 40);
    await world.settle();
    t.ok(factory.built.length <= length + 40);
    await world.until(() => factory.built.every(({ lost }) => lost));
    for (const address of factory.addresses) t.match(String(address), /1\]?:[1-9]\d*$/);
    const last = await world.call(port.getHost());
    await world.until(() => last.text() === 'welcome');
  },
  needsReset,
);

rules.state('REA-25: connections leave nothing behind', async ({ t, world }) => {
  const factory = new RecordingFactory({
    build: () => new Recorder({ data: ({ transport }, data) => transport.write(data) }),
  });
  const port = world.listen(factory);
  await port.ready;
  const cycle = async (): Promise<void> => {
    const peer = await world.call(port.getHost());
    peer.say('ping');
    await world.until(() => peer.count === 4);
    peer.end();
    await world.until(() => peer.ended);
    peer.close();
  };
  for (let i = 0; i < 50; i++) await cycle();
  const held = () => process.getActiveResourcesInfo().length;
  await world.settle();
  const before = held();
  const seen = new WeakRef(factory.built[0]!);
  for (let i = 0; i < 50; i++) await cycle();
  await world.settle();
  t.ok(held() <= before);
  factory.built.length = factory.addresses.length = 0;
  (globalThis as { gc?: () => void }).gc?.();
  t.equal(seen.deref(), undefined, 'a protocol is free when its connection is gone');
});

rules.state(
  'when the reactor stops it is closed, and so is every connection',
  async ({ t, world }) => {
    const factory = new RecordingFactory();
    const port = world.listen(factory);
    await port.ready;
    const where = port.getHost();
    const peers = [await world.call(where), await world.call(where)];
    await world.until(() => factory.built.length === 2);
    await world.stop();
    for (const { events } of factory.built) t.same(events, ['made', 'lost ConnectionLost']);
    await world.until(() => peers.every((peer) => peer.ended || peer.closed));
    t.match((await world.call(where)).error, /^(ECONNREFUSED|ENOENT)$/);
    t.same(factory.events, ['start', 'build', 'build', 'stop']);
  },
);

rules.state('a port that binds when the reactor stops is closed too', async ({ t, world }) => {
  const at = await world.nobody();
  const factory = new RecordingFactory();
  const failed = failureOf(world.listen(factory, at));
  await world.stop();
  const error = await failed;
  await world.settle();
  // It may have been bound before it was stopped: then it says nothing.
  t.match(error?.message ?? 'the port was stopped', /the port was stopped/);
  t.match(factory.events.join(), /^(start,stop)?$/, 'it took nobody');
  t.match((await world.call(at)).error, /^(ECONNREFUSED|ENOENT)$/);
});

// ── What only some kinds have ────────────────────────────────────────────────────────────────────────────────────────

rules.state(
  'REA-18: a port on any IPv6 address takes IPv4 clients',
  async ({ t, world }) => {
    const protocol = new Recorder();
    const port = world.reactor.listenTCP(0, serving(protocol), { interface: '::' });
    await port.ready;
    const { port: number } = inet(port.getHost());
    const peer = await world.call(new IPv4Address('TCP', '127.0.0.1', number));
    peer.say('from IPv4');
    await world.until(() => protocol.text() === 'from IPv4');
    t.match(String(protocol.transport.getPeer()), /^\[::ffff:127\.0\.0\.1\]:\d+$/);
  },
  ({ name }) => (name === 'tcp6' ? '' : 'it is about IPv6'),
);

rules.state(
  'without an interface it listens on any IPv4 address',
  async ({ t, world }) => {
    const port = world.reactor.listenTCP(0, new RecordingFactory());
    await port.ready;
    t.match(String(port.getHost()), /^0\.0\.0\.0:\d+$/);
  },
  needsIP,
);

rules.state(
  'REA-28: its file has the mode asked for, and is gone when it stops',
  async ({ t, world }) => {
    const path = pathOf(await world.nobody());
    for (const mode of [0o666, 0o600]) {
      const port = world.reactor.listenUNIX(path, new RecordingFactory(), { mode });
      await port.ready;
      t.equal(statSync(path).mode & 0o777, mode);
      t.ok(statSync(path).isSocket());
      await port.stopListening();
      t.equal(existsSync(path), false);
    }
  },
  needsFiles,
);

rules.state(
  'REA-28: a path that something lies at, or that is too long, is CannotListenError',
  async ({ t, world }) => {
    const path = pathOf(await world.nobody());
    writeFileSync(path, 'mine');
    const taken = await failureOf(world.listen(new RecordingFactory(), new UNIXAddress(path)));
    t.equal(taken?.code, 'EADDRINUSE');
    t.ok(statSync(path).isFile(), 'it still lies there');
    rmSync(path);

    const long = `${path}${'x'.repeat(108)}`;
    const error = await failureOf(world.listen(new RecordingFactory(), new UNIXAddress(long)));
    t.match(error?.message, /name too long \(ENAMETOOLONG\)$/);
    const brim = path.padEnd(process.platform === 'linux' ? 107 : 103, 'x');
    const port = world.listen(new RecordingFactory(), new UNIXAddress(brim));
    await port.ready;
    t.ok(existsSync(brim));
  },
  needsFiles,
);

rules.state(
  'REA-28: in the end its file is removed only if it is still the one that was put there',
  async ({ t, world }) => {
    const path = pathOf(await world.nobody());
    const port = world.listen(new RecordingFactory(), new UNIXAddress(path));
    await port.ready;
    rmSync(path);
    const other = world.listen(new RecordingFactory(), new UNIXAddress(path));
    await other.ready;
    await port.stopListening();
    t.ok(statSync(path).isSocket(), 'it is somebody else’s by now');
    rmSync(path);
    await other.stopListening();
  },
  needsFiles,
);

rules.state(
  'an unnamed peer is unnamed',
  async ({ t, world }) => {
    const protocol = new Recorder();
    const port = world.listen(serving(protocol));
    await port.ready;
    await world.call(port.getHost());
    await world.until(() => protocol.events.length > 0);
    t.equal((protocol.transport.getPeer() as UNIXAddress).name, null);
    t.equal(String(protocol.transport.getHost()), String(port.getHost()));
  },
  needsUNIX,
);
