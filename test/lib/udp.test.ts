/**
 * Datagrams: lib/datagram.ts, transport/udp.ts, transport/multicast.ts and io/node-datagram.ts, over real sockets on
 * the loopback with plain `node:dgram` at the other end, and over a body that does only what the test says.
 */
import { spawn } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import {
  type Address,
  CannotListenError,
  ConnectedDatagramProtocol,
  ConnectError,
  DatagramProtocol,
  type DatagramSource,
  Deferred,
  type Failure,
  type IListeningPort,
  type IMulticastTransport,
  InvalidAddressError,
  IPv4Address,
  IPv6Address,
  type IReactorMulticast,
  type IReactorUDP,
  type IUDPTransport,
  LimitExceeded,
  type ListenUDPOptions,
  MessageLengthError,
  MulticastJoinError,
  NoRouteError,
  NotListeningError,
  PlaitError,
  Reactor,
  UnsupportedAddressFamily,
  UnsupportedSocketType,
} from 'plait';
import { failureResultOf, flushLoggedErrors, successResultOf } from 'plait/testing';
import type { DatagramEvents, DatagramSocket, DatagramTarget } from '../../lib/io/io.ts';
import { NodeIO } from '../../lib/io/node.ts';
import { globalLogPublisher, type LogEvent } from '../../lib/log.ts';
import t, { type Test } from '../fixture.ts';

const LOOPBACK = '127.0.0.1';

/** A turn of the event loop. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Turns until it is so. */
async function until(so: () => boolean): Promise<void> {
  while (!so()) await turn();
}

/** Writes down what it is told. */
class Notes extends DatagramProtocol {
  readonly told: string[] = [];
  readonly received: Buffer[] = [];
  readonly sources: DatagramSource[] = [];

  override startProtocol(): void {
    this.told.push('start');
  }

  override stopProtocol(): void {
    this.told.push('stop');
  }

  override datagramReceived(data: Buffer, from: DatagramSource): void {
    this.received.push(data);
    this.sources.push(from);
  }

  override connectionRefused(): void {
    this.told.push('refused');
  }

  override errorReceived(reason: Failure): void {
    this.told.push(reason.value.name);
  }
}

class Echo extends DatagramProtocol {
  override datagramReceived(data: Buffer, from: DatagramSource): void {
    this.transport.write(data, from);
  }
}

/** A port that is bound to the loopback, until the test ends. */
async function listen(
  t: Test,
  protocol: DatagramProtocol,
  options: ListenUDPOptions = {},
): Promise<IUDPTransport> {
  const port = new Reactor().listenUDP(0, protocol, { interface: LOOPBACK, ...options });
  t.teardown(() => port.stopListening().asPromise());
  await port.ready;
  return port;
}

/** A socket of Node's own, until the test ends. */
async function plain(t: Test, host = LOOPBACK): Promise<Socket> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  socket.bind(0, host);
  await once(socket, 'listening');
  t.teardown(() => new Promise<void>((resolve) => socket.close(resolve)));
  return socket;
}

/** What is said in warnings until the test ends. */
function warnings(t: Test): string[] {
  const said: string[] = [];
  const observer = (event: LogEvent) => {
    if (event.level === 'warn') said.push(String(event['message']) + String(event['more']));
  };
  globalLogPublisher.addObserver(observer);
  t.teardown(() => globalLogPublisher.removeObserver(observer));
  return said;
}

/** A number of a port on which nobody listens. */
async function deadPort(): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, LOOPBACK);
  await once(socket, 'listening');
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}

t.test('a port delivers datagrams, and its protocol answers whoever sent them', async (t) => {
  const port = await listen(t, new Echo());
  const peer = await plain(t);
  const host = port.getHost();
  t.type(host, IPv4Address);
  t.equal(host.type, 'UDP');
  t.equal(host.host, LOOPBACK);
  peer.send('hello', host.port, LOOPBACK);
  const [data, from] = (await once(peer, 'message')) as [Buffer, { port: number }];
  t.equal(data.toString(), 'hello');
  t.equal(from.port, host.port);
  t.equal(port.bufferedBytes, 0);
});

t.test('a datagram is written as text, bytes or pieces, to an address in each form', async (t) => {
  const notes = new Notes();
  const port = await listen(t, notes);
  const { port: number } = port.getHost();
  port.write('grüß', { host: LOOPBACK, port: number });
  port.write(new Uint8Array([1, 2]), [LOOPBACK, number]);
  port.writeSequence(['a', Buffer.from('b'), new Uint8Array([99])], port.getHost());
  await until(() => notes.received.length === 3);
  t.same(notes.received.map(String), ['grüß', '\x01\x02', 'abc']);
  t.same(notes.sources, [port.getHost(), port.getHost(), port.getHost()]);
  t.match(String(port), /^<UDP port listening 127.0.0.1:\d+>$/);
});

t.test('IPv6 works alike, and `::` takes both families', async (t) => {
  const notes = new Notes();
  const port = await listen(t, notes, { interface: '::1' });
  t.type(port.getHost(), IPv6Address);
  port.write('six', port.getHost());
  await until(() => notes.received.length === 1);
  t.same(notes.sources, [port.getHost()]);
  t.throws(() => port.write('x', [LOOPBACK, 9]), InvalidAddressError);
  const both = new Notes();
  const any = await listen(t, both, { interface: '::' });
  (await plain(t)).send('four', any.getHost().port, LOOPBACK);
  (await plain(t, '::1')).send('six', any.getHost().port, '::1');
  await until(() => both.received.length === 2);
  t.same(both.sources.map(({ host }) => host).sort(), ['::1', '::ffff:127.0.0.1']);
});

t.test(
  'REA-29: datagrams of 0 and 65,507 bytes go both ways whole, 65,508 is an error',
  async (t) => {
    const notes = new Notes();
    const port = await listen(t, notes, { maxPacketSize: 65_535 });
    const peer = await plain(t);
    const received: Buffer[] = [];
    peer.on('message', (data: Buffer) => received.push(data));
    const longest = Buffer.alloc(65_507, 'plait ');
    const to: [string, number] = [LOOPBACK, peer.address().port];
    port.write('', to);
    port.write(longest, to);
    t.throws(
      () => port.write(Buffer.alloc(65_508), to),
      new MessageLengthError('cannot send a datagram of 65508 bytes: one has at most 65507'),
    );
    t.throws(() => port.write('ü'.repeat(32_754), to), MessageLengthError, 'bytes are counted');
    await until(() => received.length === 2);
    t.equal(received[0]?.length, 0);
    t.ok(received[1]?.equals(longest));
    peer.send(Buffer.alloc(0), port.getHost().port, LOOPBACK);
    peer.send(longest, port.getHost().port, LOOPBACK);
    await until(() => notes.received.length === 2);
    t.equal(notes.received[0]?.length, 0);
    t.ok(notes.received[1]?.equals(longest));
    t.same(notes.told, ['start']);
    const six = new Notes();
    const port6 = await listen(t, six, { interface: '::1', maxPacketSize: 65_535 });
    port6.write(Buffer.alloc(65_527), port6.getHost());
    t.throws(() => port6.write(Buffer.alloc(65_528), port6.getHost()), MessageLengthError);
    await until(() => six.received.length === 1);
    t.equal(six.received[0]?.length, 65_527);
  },
);

t.test('what is longer than maxPacketSize is cut, at 8,192 bytes by default', async (t) => {
  const lengths = async (options: ListenUDPOptions) => {
    const notes = new Notes();
    const port = await listen(t, notes, options);
    for (const length of [8191, 8192, 8193, 3]) port.write(Buffer.alloc(length), port.getHost());
    await until(() => notes.received.length === 4);
    return notes.received.map((data) => data.length);
  };
  t.same(await lengths({}), [8191, 8192, 8192, 3]);
  t.same(await lengths({ maxPacketSize: 2 }), [2, 2, 2, 2]);
});

t.test('REA-29: a connected port is told when nobody listens there', async (t) => {
  class Caller extends Notes {
    override startProtocol(): void {
      super.startProtocol();
      this.transport.connect(LOOPBACK, dead);
      this.transport.write('anybody?');
    }
  }
  const dead = await deadPort();
  const caller = new Caller();
  await listen(t, caller);
  await until(() => caller.told.includes('refused'));
  t.same(caller.told, ['start', 'refused']);
  // The notice may come with the next datagram as well.
  caller.transport.write('once more', [LOOPBACK, dead]);
  await until(() => caller.told.length > 2);
  t.equal(caller.told[2], 'refused');
});

t.test('a port that is not connected is not told', async (t) => {
  const notes = new Notes();
  const port = await listen(t, notes);
  const dead = await deadPort();
  for (let i = 0; i < 3; i++) port.write('anybody?', [LOOPBACK, dead]);
  // Whatever was to come of those has come before this.
  port.write('me', port.getHost());
  await until(() => notes.received.length === 1);
  t.same(notes.told, ['start']);
});

t.test('a connected port sends to and hears from one address', async (t) => {
  class Caller extends ConnectedDatagramProtocol {
    readonly received: string[] = [];

    override datagramReceived(data: Buffer): void {
      this.received.push(data.toString());
    }
  }
  const caller = new Caller();
  const port = await listen(t, caller);
  const [peer, stranger] = [await plain(t), await plain(t)];
  const { port: there } = peer.address();
  peer.on('message', (data: Buffer, { port }) => {
    stranger.send('a stranger', port, LOOPBACK, () => peer.send(data, port, LOOPBACK));
  });
  t.throws(() => port.connect('localhost', there), InvalidAddressError);
  t.throws(() => port.connect('::1', there), InvalidAddressError);
  t.throws(() => port.connect(LOOPBACK, 0), RangeError);
  t.throws(() => port.write('x'), InvalidAddressError);
  port.connect(LOOPBACK, there);
  t.throws(
    () => port.connect(LOOPBACK, there),
    new ConnectError(
      `cannot connect to 127.0.0.1, port ${there}: the port is connected to 127.0.0.1, port ${there}`,
    ),
  );
  t.throws(() => port.write('x', [LOOPBACK, stranger.address().port]), InvalidAddressError);
  port.write('one');
  port.write('two', { host: LOOPBACK, port: there });
  await until(() => caller.received.length === 2);
  t.same(caller.received, ['one', 'two']);
});

t.test(
  'REA-29: what datagramReceived throws is logged, not too often, and the port lives',
  async (t) => {
    class Picky extends Notes {
      override datagramReceived(data: Buffer, from: DatagramSource): void {
        super.datagramReceived(data, from);
        if (data.length === 0) throw new RangeError('too short');
      }
    }
    const picky = new Picky();
    const port = await listen(t, picky);
    const peer = await plain(t);
    for (let i = 0; i < 100; i++) peer.send('', port.getHost().port, LOOPBACK);
    peer.send('fine', port.getHost().port, LOOPBACK);
    await until(() => picky.received.length === 101);
    const logged = flushLoggedErrors(RangeError);
    t.equal(logged.length, 1);
    t.equal(logged[0]?.['hook'], 'datagramReceived');
    t.same(picky.told, ['start']);
  },
);

t.test('what goes wrong again after a while is logged again, with how often it did', async (t) => {
  const io = new ScriptedIO();
  const said = warnings(t);
  const port = new Reactor({ io }).listenUDP(0, new DatagramProtocol());
  t.teardown(() => port.stopListening().asPromise());
  io.bound();
  const lost = (port: number) =>
    Object.assign(new Error('x'), { code: 'EPERM', syscall: 'send', address: LOOPBACK, port });
  io.events.troubled(lost(7));
  io.events.troubled(lost(7));
  io.events.troubled(lost(7));
  io.time += 4;
  io.events.troubled(lost(7));
  t.same(said, ['cannot send to 127.0.0.1, port 7: not permitted (EPERM)']);
  io.time += 2;
  io.events.troubled(lost(7));
  t.match(said[1], /^cannot send to .* \(and 3 times before\)$/);
  for (let i = 100; i < 200; i++) io.events.troubled(lost(i));
  t.equal(said.length, 2, 'strangers have many addresses');
  io.events.troubled(new Error('something else'));
  t.equal(said.length, 3);
});

t.test('a hook that throws is logged, and the port lives', async (t) => {
  class Broken extends DatagramProtocol {
    override stopProtocol(): void {
      throw new RangeError('stopProtocol');
    }
    override connectionRefused(): void {
      throw new RangeError('connectionRefused');
    }
    connectionFailed(): void {
      throw new RangeError('connectionFailed');
    }
    override errorReceived(): void {
      throw new RangeError('errorReceived');
    }
  }
  const io = new ScriptedIO();
  const port = new Reactor({ io }).listenUDP(0, new Broken());
  io.bound();
  port.connect(LOOPBACK, 7);
  io.events.refused();
  io.events.connectFailed(new Error('no'));
  io.events.troubled(new Error('lost'));
  t.equal(port.bufferedBytes, 0);
  successResultOf(port.ready);
  await t.rejects(port.stopListening().asPromise(), { message: 'stopProtocol' });
  t.same(
    flushLoggedErrors(RangeError).map(({ failure }) => failure?.value.message),
    ['connectionRefused', 'connectionFailed', 'errorReceived'],
  );
});

t.test('a startProtocol that throws ends the port', async (t) => {
  class Broken extends Notes {
    override startProtocol(): void {
      if (stops) void this.transport.stopListening();
      throw new RangeError('not today');
    }
  }
  let stops = false;
  const broken = new Broken();
  const port = new Reactor().listenUDP(0, broken, { interface: LOOPBACK });
  await t.rejects(port.ready.asPromise(), RangeError);
  await port.stopListening();
  stops = true;
  port.startListening();
  await t.rejects(port.ready.asPromise(), CannotListenError, 'it was stopped before');
  await port.stopListening();
  t.equal(flushLoggedErrors(RangeError).length, 2);
  t.same(broken.told, []);
});

t.test('arguments that cannot be are refused before anything happens', async (t) => {
  const reactor = new Reactor();
  const notes = new Notes();
  const kind = (value: unknown) => (typeof value === 'number' ? RangeError : TypeError);
  for (const where of ['localhost', '127.0.0.1\0', '127.1', ' ', null, 7, {}]) {
    t.throws(
      () => reactor.listenUDP(0, notes, { interface: where as string }),
      InvalidAddressError,
      JSON.stringify(where),
    );
  }
  for (const port of [-1, 65_536, 1.5, NaN, '80' as never])
    t.throws(() => reactor.listenUDP(port, notes), kind(port), String(port));
  for (const limit of [0, -1, NaN, Infinity, 1.5, '9' as never]) {
    t.throws(() => reactor.listenUDP(0, notes, { maxPacketSize: limit }), kind(limit));
    t.throws(() => reactor.listenUDP(0, notes, { maxBufferedBytes: limit }), kind(limit));
  }
  t.same(notes.told, []);
  const port = await listen(t, notes);
  for (const host of ['localhost', '', '127.0.0.1\0.example', '127.1', '::1', null as never]) {
    t.throws(() => port.write('x', { host, port: 9 }), InvalidAddressError, host);
    t.throws(() => port.connect(host, 9), InvalidAddressError, host);
  }
  for (const number of [0, -1, 65_536, 1.5, NaN, '9' as never])
    t.throws(() => port.write('x', [LOOPBACK, number]), kind(number), String(number));
  for (const data of [undefined, null, 7, ['a'], {}, new ArrayBuffer(3)])
    t.throws(() => port.write(data as never, port.getHost()), TypeError);
  t.throws(() => port.writeSequence([7 as never], port.getHost()), TypeError);
  t.same(notes.received, []);
});

t.test(
  'a port that is not bound yet says so, one that is closed takes writes and drops them',
  async (t) => {
    const notes = new Notes();
    const port = new Reactor().listenMulticast(0, notes, { interface: LOOPBACK });
    const to: [string, number] = [LOOPBACK, 9];
    t.equal(port.bufferedBytes, 0);
    t.match(String(port), '<UDP port binding port 0>');
    for (const early of [
      () => port.write('x', to),
      () => port.connect(...to),
      () => port.getHost(),
      () => port.setBroadcastAllowed(true),
      () => port.setTTL(3),
    ])
      t.throws(early, NotListeningError);
    failureResultOf(port.joinGroup('239.1.2.3')).trap(NotListeningError);
    await port.ready;
    const host = port.getHost();
    await port.stopListening();
    port.write('x', to);
    t.throws(() => port.connect(...to), NotListeningError);
    t.throws(() => port.setLoopbackMode(true), NotListeningError);
    failureResultOf(port.setOutgoingInterface(LOOPBACK)).trap(NotListeningError);
    t.equal(port.getHost(), host, 'its address is still known');
    t.equal(port.bufferedBytes, 0);
    await port.stopListening();
    t.same(notes.told, ['start', 'stop']);
  },
);

t.test('stopListening fires after stopProtocol, and nothing is delivered after it', async (t) => {
  const notes = new Notes();
  const port = await listen(t, notes);
  for (let i = 0; i < 10; i++) port.write('x', port.getHost());
  const stopped = port.stopListening().addCallback(() => notes.told.push('fired'));
  t.same(notes.told, ['start'], 'not from inside the call');
  port.loseConnection();
  await Promise.all([stopped, port.stopListening()]);
  t.same(notes.told, ['start', 'stop', 'fired']);
  t.same(notes.received, []);
});

t.test('a port may listen again, on its old number too', async (t) => {
  const notes = new Notes();
  const port = await listen(t, notes);
  t.throws(() => port.startListening(), /port is listening/);
  port.setBroadcastAllowed(true);
  await port.stopListening();
  port.startListening();
  await port.ready;
  t.equal(port.getBroadcastAllowed(), false, 'a new socket');
  port.write('me', port.getHost());
  await until(() => notes.received.length === 1);
  const { port: number } = port.getHost();
  await port.stopListening();
  const other = new Reactor().listenUDP(number, notes, { interface: LOOPBACK });
  await other.ready;
  await other.stopListening();
  t.same(notes.told, ['start', 'stop', 'start', 'stop', 'start', 'stop']);
});

t.test('a port that cannot be bound says why', async (t) => {
  const { port } = (await listen(t, new Notes())).getHost();
  const notes = new Notes();
  const taken = new Reactor().listenUDP(port, notes, { interface: LOOPBACK });
  const error = await taken.ready.asPromise().catch((error: unknown) => error);
  t.type(error, CannotListenError);
  t.match(error, { code: 'EADDRINUSE', port, message: /in use/ });
  failureResultOf(taken.ready).trap(CannotListenError);
  t.same(notes.told, []);
});

t.test('hooks may stop the port', async (t) => {
  const told: string[] = [];
  class Stops extends DatagramProtocol {
    readonly #when: string;

    constructor(when: string) {
      super();
      this.#when = when;
    }

    #told(what: string): void {
      told.push(what);
      if (what !== this.#when) return;
      void this.transport.stopListening().addCallback(() => told.push('fired'));
      this.transport.write('x', this.transport.getHost());
    }

    override startProtocol(): void {
      this.#told('start');
      this.transport.write('1', this.transport.getHost());
      this.transport.write('2', this.transport.getHost());
    }

    override datagramReceived(): void {
      this.#told('datagram');
    }

    override stopProtocol(): void {
      this.#told('stop');
    }
  }
  const first = new Reactor().listenUDP(0, new Stops('start'), { interface: LOOPBACK });
  await t.rejects(first.ready.asPromise(), CannotListenError);
  await until(() => told.includes('fired'));
  t.same(told.splice(0), ['start', 'stop', 'fired']);
  await listen(t, new Stops('datagram'));
  await until(() => told.includes('fired'));
  t.same(told.splice(0), ['start', 'datagram', 'stop', 'fired']);
  const last = await listen(t, new Stops('stop'));
  await until(() => told.length === 3);
  await last.stopListening();
  t.same(told.splice(0), ['start', 'datagram', 'datagram', 'stop', 'fired']);
});

t.test('a protocol serves one port at a time, unless it says otherwise', async (t) => {
  const notes = new Notes();
  await listen(t, notes);
  const second = new Reactor().listenUDP(0, notes, { interface: LOOPBACK });
  await t.rejects(second.ready.asPromise(), /cannot use Notes on a second port/);
  t.equal(flushLoggedErrors().length, 1);
  class Many extends Notes {
    override noisy = false;
    override makeConnection(transport: IUDPTransport): void {
      this.transport = transport;
      this.doStart();
    }
  }
  const many = new Many();
  const [one, other] = [await listen(t, many), await listen(t, many)];
  t.equal(many.numPorts, 2);
  await one.stopListening();
  t.same(many.told, ['start']);
  await other.stopListening();
  t.same(many.told, ['start', 'stop']);
  many.doStop();
  t.same(many.told, ['start', 'stop']);
  t.equal(many.logPrefix(), 'Many');
});

t.test('the reactor stops its ports, and its events tell of those that listen', async (t) => {
  const reactor = new Reactor();
  const ports: IListeningPort[] = [];
  reactor.events.on('listening', (port: IListeningPort) => ports.push(port));
  const stopped = reactor.run({ installSignalHandlers: false });
  const notes = new Notes();
  const port = reactor.listenUDP(0, notes, { interface: LOOPBACK });
  await port.ready;
  t.same(ports, [port]);
  reactor.stop();
  await stopped;
  await until(() => notes.told.includes('stop'));
  t.throws(() => port.setBroadcastAllowed(true), NotListeningError);
});

t.test('a port may be used with `await using`', async (t) => {
  const notes = new Notes();
  const port = new Reactor().listenUDP(0, notes, { interface: LOOPBACK });
  await port.ready;
  await port[Symbol.asyncDispose]();
  t.same(notes.told, ['start', 'stop']);
});

t.test('broadcasts must be allowed', async (t) => {
  const notes = new Notes();
  const port = await listen(t, notes, { interface: '' });
  const to = { host: '127.255.255.255', port: port.getHost().port };
  t.equal(port.getBroadcastAllowed(), false);
  port.write('all', to);
  await until(() => notes.told.length > 1);
  t.same(notes.told, ['start', 'PlaitError']);
  port.setBroadcastAllowed(true);
  t.equal(port.getBroadcastAllowed(), true);
  port.write('all', to);
  await until(() => notes.received.length + notes.told.length > 2);
  t.same(notes.received.map(String), ['all']);
  const io = new ScriptedIO();
  const scripted = new Reactor({ io }).listenUDP(0, new Notes());
  io.bound();
  scripted.write('all', ['<broadcast>', 7]);
  t.same(io.calls, ['send all 255.255.255.255 7']);
  await scripted.stopListening();
});

t.test('multicast: a member of a group receives what is sent to it', async (t) => {
  const group = '239.255.77.7';
  const notes = new Notes();
  const port = new Reactor().listenMulticast(0, notes);
  t.teardown(() => port.stopListening().asPromise());
  await port.ready;
  const { port: number } = port.getHost();
  try {
    await port.joinGroup(group, LOOPBACK);
    await port.setOutgoingInterface(LOOPBACK);
  } catch (error) {
    // Some containers have a loopback that knows no groups.
    t.comment(`skipped: ${String(error)}`);
    return;
  }
  t.equal(port.getOutgoingInterface(), LOOPBACK);
  port.setTTL(0);
  t.equal(port.getTTL(), 0);
  port.setLoopbackMode(false);
  t.equal(port.getLoopbackMode(), false);
  port.setLoopbackMode(true);
  port.write('hello, group', [group, number]);
  await until(() => notes.received.length + notes.told.length > 1);
  t.same(notes.received.map(String), ['hello, group']);
  const joined = port.joinGroup(group, LOOPBACK);
  failureResultOf(joined).trap(MulticastJoinError);
  await port.leaveGroup(group, LOOPBACK);
  const left = failureResultOf(port.leaveGroup(group, LOOPBACK)).trap(MulticastJoinError);
  t.match(left.message, 'cannot leave the group 239.255.77.7 on 127.0.0.1: ');
});

t.test('multicast: what cannot be is refused, what is set is remembered', async (t) => {
  const reactor = new Reactor();
  const port = reactor.listenMulticast(0, new Notes(), { interface: LOOPBACK });
  await port.ready;
  t.same(
    [port.getTTL(), port.getLoopbackMode(), port.getOutgoingInterface()],
    [1, true, ''],
    'as the system has it',
  );
  for (const group of ['localhost', 'ff02::1', '', '239.1.2.3\0'])
    failureResultOf(port.joinGroup(group)).trap(InvalidAddressError);
  failureResultOf(port.joinGroup('239.1.2.3', 'lo')).trap(InvalidAddressError);
  const error = failureResultOf(port.joinGroup('10.1.2.3')).trap(MulticastJoinError);
  t.match(error.message, /^cannot join the group 10.1.2.3: /);
  for (const ttl of [-1, 256, 1.5, NaN]) t.throws(() => port.setTTL(ttl), RangeError);
  failureResultOf(port.setOutgoingInterface('eth0')).trap(InvalidAddressError);
  failureResultOf(port.setOutgoingInterface('203.0.113.77')).trap(InvalidAddressError);
  port.setTTL(9);
  await port.stopListening();
  port.startListening();
  await port.ready;
  t.equal(port.getTTL(), 1);
  await port.stopListening();
});

t.test('multicast: several may listen where each says so', async (t) => {
  const reactor = new Reactor();
  const options = { interface: LOOPBACK, listenMultiple: true };
  const first = reactor.listenMulticast(0, new Notes(), options);
  t.teardown(() => first.stopListening().asPromise());
  await first.ready;
  const second = reactor.listenMulticast(first.getHost().port, new Notes(), options);
  t.teardown(() => second.stopListening().asPromise());
  await second.ready;
  const third = reactor.listenMulticast(first.getHost().port, new Notes(), { interface: LOOPBACK });
  await t.rejects(third.ready.asPromise(), CannotListenError);
});

t.test('multicast: the interface of an IPv6 group is named by its zone', async (t) => {
  const io = new ScriptedIO();
  const port = new Reactor({ io }).listenMulticast(0, new Notes(), { interface: '::' });
  io.bound(new IPv6Address('UDP', '::', 7));
  await port.joinGroup('ff02::1', 'eth0');
  await port.leaveGroup('ff02::1', '::%eth0');
  await port.joinGroup('ff02::2');
  await port.setOutgoingInterface('1');
  port.write('x', new IPv6Address('UDP', 'fe80::1', 7, 0, 'eth0'));
  t.same(io.calls, [
    'joinGroup ff02::1 ::%eth0',
    'leaveGroup ff02::1 ::%eth0',
    'joinGroup ff02::2 ',
    'setMulticastInterface ::%1',
    'send x fe80::1%eth0 7',
  ]);
  await port.stopListening();
});

t.test('a port over a socket that the process was given', async (t) => {
  const socket = await plain(t);
  // Node has no public way to tell the descriptor of a socket.
  const state = Object.getOwnPropertySymbols(socket).find(({ description }) =>
    description?.includes('state'),
  );
  const { handle } = Reflect.get(socket, state ?? 'none') as { handle: { fd: number } };
  const program = `
    import { DatagramProtocol, Reactor } from 'plait';
    class Echo extends DatagramProtocol {
      datagramReceived(data, from) { this.transport.write(data, from); this.transport.stopListening(); }
    }
    const reactor = new Reactor();
    const wrong = reactor.adoptDatagramPort(4, 'AF_INET', new Echo());
    await wrong.ready.asPromise().catch((error) => console.log(error.name));
    const six = reactor.adoptDatagramPort(5, 'AF_INET6', new Echo());
    await six.ready.asPromise().catch((error) => console.log(error.name));
    const port = reactor.adoptDatagramPort(3, 'AF_INET', new Echo(), 5);
    await port.ready;
    console.log(String(port.getHost().port));
    await new Promise((resolve) => process.once('beforeExit', resolve));
    try { port.startListening(); } catch (error) { console.log(error.message); }
  `;
  const file = join(t.testdir({ 'program.mjs': program }), 'program.mjs');
  const child = spawn(process.execPath, [...process.execArgv, file], {
    stdio: ['ignore', 'pipe', 'inherit', handle.fd, 'pipe', handle.fd],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let said = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = once(child, 'close');
  await until(() => said.includes(String(socket.address().port)));
  const peer = await plain(t);
  const sent = socket.address().port;
  // This process holds the socket as well, and either may take what arrives.
  let answer = '';
  peer.on('message', (data: Buffer) => (answer = data.toString()));
  socket.on('message', () => peer.send('hello, child', sent, LOOPBACK));
  peer.send('hello, child', sent, LOOPBACK);
  await ended;
  t.equal(answer, 'hello');
  t.same(said.split('\n').slice(0, -1), [
    'UnsupportedSocketType',
    'UnsupportedAddressFamily',
    String(sent),
    'cannot listen again: descriptor 3 was closed with the port',
  ]);
  const reactor = new Reactor();
  for (const fd of [0, -1, 1.5, NaN, 2 ** 31])
    t.throws(() => reactor.adoptDatagramPort(fd, 'AF_INET', new Notes()), RangeError);
  t.throws(
    () => reactor.adoptDatagramPort(3, 'UNIX' as never, new Notes()),
    UnsupportedAddressFamily,
  );
  const none = reactor.adoptDatagramPort(2 ** 31 - 1, 'AF_INET', new Notes());
  t.match(String(none), 'descriptor 2147483647');
  await t.rejects(none.ready.asPromise(), UnsupportedSocketType);
});

t.test('20,000 datagrams there and back: none is changed, none is lost', async (t) => {
  const COUNT = 20_000;
  const WINDOW = 32;
  let sent = 0;
  let back = 0;
  let changed = 0;
  const done = new Deferred<void>();
  class Client extends DatagramProtocol {
    next(): void {
      if (sent === COUNT) return;
      const data = Buffer.alloc(100 + (sent % 900), sent % 251);
      data.writeUInt32BE(sent++);
      this.transport.write(data);
    }

    override startProtocol(): void {
      this.transport.connect(LOOPBACK, server.getHost().port);
      for (let i = 0; i < WINDOW; i++) this.next();
    }

    override datagramReceived(data: Buffer): void {
      const number = data.readUInt32BE();
      const body = data.subarray(4);
      const whole = data.length === 100 + (number % 900);
      if (number !== back || !whole || !body.every((byte) => byte === number % 251)) changed++;
      if (++back === COUNT) done.callback();
      else this.next();
    }
  }
  const server = await listen(t, new Echo());
  const before = process.memoryUsage().rss;
  await listen(t, new Client());
  await done;
  t.equal(changed, 0);
  t.ok(process.memoryUsage().rss - before < 100 * 1024 * 1024, 'memory is bounded');
});

t.test('U8: a thousand ports leave nothing behind', async (t) => {
  const reactor = new Reactor();
  const notes = new Notes();
  const before = process.getActiveResourcesInfo().length;
  for (let i = 0; i < 1000; i++) {
    const port = reactor.listenUDP(0, notes, { interface: LOOPBACK });
    // Every other one is stopped while it is being bound.
    if (i % 2 === 0) await port.ready;
    await port.stopListening();
  }
  t.equal(notes.told.length, 1000);
  t.equal(notes.numPorts, 0);
  await until(() => process.getActiveResourcesInfo().length <= before);
});

// ── Over a body that does only what the test says ────────────────────────────────────────────────────────────────────

/** Node's clock and turns, and a datagram socket that does nothing but take notes. */
class ScriptedIO extends NodeIO {
  events!: DatagramEvents;
  time = 0;
  waiting = 0;
  readonly calls: string[] = [];
  /** Called before `datagram` returns. */
  early: ((events: DatagramEvents) => void) | undefined;

  override now(): number {
    return this.time;
  }

  bound(address: IPv4Address | IPv6Address = new IPv4Address('UDP', LOOPBACK, 7)): void {
    this.events.bound(address);
  }

  override datagram(_target: DatagramTarget, events: DatagramEvents): DatagramSocket {
    this.events = events;
    this.early?.(events);
    const { calls } = this;
    const note =
      (name: string) =>
      (...args: unknown[]) =>
        void calls.push([name, ...args].join(' '));
    const waiting = () => this.waiting;
    return {
      get bufferedBytes() {
        return waiting();
      },
      send: (data, to) =>
        note('send')(Buffer.from(data), ...(to === undefined ? [] : [to.host, to.port])),
      connect: note('connect'),
      setBroadcast: note('setBroadcast'),
      joinGroup: note('joinGroup'),
      leaveGroup: note('leaveGroup'),
      setMulticastTTL: note('setMulticastTTL'),
      setMulticastLoopback: note('setMulticastLoopback'),
      setMulticastInterface: note('setMulticastInterface'),
      close: () => setImmediate(() => events.closed()),
    };
  }
}

t.test(
  'a body may bind at once, and then the protocol has started when listenUDP returns',
  async (t) => {
    class Greets extends Notes {
      override startProtocol(): void {
        super.startProtocol();
        this.transport.write('hello', [LOOPBACK, 9]);
      }
    }
    const io = new ScriptedIO();
    io.early = () => io.bound();
    const greets = new Greets();
    const port = new Reactor({ io }).listenUDP(0, greets);
    t.same(greets.told, ['start']);
    t.same(io.calls, ['send hello 127.0.0.1 9']);
    t.equal(successResultOf(port.ready), port);
    await port.stopListening();
    io.early = (events) => events.failed(new Error('no sockets today'));
    const failing = new Reactor({ io }).listenUDP(0, greets);
    failureResultOf(failing.ready).trap(CannotListenError);
    await failing.stopListening();
  },
);

t.test('what the system does not take waits, but not without limit', async (t) => {
  const io = new ScriptedIO();
  const notes = new Notes();
  const port = new Reactor({ io }).listenUDP(0, notes, { maxBufferedBytes: 10 });
  io.bound();
  port.write('longer than that', [LOOPBACK, 9]);
  io.waiting = 8;
  t.equal(port.bufferedBytes, 8);
  port.write('12', [LOOPBACK, 9]);
  port.write('123', [LOOPBACK, 9]);
  port.write('456', [LOOPBACK, 9]);
  t.same(io.calls, ['send longer than that 127.0.0.1 9', 'send 12 127.0.0.1 9']);
  t.same(notes.told, ['start']);
  await turn();
  t.same(notes.told, ['start', 'LimitExceeded'], 'told once, in a turn of its own');
  port.write('789', [LOOPBACK, 9]);
  await port.stopListening();
  await turn();
  t.same(notes.told, ['start', 'LimitExceeded', 'stop']);
  t.type(new LimitExceeded('x', 1), PlaitError);
});

t.test('what goes wrong with a datagram is told as an error of the tree', async (t) => {
  const reasons: Error[] = [];
  class Hears extends DatagramProtocol {
    override errorReceived(reason: Failure): void {
      reasons.push(reason.value);
    }
  }
  const io = new ScriptedIO();
  const port = new Reactor({ io }).listenUDP(0, new Hears());
  io.bound();
  const where = { syscall: 'send', address: LOOPBACK, port: 9 };
  for (const code of ['EMSGSIZE', 'ENETUNREACH', 'EHOSTUNREACH', 'ENOBUFS'])
    io.events.troubled(Object.assign(new Error(code), { code, ...where }));
  io.events.troubled(new Error('out of sorts'));
  t.same(
    reasons.map(({ name, message }) => `${name}: ${message}`),
    [
      'MessageLengthError: cannot send to 127.0.0.1, port 9: EMSGSIZE',
      'NoRouteError: cannot send to 127.0.0.1, port 9: network is unreachable (ENETUNREACH)',
      'NoRouteError: cannot send to 127.0.0.1, port 9: no route to host (EHOSTUNREACH)',
      'PlaitError: cannot send to 127.0.0.1, port 9: ENOBUFS',
      'PlaitError: cannot receive: out of sorts',
    ],
  );
  t.match(reasons[1], { code: 'ENETUNREACH', cause: { code: 'ENETUNREACH' } });
  t.type(reasons[1], NoRouteError);
  await port.stopListening();
});

t.test('a port that could not be connected says so, and may try again', async (t) => {
  const told: string[] = [];
  class Caller extends ConnectedDatagramProtocol {
    override connectionFailed(reason: Failure): void {
      told.push(reason.value.name);
      this.transport.connect(LOOPBACK, 8);
    }
  }
  const io = new ScriptedIO();
  const port = new Reactor({ io }).listenUDP(0, new Caller());
  io.bound();
  port.connect(LOOPBACK, 7);
  port.write('x');
  io.events.connectFailed(Object.assign(new Error('no'), { code: 'ENETUNREACH' }));
  t.same(told, ['NoRouteError']);
  t.same(io.calls, ['connect 127.0.0.1 7', 'send x', 'connect 127.0.0.1 8']);
  await port.stopListening();
  const notes = new Notes();
  const other = new Reactor({ io }).listenUDP(0, notes);
  io.bound();
  other.connect(LOOPBACK, 7);
  io.events.connectFailed(Object.assign(new Error('no'), { code: 'EADDRNOTAVAIL' }));
  t.same(notes.told, ['start', 'ConnectBindError']);
  const stopped = other.stopListening();
  io.events.received(Buffer.from('late'), new IPv4Address('UDP', LOOPBACK, 7));
  io.events.refused();
  io.events.troubled(new Error('late'));
  io.events.connectFailed(new Error('late'));
  await stopped;
  t.same(notes.told, ['start', 'ConnectBindError', 'stop']);
  t.same(notes.received, []);
  // A plain protocol lacks nothing.
  new ConnectedDatagramProtocol().connectionFailed(undefined as never);
  new DatagramProtocol().connectionRefused();
  new DatagramProtocol().datagramReceived(Buffer.alloc(0), new IPv4Address('UDP', LOOPBACK, 7));
});

t.test(
  'Node: a connection that fails is told, and what was written meanwhile is lost',
  async (t) => {
    const notes = new Notes();
    const port = await listen(t, notes);
    // From the loopback no other network can be reached.
    port.connect('203.0.113.1', 9);
    port.write('lost');
    await until(() => notes.told.length === 3);
    t.same(notes.told, ['start', 'ConnectError', 'PlaitError']);
    const peer = await plain(t);
    port.connect(LOOPBACK, peer.address().port);
    port.write('found');
    t.equal(String((await once(peer, 'message'))[0]), 'found');
  },
);

t.test('a body without datagrams says so', async (t) => {
  class Bare extends NodeIO {
    override readonly name = 'bare';
    override datagram = undefined as never;
  }
  t.throws(
    () => new Reactor({ io: new Bare() }).listenUDP(0, new Notes()),
    new UnsupportedSocketType('the body bare has no datagram sockets'),
  );
});

t.test('the reactor offers what the interfaces say', async (t) => {
  const udp: IReactorUDP & IReactorMulticast = new Reactor();
  const port: IMulticastTransport = udp.listenMulticast(0, new Notes());
  const address: Address = await port.ready.addCallback((ready) => ready.getHost());
  t.type(address, IPv4Address);
  await port.stopListening();
});
