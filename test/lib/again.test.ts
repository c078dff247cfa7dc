/**
 * The second time: what is started, stopped, registered or opened again, or twice at once, or whose late events come
 * while its successor is at work.
 */
import {
  AsyncResult,
  CancelledError,
  CannotListenError,
  ClientFactory,
  Connection,
  DatagramProtocol,
  Deferred,
  DeferredCondition,
  DeferredQueue,
  DeferredSemaphore,
  Factory,
  fail,
  FileSender,
  globalLogPublisher,
  type IConnector,
  type IListeningPort,
  type IStreamServerEndpoint,
  Logger,
  type LogEvent,
  LogPublisher,
  LoopingCall,
  MultiService,
  Protocol,
  ReceiveBuffer,
  ReconnectingClientFactory,
  redirectConsole,
  Service,
  StandardIOEndpoint,
  stderrObserver,
  StreamServerEndpointService,
  succeed,
  TCP6ServerEndpoint,
  ThreadPool,
} from 'plait';
import { FakeClamd } from 'plait/protocols/clamd';
import { LimitConnectionsByPeer } from 'plait/protocols/policies';
import {
  assertNoResult,
  Clock,
  collectLoggedErrors,
  type Conditions,
  ConnectionCompleter,
  type FaultRates,
  failureResultOf,
  flushLoggedErrors,
  MemoryReactor,
  MemoryReactorClock,
  RaisingMemoryReactor,
  simulate,
  type SimulateOptions,
  Simulation,
  StringTransport,
  successResultOf,
} from 'plait/testing';
import t from '../fixture.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

t.test('FND-72: a looping call started again while its last call goes on fires each start', (t) => {
  const clock = new Clock();
  const calls: Deferred<void>[] = [];
  const loop = new LoopingCall(() => {
    const call = new Deferred<void>();
    calls.push(call);
    return call;
  });
  loop.clock = clock;
  const first = loop.start(1);
  loop.stop();
  const second = loop.start(1, false);
  calls[0]?.callback();
  t.equal(successResultOf(first), loop, 'the first is over with its last call');
  assertNoResult(second);
  t.equal(clock.getDelayedCalls().length, 1, 'and there is one loop, not two');
  clock.advance(1);
  t.equal(calls.length, 2);
  loop.stop();
  assertNoResult(second);
  const third = loop.start(1, false);
  calls[1]?.errback(new RangeError('late'));
  failureResultOf(second, RangeError);
  t.equal(loop.running, true, 'what an earlier call fails with does not end the loop');
  loop.stop();
  t.equal(successResultOf(third), loop);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('FND-72: a looping call that counts begins to count anew when it is started again', (t) => {
  const clock = new Clock();
  const counts: number[] = [];
  const loop = LoopingCall.withCount((count) => counts.push(count));
  loop.clock = clock;
  void loop.start(1);
  clock.advance(3);
  loop.stop();
  clock.advance(100);
  void loop.start(1);
  clock.advance(2);
  loop.stop();
  t.same(counts, [1, 3, 1, 2]);
  t.end();
});

t.test('FND-72: each connector of a reconnecting factory connects again', (t) => {
  const reactor = new MemoryReactorClock();
  const network = new ConnectionCompleter(reactor);
  const factory = new ReconnectingClientFactory();
  factory.clock = reactor;
  factory.jitter = 0;
  factory.protocol = Protocol;
  const connectors = [1, 2, 3].map((port) => reactor.connectTCP('192.0.2.1', port, factory));
  for (let n = 0; n < 3; n++) network.failOnce();
  t.same(
    connectors.map(({ state }) => state),
    ['disconnected', 'disconnected', 'disconnected'],
  );
  reactor.advance(100);
  t.same(
    connectors.map(({ state }) => state),
    ['connecting', 'connecting', 'connecting'],
  );
  network.failOnce();
  factory.stopTrying();
  t.same(
    connectors.map(({ state }) => state),
    ['disconnected', 'disconnected', 'disconnected'],
    'and all of them stop trying',
  );
  t.same(reactor.getDelayedCalls(), []);
  t.end();
});

t.test('FND-72: a service removed while the others start is not started', (t) => {
  const parent = new MultiService();
  const second = new Service();
  class First extends Service {
    override startService() {
      super.startService();
      void second.disownServiceParent();
    }
  }
  parent.addService(new First());
  parent.addService(second);
  parent.startService();
  t.equal(second.running, false);
  void parent.stopService();
  t.end();
});

t.test('FND-72: a port of an attempt that was given up is closed when it comes late', (t) => {
  const attempts: Deferred<IListeningPort>[] = [];
  const closed: number[] = [];
  const portNumber = (n: number) =>
    ({
      stopListening() {
        closed.push(n);
        return succeed();
      },
    }) as unknown as IListeningPort;
  const endpoint: IStreamServerEndpoint = {
    listen() {
      const attempt = new Deferred<IListeningPort>();
      attempts.push(attempt);
      // Goes on, whoever cancels it.
      return new Deferred<void>().addErrback(() => {}).addCallback(() => attempt);
    },
  };
  const service = new StreamServerEndpointService(endpoint, new Factory());
  service.startService();
  void service.stopService();
  service.startService();
  attempts[0]?.callback(portNumber(1));
  t.same(closed, [1]);
  const listening = service.whenListening();
  assertNoResult(listening);
  void service.stopService();
  failureResultOf(listening);
  attempts[1]?.callback(portNumber(2));
  t.same(closed, [1, 2]);
  t.end();
});

t.test('FND-72: a service that is told to stop twice says twice when its port is closed', (t) => {
  const close: Deferred<void>[] = [];
  const port = {
    stopListening() {
      const closing = new Deferred<void>();
      close.push(closing);
      return closing;
    },
  } as unknown as IListeningPort;
  const service = new StreamServerEndpointService({ listen: () => succeed(port) }, new Factory());
  service.startService();
  const first = service.stopService();
  const second = service.stopService();
  assertNoResult(first);
  assertNoResult(second);
  for (const closing of close.splice(0)) closing.callback();
  successResultOf(first);
  successResultOf(second);
  t.end();
});

t.test(
  'FND-72: a file is sent after another whose reading was cancelled and goes on',
  async (t) => {
    const reads: ((piece: IteratorResult<string>) => void)[] = [];
    const returned: string[] = [];
    const slow = (name: string): AsyncIterable<string> => ({
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise((resolve) => reads.push(resolve)),
        return: () => {
          returned.push(name);
          return Promise.resolve({ done: true, value: undefined });
        },
      }),
    });
    const sender = new FileSender();
    const consumer = new StringTransport();
    const first = sender.beginFileTransfer(slow('first'), consumer).addErrback(() => {});
    sender.resumeProducing();
    first.cancel();
    const second = sender.beginFileTransfer(['a', 'b'], consumer);
    sender.resumeProducing();
    await turn();
    t.equal(consumer.value().toString(), 'a');
    reads[0]?.({ done: false, value: 'late' });
    await turn();
    t.same(returned, ['first']);
    sender.resumeProducing();
    await turn();
    sender.resumeProducing();
    t.equal((await second).toString(), 'b');
    t.equal(consumer.value().toString(), 'ab');

    const third = sender.beginFileTransfer(slow('third'), consumer).addErrback(() => {});
    sender.resumeProducing();
    third.cancel();
    const fourth = sender.beginFileTransfer(slow('fourth'), consumer).addErrback(() => {});
    fourth.cancel();
    await turn();
    t.same(returned, ['first', 'fourth'], 'what is not being read is closed at once');
    reads[1]?.({ done: true, value: undefined });
    await turn();
  },
);

t.test(
  'FND-72: a pool of threads started again before it has stopped tells who stopped it',
  async (t) => {
    const pool = new ThreadPool({ max: 1 });
    const work = new Deferred<unknown>();
    pool.callInThreadWithCallback(
      (_success, result) => work.callback(result),
      () => 1,
    );
    const stopped = pool.stop();
    pool.start();
    t.equal(await work, 1);
    await stopped;
    t.equal(pool.threads, 0);
    await pool.stop();
  },
);

t.test(
  'FND-72: a port that listens again where that failed does not end the program',
  async (t) => {
    const reactor = new MemoryReactor();
    const taken = reactor.listenTCP(7000, Factory.forProtocol(Protocol));
    reactor.flush();
    const port = reactor.listenTCP(7000, Factory.forProtocol(Protocol));
    let stopped: Deferred<void> | undefined;
    const listened = port.ready.addErrback((failure) => {
      failure.trap(CannotListenError);
      stopped = taken.stopListening();
      port.startListening();
    });
    reactor.flush();
    successResultOf(listened);
    void stopped;
    void port.stopListening();
    reactor.flush();
  },
);

t.test('FND-72: a connection given up while its protocol is built is closed', (t) => {
  const reactor = new MemoryReactor();
  const seen: string[] = [];
  let connector: IConnector | undefined;
  class Fussy extends ClientFactory {
    override startedConnecting(started: IConnector) {
      connector = started;
    }
    override buildProtocol() {
      connector?.disconnect();
      return new (class extends Protocol {
        override connectionLost() {
          seen.push('lost');
        }
      })();
    }
  }
  reactor.connectTCP('192.0.2.1', 7, new Fussy());
  const pump = new ConnectionCompleter(reactor).succeedOnce(new Protocol());
  pump.flush();
  t.same(seen, ['lost']);
  t.equal(connector?.state, 'disconnected');
  t.end();
});

t.test('FND-72: a console redirected twice is itself again, in whatever order that ends', (t) => {
  const events: LogEvent[] = [];
  const to = (name: string) => new Logger(name, (event: LogEvent) => void events.push(event));

  const { log } = console;
  const written: unknown[][] = [];
  console.log = (...args: unknown[]) => void written.push(args);
  try {
    const first = redirectConsole(to('first'));
    const second = redirectConsole(to('second'));
    console.log('one');
    first[Symbol.dispose]();
    console.log('two');
    second[Symbol.dispose]();
    console.log('three');
    first[Symbol.dispose]();
    second[Symbol.dispose]();
    console.log('four');
  } finally {
    console.log = log;
  }
  t.same(
    events.map(({ namespace, text }) => [namespace, text]),
    [
      ['second', 'one'],
      ['second', 'two'],
    ],
  );
  t.same(written, [['three'], ['four']]);
  t.end();
});

t.test('FND-72: an observer that another has removed is not told of the event', (t) => {
  const publisher = new LogPublisher();
  const told: string[] = [];
  const second = () => void told.push('second');
  publisher.addObserver(() => {
    told.push('first');
    publisher.removeObserver(second);
  });
  publisher.addObserver(second);
  new Logger('shop', publisher).info('open');
  t.same(told, ['first']);
  t.end();
});

t.test(
  'FND-72: collections of errors that end in any order write nothing before the last ends',
  (t) => {
    const writes = () => globalLogPublisher.observers.includes(stderrObserver);
    const before = writes();
    globalLogPublisher.addObserver(stderrObserver);
    const first = collectLoggedErrors();
    const second = collectLoggedErrors();
    first();
    t.equal(writes(), false);
    new Logger('shop').error('out of tea');
    t.equal(flushLoggedErrors().length, 1);
    t.same(second(), []);
    t.equal(writes(), true);
    t.same([first(), second()], [[], []]);
    if (!before) globalLogPublisher.removeObserver(stderrObserver);
    t.end();
  },
);

t.test('FND-72: standard I/O that could not be opened can be tried again', (t) => {
  let attempts = 0;
  const endpoint = new StandardIOEndpoint({
    standardIO(protocol) {
      if (++attempts === 1) throw new RangeError('not open');
      return protocol as never;
    },
  });
  const factory = Factory.forProtocol(Protocol);
  failureResultOf(endpoint.listen(factory), RangeError);
  successResultOf(endpoint.listen(factory));
  failureResultOf(endpoint.listen(factory));
  t.equal(attempts, 2);
  t.end();
});

t.test(
  'FND-72: an iterator of a queue asked twice at once leaves the line with both when it ends',
  async (t) => {
    const queue = new DeferredQueue<number>();
    const iterator = queue[Symbol.asyncIterator]();
    const first = iterator.next();
    const second = iterator.next();
    t.equal(queue.waiting, 2);
    const returned = iterator.return?.();
    t.equal(queue.waiting, 0);
    await Promise.all([
      t.rejects(first, CancelledError),
      t.rejects(second, CancelledError),
      returned,
    ]);
    queue.put(7);
    t.same(await iterator.next(), { done: true, value: undefined });
    t.equal(queue.pending, 1, 'and takes nothing after that');
  },
);

t.test('FND-72: a read whose Deferred somebody else has fired takes no bytes', (t) => {
  const reactor = new MemoryReactor();
  let connection: Connection | undefined;
  reactor.listenTCP(
    7000,
    Connection.factory((made) => {
      connection = made;
      return made.closed;
    }),
  );
  reactor.flush();
  reactor.connectTCP('127.0.0.1', 7000, ClientFactory.forProtocol(Protocol));
  const pump = new ConnectionCompleter(reactor).succeedOnce();
  const read = connection?.read();
  read?.callback(null);
  pump.clientIO?.write('hello');
  pump.flush();
  t.equal(String(successResultOf(connection?.read() as Deferred<Buffer>)), 'hello');
  pump.clientIO?.loseConnection();
  pump.flush();
  t.end();
});

t.test('FND-72: a wrapper that is connected twice counts once', (t) => {
  const limits = new LimitConnectionsByPeer(Factory.forProtocol(Protocol), {
    maxConnectionsPerPeer: 1,
  });
  const transport = new StringTransport();
  const wrapper = limits.buildProtocol(transport.getPeer());
  wrapper?.makeConnection(transport);
  wrapper?.makeConnection(transport);
  t.equal(limits.buildProtocol(transport.getPeer()), null);
  wrapper?.connectionLost(failureResultOf(fail(new Error('lost'))));
  t.not(limits.buildProtocol(transport.getPeer()), null);
  t.end();
});

t.test(
  'FND-72: a result that is set with a Deferred, or twice, leaves those who wait waiting',
  (t) => {
    const result = new AsyncResult<unknown>();
    const waiting = [result.get(), result.get()];
    t.throws(() => {
      result.set(new Deferred());
    }, TypeError);
    t.equal(result.ready, false);
    for (const waiter of waiting) assertNoResult(waiter);
    result.set(7);
    t.same(waiting.map(successResultOf), [7, 7]);
    t.throws(() => {
      result.set(8);
    });
    t.end();
  },
);

t.test('FND-74: a limit that is no number lets no line grow without limit', (t) => {
  const received = new ReceiveBuffer();
  received.feed(Buffer.from('a line without an end'));
  for (const limit of [NaN, -1])
    t.throws(() => received.takeUntil(Buffer.from('\n'), limit), RangeError, String(limit));
  const absent = undefined as unknown as number;
  t.throws(() => received.takeUntil(Buffer.from('\n'), absent), TypeError);
  t.equal(received.takeUntil(Buffer.from('\n'), Infinity), undefined);
  t.end();
});

t.test('FND-74: how many may go on, and how many are woken, are whole numbers', (t) => {
  const semaphore = new DeferredSemaphore(2);
  for (const limit of [0, -1, 1.5, NaN, Infinity, '2' as unknown as number]) {
    t.throws(
      () => {
        semaphore.limit = limit;
      },
      typeof limit === 'number' ? RangeError : TypeError,
    );
  }
  semaphore.limit = 3;
  t.equal(semaphore.limit, 3);
  const condition = new DeferredCondition();
  successResultOf(condition.acquire());
  const waiting = condition.wait();
  successResultOf(condition.acquire());
  for (const count of [-1, 0.5, NaN]) t.throws(() => condition.notify(count), RangeError);
  condition.notify(0);
  condition.release();
  assertNoResult(waiting);
  successResultOf(condition.acquire());
  condition.notify(Infinity);
  condition.release();
  successResultOf(waiting);
  t.end();
});

t.test('FND-74: an option that is undefined counts as left out', (t) => {
  const reactor = new MemoryReactor();
  const absent = undefined as unknown as string;
  void new TCP6ServerEndpoint(reactor, 0, { interface: absent }).listen(new Factory());
  t.equal(reactor.tcpServers[0]?.interface, '::');
  reactor.flush();

  const transport = new StringTransport();
  const none = Object.fromEntries(
    ['signatures', 'version', 'streamMaxLength', 'commandReadTimeout', 'readTimeout'].map(
      (name) => [name, undefined],
    ),
  );
  const clamd = new FakeClamd({ ...none, reactor: new Clock() }).buildProtocol(transport.getPeer());
  clamd.makeConnection(transport);
  clamd.dataReceived(Buffer.from('zVERSION\0'));
  t.equal(transport.value().toString(), 'ClamAV 0.0.0-fake\0');

  const faults = { reset: undefined } as unknown as FaultRates;
  const conditions = { latency: undefined, faults, level: undefined } as unknown as Conditions;
  t.equal(new Simulation({ seed: 1, conditions }).seconds(), 0);
  t.equal(new Simulation({ seed: 1, conditions: undefined as unknown as Conditions }).seconds(), 0);
  t.end();
});

t.test('FND-74: a reactor that can adopt no port adopts none of any kind', (t) => {
  const reactor = new RaisingMemoryReactor({ listenException: new RangeError('no ports today') });
  t.throws(() => reactor.adoptDatagramPort(3, 'AF_INET', new DatagramProtocol()), /no ports today/);
  t.throws(() => reactor.adoptStreamPort(3, 'AF_INET', new Factory()), /no ports today/);
  t.end();
});

t.test('FND-74: a simulation whose limits cannot be is not begun', async (t) => {
  const wrong: SimulateOptions[] = [
    { limit: NaN },
    { limit: -1 },
    { grace: NaN },
    { trace: -1 },
    { date: new Date(NaN) },
    { runs: 0 },
  ];
  for (const options of wrong) {
    await t.rejects(
      simulate(options, () => t.fail('it was begun')),
      RangeError,
    );
  }
});
