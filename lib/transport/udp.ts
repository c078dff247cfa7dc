/**
 * How datagrams come and go: a port that is bound, and the protocol that it delivers to, over any body. It keeps no
 * order and repeats nothing: what the network loses is lost. Twisted: `twisted.internet.udp`.
 *
 * Rules for editors:
 * 1. Every call into a user's code is guarded: what it throws is logged, at most so often, and the port lives on. Only
 *    a `startProtocol` that throws ends it.
 * 2. What the caller could have known (an address, a length, a port that is not bound) is thrown before
 *    anything has happened. What only the system knows is reported later, by `errorReceived`.
 * 3. Nothing is delivered after `stopListening`.
 */
import { inspect } from 'node:util';
import { checkPort, type IPv4Address, type IPv6Address, isIPAddress } from '../address.ts';
import { checkWhole, shownArgument } from '../arguments.ts';
import { isDetached } from '../bytes.ts';
import { Deferred } from '../defer.ts';
import {
  CannotListenError,
  ConnectError,
  type ErrorDetails,
  explain,
  getConnectError,
  InvalidAddressError,
  LimitExceeded,
  MessageLengthError,
  NoRouteError,
  NotListeningError,
  PlaitError,
  UnsupportedAddressFamily,
  UnsupportedSocketType,
} from '../errors.ts';
import { Failure } from '../failure.ts';
import type {
  AddressFamily,
  DatagramAddress,
  DatagramSource,
  IDatagramProtocol,
  IListeningPort,
  IReactorTime,
  IUDPTransport,
  ListenUDPOptions,
  Seconds,
} from '../interfaces.ts';
import type { DatagramEvents, DatagramSocket, DatagramTarget, IO } from '../io/io.ts';
import { finishWithHook, watchHook } from '../hooks.ts';
import type { OpenKind } from '../inspect.ts';
import { Logger } from '../log.ts';
import { logHookFailure, logPrefixOf } from '../log-prefix.ts';
import { succeed } from '../maybe.ts';
import { fireEach } from '../waiters.ts';
import { endUnlessTaken, noteNotStarted } from './bind-failure.ts';
import type { Closable, Home } from './home.ts';
import { INSPECT, inspected, type Inspecting } from '../one-line.ts';

const log = new Logger('plait.transport');

/** How many bytes a datagram may have: 65,535 without the headers, which IPv6 does not count in whole. */
const LONGEST = { IPv4: 65_507, IPv6: 65_527 } as const;

/** What goes wrong again and again, as any stranger can make it, is logged once in this time. */
const LOG_INTERVAL: Seconds = 5;

/** What a port is doing. */
type State = 'closed' | 'binding' | 'listening' | 'closing';

/** What of a datagram is delivered by default, in bytes; as in Twisted. */
const MAX_PACKET_SIZE = 8192;

/** What may wait to be sent by default, in bytes. */
const MAX_BUFFERED_BYTES = 1024 * 1024;

/** The limits of a port, in bytes. */
type Limits = Pick<ListenUDPOptions, 'maxPacketSize' | 'maxBufferedBytes'>;

/** Sends and receives datagrams. Made by `listenUDP`. */
export class Port implements IUDPTransport, Closable, DatagramEvents {
  readonly #home: Home & Pick<IReactorTime, 'seconds'>;
  readonly #io: IO;
  readonly #target: DatagramTarget;
  readonly #protocol: IDatagramProtocol;
  readonly #maxPacketSize: number;
  readonly #maxBufferedBytes: number;
  #state: State = 'closed';
  #socket: DatagramSocket | undefined;
  #address: IPv4Address | IPv6Address | undefined;
  /** How the latest attempt to bind ended; undefined while it is going on. */
  #outcome: Failure | 'listening' | undefined;
  #readers: Deferred<IListeningPort>[] = [];
  /** How often `ready` was asked for. Each attempt has a count of its own. */
  #watched = { looks: 0 };
  #stopped: Deferred<void>[] = [];
  #started = false;
  /** What its protocol could not be started for. */
  #fatal: Failure | undefined;
  /** The descriptor that was given to it has been used: its number may be another's by now. */
  #adopted = false;
  #peer: { readonly host: string; readonly port: number } | undefined;
  #broadcast = false;
  /** A datagram was dropped in this turn, which is still to be told. */
  #dropped = false;
  /** By what went wrong: when it was logged last, and how often it has gone wrong since. */
  readonly #logged = new Map<string, { time: Seconds; more: number }>();

  /**
   * @throws RangeError for a limit that cannot be
   * @throws UnsupportedSocketType if the body has no datagram sockets
   */
  constructor(
    home: Home & Pick<IReactorTime, 'seconds'>,
    io: IO,
    target: DatagramTarget,
    protocol: IDatagramProtocol,
    limits: Limits,
  ) {
    const { maxPacketSize = MAX_PACKET_SIZE, maxBufferedBytes = MAX_BUFFERED_BYTES } = limits;
    for (const [name, value] of Object.entries({ maxPacketSize, maxBufferedBytes })) {
      checkWhole(value, `listenUDP: ${name}`, 1);
    }
    if (io.datagram === undefined)
      throw new UnsupportedSocketType(`the body ${io.name} has no datagram sockets`);
    this.#home = home;
    this.#io = io;
    this.#target = target;
    this.#protocol = protocol;
    this.#maxPacketSize = maxPacketSize;
    this.#maxBufferedBytes = maxBufferedBytes;
  }

  // ── Starting ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Each look gives a Deferred of its own, so that several may wait. */
  get ready(): Deferred<IListeningPort> {
    const ready = new Deferred<IListeningPort>();
    this.#watched.looks++;
    if (this.#outcome === undefined) this.#readers.push(ready);
    else if (this.#outcome === 'listening') ready.callback(this);
    else ready.errback(this.#outcome);
    return ready;
  }

  startListening(): void {
    if (this.#state !== 'closed')
      throw new Error(`cannot start to listen: the port is ${this.#state}`);
    if ('fd' in this.#target) {
      if (this.#adopted) {
        throw new NotListeningError(
          `cannot listen again: descriptor ${this.#target.fd} was closed with the port`,
        );
      }
      this.#adopted = true;
    }
    this.#state = 'binding';
    this.#outcome = this.#socket = this.#address = this.#peer = undefined;
    this.#watched = { looks: 0 };
    this.#broadcast = false;
    const { cut } = this.#home;
    const refused = cut === undefined ? undefined : new Failure(this.#cannotListen(cut.value));
    if (refused !== undefined && !('fd' in this.#target)) {
      this.#outcome = refused;
      this.#state = 'closed';
      return;
    }
    this.#home.opened(this);
    try {
      this.#socket = this.#io.datagram?.(this.#target, this);
    } catch (error) {
      // The caller gets the error, and nothing else waits for it.
      this.#outcome = new Failure(error);
      this.#over(this.#outcome);
      throw error;
    }
    // A descriptor that it was given is closed with it all the same.
    if (refused !== undefined) this.#close(refused);
    // A body whose bind is synchronous has reported by now, and what it reported had to wait for the socket.
    this.#begin();
  }

  bound(address: IPv4Address | IPv6Address): void {
    this.#address = address;
    this.#begin();
  }

  #begin(): void {
    if (this.#state !== 'binding' || !this.#socket || !this.#address) return;
    this.#state = 'listening';
    try {
      watchHook(this.#protocol.makeConnection(this), 'startProtocol', this);
    } catch (error) {
      this.#notStarted(new Failure(error));
      return;
    }
    this.#started = true;
    // It may have stopped the port.
    if ((this.#state as State) !== 'listening') return;
    this.#outcome = 'listening';
    this.#logState('{protocol} starting on {address}');
    this.#home.listening(this);
    for (const reader of this.#takeReaders()) reader.callback(this);
  }

  failed(error: Error): void {
    const failure = new Failure(error instanceof PlaitError ? error : this.#cannotListen(error));
    this.#outcome = failure;
    endUnlessTaken(this.#home, failure.value, this.#watched);
    this.#over(failure);
  }

  #cannotListen(error: Error): CannotListenError {
    return 'fd' in this.#target
      ? new CannotListenError(`descriptor ${this.#target.fd}`, undefined, error)
      : new CannotListenError(this.#target.host, this.#target.port, error);
  }

  #takeReaders(): Deferred<IListeningPort>[] {
    const readers = this.#readers;
    this.#readers = [];
    return readers;
  }

  // ── From the socket ──────────────────────────────────────────────────────────────────────────────────────────────

  received(data: Buffer, from: DatagramSource): void {
    if (this.#state !== 'listening') return;
    try {
      const bytes =
        data.length > this.#maxPacketSize ? data.subarray(0, this.#maxPacketSize) : data;
      watchHook(this.#protocol.datagramReceived(bytes, from), 'datagramReceived', this);
    } catch (error) {
      this.#threw('datagramReceived', error);
    }
  }

  refused(): void {
    if (this.#state !== 'listening' || this.#peer === undefined) return;
    try {
      watchHook(this.#protocol.connectionRefused?.(), 'connectionRefused', this);
    } catch (error) {
      this.#threw('connectionRefused', error);
    }
  }

  connectFailed(error: Error): void {
    if (this.#state !== 'listening' || this.#peer === undefined) return;
    const { host, port } = this.#peer;
    this.#peer = undefined;
    const reason = new Failure(getConnectError(error, `${host}, port ${port}`));
    if (this.#protocol.connectionFailed === undefined) {
      this.#tell(reason);
      return;
    }
    try {
      watchHook(this.#protocol.connectionFailed(reason), 'connectionFailed', this);
    } catch (thrown) {
      this.#threw('connectionFailed', thrown);
    }
  }

  troubled(error: Error): void {
    if (this.#state === 'listening') this.#tell(new Failure(typed(error)));
  }

  /** Hands a failure to the protocol, or else to the log. */
  #tell(reason: Failure): void {
    if (this.#protocol.errorReceived === undefined) {
      const { message, name, code = '' } = reason.value as Error & ErrorDetails;
      // The message names an address, and strangers have many.
      this.#sometimes(`${name} ${code}`, (more) => {
        log.warn('{port}: {message}{more}', { port: this, message, more });
      });
      return;
    }
    try {
      watchHook(this.#protocol.errorReceived(reason), 'errorReceived', this);
    } catch (thrown) {
      this.#threw('errorReceived', thrown);
    }
  }

  /** @internal A hook has failed after it returned; `startProtocol` ends the port, as it does when it throws. */
  hookFailed(hook: string, failure: Failure): void {
    if (hook !== 'startProtocol') {
      this.#threw(hook, failure);
      return;
    }
    this.#notStarted(failure);
  }

  #notStarted(failure: Failure): void {
    this.#logFailure('startProtocol', failure);
    if (this.#state !== 'listening') return;
    noteNotStarted(failure.value);
    this.#fatal = failure;
    this.#close(failure);
  }

  #threw(hook: string, error: unknown): void {
    this.#sometimes(hook, (more) => {
      this.#logFailure(hook, new Failure(error), more);
    });
  }

  #logFailure(hook: string, failure: Failure, more = ''): void {
    const address = this.#address ?? this.toString();
    logHookFailure(log, hook, failure, { protocol: this.#protocol, address, more });
  }

  /** Logs that it has come to listen, or listens no more. */
  #logState(format: string): void {
    const { host, port } = this.#address ?? {};
    const protocol = logPrefixOf(this.#protocol);
    log.info(format, { protocol, address: this.#address, host, port });
  }

  /** Logs now, or only counts, if the same was logged a moment ago. */
  #sometimes(what: string, write: (more: string) => void): void {
    const now = this.#home.seconds();
    const before = this.#logged.get(what);
    if (before !== undefined && now - before.time < LOG_INTERVAL) {
      before.more++;
      return;
    }
    this.#logged.set(what, { time: now, more: 0 });
    write(before === undefined || before.more === 0 ? '' : ` (and ${before.more} times before)`);
  }

  // ── Sending ──────────────────────────────────────────────────────────────────────────────────────────────────────

  get bufferedBytes(): number {
    return this.#socket?.bufferedBytes ?? 0;
  }

  write(data: Uint8Array | string, to?: DatagramAddress): void {
    if (typeof data !== 'string' && !(data instanceof Uint8Array))
      throw new TypeError(`a datagram is a string or a Uint8Array, not ${inspect(data)}`);
    if (typeof data !== 'string' && isDetached(data))
      throw new TypeError('cannot send a buffer that was transferred as a datagram');
    if (this.#state === 'binding') throw this.#notBound('send');
    const socket = this.#socket;
    if (this.#state !== 'listening' || socket === undefined) return;
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    const destination = this.#destination(to);
    const longest = LONGEST[this.family()];
    if (bytes.length > longest) {
      throw new MessageLengthError(
        `cannot send a datagram of ${bytes.length} bytes: one has at most ${longest}`,
      );
    }
    const waiting = socket.bufferedBytes;
    if (waiting > 0 && waiting + bytes.length > this.#maxBufferedBytes) this.#drop();
    else socket.send(bytes, destination);
  }

  writeSequence(pieces: Iterable<Uint8Array | string>, to?: DatagramAddress): void {
    const buffers = Array.from(pieces, (piece) =>
      typeof piece === 'string' ? Buffer.from(piece) : piece,
    );
    this.write(Buffer.concat(buffers), to);
  }

  /** Undefined if it is where the socket is connected to. */
  #destination(
    to: DatagramAddress | undefined,
  ): { readonly host: string; readonly port: number } | undefined {
    const peer = this.#peer;
    if (to === undefined) {
      if (peer !== undefined) return undefined;
      throw new InvalidAddressError('cannot send without an address: the port is not connected');
    }
    const given = parts(to);
    if (peer === undefined) {
      const host = given.host === '<broadcast>' ? '255.255.255.255' : given.host;
      return { host: this.literal('send to', host), port: checkPort(given.port, 1) };
    }
    if (given.host === peer.host && given.port === peer.port) return undefined;
    throw new InvalidAddressError(
      `cannot send to ${inspect(given.host)}, port ${given.port}: the port is connected to ${peer.host}, port ${peer.port}`,
    );
  }

  protected family(): 'IPv4' | 'IPv6' {
    return this.#address !== undefined && 'scopeID' in this.#address ? 'IPv6' : 'IPv4';
  }

  /** `host` if it is an address of this port's family; InvalidAddressError if not. */
  protected literal(doing: string, host: string): string {
    if (typeof host !== 'string' || !isIPAddress(host)) {
      throw new InvalidAddressError(
        `cannot ${doing} ${inspect(host)}: an IP address is needed, not a name`,
      );
    }
    const family = this.family();
    if (host.includes(':') !== (family === 'IPv6'))
      throw new InvalidAddressError(`cannot ${doing} ${host}: this is an ${family} port`);
    return host;
  }

  #notBound(doing: string): NotListeningError {
    return new NotListeningError(
      `cannot ${doing}: the port is not bound yet: that is known in startProtocol, and when \`ready\` fires`,
    );
  }

  /** As a full network would. That is told in a turn of its own, once for all that is dropped until then. */
  #drop(): void {
    if (this.#dropped) return;
    this.#dropped = true;
    this.#home.soon(() => {
      this.#dropped = false;
      const error = new LimitExceeded('what waits to be sent', this.#maxBufferedBytes);
      if (this.#state === 'listening') this.#tell(new Failure(error));
    });
  }

  connect(host: string, port: number): void {
    const socket = this.live('connect');
    this.literal('connect to', host);
    checkPort(port, 1);
    if (this.#peer !== undefined) {
      throw new ConnectError(
        `cannot connect to ${host}, port ${port}: the port is connected to ${this.#peer.host}, port ${this.#peer.port}`,
      );
    }
    this.#peer = { host, port };
    socket.connect(host, port);
  }

  setBroadcastAllowed(enabled: boolean): void {
    this.live('set an option').setBroadcast(enabled);
    this.#broadcast = enabled;
  }

  getBroadcastAllowed(): boolean {
    return this.#broadcast;
  }

  /** The socket, if it is there: NotListeningError if not. */
  protected live(doing: string): DatagramSocket {
    if (this.#state === 'binding') throw this.#notBound(doing);
    if (this.#socket === undefined || this.#state !== 'listening')
      throw new NotListeningError(`cannot ${doing}: the port is closed`);
    return this.#socket;
  }

  // ── Stopping ─────────────────────────────────────────────────────────────────────────────────────────────────────

  stopListening(): Deferred<void> {
    if (this.#state === 'closed') return succeed();
    const stopped = new Deferred<void>();
    this.#stopped.push(stopped);
    if (this.#state !== 'closing')
      this.#close(new Failure(this.#cannotListen(new NotListeningError('the port was stopped'))));
    return stopped;
  }

  /** As `stopListening`; what `stopProtocol` fails with is logged. */
  loseConnection(): void {
    this.stopListening().addErrback((failure) => {
      this.#logFailure('stopProtocol', failure);
    });
  }

  /** @param why what `ready` fails with */
  #close(why: Failure): void {
    this.#state = 'closing';
    this.#outcome = why;
    this.#socket?.close();
  }

  /** The socket is closed. */
  closed(): void {
    const why = this.#outcome as Failure;
    if (!this.#started) {
      this.#over(why);
      return;
    }
    this.#started = false;
    this.#logState('{protocol} has stopped listening on {address}');
    finishWithHook(
      'stopProtocol',
      () => this.#protocol.doStop(),
      this.#home,
      (failure) => this.#over(why, failure),
      { protocol: logPrefixOf(this.#protocol), address: this.#address },
    );
  }

  /**
   * It is not bound, for the reason given.
   *
   * @param failure what `stopProtocol` failed with: for those who have stopped the port, else for the log
   */
  #over(why: Failure, failure?: Failure): void {
    this.#state = 'closed';
    this.#home.closed(this);
    const stopped = this.#stopped;
    this.#stopped = [];
    for (const reader of this.#takeReaders()) reader.errback(why);
    const fatal = this.#fatal;
    this.#fatal = undefined;
    if (fatal !== undefined) endUnlessTaken(this.#home, fatal.value, this.#watched);
    if (failure !== undefined && stopped.length === 0) this.#logFailure('stopProtocol', failure);
    fireEach(stopped, failure);
  }

  /** The reactor stops. */
  connectionLost(): void {
    this.loseConnection();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stopListening().asPromise();
  }

  get kind(): OpenKind {
    return 'port';
  }

  getHost(): IPv4Address | IPv6Address {
    if (this.#address === undefined) {
      throw new NotListeningError(
        'the port is not bound yet: its address is known when `ready` fires',
      );
    }
    return this.#address;
  }

  toString(): string {
    const target = this.#target;
    const where = 'fd' in target ? `descriptor ${target.fd}` : `port ${target.port}`;
    return `<UDP port ${this.#state} ${this.#address ?? where}>`;
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** `port`, which from now on listens. */
export function bind<P extends Port>(port: P): P {
  port.startListening();
  return port;
}

/**
 * Where to receive datagrams.
 *
 * @param where an IP address; `''`: any IPv4 address
 * @throws RangeError for a port that cannot be
 * @throws InvalidAddressError for a name
 */
export function datagramTarget(port: number, where = '', shared = false): DatagramTarget {
  checkPort(port, 0, 'listenUDP: port');
  const host = where === '' ? '0.0.0.0' : where;
  if (typeof host !== 'string' || !isIPAddress(host)) {
    throw new InvalidAddressError(
      `cannot listen on ${shownArgument(host)}: the interface must be an IP address, and no name`,
    );
  }
  return { host, port, shared };
}

/** The socket behind a descriptor. RangeError for a number that is none. */
export function adoptedTarget(fd: number, family: AddressFamily): DatagramTarget {
  if (!Number.isInteger(fd) || fd < 1 || fd > 0x7fff_ffff)
    throw new RangeError(`a descriptor is a whole number from 1, not ${String(fd)}`);
  if (family !== 'AF_INET' && family !== 'AF_INET6') {
    throw new UnsupportedAddressFamily(
      `cannot adopt descriptor ${fd} as ${inspect(family)}: there are AF_INET and AF_INET6`,
    );
  }
  return { fd, family: family === 'AF_INET' ? 'IPv4' : 'IPv6' };
}

/** The host, with its zone, and the port. */
function parts(to: DatagramAddress): { readonly host: string; readonly port: number } {
  if ('length' in to) return { host: to[0], port: to[1] };
  const zone = 'scopeID' in to ? (to as IPv6Address).scopeID : '';
  return zone === '' ? to : { host: `${to.host}%${zone}`, port: to.port };
}

/** An error of the system's about one datagram, as one of the tree. */
function typed(cause: Error): PlaitError {
  const { code, syscall, address, port } = cause as ErrorDetails;
  const where = address === undefined ? '' : ` to ${address}, port ${port}`;
  const message = `cannot ${syscall === 'send' ? 'send' : 'receive'}${where}: ${explain(cause)}`;
  if (code === 'EMSGSIZE') return new MessageLengthError(message, { cause });
  if (code === 'ENETUNREACH' || code === 'EHOSTUNREACH')
    return new NoRouteError(message, { cause });
  return new PlaitError(message, { cause });
}
