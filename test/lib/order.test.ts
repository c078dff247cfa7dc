/**
 * The order between what the caller sees and what is done behind: who is told that something is over finds it over, with
 * what lost called off, and what is called when it is told may begin it again.
 */
import {
  Deferred,
  DeferredList,
  DeferredLock,
  DeferredQueue,
  DeferredSemaphore,
  deferLater,
  Factory,
  gatherResults,
  HostnameEndpoint,
  IPv4Address,
  LoopingCall,
  MultiService,
  Protocol,
  race,
  scope,
  Service,
  succeed,
  TimerService,
  wait,
} from 'plait';
import { Clock, ConnectionCompleter, MemoryReactorClock, successResultOf } from 'plait/testing';
import t from '../fixture.ts';

/** Notes what happens, in order; and Deferreds that note that they are cancelled, and that they failed of it. */
function noting(): {
  seen: string[];
  note: (what: string) => () => void;
  cancellable: (name: string) => Deferred<string>;
} {
  const seen: string[] = [];
  const note = (what: string) => (): void => void seen.push(what);
  const cancellable = (name: string): Deferred<string> => {
    const deferred = new Deferred<string>(note(`${name} cancelled`));
    deferred.addErrback((failure) => {
      seen.push(`${name} failed`);
      return failure;
    });
    return deferred;
  };
  return { seen, note, cancellable };
}

t.test('FND-76: the winner of a race is told when the losers were cancelled', (t) => {
  const { seen, note, cancellable } = noting();
  const racers = ['a', 'b', 'c'].map(cancellable);
  const won = race(racers);
  won.addCallback(note('won'));
  racers[1]?.callback('b');
  t.same(seen, ['a cancelled', 'a failed', 'c cancelled', 'c failed', 'won']);
  successResultOf(won);
  t.end();
});

t.test(
  'FND-76: a race among those that have their results already cancels the others first',
  (t) => {
    const { seen, cancellable } = noting();
    const won = race([cancellable('a'), succeed('b'), cancellable('c')]);
    seen.push('returned');
    t.same(seen, ['a cancelled', 'a failed', 'c cancelled', 'c failed', 'returned']);
    t.same(successResultOf(won), [1, 'b']);
    t.end();
  },
);

t.test('FND-76: gatherResults tells of a failure when the others were cancelled', (t) => {
  const { seen, note, cancellable } = noting();
  const all = ['a', 'b', 'c'].map(cancellable);
  gatherResults(all, { cancelOnError: true }).addErrback(note('told'));
  all[1]?.errback(new RangeError('7'));
  t.same(seen, ['b failed', 'a cancelled', 'a failed', 'c cancelled', 'c failed', 'told']);
  t.end();
});

t.test('FND-76: what is cancelled as a whole is told when its parts were', (t) => {
  const { seen, note, cancellable } = noting();
  const ways: [string, (all: Deferred<string>[]) => Deferred<unknown>][] = [
    ['list', (all) => new DeferredList(all, { consumeErrors: true })],
    ['gather', (all) => gatherResults(all, { consumeErrors: true })],
    ['race', (all) => race(all)],
  ];
  for (const [name, way] of ways) {
    const whole = way(['a', 'b'].map(cancellable)).addBoth(note('told'));
    whole.cancel();
    const expected =
      name === 'gather'
        ? ['a cancelled', 'a failed', 'told', 'b cancelled', 'b failed']
        : ['a cancelled', 'a failed', 'b cancelled', 'b failed', 'told'];
    t.same(seen.splice(0), expected, name);
  }
  t.end();
});

t.test('FND-76: who is told of a result finds no timer that was to end the waiting', (t) => {
  const clock = new Clock();
  const timers: number[] = [];
  const look = (): void => void timers.push(clock.getDelayedCalls().length);
  const limited = new Deferred<void>().addTimeout(5, clock);
  limited.addBoth(look);
  limited.callback();
  const late = new Deferred<void>();
  late.addTimeout(5, clock).addBoth(look);
  clock.advance(5);
  const one = new Deferred<void>();
  wait([one], { timeout: 5, clock }).addBoth(look);
  one.callback();
  wait([new Deferred<void>()], { timeout: 5, clock }).addBoth(look);
  clock.advance(5);
  const later = deferLater(clock, 5);
  later.addBoth(look);
  later.cancel();
  scope(() => 'done', { clock, timeout: 5 }).addBoth(look);
  t.same(timers, [0, 0, 0, 0, 0, 0]);
  t.end();
});

t.test('FND-76: a scope is over when all of its children are, also those that it cancels', (t) => {
  const { seen, note, cancellable } = noting();
  const failing = new Deferred<string>();
  const opened = scope((children) => {
    children.spawn(() => cancellable('a'));
    children.spawn(() => failing);
    children.spawn(() => cancellable('b'));
  });
  opened.addBoth(note('told'));
  failing.errback(new RangeError('7'));
  t.equal(seen.at(-1), 'told');
  t.same(seen.filter((what) => what.endsWith('cancelled')).sort(), ['a cancelled', 'b cancelled']);
  t.end();
});

t.test(
  'FND-76: who is told that a looping call or a service has stopped may start it again',
  (t) => {
    const clock = new Clock();
    const times: number[] = [];
    const loop = new LoopingCall(() => times.push(clock.seconds()));
    loop.clock = clock;
    const running: boolean[] = [];
    loop.start(1).addCallback(() => {
      running.push(loop.running);
      t.equal(clock.getDelayedCalls().length, 0, 'nothing waits any more');
      void loop.start(2);
    });
    loop.stop();
    t.same(running, [false]);
    clock.advance(2);
    t.same(times, [0, 0, 2]);
    loop.stop();

    const service = new TimerService(1, () => times.push(-1));
    service.clock = clock;
    service.startService();
    service.stopService().addCallback(() => {
      running.push(service.running);
      service.startService();
    });
    t.same(running, [false, false]);
    t.equal(service.running, true);
    clock.advance(1);
    t.same(times.slice(-3), [-1, -1, -1]);
    successResultOf(service.stopService());
    t.same(clock.getDelayedCalls(), []);
    t.end();
  },
);

t.test(
  'FND-76: a set of services has stopped when its parts have, the last that was added first',
  (t) => {
    const { seen, note } = noting();
    const ends: Deferred<void>[] = [];
    class Part extends Service {
      constructor(name: string) {
        super();
        this.name = name;
      }
      override startService(): void {
        seen.push(`start ${this.name}, in a set that runs: ${this.parent?.running}`);
        super.startService();
      }
      override stopService(): Deferred<void> {
        seen.push(`stop ${this.name}`);
        void super.stopService();
        const end = new Deferred<void>();
        ends.push(end);
        return end;
      }
    }
    const parts = new MultiService();
    for (const name of ['a', 'b']) new Part(name).setServiceParent(parts);
    parts.startService();
    parts.stopService().addCallback(note('told'));
    for (const end of ends) {
      t.notOk(seen.includes('told'));
      end.callback();
    }
    t.same(seen, [
      'start a, in a set that runs: true',
      'start b, in a set that runs: true',
      'stop b',
      'stop a',
      'told',
    ]);
    t.end();
  },
);

t.test('FND-76: who gets a lock, a token or a thing finds it taken, and then given back', (t) => {
  const lock = new DeferredLock();
  const semaphore = new DeferredSemaphore(1);
  const queue = new DeferredQueue<string>();
  const seen: unknown[] = [];
  lock.acquire().addCallback(() => seen.push(['lock', lock.locked]));
  lock.release();
  semaphore.acquire().addCallback(() => seen.push(['token', semaphore.tokens]));
  semaphore.release();
  queue
    .get()
    .addCallback((thing) => seen.push([thing, queue.pending, queue.waiting, queue.unfinished]));
  queue.put('tea');
  lock.run(() => 'work').addCallback(() => seen.push(['lock', lock.locked]));
  semaphore.run(() => 'work').addCallback(() => seen.push(['token', semaphore.tokens]));
  queue.join().addCallback(() => seen.push(['joined', queue.unfinished]));
  queue.taskDone();
  t.same(seen, [
    ['lock', true],
    ['token', 0],
    ['tea', 0, 0, 1],
    ['lock', false],
    ['token', 1],
    ['joined', 0],
  ]);
  t.end();
});

t.test('FND-76: an endpoint tells of its connection when the other attempts were given up', (t) => {
  const reactor = new MemoryReactorClock();
  reactor.installNameResolver({
    resolveHostName(
      receiver: Record<
        'resolutionBegan' | 'addressResolved' | 'resolutionComplete',
        (...args: unknown[]) => void
      >,
      name: string,
      port: number,
    ) {
      const resolution = { name, cancel() {} };
      receiver.resolutionBegan(resolution);
      for (const host of ['10.0.0.1', '10.0.0.2', '10.0.0.3'])
        receiver.addressResolved(new IPv4Address('TCP', host, port));
      receiver.resolutionComplete();
      return resolution;
    },
  });
  const states: unknown[] = [];
  const connecting = new HostnameEndpoint(reactor, 'a.example', 7).connect(
    Factory.forProtocol(Protocol),
  );
  reactor.advance(0.3);
  reactor.advance(0.3);
  t.equal(reactor.connectors.length, 3);
  connecting.addCallback((protocol) => {
    states.push(new ConnectionCompleter(reactor).pending, reactor.getDelayedCalls().length);
    return protocol;
  });
  new ConnectionCompleter(reactor).succeedOnce(new Protocol());
  reactor.flush();
  t.same(states, [0, 0]);
  successResultOf(connecting).transport.abortConnection();
  reactor.flush();
  t.end();
});
