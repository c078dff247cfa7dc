import fc from 'fast-check';
import {
  backoffPolicy,
  CancelledError,
  CannotListenError,
  ClientService,
  type ClientServiceOptions,
  ConnectionAborted,
  ConnectionDone,
  ConnectionLost,
  ConnectionRefusedError,
  type ConnectorState,
  CooperatorService,
  Deferred,
  Factory,
  fail,
  Failure,
  HostnameAddress,
  type IConnector,
  type IListeningPort,
  IPv4Address,
  type IProtocol,
  type IProtocolFactory,
  isHalfCloseableProtocol,
  type IStreamClientEndpoint,
  type IStreamServerEndpoint,
  MultiService,
  NoProtocol,
  Protocol,
  type ProtocolClass,
  Reactor,
  ReconnectingClientFactory,
  SchedulerStopped,
  Service,
  serviceFromString,
  StreamServerEndpointService,
  succeed,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
  TimerService,
} from 'plait';
import { Echo } from 'plait/protocols/echo';
import {
  assertNoResult,
  Clock,
  failureResultOf,
  flushLoggedErrors,
  StringTransport,
  successResultOf,
} from 'plait/testing';
import t from '../fixture.ts';

// ── ReconnectingClientFactory ────────────────────────────────────────────────────────────────────────────────────────

const refused = new Failure(new ConnectionRefusedError('connection refused'));

/** A connector that notes what is asked of it. */
class NotingConnector implements IConnector {
  state: ConnectorState = 'disconnected';
  connects = 0;
  stops = 0;
  connect() {
    this.connects++;
    this.state = 'connecting';
  }
  stopConnecting() {
    this.stops++;
    this.state = 'disconnected';
  }
  disconnect() {}
  getDestination() {
    return new HostnameAddress('example.com', 80);
  }
}

function reconnecting() {
  const clock = new Clock();
  const connector = new NotingConnector();
  const factory = ReconnectingClientFactory.forProtocol(Protocol);
  factory.clock = clock;
  factory.jitter = 0;
  /** One more attempt fails; how many seconds until the next? */
  const failed = (): number | undefined => {
    connector.state = 'disconnected';
    factory.clientConnectionFailed(connector, refused);
    const [call] = clock.getDelayedCalls();
    if (call === undefined) return undefined;
    const delay = call.getTime() - clock.seconds();
    clock.advance(delay);
    return delay;
  };
  return { clock, connector, factory, failed };
}

t.test('a reconnecting factory tries again, later each time, up to a longest delay', (t) => {
  const { clock, connector, factory, failed } = reconnecting();
  factory.factor = 10;
  factory.maxDelay = 200;
  t.same([failed(), failed(), failed(), failed()], [10, 100, 200, 200]);
  t.same([connector.connects, factory.retries, factory.delay], [4, 4, 200]);
  t.same(clock.getDelayedCalls(), []);
  factory.resetDelay();
  t.same([factory.retries, factory.delay], [0, 1]);
  t.equal(failed(), 10);
  t.end();
});

t.test('the first delay is e seconds; a lost connection is tried again as well', (t) => {
  const { clock, connector, factory } = reconnecting();
  factory.clientConnectionLost(connector, new Failure(new ConnectionLost('gone')));
  clock.advance(Math.E - 0.01);
  t.equal(connector.connects, 0);
  clock.advance(0.01);
  t.equal(connector.connects, 1);
  t.end();
});

t.test('chance varies a delay, by a normal distribution around it', (t) => {
  const { factory, failed } = reconnecting();
  factory.jitter = 0.1;
  factory.factor = 1;
  // A small generator with a seed, so that what is measured is always the same.
  let state = 42;
  factory.random = () => (state = (state * 16807) % 2147483647) / 2147483647;
  const delays: number[] = [];
  for (let i = 0; i < 4000; i++) {
    factory.resetDelay();
    delays.push(failed() ?? 0);
  }
  const mean = delays.reduce((sum, delay) => sum + delay) / delays.length;
  const variance = delays.reduce((sum, delay) => sum + (delay - mean) ** 2, 0) / delays.length;
  t.ok(Math.abs(mean - 1) < 0.01, `mean ${mean}`);
  t.ok(Math.abs(Math.sqrt(variance) - 0.1) < 0.01, `deviation ${Math.sqrt(variance)}`);
  t.ok(delays.every((delay) => delay >= 0));
  t.end();
});

t.test('it gives up after as many retries as it may', (t) => {
  const { factory, failed } = reconnecting();
  factory.maxRetries = 2;
  t.type(failed(), 'number');
  t.type(failed(), 'number');
  t.equal(failed(), undefined);
  t.end();
});

t.test('told to stop, it calls off the next attempt and gives up the one under way', (t) => {
  const { clock, connector, factory, failed } = reconnecting();
  factory.clientConnectionFailed(connector, refused);
  factory.stopTrying();
  t.same(clock.getDelayedCalls(), []);
  t.same([connector.stops, factory.continueTrying], [0, false]);
  t.equal(failed(), undefined);
  factory.retry();
  t.same(clock.getDelayedCalls(), [], 'asking for it is no use either');

  factory.resetDelay();
  t.type(failed(), 'number');
  t.equal(connector.state, 'connecting');
  factory.stopTrying();
  t.equal(connector.stops, 1);

  const { factory: first } = reconnecting();
  first.stopTrying();
  t.throws(() => ReconnectingClientFactory.forProtocol(Protocol).retry(), /no connector/);
  const early = reconnecting();
  early.connector.connect();
  early.factory.startedConnecting(early.connector);
  early.factory.stopTrying();
  t.equal(early.connector.stops, 1, 'the very first attempt too');
  t.end();
});

t.test('several reasons to try again are one, and it connects once', (t) => {
  const { clock, connector, factory } = reconnecting();
  factory.clientConnectionFailed(connector, refused);
  factory.retry();
  t.equal(clock.getDelayedCalls().length, 1);
  connector.connect(); // somebody is quicker
  clock.advance(1000);
  t.equal(connector.connects, 1);
  t.end();
});

t.test('over a real network it comes back to a server that went away', async (t) => {
  const reactor = new Reactor();
  const lost: Deferred<void>[] = [new Deferred(), new Deferred()];
  let connections = 0;
  class Closing extends Protocol {
    override connectionMade() {
      connections++;
      this.transport.loseConnection();
    }
    override connectionLost() {
      lost.shift()?.callback();
    }
  }
  const port = reactor.listenTCP(0, Factory.forProtocol(Closing), { interface: '127.0.0.1' });
  await port.ready;
  const address = port.getHost();
  if (!(address instanceof IPv4Address)) throw new Error(`listens on ${address}`);
  const factory = ReconnectingClientFactory.forProtocol(Protocol);
  factory.clock = reactor;
  factory.initialDelay = 0.001;
  const [first, second] = lost;
  reactor.connectTCP('127.0.0.1', address.port, factory);
  await first;
  await second;
  factory.stopTrying();
  t.ok(connections >= 2);
  await port.stopListening();
});

// ── Service and MultiService ─────────────────────────────────────────────────────────────────────────────────────────

/** Notes when it is started and stopped; stopping may take its time. */
class Noting extends Service {
  readonly #notes: string[];
  stopping: Deferred<void> | undefined;
  constructor(name: string, notes: string[], stopping?: Deferred<void>) {
    super();
    this.setName(name);
    this.#notes = notes;
    this.stopping = stopping;
  }
  override privilegedStartService() {
    super.privilegedStartService();
    this.#notes.push(`privileged ${this.name}`);
  }
  override startService() {
    super.startService();
    this.#notes.push(`start ${this.name}`);
  }
  override stopService() {
    this.#notes.push(`stop ${this.name}`);
    const stop = super.stopService();
    return this.stopping ?? stop;
  }
}

t.test('services are started in order and stopped in reverse, and all are waited for', (t) => {
  const notes: string[] = [];
  const slow = new Deferred<void>();
  const slower = new Deferred<void>();
  const all = new MultiService();
  all.addService(new Noting('a', notes, slow));
  new Noting('b', notes).setServiceParent(all);
  all.addService(new Noting('c', notes, slower));
  t.same(notes, []);
  all.privilegedStartService();
  all.startService();
  t.same(notes.splice(0), [
    ...['privileged a', 'privileged b', 'privileged c'],
    ...['start a', 'start b', 'start c'],
  ]);
  t.ok([...all].every((service) => service.running));
  const stop = all.stopService();
  t.same(notes, ['stop c', 'stop b', 'stop a']);
  t.equal(all.running, false);
  slow.callback();
  assertNoResult(stop);
  slower.callback();
  successResultOf(stop);
  t.end();
});

t.test(
  'FND-12: a set fails with what its services fail with, once the others are stopped too',
  (t) => {
    const notes: string[] = [];
    const all = new MultiService();
    all.addService(new Noting('a', notes));
    all.addService(new Noting('b', notes, fail(new RangeError('b'))));
    const c = new Noting('c', notes);
    c.stopService = () => {
      throw new TypeError('c');
    };
    all.addService(c);
    all.startService();
    const both = failureResultOf(all.stopService(), AggregateError).value;
    t.equal(both.message, '2 services could not be stopped: c; b');
    t.same(
      both.errors.map((error: Error) => error.constructor),
      [TypeError, RangeError],
    );
    t.same(notes.slice(-2), ['stop b', 'stop a']);
    void all.removeService(c);
    all.startService();
    // The other's Deferred has failed once and for all.
    const again = new Noting('d', notes, fail(new RangeError('d')));
    all.addService(again);
    failureResultOf(all.stopService(), RangeError);
    t.equal(notes.at(-1), 'stop a');
    t.end();
  },
);

t.test('a service that comes to a running parent is started, one that goes is stopped', (t) => {
  const notes: string[] = [];
  const [all, other] = [new MultiService(), new MultiService()];
  all.startService();
  const a = new Noting('a', notes);
  all.addService(a);
  t.same(notes.splice(0), ['privileged a', 'start a']);
  t.equal(a.parent, all);
  all.addService(a);
  t.same(notes, [], 'it is there already');
  a.setServiceParent(other);
  t.same(notes.splice(0), ['stop a']);
  t.same([[...all], [...other]], [[], [a]]);
  a.setServiceParent(all);
  t.same(notes.splice(0), ['privileged a', 'start a'], 'a parent that does not run stops nothing');
  a.stopping = new Deferred<void>();
  const gone = a.disownServiceParent();
  assertNoResult(gone);
  a.stopping.callback();
  successResultOf(gone);
  t.same([a.parent, [...all]], [undefined, []]);
  t.throws(() => a.disownServiceParent(), /there is none/);
  t.throws(() => all.removeService(a), /not a part/);
  t.end();
});

t.test('services have names, by which their parent finds them', (t) => {
  const all = new MultiService();
  const a = new Service();
  a.setName('a');
  all.addService(a);
  t.equal(all.getServiceNamed('a'), a);
  t.throws(() => all.getServiceNamed('b'), /there is no service named "b"/);
  t.throws(() => a.setName('b'), /it has a parent already/);
  const another = new Service();
  another.setName('a');
  t.throws(() => all.addService(another), /there is already a service named "a"/);
  t.equal(another.parent, undefined);
  for (let i = 0; i < 2; i++) all.addService(new Service());
  t.equal([...all].length, 3, 'any number may have none');
  const inner = new MultiService();
  inner.setServiceParent(all);
  t.throws(() => inner.addService(all), /part of itself/);
  t.throws(() => all.addService(all), /part of itself/);
  t.end();
});

t.test('a service that moves and cannot be stopped is logged', (t) => {
  const [all, other] = [new MultiService(), new MultiService()];
  all.startService();
  const a = new Noting('a', [], fail(new RangeError('no')));
  all.addService(a);
  a.setServiceParent(other);
  t.equal(flushLoggedErrors(RangeError).length, 1);
  t.end();
});

t.test(
  'what a service throws when it is started comes out; those before it can be stopped',
  (t) => {
    const notes: string[] = [];
    const all = new MultiService();
    all.addService(new Noting('a', notes));
    const broken = new Service();
    broken.startService = () => {
      throw new RangeError('no');
    };
    all.addService(broken);
    t.throws(() => all.startService(), RangeError);
    successResultOf(all.stopService());
    t.same(notes, ['start a', 'stop a']);
    t.end();
  },
);

t.test('a service can be stopped by leaving a block', async (t) => {
  const notes: string[] = [];
  const service = new Noting('a', notes);
  service.startService();
  await service[Symbol.asyncDispose]();
  t.same(notes, ['start a', 'stop a']);
});

// ── TimerService ─────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a timer service calls when it is started and at each step until it is stopped', (t) => {
  const clock = new Clock();
  const calls: string[] = [];
  const service = new TimerService(10, (what: string) => calls.push(what), 'tick');
  service.clock = clock;
  service.startService();
  service.startService();
  clock.pump([10, 10]);
  t.same(calls, ['tick', 'tick', 'tick']);
  successResultOf(service.stopService());
  clock.advance(100);
  t.equal(calls.length, 3);
  t.same(clock.getDelayedCalls(), []);
  successResultOf(service.stopService());
  t.throws(() => new TimerService(-1, () => {}), RangeError);
  t.end();
});

t.test('stopping a timer service waits for the call that is going on', (t) => {
  const clock = new Clock();
  const calls: Deferred<void>[] = [];
  const service = new TimerService(1, () => {
    const call = new Deferred<void>();
    calls.push(call);
    return call;
  });
  service.clock = clock;
  service.startService();
  const stops = [service.stopService(), service.stopService()];
  t.equal(service.running, true);
  for (const stop of stops) assertNoResult(stop);
  service.startService();
  t.equal(calls.length, 1, 'started again, it waits too: two calls never go on at once');
  calls[0]?.callback();
  for (const stop of stops) successResultOf(stop);
  t.equal(calls.length, 2);
  const last = service.stopService();
  calls[1]?.callback();
  successResultOf(last);
  t.equal(calls.length, 2);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('a timer service that fails is logged, and can be started again', (t) => {
  const clock = new Clock();
  let calls = 0;
  const service = new TimerService(1, () => {
    if (++calls === 2) throw new RangeError('two');
  });
  service.clock = clock;
  service.startService();
  clock.pump([1, 1, 1]);
  t.equal(calls, 2);
  t.equal(flushLoggedErrors(RangeError).length, 1);
  successResultOf(service.stopService());
  service.startService();
  t.equal(calls, 3);
  successResultOf(service.stopService());
  t.end();
});

// ── StreamServerEndpointService ──────────────────────────────────────────────────────────────────────────────────────

/** A server endpoint by hand. */
class HandMadeServer implements IStreamServerEndpoint {
  listens = 0;
  cancelled = 0;
  listening = new Deferred<IListeningPort>();
  readonly port = {
    stopped: new Deferred<void>(),
    stopListening() {
      return this.stopped;
    },
  };
  listen() {
    this.listens++;
    this.listening = new Deferred<IListeningPort>(() => {
      this.cancelled++;
    });
    return this.listening;
  }
  succeed() {
    this.listening.callback(this.port as unknown as IListeningPort);
  }
}

t.test('a server service listens when it is started, and its stop waits for the port', (t) => {
  const endpoint = new HandMadeServer();
  const service = new StreamServerEndpointService(endpoint, new Factory());
  const early = service.whenListening();
  service.privilegedStartService();
  service.startService();
  t.equal(endpoint.listens, 1);
  endpoint.succeed();
  t.equal(successResultOf(early), endpoint.port);
  t.equal(successResultOf(service.whenListening()), endpoint.port);
  const stop = service.stopService();
  assertNoResult(stop);
  endpoint.port.stopped.callback();
  successResultOf(stop);
  service.startService();
  t.equal(endpoint.listens, 2);
  successResultOf(service.stopService());
  t.equal(endpoint.cancelled, 1, 'stopped before it listened');
  successResultOf(service.stopService());
  t.end();
});

t.test('a server service that cannot listen says so to whoever waits, or else to the log', (t) => {
  const error = new CannotListenError('127.0.0.1', 80, new Error('permission denied'));
  for (const endpoint of [
    { listen: () => fail(error) },
    { listen: () => succeed().addCallback(() => fail(error)) },
  ]) {
    const service = new StreamServerEndpointService(endpoint, new Factory());
    service.privilegedStartService();
    service.startService();
    t.equal(flushLoggedErrors(CannotListenError).length, 1, 'it is tried once, and logged once');
    t.equal(failureResultOf(service.whenListening(), CannotListenError).value, error);
    successResultOf(service.stopService());
    const waiter = service.whenListening();
    service.startService();
    t.equal(failureResultOf(waiter, CannotListenError).value, error);
    successResultOf(service.stopService());
  }
  const thrower = {
    listen: () => {
      throw new RangeError('no such port');
    },
  };
  const service = new StreamServerEndpointService(thrower, new Factory());
  service.startService();
  t.equal(flushLoggedErrors(RangeError).length, 1);
  t.end();
});

t.test('who waits for a server service that is stopped is told', (t) => {
  const endpoint = new HandMadeServer();
  const service = new StreamServerEndpointService(endpoint, new Factory());
  const before = service.whenListening();
  const unwanted = service.whenListening();
  unwanted.cancel();
  failureResultOf(unwanted, CancelledError);
  successResultOf(service.stopService());
  failureResultOf(before, CancelledError);
  service.startService();
  const during = service.whenListening();
  successResultOf(service.stopService());
  failureResultOf(during, CancelledError);
  t.end();
});

// ── backoffPolicy ────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a backoff grows to its maximum, however often something has failed', (t) => {
  const policy = backoffPolicy({ initialDelay: 1, maxDelay: 60, factor: 2, jitter: () => 0.5 });
  t.same([1, 2, 3, 6, 1e9].map(policy), [2.5, 4.5, 8.5, 60.5, 60.5]);
  t.equal(backoffPolicy({ factor: 1e300, jitter: () => 0 })(1e9), 60);
  const standard = backoffPolicy();
  for (let i = 0; i < 100; i++) {
    const delay = standard(1);
    t.ok(delay >= 1.5 && delay < 2.5, `${delay}`);
  }
  t.throws(() => backoffPolicy({ initialDelay: -1 }), /initialDelay must be 0 seconds or more/);
  t.throws(() => backoffPolicy({ maxDelay: NaN }), RangeError);
  t.throws(() => backoffPolicy({ factor: NaN }), RangeError);
  t.end();
});

// ── ClientService ────────────────────────────────────────────────────────────────────────────────────────────────────

/** Notes what happens to it. */
class Client extends Protocol {
  readonly notes: string[] = [];
  override connectionMade() {
    this.notes.push('made');
  }
  override dataReceived(data: Buffer) {
    this.notes.push(`data ${data}`);
  }
  override connectionLost(reason: Failure) {
    this.notes.push(`lost ${reason.value.name}`);
  }
}

/** One try of a {@link HandMade} endpoint. */
interface Try {
  readonly factory: IProtocolFactory;
  readonly deferred: Deferred<IProtocol>;
  transport: StringTransport;
  protocol: IProtocol | undefined;
}

function factoryFor<P extends IProtocol>(protocol: ProtocolClass<P>): Factory<P> {
  const factory = new Factory<P>();
  factory.protocol = protocol;
  return factory;
}

/** A client endpoint by hand. */
class HandMade implements IStreamClientEndpoint {
  readonly tries: Try[] = [];
  cancelled = 0;
  connect(factory: IProtocolFactory): Deferred<never> {
    const deferred = new Deferred<IProtocol>(() => {
      this.cancelled++;
    });
    this.tries.push({ factory, deferred, transport: new StringTransport(), protocol: undefined });
    return deferred as Deferred<never>;
  }
  get last(): Try {
    const last = this.tries.at(-1);
    if (last === undefined) throw new Error('nobody has connected');
    return last;
  }
  succeed(): StringTransport {
    const { last } = this;
    const protocol = last.factory.buildProtocol(last.transport.getPeer());
    if (protocol === null) throw new Error('refused');
    last.protocol = protocol;
    protocol.makeConnection(last.transport);
    if (!last.deferred.called) last.deferred.callback(protocol);
    return last.transport;
  }
  fail() {
    this.last.deferred.errback(refused);
  }
  lose(error: Error = new ConnectionDone()) {
    this.last.protocol?.connectionLost(new Failure(error));
  }
}

function client(options: ClientServiceOptions<Client> = {}) {
  const clock = new Clock();
  const endpoint = new HandMade();
  const service = new ClientService(endpoint, factoryFor(Client), {
    clock,
    retryPolicy: (attempts) => attempts,
    ...options,
  });
  return { clock, endpoint, service };
}

t.test('a client service connects when it is started, and says when it has', (t) => {
  const { clock, endpoint, service } = client();
  const early = service.whenConnected();
  t.equal(endpoint.tries.length, 0);
  service.startService();
  t.equal(service.running, true);
  service.startService();
  t.equal(endpoint.tries.length, 1);
  const waiting = service.whenConnected();
  assertNoResult(early);
  endpoint.succeed();
  const protocol = successResultOf(early);
  t.type(protocol, Client);
  t.equal(successResultOf(waiting), protocol);
  t.equal(successResultOf(service.whenConnected()), protocol);
  endpoint.last.protocol?.dataReceived(Buffer.from('x'));
  t.same(protocol.notes, ['made', 'data x']);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('stopping a client service ends when the connection really has', (t) => {
  const { clock, endpoint, service } = client();
  service.startService();
  const transport = endpoint.succeed();
  const stops = [service.stopService(), service.stopService()];
  t.equal(service.running, false);
  t.equal(transport.disconnecting, true);
  for (const stop of stops) assertNoResult(stop);
  const late = service.whenConnected();
  assertNoResult(late);
  endpoint.lose();
  for (const stop of stops) successResultOf(stop);
  failureResultOf(late, CancelledError);
  failureResultOf(service.whenConnected(), CancelledError);
  successResultOf(service.stopService());
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('an attempt that fails is made again, as the policy says', (t) => {
  const { clock, endpoint, service } = client();
  service.startService();
  const waiting = service.whenConnected();
  endpoint.fail();
  clock.advance(0.9);
  t.equal(endpoint.tries.length, 1);
  clock.advance(0.1);
  t.equal(endpoint.tries.length, 2);
  endpoint.fail();
  clock.advance(1.9);
  t.equal(endpoint.tries.length, 2);
  clock.advance(0.1);
  endpoint.succeed();
  t.type(successResultOf(waiting), Client);

  endpoint.lose(new ConnectionLost('gone'));
  clock.advance(1);
  t.equal(endpoint.tries.length, 4, 'a success makes the failures before it forgotten');
  endpoint.fail();
  clock.advance(2);
  t.equal(endpoint.tries.length, 5, 'the lost connection counts as one');
  endpoint.fail();
  successResultOf(service.stopService());
  service.startService();
  endpoint.fail();
  clock.advance(1);
  t.equal(endpoint.tries.length, 7, 'and so does stopping');
  successResultOf(service.stopService());
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('who waits for a connection may give up after some failures', (t) => {
  const { clock, endpoint, service } = client();
  service.startService();
  const patient = service.whenConnected();
  const two = service.whenConnected({ failAfterFailures: 2 });
  const one = service.whenConnected({ failAfterFailures: 1 });
  const unwanted = service.whenConnected();
  unwanted.cancel();
  failureResultOf(unwanted, CancelledError);
  endpoint.fail();
  t.equal(failureResultOf(one, ConnectionRefusedError).value, refused.value);
  assertNoResult(two);
  const late = service.whenConnected({ failAfterFailures: 2 });
  clock.advance(1);
  endpoint.fail();
  failureResultOf(two, ConnectionRefusedError);
  assertNoResult(late);
  successResultOf(service.stopService());
  failureResultOf(late, CancelledError);
  failureResultOf(patient, CancelledError);
  t.throws(() => service.whenConnected({ failAfterFailures: 0 }), RangeError);
  t.throws(() => service.whenConnected({ failAfterFailures: 1.5 }), RangeError);
  t.throws(() => service.whenConnected({ failAfterFailures: NaN }), /not NaN/);
  t.end();
});

t.test('a client service can be stopped at any time', (t) => {
  const idle = client();
  const waiting = idle.service.whenConnected();
  successResultOf(idle.service.stopService());
  failureResultOf(waiting, CancelledError);

  const dialing = client();
  dialing.service.startService();
  const dialed = dialing.service.whenConnected();
  successResultOf(dialing.service.stopService());
  t.equal(dialing.endpoint.cancelled, 1);
  failureResultOf(dialed, CancelledError);

  const pausing = client();
  pausing.service.startService();
  pausing.endpoint.fail();
  successResultOf(pausing.service.stopService());
  for (const { clock } of [idle, dialing, pausing]) t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('started again while it stops, it connects when it has stopped', (t) => {
  const { endpoint, service } = client();
  service.startService();
  endpoint.succeed();
  const stop = service.stopService();
  service.startService();
  service.startService();
  t.equal(endpoint.tries.length, 1);
  const again = service.whenConnected();
  endpoint.lose();
  successResultOf(stop);
  t.equal(endpoint.tries.length, 2);
  endpoint.succeed();
  t.type(successResultOf(again), Client);

  const second = service.stopService();
  service.startService();
  const third = service.stopService();
  endpoint.lose();
  t.equal(endpoint.tries.length, 2, 'and stopped again meanwhile, it does not');
  for (const ended of [second, third]) successResultOf(ended);
  service.startService();
  t.equal(endpoint.tries.length, 3);
  successResultOf(service.stopService());
  t.end();
});

t.test('a connection is prepared before anybody gets it', (t) => {
  const preparing: Deferred<void>[] = [];
  let cancelled = 0;
  const { clock, endpoint, service } = client({
    prepareConnection: (protocol) => {
      protocol.transport.write('hello');
      const prepared = new Deferred<void>(() => {
        cancelled++;
      });
      preparing.push(prepared);
      return prepared;
    },
  });
  service.startService();
  const waiting = service.whenConnected();
  t.equal(endpoint.succeed().value().toString(), 'hello');
  assertNoResult(waiting);
  preparing[0]?.callback();
  t.type(successResultOf(waiting), Client);

  endpoint.lose();
  clock.advance(1);
  const waitingAgain = service.whenConnected({ failAfterFailures: 1 });
  const transport = endpoint.succeed();
  preparing[1]?.errback(new RangeError('wrong password'));
  t.equal(transport.aborting, true);
  assertNoResult(waitingAgain);
  endpoint.lose(new ConnectionAborted());
  failureResultOf(waitingAgain, RangeError);
  clock.advance(2);

  const lost = service.whenConnected({ failAfterFailures: 1 });
  endpoint.succeed();
  endpoint.lose(new ConnectionLost('gone'));
  t.equal(cancelled, 1, 'what prepares a lost connection is called off');
  failureResultOf(lost, ConnectionLost);
  clock.advance(3);

  const last = endpoint.succeed();
  const stop = service.stopService();
  t.equal(last.disconnecting, true);
  t.equal(cancelled, 2);
  assertNoResult(stop);
  endpoint.lose();
  successResultOf(stop);
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('preparing may throw or return nothing in particular', (t) => {
  const { endpoint, service } = client({ prepareConnection: () => 'ready' });
  service.startService();
  endpoint.succeed();
  t.type(successResultOf(service.whenConnected()), Client);
  const broken = client({
    prepareConnection: () => {
      throw new RangeError('no');
    },
  });
  broken.service.startService();
  const waiting = broken.service.whenConnected({ failAfterFailures: 1 });
  t.equal(broken.endpoint.succeed().aborting, true);
  broken.endpoint.lose(new ConnectionAborted());
  failureResultOf(waiting, RangeError);
  t.end();
});

t.test('whoever is called may start and stop the service from there', (t) => {
  const { clock, endpoint, service } = client();
  service.startService();
  const stops: Deferred<void>[] = [];
  service.whenConnected().addCallback(() => {
    stops.push(service.stopService());
  });
  const transport = endpoint.succeed();
  t.equal(transport.disconnecting, true);
  void stops[0]?.addCallback(() => service.startService());
  endpoint.lose();
  t.equal(endpoint.tries.length, 2, 'started from where it was told that it had stopped');
  void service.whenConnected({ failAfterFailures: 1 }).addErrback(() => {
    stops.push(service.stopService());
  });
  endpoint.fail();
  successResultOf(stops[1] ?? new Deferred<void>());
  t.same(clock.getDelayedCalls(), [], 'stopped from where it was told of a failure');

  class Rash extends Client {
    override connectionMade() {
      stops.push(rash.stopService());
    }
  }
  const inner = new HandMade();
  const rash: ClientService<Rash> = new ClientService(inner, factoryFor(Rash), { clock });
  rash.startService();
  t.equal(inner.succeed().disconnecting, true);
  assertNoResult(stops[2] ?? succeed());
  inner.lose();
  successResultOf(stops[2] ?? new Deferred<void>());
  t.end();
});

t.test('an endpoint that answers at once, or that throws, is as good as any', (t) => {
  const clock = new Clock();
  const transport = new StringTransport();
  const prompt: IStreamClientEndpoint = {
    connect(factory) {
      const protocol = factory.buildProtocol(transport.getPeer());
      if (protocol === null) return fail(new NoProtocol('refused'));
      protocol.makeConnection(transport);
      return succeed(protocol);
    },
  };
  const service = new ClientService(prompt, factoryFor(Client), { clock });
  service.startService();
  t.type(successResultOf(service.whenConnected()), Client);

  const refusing = new Factory();
  refusing.buildProtocol = () => null;
  const refuser = new ClientService(prompt, refusing, { clock });
  const refusal = refuser.whenConnected({ failAfterFailures: 1 });
  refuser.startService();
  failureResultOf(refusal, NoProtocol);
  successResultOf(refuser.stopService());

  const stopping = new Factory<Client>();
  const stopper: ClientService<Client> = new ClientService(prompt, stopping, {
    clock,
    grace: null,
  });
  let stopped: Deferred<void> | undefined;
  const client = new Client();
  stopping.buildProtocol = () => {
    stopped = stopper.stopService();
    return client;
  };
  transport.disconnecting = false;
  stopper.startService();
  t.equal(transport.disconnecting, true, 'stopped while it dials');
  assertNoResult(stopped ?? succeed());

  const thrower: IStreamClientEndpoint = {
    connect() {
      throw new RangeError('no such port');
    },
  };
  const broken = new ClientService(thrower, factoryFor(Client), { clock });
  const waiting = broken.whenConnected({ failAfterFailures: 1 });
  broken.startService();
  failureResultOf(waiting, RangeError);
  successResultOf(broken.stopService());
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('a retry policy that fails is logged, and does not end the service', (t) => {
  const { clock, endpoint, service } = client({ retryPolicy: () => NaN });
  service.startService();
  endpoint.fail();
  t.equal(flushLoggedErrors(RangeError).length, 1);
  clock.advance(60);
  t.equal(endpoint.tries.length, 2);
  successResultOf(service.stopService());
  t.end();
});

t.test('a protocol keeps its half-close, and its factory is started', (t) => {
  const endpoint = new HandMade();
  const factory = Factory.forProtocol(Echo);
  const service = new ClientService(endpoint, factory, { clock: new Clock() });
  service.startService();
  endpoint.last.factory.doStart();
  t.equal(factory.numPorts, 1);
  endpoint.last.factory.doStop();
  t.equal(factory.numPorts, 0);
  const transport = endpoint.succeed();
  const { protocol } = endpoint.last;
  if (protocol === undefined || !isHalfCloseableProtocol(protocol)) throw new Error('it does not');
  protocol.writeConnectionLost();
  protocol.readConnectionLost();
  t.equal(transport.disconnecting, true);
  t.end();
});

t.test('a protocol that throws when its connection is lost does not confuse the service', (t) => {
  class Clumsy extends Protocol {
    override connectionLost() {
      throw new RangeError('oops');
    }
  }
  const clock = new Clock();
  const endpoint = new HandMade();
  const service = new ClientService(endpoint, factoryFor(Clumsy), { clock });
  service.startService();
  endpoint.succeed();
  const stop = service.stopService();
  t.throws(() => endpoint.lose(), RangeError);
  successResultOf(stop);
  t.end();
});

t.test('whatever happens in whatever order, one connection at a time and nothing left', (t) => {
  const step = fc.constantFrom('start', 'stop', 'succeed', 'fail', 'lose', 'wait', 'time');
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { clock, endpoint, service } = client();
      const alive = new Set<Try>();
      const stops: Deferred<void>[] = [];
      const waiters: Deferred<void>[] = [];
      const dialing = () => endpoint.tries.length > 0 && !endpoint.last.deferred.called;
      const lose = (error: Error = new ConnectionDone()) => {
        for (const each of alive) {
          alive.delete(each);
          each.protocol?.connectionLost(new Failure(error));
        }
      };
      // It may ignore that it is to close, but not that it is aborted.
      const succeed = () => {
        const { last } = endpoint;
        alive.add(last);
        last.transport.abortConnection = () => lose(new ConnectionAborted());
        endpoint.succeed();
      };
      for (const what of steps) {
        if (what === 'start') service.startService();
        if (what === 'stop') stops.push(service.stopService());
        if (what === 'succeed' && dialing()) succeed();
        if (what === 'fail' && dialing()) endpoint.fail();
        if (what === 'lose') lose();
        if (what === 'wait')
          waiters.push(
            service.whenConnected().addCallbacks(
              () => {},
              (failure) => void failure.trap(CancelledError),
            ),
          );
        if (what === 'time') clock.advance(100);
        if (alive.size > 1 || (alive.size === 1 && dialing())) throw new Error('two at a time');
        if (!service.running && alive.size === 0) for (const stop of stops) successResultOf(stop);
      }
      const last = service.stopService();
      lose();
      for (const each of [...stops, ...waiters, last]) if (each.called) successResultOf(each);
      successResultOf(last);
      if (clock.getDelayedCalls().length > 0) throw new Error('a timer is left');
      if (waiters.some((waiter) => !waiter.called)) throw new Error('somebody waits for ever');
    }),
    { numRuns: 300, examples: [[['start', 'succeed', 'stop', 'time', 'start', 'time']]] },
  );
  t.end();
});

t.test('a server and a client service, over a real network', async (t) => {
  const reactor = new Reactor();
  const all = new MultiService();
  const server = new StreamServerEndpointService(
    new TCP4ServerEndpoint(reactor, 0, { interface: '127.0.0.1' }),
    Factory.forProtocol(Echo),
  );
  all.addService(server);
  all.startService();
  const address = (await server.whenListening()).getHost();
  if (!(address instanceof IPv4Address)) throw new Error(`listens on ${address}`);
  class Ping extends Client {
    readonly answer = new Deferred<string>();
    override dataReceived(data: Buffer) {
      this.answer.callback(data.toString());
    }
  }
  const service = new ClientService(
    new TCP4ClientEndpoint(reactor, '127.0.0.1', address.port),
    factoryFor(Ping),
    { clock: reactor, retryPolicy: () => 0.001 },
  );
  all.addService(service);
  const first = await service.whenConnected();
  first.transport.write('ping');
  t.equal(await first.answer, 'ping');
  first.transport.abortConnection();
  let second = first;
  while (second === first) {
    await new Promise((resolve) => setImmediate(resolve));
    second = await service.whenConnected();
  }
  second.transport.write('pong');
  t.equal(await second.answer, 'pong', 'it has come back');
  await all.stopService();
  t.equal(second.notes.at(-1), 'lost ConnectionDone');
  t.same(reactor.getDelayedCalls(), []);

  const dialing = new ClientService(
    new TCP4ClientEndpoint(reactor, '127.0.0.1', address.port),
    factoryFor(Ping),
    { clock: reactor },
  );
  dialing.startService();
  const waiting = dialing.whenConnected();
  await dialing.stopService();
  failureResultOf(waiting, CancelledError);
  t.same(reactor.getDelayedCalls(), []);
});

// ── CooperatorService, serviceFromString ─────────────────────────────────────────────────────────────────────────────

t.test('a CooperatorService works while it runs, and what is left fails', async (t) => {
  const service = new CooperatorService();
  const work = service.coiterate([1, 2, 3].values());
  assertNoResult(work);
  service.startService();
  await work;
  function* endless() {
    for (;;) yield;
  }
  const rest = service.cooperate(endless()).whenDone();
  await service.stopService();
  t.ok(failureResultOf(rest).value instanceof SchedulerStopped);
});

t.test('serviceFromString listens where the text says', async (t) => {
  const reactor = new Reactor();
  const echo = Factory.forProtocol(Echo);
  const service = serviceFromString(reactor, 'tcp:0:interface=127.0.0.1', echo);
  service.startService();
  const port = await service.whenListening();
  t.match(port.getHost().toString(), /127\.0\.0\.1/);
  await service.stopService();
  t.throws(() => serviceFromString(reactor, 'tea:0', echo));
});

t.test('a client service hands on every hook that its protocol has', (t) => {
  const calls: string[] = [];
  class Full extends Client {
    handshakeCompleted() {
      calls.push('handshakeCompleted');
    }
    readConnectionLost() {
      calls.push('readConnectionLost');
    }
    writeConnectionLost() {
      calls.push('writeConnectionLost');
    }
    takeUnread() {
      return Buffer.from('unread');
    }
  }
  const endpoint = new HandMade();
  const service = new ClientService(endpoint, factoryFor(Full), { clock: new Clock() });
  service.startService();
  endpoint.succeed();
  const watched = endpoint.last.protocol as unknown as Full;
  watched.handshakeCompleted();
  watched.readConnectionLost();
  watched.writeConnectionLost();
  t.same(calls, ['handshakeCompleted', 'readConnectionLost', 'writeConnectionLost']);
  t.equal(String(watched.takeUnread()), 'unread');
  watched.connectionMade();
  t.same(successResultOf(service.whenConnected()).notes.length, 2);
  endpoint.lose();
  successResultOf(service.stopService());
  t.end();
});
