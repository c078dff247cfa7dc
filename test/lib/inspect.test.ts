/** What a reactor tells of what is pending. */
import {
  CancelledError,
  connectProtocol,
  Deferred,
  Factory,
  inlineCallbacks,
  pendingDeferreds,
  ProcessProtocol,
  Protocol,
  Reactor,
  setDebugging,
  TCP4ClientEndpoint,
} from 'plait';
import { failureResultOf, MemoryReactorClock } from 'plait/testing';
import { Simulation } from '../../lib/testing/sim/index.ts';
import { folderOf, pendingMark } from '../../lib/pending.ts';
import t from '../fixture.ts';

t.test('a reactor that has nothing to do says so', async (t) => {
  const inspection = new Reactor().inspect();
  t.same(
    { ...inspection, toString: undefined },
    {
      toString: undefined,
      running: false,
      delayedCalls: [],
      connections: [],
      ports: [],
      attempts: [],
      processes: [],
      deferreds: [],
    },
  );
  t.equal(String(inspection), 'the reactor is not running\nnothing is pending');
});

t.test('calls, ports, connections and attempts are told, the next call first', async (t) => {
  const sim = new Simulation({ conditions: 'ideal' });
  const server = sim.host('server').reactor;
  const client = sim.host('client').reactor;
  client.callLater(60, function later() {});
  client.callLater(5, function sooner() {});
  client.callLater(30, () => {});
  server.listenTCP(7, Factory.forProtocol(Protocol));
  server.listenUDP(9, {
    startProtocol() {},
    stopProtocol() {},
    datagramReceived() {},
    makeConnection() {},
    doStart() {},
    doStop() {},
  } as never);
  const connected = connectProtocol(new TCP4ClientEndpoint(client, 'server', 7), new Protocol());
  t.match(client.inspect().attempts, [/^<connector connecting to server:7>$/]);
  sim.advance(1);
  t.equal((await connected).transport.connected, true);
  const there = server.inspect();
  t.match(there.ports, [/^<Port listening 0\.0\.0\.0:7>$/, /:9/]);
  t.match(there.connections, [
    /^<connection open 10\.0\.0\.1:7 with 10\.0\.0\.2:\d+ for a Protocol>$/,
  ]);
  const here = client.inspect();
  t.same(
    here.delayedCalls.map(({ name, in: delay }) => [name, delay]),
    [
      ['sooner', 4],
      ['', 29],
      ['later', 59],
    ],
  );
  t.match(
    String(here),
    /^the reactor is not running\ncalls that wait:\n {2}in 4\.000 s: sooner\n {2}in 29\.000 s: \(no name\)\n/,
  );
  t.match(String(here), /\nconnections:\n {2}<connection open /);
  t.match(String(there), /\nports:\n {2}<Port listening /);
});

t.test('a process is told while it runs', { skip: process.platform === 'win32' }, async (t) => {
  const reactor = new Reactor();
  const ended = new Deferred<void>();
  class Cat extends ProcessProtocol {
    override processEnded() {
      ended.callback();
    }
  }
  const cat = reactor.spawnProcess(new Cat(), '/bin/cat');
  t.match(reactor.inspect().processes, [`<process ${cat.pid} /bin/cat>`]);
  t.match(String(reactor.inspect()), /\nprocesses:\n {2}<process /);
  cat.closeStdin();
  await ended;
  t.same(reactor.inspect().processes, []);
});

t.test(
  'while debugging is on, what has no result is told with the place where it was made',
  async (t) => {
    setDebugging(true);
    t.teardown(() => setDebugging(false));
    const mark = pendingMark();
    const never = new Deferred<string>();
    const waiting = inlineCallbacks(function* () {
      return yield* never;
    })();
    const chained = new Deferred<void>().addCallback(() => never);
    chained.callback('first');
    const done = new Deferred<void>();
    done.callback();

    const found = pendingDeferreds(mark);
    t.same(
      found.map(({ kind }) => kind),
      ['Deferred', 'coroutine', 'Deferred'],
    );
    for (const { madeAt } of found) t.match(madeAt, /inspect\.test\.ts:\d+:\d+$/);
    t.equal(found[0]!.waitsFor, undefined);
    t.equal(found[1]!.waitsFor, found[0]!.madeAt);
    t.equal(found[2]!.waitsFor, found[0]!.madeAt);
    t.match(
      String(new Reactor().inspect()),
      /\nwithout a result:\n(.*\n)* {2}a coroutine made at \S+, waits for what was made at \S+/,
    );
    never.callback('at last');
    t.equal(await waiting, 'at last');
    t.same(pendingDeferreds(mark), []);
  },
);

t.test('many that are over are forgotten, and none is kept alive', async (t) => {
  setDebugging(true);
  t.teardown(() => setDebugging(false));
  const mark = pendingMark();
  for (let i = 0; i < 5000; i++) new Deferred<number>().callback(i);
  const kept = new Deferred<void>();
  t.equal(pendingDeferreds(mark).length, 1);
  kept.callback();
  (() => {
    for (let i = 0; i < 2000; i++) new Deferred<number>();
  })();
  for (let i = 0; i < 20 && pendingDeferreds(mark).length > 100; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    global.gc?.();
  }
  t.ok(pendingDeferreds(mark).length <= 100, 'what nobody can see any more is collected');
});

t.test('FND-66: a bound function is named in what a reactor has pending', async (t) => {
  const reactor = new MemoryReactorClock();
  function tick() {}
  reactor.callLater(1, tick.bind(undefined));
  t.equal(reactor.inspect().delayedCalls[0]?.name, 'tick');
  t.match(`${reactor.inspect()}`, /in 1\.000 s: tick/);
});

t.test(
  'FND-34: what a signal has cancelled says why, and has the code of an AbortError',
  async (t) => {
    const reason = new Error('closing time');
    for (const early of [true, false]) {
      const controller = new AbortController();
      if (early) controller.abort(reason);
      const deferred = new Deferred<string>().cancelOn(controller.signal);
      if (!early) controller.abort(reason);
      const error = failureResultOf(deferred, CancelledError).value;
      t.equal(error.cause, reason);
      t.equal((error as { code?: string }).code, 'ABORT_ERR');
    }
    const plain = new Deferred<string>().cancelOn(new AbortController().signal);
    plain.cancel();
    const error = failureResultOf(plain, CancelledError).value;
    t.equal(error.cause, undefined, 'it was not the signal');
    t.equal((error as { code?: string }).code, undefined);
  },
);

t.test('a reactor says that it runs, and a connection in what state it is', async (t) => {
  const reactor = new Reactor();
  let text = '';
  reactor.callWhenRunning(() => {
    text = String(reactor.inspect());
    reactor.stop();
  });
  await reactor.run();
  t.match(text, /^the reactor is running\n/);

  const sim = new Simulation({ conditions: 'ideal' });
  const port = sim.host('server').reactor.listenTCP(7, Factory.forProtocol(Protocol));
  const { reactor: client } = sim.host('client');
  const connected = connectProtocol(new TCP4ClientEndpoint(client, 'server', 7), new Protocol());
  sim.advance(1);
  const { transport } = await connected;
  const state = () => (transport as object as { toString(): string }).toString();
  t.match(state(), /^<connection open .* for a \w+>$/);
  transport.loseConnection();
  t.match(state(), /^<connection closing .* for a \w+>$/);
  sim.advance(1);
  t.match(state(), /^<connection lost 10\.0\.0\.\d:\d+ with 10\.0\.0\.\d:7>$/);
  void port.stopListening();
  sim.advance(1);
});

t.test('a place is told as far as it is known', async (t) => {
  const { stackTraceLimit } = Error;
  t.teardown(() => {
    Error.stackTraceLimit = stackTraceLimit;
    setDebugging(false);
  });
  const before = new Deferred<void>();
  const outer = inlineCallbacks(function* () {
    yield* inlineCallbacks(function* () {
      yield before;
    })();
  });
  const waiting = outer();
  setDebugging(true);
  const mark = pendingMark();
  Error.stackTraceLimit = 0;
  const placeless = new Deferred<void>();
  Error.stackTraceLimit = 1;
  const inside = new Deferred<void>();
  Reflect.deleteProperty(Error, 'stackTraceLimit');
  const traceless = new Deferred<void>();
  Error.stackTraceLimit = stackTraceLimit;
  const [first, second, third] = pendingDeferreds(mark).map(({ madeAt }) => madeAt);
  t.equal(first, 'somewhere');
  t.match(second, /\/lib\/\w+\.ts:\d+:\d+$/, 'the first of all, where all are of plait itself');
  t.equal(third, 'somewhere');
  traceless.callback();
  t.throws(() => traceless.callback(), /already/);
  placeless.callback();
  inside.callback();
  // What was made before debugging was on has no place, and does no harm.
  before.errback(new Error('too late'));
  await t.rejects(waiting.asPromise(), { message: 'too late' });

  t.equal(folderOf('file:///srv/program/bundle.js'), undefined, 'in a bundle there is no folder');
  t.match(folderOf('file:///srv/my%20tea/lib/pending.js'), '/srv/my tea/lib/');
});

t.test('an error whose stack was replaced is awaited all the same', async (t) => {
  const own = folderOf(import.meta.resolve('../../lib/pending.ts')) as string;
  const stacks = [
    undefined,
    `    at Generator.next (<anonymous>)\n    at run (${own}chain.ts:1:1)`,
  ];
  for (const stack of stacks) {
    const error = new RangeError('no tea');
    error.stack = stack as string;
    const never = new Deferred<void>();
    const brewing = inlineCallbacks(function* brew() {
      yield* never;
    })();
    never.errback(error);
    await t.rejects(brewing.asPromise(), error);
    t.match(error.stack, stack === undefined ? /^RangeError: no tea\n/ : /^\n {4}awaited at/);
  }
});
