/**
 * What can be set from outside, as in Twisted, and delayed calls that are kept, and that others may have cancelled.
 */
import {
  CancelledError,
  ClientCreator,
  ClientService,
  ConnectionDone,
  ConnectionRefusedError,
  Cooperator,
  Deferred,
  DeferredEvent,
  DeferredFilesystemLock,
  DeferredQueue,
  DeferredSemaphore,
  deferLater,
  Factory,
  fail,
  Failure,
  type IConnector,
  LoopingCall,
  MultiService,
  Protocol,
  ReconnectingClientFactory,
  Service,
  StreamServerEndpointService,
  TimerService,
} from 'plait';
import { ThrottlingFactory, TimeoutFactory, TimeoutMixin } from 'plait/protocols/policies';
import {
  assertNoResult,
  Clock,
  ConnectionCompleter,
  failureResultOf,
  MemoryReactorClock,
  StringTransport,
  successResultOf,
} from 'plait/testing';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from '../fixture.ts';

t.test('FND-22: the interval of a looping call may be set, also by its function', (t) => {
  const clock = new Clock();
  const times: number[] = [];
  const loop = new LoopingCall((step: number) => {
    times.push(clock.seconds());
    if (times.length === 2) loop.interval = step;
  }, 3);
  loop.clock = clock;
  const stopped = loop.start(1);
  clock.pump(Array.from({ length: 9 }, () => 1));
  t.same(times, [0, 1, 3, 6, 9]);
  loop.interval = 1;
  clock.pump([1, 1, 1, 1]);
  t.same(times.slice(5), [12, 13]);
  t.throws(() => {
    loop.interval = -1;
  }, RangeError);
  t.equal(loop.running, true);
  loop.f = () => times.push(-1);
  loop.a = [0];
  clock.advance(1);
  t.equal(times.at(-1), -1);
  loop.stop();
  t.equal(successResultOf(stopped), loop);
  t.end();
});

t.test('FND-22: a service is named by setting, and by a field of its class', (t) => {
  class Named extends Service {
    override name = 'by its class';
  }
  const parent = new MultiService();
  const named = new Named();
  parent.addService(named);
  t.equal(parent.getServiceNamed('by its class'), named);
  const other = new Service();
  other.name = 'set';
  parent.addService(other);
  t.equal(parent.getServiceNamed('set'), other);
  const timer = new TimerService(1, () => {});
  timer.step = 2;
  t.equal(timer.step, 2);
  t.end();
});

t.test('FND-22: the delay and the retries of a client that reconnects may be set', (t) => {
  const clock = new Clock();
  const factory = new ReconnectingClientFactory();
  Object.assign(factory, { clock, jitter: 0, factor: 2, delay: 8, retries: 1, maxRetries: 2 });
  let attempts = 0;
  const connector = {
    state: 'disconnected',
    connect: () => attempts++,
    getDestination: () => 'there',
    stopConnecting() {},
  } as unknown as IConnector;
  const reason = new Failure(new ConnectionRefusedError('nobody there'));
  factory.clientConnectionFailed(connector, reason);
  clock.advance(15);
  t.equal(attempts, 0);
  clock.advance(1);
  t.equal(attempts, 1);
  t.equal(factory.retries, 2);
  factory.clientConnectionFailed(connector, reason);
  t.same(clock.getDelayedCalls(), []);
  t.throws(() => {
    factory.delay = NaN;
  }, RangeError);
  t.end();
});

t.test(
  'FND-22: tokens, and the size of a queue, may be set, which lets those go on who can',
  (t) => {
    const semaphore = new DeferredSemaphore(1);
    const line = [semaphore.acquire(), semaphore.acquire(), semaphore.acquire()];
    semaphore.limit = 3;
    semaphore.tokens = 1;
    t.same(
      line.map(({ called }) => called),
      [true, true, false],
    );
    semaphore.tokens = 2;
    t.equal(semaphore.tokens, 1);
    t.throws(() => {
      semaphore.tokens = -1;
    }, RangeError);
    const queue = new DeferredQueue<number>({ size: 1 });
    queue.put(1);
    const put = queue.putWait(2);
    assertNoResult(put);
    queue.size = 2;
    t.equal(put.called, true);
    queue.backlog = 0;
    t.equal(queue.backlog, 0);
    t.equal(queue.size, 2);
    t.throws(() => {
      queue.size = 0.5;
    }, RangeError);
    t.throws(() => {
      queue.backlog = -1;
    }, RangeError);
    t.end();
  },
);

t.test(
  'FND-23: a timer service runs until its last call is over, and may be started before',
  (t) => {
    const clock = new Clock();
    let call = new Deferred<void>();
    let calls = 0;
    const service = new TimerService(1, () => {
      calls++;
      return call;
    });
    service.clock = clock;
    service.startService();
    const stopped = service.stopService();
    t.equal(service.running, true);
    assertNoResult(stopped);
    call.callback();
    t.equal(service.running, false);
    t.equal(stopped.called, true);

    call = new Deferred<void>();
    service.startService();
    void service.stopService();
    service.startService();
    const last = call;
    call = new Deferred<void>();
    t.equal(calls, 2);
    last.callback();
    t.equal(service.running, true);
    t.equal(calls, 3);
    void service.stopService();
    call.callback();
    t.equal(service.running, false);
    t.same(clock.getDelayedCalls(), []);
    t.end();
  },
);

/** Cancels all that waits, as somebody else might. */
function cancelAll(clock: Pick<Clock, 'getDelayedCalls'>): void {
  for (const call of clock.getDelayedCalls()) call.cancel();
}

t.test('FND-13: a call of TimeoutMixin that was cancelled from outside hurts nobody', (t) => {
  const clock = new Clock();
  const made = () => {
    const protocol = new (class extends TimeoutMixin(Protocol) {})();
    protocol.clock = clock;
    protocol.makeConnection(new StringTransport());
    protocol.setTimeout(5);
    cancelAll(clock);
    return protocol;
  };
  made().connectionLost(new Failure(new ConnectionDone()));
  t.equal(made().setTimeout(null), 5);
  made().resetTimeout();
  const again = made();
  again.setTimeout(7);
  clock.advance(7);
  t.equal(again.transport.disconnecting, true);

  const closing = made();
  void closing.timeoutConnection();
  cancelAll(clock);
  t.doesNotThrow(
    () => closing.connectionLost(new Failure(new ConnectionDone())),
    'nor that of abortTimeout',
  );

  const factory = new TimeoutFactory(Factory.forProtocol(Protocol), { clock, timeout: 3 });
  const wrapped = factory.buildProtocol(new StringTransport().getPeer());
  wrapped?.makeConnection(new StringTransport());
  cancelAll(clock);
  wrapped?.dataReceived(Buffer.from('x'));
  wrapped?.connectionLost(new Failure(new ConnectionDone()));

  const throttling = new ThrottlingFactory(Factory.forProtocol(Protocol), { clock, readLimit: 1 });
  const throttled = throttling.buildProtocol(new StringTransport().getPeer());
  throttled?.makeConnection(new StringTransport());
  throttled?.dataReceived(Buffer.from('more than a second’s worth'));
  cancelAll(clock);
  throttled?.connectionLost(new Failure(new ConnectionDone()));
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('FND-13: nor does one of a looping call, a Cooperator, a client or a lock', (t) => {
  const clock = new Clock();
  const loop = new LoopingCall(() => {});
  loop.clock = clock;
  void loop.start(1);
  cancelAll(clock);
  loop.reset();
  cancelAll(clock);
  loop.stop();

  const later = deferLater(clock, 1);
  cancelAll(clock);
  later.cancel();
  failureResultOf(later, CancelledError);

  const cooperator = new Cooperator({ scheduler: (turn) => clock.callLater(0, turn) });
  const task = cooperator.cooperate([1].values());
  cancelAll(clock);
  task.pause();
  task.resume();
  clock.advance(0);
  t.equal(task.whenDone().called, true);

  const service = new ClientService(
    { connect: () => fail(new ConnectionRefusedError('nobody there')) },
    Factory.forProtocol(Protocol),
    { clock },
  );
  service.startService();
  cancelAll(clock);
  t.equal(service.stopService().called, true);

  const factory = new ReconnectingClientFactory();
  factory.clock = clock;
  const connector = {
    state: 'disconnected',
    getDestination: () => 'there',
  } as unknown as IConnector;
  factory.retry(connector);
  cancelAll(clock);
  factory.retry(connector);
  cancelAll(clock);
  factory.stopTrying();

  const reactor = new MemoryReactorClock();
  const connecting = new ClientCreator(reactor, Protocol).connectTCP('localhost', 1);
  new ConnectionCompleter(reactor).failOnce();
  cancelAll(reactor);
  connecting.cancel();
  failureResultOf(connecting, CancelledError);

  const folder = mkdtempSync(join(tmpdir(), 'plait-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true });
  });
  const held = new DeferredFilesystemLock(join(folder, 'lock'), clock);
  const wanted = new DeferredFilesystemLock(join(folder, 'lock'), clock);
  t.equal(held.lock(), true);
  const waiting = wanted.deferUntilLocked();
  cancelAll(clock);
  waiting.cancel();
  failureResultOf(waiting, CancelledError);
  held.unlock();
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('FND-15: one who waits for a port or a connection may cancel the next who does', (t) => {
  const ready = new DeferredEvent();
  const endpoint = { listen: () => ready.wait().addCallback(() => ({ stopListening() {} })) };
  const service = new StreamServerEndpointService(endpoint as never, new Factory());
  const line = [0, 1, 2].map(() => service.whenListening() as Deferred<unknown>);
  line[0]?.addCallback(() => line[1]?.cancel());
  service.startService();
  ready.set();
  failureResultOf(line[1] as Deferred<unknown>, CancelledError);
  t.equal(line[2]?.called, true);

  const clock = new Clock();
  const client = new ClientService(
    { connect: () => fail(new ConnectionRefusedError('nobody there')) },
    Factory.forProtocol(Protocol),
    { clock },
  );
  for (const failAfterFailures of [1, undefined]) {
    const waiting = [0, 1, 2].map(
      () =>
        client.whenConnected(
          failAfterFailures === undefined ? {} : { failAfterFailures },
        ) as Deferred<unknown>,
    );
    waiting[0]?.addErrback(() => waiting[1]?.cancel());
    client.startService();
    if (failAfterFailures === undefined) void client.stopService();
    failureResultOf(waiting[1] as Deferred<unknown>, CancelledError);
    failureResultOf(waiting[2] as Deferred<unknown>, ConnectionRefusedError, CancelledError);
  }
  t.same(clock.getDelayedCalls(), []);
  t.end();
});
