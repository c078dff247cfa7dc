/**
 * Ports and connectors on this machine's own sockets: what no other kind of wire has. What holds for all kinds is in
 * the contract.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect as nodeConnect, createServer, type Server, type Socket } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type AddressFamily,
  BadFileError,
  type CannotListenError,
  ConnectError,
  Factory,
  formatEvent,
  globalLogPublisher,
  type IListeningPort,
  IPv6Address,
  type LogEvent,
  Protocol,
  Reactor,
  ServiceNameUnknownError,
  stderrObserver,
  UNIXAddress,
  UnsupportedAddressFamily,
  UnsupportedSocketType,
} from 'plait';
import { start } from '../child.ts';
import { Recorder, RecordingFactory, serving } from '../contract/recorder.ts';
import t, { type Test } from '../fixture.ts';
import type { IO, ListenerEvents, Wire, WireListener } from '../../lib/io/io.ts';
import { NodeIO } from '../../lib/io/node.ts';
import { zoned } from '../../lib/io/node-wire.ts';
import { parsePortNames, portNames, PortNames } from '../../lib/io/port-names.ts';

const LOOPBACK = '127.0.0.1';

class Echo extends Protocol {
  override dataReceived(data: Buffer): void {
    this.transport.write(data);
  }
}

/** Longer than anything takes that will happen at all, in seconds. */
const PATIENCE = 600;

/** Turns of the loop until `condition` holds. */
async function until(condition: () => boolean): Promise<void> {
  const patience = performance.now() + PATIENCE * 1000;
  while (!condition()) {
    if (performance.now() > patience) throw new Error(`it never came to ${condition.toString()}`);
    await turn();
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** What a port fails with; undefined if it listens. */
function failureOf(port: IListeningPort): Promise<CannotListenError | undefined> {
  return port.ready.asPromise().then(
    () => undefined,
    (error: unknown) => error as CannotListenError,
  );
}

/** What `factory`'s attempt fails with. */
async function failed(factory: RecordingFactory): Promise<Error> {
  await until(() => factory.events.includes('stop'));
  return factory.reason!.value;
}

/** The descriptors of this process. */
function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

function portOf(port: IListeningPort): number {
  return (port.getHost() as IPv6Address).port;
}

/** A path for a socket. */
function socketPath(t: Test): string {
  // Those of tap’s directories are too long.
  const directory = mkdtempSync(join(tmpdir(), 'plait-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return join(directory, 's');
}

/** Says all that the other side says, once it has ended. */
async function heard(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  if (!socket.closed) await once(socket, 'close');
  return text;
}

// ── Bodies that fail at once ─────────────────────────────────────────────────────────────────────────────────────────

/** A body that throws where it should report. */
class ThrowingIO extends NodeIO {
  override readonly name = 'throwing';
  broken = true;

  override listen(...args: Parameters<IO['listen']>): WireListener {
    if (this.broken) throw new RangeError('no listening today');
    return super.listen(...args);
  }

  override connect(): never {
    throw new RangeError('no connecting today');
  }
}

/** A body with less than the default one has. */
class PoorIO extends NodeIO {
  override readonly name = 'poor';
  declare adoptPort: never;
  declare adoptConnection: never;
}
Object.assign(PoorIO.prototype, { adoptPort: undefined, adoptConnection: undefined });

t.test('a body that throws at once', async (t) => {
  t.test('makes an attempt fail, once and later, and leaves nothing', async (t) => {
    const reactor = new Reactor({ io: new ThrowingIO() });
    const factory = new RecordingFactory();
    const connector = reactor.connectTCP(LOOPBACK, 1, factory);
    t.equal(connector.state, 'connecting');
    const error = await failed(factory);
    t.ok(error instanceof ConnectError);
    t.match(error.message, 'cannot connect to 127.0.0.1:1: no connecting today');
    t.same(factory.events, ['start', 'connecting', 'failed ConnectError', 'stop']);
    t.same(reactor.getDelayedCalls(), []);
    t.equal(connector.state, 'disconnected');

    const given = new RecordingFactory();
    reactor.connectTCP(LOOPBACK, 1, given).stopConnecting();
    await turn();
    t.same(given.events, ['start', 'connecting', 'failed UserError', 'stop']);
  });

  t.test('makes listening throw, and the port is as it was', async (t) => {
    const io = new ThrowingIO();
    const reactor = new Reactor({ io });
    const factory = new RecordingFactory();
    t.throws(() => reactor.listenTCP(0, factory), /no listening today/);
    io.broken = false;
    const port = reactor.listenTCP(0, factory, { interface: LOOPBACK });
    await port.ready;
    await port.stopListening();
    io.broken = true;
    t.throws(() => port.startListening(), /no listening today/);
    t.match(`${port as unknown}`, /^<Port closed /);
    t.match(await failureOf(port), { message: 'no listening today' });
    io.broken = false;
    port.startListening();
    await port.ready;
    await port.stopListening();
    t.same(factory.events, ['start', 'stop', 'start', 'stop']);
  });
});

// ── Names of services ────────────────────────────────────────────────────────────────────────────────────────────────

t.test('the name of a service', async (t) => {
  t.test('stands for its TCP port, in a list or out of it', async (t) => {
    const list = [
      '# names\thttp 99/tcp',
      'tea\t\t4/tcp  brew  infusion # for two',
      'tea 5/tcp',
      'coffee 6/udp',
      'coffee 7/TCP',
      'none',
      'wild 65536/tcp',
      'zero 0/tcp',
      'odd 0x10/tcp',
      '__proto__ 9/tcp constructor\r',
      '  indented 10/tcp',
    ].join('\n');
    t.same(
      [...parsePortNames(list)],
      [
        ['tea', 4],
        ['brew', 4],
        ['infusion', 4],
        ['coffee', 7],
        ['__proto__', 9],
        ['constructor', 9],
        ['indented', 10],
      ],
    );
    const file = join(t.testdir({ services: list }), 'services');
    const names = new PortNames(file);
    t.equal(names.portOf('brew'), 4);
    rmSync(file);
    t.equal(names.portOf('coffee'), 7, 'it is read once');
    t.equal(names.portOf('toString'), undefined);
    t.equal(new PortNames(file).portOf('tea'), undefined, 'there need not be a list');
    writeFileSync(file, `tea 4/tcp\n${'#'.repeat(2 ** 20)}`);
    t.equal(new PortNames(file).portOf('tea'), undefined, 'what is far too long is none');
  });

  t.test('may be given for a port', async (t) => {
    const reactor = new Reactor();
    const server = createServer().listen(0, LOOPBACK);
    await once(server, 'listening');
    const { port: number } = server.address() as { port: number };
    const portOf = portNames.portOf.bind(portNames);
    t.intercept(portNames, 'portOf', {
      value: (name: string) => (name === 'plait-tea' ? number : portOf(name)),
    });
    const factory = new RecordingFactory();
    const connector = reactor.connectTCP(LOOPBACK, 'plait-tea', factory);
    t.equal(String(connector.getDestination()), `${LOOPBACK}:${number}`);
    await until(() => factory.built.length === 1);
    connector.disconnect();
    await until(() => factory.events.includes('stop'));
    server.close();
    await once(server, 'close');
    const port = reactor.listenTCP('plait-tea', new RecordingFactory(), { interface: LOOPBACK });
    await port.ready;
    t.equal(String(port.getHost()), `${LOOPBACK}:${number}`);
    await port.stopListening();
  });

  t.test('that nobody knows is a failure to connect, and refused to listen at', async (t) => {
    const reactor = new Reactor();
    const factory = new RecordingFactory();
    for (const name of ['no-such-service', '__proto__', 'toString', '80', '', 'x'.repeat(10_000)]) {
      t.throws(() => reactor.listenTCP(name, factory), ServiceNameUnknownError);
      const factory2 = new RecordingFactory();
      reactor.connectTCP(LOOPBACK, name, factory2);
      const error = await failed(factory2);
      t.ok(error instanceof ServiceNameUnknownError);
      t.match(error.message, /^no TCP service of the name ".{0,300}" in \S+$/);
      t.same(factory2.events, ['start', 'connecting', 'failed ServiceNameUnknownError', 'stop']);
    }
    t.same(factory.events, []);
    t.same(reactor.getDelayedCalls(), []);
  });
});

// ── Addresses ────────────────────────────────────────────────────────────────────────────────────────────────────────

const linkLocal = Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
  addresses
    .filter(({ address }) => /^fe80:/.test(address))
    .map(({ address }) => `${address}%${name}`),
)[0];

t.test(
  'a link-local address is used with its zone',
  { skip: linkLocal === undefined && 'no link-local address on this machine' },
  async (t) => {
    const reactor = new Reactor();
    const where = linkLocal!;
    const zone = where.slice(where.indexOf('%') + 1);
    const protocol = new Recorder();
    const port = reactor.listenTCP(0, serving(protocol), { interface: where });
    await port.ready;
    t.match(port.getHost(), { host: where.split('%')[0], scopeID: zone });
    const client = new Recorder();
    const connector = reactor.connectTCP(where, portOf(port), serving(client));
    t.equal(String(connector.getDestination()), `[${where}]:${portOf(port)}`);
    await until(() => protocol.events.length === 1 && client.events.length === 1);
    for (const { transport } of [protocol, client]) {
      t.match(transport.getPeer(), { scopeID: zone });
      t.match(transport.getHost(), { scopeID: zone });
    }
    await port.stopListening({ connections: 'abort' });
    await until(() => client.lost);

    const unzoned = reactor.listenTCP(0, new RecordingFactory(), {
      interface: where.split('%')[0]!,
    });
    t.match(await failureOf(unzoned), { code: 'EINVAL' }, 'without a zone it means nothing');
  },
);

t.test('a zone is shown where an address means nothing without', async (t) => {
  t.equal(zoned('fe80::1', 'fe80::2%eth0'), 'fe80::1%eth0');
  t.equal(zoned('FEBF::1', '::%7'), 'FEBF::1%7');
  t.equal(zoned('::1', 'fe80::2%eth0'), '::1');
  t.equal(zoned('fe80::1', 'fe80::2'), 'fe80::1');
  t.equal(String(new IPv6Address('TCP', 'fe80::1', 80, 0, 'eth0')), '[fe80::1%eth0]:80');
  t.equal(String(new UNIXAddress('\0tea')), 'unix:@tea');
});

t.test('REA-18: what cannot be listened at is CannotListenError, and a retry works', async (t) => {
  const reactor = new Reactor();
  const busy = createServer().listen(0, LOOPBACK);
  await once(busy, 'listening');
  const { port: number } = busy.address() as { port: number };
  const port = reactor.listenTCP(number, new RecordingFactory(), { interface: LOOPBACK });
  t.match(await failureOf(port), {
    name: 'CannotListenError',
    message: `cannot listen on 127.0.0.1:${number}: address already in use (EADDRINUSE)`,
    interface: LOOPBACK,
    port: number,
  });
  busy.close();
  await once(busy, 'close');
  port.startListening();
  await port.ready;
  await port.stopListening();
  const wrong: [string, string][] = [
    ['192.0.2.1', 'EADDRNOTAVAIL'],
    ['fe80::1%no-such-zone', 'EINVAL'],
    ['no-such-host.invalid', 'ENOTFOUND'],
  ];
  for (const [where, code] of wrong) {
    const error = await failureOf(
      reactor.listenTCP(0, new RecordingFactory(), { interface: where }),
    );
    t.match(error, { name: 'CannotListenError', code, interface: where });
  }
});

t.test(
  'REA-18: a port for the privileged is CannotListenError',
  { skip: mayBindAll() && 'this user may listen on any port' },
  async (t) => {
    const reactor = new Reactor();
    const port = reactor.listenTCP(1, new RecordingFactory(), { interface: LOOPBACK });
    t.match(await failureOf(port), { name: 'CannotListenError', code: 'EACCES' });
  },
);

function mayBindAll(): boolean {
  if (process.getuid?.() === 0) return true;
  const lowest = '/proc/sys/net/ipv4/ip_unprivileged_port_start';
  return !existsSync(lowest) || Number(readFileSync(lowest, 'utf8')) <= 1;
}

// ── Many, and for long ───────────────────────────────────────────────────────────────────────────────────────────────

t.test('REA-24: a port is stopped and started 1,000 times on one address', async (t) => {
  const reactor = new Reactor();
  const factory = new RecordingFactory({
    build: () => new Recorder({ made: ({ transport }) => transport.loseConnection() }),
  });
  const first = reactor.listenTCP(0, factory, { interface: LOOPBACK });
  await first.ready;
  const number = portOf(first);
  await first.stopListening();
  const port = reactor.listenTCP(number, factory, { interface: LOOPBACK });
  for (let i = 0; i < 1000; i++) {
    await port.ready;
    // We close first, so it is our end that stays in TIME_WAIT.
    const socket = nodeConnect({ host: LOOPBACK, port: number });
    await heard(socket);
    await port.stopListening();
    if (i < 999) port.startListening();
  }
  t.equal(factory.built.length, 1000);
  await until(() => factory.built.every(({ lost }) => lost));
});

/** Makes `cycle` many times; then there are as many descriptors and handles as before, and little more heap. */
async function leavesNothing(t: Test, times: number, cycle: () => Promise<void>): Promise<void> {
  const collect = (globalThis as { gc?: () => void }).gc!;
  const held = async () => {
    for (let i = 0; i < 20; i++) await turn();
    collect();
    return {
      descriptors: descriptors(),
      handles: process.getActiveResourcesInfo().length,
      heap: process.memoryUsage().heapUsed,
    };
  };
  // By the first half, all that is made once is there.
  for (let i = 0; i < times / 2; i++) await cycle();
  const before = await held();
  for (let i = 0; i < times / 2; i++) await cycle();
  const after = await held();
  t.equal(after.descriptors, before.descriptors, 'descriptors');
  t.equal(after.handles, before.handles, 'handles');
  let { heap } = after;
  // What the runtime has compiled meanwhile, or has not collected yet, goes by itself.
  for (let more = 0; more < 3 && heap >= before.heap + 2 ** 20; more++)
    heap = Math.min(heap, (await held()).heap);
  t.ok(heap < before.heap + 2 ** 20, `heap: ${before.heap} before, ${heap} after`);
}

for (const kind of ['TCP', 'UNIX'] as const) {
  t.test(
    `REA-25: 2,000 connections over ${kind} that are made, used and closed leave nothing`,
    { skip: process.platform !== 'linux' && 'descriptors are counted on Linux only' },
    async (t) => {
      const reactor = new Reactor();
      const path = socketPath(t);
      const factory = Factory.forProtocol(Echo);
      const port =
        kind === 'TCP'
          ? reactor.listenTCP(0, factory, { interface: LOOPBACK })
          : reactor.listenUNIX(path, factory);
      await port.ready;
      await leavesNothing(t, 2000, async () => {
        const client: RecordingFactory = new RecordingFactory({
          build: () =>
            new Recorder({
              made: ({ transport }) => transport.write('tea'),
              data: ({ transport }) => transport.loseConnection(),
            }),
        });
        if (kind === 'TCP') reactor.connectTCP(LOOPBACK, portOf(port), client);
        else reactor.connectUNIX(path, client);
        await until(() => client.events.includes('stop'));
      });
      await port.stopListening({ connections: 'drain' });
      t.same(reactor.getDelayedCalls(), []);
    },
  );
}

t.test(
  'REA-32: 2,000 clients that reset at once or in the middle of a write harm nobody',
  async (t) => {
    const reactor = new Reactor();
    let lost = 0;
    const factory = new RecordingFactory({
      build: () =>
        new Recorder({
          made: ({ transport }) => transport.write(Buffer.alloc(200_000)),
          lost: () => lost++,
        }),
    });
    const port = reactor.listenTCP(0, factory, { interface: LOOPBACK });
    await port.ready;
    for (let i = 0; i < 2000; i += 20) {
      const sockets = Array.from({ length: 20 }, (_, j) => {
        const socket = nodeConnect({ host: LOOPBACK, port: portOf(port) });
        socket.on('error', () => {});
        if (j % 2 === 0) socket.once('connect', () => socket.resetAndDestroy());
        else socket.once('data', () => socket.resetAndDestroy());
        return once(socket, 'close').catch(() => {});
      });
      await Promise.all(sockets);
    }
    await until(() => lost === factory.built.length);
    t.ok(lost >= 1000);
    const odd = factory.built.filter(
      ({ events }) => !/^made,lost Connection(Lost|Done)$/.test(events.join()),
    );
    t.same(odd, []);
    const last = nodeConnect({ host: LOOPBACK, port: portOf(port) });
    await once(last, 'data');
    last.destroy();
    await port.stopListening({ connections: 'drain' });
  },
);

t.test(
  'REA-16: each way to fail is told once, and leaves neither descriptor nor timer',
  async (t) => {
    const reactor = new Reactor();
    const server = createServer((socket) => socket.on('error', () => {})).listen(0, LOOPBACK);
    await once(server, 'listening');
    const { port: number } = server.address() as { port: number };
    const closed = createServer().listen(0, LOOPBACK);
    await once(closed, 'listening');
    const { port: refused } = closed.address() as { port: number };
    closed.close();
    await once(closed, 'close');
    const before = existsSync('/proc/self/fd') ? descriptors() : 0;
    const ways: [string, (factory: RecordingFactory) => void, string][] = [
      ['refused', (f) => reactor.connectTCP(LOOPBACK, refused, f), 'ConnectionRefusedError'],
      ['unreachable', (f) => reactor.connectTCP('fe80::1%lo', 1, f), 'NoRouteError|ConnectError'],
      ['no such zone', (f) => reactor.connectTCP('fe80::1%nowhere', 1, f), 'ConnectError'],
      ['no zone', (f) => reactor.connectTCP('fe80::1', 1, f), 'ConnectError'],
      ['no such zone either', (f) => reactor.connectTCP('fe80::1%toString', 1, f), 'ConnectError'],
      ['not found', (f) => reactor.connectTCP('no-such-host.invalid', 1, f), 'DNSLookupError'],
      [
        'foreign local address',
        (f) => reactor.connectTCP(LOOPBACK, number, f, { bindAddress: { host: '192.0.2.1' } }),
        'ConnectBindError',
      ],
      [
        'busy local address',
        (f) =>
          reactor.connectTCP(LOOPBACK, number, f, {
            bindAddress: { host: LOOPBACK, port: number },
          }),
        'ConnectBindError',
      ],
      ['given up', (f) => reactor.connectTCP(LOOPBACK, number, f).stopConnecting(), 'UserError'],
      [
        'at once',
        (f) => reactor.connectTCP(LOOPBACK, number, f, { timeout: 0 }),
        'TimeoutError|made',
      ],
      ['no file', (f) => reactor.connectUNIX('/nowhere/s', f), 'BadFileError'],
      ['no socket', (f) => reactor.connectUNIX(import.meta.filename, f), 'ConnectionRefusedError'],
    ];
    for (const [name, attempt, expected] of ways) {
      const factory = new RecordingFactory({
        build: () => new Recorder({ made: ({ transport }) => transport.abortConnection() }),
      });
      attempt(factory);
      await until(() => factory.events.includes('stop'));
      for (let i = 0; i < 5; i++) await turn();
      // An attempt without time may be made all the same; no other may.
      if (name !== 'at once') t.equal(factory.built.length, 0, name);
      t.equal(factory.reason !== undefined, true, `${name}: it is told how it ended`);
      if (factory.built.length === 0) {
        t.match(factory.reason!.value.name, new RegExp(`^(${expected})$`), name);
        t.equal(
          factory.events.join(),
          `start,connecting,failed ${factory.reason!.value.name},stop`,
        );
      }
      t.same(reactor.getDelayedCalls(), [], name);
    }
    server.close();
    await until(() => !process.getActiveResourcesInfo().includes('GetAddrInfoReqWrap'));
    await until(() => !existsSync('/proc/self/fd') || descriptors() <= before);
  },
);

// ── UNIX sockets ─────────────────────────────────────────────────────────────────────────────────────────────────────

const onlyUNIX = { skip: process.platform === 'win32' && 'Windows has no UNIX sockets' };
const onlyLinux = { skip: process.platform !== 'linux' && 'it is so on Linux' };

/** A path where a process has listened, with or without a lock, and died without a word. */
async function abandoned(t: Test, wantPID: boolean): Promise<string> {
  const path = socketPath(t);
  const child = start(
    t,
    `import { Factory, Protocol, reactor } from 'plait';
     const port = reactor.listenUNIX(${JSON.stringify(path)}, Factory.forProtocol(Protocol), { wantPID: ${wantPID} });
     port.ready.addCallback(() => process.kill(process.pid, 'SIGKILL'));`,
  );
  t.equal((await child.ended).signal, 'SIGKILL');
  t.ok(lstatSync(path).isSocket());
  return path;
}

t.test('REA-28: the file of a UNIX socket', onlyUNIX, async (t) => {
  t.test('has its mode from the first moment at which anybody can connect', async (t) => {
    const reactor = new Reactor();
    for (const mode of [0o600, 0o000, 0o777]) {
      const path = socketPath(t);
      const port = reactor.listenUNIX(path, new RecordingFactory(), { mode });
      // It is there already, though nothing has been reported: and with it, its mode.
      t.equal(statSync(path).mode & 0o777, mode);
      t.same(readdirSync(join(path, '..')), ['s'], 'the directory in which it was made is gone');
      await port.ready;
      t.equal(String(port.getHost()), `unix:${path}`);
      await port.stopListening();
      t.same(readdirSync(join(path, '..')), []);
    }
    for (const mode of [-1, 0o1000, 1.5, NaN])
      t.throws(() => reactor.listenUNIX('/run/tea', new RecordingFactory(), { mode }), RangeError);
  });

  t.test('can have as long a path as the system allows, in however deep a directory', async (t) => {
    const reactor = new Reactor();
    const longest = process.platform === 'linux' ? 107 : 103;
    const base = socketPath(t);
    const directory = join(base, '..', 'x'.repeat(longest - Buffer.byteLength(base) - 1));
    mkdirSync(directory);
    const path = join(directory, 's');
    t.equal(Buffer.byteLength(path), longest);
    const port = reactor.listenUNIX(path, Factory.forProtocol(Echo), { wantPID: true });
    await port.ready;
    const client = new Recorder({ made: ({ transport }) => transport.write('tea') });
    reactor.connectUNIX(path, serving(client), { checkPID: true });
    await until(() => client.text() === 'tea');
    await port.stopListening({ connections: 'abort' });
    await until(() => client.lost);
    t.same(readdirSync(directory), []);

    const long = reactor.listenUNIX(`${path}s`, new RecordingFactory(), { wantPID: true });
    t.match((await failureOf(long))?.message, /name too long \(ENAMETOOLONG\)$/);
    t.same(readdirSync(directory), []);
  });

  t.test('is not made where something lies: nothing is followed, removed or changed', async (t) => {
    const reactor = new Reactor();
    const path = socketPath(t);
    const target = `${path}.target`;
    const lay: [string, () => void][] = [
      ['a file', () => writeFileSync(path, 'mine')],
      ['a directory', () => mkdirSync(path)],
      ['a link to a file', () => symlinkSync(target, path)],
      ['a link to nowhere', () => symlinkSync(`${path}.nowhere`, path)],
    ];
    for (const wantPID of [false, true]) {
      for (const [what, make] of lay) {
        writeFileSync(target, 'mine');
        make();
        // As if a process had died that had listened here.
        if (wantPID) symlinkSync('2147483646', `${path}.lock`);
        const before = readdirSync(join(path, '..')).filter((name) => !name.endsWith('.lock'));
        const { ino, mode } = lstatSync(path);
        const port = reactor.listenUNIX(path, new RecordingFactory(), { wantPID });
        const error = await failureOf(port);
        t.match(error, { name: 'CannotListenError', code: 'EADDRINUSE' }, what);
        t.equal(lstatSync(path).ino, ino, what);
        t.equal(lstatSync(path).mode, mode, what);
        t.same(readdirSync(join(path, '..')), before, `${what}: nothing is left`);
        rmSync(path, { recursive: true });
        rmSync(target, { force: true });
      }
    }
  });

  t.test('that is replaced by a link is not followed when it stops', async (t) => {
    const reactor = new Reactor();
    const path = socketPath(t);
    const precious = `${path}.precious`;
    writeFileSync(precious, 'mine');
    const port = reactor.listenUNIX(path, new RecordingFactory());
    await port.ready;
    rmSync(path);
    symlinkSync(precious, path);
    await port.stopListening();
    t.ok(lstatSync(path).isSymbolicLink());
    t.equal(readFileSync(precious, 'utf8'), 'mine');
  });

  t.test('that is taken away, is not missed; nor is its directory', async (t) => {
    const reactor = new Reactor();
    const path = socketPath(t);
    const port = reactor.listenUNIX(path, new RecordingFactory(), { wantPID: true });
    await port.ready;
    rmSync(path);
    rmSync(`${path}.lock`);
    await port.stopListening();
    const directory = join(path, '..', 'deep');
    mkdirSync(directory);
    const deep = reactor.listenUNIX(join(directory, 's'), new RecordingFactory());
    await deep.ready;
    renameSync(directory, `${directory}.moved`);
    await deep.stopListening();
    t.ok(lstatSync(`${directory}.moved/s`).isSocket(), 'it is not where it was put');
  });

  t.test('that nobody serves is replaced under the lock of a dead process only', async (t) => {
    const reactor = new Reactor();
    const without = await abandoned(t, false);
    for (const wantPID of [false, true]) {
      const port = reactor.listenUNIX(without, new RecordingFactory(), { wantPID });
      t.match(await failureOf(port), { code: 'EADDRINUSE' });
      t.ok(lstatSync(without).isSocket());
      t.notOk(existsSync(`${without}.lock`), 'the lock is given up');
    }

    const path = await abandoned(t, true);
    const reckless = reactor.listenUNIX(path, new RecordingFactory());
    t.match(await failureOf(reckless), { code: 'EADDRINUSE' }, 'only who asks for the lock');
    const refused = new RecordingFactory();
    reactor.connectUNIX(path, refused, { checkPID: true });
    t.ok((await failed(refused)) instanceof BadFileError);
    const port = reactor.listenUNIX(path, Factory.forProtocol(Echo), { wantPID: true });
    await port.ready;
    t.equal(readlinkSync(`${path}.lock`), String(process.pid));
    const client = new Recorder({ made: ({ transport }) => transport.write('tea') });
    reactor.connectUNIX(path, serving(client), { checkPID: true });
    await until(() => client.text() === 'tea');
    await port.stopListening({ connections: 'abort' });
    await until(() => client.lost);
    t.same(readdirSync(join(path, '..')), [], 'socket and lock are gone');
  });

  t.test('that a living process has locked is left alone', async (t) => {
    const reactor = new Reactor();
    const path = socketPath(t);
    const port = reactor.listenUNIX(path, Factory.forProtocol(Echo), { wantPID: true });
    const second = reactor.listenUNIX(path, new RecordingFactory(), { wantPID: true });
    const error = await failureOf(second);
    t.equal(
      error?.message,
      `cannot listen on ${path}: process ${process.pid} has the lock ${path}.lock`,
    );
    await port.ready;
    t.equal(readlinkSync(`${path}.lock`), String(process.pid));
    t.ok(lstatSync(path).isSocket());
    await port.stopListening();
    second.startListening();
    await second.ready;
    await second.stopListening();
    writeFileSync(`${path}.lock`, 'no lock');
    t.match(await failureOf(reactor.listenUNIX(path, new RecordingFactory(), { wantPID: true })), {
      code: 'EINVAL',
    });
    const factory = new RecordingFactory();
    reactor.connectUNIX(path, factory, { checkPID: true });
    t.equal(
      (await failed(factory)).message,
      `cannot connect to unix:${path}: no living process has the lock ${path}.lock`,
    );
  });

  t.test('cannot be made where there is no directory, or none of ours', async (t) => {
    const reactor = new Reactor();
    const path = socketPath(t);
    const nowhere = reactor.listenUNIX(join(path, 's'), new RecordingFactory());
    t.match(await failureOf(nowhere), { name: 'CannotListenError', code: 'ENOENT' });
    void reactor.listenUNIX(join(path, 's'), new RecordingFactory()).stopListening();
    if (process.getuid?.() !== 0) {
      chmodSync(join(path, '..'), 0o500);
      t.match(await failureOf(reactor.listenUNIX(path, new RecordingFactory())), {
        code: 'EACCES',
      });
      chmodSync(join(path, '..'), 0o700);
    }
  });
});

t.test(
  'a name outside of the file system is listened at and connected to',
  onlyLinux,
  async (t) => {
    const reactor = new Reactor();
    const name = `\0plait-${process.pid}`;
    const port = reactor.listenUNIX(name, Factory.forProtocol(Echo));
    await port.ready;
    t.same(port.getHost(), new UNIXAddress(name));
    const second = reactor.listenUNIX(name, new RecordingFactory());
    t.match((await failureOf(second))?.message, `cannot listen on @plait-${process.pid}: address`);
    const client = new Recorder({ made: ({ transport }) => transport.write('tea') });
    const factory = serving(client);
    reactor.connectUNIX(name, factory);
    await until(() => client.text() === 'tea');
    await port.stopListening({ connections: 'abort' });
    await until(() => factory.events.includes('stop'));
    const late = new RecordingFactory();
    reactor.connectUNIX(name, late);
    t.equal((await failed(late)).name, 'ConnectionRefusedError');
    for (const wrong of ['\0', '\0a\0b'])
      t.throws(() => reactor.listenUNIX(wrong, new RecordingFactory()), {
        name: 'InvalidAddressError',
      });
  },
);

// ── Sockets of others ────────────────────────────────────────────────────────────────────────────────────────────────

/** Starts `program` with these as its descriptors 3, 4 …; what it prints is JSON. */
async function withDescriptors(
  t: Test,
  program: string,
  things: readonly (Server | Socket)[],
): Promise<{ child: ChildProcess; printed: (name: string) => Promise<Record<string, string>> }> {
  const file = join(t.testdir({ 'program.mjs': program }), 'program.mjs');
  const child = spawn(process.execPath, [...process.execArgv, file], {
    stdio: ['ignore', 'pipe', 'inherit', ...things.map(descriptorOf)],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let text = '';
  child.stdout!.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  await once(child, 'spawn');
  for (const thing of things) {
    if ('close' in thing) thing.close();
    else thing.destroy();
  }
  return {
    child,
    async printed(name) {
      const line = () => text.split('\n').find((each) => each.startsWith(`{"${name}"`));
      while (line() === undefined) {
        if (child.exitCode !== null) throw new Error(`it has not printed ${name}: ${text}`);
        await Promise.race([once(child.stdout!, 'data'), once(child, 'exit')]);
      }
      return (JSON.parse(line()!) as Record<string, Record<string, string>>)[name]!;
    },
  };
}

/** Node has no public way to ask for it. */
function descriptorOf(thing: Server | Socket): number {
  return (thing as unknown as { _handle: { fd: number } })._handle.fd;
}

async function listening(where: string): Promise<Server> {
  const server = createServer({ pauseOnConnect: true });
  if (where.includes('/')) server.listen(where);
  else server.listen(0, where);
  await once(server, 'listening');
  return server;
}

/** Both ends of a connection. */
async function pair(): Promise<{ near: Socket; far: Socket }> {
  const server = await listening(LOOPBACK);
  const far = nodeConnect(server.address() as { port: number });
  const [near] = (await once(server, 'connection')) as [Socket];
  server.close();
  return { near, far };
}

t.test('a socket that was given to the process', onlyLinux, async (t) => {
  t.test('is adopted as a port, or as a connection', async (t) => {
    const path = socketPath(t);
    const tcp = await listening(LOOPBACK);
    const { port: number } = tcp.address() as { port: number };
    const unix = await listening(path);
    // Node removes what it has bound when it closes it.
    const kept = `${path}.kept`;
    linkSync(path, kept);
    const connections = [await pair(), await pair()];
    const { child, printed } = await withDescriptors(
      t,
      `import { fstatSync } from 'node:fs';
       import { AdoptedStreamServerEndpoint, Factory, Protocol, Reactor } from 'plait';
       const print = (name, value) => console.log(JSON.stringify({ [name]: value }));
       class Echo extends Protocol {
         dataReceived(data) { this.transport.write(data); }
       }
       const reactor = new Reactor();
       const echo = Factory.forProtocol(Echo);
       const endpoint = new AdoptedStreamServerEndpoint(reactor, 3, 'AF_INET');
       const ports = [await endpoint.listen(echo), await reactor.adoptStreamPort(4, 'AF_UNIX', echo).ready];
       const twice = await endpoint.listen(echo).asPromise().catch((error) => error.name);
       const transport = reactor.adoptStreamConnection(5, 'AF_INET', echo);
       const refused = reactor.adoptStreamConnection(6, 'AF_INET', { ...echo, buildProtocol: () => null });
       print('adopted', {
         ports: ports.map((port) => String(port.getHost())),
         host: String(transport.getHost()), peer: String(transport.getPeer()),
         refused: refused.disconnecting, twice,
       });
       process.once('SIGUSR2', async () => {
         await Promise.all(ports.map((port) => port.stopListening({ connections: 'drain' })));
         transport.loseConnection();
         let again = '';
         try { ports[0].startListening(); } catch (error) { again = error.name; }
         const open = [3, 4].filter((fd) => { try { return fstatSync(fd).isSocket(); } catch { return false; } });
         print('stopped', { again, open });
       });
       setInterval(() => {}, 1000).unref();`,
      [tcp, unix, ...connections.map(({ near }) => near)],
    );
    const adopted = await printed('adopted');
    t.same(adopted, {
      ports: [`${LOOPBACK}:${number}`, 'unix:(unnamed)'],
      host: `${LOOPBACK}:${connections[0]!.far.remotePort}`,
      peer: `${LOOPBACK}:${connections[0]!.far.localPort}`,
      refused: true,
      twice: 'AlreadyListened',
    });
    const peers = [
      nodeConnect({ host: LOOPBACK, port: number }),
      nodeConnect(kept),
      connections[0]!.far,
    ];
    for (const peer of peers) {
      peer.write('tea');
      t.equal(String((await once(peer, 'data'))[0]), 'tea');
    }
    t.equal(await heard(connections[1]!.far), '', 'one was refused');
    const exited = once(child, 'exit');
    child.kill('SIGUSR2');
    const stopped = await printed('stopped');
    t.same(stopped, { again: 'AlreadyListened', open: [] });
    for (const peer of peers) await heard(peer);
    t.same(await exited, [0, null]);
  });

  t.test('is closed if it is none of the kind that was said', async (t) => {
    const connections = [await pair(), await pair()];
    const { child, printed } = await withDescriptors(
      t,
      `import { createSocket } from 'node:dgram';
       import { fstatSync, readdirSync } from 'node:fs';
       import { Factory, Protocol, Reactor } from 'plait';
       const print = (name, value) => console.log(JSON.stringify({ [name]: value }));
       const reactor = new Reactor();
       const factory = Factory.forProtocol(Protocol);
       const isSocket = (fd) => { try { return fstatSync(fd).isSocket(); } catch { return false; } };
       const sockets = () => readdirSync('/proc/self/fd').map(Number).filter(isSocket);
       const before = sockets();
       const udp = createSocket('udp4').bind(0, '127.0.0.1');
       await new Promise((resolve) => udp.once('listening', resolve));
       const fresh = sockets().filter((fd) => !before.includes(fd));
       const outcomes = {};
       const port = async (name, fd, family) => {
         const error = await reactor.adoptStreamPort(fd, family, factory).ready.asPromise().catch((error) => error);
         outcomes[name] = [error.name, error.cause?.name, isSocket(fd)].join();
       };
       const connection = (name, fd, family) => {
         try { reactor.adoptStreamConnection(fd, family, factory); }
         catch (error) { outcomes[name] = error.name; }
       };
       await port('TCP port as UNIX', 3, 'AF_UNIX');
       await port('connection as a port', 4, 'AF_INET');
       connection('IPv4 connection as IPv6', 5, 'AF_INET6');
       await port('UDP as a port', fresh[0], 'AF_INET');
       const second = createSocket('udp4').bind(0, '127.0.0.1');
       await new Promise((resolve) => second.once('listening', resolve));
       connection('UDP as a connection', fresh[0], 'AF_INET');
       print('outcomes', outcomes);
       process.exit();`,
      [await listening(LOOPBACK), ...connections.map(({ near }) => near)],
    );
    t.same(await printed('outcomes'), {
      'TCP port as UNIX': 'CannotListenError,UnsupportedAddressFamily,false',
      'connection as a port': 'CannotListenError,UnsupportedSocketType,false',
      'IPv4 connection as IPv6': 'UnsupportedAddressFamily',
      'UDP as a port': 'CannotListenError,UnsupportedSocketType,false',
      'UDP as a connection': 'UnsupportedSocketType',
    });
    for (const { far } of connections) far.destroy();
    if (child.exitCode === null) await once(child, 'exit');
  });

  t.test('is refused before anything has happened if it cannot be one', async (t) => {
    const reactor = new Reactor();
    const factory = new RecordingFactory();
    const file = openSync(import.meta.filename, 'r');
    const wrong: [number, AddressFamily, unknown][] = [
      [-1, 'AF_INET', RangeError],
      [1.5, 'AF_INET', RangeError],
      [2 ** 31, 'AF_INET', RangeError],
      ['3' as unknown as number, 'AF_INET', TypeError],
      [0, 'AF_APPLETALK' as 'AF_INET', UnsupportedAddressFamily],
      [file, 'AF_INET', UnsupportedSocketType],
      [1_000_000, 'AF_UNIX', UnsupportedSocketType],
    ];
    for (const [fd, family, expected] of wrong) {
      t.throws(() => reactor.adoptStreamPort(fd, family, factory), expected as typeof RangeError);
      t.throws(
        () => reactor.adoptStreamConnection(fd, family, factory),
        expected as typeof RangeError,
      );
    }
    t.ok(fstatSync(file).isFile(), 'it is still open');
    const poor = new Reactor({ io: new PoorIO() });
    for (const adopt of ['adoptStreamPort', 'adoptStreamConnection'] as const) {
      t.throws(() => poor[adopt](file, 'AF_INET', factory), {
        name: 'UnsupportedSocketType',
        message: 'the body poor can adopt no sockets',
      });
    }
    const backlogs: number[] = [];
    const noting = new (class extends NodeIO {
      override adoptPort(_fd: number, _family: AddressFamily, backlog: number): never {
        backlogs.push(backlog);
        throw new Error('not today');
      }
    })();
    t.throws(() => new Reactor({ io: noting }).adoptStreamPort(file, 'AF_INET', factory));
    t.same(backlogs, [511], 'FND-8B: as for a port that was not adopted');
    closeSync(file);
    t.same(factory.events, []);
  });

  t.test('is closed if its factory fails to build a protocol', async (t) => {
    class OneWireIO extends NodeIO {
      destroyed = 0;

      override adoptConnection(): Wire {
        return {
          host: new UNIXAddress(null),
          peer: new UNIXAddress(null),
          destroy: () => this.destroyed++,
        } as unknown as Wire;
      }
    }
    const io = new OneWireIO();
    const reactor = new Reactor({ io });
    const build = () => {
      throw new RangeError('not built');
    };
    t.throws(
      () => reactor.adoptStreamConnection(3, 'AF_UNIX', new RecordingFactory({ build })),
      /not built/,
    );
    t.equal(io.destroyed, 1);
  });
});

// ── Descriptors ──────────────────────────────────────────────────────────────────────────────────────────────────────

t.test(
  'REA-14: with too few descriptors for all, those that are in are served, and it is said once',
  onlyLinux,
  async (t) => {
    const program = join(
      t.testdir({
        'program.mjs': `
          import { Factory, Protocol, reactor } from 'plait';
          class Echo extends Protocol {
            dataReceived(data) { this.transport.write(data); }
          }
          const port = reactor.listenTCP(0, Factory.forProtocol(Echo), { interface: '127.0.0.1', backlog: 500 });
          await port.ready;
          console.log('port', port.getHost().port);
          process.once('SIGUSR2', () => {
            const before = process.cpuUsage();
            reactor.callLater(0.5, () => {
              const { user, system } = process.cpuUsage(before);
              console.log('percent', Math.round((user + system) / 5000));
            });
          });`,
      }),
      'program.mjs',
    );
    const node = [process.execPath, program];
    const child = spawn('sh', ['-c', 'ulimit -n 120; exec "$@"', 'sh', ...node], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    let said = '';
    let complaints = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
    const number = async (name: string): Promise<number> => {
      await until(() => new RegExp(`^${name} \\d+$`, 'm').test(said));
      return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(said)![1]);
    };
    const port = await number('port');
    const call = (): { socket: Socket; text: string } => {
      const client = { socket: nodeConnect({ host: LOOPBACK, port }), text: '' };
      client.socket.on('error', () => {});
      client.socket.on('data', (data) => (client.text += String(data)));
      client.socket.write('tea');
      return client;
    };
    const clients = Array.from({ length: 400 }, call);
    await until(() => clients.every(({ socket, text }) => text === 'tea' || socket.destroyed));
    const served = clients.filter(({ socket }) => !socket.destroyed);
    t.ok(served.length > 50 && served.length < 120, `${served.length} are served`);
    await until(() => complaints.includes('\n'));
    t.match(
      complaints,
      /^\S+ \[plait\.transport#warn\] <Port listening 127\.0\.0\.1:\d+> turns connections away until descriptors are free: too many open files \(EMFILE\)\n$/,
    );
    child.kill('SIGUSR2');
    const percent = await number('percent');
    t.ok(percent < 20, `${percent} % of CPU`);
    for (const { socket } of served) socket.write(' for two');
    await until(() => served.every(({ text }) => text === 'tea for two'));
    for (const { socket } of served.slice(0, 10)) socket.destroy();
    let late = call();
    // Those that have left may not be gone yet for the other side.
    await until(() => {
      if (late.socket.destroyed) late = call();
      return late.text === 'tea';
    });
    t.equal(complaints.split('\n').length, 2, 'it is said once');
    for (const { socket } of [...clients, late]) socket.destroy();
    child.kill('SIGKILL');
    await once(child, 'exit');
  },
);

t.test('a want of descriptors is said at most once a minute', async (t) => {
  let starve = (): void => {};
  class StarvingIO extends NodeIO {
    time = 1000;

    override now(): number {
      return this.time;
    }

    override listen(_target: unknown, events: ListenerEvents): { close(): void } {
      starve = () => events.starved?.(Object.assign(new Error('none left'), { code: 'EMFILE' }));
      setImmediate(() => events.listening(new UNIXAddress('/run/tea')));
      return { close: () => setImmediate(() => events.closed()) };
    }
  }
  const io = new StarvingIO();
  const reactor = new Reactor({ io });
  const said: string[] = [];
  const observer = (event: LogEvent): void => {
    if (event.level === 'warn') said.push(formatEvent(event));
  };
  const port = reactor.listenUNIX('/run/tea', new RecordingFactory());
  await port.ready;
  globalLogPublisher.addObserver(observer);
  globalLogPublisher.removeObserver(stderrObserver);
  t.teardown(() => {
    globalLogPublisher.removeObserver(observer);
    globalLogPublisher.addObserver(stderrObserver);
  });
  for (const time of [1000, 1001, 1059, 1060, 1061]) {
    io.time = time;
    starve();
  }
  const text =
    '<Port listening unix:/run/tea> turns connections away until descriptors are free: too many open files (EMFILE)';
  t.same(said, [text, text]);
  await port.stopListening();
});
