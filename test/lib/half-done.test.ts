/**
 * What stays behind where a function of the caller's throws, calls back, or gives nonsense in the middle of something:
 * nothing may be left that keeps the next time from working, and nothing may be waited for that will not come.
 */
import { Writable } from 'node:stream';
import {
  CancelledError,
  ClientService,
  ConnectionDone,
  Cooperator,
  DatagramProtocol,
  Deferred,
  DuplexProtocol,
  Factory,
  Failure,
  FileLogObserver,
  FileSender,
  type IConsumer,
  type IHostnameResolver,
  type IPullProducer,
  type IProtocol,
  type IProtocolFactory,
  type LogEvent,
  MultiService,
  ProcessProtocol,
  Protocol,
  Reactor,
  Service,
  succeed,
  textFileLogObserver,
  TimerService,
  wait,
} from 'plait';
import { ProtocolWrapper, ThrottlingFactory } from 'plait/protocols/policies';
import {
  Clock,
  failureResultOf,
  flushLoggedErrors,
  Simulation,
  StringTransport,
  StringTransportWithDisconnection,
  successResultOf,
} from 'plait/testing';
import { hostIdentity } from '../../lib/host-identity.ts';
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

t.test('what a canceller returns that is nothing to wait for is passed over', (t) => {
  for (const outcome of [{}, [], 7, null, new Date(), () => {}]) {
    const deferred = new Deferred<void>(() => outcome);
    deferred.cancel();
    failureResultOf(deferred, CancelledError);
  }
  t.same(flushLoggedErrors(), []);
  t.end();
});

t.test('a transport that is told of another protocol gives it what was not read', (t) => {
  const transport = new StringTransport();
  const seen: string[] = [];
  class Noting extends Protocol {
    override dataReceived(data: Buffer) {
      seen.push(data.toString());
    }
  }
  new Protocol().makeConnection(transport);
  transport.switchProtocol(new Noting());
  t.same(seen, []);
  transport.switchProtocol(new Noting(), { unread: Buffer.from('rest') });
  t.same(seen, ['rest']);
  t.same(
    transport.switched.map(({ unread }) => String(unread)),
    ['', 'rest'],
  );
  t.end();
});

t.test('a UDP port that is not bound holds nothing back', (t) => {
  const sim = new Simulation();
  const port = sim.host('server').reactor.listenUDP(9, new DatagramProtocol());
  t.equal(port.bufferedBytes, 0);
  const stopped = port.stopListening();
  sim.advance(1);
  successResultOf(stopped);
  t.equal(port.bufferedBytes, 0);
  t.end();
});

t.test('a factory that wraps by its own kind of wrapper throttles none of them', (t) => {
  const clock = new Clock();
  class Plain extends ThrottlingFactory {
    override wrap(protocol: IProtocol): ProtocolWrapper {
      return new ProtocolWrapper(this, protocol);
    }
  }
  const factory = new Plain(Factory.forProtocol(Protocol), { clock, readLimit: 1 });
  const transport = new StringTransport();
  const wrapper = factory.buildProtocol(transport.getPeer());
  wrapper?.makeConnection(transport);
  wrapper?.dataReceived(Buffer.from('more than a second’s worth'));
  clock.advance(1);
  t.equal(transport.producerState, 'producing');
  wrapper?.connectionLost(new Failure(new ConnectionDone()));
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('a pull producer is not paused by what throttles, but asked less often', (t) => {
  const clock = new Clock();
  const factory = new ThrottlingFactory(Factory.forProtocol(Protocol), { clock, writeLimit: 4 });
  const transport = new StringTransport();
  const wrapper = factory.buildProtocol(transport.getPeer());
  wrapper?.makeConnection(transport);
  let asked = 0;
  const pull = {
    resumeProducing() {
      asked++;
      wrapper?.write('12345678');
    },
    stopProducing() {},
  };
  wrapper?.registerProducer(pull, false);
  transport.producer?.resumeProducing();
  const before = asked;
  transport.producer?.resumeProducing();
  clock.advance(1);
  transport.producer?.resumeProducing();
  t.equal(asked, before, 'while there is too much');
  clock.pump([1, 1, 1]);
  t.ok(asked > before);
  wrapper?.unregisterProducer();
  wrapper?.connectionLost(new Failure(new ConnectionDone()));
  for (const call of clock.getDelayedCalls()) call.cancel();
  t.end();
});

t.test('a program is given text, and null is none', (t) => {
  const reactor = new Reactor();
  const spawn = (args: unknown) => () =>
    reactor.spawnProcess(new ProcessProtocol(), '/bin/true', { args: args as string[] });
  t.throws(spawn(['true', null]), { name: 'TypeError', message: /must be a string, not null/ });
  t.throws(spawn(['true', 7]), { name: 'TypeError', message: /must be a string, not (7|number)/ });
  t.end();
});

t.test('what is no Punycode is no host', (t) => {
  for (const host of ['xn--99999999', 'xn--zzzzzz9', 'xn--'])
    t.throws(() => hostIdentity(host), { message: /not a host name/ }, host);
  t.end();
});
