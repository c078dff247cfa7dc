/**
 * The simulated network itself: what it does to those who use it, that a run follows from its seed, and how `simulate`
 * finds, shrinks and tells of a failure. That its wires are wires is the contract's to show.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import {
  ClientFactory,
  DatagramProtocol,
  Deferred,
  Factory,
  type Failure,
  type IDelayedCall,
  inlineCallbacks,
  Logger,
  Protocol,
  Reactor,
} from 'plait';
import { Echo } from 'plait/protocols/echo';
import { forgetSessions } from '../../../lib/io/tls-context.ts';
import type { ConnectTarget, Wire, WireEvents } from '../../../lib/io/io.ts';
import {
  type ConditionsLike,
  LEVELS,
  Random,
  type SimHost,
  simulate,
  type SimulateOptions,
  Simulation,
  SimulationFailed,
  Trace,
} from '../../../lib/testing/sim/index.ts';
import { run as runProgram } from '../../child.ts';
import { CLIENT, SERVER } from '../../contract/tls-kind.ts';
import t, { type Test } from '../../fixture.ts';

// A seed from outside is for other tests.
delete process.env['PLAIT_SEED'];

// ── What the tests are made of ───────────────────────────────────────────────────────────────────────────────────────

/** An end of a connection that notes what it is told. */
class End implements WireEvents {
  wire: Wire | undefined;
  readonly chunks: Buffer[] = [];
  readonly events: string[] = [];

  begin(wire: Wire, paused = false): void {
    this.wire = wire;
    if (paused) wire.pause();
    wire.start(this);
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }

  get sizes(): number[] {
    return this.chunks.map(({ length }) => length);
  }

  wireData(data: Buffer): void {
    this.chunks.push(data);
  }

  wireEnd(): void {
    this.events.push('end');
  }

  wireDrained(): void {
    this.events.push('drained');
  }

  wireClosed(error?: NodeJS.ErrnoException): void {
    this.events.push(`closed ${error?.code ?? ''}`.trim());
  }

  say(text: string): void {
    this.wire?.write(Buffer.from(text));
  }
}

/** What comes of an attempt to connect. */
function dial(
  from: SimHost,
  target: ConnectTarget,
  end: End = new End(),
): { end: End; outcome: string } {
  const result = { end, outcome: '' };
  from.io.connect(target, {
    connected: (wire) => {
      result.outcome = 'connected';
      end.begin(wire);
    },
    failed: (error: NodeJS.ErrnoException) => (result.outcome = error.code ?? error.message),
  });
  return result;
}

/** What comes of listening. */
function answer(on: SimHost, host: string, port: number, paused = false) {
  const result = { ends: [] as End[], outcome: '', address: '', starved: 0, close: () => {} };
  const listener = on.io.listen(
    { host, port, backlog: 5 },
    {
      listening: (address) => {
        result.outcome = 'listening';
        result.address = String(address);
      },
      failed: (error: NodeJS.ErrnoException) => (result.outcome = error.code ?? error.message),
      accepted: (wire) => {
        const end = new End();
        result.ends.push(end);
        end.begin(wire, paused);
      },
      starved: () => result.starved++,
      closed: () => (result.outcome = 'closed'),
    },
  );
  result.close = () => {
    listener.close();
  };
  return result;
}

/** Two machines with a connection between them, whose ends are noted. */
function connected(conditions: ConditionsLike = 'ideal', seed = 1, paused = false) {
  const sim = new Simulation({ seed, conditions });
  const [a, b] = [sim.host('a'), sim.host('b')];
  const port = answer(b, '0.0.0.0', 7, paused);
  sim.run(() => port.outcome !== '');
  const { end: client } = dial(a, { host: b.addresses[0], port: 7 });
  sim.run(() => port.ends.length > 0 && client.wire !== undefined);
  return { sim, a, b, port, client, server: port.ends[0]! };
}

/** Ideal, but for one fault that always strikes. */
const always = (kind: string): ConditionsLike => ({ level: 'ideal', faults: { [kind]: 1 } });

/** A program: a client says something to an echo, over whatever the network does. */
function echoes(sim: Simulation, count = 5, tls = false): Deferred<string> {
  const server = sim.host('server').reactor;
  const client = sim.host('client').reactor;
  const port = tls
    ? server.listenSSL(7, Factory.forProtocol(Echo), SERVER)
    : server.listenTCP(7, Factory.forProtocol(Echo));
  const done = new Deferred<string>();
  let got = '';
  let giveUp: IDelayedCall | undefined;
  class Talker extends Protocol {
    override connectionMade(): void {
      for (let i = 0; i < count; i++) this.transport.write(`hello ${i}, `);
      // A machine that has gone without a word is never heard of: whoever only waits waits for ever.
      giveUp = client.callLater(300, () => this.transport.abortConnection());
    }
    override dataReceived(data: Buffer): void {
      got += data.toString();
      if (got.split(', ').length > count) this.transport.loseConnection();
    }
    override connectionLost(reason: Failure): void {
      if (giveUp?.active()) giveUp.cancel();
      done.callback(`${got} ${reason.value.name}`);
    }
  }
  class Caller extends ClientFactory {
    override buildProtocol(): Protocol {
      return new Talker();
    }
    override clientConnectionFailed(_connector: unknown, reason: Failure): void {
      done.callback(reason.value.name);
    }
  }
  const caller = new Caller();
  client.callLater(1, () =>
    tls ? client.connectSSL('server', 7, caller, CLIENT) : client.connectTCP('server', 7, caller),
  );
  return done.addBoth((result) => {
    void port.stopListening({ connections: 'abort' });
    return result as string;
  });
}

function traceOf(seed: number | string, conditions: ConditionsLike): string {
  const sim = new Simulation({ seed, conditions });
  echoes(sim);
  sim.run(() => false, 4000);
  return sim.trace.toString();
}

async function tlsTraceOf(seed: number, conditions: ConditionsLike): Promise<string> {
  forgetSessions();
  const sim = new Simulation({ seed, conditions });
  echoes(sim, 5, true);
  await sim.settle(() => false, 4000);
  return sim.trace.toString();
}

const digest = (text: string): string =>
  createHash('sha256').update(text).digest('hex').slice(0, 16);

/** The failure that `simulate` ends with. */
async function failing(
  t: Test,
  options: SimulateOptions,
  program: (sim: Simulation) => unknown,
): Promise<SimulationFailed> {
  const error: unknown = await simulate(options, program).catch((reason: unknown) => reason);
  t.type(error, SimulationFailed);
  return error as SimulationFailed;
}

// ── A run follows from its seed ──────────────────────────────────────────────────────────────────────────────────────

t.test('the same seed gives the same trace, another one another', async (t) => {
  for (const level of ['ideal', 'calm', 'rough', 'hostile'] as const) {
    for (let seed = 0; seed < 25; seed++) t.equal(traceOf(seed, level), traceOf(seed, level));
  }
  t.not(traceOf(1, 'calm'), traceOf(2, 'calm'));
  t.equal(traceOf(17, 'calm'), traceOf('17', 'calm'), 'a seed may be text');
});

t.test('on every machine, and with every version of Node, it is this one', async (t) => {
  const all = Array.from({ length: 50 }, (_, seed) => traceOf(seed, 'hostile')).join('\n');
  t.equal(digest(all), '936494375279794c');
});

t.test('with TLS too, though no ciphertext is ever the same', async (t) => {
  for (const level of ['calm', 'hostile'] as const) {
    for (let seed = 0; seed < 15; seed++)
      t.equal(await tlsTraceOf(seed, level), await tlsTraceOf(seed, level));
  }
  const trace = await tlsTraceOf(3, 'calm');
  t.match(
    trace,
    /client {2} {2}write {6}client>server#1 {2}\d+ B "hello 0, /,
    'plain text is shown',
  );
  t.match(trace, /server {4}read /);
  t.match(trace, /send TLS {3}client>server#1$/m, 'and of ciphertext only that there was some');
});

t.test('in another process it is the same, with TLS too', async (t) => {
  const file = (name: string) =>
    JSON.stringify(join(import.meta.dirname, '../../fixtures/tls', name));
  const { code, stdout, stderr } = await runProgram(
    t,
    `import { readFileSync } from 'node:fs';
     import { ClientFactory, Deferred, Factory, Protocol } from 'plait';
     import { Simulation } from 'plait/testing';
     import { Echo } from 'plait/protocols/echo';
     const SERVER = { tlsSettings: () => ({
       context: { key: readFileSync(${file('server.key')}), cert: readFileSync(${file('server.pem')}) } }) };
     const CLIENT = { tlsSettings: () => ({
       context: { ca: [readFileSync(${file('ca.pem')})] },
       serverName: 'localhost', checkPeer: ({ problem }) => problem }) };
     const echoes = ${echoes.toString()};
     const sim = new Simulation({ seed: 5, conditions: 'calm' });
     echoes(sim, 5, true);
     await sim.settle(() => false, 4000);
     console.log(sim.trace.toString());`,
  );
  t.equal(code, 0, stderr);
  t.equal(stdout, `${await tlsTraceOf(5, 'calm')}\n`);
});

t.test('whether there is a trace changes nothing', async (t) => {
  const run = (trace: number) => {
    const sim = new Simulation({ seed: 8, conditions: 'hostile', trace });
    echoes(sim);
    sim.run(() => false, 4000);
    return [sim.events, sim.seconds(), sim.faults, sim.trace.events.length > 0];
  };
  const [events, seconds, faults] = run(10_000);
  t.same(run(0), [events, seconds, faults, false]);
});

t.test('chance is drawn from streams, which do not depend on one another', async (t) => {
  const [one, other] = [new Random('42'), new Random(42)];
  t.equal(one.next(), other.next());
  const before = one.stream('weather').next();
  one.next();
  t.equal(one.stream('weather').next(), before);
  t.not(one.stream('other').next(), before);
  t.equal(new Random(1).int(1000), 482, 'these are the numbers on every machine');
  const sizes = Array.from({ length: 2000 }, () => one.size(100));
  t.same([Math.min(...sizes), Math.max(...sizes)], [1, 100]);
  t.same(new Set(Array.from({ length: 50 }, () => one.size(1))), new Set([1]));
  const scales = Array.from({ length: 2000 }, () => one.scale(0.5, 4));
  t.ok(scales.every((scale) => scale >= 0.5 && scale < 8));
  t.ok(scales.some((scale) => scale < 1) && scales.some((scale) => scale > 4));
  const near = Array.from({ length: 100 }, () => one.between(3, 4));
  t.ok(near.every((number) => number >= 3 && number < 4));
  t.equal(one.chance(0), false);
});

t.test('a trace is a timeline, of as many events as are asked for', async (t) => {
  const trace = new Trace(3);
  t.equal(trace.wanted, true);
  const data = Buffer.from('\0hé');
  trace.add(0, 'a', 'send', 'a>b#1', data);
  data.fill(0);
  t.equal(trace.toString(), '    0.000000  a         send       a>b#1  4 B "\\u0000h\\xc3\\xa9"');
  for (let i = 1; i <= 8; i++) trace.add(i, '', 'heal', 'a-b');
  t.equal(trace.events.length, 3);
  t.equal(trace.omitted, 6);
  t.match(trace.toString(), /^… 6 earlier events are left out\n {4}6\.000000 {12}heal {7}a-b\n/);
  trace.add(9, 'a', 'send', 'x', Buffer.alloc(50, 'x'));
  const long = trace.toString();
  t.match(long, /50 B "x{40}"… [0-9a-f]{8}$/);
  trace.add(9, 'a', 'send', 'x', Buffer.concat([Buffer.alloc(49, 'x'), Buffer.from('y')]));
  t.not(trace.toString().split('\n').at(-1), long.split('\n').at(-1), 'also by what is not shown');
  const none = new Trace(0);
  none.add(0, '', 'x', 'y');
  t.same([none.wanted, none.events, none.toString()], [false, [], '']);
});

// ── What the network does ────────────────────────────────────────────────────────────────────────────────────────────

t.test('bytes take the time that the link has', async (t) => {
  const { sim, client, server } = connected({
    level: 'ideal',
    latency: [0.25, 0.25],
    bandwidth: 1000,
  });
  const began = sim.seconds();
  client.say('x'.repeat(500));
  sim.run(() => server.text.length === 500);
  t.ok(Math.abs(sim.seconds() - began - 0.75) < 1e-9);
  sim.conditions = 'ideal';
  t.equal(sim.conditions.bandwidth, Infinity, 'from now on');
});

t.test('what is written is cut, down to single bytes, and joined', async (t) => {
  const text = 'abcdefghij'.repeat(10);
  const sizes = (conditions: ConditionsLike) => {
    const all = [];
    for (let seed = 0; seed < 20; seed++) {
      const { sim, client, server } = connected(conditions, seed);
      client.say(text.slice(0, 50));
      client.say(text.slice(50));
      sim.run();
      t.equal(server.text, text);
      all.push(server.sizes);
    }
    return all;
  };
  t.same(sizes('ideal')[0], [100]);
  const drips = sizes({ level: 'calm', drips: 1 });
  t.ok(drips.every(([first]) => first === 1 || first === 2));
  t.ok(drips.some((all) => all.length > 50));
  const cut = sizes({ level: 'calm', cuts: 1, drips: 0 });
  t.ok(new Set(cut.map((all) => all.join())).size > 10);
});

t.test('a reader that is slow holds up the writer, by a window', async (t) => {
  const { sim, client, server } = connected({ level: 'ideal', window: 1000 }, 1, true);
  client.say('x'.repeat(5000));
  sim.run();
  t.equal(client.wire?.bufferedBytes, 4000);
  t.same(client.events, []);
  server.wire?.resume();
  sim.run();
  t.equal(server.text.length, 5000);
  t.same(client.events, ['drained']);
});

t.test('many small writes are sent in time that grows as they do', async (t) => {
  const { sim, client, server } = connected({ level: 'ideal', window: 10_000 });
  for (let i = 0; i < 200_000; i++) client.say('x');
  sim.run();
  t.equal(server.text.length, 200_000);
});

t.test('a fault strikes as it is meant to', async (t) => {
  t.test('refused', async (t) => {
    const sim = new Simulation({ conditions: always('refuse') });
    answer(sim.host('b'), '::', 7);
    sim.run();
    const tcp = dial(sim.host('a'), { host: sim.host('b').addresses[1], port: 7 });
    sim.run();
    t.equal(tcp.outcome, 'ECONNREFUSED');
    t.same(sim.faults, ['refuse a>b#1']);
  });

  t.test('a black hole', async (t) => {
    const sim = new Simulation({ conditions: always('blackhole') });
    const { addresses } = sim.host('b');
    const result = dial(sim.host('a'), { host: addresses[0], port: 7 });
    sim.run();
    t.same([result.outcome, sim.seconds()], ['ETIMEDOUT', 127]);
  });

  t.test('a reset, after some bytes', async (t) => {
    const { sim, client, server } = connected(always('reset'));
    for (let i = 0; i < 200; i++) for (const end of [client, server]) end.say('x'.repeat(1000));
    sim.run();
    t.equal(client.events.at(-1), 'closed ECONNRESET');
    t.equal(server.events.at(-1), 'closed ECONNRESET');
    t.match(sim.trace.toString(), / ! reset {4}a>b#1/);
  });

  t.test('one direction ends though nobody has ended it', async (t) => {
    const { sim, client, server } = connected(always('truncate'));
    for (let i = 0; i < 200; i++) for (const end of [client, server]) end.say('x'.repeat(1000));
    sim.run();
    const [cut] = [client, server].filter(({ events }) => events.includes('end'));
    t.ok(cut, 'one of them has read the end');
    t.match(sim.faults, ['truncate a>b#1']);
    for (const end of [client, server]) end.say('more');
    sim.run();
    t.match(
      [client, server].map(({ events }) => events.at(-1)),
      ['closed ECONNRESET', 'closed ECONNRESET'],
    );
  });

  t.test('a stall ends, and nothing is lost', async (t) => {
    const { sim, client, server } = connected(always('stall'));
    for (const end of [client, server]) end.say('x'.repeat(140_000));
    sim.run();
    t.same([client.text.length, server.text.length], [140_000, 140_000]);
    t.ok(sim.seconds() > 0.1);
  });

  t.test('silence: the sender hears of it in the end, the receiver never', async (t) => {
    const { sim, client, server } = connected(always('silence'));
    client.say('x'.repeat(140_000));
    server.say('x'.repeat(140_000));
    sim.run(() => client.events.length + server.events.length > 0, 4000);
    sim.run();
    t.ok([client, server].every(({ events }) => events.at(-1) === 'closed ETIMEDOUT'));

    const half = connected('ideal');
    half.sim.partition('a', 'b');
    half.client.say('lost');
    half.sim.run();
    t.same(half.client.events, ['drained', 'closed ETIMEDOUT']);
    t.same([half.server.events, half.server.text], [[], '']);
    half.sim.heal('a', 'b');
    half.sim.run();
    t.equal(half.server.text, '', 'what was given up is not sent later');
    t.match(half.sim.leftovers(), [
      /^b: a port at 0\.0\.0\.0:7$/,
      /^b: a connection with 10\.0\.0\.1.*, a>b#1$/,
    ]);
    half.server.say('anybody?');
    half.sim.run();
    t.same(
      half.server.events,
      ['drained', 'closed ECONNRESET'],
      'whoever asks hears that it is gone',
    );
  });

  t.test('a link is down for a while when somebody connects over it', async (t) => {
    const sim = new Simulation({ seed: 3, conditions: always('partition') });
    answer(sim.host('b'), '0.0.0.0', 7);
    sim.run();
    const result = dial(sim.host('a'), { host: sim.host('b').addresses[0], port: 7 });
    sim.run(() => result.outcome !== '');
    t.match(result.outcome, /^(connected|ETIMEDOUT)$/);
    t.match(sim.trace.toString(), /partition {2}a-b[^]*heal {7}a-b/);
  });

  t.test('no descriptor is left for what comes in', async (t) => {
    const sim = new Simulation({ conditions: always('exhaust') });
    const port = answer(sim.host('b'), '0.0.0.0', 7);
    sim.run();
    const { end } = dial(sim.host('a'), { host: sim.host('b').addresses[0], port: 7 });
    sim.run();
    t.same([end.events, port.starved, port.ends.length], [['end'], 1, 0]);
  });

  t.test('a name cannot be looked up', async (t) => {
    const sim = new Simulation({ conditions: always('lookup') });
    const codes: string[] = [];
    sim
      .host('a')
      .io.resolve('b', (error) => codes.push((error as NodeJS.ErrnoException).code ?? ''));
    sim.run();
    t.same(codes, ['EAI_AGAIN']);
  });
});

t.test('a partition stops what is on its way, and data goes on when it heals', async (t) => {
  const { sim, client, server } = connected();
  client.say('one');
  sim.partition('a', 'b');
  sim.partition('b', 'a');
  server.say('two');
  sim.advance(60);
  t.same([client.text, server.text], ['', '']);
  sim.heal('a', 'b');
  sim.heal('a', 'b');
  sim.run();
  t.same([client.text, server.text], ['two', 'one']);
  t.same([client.events, server.events], [['drained'], ['drained']]);
});

t.test(
  'an attempt over a link that is down is repeated, and given up after about two minutes',
  async (t) => {
    const sim = new Simulation({ conditions: 'ideal' });
    answer(sim.host('b'), '0.0.0.0', 7);
    sim.run();
    sim.partition('a', 'b');
    const to = { host: sim.host('b').addresses[0], port: 7 };
    const patient = dial(sim.host('a'), to);
    sim.advance(10);
    sim.heal('a', 'b');
    sim.advance(6);
    t.equal(patient.outcome, 'connected');
    sim.partition('a', 'b');
    const lost = dial(sim.host('a'), to);
    sim.advance(120);
    t.equal(lost.outcome, '');
    sim.run();
    t.equal(lost.outcome, 'ETIMEDOUT');
  },
);

t.test('bytes for somebody who is gone are answered with a reset', async (t) => {
  const { sim, client, server } = connected();
  server.wire?.destroy();
  client.say('anybody?');
  sim.run();
  t.same(client.events, ['drained', 'end', 'closed ECONNRESET']);
  t.same(server.events, ['closed']);
});

t.test('a close and a reset are what the kernel makes of them', async (t) => {
  const { sim, client, server } = connected('ideal', 1, true);
  client.say('unread');
  sim.advance(0.1);
  client.wire?.reset();
  sim.advance(0.1);
  server.say('too late');
  sim.run();
  t.same(server.events, ['closed EPIPE'], 'a reader that is paused learns of a reset by writing');

  const talking = connected();
  talking.server.wire?.close();
  talking.client.say('in vain');
  talking.sim.run();
  t.same(talking.client.events.slice(0, 2), ['drained', 'end']);
  t.equal(talking.server.events.at(-1), 'closed', 'after a while, if the other side says nothing');

  const busy = connected({ level: 'ideal', window: 1000 });
  busy.client.wire?.pause();
  busy.server.say('x'.repeat(5000));
  busy.server.wire?.close();
  busy.sim.advance(1);
  busy.client.say('in vain');
  busy.sim.advance(1);
  busy.client.wire?.resume();
  busy.sim.run();
  t.equal(busy.client.text.length, 5000, 'what it was sent is not lost by talking in vain');
  t.same(
    [busy.client.events, busy.server.events],
    [
      ['drained', 'end'],
      ['drained', 'closed'],
    ],
  );

  const path = new Simulation({ conditions: 'ideal' });
  const taken = new End();
  const host = path.host('a');
  host.io.listen(
    { path: '/s', mode: 0o600, backlog: 1 },
    { listening() {}, failed() {}, closed() {}, accepted: (wire) => taken.begin(wire) },
  );
  path.run();
  const { end } = dial(host, { path: '/s' });
  path.run();
  end.wire?.reset();
  path.run();
  t.same(taken.events, ['end'], 'UNIX sockets know no reset');
});

t.test('a reset that comes before anybody reads leaves what came before it', async (t) => {
  const sim = new Simulation({ conditions: 'ideal' });
  const wires: Wire[] = [];
  sim
    .host('b')
    .io.listen(
      { host: '0.0.0.0', port: 7, backlog: 1 },
      { listening() {}, failed() {}, closed() {}, accepted: (wire) => wires.push(wire) },
    );
  sim.run();
  const { end } = dial(sim.host('a'), { host: sim.host('b').addresses[0], port: 7 });
  sim.run(() => wires.length > 0);
  end.say('words');
  sim.advance(0.1);
  end.wire?.reset();
  sim.advance(0.1);
  const late = new End();
  late.begin(wires[0]!);
  sim.run();
  t.same([late.text, late.events], ['words', ['closed ECONNRESET']]);
});

// ── Machines ─────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('an address is bound once', async (t) => {
  const sim = new Simulation({ conditions: 'ideal' });
  const host = sim.host('a');
  const [mine, mine6] = host.addresses;
  const outcomes = (addresses: readonly string[]) => {
    const ports = addresses.map((address) => {
      const port = answer(host, address, 7);
      sim.run();
      return port;
    });
    const all = ports.map(({ outcome }) => outcome);
    for (const { close } of ports) close();
    sim.run();
    return all;
  };
  t.same(outcomes([mine, mine]), ['listening', 'EADDRINUSE']);
  t.same(outcomes(['0.0.0.0', mine]), ['listening', 'EADDRINUSE']);
  t.same(outcomes([mine, '0.0.0.0']), ['listening', 'EADDRINUSE']);
  t.same(outcomes(['::', '0.0.0.0']), ['listening', 'EADDRINUSE']);
  t.same(outcomes(['0.0.0.0', mine6]), ['listening', 'listening']);
  t.same(outcomes([mine, '127.0.0.1']), ['listening', 'listening']);
  t.same(outcomes(['192.0.2.1']), ['EADDRNOTAVAIL']);
  t.equal(host.descriptors, 0);
  const chosen = answer(host, mine, 0);
  sim.run();
  t.equal(chosen.address, `${mine}:32768`);
});

t.test('clients meet the listener that has their address, by loopback too', async (t) => {
  const sim = new Simulation({ conditions: 'ideal' });
  const [a, b] = [sim.host('a'), sim.host('b')];
  answer(a, '127.0.0.1', 7);
  answer(a, '::', 8);
  sim.run();
  const outcome = (from: SimHost, target: ConnectTarget) => {
    const result = dial(from, target);
    sim.run();
    return result.outcome;
  };
  t.equal(outcome(a, { host: '127.0.0.1', port: 7 }), 'connected');
  t.equal(outcome(b, { host: '127.0.0.1', port: 7 }), 'ECONNREFUSED');
  t.equal(outcome(b, { host: a.addresses[0], port: 7 }), 'ECONNREFUSED');
  t.equal(outcome(b, { host: a.addresses[0], port: 8 }), 'connected', 'IPv4 too');
  t.equal(outcome(b, { host: a.addresses[1], port: 8 }), 'connected');
  t.equal(outcome(b, { host: '192.0.2.1', port: 8 }), 'EHOSTUNREACH');
  const bound = (host: string, port = 0) =>
    outcome(a, { host: '127.0.0.1', port: 7, bindAddress: { host, port } });
  t.equal(bound('127.0.0.1', 4000), 'connected');
  t.equal(bound('::1'), 'EINVAL');
  t.equal(bound(b.addresses[0]), 'EADDRNOTAVAIL');
  t.equal(bound('', 8), 'EADDRINUSE');
});

t.test('a machine has so many descriptors', async (t) => {
  const sim = new Simulation({ conditions: 'ideal' });
  const [a, b] = [sim.host('a'), sim.host('b')];
  t.equal(b.descriptorLimit, 1024);
  b.descriptorLimit = 2;
  const port = answer(b, '0.0.0.0', 7);
  sim.run();
  const to = { host: b.addresses[0], port: 7 };
  const [first, second] = [dial(a, to), dial(a, to)];
  sim.run();
  const outcomes = [first, second].map(({ end }) => end.events.join());
  t.same(outcomes.sort(), ['', 'end'], 'one of them is turned away');
  t.same([port.ends.length, port.starved, b.descriptors], [1, 1, 2]);
  const third = dial(b, to);
  const extra = answer(b, '0.0.0.0', 8);
  sim.run();
  t.same([third.outcome, extra.outcome, b.descriptors], ['EMFILE', 'EMFILE', 2]);
});

t.test('names lead to machines, and to whatever they are set to', async (t) => {
  const sim = new Simulation({ conditions: 'ideal' });
  const a = sim.host('Alpha');
  const lookup = (name: string, family?: 4 | 6) => {
    let result = '';
    a.io.resolve(
      name,
      (error, addresses) =>
        (result = error ? `${(error as NodeJS.ErrnoException).code}` : addresses.join(' ')),
      family,
    );
    sim.run();
    return result;
  };
  t.equal(lookup('alpha'), '10.0.0.1 fd00::1', 'capitals make no difference');
  t.equal(lookup('Alpha', 6), 'fd00::1');
  t.equal(lookup('localhost'), '127.0.0.1 ::1');
  t.equal(lookup('nobody'), 'ENOTFOUND');
  sim.setName('WWW.example', { addresses: ['192.0.2.1'], delay: 3 });
  const began = sim.seconds();
  t.equal(lookup('www.Example'), '192.0.2.1');
  t.equal(sim.seconds() - began, 3);
  t.equal(lookup('www.example', 6), 'ENOTFOUND');
  sim.setName('www.example', { addresses: ['192.0.2.2'] });
  t.equal(lookup('www.example'), '192.0.2.2', 'an answer may change');
  sim.setName('www.example', { error: 'EAI_FAIL' });
  t.equal(lookup('www.example'), 'EAI_FAIL');
  sim.setName('www.example', {});
  t.equal(lookup('www.example'), 'ENOTFOUND');
  const gone = a.io.resolve('alpha', () => t.fail('it was called off'));
  gone.cancel();
  sim.run();
  for (const name of ['', '10.0.0.1', 'a>b', 'a;b', '-a', 'ALPHA'])
    t.throws(() => sim.host(name), { name: 'RangeError', message: /cannot be called/ });
});

t.test('UNIX sockets lie in the folders that there are', async (t) => {
  const sim = new Simulation({ conditions: 'ideal' });
  const a = sim.host('a');
  const at = (path: string) => {
    const result = { outcome: '', close: () => {} };
    const listener = a.io.listen(
      { path, mode: 0o600, backlog: 1 },
      {
        listening: (address) => (result.outcome = String(address)),
        failed: (error: NodeJS.ErrnoException) => (result.outcome = error.code ?? ''),
        accepted: (wire) => new End().begin(wire),
        closed: () => {},
      },
    );
    result.close = () => {
      listener.close();
    };
    sim.run();
    return result;
  };
  for (const path of ['/s', '/run/s', 's', '\0s']) t.notMatch(at(path).outcome, /^E/);
  t.equal(at('/run/s').outcome, 'EADDRINUSE');
  t.equal(at('/srv/s').outcome, 'ENOENT');
  a.makeFolder('/srv');
  const port = at('/srv/s');
  t.notMatch(port.outcome, /^E/);
  t.equal(at(`/run/${'x'.repeat(200)}`).outcome, 'ENAMETOOLONG');
  const here = dial(a, { path: '/srv/s' });
  const elsewhere = dial(sim.host('b'), { path: '/srv/s' });
  sim.run();
  t.same([here.outcome, elsewhere.outcome], ['connected', 'ENOENT'], 'each machine has its own');
  port.close();
  const late = dial(a, { path: '/srv/s' });
  sim.run();
  t.equal(late.outcome, 'ENOENT');
  sim.conditions = always('refuse');
  const refused = dial(a, { path: '/run/s' });
  sim.run();
  t.equal(refused.outcome, 'ECONNREFUSED');
});

t.test('a port that closes turns away who has not been accepted', async (t) => {
  const sim = new Simulation({ conditions: 'ideal' });
  const port = answer(sim.host('b'), '0.0.0.0', 7);
  port.close();
  sim.run();
  t.equal(port.outcome, 'closed', 'also before it listened');
  const again = answer(sim.host('b'), '0.0.0.0', 7);
  sim.run();
  const { end } = dial(sim.host('a'), { host: sim.host('b').addresses[0], port: 7 });
  sim.run(() => end.wire !== undefined);
  again.close();
  again.close();
  sim.run();
  t.same(end.events, ['closed ECONNRESET']);
  const attempt = sim
    .host('a')
    .io.connect(
      { host: sim.host('b').addresses[0], port: 7 },
      { connected: () => t.fail('it was called off'), failed: () => t.fail('it was called off') },
    );
  t.match(sim.leftovers(), ['a: an attempt to connect, a>b#2']);
  attempt.cancel();
  attempt.cancel();
  sim.run();
  t.same(sim.leftovers(), []);
});

t.test('signals go to the reactor of a machine', async (t) => {
  const sim = new Simulation();
  const host = sim.host('a');
  t.equal(host.signal('SIGTERM'), false, 'nobody handles it');
  void host.reactor.run();
  sim.advance(0);
  t.equal(host.signal('SIGTERM'), true);
  sim.run();
  t.equal(host.reactor.running, false);
  const heard: string[] = [];
  const off = host.io.onSignal('SIGHUP', () => heard.push('HUP'));
  host.signal('SIGHUP');
  off();
  sim.run();
  t.same(heard, [], 'not by whoever has stopped listening meanwhile');
});

t.test('a machine can have several reactors, and talk to itself', async (t) => {
  const sim = new Simulation({ conditions: 'calm' });
  const host = sim.host('a');
  t.equal(sim.host('a'), host);
  t.same(sim.hosts, [host]);
  const other = new Reactor({ io: host.io });
  const port = other.listenTCP(7, Factory.forProtocol(Echo));
  const got: string[] = [];
  class Talker extends Protocol {
    override connectionMade(): void {
      this.transport.write('me?');
    }
    override dataReceived(data: Buffer): void {
      got.push(data.toString());
      this.transport.loseConnection();
    }
  }
  host.reactor.connectTCP(
    'localhost',
    7,
    new (class extends ClientFactory {
      override protocol = Talker;
    })(),
  );
  sim.run(() => got.length > 0);
  void port.stopListening();
  sim.run();
  t.equal(got.join('').slice(0, 1), 'm');
  t.same(sim.leftovers(), []);
});

// ── Datagrams ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A datagram port that notes what it is told. */
function datagrams(on: SimHost, host = '0.0.0.0', port = 0, shared = false) {
  const result = {
    events: [] as string[],
    address: { host: '', port: 0 },
    socket: undefined as unknown as ReturnType<NonNullable<SimHost['io']['datagram']>>,
  };
  const code = (error: Error) => (error as NodeJS.ErrnoException).code ?? error.message;
  result.socket = on.io.datagram!(
    { host, port, shared },
    {
      bound: (address) => (result.address = { host: address.host, port: address.port }),
      failed: (error) => result.events.push(`failed ${code(error)}`),
      received: (data, from) =>
        result.events.push(`${data.length < 99 ? data.toString() : data.length} from ${from.host}`),
      refused: () => result.events.push('refused'),
      connectFailed: (error) => result.events.push(code(error)),
      troubled: (error) => result.events.push(`troubled ${code(error)}`),
      closed: () => result.events.push('closed'),
    },
  );
  return result;
}

function twoDatagramPorts(conditions: ConditionsLike) {
  const sim = new Simulation({ seed: 5, conditions });
  const [a, b] = [sim.host('a'), sim.host('b')];
  const [one, other] = [datagrams(a), datagrams(b, '0.0.0.0', 53)];
  sim.run();
  const to = { host: b.addresses[0], port: 53 };
  return { sim, a, b, one, other, to };
}

t.test('datagrams are lost, come twice, and overtake others', async (t) => {
  const sent = Array.from({ length: 100 }, (_, i) => `${i}`);
  const got = (conditions: ConditionsLike) => {
    const { sim, one, other, to } = twoDatagramPorts(conditions);
    for (const text of sent) one.socket.send(Buffer.from(text), to);
    sim.run();
    t.equal(one.socket.bufferedBytes, 0);
    return other.events.map((event) => event.replace(' from 10.0.0.1', ''));
  };
  t.same(got('ideal').sort(), sent.toSorted());
  t.same(got(always('lose')), []);
  t.same(got(always('duplicate')).length, 200);
  const late = got({ level: 'ideal', faults: { delay: 0.5 } });
  t.not(late.join(), sent.join());
  t.same(late.sort(), sent.toSorted());
  const some = got({ level: 'ideal', faults: { lose: 0.5 } }).length;
  t.ok(some > 20 && some < 80);
});

t.test('datagrams that are too long, or too many at once, do not arrive', async (t) => {
  const { sim, one, other, to } = twoDatagramPorts('ideal');
  one.socket.send(Buffer.alloc(65_507), to);
  one.socket.send(Buffer.alloc(65_508), to);
  sim.run();
  t.same(one.events, ['troubled EMSGSIZE']);
  t.same(other.events, ['65507 from 10.0.0.1']);
  for (let i = 0; i < 30; i++) one.socket.send(Buffer.alloc(60_000), to);
  sim.run();
  t.ok(other.events.length < 31, 'the kernel keeps so much and no more');
  one.socket.send(Buffer.from('x'), { host: '192.0.2.1', port: 1 });
  sim.run();
  t.equal(one.events.at(-1), 'troubled EHOSTUNREACH');
  sim.partition('a', 'b');
  const before = other.events.length;
  one.socket.send(Buffer.from('x'), to);
  sim.run();
  t.equal(other.events.length, before);
});

t.test('who is connected hears from one peer, and that nobody is there', async (t) => {
  const { sim, a, b, one, other, to } = twoDatagramPorts('ideal');
  const third = datagrams(a, a.addresses[0], 99);
  sim.run();
  one.socket.connect(to.host, to.port);
  one.socket.send(Buffer.from('hi'));
  third.socket.send(Buffer.from('psst'), { host: a.addresses[0], port: one.address.port });
  sim.run();
  t.same([one.events, other.events], [[], ['hi from 10.0.0.1']]);
  other.socket.close();
  other.socket.close();
  sim.run();
  t.same([other.events.at(-1), b.descriptors], ['closed', 0]);
  one.socket.send(Buffer.from('hi'));
  third.socket.send(Buffer.from('hi'));
  third.socket.send(Buffer.from('hi'), to);
  sim.run();
  t.same([one.events, third.events], [['refused'], []]);
});

t.test('datagram ports are bound like others, and shared if all agree', async (t) => {
  const sim = new Simulation({ conditions: 'ideal' });
  const a = sim.host('a');
  const bind = (host: string, shared = false) => {
    const port = datagrams(a, host, 53, shared);
    sim.run();
    return port;
  };
  const [first, same, other, any] = [a.addresses[0], a.addresses[0], '127.0.0.1', '0.0.0.0'].map(
    (host) => bind(host),
  );
  t.same(
    [first, same, other, any].map((port) => port!.events[0]),
    [undefined, 'failed EADDRINUSE', undefined, 'failed EADDRINUSE'],
  );
  t.equal(bind('192.0.2.1').events[0], 'failed EADDRNOTAVAIL');
  t.match(sim.leftovers()[0], /^a: a datagram port at 10\.0\.0\.1:53$/);
  first!.socket.close();
  other!.socket.close();
  sim.run();
  const [one, two] = [bind('0.0.0.0', true), bind('0.0.0.0', true)];
  one.socket.send(Buffer.from('x'), { host: '127.0.0.1', port: 53 });
  sim.run();
  t.same([one.events, two.events], [[], ['x from 127.0.0.1']], 'what is for one comes to the last');
  a.descriptorLimit = 2;
  t.equal(datagrams(a).events.length, 0);
  sim.run();
  t.equal(bind('127.0.0.1').events[0], 'failed EMFILE');
  t.throws(() => a.io.datagram!({ fd: 3, family: 'IPv4' }, {} as never), { code: 'ENOTSUP' });
  const early = datagrams(a);
  early.socket.close();
  sim.run();
  t.same(early.events, ['closed']);
});

t.test('multicast and broadcast reach whoever asks for them', async (t) => {
  const sim = new Simulation({ conditions: 'ideal' });
  const ports = ['a', 'b', 'c'].map((name) => datagrams(sim.host(name), '0.0.0.0', 99));
  sim.run();
  const [a, b, c] = ports.map(({ socket }) => socket) as [
    (typeof ports)[0]['socket'],
    (typeof ports)[0]['socket'],
    (typeof ports)[0]['socket'],
  ];
  const heard = () => {
    sim.run();
    return ports.map(({ events }) => events.splice(0).join());
  };
  a.joinGroup('239.0.0.1');
  b.joinGroup('239.0.0.1');
  a.send(Buffer.from('m'), { host: '239.0.0.1', port: 99 });
  t.same(heard(), ['m from 10.0.0.1', 'm from 10.0.0.1', '']);
  a.setMulticastLoopback(false);
  b.leaveGroup('239.0.0.1');
  c.joinGroup('239.0.0.1');
  a.setMulticastTTL(1);
  a.setMulticastInterface('10.0.0.1');
  a.send(Buffer.from('m'), { host: '239.0.0.1', port: 99 });
  t.same(heard(), ['', '', 'm from 10.0.0.1']);
  t.throws(() => b.leaveGroup('239.0.0.1'), { code: 'EADDRNOTAVAIL' });
  t.throws(() => a.joinGroup('239.0.0.1'), { code: 'EADDRINUSE' });
  t.throws(() => a.joinGroup('10.0.0.9'), { code: 'EINVAL' });
  b.send(Buffer.from('all'), { host: '255.255.255.255', port: 99 });
  t.same(heard(), ['', 'troubled EACCES', '']);
  b.setBroadcast(true);
  b.send(Buffer.from('all'), { host: '255.255.255.255', port: 99 });
  t.same(heard(), ['all from 10.0.0.2', 'all from 10.0.0.2', 'all from 10.0.0.2']);
});

// ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('time passes when it is told to, as far as it is told to', async (t) => {
  const sim = new Simulation();
  const { reactor } = sim.host('a');
  const calls: number[] = [];
  for (const delay of [1, 2, 3600]) reactor.callLater(delay, () => calls.push(reactor.seconds()));
  sim.advance(1.5);
  t.same([calls, sim.seconds()], [[1], 1.5]);
  t.equal(
    sim.run(() => calls.length === 2),
    'done',
  );
  t.equal(
    sim.run(() => false, 10),
    'late',
  );
  t.equal(sim.seconds(), 12);
  t.equal(sim.run(), 'idle');
  t.same([calls, sim.seconds()], [[1, 2, 3600], 3600]);
  t.equal(
    sim.run(() => false, 10),
    'idle',
  );
  t.equal(sim.seconds(), 3610);
  t.throws(() => sim.advance(-1), { name: 'RangeError' });
  t.throws(() => sim.after(NaN, () => {}), { name: 'RangeError' });
});

t.test('time cannot be moved on from inside of an event', async (t) => {
  const sim = new Simulation();
  sim.after(1, () => sim.advance(1));
  t.throws(() => sim.run(), { message: /time cannot be moved on from inside of it/ });
  sim.after(1, () => {});
  t.equal(sim.run(), 'idle', 'and it goes on after an event that has thrown');
});

t.test('what is called off is forgotten', async (t) => {
  const sim = new Simulation();
  for (let i = 0; i < 20_000; i++) sim.after(1e6 + i, () => t.fail('it was called off')).cancel();
  t.equal(sim.run(), 'idle');
  t.equal(sim.events, 0);
  const { reactor } = sim.host('a');
  const call = reactor.callLater(5, () => t.fail('it was called off'));
  t.match(sim.leftovers(), [/^a: /]);
  call.cancel();
  reactor.callLater(1, () => {});
  sim.run();
  t.same(sim.leftovers(), []);
});

t.test('promises, ticks and immediates are done before time moves on', async (t) => {
  const sim = new Simulation();
  const { reactor } = sim.host('a');
  const seen: string[] = [];
  const at = (what: string) => seen.push(`${what} ${sim.seconds()}`);
  const wait = (delay: number) =>
    new Promise<void>((resolve) => {
      reactor.callLater(delay, () => {
        resolve();
      });
    });
  const program = async () => {
    await wait(1);
    at('awaited');
    await new Promise((resolve) => setImmediate(resolve));
    at('immediate');
    await new Promise<void>((resolve) => {
      process.nextTick(resolve);
    });
    queueMicrotask(() => at('microtask'));
    for (let i = 0; i < 50; i++) await Promise.resolve();
    at('many');
    await wait(1);
    return 'done';
  };
  reactor.callLater(1.5, () => at('timer'));
  t.equal(await sim.finish(program()), 'done');
  t.same(seen, ['awaited 1', 'immediate 1', 'microtask 1', 'many 1', 'timer 1.5']);
});

t.test('finish gives the result, or says why there is none', async (t) => {
  const sim = new Simulation();
  const { reactor } = sim.host('a');
  const fired = new Deferred<number>();
  reactor.callLater(3, () => {
    fired.callback(7);
  });
  t.equal(await sim.finish(fired), 7);
  await t.rejects(sim.finish(new Deferred()), { message: /^the simulation has run dry/ });
  reactor.callLater(100, () => {});
  await t.rejects(sim.finish(new Promise(() => {}), 5), {
    message: 'what was waited for has no result after 5 simulated seconds',
  });
  await t.rejects(sim.finish(Promise.reject(new RangeError('no'))), { message: 'no' });
  sim.after(1, () => {
    throw new RangeError('thrown by an event');
  });
  await t.rejects(sim.settle(), { message: 'thrown by an event' });
});

t.test('several may wait for a simulation at the same time', async (t) => {
  const sim = new Simulation();
  const { reactor } = sim.host('a');
  const program = async (delay: number) => {
    for (let i = 0; i < 3; i++)
      await new Promise<void>((resolve) => {
        reactor.callLater(delay, () => {
          resolve();
        });
      });
    return sim.seconds();
  };
  t.same(await Promise.all([sim.finish(program(1)), sim.finish(program(2))]), [3, 6]);
});

t.test('conditions that cannot be are refused', async (t) => {
  const refused: [unknown, RegExp][] = [
    ['windy', /there are no conditions "windy", but ideal, calm, rough, hostile$/],
    [{ level: 'toString' }, /there are no conditions "toString"/],
    [{ faults: { reset: 2 } }, /the rate of reset must be from 0 to 1, not 2/],
    [{ faults: { rest: 0.1 } }, /there is no fault "rest"/],
    [{ cuts: NaN }, /the rate of cuts/],
    [{ latency: [2, 1] }, /latency must be two times, the lesser first, not 2 and 1/],
    [{ latency: [-1, 1] }, /latency/],
    [{ bandwidth: 0 }, /bandwidth must be more than 0, not 0/],
    [{ window: 0.5 }, /window must be 1 or more/],
  ];
  for (const [conditions, message] of refused)
    t.throws(() => new Simulation({ conditions: conditions as ConditionsLike }), {
      name: 'RangeError',
      message,
    });
  t.same(new Simulation().conditions, LEVELS.calm);
  t.equal(new Simulation({ conditions: { window: 9 } }).conditions.window, 9);
});

t.test('an hour of idle connections costs next to nothing', async (t) => {
  const sim = new Simulation({ conditions: 'ideal', trace: 0 });
  const { reactor } = sim.host('a');
  const b = sim.host('b').reactor;
  let ticks = 0;
  class Idle extends Protocol {
    override connectionMade(): void {
      const beat = () => {
        ticks++;
        this.transport.write('x');
        b.callLater(60, beat);
      };
      b.callLater(60, beat);
    }
  }
  reactor.listenTCP(7, Factory.forProtocol(Echo));
  for (let i = 0; i < 100; i++)
    b.connectTCP(
      'a',
      7,
      new (class extends ClientFactory {
        override protocol = Idle;
      })(),
    );
  sim.advance(3600.5);
  t.equal(ticks, 100 * 60);
});

// ── simulate ─────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a program that is right is right in every network', async (t) => {
  const report = await simulate({ runs: 40 }, (sim) => echoes(sim));
  t.equal(report.runs, 40);
  t.ok(report.events > 1000 && report.faults > 20 && report.seconds > 40);
  t.equal((await simulate({ runs: 5 }, () => {})).runs, 5, 'it need not do anything');
  t.equal((await simulate({ runs: 5 }, (sim) => echoes(sim, 3, true))).runs, 5, 'with TLS');
});

/** A server that counts its connections, and forgets to when one is reset. */
function forgetful(sim: Simulation): Deferred<void> {
  const done = new Deferred<void>();
  const server = sim.host('server').reactor;
  const client = sim.host('client').reactor;
  let open = 0;
  class Counted extends Echo {
    override connectionMade(): void {
      open++;
      super.connectionMade();
    }
    override connectionLost(reason: Failure): void {
      if (reason.value.name === 'ConnectionDone') open--;
      super.connectionLost(reason);
    }
  }
  const port = server.listenTCP(7, Factory.forProtocol(Counted));
  class Talker extends Protocol {
    override connectionMade(): void {
      this.transport.write('x'.repeat(100));
      client.callLater(30, () => this.transport.loseConnection());
    }
  }
  for (let i = 0; i < 4; i++)
    client.callLater(i, () =>
      client.connectTCP(
        'server',
        7,
        new (class extends ClientFactory {
          override protocol = Talker;
        })(),
      ),
    );
  client.callLater(300, () => {
    void port.stopListening();
    if (open === 0) done.callback();
    else done.errback(new RangeError(`${open} connections are still counted`));
  });
  return done;
}

const RESETS: ConditionsLike = { level: 'calm', faults: { reset: 0.2, stall: 0.3, refuse: 0.2 } };

t.test('a failure is found, shrunk to the fewest faults, and can be run again', async (t) => {
  const options = { runs: 100, conditions: RESETS };
  const error = await failing(t, options, forgetful);
  t.equal(error.faults.length, 1, 'of many that struck');
  t.match(error.faults[0], /^reset client>server#\d$/);
  t.match(error.seed, /^\d+:reset client>server#\d$/);
  t.match(
    error.message,
    /^the program fails with one fault: reset client>server#\d\n {2}1 connections are still counted\n {2}to run it again: PLAIT_SEED="\d+:reset client>server#\d"\n\n/,
  );
  t.match(error.message, error.timeline);
  t.match(error.timeline, /server {4}listen {5}0\.0\.0\.0:7\n[^]*! reset/);
  t.equal((error.cause as Error).name, 'RangeError');

  const replay = async (seed: string) => {
    process.env['PLAIT_SEED'] = seed;
    try {
      return await failing(t, options, forgetful);
    } finally {
      delete process.env['PLAIT_SEED'];
    }
  };
  t.equal((await replay(error.seed)).timeline, error.timeline);
  const [seed = ''] = error.seed.split(':');
  t.equal((await replay(seed)).seed, error.seed, 'by the seed alone, it is shrunk again');
  process.env['PLAIT_SEED'] = `${seed}:`;
  t.equal((await simulate(options, forgetful)).runs, 1, 'and without faults it does not fail');
  delete process.env['PLAIT_SEED'];

  const whole = await failing(t, { ...options, shrink: false }, forgetful);
  t.ok(whole.faults.length >= 1);
  t.match(whole.seed, /^\d+:.+/);
});

t.test('a failure that needs no fault says so', async (t) => {
  const error = await failing(t, { trace: 5, seed: 9, runs: 3 }, (sim) => {
    sim.host('a').reactor.listenTCP(7, Factory.forProtocol(Echo));
    sim.run();
    throw new RangeError('at once');
  });
  t.match(
    error.message,
    /^the program fails with no fault of the network at all\n {2}at once\n {2}to run it again: PLAIT_SEED="9:"/,
  );
  t.equal(error.seed, '9:');
});

t.test('of two faults that are both needed both are left', async (t) => {
  const error = await failing(
    t,
    { runs: 200, conditions: { level: 'ideal', faults: { lookup: 0.3 } } },
    (sim) => {
      let failed = 0;
      for (let i = 0; i < 6; i++)
        sim
          .host('a')
          .io.resolve(
            'a;b%',
            (e) => (failed += (e as NodeJS.ErrnoException).code === 'EAI_AGAIN' ? 1 : 0),
          );
      sim.after(10, () => {});
      return sim
        .settle(() => sim.seconds() >= 10)
        .then(() => {
          if (failed >= 2) throw new Error('twice');
        });
    },
  );
  t.equal(error.faults.length, 2);
  t.match(error.message, /with 2 faults: lookup a>name a;b%#\d, lookup a>name a;b%#\d\n/);
  t.match(error.seed, /lookup a>name a%3Bb%25#\d;lookup a>name a%3Bb%25#\d$/);
});

t.test('what makes a run fail', async (t) => {
  const cases: Record<string, [(sim: Simulation) => unknown, RegExp]> = {
    'a promise that is rejected': [
      async () => {
        throw new RangeError('rejected');
      },
      /\n {2}rejected\n/,
    ],
    'a Deferred that fails': [
      () => {
        const d = new Deferred();
        d.errback(new RangeError('errback'));
        return d;
      },
      /\n {2}errback\n/,
    ],
    'nothing is left to happen': [
      (sim) => {
        sim.host('a').reactor.listenTCP(7, Factory.forProtocol(Echo));
        return new Deferred();
      },
      /nothing is left to happen, and the program is not done\n {2}open: a: a port at 0\.0\.0\.0:7\n {2}without a result: a Deferred made at \S+sim\.test\.ts:\d+:\d+\n/,
    ],
    'it takes too long': [
      (sim) => {
        const tick = () => void sim.host('a').reactor.callLater(1, tick);
        tick();
        return new Deferred();
      },
      /the program is not done after 50 simulated seconds/,
    ],
    'an error in the log': [
      () => {
        new Logger('shop').error('out of tea');
      },
      /a logged error: .*out of tea/,
    ],
    'a failure that nobody handled': [
      () => {
        new Deferred().errback(new RangeError('lost'));
      },
      /a failure that nobody handled: .*lost/,
    ],
    'a rejection that nobody handled': [
      () => {
        void Promise.reject(new RangeError('lost'));
      },
      /an error that nobody caught: .*lost/,
    ],
    'an error in a tick': [
      () => {
        process.nextTick(() => {
          throw new RangeError('in a tick');
        });
      },
      /an error that nobody caught: .*in a tick/,
    ],
    'an error in an event': [
      (sim) => {
        sim.after(1, () => {
          throw new RangeError('in an event');
        });
        return new Deferred();
      },
      /\n {2}in an event\n/,
    ],
    'something is left open': [
      (sim) => {
        sim.host('a').reactor.listenTCP(7, Factory.forProtocol(Echo));
        sim.host('a').reactor.callLater(9e9, () => {});
      },
      /left behind: a: a port at 0\.0\.0\.0:7; a: /,
    ],
  };
  for (const [name, [program, message]] of Object.entries(cases)) {
    const error = await failing(t, { runs: 1, limit: 50 }, program);
    t.match(error.message, message, name);
  }
});

t.test('a run that does not fail again says so', async (t) => {
  let runs = 0;
  const error = await failing(t, {}, () => {
    if (runs++ === 0) throw new RangeError('only once');
  });
  t.match(error.message, /it did not fail again, and so depends on more than the seed: only once/);
});

t.test('options that cannot be are refused', async (t) => {
  for (const runs of [0, 1.5, NaN])
    await t.rejects(
      simulate({ runs }, () => {}),
      { name: 'RangeError', message: /^runs must be/ },
    );
  await t.rejects(
    simulate({ conditions: 'windy' as 'calm' }, () => {}),
    { name: 'RangeError' },
  );
});

t.test('chance and the date follow the seed, and are put back', async (t) => {
  const real = { random: Math.random, Date, setTimeout, now: performance.now.bind(performance) };
  const seen: unknown[] = [];
  const look = (sim: Simulation) => {
    const random = Math.random();
    return sim
      .settle(() => false)
      .then(() => sim.advance(1.5))
      .then(() => {
        seen.push(
          JSON.stringify([
            random,
            Date.now(),
            new Date().toISOString(),
            new Date(0).getTime(),
            Date().slice(0, 15),
            new Date() instanceof Date,
            Date.UTC(1970, 0, 1),
          ]),
        );
      });
  };
  await simulate({ runs: 1 }, look);
  await simulate({ runs: 1 }, look);
  await simulate({ runs: 1, seed: 2, date: new Date('2020-02-02T00:00:00Z') }, look);
  t.equal(seen[0], seen[1]);
  t.match(
    seen[0],
    /,1798761601500,"2027-01-01T00:00:01\.500Z",0,"\w{3} \w{3} \d\d \d{4}",true,0\]$/,
  );
  t.match(seen[2], /"2020-02-02T00:00:01\.500Z"/);
  await simulate({ runs: 1, globals: false }, () => t.equal(Math.random, real.random));
  await failing(t, { runs: 1 }, () => {
    throw new Error('also after a failure');
  });
  t.same([Math.random, Date, setTimeout], [real.random, real.Date, real.setTimeout]);
});

t.test('timers of the process follow too, if that is asked for', async (t) => {
  const former = Object.getOwnPropertyDescriptor(performance, 'now');
  const seen: string[] = [];
  await simulate({ runs: 1, conditions: 'ideal', globals: 'all' }, async (sim) => {
    const began = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 5000, 'x'));
    seen.push(`${performance.now() - began}`);
    const timer = setInterval(
      (what: string) => {
        seen.push(`${what} ${sim.seconds()}`);
        if (seen.length === 4) clearInterval(timer);
      },
      1000,
      'tick',
    );
    const called = [
      setTimeout(() => seen.push('no'), 10),
      setTimeout(() => seen.push('no'), 10),
      setTimeout(() => seen.push('no'), 10),
    ];
    clearTimeout(called[0]);
    clearTimeout(Number(called[1]));
    called[2]!.unref();
    seen.push(`${called[2]!.hasRef()} ${called[2]!.ref().hasRef()}`);
    called[2]!.close();
    clearTimeout(undefined);
    clearTimeout(12345678);
    const late = setTimeout(() => seen.push(`late ${sim.seconds()}`), 4000);
    setTimeout(() => late.refresh(), 3000);
    const disposed = setTimeout(() => seen.push('no'));
    disposed[Symbol.dispose]();
    await sim.settle(() => false, 60);
  }).catch((error: unknown) => t.fail(String(error)));
  t.same(
    seen,
    ['5000', 'true 6', 'tick 6', 'tick 7', 'late 12'].map((line) =>
      line.replace('true 6', 'false true'),
    ),
  );
  t.same(Object.getOwnPropertyDescriptor(performance, 'now'), former);
});

t.test('those that are asked for at the same time take turns', async (t) => {
  const order: string[] = [];
  const program = (name: string) => async (sim: Simulation) => {
    order.push(`${name} begins`);
    await new Promise<void>((resolve) => {
      sim.after(1, resolve);
    });
    order.push(`${name} ends`);
  };
  await Promise.all([simulate({ runs: 1 }, program('one')), simulate({ runs: 1 }, program('two'))]);
  t.same(order, ['one begins', 'one ends', 'two begins', 'two ends']);
});

t.test('coroutines run in it as they are', async (t) => {
  await simulate({ runs: 20, conditions: 'rough' }, (sim) =>
    inlineCallbacks(function* () {
      const { reactor } = sim.host('a');
      const waited = new Deferred<number>();
      reactor.callLater(2, () => {
        waited.callback(reactor.seconds());
      });
      t.equal((yield* waited) >= 2, true);
    })(),
  );
});

t.test('datagram protocols run in it as they are', async (t) => {
  const report = await simulate({ runs: 10, conditions: 'calm' }, (sim) => {
    const done = new Deferred<void>();
    class Answer extends DatagramProtocol {
      override datagramReceived(data: Buffer, from: { host: string; port: number }): void {
        this.transport.write(data, from);
      }
    }
    const port = sim.host('b').reactor.listenUDP(53, new Answer());
    class Ask extends DatagramProtocol {
      override startProtocol(): void {
        this.transport.write('?', { host: sim.host('b').addresses[0], port: 53 });
      }
      override datagramReceived(): void {
        void port.stopListening();
        void this.transport.stopListening();
        done.callback();
      }
    }
    sim.after(1, () => sim.host('a').reactor.listenUDP(0, new Ask()));
    return done;
  });
  t.equal(report.runs, 10);
});
