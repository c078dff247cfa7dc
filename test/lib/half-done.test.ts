/**
 * What stays behind where a function of the caller's throws, calls back, or gives nonsense in the middle of something:
 * nothing may be left that keeps the next time from working, and nothing may be waited for that will not come.
 */
import { Writable } from 'node:stream';
import {
  ClientService,
  Cooperator,
  Deferred,
  DuplexProtocol,
  Factory,
  FileLogObserver,
  FileSender,
  type IConsumer,
  type IHostnameResolver,
  type IPullProducer,
  type IProtocolFactory,
  type LogEvent,
  MultiService,
  Protocol,
  Reactor,
  Service,
  succeed,
  textFileLogObserver,
  TimerService,
  wait,
} from 'plait';
import {
  Clock,
  failureResultOf,
  flushLoggedErrors,
  StringTransport,
  StringTransportWithDisconnection,
  successResultOf,
} from 'plait/testing';
import t from '../fixture.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('a scheduler that throws once keeps no task from being worked through later', (t) => {
  const turns: (() => void)[] = [];
  let broken = true;
  const cooperator = new Cooperator({
    scheduler(next) {
      if (broken) throw new RangeError('no turn to be had');
      turns.push(next);
      return new Clock().callLater(0, next);
    },
  });
  t.throws(() => cooperator.cooperate([1][Symbol.iterator]()), RangeError);
  broken = false;
  const done = cooperator.coiterate([2][Symbol.iterator]());
  turns.splice(0).forEach((next) => next());
  successResultOf(done);
  t.end();
});

t.test(
  'while a set of services stops, what is added is not started, and nothing stops twice',
  (t) => {
    const stops: string[] = [];
    class Part extends Service {
      readonly #act: () => void;
      constructor(name: string, act: () => void = () => {}) {
        super();
        this.name = name;
        this.#act = act;
      }
      override stopService(): Deferred<void> {
        stops.push(String(this.name));
        this.#act();
        return super.stopService();
      }
    }
    const set = new MultiService();
    const late = new Part('late');
    const first = new Part('first');
    set.addService(first);
    set.addService(
      new Part('second', () => {
        set.addService(late);
        set.removeService(first);
      }),
    );
    set.startService();
    successResultOf(set.stopService());
    t.same(stops, ['second', 'first']);
    t.equal(late.running, false);
    t.end();
  },
);

t.test('a timer service with a step that cannot be is not started, and can be stopped', (t) => {
  const service = new TimerService(1, () => {});
  service.clock = new Clock();
  service.step = NaN;
  t.throws(() => service.startService(), RangeError);
  t.equal(service.running, false);
  successResultOf(service.stopService());
  t.end();
});

t.test(
  'FND-82: a consumer that throws when it is let go of does not hold up the sender',
  async (t) => {
    const consumer: IConsumer = {
      write() {
        throw new TypeError('full');
      },
      registerProducer(producer) {
        void producer.resumeProducing();
      },
      unregisterProducer() {
        throw new RangeError('not registered');
      },
    };
    const sender = new FileSender();
    await t.rejects(sender.beginFileTransfer(['tea'], consumer).asPromise(), { message: 'full' });
    t.equal(flushLoggedErrors(RangeError).length, 1);
  },
);

t.test('FND-07: a consumer whose write fails later fails the transfer', async (t) => {
  let producer: IPullProducer | undefined;
  let written: Deferred<void> | undefined;
  const hooks: Omit<IConsumer, 'write'> = {
    registerProducer(given) {
      producer = given;
    },
    unregisterProducer() {},
  };
  const consumer = Object.assign(hooks, { write: () => (written = new Deferred<void>()) });
  const sender = new FileSender();
  for (const isLate of [false, true]) {
    const sent = sender.beginFileTransfer(['tea', 'milk'], consumer);
    producer?.resumeProducing();
    while (written === undefined) await turn();
    if (isLate) sent.cancel();
    written.errback(new TypeError('full'));
    written = undefined;
    t.match(failureResultOf(sent).value, isLate ? { name: 'CancelledError' } : { message: 'full' });
    t.equal(flushLoggedErrors(TypeError).length, isLate ? 1 : 0);
  }
});

t.test('FND-83: what a resolver gives that is no address is not connected to', (t) => {
  for (const nonsense of [{}, { host: 'tea.test' }, '127.0.0.1']) {
    const reactor = new Reactor();
    const resolver: IHostnameResolver = {
      resolveHostName(receiver, name) {
        const resolution = { name, cancel() {} };
        receiver.resolutionBegan(resolution);
        receiver.addressResolved(nonsense as never);
        receiver.resolutionComplete();
        return resolution;
      },
    };
    reactor.installNameResolver(resolver);
    t.match(failureResultOf(reactor.resolve('tea.test')).value, { name: 'DNSLookupError' });
  }
  t.end();
});

t.test('what prepares a connection that is lost at once is called off', (t) => {
  const clock = new Clock();
  let cancelled = false;
  const endpoint = {
    connect<P extends Protocol>(factory: IProtocolFactory<P>): Deferred<P> {
      const transport = new StringTransportWithDisconnection();
      const protocol = factory.buildProtocol(transport.getPeer()) as P;
      transport.protocol = protocol;
      void protocol.makeConnection(transport);
      return succeed(protocol);
    },
  };
  const service = new ClientService(endpoint as never, Factory.forProtocol(Protocol), {
    clock,
    prepareConnection(protocol) {
      protocol.transport.loseConnection();
      return new Deferred<void>(() => void (cancelled = true));
    },
  });
  service.startService();
  t.equal(cancelled, true);
  clock.advance(1);
  successResultOf(service.stopService());
  t.end();
});

t.test('a write of a stream that cannot be made fails, and does not stay under way', async (t) => {
  const protocol = new DuplexProtocol();
  protocol.makeConnection(new StringTransport());
  const bytes = Buffer.from(new ArrayBuffer(4));
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  const error = await new Promise((resolve) => protocol.duplex._write(bytes, 'latin1', resolve));
  t.match(error, { name: 'TypeError' });
});

t.test('FND-25: a double whose protocol could not be changed keeps the one that it has', (t) => {
  const transport = new StringTransportWithDisconnection();
  const protocol = new Protocol();
  transport.protocol = protocol;
  t.throws(() => transport.switchProtocol({} as never), TypeError);
  t.equal(transport.protocol, protocol);
  transport.loseConnection();
  t.throws(() => transport.switchProtocol(new Protocol()), { name: 'ConnectionLost' });
  t.equal(transport.protocol, protocol);
  t.end();
});

t.test('a wait fires with the Deferreds that it was given, whatever becomes of the array', (t) => {
  const [one, two] = [new Deferred<number>(), new Deferred<number>()];
  const all = [one, two];
  const waited = wait(all, { until: 'first' });
  all.length = 0;
  one.callback(1);
  t.same(successResultOf(waited), { done: [one], pending: [two] });
  two.callback(2);
  t.end();
});

t.test('FND-81: a log to a stream that is gone is not waited for', async (t) => {
  const stream = new Writable({ write() {} });
  const observer = textFileLogObserver(stream);
  const event: LogEvent = { time: 0, level: 'info', namespace: 'tea', format: 'hot' };
  observer.emit(event);
  const flushed = observer.flush();
  stream.destroy();
  await flushed;
  await observer.close();
  t.equal(stream.listenerCount('close'), 0);
});

t.test('FND-81: a log that is never done keeps nothing of what it has written', async (t) => {
  const limit = 4 * 2 ** 20;
  const size = 32 * 1024;
  let [taken, dropped] = [0, 0];
  const observer = new FileLogObserver(
    '/dev/null',
    ({ count }) => {
      if (typeof count !== 'number') return Buffer.alloc(size, 'x').toString('latin1');
      dropped += count;
      return undefined;
    },
    { maxWaiting: limit },
  );
  const event: LogEvent = { time: 0, level: 'info', namespace: 'tea', format: 'hot' };
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  // More at a time than is written at a time, so that something waits at every moment.
  while ((taken - dropped) * size < 16 * limit) {
    for (let i = 0; i < 64; i++, taken++) observer.emit(event);
    await turn();
  }
  globalThis.gc?.();
  const grown = process.memoryUsage().heapUsed - before;
  t.ok(grown < 5 * limit, `${grown} bytes are kept of ${(taken - dropped) * size}`);
  await observer.close();
});
