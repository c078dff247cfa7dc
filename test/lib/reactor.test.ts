/**
 * The reactor and what is asked of it: lib/reactor.ts, triggers.ts, run.ts, endpoints.ts, endpoint-strings.ts and
 * protocol.ts, over real sockets on the loopback, and over a body that does only what the test says. How a connection
 * lives is for `test/contract`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Address,
  BadFileError,
  CancelledError,
  CannotListenError,
  ClientFactory,
  ConnectBindError,
  ConnectError,
  ConnectingCancelledError,
  ConnectionDone,
  ConnectionLost,
  ConnectionRefusedError,
  connectProtocol,
  Deferred,
  DNSLookupError,
  Factory,
  Failure,
  HostnameAddress,
  type IConnector,
  type IListeningPort,
  InvalidAddressError,
  IPv4Address,
  IPv6Address,
  type IProtocol,
  type IProtocolFactory,
  type IReactorTCP,
  isHalfCloseableProtocol,
  type IStreamClientEndpoint,
  type ITransport,
  Protocol,
  react,
  Reactor,
  reactor as theReactor,
  ReactorAlreadyInstalledError,
  ReactorAlreadyRunning,
  ReactorNotRunning,
  ServerFactory,
  succeed,
  SystemExit,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
  TCP6ClientEndpoint,
  TCP6ServerEndpoint,
  TimeoutError,
  UNIXAddress,
  UNIXClientEndpoint,
  UNIXServerEndpoint,
  UserError,
} from 'plait';
import {
  assertNoResult,
  failureResultOf,
  flushLoggedErrors,
  StringTransport,
  successResultOf,
} from 'plait/testing';
import type {
  Alarm,
  Attempt,
  ConnectEvents,
  ConnectTarget,
  IO,
  ListenerEvents,
  ListenTarget,
  WireListener,
} from '../../lib/io/io.ts';
import { start } from '../child.ts';
import t, { type Test } from '../fixture.ts';

const LOOPBACK = '127.0.0.1';

const tooMany = () => new RangeError('7 is too many');

/** A turn of the event loop. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Fires when the connection is made, and when it is lost. */
class Talk extends Protocol {
  readonly made = new Deferred<this>();
  readonly lost = new Deferred<Error>();
  received = '';

  override connectionMade(): void {
    this.made.callback(this);
  }

  override dataReceived(data: Buffer): void {
    this.received += data.toString();
  }

  override connectionLost(reason: Failure): void {
    this.lost.callback(reason.value);
  }
}

/** Builds Talks, and keeps them. */
class TalkFactory extends Factory<Talk> {
  override noisy = false;
  readonly built: Talk[] = [];

  override buildProtocol(): Talk {
    const talk = new Talk();
    this.built.push(talk);
    return talk;
  }
}

/** Writes down what it is told, and fires when an attempt or a connection has ended. */
class TellingFactory extends ClientFactory<Talk> {
  override noisy = false;
  readonly told: string[] = [];
  readonly ended = new Deferred<Error>();
  readonly talk = new Talk();

  override startFactory(): void {
    this.told.push('startFactory');
  }

  override stopFactory(): void {
    this.told.push('stopFactory');
  }

  override buildProtocol(): Talk {
    this.told.push('buildProtocol');
    return this.talk;
  }

  override startedConnecting(): void {
    this.told.push('startedConnecting');
  }

  override clientConnectionFailed(_connector: IConnector, { value }: Failure): void {
    this.told.push('clientConnectionFailed');
    this.ended.callback(value);
  }

  override clientConnectionLost(_connector: IConnector, { value }: Failure): void {
    this.told.push('clientConnectionLost');
    this.ended.callback(value);
  }
}

/** The number of a port that is bound. */
const numberOf = (port: IListeningPort) => (port.getHost() as { port?: number }).port ?? 0;

/** A port of its own on the loopback, closed when the test ends. */
async function listening(
  t: Test,
  reactor: Reactor,
  factory: IProtocolFactory = new TalkFactory(),
): Promise<{ port: IListeningPort; number: number }> {
  const port = reactor.listenTCP(0, factory, { interface: LOOPBACK });
  t.teardown(() => port.stopListening().asPromise());
  await port.ready;
  return { port, number: numberOf(port) };
}

/** A path for a UNIX socket that is short enough for one. */
function socketPath(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'plait-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'socket');
}

/** A body where nothing happens until the test says so. */
class StillIO implements IO {
  readonly name = 'still';
  time = 0;
  /** What the alarm was set to last; undefined if it is off. */
  alarmAt: number | undefined;
  /** How often it was set. */
  alarms = 0;
  wake = (): void => {};
  alive = 0;
  readonly signals = new Map<string, () => void>();
  listened: { target: ListenTarget; events: ListenerEvents }[] = [];
  connected: { target: ConnectTarget; events: ConnectEvents; cancelled: boolean }[] = [];
  resolved: {
    host: string;
    done: (error?: Error, addresses?: string[]) => void;
    cancelled: boolean;
  }[] = [];
  #turns: (() => void)[] = [];

  now(): number {
    return this.time;
  }

  alarm(wake: () => void): Alarm {
    this.wake = wake;
    return {
      set: (time) => {
        this.alarms++;
        this.alarmAt = time;
      },
      clear: () => {
        this.alarmAt = undefined;
      },
    };
  }

  soon(fn: () => void): void {
    this.#turns.push(fn);
  }

  /** Lets one turn of the loop pass, or several. */
  turn(times = 1): void {
    for (let i = 0; i < times; i++) {
      const fns = this.#turns;
      this.#turns = [];
      for (const fn of fns) fn();
    }
  }

  keepAlive(): () => void {
    this.alive++;
    return () => {
      this.alive--;
    };
  }

  onSignal(name: string, fn: () => void): () => void {
    this.signals.set(name, fn);
    return () => this.signals.delete(name);
  }

  listen(target: ListenTarget, events: ListenerEvents): WireListener {
    this.listened.push({ target, events });
    return {
      close: () => {
        this.soon(() => events.closed());
      },
    };
  }

  connect(target: ConnectTarget, events: ConnectEvents): Attempt {
    const attempt = { target, events, cancelled: false };
    this.connected.push(attempt);
    return {
      cancel: () => {
        attempt.cancelled = true;
      },
    };
  }

  resolve(
    host: string,
    done: (error: Error | undefined, addresses: readonly string[]) => void,
  ): Attempt {
    const attempt = {
      host,
      done: (error?: Error, addresses: string[] = []) => {
        done(error, addresses);
      },
      cancelled: false,
    };
    this.resolved.push(attempt);
    return {
      cancel: () => {
        attempt.cancelled = true;
      },
    };
  }
}

/** A reactor over such a body. */
function still() {
  const io = new StillIO();
  return { io, reactor: new Reactor({ io }) };
}

// ── Bodies ───────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a reactor', async (t) => {
  t.test('opens and starts nothing by being made', async (t) => {
    const { io, reactor } = still();
    t.equal(reactor.running, false);
    t.equal(io.alive, 0);
    t.equal(io.alarmAt, undefined);
    t.same(reactor.getDelayedCalls(), []);
  });

  t.test('can be given a body until it is first used', async (t) => {
    const reactor = new Reactor();
    const io = new StillIO();
    io.time = 42;
    reactor.install(io);
    t.equal(reactor.seconds(), 42);
    t.throws(() => reactor.install(new StillIO()), {
      name: 'ReactorAlreadyInstalledError',
      message: 'cannot install still: the reactor already uses still',
    });
    const used = new Reactor();
    used.seconds();
    t.throws(() => used.install(io), ReactorAlreadyInstalledError);
  });

  t.test('takes the body that PLAIT_IO names', async (t) => {
    const before = process.env['PLAIT_IO'];
    t.teardown(() => {
      if (before === undefined) delete process.env['PLAIT_IO'];
      else process.env['PLAIT_IO'] = before;
    });
    process.env['PLAIT_IO'] = 'node';
    t.type(new Reactor().seconds(), 'number');
    process.env['PLAIT_IO'] = 'tea';
    t.throws(() => new Reactor().seconds(), {
      name: 'RangeError',
      message: 'PLAIT_IO names a body that does not exist: "tea"; there is "node"',
    });
  });

  t.test('of the process is one and the same for every copy of the package', async (t) => {
    const shared = (globalThis as Record<symbol, unknown>)[Symbol.for('plait.reactor')];
    t.equal(shared, theReactor);
    t.ok(theReactor instanceof Reactor);
  });
});

// ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('callLater', async (t) => {
  /** Resolves after the call, with how many seconds have passed. */
  const measured = (reactor: Reactor, delay: number) =>
    new Promise<number>((resolve) => {
      const start = reactor.seconds();
      reactor.callLater(delay, () => {
        resolve(reactor.seconds() - start);
      });
    });

  t.test('makes the call in time, never early, whether the reactor runs or not', async (t) => {
    const reactor = new Reactor();
    t.equal(reactor.running, false);
    for (const delay of [0, 0.0001, 0.0015, 0.02]) {
      const passed = await measured(reactor, delay);
      t.ok(passed >= delay && passed < delay + 1, `${delay}: after ${passed}`);
    }
  });

  t.test('never makes the call before it returns, even without a delay', async (t) => {
    const reactor = new Reactor();
    let seen = '';
    const called = new Promise<void>((resolve) =>
      reactor.callLater(
        0,
        (...args: string[]) => {
          seen += args.join('');
          resolve();
        },
        'after',
        ' this',
      ),
    );
    seen += 'before, ';
    await called;
    t.equal(seen, 'before, after this');
  });

  t.test('makes calls in the order in which they are due, and leaves no timer', async (t) => {
    const reactor = new Reactor();
    const seen: number[] = [];
    const all = new Deferred<void>();
    const calls = [0.004, 0.002, 0.004, 0.002, 0.001].map((delay, n) =>
      reactor.callLater(delay, () => {
        seen.push(n);
        if (seen.length === calls.length) all.callback();
      }),
    );
    calls[4]?.reset(0.006);
    // However long the machine took between them, this is when they are due.
    const due = calls.map((call, n) => ({ n, time: call.getTime() }));
    t.equal(reactor.getDelayedCalls().length, 5);
    await all;
    t.same(
      seen,
      due.sort((a, b) => a.time - b.time).map(({ n }) => n),
    );
    t.same(reactor.getDelayedCalls(), []);
  });

  t.test('leaves no timer when it is cancelled', async (t) => {
    const reactor = new Reactor();
    const calls = [1000, 500, 0].map((delay) =>
      reactor.callLater(delay, () => t.fail('cancelled')),
    );
    for (const call of calls) call.cancel();
    await turn();
    t.same(reactor.getDelayedCalls(), []);
  });

  t.test('REA-07: logs what a call throws, and goes on', async (t) => {
    const reactor = new Reactor();
    reactor.callLater(0, () => {
      throw tooMany();
    });
    await measured(reactor, 0.001);
    t.equal(flushLoggedErrors(RangeError).length, 1);
  });

  t.test('TIM-01: is not early for delays beyond what Node’s timers can do', async (t) => {
    const { io, reactor } = still();
    let called = 0;
    reactor.callLater(30 * 86_400, () => called++);
    t.equal(io.alarmAt, 30 * 86_400);
    io.time = 2_147_483.647;
    io.wake();
    t.equal(called, 0);
    t.equal(io.alarmAt, 30 * 86_400, 'it was woken early, and sleeps on');
    io.time = 30 * 86_400;
    io.wake();
    t.equal(called, 1);
    t.equal(io.alarmAt, undefined);
    const real = new Reactor();
    const late = [2_147_483.648, 30 * 86_400, 1e9, 2 ** 53].map((delay) =>
      real.callLater(delay, () => t.fail('far too early')),
    );
    await measured(real, 0.01);
    for (const call of late) call.cancel();
  });

  t.test('sets one alarm for all calls that are asked for by a call', async (t) => {
    const { io, reactor } = still();
    reactor.callLater(1, () => {
      for (let delay = 9; delay > 0; delay--) reactor.callLater(delay, () => {});
    });
    t.equal(io.alarms, 1);
    io.time = 1;
    io.wake();
    t.equal(io.alarms, 2);
    t.equal(io.alarmAt, 2);
    for (const call of reactor.getDelayedCalls()) call.cancel();
    t.equal(io.alarmAt, undefined);
  });

  t.test('TIM-04: that asks for itself again and again lets everything else go on', async (t) => {
    const reactor = new Reactor();
    let rounds = 0;
    let on = true;
    const again = () => {
      rounds++;
      if (on) reactor.callLater(0, again);
    };
    again();
    const { number } = await listening(t, reactor, Factory.forProtocol(Shout));
    const talk = await connectProtocol(
      new TCP4ClientEndpoint(reactor, LOOPBACK, number),
      new Talk(),
    );
    talk.transport.write('tea');
    while (talk.received === '') await turn();
    t.equal(talk.received, 'TEA');
    on = false;
    talk.transport.loseConnection();
    await talk.lost;
    t.ok(rounds > 3);
  });

  t.test('TIM-05: does not look at the wall clock', async (t) => {
    const { now } = Date;
    t.teardown(() => (Date.now = now));
    const reactor = new Reactor();
    for (const jump of [-3_600_000, 86_400_000]) {
      const before = reactor.seconds();
      Date.now = () => now() + jump;
      t.ok((await measured(reactor, 0.005)) < 1);
      const passed = reactor.seconds() - before;
      t.ok(passed >= 0.005 && passed < 60);
    }
  });
});

/** Answers in capitals. */
class Shout extends Protocol {
  override dataReceived(data: Buffer): void {
    this.transport.write(data.toString().toUpperCase());
  }
}

// ── Starting and stopping ────────────────────────────────────────────────────────────────────────────────────────────

t.test('run and stop', async (t) => {
  t.test('keep the process alive between them, and tell when it is over', async (t) => {
    const { io, reactor } = still();
    const stopped = reactor.run();
    t.equal(reactor.running, true);
    t.equal(io.alive, 1);
    assertNoResult(stopped);
    reactor.stop();
    t.equal(reactor.running, true, 'until the shutdown is over');
    io.turn();
    assertNoResult(stopped);
    io.turn();
    t.equal(stopped.state, 'succeeded');
    t.equal(reactor.running, false);
    t.equal(io.alive, 0);
    t.equal(io.signals.size, 0);
  });

  t.test('do so for real', async (t) => {
    const reactor = new Reactor();
    const listeners = () => ['SIGINT', 'SIGTERM'].map((name) => process.listenerCount(name));
    const before = listeners();
    const stopped = reactor.run();
    t.same(
      listeners(),
      before.map((n) => n + 1),
    );
    reactor.callLater(0.001, () => reactor.stop());
    await stopped;
    t.same(listeners(), before, 'the handlers are gone');
    const without = reactor.run({ installSignalHandlers: false });
    t.same(listeners(), before);
    reactor.stop();
    await without;
    t.equal(reactor.exitSignal, undefined);
  });

  t.test('REA-22: throw where they make no sense', async (t) => {
    const { io, reactor } = still();
    t.throws(() => reactor.stop(), {
      name: 'ReactorNotRunning',
      message: 'cannot stop: the reactor is not running',
    });
    t.throws(() => reactor.crash(), {
      name: 'ReactorNotRunning',
      message: 'cannot crash: the reactor is not running',
    });
    reactor.run();
    t.throws(() => reactor.run(), {
      name: 'ReactorAlreadyRunning',
      message: 'cannot run: the reactor is already running',
    });
    reactor.stop();
    t.throws(() => reactor.stop(), {
      name: 'ReactorNotRunning',
      message: 'cannot stop: the reactor is stopping already',
    });
    t.throws(() => reactor.run(), ReactorAlreadyRunning);
    io.turn(2);
    t.throws(() => reactor.stop(), ReactorNotRunning);
  });

  t.test('REA-22: can be repeated as often as one likes', async (t) => {
    const { io, reactor } = still();
    const seen: string[] = [];
    reactor.events.on('startup', () => seen.push('startup'));
    reactor.events.on('shutdown', () => seen.push('shutdown'));
    for (let i = 0; i < 3; i++) {
      const stopped = reactor.run();
      reactor.stop();
      io.turn(2);
      t.equal(stopped.state, 'succeeded');
    }
    t.same(seen, Array.from({ length: 3 }, () => ['startup', 'shutdown']).flat());
  });

  t.test('REA-22: stop works inside a startup trigger, of any phase', async (t) => {
    for (const phase of ['before', 'during', 'after'] as const) {
      const { io, reactor } = still();
      reactor.addSystemEventTrigger(phase, 'startup', () => reactor.stop());
      const stopped = reactor.run();
      io.turn(2);
      t.equal(stopped.state, 'succeeded', phase);
      t.equal(reactor.running, false);
    }
    t.same(flushLoggedErrors(), []);
  });

  t.test('wait for what the triggers before them return', async (t) => {
    const { io, reactor } = still();
    const [started, ended] = [new Deferred<string>(), new Deferred<string>()];
    reactor.addSystemEventTrigger('before', 'startup', () => started);
    reactor.addSystemEventTrigger('before', 'shutdown', () => ended);
    const stopped = reactor.run();
    t.equal(reactor.running, false);
    t.throws(() => reactor.run(), ReactorAlreadyRunning);
    started.callback('tea');
    t.equal(reactor.running, true);
    t.equal(successResultOf(started), 'tea', 'the value is left to its owner');
    reactor.stop();
    io.turn(5);
    assertNoResult(stopped);
    ended.callback('tea');
    io.turn();
    t.equal(stopped.state, 'succeeded');
  });

  t.test('crash: stops at once, with no trigger run', async (t) => {
    const { io, reactor } = still();
    const id = reactor.addSystemEventTrigger('before', 'shutdown', () => t.fail('no trigger'));
    const stopped = reactor.run();
    reactor.crash();
    t.equal(stopped.state, 'succeeded');
    t.equal(reactor.running, false);
    t.equal(io.alive, 0);
    io.turn(3);
    reactor.removeSystemEventTrigger(id);
  });

  t.test('crash: leaves nothing of the run before for the next one', async (t) => {
    const { io, reactor } = still();
    const seen: string[] = [];
    reactor.events.on('shutdown', () => seen.push('shutdown'));
    const never = new Deferred<void>();
    // While it starts up.
    reactor.addSystemEventTrigger('before', 'startup', () => never);
    reactor.run();
    reactor.crash();
    reactor.addSystemEventTrigger('before', 'startup', () => new Deferred<void>());
    const early = reactor.callWhenRunning(() => seen.push('running'));
    reactor.run();
    never.callback();
    t.equal(reactor.running, false, 'the second run has not started up');
    t.same(seen, []);
    reactor.removeSystemEventTrigger(early!);
    reactor.crash();
    // Once it was asked to stop.
    reactor.run();
    const id = reactor.addSystemEventTrigger('before', 'shutdown', () => seen.push('before'));
    reactor.stop();
    reactor.crash();
    const second = reactor.run();
    io.turn(3);
    assertNoResult(second);
    reactor.removeSystemEventTrigger(id);
    // While it shuts down.
    const slow = new Deferred<void>();
    reactor.addSystemEventTrigger('before', 'shutdown', () => slow);
    reactor.stop();
    io.turn();
    reactor.crash();
    t.equal(second.state, 'succeeded');
    const third = reactor.run();
    slow.callback();
    io.turn(3);
    assertNoResult(third);
    t.same(seen, []);
    // In the last turn of all.
    reactor.stop();
    io.turn();
    reactor.crash();
    const fourth = reactor.run();
    io.turn(3);
    assertNoResult(fourth);
    reactor.crash();
  });

  t.test('report the failures that nobody has handled, at the end', async (t) => {
    const { reactor } = still();
    reactor.run();
    const kept = new Deferred<string>();
    kept.errback(tooMany());
    t.same(flushLoggedErrors(), []);
    reactor.crash();
    t.match(flushLoggedErrors(RangeError), [{ namespace: 'plait.defer', level: 'critical' }]);
    failureResultOf(kept);
  });
});

t.test('REA-27: signals', async (t) => {
  t.test('stop a reactor that runs, the first of them', async (t) => {
    const { io, reactor } = still();
    const slow = new Deferred<void>();
    let shutdowns = 0;
    reactor.addSystemEventTrigger('before', 'shutdown', () => {
      shutdowns++;
      return slow;
    });
    const stopped = reactor.run();
    t.same([...io.signals.keys()], ['SIGINT', 'SIGTERM', 'SIGBREAK']);
    io.signals.get('SIGTERM')?.();
    t.equal(reactor.exitSignal, 'SIGTERM');
    io.signals.get('SIGINT')?.();
    io.turn();
    io.signals.get('SIGINT')?.();
    t.equal(reactor.exitSignal, 'SIGTERM');
    t.equal(shutdowns, 1);
    slow.callback();
    io.turn();
    t.equal(stopped.state, 'succeeded');
    t.equal(io.signals.size, 0);
    reactor.run();
    t.equal(reactor.exitSignal, undefined, 'the next run begins anew');
    reactor.crash();
  });

  t.test('of the operating system: it shuts down once, and waits for that', async (t) => {
    const child = start(
      t,
      `
      import { Deferred, reactor } from 'plait';
      const slow = new Deferred();
      process.on('SIGUSR2', () => slow.callback());
      reactor.addSystemEventTrigger('before', 'shutdown', () => {
        console.log('shutting down');
        return slow;
      });
      reactor.run().addCallback(() => {
        console.log('stopped by', reactor.exitSignal);
      });
      process.kill(process.pid, 'SIGPIPE');
      reactor.callLater(0.001, () => console.log('ready'));
      `,
    );
    await child.line('ready');
    child.process.kill('SIGINT');
    await child.line('shutting down');
    child.process.kill('SIGTERM');
    child.process.kill('SIGINT');
    child.process.kill('SIGUSR2');
    const { code, stdout, stderr } = await child.ended;
    t.equal(stdout, 'ready\nshutting down\nstopped by SIGINT\n');
    t.equal(stderr, '');
    t.equal(code, 0);
  });
});

t.test('system events', async (t) => {
  t.test('run their triggers before, during and after, in order, once', async (t) => {
    const { reactor } = still();
    const seen: string[] = [];
    const note = (...what: string[]) => seen.push(what.join(' '));
    for (const phase of ['after', 'during', 'before'] as const) {
      reactor.addSystemEventTrigger(phase, 'tea', note, phase, '1');
      reactor.addSystemEventTrigger(phase, 'tea', note, phase, '2');
    }
    t.equal(reactor.fireSystemEvent('tea').state, 'succeeded');
    t.same(seen, ['before 1', 'before 2', 'during 1', 'during 2', 'after 1', 'after 2']);
    reactor.fireSystemEvent('tea');
    reactor.fireSystemEvent('coffee');
    t.equal(seen.length, 6);
  });

  t.test('wait for all that the triggers before return, and for nothing else', async (t) => {
    const { reactor } = still();
    const seen: string[] = [];
    const waits = [new Deferred<void>(), new Deferred<void>()];
    for (const d of waits) reactor.addSystemEventTrigger('before', 'tea', () => d);
    reactor.addSystemEventTrigger('before', 'tea', () => seen.push('before'));
    const paused = succeed(1);
    paused.pause();
    reactor.addSystemEventTrigger('before', 'tea', () => paused);
    reactor.addSystemEventTrigger('before', 'tea', () => succeed(1).addCallback(() => waits[0]));
    reactor.addSystemEventTrigger('during', 'tea', () => {
      seen.push('during');
      return new Deferred();
    });
    reactor.addSystemEventTrigger('after', 'tea', () => seen.push('after'));
    const fired = reactor.fireSystemEvent('tea');
    waits[1]?.callback();
    waits[0]?.callback();
    t.same(seen, ['before']);
    assertNoResult(fired);
    paused.unpause();
    t.same(seen, ['before', 'during', 'after']);
    t.equal(fired.state, 'succeeded');
  });

  t.test('REA-07: log what a trigger throws or fails with, and run the rest', async (t) => {
    const { reactor } = still();
    const seen: string[] = [];
    for (const phase of ['before', 'during', 'after'] as const) {
      reactor.addSystemEventTrigger(phase, 'tea', () => {
        throw tooMany();
      });
      reactor.addSystemEventTrigger(phase, 'tea', () => seen.push(phase));
    }
    const failing = new Deferred<void>();
    reactor.addSystemEventTrigger('before', 'tea', () => failing);
    const fired = reactor.fireSystemEvent('tea');
    failing.errback(new TypeError('no water'));
    t.equal(fired.state, 'succeeded');
    t.same(seen, ['before', 'during', 'after']);
    t.match(
      flushLoggedErrors(RangeError),
      ['before', 'during', 'after'].map((phase) => ({
        phase,
        eventType: 'tea',
        level: 'critical',
        format: 'a trigger {phase} {eventType} failed',
      })),
    );
    t.equal(flushLoggedErrors(TypeError).length, 1);
  });

  t.test('lose a trigger that is taken back', async (t) => {
    const { reactor } = still();
    const id = reactor.addSystemEventTrigger('before', 'tea', () => t.fail('taken back'));
    t.match(id, { phase: 'before', eventType: 'tea' });
    reactor.removeSystemEventTrigger(id);
    const error = {
      name: 'RangeError',
      message:
        'removeSystemEventTrigger: id: no such trigger before tea: it has run, or was removed',
    };
    t.throws(() => reactor.removeSystemEventTrigger(id), error);
    reactor.fireSystemEvent('tea');
    const ran = reactor.addSystemEventTrigger('before', 'tea', () => {});
    reactor.fireSystemEvent('tea');
    t.throws(() => reactor.removeSystemEventTrigger(ran), error);
    t.throws(() => reactor.addSystemEventTrigger('beside' as never, 'tea', () => {}), {
      name: 'RangeError',
      message: 'addSystemEventTrigger: phase must be "before", "during" or "after", not "beside"',
    });
  });

  t.test('run triggers that are added while they run, now or the next time', async (t) => {
    const { reactor } = still();
    const seen: string[] = [];
    reactor.addSystemEventTrigger('during', 'tea', () => {
      reactor.addSystemEventTrigger('after', 'tea', () => seen.push('after'));
      reactor.addSystemEventTrigger('before', 'tea', () => seen.push('before, the next time'));
    });
    reactor.fireSystemEvent('tea');
    t.same(seen, ['after']);
    reactor.fireSystemEvent('tea');
    t.same(seen, ['after', 'before, the next time']);
  });
});

t.test('callWhenRunning', async (t) => {
  t.test('calls at once if the reactor runs, and else once it does', async (t) => {
    const { reactor } = still();
    const seen: string[] = [];
    const note = (...args: string[]) => seen.push(`${args.join(' ')} ${reactor.running}`);
    const id = reactor.callWhenRunning(note, 'asked', 'before');
    t.match(id, { phase: 'after', eventType: 'startup' });
    t.same(seen, []);
    reactor.run();
    t.same(seen, ['asked before true']);
    t.equal(reactor.callWhenRunning(note, 'asked', 'then'), undefined);
    t.same(seen, ['asked before true', 'asked then true']);
    reactor.crash();
  });

  t.test('REA-07: logs what the function throws', async (t) => {
    const { reactor } = still();
    const broken = () => {
      throw tooMany();
    };
    reactor.callWhenRunning(broken);
    reactor.run();
    reactor.callWhenRunning(broken);
    t.equal(flushLoggedErrors(RangeError).length, 2);
    t.equal(reactor.running, true);
    reactor.crash();
  });
});

// ── Listening and connecting ─────────────────────────────────────────────────────────────────────────────────────────

t.test('listenTCP', async (t) => {
  t.test('listens on any free port, and says which once it is bound', async (t) => {
    const reactor = new Reactor();
    const port = reactor.listenTCP(0, new TalkFactory(), { interface: LOOPBACK });
    t.equal(await port.ready, port);
    const host = port.getHost();
    t.match(host, { type: 'TCP', host: LOOPBACK });
    t.ok(numberOf(port) > 0);
    await port[Symbol.asyncDispose]();
  });

  t.test(
    'FND-8B: listens on any IPv4 address where no interface is given, and 511 may wait',
    async (t) => {
      const { io, reactor } = still();
      reactor.listenTCP(80, new TalkFactory());
      reactor.listenTCP(81, new TalkFactory(), { interface: '', backlog: 5 });
      reactor.listenTCP(82, new TalkFactory(), { interface: '::' });
      t.same(
        io.listened.map(({ target }) => target),
        [
          { host: '0.0.0.0', port: 80, backlog: 511 },
          { host: '0.0.0.0', port: 81, backlog: 5 },
          { host: '::', port: 82, backlog: 511 },
        ],
      );
    },
  );

  t.test(
    'REA-18: tells of a busy port, or an address that is not here; a retry works',
    async (t) => {
      const reactor = new Reactor();
      const { port: first, number } = await listening(t, reactor);
      const busy = reactor.listenTCP(number, new TalkFactory(), { interface: LOOPBACK });
      await t.rejects(busy.ready.asPromise(), {
        name: 'CannotListenError',
        message: `cannot listen on 127.0.0.1:${number}: address already in use (EADDRINUSE)`,
        port: number,
        interface: LOOPBACK,
        code: 'EADDRINUSE',
      });
      const elsewhere = reactor.listenTCP(0, new TalkFactory(), { interface: '192.0.2.1' });
      await t.rejects(elsewhere.ready.asPromise(), CannotListenError);
      await first.stopListening();
      busy.startListening();
      await busy.ready;
      t.equal(numberOf(busy), number);
      await busy.stopListening();
    },
  );

  t.test('REA-18: on any IPv6 address takes IPv4 clients too', async (t) => {
    const reactor = new Reactor();
    const factory = new TalkFactory();
    const port = reactor.listenTCP(0, factory, { interface: '::' });
    const host = await port.ready.addCallbacks(
      () => port.getHost(),
      (failure) => void failure.trap(CannotListenError),
    );
    if (host === undefined) {
      t.comment('this machine has no IPv6');
      return;
    }
    t.ok(host instanceof IPv6Address);
    const client = new TCP4ClientEndpoint(reactor, LOOPBACK, numberOf(port));
    const talk = await connectProtocol(client, new Talk());
    talk.transport.loseConnection();
    await talk.lost;
    await factory.built[0]?.lost;
    await port.stopListening();
  });

  t.test('refuses what cannot be a port, a backlog or an interface', async (t) => {
    const { io, reactor } = still();
    const factory = new TalkFactory();
    for (const port of [-1, 65_536, 1.5, NaN])
      t.throws(() => reactor.listenTCP(port, factory), {
        name: 'RangeError',
        message: /^listenTCP: port must/,
      });
    for (const backlog of [0, -1, 1.5, NaN]) {
      const error = {
        name: 'RangeError',
        message: new RegExp(`: backlog must be a whole number from 1, not ${backlog}`),
      };
      t.throws(() => reactor.listenTCP(0, factory, { backlog }), error);
      t.throws(() => reactor.listenUNIX('/run/tea', factory, { backlog }), error);
    }
    t.throws(() => reactor.listenTCP(0, factory, { interface: 'tea\0pot' }), RangeError);
    t.same(io.listened, []);
  });
});

t.test('connectTCP', async (t) => {
  t.test('makes a connection, and tells the factory how it goes', async (t) => {
    const reactor = new Reactor();
    const server = new TalkFactory();
    const { number } = await listening(t, reactor, server);
    const factory = new TellingFactory();
    const connector = reactor.connectTCP(LOOPBACK, number, factory);
    t.equal(connector.state, 'connecting');
    t.same(connector.getDestination(), new IPv4Address('TCP', LOOPBACK, number));
    t.same(factory.told, ['startFactory', 'startedConnecting']);
    const { transport } = await factory.talk.made;
    t.equal(connector.state, 'connected');
    transport.write('tea');
    transport.loseConnection();
    t.ok((await factory.ended) instanceof ConnectionDone);
    await server.built[0]?.lost;
    t.equal(server.built[0]?.received, 'tea');
    t.same(factory.told.slice(2), ['buildProtocol', 'clientConnectionLost', 'stopFactory']);
    t.same(reactor.getDelayedCalls(), []);
  });

  t.test('REA-16: tells of a refused connection, once', async (t) => {
    const reactor = new Reactor();
    const { port, number } = await listening(t, reactor);
    await port.stopListening();
    const factory = new TellingFactory();
    const connector = reactor.connectTCP(LOOPBACK, number, factory);
    const error = await factory.ended;
    t.ok(error instanceof ConnectionRefusedError);
    t.equal(
      error.message,
      `cannot connect to 127.0.0.1:${number}: connection refused (ECONNREFUSED)`,
    );
    t.same(factory.told.slice(2), ['clientConnectionFailed', 'stopFactory']);
    t.equal(connector.state, 'disconnected');
    t.same(reactor.getDelayedCalls(), []);
  });

  t.test('REA-16: tells of an attempt that takes too long', async (t) => {
    const { io, reactor } = still();
    const factory = new TellingFactory();
    reactor.connectTCP(LOOPBACK, 80, factory, { timeout: 5 });
    t.equal(io.alarmAt, 5);
    io.time = 5;
    io.wake();
    const error = successResultOf(factory.ended);
    t.ok(error instanceof TimeoutError);
    t.equal(error.message, 'cannot connect to 127.0.0.1:80: no connection after 5 seconds');
    t.equal(io.connected[0]?.cancelled, true);
    t.same(factory.told.slice(2), ['clientConnectionFailed', 'stopFactory']);
    reactor.connectTCP(LOOPBACK, 80, new TellingFactory());
    t.equal(io.alarmAt, 35, 'half a minute by default');
    reactor.getDelayedCalls()[0]?.cancel();
    reactor.connectTCP(LOOPBACK, 80, new TellingFactory(), { timeout: null });
    t.same(reactor.getDelayedCalls(), []);
  });

  t.test('REA-16: tells of a name that is not found, and of one without addresses', async (t) => {
    const { io, reactor } = still();
    const cause = Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' });
    const cases: [Error | undefined, string][] = [
      [cause, 'cannot look up tea.test: host name not found (ENOTFOUND)'],
      [undefined, 'no address is known for tea.test'],
    ];
    for (const [failure, message] of cases) {
      const factory = new TellingFactory();
      const connector = reactor.connectTCP('tea.test', 80, factory);
      t.same(connector.getDestination(), new HostnameAddress('tea.test', 80));
      io.resolved.pop()?.done(failure);
      const error = successResultOf(factory.ended);
      t.ok(error instanceof DNSLookupError);
      t.equal(error.message, message);
      t.equal(error.cause, failure);
    }
    t.same(reactor.getDelayedCalls(), []);
  });

  t.test('REA-16: can be given up, while it looks up and while it connects', async (t) => {
    const { io, reactor } = still();
    const factory = new TellingFactory();
    const connector = reactor.connectTCP('tea.test', 80, factory);
    connector.stopConnecting();
    t.equal(io.resolved[0]?.cancelled, true);
    t.ok(successResultOf(factory.ended) instanceof UserError);
    const later = new TellingFactory();
    const second = reactor.connectTCP('tea.test', 80, later);
    io.resolved[1]?.done(undefined, ['192.0.2.7']);
    second.stopConnecting();
    t.equal(io.connected[0]?.cancelled, true);
    t.ok(successResultOf(later.ended) instanceof UserError);
    t.same(reactor.getDelayedCalls(), []);
  });

  t.test('connects to an IPv4 address of the host, if there is one', async (t) => {
    const { io, reactor } = still();
    for (const [addresses, chosen] of [
      [['2001:db8::7', '192.0.2.7', '192.0.2.8'], '192.0.2.7'],
      [['2001:db8::7', '2001:db8::8'], '2001:db8::7'],
    ] as const) {
      reactor.connectTCP('tea.test', 80, new TellingFactory(), { timeout: null });
      io.resolved.pop()?.done(undefined, [...addresses]);
      t.match(io.connected.pop()?.target, { host: chosen, port: 80 });
    }
    reactor.connectTCP('::1', 80, new TellingFactory(), { timeout: null });
    t.match(io.connected.pop()?.target, { host: '::1', port: 80 });
    t.same(io.resolved, [], 'a literal is not looked up');
  });

  t.test('connects from a local address', async (t) => {
    const reactor = new Reactor();
    const server = new TalkFactory();
    const { number } = await listening(t, reactor, server);
    const factory = new TellingFactory();
    reactor.connectTCP(LOOPBACK, number, factory, { bindAddress: { host: '127.0.0.2' } });
    const talk = await Promise.race([factory.talk.made, factory.ended.then((error) => error)]);
    if (talk instanceof ConnectBindError) t.comment('this machine has no 127.0.0.2');
    else {
      t.match(factory.talk.transport.getHost(), { host: '127.0.0.2' });
      factory.talk.transport.loseConnection();
      await factory.ended;
      await server.built[0]?.lost;
    }
    const elsewhere = new TellingFactory();
    reactor.connectTCP(LOOPBACK, number, elsewhere, {
      bindAddress: { host: '192.0.2.1', port: 0 },
    });
    t.ok((await elsewhere.ended) instanceof ConnectBindError);
  });

  t.test('refuses what cannot be, before anything is begun', async (t) => {
    const { io, reactor } = still();
    const connect = (...args: unknown[]) =>
      (reactor.connectTCP as (...all: unknown[]) => unknown).apply(reactor, args);
    const factory = new TellingFactory();
    const wrong: unknown[][] = [
      ['', 80],
      ['tea\0pot', 80],
      ['tea.test', 0],
      ['tea.test', 65_536],
      ['tea.test', NaN],
      ['tea.test', 80, { timeout: -1 }],
      ['tea.test', 80, { timeout: NaN }],
      ['tea.test', 80, { timeout: Infinity }],
      ['tea.test', 80, { bindAddress: { host: 'tea.test' } }],
      ['tea.test', 80, { bindAddress: { host: LOOPBACK, port: 65_536 } }],
    ];
    for (const [host, port, options] of wrong)
      t.throws(() => connect(host, port, factory, options), RangeError);
    t.throws(() => connect('tea.test', 80, factory, { bindAddress: { host: 'tea' } }), {
      message: 'connectTCP: bindAddress.host must be an IP address, not "tea"',
    });
    t.throws(() => connect('tea.test', 80, factory, { timeout: '5' }), {
      name: 'TypeError',
      message: 'connectTCP: timeout must be a number of seconds, not "5"',
    });
    t.same(factory.told, []);
    t.same(io.resolved, []);
    t.same(reactor.getDelayedCalls(), []);
    connect(LOOPBACK, 80, factory, { bindAddress: { host: '' }, timeout: null });
    t.equal(io.connected.length, 1, 'an empty local address is any');
  });
});

t.test('listenUNIX and connectUNIX', async (t) => {
  t.test('make connections over a socket in the file system', async (t) => {
    const reactor = new Reactor();
    const path = socketPath(t);
    const server = new TalkFactory();
    const port = reactor.listenUNIX(path, server, { mode: 0o600 });
    await port.ready;
    t.same(port.getHost(), new UNIXAddress(path));
    t.equal(statSync(path).mode & 0o777, 0o600);
    const factory = new TellingFactory();
    const connector = reactor.connectUNIX(path, factory);
    t.same(connector.getDestination(), new UNIXAddress(path));
    await factory.talk.made;
    factory.talk.transport.write('tea');
    factory.talk.transport.loseConnection();
    await factory.ended;
    await server.built[0]?.lost;
    t.equal(server.built[0]?.received, 'tea');
    await port.stopListening();
    t.same(reactor.getDelayedCalls(), []);
  });

  t.test('tell of a path where nothing is', async (t) => {
    const reactor = new Reactor();
    const factory = new TellingFactory();
    reactor.connectUNIX(socketPath(t), factory, { timeout: null });
    const error = await factory.ended;
    t.ok(error instanceof BadFileError);
    t.match(error.message, /^cannot connect to unix:.*: no such file \(ENOENT\)$/);
  });

  t.test('refuse what cannot be a path, or a time', async (t) => {
    const { io, reactor } = still();
    const factory = new TellingFactory();
    for (const path of ['', 'tea\0pot', undefined, 7] as never[]) {
      const error =
        typeof path === 'string'
          ? {
              name: 'InvalidAddressError',
              message: /UNIX: path must be a path for a UNIX socket, not /,
            }
          : { name: 'TypeError', message: /UNIX: path must be a string, not / };
      t.throws(() => reactor.listenUNIX(path, factory), error);
      t.throws(() => reactor.connectUNIX(path, factory), error);
    }
    t.throws(() => reactor.connectUNIX('/run/tea', factory, { timeout: NaN }), RangeError);
    reactor.listenUNIX('/run/tea', factory);
    t.same(io.listened[0]?.target, {
      path: '/run/tea',
      mode: 0o666,
      backlog: 511,
      wantPID: false,
    });
    t.same(factory.told, []);
  });
});

t.test('resolve', async (t) => {
  t.test('has the address of a host, an IPv4 one if it can', async (t) => {
    const { io, reactor } = still();
    const d = reactor.resolve('tea.test');
    t.equal(io.resolved[0]?.host, 'tea.test');
    assertNoResult(d);
    io.resolved[0]?.done(undefined, ['2001:db8::7', '192.0.2.7']);
    t.equal(successResultOf(d), '192.0.2.7');
  });

  t.test('returns literals as they are, and any address for none', async (t) => {
    const { io, reactor } = still();
    t.equal(successResultOf(reactor.resolve('192.0.2.7')), '192.0.2.7');
    t.equal(successResultOf(reactor.resolve('::1')), '::1');
    t.equal(successResultOf(reactor.resolve('')), '0.0.0.0');
    t.same(io.resolved, []);
    t.throws(() => reactor.resolve('tea pot'), RangeError);
  });

  t.test('fails with DNSLookupError, whatever went wrong', async (t) => {
    const { io, reactor } = still();
    for (const code of ['ENOTFOUND', 'EAI_AGAIN', 'ESERVFAIL']) {
      const d = reactor.resolve('tea.test');
      io.resolved.pop()?.done(Object.assign(new Error('getaddrinfo'), { code }));
      t.match(failureResultOf(d, DNSLookupError).value, { code });
    }
  });

  t.test('cancelled, forgets the lookup', async (t) => {
    const { io, reactor } = still();
    const d = reactor.resolve('tea.test');
    d.cancel();
    t.equal(io.resolved[0]?.cancelled, true);
    failureResultOf(d, CancelledError);
  });

  t.test('asks the system', async (t) => {
    t.match(await new Reactor().resolve('localhost'), /^127\.|^::1$/);
  });
});

t.test('a reactor that stops', async (t) => {
  t.test('cuts connections, gives up attempts and closes ports', async (t) => {
    const reactor = new Reactor();
    const server = new TalkFactory();
    const port = reactor.listenTCP(0, server, { interface: LOOPBACK });
    await port.ready;
    const stopped = reactor.run({ installSignalHandlers: false });
    const factory = new TellingFactory();
    reactor.connectTCP(LOOPBACK, numberOf(port), factory);
    const { transport } = await factory.talk.made;
    while (server.built.length === 0) await turn();
    transport.write('last words');
    const attempt = new TellingFactory();
    reactor.connectTCP(LOOPBACK, numberOf(port), attempt);
    let afterwards = 0;
    server.built[0]?.lost.addCallback((error) => {
      reactor.addSystemEventTrigger('after', 'shutdown', () => afterwards++);
      return error;
    });
    reactor.stop();
    await stopped;
    for (const d of [factory.talk.lost, server.built[0]!.lost, attempt.ended]) {
      const error = successResultOf(d);
      t.ok(error instanceof ConnectionLost);
      t.equal(error.message, 'connection was cut: the reactor has stopped');
    }
    t.equal(afterwards, 1);
    t.same(reactor.getDelayedCalls(), []);
  });

  t.test('does so after the triggers before, and before those during', async (t) => {
    const { io, reactor } = still();
    const seen: string[] = [];
    const attempt = new TellingFactory();
    reactor.run();
    reactor.connectTCP(LOOPBACK, 80, attempt, { timeout: null });
    attempt.ended.addCallback(() => seen.push('given up'));
    for (const phase of ['before', 'during', 'after'] as const)
      reactor.addSystemEventTrigger(phase, 'shutdown', () => seen.push(phase));
    reactor.stop();
    io.turn(2);
    t.same(seen, ['before', 'given up', 'during', 'after']);
  });
});

t.test('reactor.events', async (t) => {
  t.test('tells of what happens', async (t) => {
    const reactor = new Reactor();
    const seen: string[] = [];
    for (const name of ['startup', 'shutdown', 'listening', 'connected', 'disconnected'] as const)
      reactor.events.on(name, () => seen.push(name));
    const stopped = reactor.run({ installSignalHandlers: false });
    const { number } = await listening(t, reactor);
    const client = new TCP4ClientEndpoint(reactor, LOOPBACK, number);
    const talk = await connectProtocol(client, new Talk());
    talk.transport.loseConnection();
    await talk.lost;
    while (seen.length < 6) await turn();
    reactor.stop();
    await stopped;
    t.same(seen.slice(0, 2), ['startup', 'listening']);
    t.same(seen.slice(2, 6).sort(), ['connected', 'connected', 'disconnected', 'disconnected']);
    t.same(seen.slice(6), ['shutdown']);
  });

  t.test('logs what a listener throws; nothing depends on it', async (t) => {
    const reactor = new Reactor();
    const names = ['startup', 'shutdown', 'listening', 'connected', 'disconnected'] as const;
    for (const name of names)
      reactor.events.on(name, () => {
        throw new RangeError(name);
      });
    const stopped = reactor.run({ installSignalHandlers: false });
    const server = new TalkFactory();
    const { number } = await listening(t, reactor, server);
    const client = new TCP4ClientEndpoint(reactor, LOOPBACK, number);
    const talk = await connectProtocol(client, new Talk());
    talk.transport.write('tea');
    talk.transport.loseConnection();
    await talk.lost;
    await server.built[0]?.lost;
    t.equal(server.built[0]?.received, 'tea');
    reactor.stop();
    await stopped;
    const logged = flushLoggedErrors(RangeError);
    t.same(
      [...new Set(logged.map(({ failure }) => failure?.value.message))].sort(),
      [...names].sort(),
    );
    t.ok(logged.every(({ format }) => format === 'a listener of reactor.events failed'));
  });
});

// ── Whole programs ───────────────────────────────────────────────────────────────────────────────────────────────────

t.test('react', async (t) => {
  /** The exit code of the process is that of the tests. */
  const guard = (t: Test) => {
    const before = process.exitCode;
    t.teardown(() => (process.exitCode = before));
  };

  t.test('runs the reactor for as long as main takes, and gives it arguments', async (t) => {
    guard(t);
    const reactor = new Reactor();
    const seen: unknown[] = [];
    const main = (given: Reactor, ...argv: string[]) => {
      seen.push(given === reactor, given.running, ...argv);
      const d = new Deferred<string>();
      reactor.callLater(0.001, () => d.callback('done'));
      return d;
    };
    for (const argv of [['tea', 'pot'], []]) {
      t.equal(await react(main, { reactor, argv }), 0);
      t.equal(process.exitCode, 0);
      t.equal(reactor.running, false);
    }
    t.same(seen, [true, true, 'tea', 'pot', true, true]);
  });

  t.test('takes a main that is done at once, or that returns a promise', async (t) => {
    guard(t);
    const reactor = new Reactor();
    t.equal(await react(() => 7, { reactor }), 0);
    t.equal(await react(async () => turn(), { reactor }), 0);
  });

  t.test('ends with 1 where main fails or throws, and logs that', async (t) => {
    guard(t);
    const reactor = new Reactor();
    const throws = () => {
      throw tooMany();
    };
    for (const main of [throws, async () => throws()]) {
      t.equal(await react(main, { reactor, argv: [] }), 1);
      t.equal(process.exitCode, 1);
      t.match(flushLoggedErrors(RangeError), [
        { namespace: 'plait.run', level: 'critical', format: 'main failed' },
      ]);
    }
  });

  t.test('FND-82: ends also where a canceller of main throws', async (t) => {
    guard(t);
    const reactor = new Reactor();
    const main = () => {
      reactor.callLater(0, () => reactor.stop());
      return new Deferred<void>(() => {
        throw new RangeError('a broken canceller');
      });
    };
    t.equal(await react(main, { reactor }), 1);
    t.equal(flushLoggedErrors(RangeError).length, 1);
    flushLoggedErrors();
  });

  t.test('ends with the code of a SystemExit, and logs nothing', async (t) => {
    guard(t);
    const reactor = new Reactor();
    const exits = (code?: number) => () => {
      throw new SystemExit(code);
    };
    t.equal(await react(exits(3), { reactor }), 3);
    t.equal(process.exitCode, 3);
    t.equal(await react(exits(), { reactor }), 0);
  });

  t.test('lets main stop or crash the reactor itself', async (t) => {
    guard(t);
    const reactor = new Reactor();
    t.equal(await react((given) => given.stop(), { reactor }), 0);
    t.equal(await react((given) => given.crash(), { reactor }), 0);
    t.same(flushLoggedErrors(), []);
  });

  t.test('stopped by a signal, cancels what main waits for and lets it clean up', async (t) => {
    guard(t);
    const { io, reactor } = still();
    const cleaned = new Deferred<void>();
    const main = () =>
      new Deferred<string>().addErrback((failure) => {
        failure.trap(CancelledError);
        return cleaned.addCallback(() => failure);
      });
    const code = react(main, { reactor });
    io.signals.get('SIGINT')?.();
    io.turn(5);
    assertNoResult(code);
    cleaned.callback();
    io.turn();
    t.equal(successResultOf(code), 130);
    t.equal(process.exitCode, 130);
    t.same(flushLoggedErrors(), []);
  });

  t.test(
    'stopped by a signal, ends with 1 if the cleaning up fails, and 0 if main goes on',
    async (t) => {
      guard(t);
      const { io, reactor } = still();
      const failing = () =>
        new Deferred<string>().addErrback(() => {
          throw tooMany();
        });
      const one = react(failing, { reactor });
      io.signals.get('SIGTERM')?.();
      io.turn(2);
      t.equal(successResultOf(one), 1);
      t.equal(flushLoggedErrors(RangeError).length, 1);
      const caught = react(() => new Deferred<string>().addErrback(() => 'all is well'), {
        reactor,
      });
      io.signals.get('SIGTERM')?.();
      io.turn(2);
      t.equal(successResultOf(caught), 0);
      const unknown = react(() => new Deferred<string>(), { reactor });
      reactor.exitSignal = 'SIGTEA';
      reactor.stop();
      io.turn(2);
      t.equal(successResultOf(unknown), 128, 'a signal without a number');
    },
  );

  t.test('is the whole program: its arguments, its exit code', async (t) => {
    const program = `
      import { Deferred, react } from 'plait';
      react((reactor, ...argv) => {
        console.log('ready', argv.length);
        return new Deferred().addBoth((result) => {
          console.log('cleaned up');
          return result;
        });
      });
    `;
    const child = start(t, program);
    await child.line('ready 0');
    child.process.kill('SIGTERM');
    const { code, signal, stdout, stderr } = await child.ended;
    t.same({ code, signal }, { code: 143, signal: null });
    t.equal(stdout, 'ready 0\ncleaned up\n');
    t.equal(stderr, '');
  });

  t.test('is over when it is over: calls that still wait do not keep it alive', async (t) => {
    const program = `
      import { react, reactor } from 'plait';
      reactor.callLater(3600, () => console.log('an hour later'));
      react(() => console.log('done'));
    `;
    const { code, stdout } = await start(t, program).ended;
    t.equal(code, 0);
    t.equal(stdout, 'done\n');
  });
});

// ── Endpoints ────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('server and client endpoints', async (t) => {
  t.test('connect over TCP', async (t) => {
    const reactor = new Reactor();
    const server = new TalkFactory();
    const options = { interface: LOOPBACK, backlog: 5 };
    const port = await new TCP4ServerEndpoint(reactor, 0, options).listen(server);
    t.equal(server.numPorts, 1);
    const number = numberOf(port);
    const client = new TalkFactory();
    const talk = await new TCP4ClientEndpoint(reactor, LOOPBACK, number, { timeout: 5 }).connect(
      client,
    );
    t.equal(talk, client.built[0]);
    t.equal(talk.connected, true, 'its connectionMade was called');
    t.equal(client.numPorts, 1);
    talk.transport.write('tea');
    talk.transport.loseConnection();
    await talk.lost;
    await server.built[0]?.lost;
    t.equal(server.built[0]?.received, 'tea');
    t.equal(client.numPorts, 0);
    await port.stopListening();
    t.equal(server.numPorts, 0);
  });

  t.test('connect over IPv6', async (t) => {
    const { io, reactor } = still();
    new TCP6ServerEndpoint(reactor, 80).listen(new TalkFactory());
    new TCP6ServerEndpoint(reactor, 80, { interface: '::1' }).listen(new TalkFactory());
    t.match(
      io.listened.map(({ target }) => target),
      [{ host: '::' }, { host: '::1' }],
    );
    const options = { bindAddress: { host: '::1' } };
    void new TCP6ClientEndpoint(reactor, '::1', 80, options).connect(new TalkFactory());
    t.match(io.connected[0]?.target, { host: '::1', port: 80, bindAddress: { host: '::1' } });
    reactor.getDelayedCalls()[0]?.cancel();
  });

  t.test('connect over UNIX sockets', async (t) => {
    const reactor = new Reactor();
    const path = socketPath(t);
    const server = new TalkFactory();
    const port = await new UNIXServerEndpoint(reactor, path, { mode: 0o600, backlog: 5 }).listen(
      server,
    );
    const talk = await connectProtocol(new UNIXClientEndpoint(reactor, path), new Talk());
    talk.transport.loseConnection();
    await talk.lost;
    await server.built[0]?.lost;
    await port.stopListening();
    const gone = new UNIXClientEndpoint(reactor, path, { timeout: 5 });
    await t.rejects(connectProtocol(gone, new Talk()).asPromise(), BadFileError);
  });

  t.test('fail where they cannot listen or connect, and with what cannot be', async (t) => {
    const reactor = new Reactor();
    const { port, number } = await listening(t, reactor);
    const busy = new TCP4ServerEndpoint(reactor, number, { interface: LOOPBACK });
    await t.rejects(busy.listen(new TalkFactory()).asPromise(), CannotListenError);
    t.throws(() => new TCP4ServerEndpoint(reactor, -1), RangeError);
    failureResultOf(
      new UNIXServerEndpoint(reactor, '').listen(new TalkFactory()),
      InvalidAddressError,
    );
    const connect = (endpoint: IStreamClientEndpoint) => connectProtocol(endpoint, new Talk());
    failureResultOf(connect(new TCP4ClientEndpoint(reactor, '', 80)), RangeError);
    failureResultOf(connect(new UNIXClientEndpoint(reactor, '')), InvalidAddressError);
    await port.stopListening();
    const refused = connect(new TCP4ClientEndpoint(reactor, LOOPBACK, number));
    await t.rejects(refused.asPromise(), ConnectionRefusedError);
  });
});

t.test('the Deferred of listen', async (t) => {
  t.test('cancelled before the port is bound, stops it', async (t) => {
    const { io, reactor } = still();
    const factory = new TalkFactory();
    const d = new TCP4ServerEndpoint(reactor, 80).listen(factory);
    d.cancel();
    t.ok(failureResultOf(d, CannotListenError, CancelledError));
    io.turn();
    t.equal(factory.numPorts, 0);
  });

  t.test('cancelled, ignores what comes of a port of somebody else', async (t) => {
    for (const late of ['callback', 'errback'] as const) {
      const ready = new Deferred<IListeningPort>();
      let stops = 0;
      const port = {
        ready,
        stopListening: () => {
          stops++;
          return succeed();
        },
      };
      const reactor = { listenTCP: () => port } as unknown as IReactorTCP;
      const d = new TCP4ServerEndpoint(reactor, 80).listen(new TalkFactory());
      d.cancel();
      failureResultOf(d, CancelledError);
      if (late === 'callback') ready.callback(port as unknown as IListeningPort);
      else ready.errback(tooMany());
      t.equal(stops, 1);
    }
  });
});

t.test('the Deferred of connect', async (t) => {
  t.test('cancelled, gives up the attempt', async (t) => {
    const { io, reactor } = still();
    const factory = new TalkFactory();
    const d = new TCP4ClientEndpoint(reactor, 'tea.test', 80).connect(factory);
    d.cancel();
    const error = failureResultOf(d, ConnectingCancelledError).value;
    t.equal(error.message, 'connecting to tea.test:80 was cancelled');
    t.same(error.destination, new HostnameAddress('tea.test', 80));
    t.equal(io.resolved[0]?.cancelled, true);
    t.equal(factory.numPorts, 0);
    t.same(reactor.getDelayedCalls(), []);
  });

  t.test('cancelled after it has fired, leaves the connection alone', async (t) => {
    const reactor = new Reactor();
    const server = new TalkFactory();
    const { number } = await listening(t, reactor, server);
    const d = connectProtocol(new TCP4ClientEndpoint(reactor, LOOPBACK, number), new Talk());
    const talk = await d;
    d.cancel();
    await turn();
    t.equal(talk.transport.connected, true);
    talk.transport.loseConnection();
    await talk.lost;
    await server.built[0]?.lost;
  });

  t.test(
    'fails where the factory builds no protocol, or cannot, and closes the connection',
    async (t) => {
      const reactor = new Reactor();
      const server = new TalkFactory();
      const { number } = await listening(t, reactor, server);
      const endpoint = new TCP4ClientEndpoint(reactor, LOOPBACK, number);
      const connect = (buildProtocol: () => IProtocol | null) =>
        endpoint.connect({ buildProtocol, doStart() {}, doStop() {} }).asPromise();
      await t.rejects(
        connect(() => null),
        {
          name: 'NoProtocol',
          message: `connected to 127.0.0.1:${number}, but the factory built no protocol`,
        },
      );
      await t.rejects(
        connect(() => {
          throw tooMany();
        }),
        RangeError,
      );
      class Broken extends Protocol {
        override connectionMade(): void {
          throw tooMany();
        }
      }
      await t.rejects(
        connect(() => new Broken()),
        RangeError,
      );
      while (server.built.length < 3) await turn();
      for (const { lost } of server.built) await lost;
    },
  );

  t.test('fails where the factory cannot be started', async (t) => {
    const { reactor } = still();
    class Broken extends TalkFactory {
      override startFactory(): void {
        throw tooMany();
      }
    }
    const d = new TCP4ClientEndpoint(reactor, LOOPBACK, 80).connect(new Broken());
    failureResultOf(d, RangeError);
    t.same(reactor.getDelayedCalls(), []);
  });
});

t.test('what a factory is wrapped in for an endpoint', async (t) => {
  /** Connects over a reactor that hands out the factory that it is given. */
  const wrapped = <P extends IProtocol>(factory: IProtocolFactory<P>) => {
    let inner: ClientFactory | undefined;
    const log: string[] = [];
    const connector = {
      getDestination: () => new HostnameAddress('tea.test', 80),
      disconnect: () => log.push('disconnect'),
    } as unknown as IConnector;
    const reactor = {
      connectTCP: (_host: string, _port: number, given: ClientFactory) => {
        inner = given;
        return connector;
      },
    } as unknown as IReactorTCP;
    const d = new TCP4ClientEndpoint(reactor, 'tea.test', 80).connect(factory);
    return { d, inner: inner!, connector, log };
  };
  const address: Address = new IPv4Address('TCP', LOOPBACK, 80);

  t.test('passes everything on to the protocol', async (t) => {
    const talk = new Talk();
    const { d, inner } = wrapped({ buildProtocol: () => talk, doStart() {}, doStop() {} });
    const outer = inner.buildProtocol(address) as IProtocol;
    t.equal(isHalfCloseableProtocol(outer), false);
    const transport = new StringTransport();
    outer.makeConnection(transport);
    t.equal(successResultOf(d), talk);
    t.equal(talk.transport, transport);
    outer.dataReceived(Buffer.from('tea'));
    t.equal(talk.received, 'tea');
    outer.connectionLost(new Failure(new ConnectionDone()));
    t.ok(successResultOf(talk.lost) instanceof ConnectionDone);
    const again = new Talk();
    const second = wrapped({ buildProtocol: () => again, doStart() {}, doStop() {} });
    (second.inner.buildProtocol(address) as IProtocol).connectionMade();
    t.equal(successResultOf(again.made), again);
  });

  t.test('is half-closeable if the protocol is', async (t) => {
    const seen: string[] = [];
    class Half extends Talk {
      readConnectionLost(): void {
        seen.push('read');
      }

      writeConnectionLost(): void {
        seen.push('write');
      }
    }
    const { inner } = wrapped({ buildProtocol: () => new Half(), doStart() {}, doStop() {} });
    const outer = inner.buildProtocol(address) as IProtocol;
    if (!isHalfCloseableProtocol(outer)) t.fail('it is not');
    else {
      outer.readConnectionLost();
      outer.writeConnectionLost();
    }
    t.same(seen, ['read', 'write']);
  });

  t.test('fires once, whatever is told after that', async (t) => {
    const factory = new TalkFactory();
    const { d, inner, connector } = wrapped(factory);
    const outer = inner.buildProtocol(address) as IProtocol;
    outer.makeConnection(new StringTransport());
    t.equal(successResultOf(d), factory.built[0]);
    inner.clientConnectionLost(connector, new Failure(new ConnectionDone()));
    inner.clientConnectionFailed(connector, new Failure(tooMany()));
    outer.makeConnection(new StringTransport());
    t.match(flushLoggedErrors(), []);
  });

  t.test('fails if the connection is lost before it was told that it is made', async (t) => {
    const { d, inner, connector } = wrapped(new TalkFactory());
    inner.clientConnectionLost(connector, new Failure(new ConnectionLost()));
    failureResultOf(d, ConnectionLost);
  });

  t.test('cancelled, does not fire for a connection that comes all the same', async (t) => {
    const factory = new TalkFactory();
    const { d, inner, log } = wrapped(factory);
    d.cancel();
    failureResultOf(d, ConnectingCancelledError);
    t.same(log, ['disconnect']);
    (inner.buildProtocol(address) as IProtocol).makeConnection(new StringTransport());
  });
});

// ── Protocols and factories ──────────────────────────────────────────────────────────────────────────────────────────

t.test('Protocol', async (t) => {
  const protocol = new Protocol();
  t.equal(protocol.connected, false);
  const transport: ITransport = new StringTransport();
  protocol.makeConnection(transport);
  t.equal(protocol.connected, true);
  t.equal(protocol.transport, transport);
  protocol.dataReceived(Buffer.from('ignored'));
  protocol.connectionLost(new Failure(new ConnectionDone()));
  t.equal(new Talk().logPrefix(), 'Talk');
});

t.test('Factory', async (t) => {
  t.test('builds the protocol that it was given, and is known to it', async (t) => {
    const factory = Factory.forProtocol(Talk);
    const protocol = factory.buildProtocol(new IPv4Address('TCP', LOOPBACK, 80));
    t.ok(protocol instanceof Talk);
    t.equal((protocol as Talk).factory, factory);
    class Own extends ClientFactory<Talk> {}
    t.ok(Own.forProtocol(Talk) instanceof Own);
  });

  t.test('without a protocol says so', async (t) => {
    class Empty extends ServerFactory {}
    t.throws(() => new Empty().buildProtocol(new UNIXAddress(null)), {
      name: 'TypeError',
      message: 'Empty has no protocol: set it, or override buildProtocol',
    });
  });

  t.test('is started with its first port, and stopped with its last', async (t) => {
    const seen: string[] = [];
    class Noting extends Factory {
      override startFactory(): void {
        seen.push('start');
      }

      override stopFactory(): void {
        seen.push('stop');
      }
    }
    const factory = new Noting();
    factory.doStart();
    factory.doStart();
    factory.doStop();
    t.same(seen, ['start']);
    t.equal(factory.numPorts, 1);
    factory.doStop();
    t.same(seen, ['start', 'stop']);
    factory.doStop();
    t.equal(factory.numPorts, 0);
    factory.noisy = false;
    factory.doStart();
    factory.doStop();
    t.same(seen, ['start', 'stop', 'start', 'stop']);
    const plain = new ClientFactory();
    plain.doStart();
    plain.startedConnecting(undefined as never);
    plain.clientConnectionFailed(undefined as never, new Failure(new ConnectError()));
    plain.clientConnectionLost(undefined as never, new Failure(new ConnectionDone()));
    plain.doStop();
    t.equal(plain.numPorts, 0);
  });
});

t.test('JSX-15: connections are made and closed where the intrinsics are frozen', async (t) => {
  const program = `
    import {
      ClientFactory, Deferred, Factory, inlineCallbacks, Protocol, Reactor, setDebugging,
    } from 'plait';
    setDebugging(true);
    const late = new Deferred();
    const brewing = inlineCallbacks(function* () {
      yield* late;
    })();
    late.errback(new RangeError('no water'));
    await brewing.asPromise().catch((error) => console.log(error.message));
    class Echo extends Protocol {
      dataReceived(data) {
        this.transport.write(data);
      }
    }
    const reactor = new Reactor();
    const port = reactor.listenTCP(0, Factory.forProtocol(Echo), { interface: '127.0.0.1' });
    await port.ready;
    class Asker extends Protocol {
      connectionMade() {
        this.transport.write('tea');
      }
      dataReceived(data) {
        console.log(data.toString());
        this.transport.loseConnection();
      }
      connectionLost({ value }) {
        console.log(value.name);
        void port.stopListening();
      }
    }
    const factory = new ClientFactory();
    factory.protocol = Asker;
    reactor.connectTCP('127.0.0.1', port.getHost().port, factory);`;
  // What has been built: the loaders of the tests do not survive it.
  const file = join(t.testdir({ 'program.mjs': program }), 'program.mjs');
  const frozen = spawnSync(process.execPath, ['--frozen-intrinsics', file], { encoding: 'utf8' });
  t.equal(frozen.stdout, 'no water\ntea\nConnectionDone\n', frozen.stderr);
  t.equal(frozen.status, 0, frozen.stderr);
});
