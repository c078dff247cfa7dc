/**
 * What cannot be started does not go unnoticed: ports that cannot be bound.
 */
import { createServer } from 'node:net';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  CannotListenError,
  DatagramProtocol,
  Deferred,
  DeferredList,
  Factory,
  fail,
  gatherResults,
  type HookResult,
  type IListeningPort,
  type IStreamServerEndpoint,
  inlineCallbacks,
  Reactor,
  reportUnhandledFailures,
  serverFromString,
  serviceFromString,
  StreamServerEndpointService,
  succeed,
  TCP4ServerEndpoint,
} from 'plait';
import { flushLoggedErrors, type SimReactor, Simulation } from 'plait/testing';
import { unhandledOf, watchUnhandled } from '../../lib/unhandled.ts';
import { run } from '../child.ts';
import t from '../fixture.ts';

t.test(
  'FND-10: a port that cannot be bound, and is not asked about, ends the program',
  async (t) => {
    const tcp = createServer().listen(0, '127.0.0.1');
    await once(tcp, 'listening');
    const udp = createSocket('udp4').bind(0, '127.0.0.1');
    await once(udp, 'listening');
    t.teardown(() => {
      tcp.close();
      udp.close();
    });
    const { port } = tcp.address() as { port: number };
    const datagrams = udp.address().port;
    const on = `{ interface: '127.0.0.1' }`;
    const listen = `reactor.listenTCP(${port}, new Factory(), ${on})`;
    const programs: Readonly<Record<string, string>> = {
      'without run': `${listen}; setInterval(() => {}, 1000);`,
      'listenUNIX in run': `reactor.run(); reactor.listenUNIX('/proc/none', new Factory());`,
      'listenUDP in run': `reactor.run(); reactor.listenUDP(${datagrams}, new DatagramProtocol(), ${on});`,
      'in react': `react(() => { ${listen}; return new Deferred(); });`,
      'a callback without an errback': `${listen}.ready.addCallback(() => {}); setInterval(() => {}, 1000);`,
      'a callback that is collected': `reactor.run(); ${listen}.ready.addCallback(() => {}); setInterval(gc, 50);`,
      // In the phase of the timers, before what is to be done in the turn of its own.
      'a callback that is collected at once': `reactor.run(); setInterval(() => {}, 1000); setImmediate(() => { ${listen}.ready.addCallback(() => {}); setTimeout(gc, 1); for (const end = Date.now() + 10; Date.now() < end; ); });`,
      'a service': `reactor.run(); serviceFromString(reactor, 'tcp:${port}:interface=127.0.0.1', new Factory()).startService();`,
      'a service of an endpoint': `reactor.run(); new StreamServerEndpointService(new TCP4ServerEndpoint(reactor, ${port}, ${on}), new Factory()).startService();`,
    };
    await Promise.all(
      Object.entries(programs).map(async ([name, program]) => {
        const { code, stderr } = await run(
          t,
          `
        import { Deferred, DatagramProtocol, Factory, react, reactor, serviceFromString, StreamServerEndpointService, TCP4ServerEndpoint } from 'plait';
        ${program}
        `,
        );
        t.equal(code, 1, name);
        t.match(stderr, /CannotListenError: .*(in use|EACCES|ENOENT|permission|no such)/i, name);
      }),
    );
    const taken = await run(
      t,
      `
    import { CannotListenError, Factory, reactor, serviceFromString } from 'plait';
    ${listen}.ready.addErrback((failure) => console.log(failure.trap(CannotListenError).code));
    const port = ${listen};
    const service = serviceFromString(reactor, 'tcp:${port}:interface=127.0.0.1', new Factory());
    service.whenListening().addErrback((failure) => console.log(failure.trap(CannotListenError).code));
    service.startService();
    await port.ready.asPromise().catch((error) => console.log(error.code));
    `,
    );
    t.same(taken, { code: 0, signal: null, stdout: 'EADDRINUSE\n'.repeat(3), stderr: '' });
  },
);

t.test('FND-10: in a simulation it fails the scenario', async (t) => {
  const sim = new Simulation();
  const { reactor } = sim.host('server');
  reactor.listenTCP(7, new Factory());
  const second = reactor.listenTCP(7, new Factory());
  await t.rejects(sim.settle(), CannotListenError);
  await t.rejects(second.ready.asPromise(), CannotListenError);
});

t.test(
  'FND-10: a failure of ready that no errback takes fails it too, a second later',
  async (t) => {
    const listen = (reactor: SimReactor) => reactor.listenTCP(7, new Factory());
    const ways: Readonly<Record<string, (reactor: SimReactor) => unknown>> = {
      'a callback': (reactor) => listen(reactor).ready.addCallback(() => {}),
      'a look': (reactor) => listen(reactor).ready,
      'a UDP port': (reactor) => {
        reactor.listenUDP(8, new DatagramProtocol()).ready.addCallback(() => {});
      },
      'several gathered': (reactor) =>
        gatherResults([listen(reactor).ready, listen(reactor).ready]).addCallback(() => {}),
      'a coroutine': inlineCallbacks(function* (reactor: SimReactor) {
        yield* listen(reactor).ready;
      }),
      'an endpoint': (reactor) =>
        new TCP4ServerEndpoint(reactor, 7).listen(new Factory()).addCallback(() => {}),
    };
    for (const [name, way] of Object.entries(ways)) {
      const sim = new Simulation();
      const { reactor } = sim.host('server');
      listen(reactor);
      reactor.listenUDP(8, new DatagramProtocol());
      await sim.settle();
      way(reactor);
      await t.rejects(sim.settle(), CannotListenError, name);
      // Those that a list leaves where they were.
      reportUnhandledFailures();
      flushLoggedErrors();
    }
  },
);

t.test('FND-10: a failure of ready that is taken within a second ends nothing', async (t) => {
  const sim = new Simulation();
  const { reactor } = sim.host('server');
  const listen = () => reactor.listenTCP(7, new Factory());
  listen();
  await sim.settle();
  const late = listen().ready.addCallback(() => {});
  const codes: unknown[] = [];
  reactor.callLater(0.9, () => {
    late.addErrback((failure) => codes.push(failure.trap(CannotListenError).code));
  });
  // What a list has told of is not unhandled, though it stays where it was.
  const kept = [listen().ready, listen().ready, listen().ready];
  new DeferredList([kept[0] as Deferred<unknown>]).addCallback(([[success]]) =>
    codes.push(success),
  );
  gatherResults(kept.slice(1)).addErrback(() => codes.push('first'));
  await sim.settle();
  t.same(codes, [false, 'first', 'EADDRINUSE']);
  for (const each of kept) each.addErrback(() => {});

  listen().ready.addErrback(() => codes.push('taken'));
  sim.advance(0.5);
  t.equal(codes.at(-1), 'taken');
  t.same(reactor.getDelayedCalls(), [], 'nothing is waited for');
});

t.test('FND-10: what a port could not be started for is not only logged', async (t) => {
  const threw = (): never => {
    throw new RangeError('no key');
  };
  const starts: Readonly<Record<string, () => HookResult>> = {
    plain: threw,
    async: async () => {
      await Promise.resolve();
      threw();
    },
    *generator() {
      yield succeed();
      threw();
    },
  };
  for (const [kind, start] of Object.entries(starts)) {
    const factory = new Factory();
    factory.startFactory = start;
    const protocol = new DatagramProtocol();
    protocol.startProtocol = start;
    const ports: Readonly<Record<string, (reactor: SimReactor) => IListeningPort>> = {
      TCP: (reactor) => reactor.listenTCP(7, factory),
      UNIX: (reactor) => reactor.listenUNIX('/socket', factory),
      UDP: (reactor) => reactor.listenUDP(7, protocol),
    };
    for (const [name, listen] of Object.entries(ports)) {
      const sim = new Simulation();
      const { reactor } = sim.host('server');
      const port = listen(reactor);
      await t.rejects(sim.settle(), RangeError, `${name}, ${kind}`);
      t.equal(flushLoggedErrors(RangeError).length, 1, `${name}, ${kind}`);

      // Whoever has looked at it is told, or deals with the port.
      port.startListening();
      const { ready } = port;
      const told = ready.addCallbacks(
        () => 'listening',
        () => 'failed',
      );
      await sim.settle();
      t.equal(await told, kind === 'async' ? 'listening' : 'failed', `${name}, ${kind}`);
      t.equal(flushLoggedErrors(RangeError).length, 1);
      await port.stopListening();
    }
  }
});

t.test(
  'FND-10: what startFactory fails with behind an endpoint or a service ends the program',
  async (t) => {
    const threw = (): never => {
      throw new RangeError('no key');
    };
    const late: Readonly<Record<string, () => HookResult>> = {
      async: async () => {
        await Promise.resolve();
        threw();
      },
      *generator() {
        yield new Promise((resolve) => setImmediate(resolve));
        threw();
      },
      promise: () => Promise.reject(new RangeError('no key')),
    };
    const service = (listen: IStreamServerEndpoint, factory: Factory) => {
      const made = new StreamServerEndpointService(listen, factory);
      made.startService();
      return made;
    };
    const tcp = (reactor: SimReactor) => new TCP4ServerEndpoint(reactor, 7);
    const ways: Readonly<Record<string, (reactor: SimReactor, factory: Factory) => unknown>> = {
      endpoint: (reactor, factory) => tcp(reactor).listen(factory),
      string: (reactor, factory) => serverFromString(reactor, 'unix:/socket').listen(factory),
      service: (reactor, factory) => service(tcp(reactor), factory),
      'service of a string': (reactor, factory) => {
        serviceFromString(reactor, 'tcp:7', factory).startService();
      },
    };
    for (const [way, listen] of Object.entries(ways)) {
      for (const [kind, start] of Object.entries(late)) {
        const sim = new Simulation();
        const factory = Object.assign(new Factory(), { startFactory: start });
        listen(sim.host('server').reactor, factory);
        await t.rejects(sim.settle(), RangeError, `${way}, ${kind}`);
        t.ok(flushLoggedErrors(RangeError).length > 0, `${way}, ${kind}`);
      }
    }
    for (const [kind, start] of Object.entries(late)) {
      const sim = new Simulation();
      const factory = Object.assign(new Factory(), { startFactory: start });
      const { reactor } = sim.host('server');
      const asked = service(tcp(reactor), factory);
      const before = asked.whenListening();
      await sim.settle();
      await before;
      t.equal(flushLoggedErrors(RangeError).length, 1, `who has asked is told: ${kind}`);
      await asked.stopService();
    }
  },
);

t.test('FND-10: a startFactory that throws behind a service ends the program', async (t) => {
  const { code, stderr } = await run(
    t,
    `
    import { Factory, reactor, StreamServerEndpointService, TCP4ServerEndpoint } from 'plait';
    const factory = Object.assign(new Factory(), {
      startFactory() {
        throw new RangeError('no key');
      },
    });
    const endpoint = new TCP4ServerEndpoint(reactor, 0, { interface: '127.0.0.1' });
    new StreamServerEndpointService(endpoint, factory).startService();
    reactor.run();
    `,
  );
  t.equal(code, 1);
  t.match(stderr, 'RangeError: no key');
});

t.test('FND-10: what a service fails with may be asked for in the same turn', async (t) => {
  const error = new CannotListenError('port 7', 7, new Error('in use'));
  const endpoint: IStreamServerEndpoint = { listen: () => fail(error) };
  const service = new StreamServerEndpointService(endpoint, new Factory());
  service.startService();
  await t.rejects(service.whenListening().asPromise(), CannotListenError);
  await service.stopService();
  t.equal(flushLoggedErrors(CannotListenError).length, 1);
  service.startService();
  await service.stopService();
  t.equal(flushLoggedErrors(CannotListenError).length, 1, 'nor where it was stopped again');
});

t.test(
  'FND-23: a call from a thread that asks for another lets delayed calls go first',
  async (t) => {
    const reactor = new Reactor();
    const seen: string[] = [];
    const done = new Deferred<void>();
    reactor.callFromThread(() => {
      reactor.callFromThread(() => {
        seen.push('from a thread');
        done.callback();
      });
      reactor.callLater(0, () => seen.push('delayed'));
    });
    await done;
    t.same(seen, ['delayed', 'from a thread']);
  },
);

t.test('FND-1A: threads work again when there are descriptors again', async (t) => {
  const { code, stdout, stderr } = await run(
    t,
    `
    import { spawnSync } from 'node:child_process';
    import { closeSync, openSync, writeFileSync } from 'node:fs';
    import { deferToThread, reactor } from 'plait';

    if (process.env.LIMITED === undefined) {
      // Without the test runner's loaders, which remember failures of their own.
      const flags = process.execArgv.filter((flag) => /typescript|^--conditions/.test(flag));
      const again = [process.execPath, ...flags, process.argv[1]];
      const { status } = spawnSync('sh', ['-c', 'ulimit -n 60; exec "$@"', 'sh', ...again], {
        env: { ...process.env, LIMITED: '1' },
        stdio: 'inherit',
      });
      process.exit(status);
    }
    const module = new URL('./work.mjs', import.meta.url).href;
    writeFileSync(new URL(module), 'export const double = (n) => 2 * n;');
    let open = [];
    const exhaust = () => {
      try {
        for (;;) open.push(openSync('/dev/null'));
      } catch {}
    };
    const free = () => {
      for (const fd of open.splice(0)) closeSync(fd);
    };
    const attempt = (task, ...args) =>
      deferToThread(task, ...args).asPromise().then(console.log, (error) => { console.log('failed'); console.error(error.message); });
    const task = { module, export: 'double' };
    exhaust();
    await attempt((n) => n + 1, 6);
    await attempt((n) => n + 1, 6);
    free();
    await attempt((n) => n + 1, 6);
    exhaust();
    await attempt(task, 4);
    free();
    await attempt(task, 4);
    await reactor.getThreadPool().stop();
    `,
  );
  t.equal(code, 0, stderr);
  t.same(stdout.split('\n'), ['failed', 'failed', '7', 'failed', '8', ''], stderr);
});

t.test('an unhandled failure is known by what it comes of, as far as that can be told', (t) => {
  const refused = new Error('refused');
  let ended = 0;
  const forget = watchUnhandled(refused, () => ended++);
  const circle = new Error('round and round');
  circle.cause = circle;
  const secret = Object.defineProperty(new Error('secret'), 'cause', {
    get() {
      throw new Error('not to be looked at');
    },
  });
  const others = [new Error('another', { cause: 'refused' }), circle, secret];
  for (const error of others) {
    const kept = fail(error);
    t.same(unhandledOf(refused), []);
    kept.addErrback(() => {});
  }
  const kept = fail(new Error('outer', { cause: new Error('inner', { cause: refused }) }));
  t.equal(unhandledOf(refused).length, 1);
  t.equal(ended, 0);
  kept.addErrback(() => {});
  forget();
  t.end();
});

t.test(
  'FND-10: a service of a string ends the program, whatever keeps it from listening, and again when it is started again',
  async (t) => {
    const begin = `
      import { Factory, fail, reactor, registerServerEndpointParser, serviceFromString, succeed } from 'plait';
      // It ends in any case, and soon.
      setImmediate(() => setImmediate(() => process.exit(7)));
      reactor.run({ installSignalHandlers: false });
      const outcomes = [];
      const endpoint = { listen: () => outcomes.shift() };
      registerServerEndpointParser({ prefix: 'tea', parseStreamServer: () => endpoint });
      const service = serviceFromString(reactor, "tea", new Factory());
      const bad = () => fail(new RangeError('there is no such tea'));`;
    const [first, second] = await Promise.all([
      run(t, `${begin} outcomes.push(bad()); service.startService();`),
      run(
        t,
        `${begin}
        outcomes.push(succeed({ stopListening() {} }), bad());
        service.whenListening().addCallback(() => console.log('it listens'));
        service.startService();
        service.stopService().addCallback(() => service.startService());`,
      ),
    ]);
    for (const { code, stderr } of [first, second]) {
      t.equal(code, 1);
      t.match(stderr, /RangeError: there is no such tea/);
    }
    t.equal(second.stdout, 'it listens\n');
  },
);
