/**
 * A body that asks nothing of the operating system: what it is asked for is noted, and happens when a test says so. Time
 * stands still until it is moved. `MemoryReactor` is a reactor over it; a body with a network that behaves, and
 * misbehaves, is the simulation's.
 */
import { type Address, ipAddress, IPv4Address, PipeAddress, UNIXAddress } from '../address.ts';
import { asciiLowerCase } from '../bytes.ts';
import type { AddressFamily, IProtocol, Seconds } from '../interfaces.ts';
import type {
  Alarm,
  Attempt,
  ConnectEvents,
  ConnectTarget,
  DatagramEvents,
  DatagramTarget,
  IO,
  ListenerEvents,
  ListenTarget,
  SpawnedProcess,
  SpawnEvents,
  SpawnTarget,
  Wire,
  WireListener,
} from '../io/io.ts';
import { Stream } from '../transport/stream.ts';
import { AccumulatingProtocol } from './accumulating-protocol.ts';
import { MemoryDatagramSocket } from './memory-datagrams.ts';
import { MemoryWire } from './memory-wire.ts';
import { memoryHome } from './pump.ts';
import { systemError } from './sim/system-error.ts';
import { Turns } from './turns.ts';
import { INSPECT, inspected, type Inspecting, told } from '../one-line.ts';

/** What a name has for an address that nobody has given one: one of those set aside for documentation (RFC 5737). */
const ANY_HOST = '192.0.2.1';

const PIPE = new PipeAddress();

/** An attempt that goes on. */
export class MemoryAttempt implements Attempt {
  readonly target: ConnectTarget;
  readonly events: ConnectEvents;
  readonly #attempts: Set<MemoryAttempt>;

  constructor(attempts: Set<MemoryAttempt>, target: ConnectTarget, events: ConnectEvents) {
    this.#attempts = attempts;
    this.target = target;
    this.events = events;
    attempts.add(this);
  }

  /** It does not go on any more. */
  cancel(): void {
    this.#attempts.delete(this);
  }
}

/** A port that listens. */
export class MemoryListener implements WireListener {
  readonly address: Address;
  readonly events: ListenerEvents;
  readonly #io: MemoryIO;

  constructor(io: MemoryIO, address: Address, events: ListenerEvents) {
    this.#io = io;
    this.address = address;
    this.events = events;
    io.listeners.add(this);
    events.listening(address);
  }

  close(): void {
    if (this.#io.listeners.delete(this)) this.#io.turns.soon(() => this.events.closed());
  }
}

/** A process that was asked for. Twisted has no such double. */
export class MemoryProcess {
  readonly pid: number;
  /** @internal the parent's ends of its pipes */
  readonly wires: ReadonlyMap<number, Wire>;
  /** What it was sent by `signalProcess`, by number. */
  readonly signals: number[] = [];
  /** The child's ends of its pipes, by descriptor: what was written to it, and transports to answer by. */
  readonly pipes: ReadonlyMap<number, AccumulatingProtocol>;
  readonly #turns: Turns;
  readonly #events: SpawnEvents;
  #exited = false;

  /** @internal made by {@link MemoryIO} */
  constructor(io: MemoryIO, pid: number, target: SpawnTarget, events: SpawnEvents) {
    this.pid = pid;
    this.#turns = io.turns;
    this.#events = events;
    const wires = new Map<number, Wire>();
    const pipes = new Map<number, AccumulatingProtocol>();
    for (const [fd, use] of target.childFDs) {
      if (typeof use === 'number') continue;
      const { wire, peer } = io.stranger(PIPE, PIPE);
      wires.set(fd, wire);
      pipes.set(fd, peer);
    }
    this.wires = wires;
    this.pipes = pipes;
  }

  /** It ends, by itself or by a signal; its pipes are closed. Does nothing if it has ended. */
  exit(exitCode: number | null = 0, signal: string | null = null): void {
    if (this.#exited) return;
    this.#exited = true;
    for (const pipe of this.pipes.values()) pipe.transport.loseConnection();
    this.#turns.soon(() => this.#events.exited(exitCode, signal));
  }

  /** @internal */
  kill(signal: number): void {
    if (this.#exited) throw systemError('ESRCH', 'kill');
    this.signals.push(signal);
  }

  /** @internal */
  unref(): void {}

  toString(): string {
    return told(this, `${this.pid} ${this.#exited ? 'exited' : 'running'}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** The body. */
export class MemoryIO implements IO {
  readonly name: string = 'memory';
  readonly turns: Turns = new Turns();
  /** The addresses of names. */
  readonly hosts: Map<string, readonly string[]> = new Map([['localhost', ['127.0.0.1', '::1']]]);
  /** Those that go on, in order. */
  readonly attempts: Set<MemoryAttempt> = new Set();
  readonly listeners: Set<MemoryListener> = new Set();
  readonly processes: MemoryProcess[] = [];
  readonly datagramSockets: MemoryDatagramSocket[] = [];
  /** The other ends of connections that were adopted. */
  readonly adopted: AccumulatingProtocol[] = [];
  #now: Seconds = 0;
  #wake: (() => void) | undefined;
  #due: Seconds = Infinity;
  /** The next port that is free. */
  #freePort = 49_152;
  #nextPid = 1001;

  // ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  now(): Seconds {
    return this.#now;
  }

  alarm(wake: () => void): Alarm {
    this.#wake = wake;
    return {
      set: (time) => (this.#due = time),
      clear: () => (this.#due = Infinity),
      unref: () => {},
    };
  }

  soon(fn: () => void): void {
    this.turns.soon(fn);
  }

  /** When something happens next, unless a connection is made or a pump moves something; undefined for nothing. */
  nextTime(): Seconds | undefined {
    if (this.turns.waiting) return this.#now;
    return this.#due < Infinity ? this.#due : undefined;
  }

  /** The time jumps, and all happens that is due by then, and what comes of it. */
  moveTo(time: Seconds): void {
    this.#now = time;
    this.flush();
  }

  /** Does all that waits for its turn, and all calls that are due. */
  flush(): void {
    Turns.flush(() => {
      const due = this.#due <= this.#now;
      if (due) {
        this.#due = Infinity;
        this.#wake?.();
      }
      return this.turns.round() || due;
    });
  }

  keepAlive(): () => void {
    return () => {};
  }

  onSignal(): () => void {
    return () => {};
  }

  // ── Connections ──────────────────────────────────────────────────────────────────────────────────────────────────

  listen(target: ListenTarget, events: ListenerEvents): WireListener {
    const address =
      'path' in target
        ? new UNIXAddress(target.path)
        : ipAddress('TCP', target.host, target.port === 0 ? this.#freePort++ : target.port);
    return new MemoryListener(this, address, events);
  }

  connect(target: ConnectTarget, events: ConnectEvents): Attempt {
    return new MemoryAttempt(this.attempts, target, events);
  }

  adoptPort(
    _fd: number,
    family: AddressFamily,
    _backlog: number,
    events: ListenerEvents,
  ): WireListener {
    return new MemoryListener(this, this.#addressOf(family), events);
  }

  adoptConnection(_fd: number, family: AddressFamily): Wire {
    const { wire, peer } = this.stranger(this.#addressOf(family), this.#addressOf(family));
    this.adopted.push(peer);
    return wire;
  }

  #addressOf(family: AddressFamily): Address {
    if (family === 'AF_UNIX') return new UNIXAddress(null);
    return ipAddress('TCP', family === 'AF_INET' ? '127.0.0.1' : '::1', this.#freePort++);
  }

  /** The address of the end that makes the connection. */
  clientAddress(server: Address): Address {
    if (server instanceof UNIXAddress) return new UNIXAddress(null);
    const host = server instanceof IPv4Address ? '10.0.0.1' : 'fd00::1';
    return ipAddress('TCP', host, this.#freePort++);
  }

  /** A connection with somebody outside: the wire of this end, and who is at the other. */
  stranger(
    host: Address,
    peerAddress: Address,
  ): { readonly wire: MemoryWire; readonly peer: AccumulatingProtocol } {
    const [wire, far] = MemoryWire.pair(this.turns, { addresses: [host, peerAddress] });
    const peer = new AccumulatingProtocol();
    this.serve(far, peer);
    return { wire, peer };
  }

  /** Makes `protocol` that of an end that is not the reactor's. */
  serve(wire: MemoryWire, protocol: IProtocol): Stream {
    const stream = new Stream(memoryHome(this.turns), wire);
    stream.begin(protocol);
    return stream;
  }

  // ── The rest ─────────────────────────────────────────────────────────────────────────────────────────────────────

  spawn(target: SpawnTarget, events: SpawnEvents): SpawnedProcess {
    const child = new MemoryProcess(this, this.#nextPid++, target, events);
    this.processes.push(child);
    return child;
  }

  datagram(target: DatagramTarget, events: DatagramEvents): MemoryDatagramSocket {
    const host = 'host' in target ? target.host : target.family === 'IPv4' ? '0.0.0.0' : '::';
    const asked = 'host' in target ? target.port : 0;
    const port = asked === 0 ? this.#freePort++ : asked;
    const address = ipAddress('UDP', host, port);
    const socket = new MemoryDatagramSocket(this.turns, events, address);
    this.datagramSockets.push(socket);
    return socket;
  }

  /** At once. A name that nobody has given an address has one. */
  resolve(
    host: string,
    done: (error: Error | undefined, addresses: readonly string[]) => void,
    family?: 4 | 6,
  ): Attempt {
    const addresses = this.hosts.get(asciiLowerCase(host).replace(/\.$/, '')) ?? [ANY_HOST];
    const wanted = addresses.filter(
      (address) => family === undefined || address.includes(':') === (family === 6),
    );
    const error = wanted.length === 0 ? systemError('ENOTFOUND', 'getaddrinfo') : undefined;
    done(error, wanted);
    return { cancel() {} };
  }
}
