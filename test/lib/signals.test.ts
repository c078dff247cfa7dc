/**
 * What programs do on signals; and debug mode, which tells of what takes long.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  connectProtocol,
  Deferred,
  Factory,
  getDebugging,
  globalLogPublisher,
  type LogEvent,
  Protocol,
  Reactor,
  type SlowCallback,
  TCP4ClientEndpoint,
} from 'plait';
import { flushLoggedErrors } from 'plait/testing';
import type { Alarm, IO } from '../../lib/io/io.ts';
import { NodeIO } from '../../lib/io/node.ts';
import { start } from '../child.ts';
import t, { type Test } from '../fixture.ts';

/** Sends it to this process, and waits until that has heard of it. */
async function signal(name: NodeJS.Signals): Promise<void> {
  const told: string[] = [];
  process.once(name, () => told.push(name));
  process.kill(process.pid, name);
  while (told.length === 0) await new Promise((done) => setImmediate(done));
}

const BASE = new Map(
  (['SIGINT', 'SIGTERM', 'SIGUSR2'] as const).map((name) => [name, process.listenerCount(name)]),
);

/** How many listen for the signal, beside the test runner. */
const heard = (name: 'SIGINT' | 'SIGTERM' | 'SIGUSR2') =>
  process.listenerCount(name) - (BASE.get(name) ?? 0);

t.test('addSignalHandler', async (t) => {
  t.test('calls the function on each signal, in the context in which it was added', async (t) => {
    const reactor = new Reactor();
    const storage = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const handler = storage.run('mine', () =>
      reactor.addSignalHandler('SIGUSR2', (name) => seen.push(name, storage.getStore())),
    );
    await signal('SIGUSR2');
    await signal('SIGUSR2');
    t.same(seen, ['SIGUSR2', 'mine', 'SIGUSR2', 'mine']);
    handler[Symbol.dispose]();
    handler[Symbol.dispose]();
    t.equal(heard('SIGUSR2'), 0);
    t.equal(reactor.removeSignalHandler('SIGUSR2'), false);
  });

  t.test('replaces the function that was there', async (t) => {
    const reactor = new Reactor();
    const seen: string[] = [];
    const first = reactor.addSignalHandler('SIGUSR2', () => seen.push('first'));
    reactor.addSignalHandler('SIGUSR2', () => seen.push('second'));
    first[Symbol.dispose]();
    await signal('SIGUSR2');
    t.same(seen, ['second']);
    t.equal(reactor.removeSignalHandler('SIGUSR2'), true);
    t.equal(reactor.removeSignalHandler('SIGUSR2'), false);
    t.equal(heard('SIGUSR2'), 0);
  });

  t.test('REA-07: logs what the function throws, and calls it again', async (t) => {
    const reactor = new Reactor();
    let calls = 0;
    const handler = reactor.addSignalHandler('SIGHUP', () => {
      calls++;
      throw new RangeError('7 is too many');
    });
    await signal('SIGHUP');
    await signal('SIGHUP');
    handler[Symbol.dispose]();
    t.equal(calls, 2);
    t.match(flushLoggedErrors(RangeError), [
      { format: 'a handler of SIGHUP failed', namespace: 'plait.reactor' },
      {},
    ]);
  });

  t.test('refuses what cannot be handled, and listens for nothing', (t) => {
    const reactor = new Reactor();
    for (const [signal, message] of [
      ['SIGKILL', 'SIGKILL cannot be handled by a process'],
      ['SIGSTOP', 'SIGSTOP cannot be handled by a process'],
      ['SIGSEGV', 'SIGSEGV cannot be handled by JavaScript code'],
      ['SIGTEA', 'addSignalHandler: name must be the name of a signal here, not "SIGTEA"'],
      ['sigint', 'addSignalHandler: name must be the name of a signal here, not "sigint"'],
      ['__proto__', 'addSignalHandler: name must be the name of a signal here, not "__proto__"'],
      [2, 'addSignalHandler: name must be a string, not 2'],
    ] as [string, string][]) {
      const name = typeof (signal as unknown) === 'string' ? 'RangeError' : 'TypeError';
      t.throws(() => reactor.addSignalHandler(signal, () => {}), { name, message });
    }
    t.throws(() => reactor.addSignalHandler('SIGINT', undefined as never), {
      name: 'TypeError',
      message: 'addSignalHandler: fn must be a function, not undefined',
    });
    t.equal(heard('SIGINT'), 0);
    t.end();
  });

  t.test('takes the place of stopping, for as long as it is there', async (t) => {
    const reactor = new Reactor();
    const seen: string[] = [];
    const stopped = reactor.run();
    const handler = reactor.addSignalHandler('SIGINT', (name) => seen.push(name));
    reactor.addSignalHandler('SIGUSR2', () => t.fail('the reactor has stopped'));
    await signal('SIGINT');
    t.same(seen, ['SIGINT']);
    t.equal(reactor.exitSignal, undefined);
    handler[Symbol.dispose]();
    await signal('SIGINT');
    await stopped;
    t.equal(reactor.exitSignal, 'SIGINT');
    t.same(seen, ['SIGINT']);
    for (const name of ['SIGINT', 'SIGTERM', 'SIGUSR2'] as const) {
      t.equal(heard(name), 0, 'none outlives the run');
    }
  });

  t.test('in debug mode, names the function that takes long', async (t) => {
    const { io, reactor, slow } = debugged(t);
    const handler = reactor.addSignalHandler('SIGUSR2', function reload() {
      io.skip += 0.5;
    });
    await signal('SIGUSR2');
    handler[Symbol.dispose]();
    t.same(slow(), ['the handler of SIGUSR2 reload: 0.5']);
  });
});

t.test('REA-27: signals of the operating system', async (t) => {
  const PROGRAM = `
    import { Deferred, reactor } from 'plait';
    const slow = new Deferred();
    const heard = () => ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2'].map((name) => process.listenerCount(name));
    const before = String(heard());
    reactor.addSystemEventTrigger('before', 'shutdown', () => {
      console.log('shutting down');
      return slow;
    });
    reactor.addSignalHandler('SIGHUP', () => console.log('reloading'));
    reactor.addSignalHandler('SIGUSR2', () => slow.callback());
    reactor.run().addCallback(() => {
      console.log('stopped by', reactor.exitSignal);
      setImmediate(() => console.log(String(heard()) === before));
    });
    reactor.callLater(0.001, () => console.log('ready'));
  `;

  for (const first of ['SIGINT', 'SIGTERM'] as const) {
    t.test(`${first} stops once, however often, and waits for what is to be done`, async (t) => {
      const child = start(t, PROGRAM);
      await child.line('ready');
      child.process.kill('SIGPIPE');
      child.process.kill('SIGHUP');
      await child.line('reloading');
      child.process.kill(first);
      await child.line('shutting down');
      child.process.kill('SIGINT');
      child.process.kill('SIGINT');
      child.process.kill('SIGTERM');
      child.process.kill('SIGUSR2');
      const { code, stdout, stderr } = await child.ended;
      t.equal(stdout, `ready\nreloading\nshutting down\nstopped by ${first}\ntrue\n`);
      t.equal(stderr, '');
      t.equal(code, 0);
    });
  }
});

// ── Debug mode ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Node's body, on a clock that can be put forward: what does that takes long. */
class Skipping extends NodeIO {
  skip = 0;

  override now() {
    return super.now() + this.skip;
  }

  override alarm(wake: () => void): Alarm {
    // Its clock is only looked at when it is set.
    return super.alarm(wake);
  }
}

/** A reactor in debug mode, and what it has found slow, each as in `what: seconds`, the seconds rounded. */
function debugged(t: Test, debug: boolean | { slowCallback: number } = true) {
  const io = new Skipping() as Skipping & IO;
  const reactor = new Reactor({ io, debug });
  const found: SlowCallback[] = [];
  const logged: LogEvent[] = [];
  const observer = (event: LogEvent) => logged.push(event);
  globalLogPublisher.addObserver(observer);
  reactor.events.on('slowCallback', (slow) => found.push(slow));
  t.teardown(() => {
    reactor.debug = false;
    globalLogPublisher.removeObserver(observer);
  });
  const slow = () =>
    found.splice(0).map(({ what, seconds }) => `${what}: ${Math.floor(seconds * 10) / 10}`);
  return { io, reactor, slow, logged };
}

t.test('debug mode', async (t) => {
  t.test('reports calls of the reactor that take long, and what they were', async (t) => {
    const { io, reactor, slow, logged } = debugged(t);
    const take = (seconds: number) => {
      io.skip += seconds;
    };
    const done = new Deferred<void>();
    const after = (seconds: number) => {
      take(seconds);
      done.callback();
    };
    reactor.callLater(0, take, 0.05);
    reactor.callLater(0, take, 0.2);
    reactor.callLater(0, () => take(0.3));
    reactor.callLater(0, after, 0);
    await done;
    t.same(slow(), [
      'the delayed call take: 0.2',
      'the delayed call (a function without a name): 0.3',
    ]);
    t.match(logged, [
      { level: 'warn', namespace: 'plait.reactor', what: 'the delayed call take' },
      { format: '{what} took {seconds} s, and held up everything else' },
    ]);

    const called = new Deferred<void>();
    reactor.callFromThread(take, 0.2);
    reactor.callFromThread(() => called.callback());
    await called;
    t.same(slow(), ['the call from a thread take: 0.2']);
    t.throws(() => reactor.callFromThread(7 as never), TypeError);

    reactor.addSystemEventTrigger('before', 'tea', take, 0.2);
    reactor.fireSystemEvent('tea');
    t.same(slow(), ['the trigger before tea take: 0.2']);

    reactor.callLater(0, () => {
      take(0.2);
      throw new RangeError('7 is too many');
    });
    while (reactor.getDelayedCalls().length > 0) await new Promise((done) => setImmediate(done));
    t.equal(slow().length, 1, 'what throws, too');
    t.equal(flushLoggedErrors(RangeError).length, 1);
  });

  t.test('names the class of the protocol, and the method', async (t) => {
    const { io, reactor, slow } = debugged(t, { slowCallback: 1 });
    class Dawdle extends Protocol {
      readonly lost = new Deferred<void>();
      override connectionMade() {
        io.skip += 2;
        this.transport.write('tea');
      }
      override dataReceived() {
        io.skip += 3;
        this.transport.loseConnection();
      }
      override connectionLost() {
        io.skip += 4;
        this.lost.callback();
      }
    }
    const other = new Deferred<void>();
    class Answer extends Protocol {
      override dataReceived(data: Buffer) {
        this.transport.write(data);
      }
      override connectionLost() {
        other.callback();
      }
    }
    const answers = reactor.listenTCP(0, Factory.forProtocol(Answer), { interface: '127.0.0.1' });
    await answers.ready;
    const { port: number } = answers.getHost() as { port: number };
    const endpoint = new TCP4ClientEndpoint(reactor, '127.0.0.1', number, { timeout: 1000 });
    const { lost } = await connectProtocol(endpoint, new Dawdle());
    await lost;
    await other;
    t.same(
      slow().filter((what) => what.startsWith('Dawdle')),
      ['Dawdle.connectionMade: 2', 'Dawdle.dataReceived: 3', 'Dawdle.connectionLost: 4'],
    );
    await answers.stopListening();
  });

  t.test('tells where a delayed call was asked for', (t) => {
    const { reactor } = debugged(t);
    const call = reactor.callLater(1, function brew() {});
    t.match(String(call), /^<DelayedCall pending brew at [\d.]+\nasked for here:\n +at /);
    t.match(String(call), /signals\.test/);
    call.cancel();
    reactor.debug = false;
    const other = reactor.callLater(1, () => {});
    t.match(String(other), /^<DelayedCall pending at [\d.]+>$/);
    other.cancel();
    t.end();
  });

  t.test('is off, unless it is switched on; then Deferreds are debugged too', (t) => {
    const reactor = new Reactor();
    t.equal(reactor.debug, process.env['PLAIT_DEBUG'] === '1' ? reactor.debug : false);
    reactor.debug = false;
    const before = getDebugging();
    reactor.debug = { slowCallback: 0.5 };
    t.match(reactor.debug, { slowCallback: 0.5 });
    t.equal(getDebugging(), true);
    reactor.debug = true;
    t.match(reactor.debug, { slowCallback: 0.1 });
    reactor.debug = false;
    t.equal(reactor.debug, false);
    t.equal(getDebugging(), before);
    for (const slowCallback of [-1, NaN, Infinity])
      t.throws(() => new Reactor({ debug: { slowCallback } }), { name: 'RangeError' });
    t.end();
  });

  t.test('is switched on by PLAIT_DEBUG', async (t) => {
    const before = process.env['PLAIT_DEBUG'];
    t.teardown(() => {
      if (before === undefined) delete process.env['PLAIT_DEBUG'];
      else process.env['PLAIT_DEBUG'] = before;
    });
    process.env['PLAIT_DEBUG'] = '1';
    const reactor = new Reactor();
    t.match(reactor.debug, { slowCallback: 0.1 });
    reactor.debug = false;
  });
});
