/**
 * TLS over any transport, for where there is no `startTLS`: within another TLS, through a proxy, under a policy. It is
 * a protocol to the transport below, and gives the protocol above a transport of its own. Twisted:
 * `twisted.protocols.tls`.
 */
import type { Address } from './address.ts';
import {
  checkBoolean,
  checkClock,
  checkFactory,
  checkOptions,
  checkTimeLimit,
  optional,
} from './arguments.ts';
import { ConnectionDone } from './errors.ts';
import type { Failure } from './failure.ts';
import type {
  HandshakeOptions,
  IClientFactory,
  IConnector,
  IDrainableProtocol,
  IHalfCloseableProtocol,
  IProtocol,
  IProtocolFactory,
  IPushProducer,
  IReactorTime,
  ITCPTransport,
  ITransport,
  HookResult,
} from './interfaces.ts';
import type { Wire, WireEvents } from './io/io.ts';
import { logPrefixOf } from './log-prefix.ts';
import { buildFrom } from './protocol.ts';
import { reactor } from './reactor.ts';
import type { ITLSContextFactory } from './tls-settings.ts';
import type { Home } from './transport/home.ts';
import { Stream } from './transport/stream.ts';
import { checkSecuring, type Securing } from './transport/tls.ts';
import { INSPECT, inspected, type Inspecting, nameOf, told } from './one-line.ts';

/**
 * A transport, seen as a wire. What is written counts as sent when the transport has it, as long as that has not asked
 * for a pause: it has promised to send it.
 */
class TransportWire implements Wire, IPushProducer {
  readonly host: Address;
  readonly peer: Address;
  readonly #transport: ITransport;
  readonly #home: Home;
  #events: WireEvents | undefined;
  /** The transport has asked for a pause. */
  #full = false;
  #telling = false;
  #discarding = false;
  #closed = false;
  #ended: (() => void) | undefined;

  constructor(transport: ITransport, home: Home) {
    this.#transport = transport;
    this.#home = home;
    this.host = transport.getHost();
    this.peer = transport.getPeer();
  }

  start(events: WireEvents): void {
    this.#events = events;
    this.#transport.registerProducer(this, true);
  }

  // From the transport.

  received(data: Buffer): void {
    if (!this.#discarding) this.#events?.wireData(data);
  }

  readEnded(): void {
    if (!this.#discarding) this.#events?.wireEnd();
  }

  writeEnded(): void {
    this.#ended?.();
  }

  lost({ value }: Failure): void {
    this.#closed = true;
    this.#events?.wireClosed(value instanceof ConnectionDone ? undefined : value);
  }

  pauseProducing(): void {
    this.#full = true;
  }

  resumeProducing(): void {
    this.#full = false;
    if (!this.#closed) this.#events?.wireDrained();
  }

  stopProducing(): void {
    // The connection is lost, which is told by itself.
  }

  // As a wire.

  get bufferedBytes(): number {
    return this.#full ? this.#transport.bufferedBytes : 0;
  }

  write(data: Uint8Array): void {
    this.#transport.write(data);
    if (this.#telling) return;
    this.#telling = true;
    this.#home.soon(() => {
      this.#telling = false;
      if (!this.#full && !this.#closed) this.#events?.wireDrained();
    });
  }

  pause(): void {
    this.#transport.pauseProducing();
  }

  resume(): void {
    this.#transport.resumeProducing();
  }

  discard(): void {
    this.#discarding = true;
    this.#transport.resumeProducing();
  }

  end(ended: () => void): void {
    this.#ended = ended;
    this.#transport.unregisterProducer();
    this.#transport.loseWriteConnection();
  }

  close(): void {
    this.#discarding = true;
    this.#transport.unregisterProducer();
    this.#transport.loseConnection();
  }

  destroy(): void {
    this.reset();
  }

  reset(): void {
    this.#discarding = true;
    this.#transport.abortConnection();
  }

  setNoDelay(enabled: boolean): void {
    (this.#transport as Partial<ITCPTransport>).setTcpNoDelay?.(enabled);
  }

  setKeepAlive(enabled: boolean): void {
    (this.#transport as Partial<ITCPTransport>).setTcpKeepAlive?.(enabled);
  }
}

/** What stands between a transport and the protocol that is to be secured. Twisted: `TLSMemoryBIOProtocol`. */
export class TLSMemoryBIOProtocol<P extends IProtocol = IProtocol>
  implements IProtocol, IHalfCloseableProtocol, IDrainableProtocol
{
  /** The protocol that is secured. */
  readonly wrappedProtocol: P;
  readonly #clock: IReactorTime | undefined;
  readonly #side: 'client' | 'server';
  readonly #securing: Securing;
  #wire: TransportWire | undefined;
  #stream: Stream | undefined;

  /** For {@link TLSMemoryBIOFactory}, which builds these. */
  constructor(
    wrappedProtocol: P,
    clock: IReactorTime | undefined,
    side: 'client' | 'server',
    securing: Securing,
  ) {
    this.wrappedProtocol = wrappedProtocol;
    this.#clock = clock;
    this.#side = side;
    this.#securing = securing;
  }

  /** That of the protocol, and this class. */
  logPrefix(): string {
    return `${logPrefixOf(this.wrappedProtocol)} (${this.constructor.name})`;
  }

  /** Begins the handshake, and tells the protocol that its connection is made. */
  makeConnection(transport: ITransport): void {
    // What is made for a reactor keeps that reactor's time.
    const home = homeOn(this.#clock ?? transport.clock ?? reactor);
    this.#wire = new TransportWire(transport, home);
    this.#stream = new Stream(home, this.#wire, undefined, this.#side);
    this.#stream.begin(this.wrappedProtocol, this.#securing);
  }

  /** Not used: the protocol has its own. */
  connectionMade(): void {}

  dataReceived(data: Buffer): void {
    this.#wire?.received(data);
  }

  readConnectionLost(): void {
    this.#wire?.readEnded();
  }

  writeConnectionLost(): void {
    this.#wire?.writeEnded();
  }

  /** As the port that stops tells its own connections. */
  connectionDraining(): void {
    this.#stream?.drain();
  }

  connectionLost(reason: Failure): void {
    this.#wire?.lost(reason);
  }

  toString(): string {
    return told(
      this,
      `${this.#side} for a ${nameOf(this.wrappedProtocol)}${this.#stream === undefined ? '' : ` ${this.#stream}`}`,
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** What a stream needs of a reactor, from a clock alone: the connection below is known to the reactor already. */
function homeOn(clock: IReactorTime): Home {
  return {
    clock,
    soon: (fn) => {
      clock.callLater(0, fn);
    },
    callLater: (delay, fn, ...args) => clock.callLater(delay, fn, ...args),
    opened() {},
    closed() {},
    listening() {},
  };
}

/** Options of {@link TLSMemoryBIOFactory}, `wrapClientTLS` and `wrapServerTLS`. */
export interface TLSWrapOptions extends HandshakeOptions {
  /** For the time that a handshake may take. Default: the reactor of the transport below, or else the process's. */
  readonly clock?: IReactorTime;
}

/**
 * A factory around another one, which secures each connection for the protocol that the other one builds. It does for
 * ports and for connectors. Twisted: `TLSMemoryBIOFactory`.
 */
export class TLSMemoryBIOFactory<P extends IProtocol = IProtocol> implements IClientFactory {
  readonly wrappedFactory: IProtocolFactory<P>;
  readonly #side: 'client' | 'server';
  readonly #securing: Securing;
  readonly #clock: IReactorTime | undefined;

  /**
   * @param isClient which side this is in the handshake, whoever has made the connection
   * @throws CertificateError or SSLError for settings that cannot be used; RangeError for a time that cannot be
   */
  constructor(
    contextFactory: ITLSContextFactory,
    isClient: boolean,
    factory: IProtocolFactory<P>,
    options: TLSWrapOptions = {},
  ) {
    this.wrappedFactory = checkFactory(factory, 'TLSMemoryBIOFactory: factory');
    checkBoolean(isClient, 'TLSMemoryBIOFactory: isClient');
    checkWrapOptions(options, 'TLSMemoryBIOFactory');
    this.#side = isClient ? 'client' : 'server';
    this.#securing = { contextFactory, handshakeTimeout: options.handshakeTimeout };
    this.#clock = options.clock;
    checkSecuring(this.#side, this.#securing, 'TLSMemoryBIOFactory');
  }

  /** That of the wrapped factory, and that there is TLS. */
  logPrefix(): string {
    return `${logPrefixOf(this.wrappedFactory)} (TLS)`;
  }

  buildProtocol(address: Address): TLSMemoryBIOProtocol<P> | null {
    const protocol = buildFrom(this.wrappedFactory, address);
    if (protocol === null) return null;
    return new TLSMemoryBIOProtocol(protocol, this.#clock, this.#side, this.#securing);
  }

  doStart(): HookResult {
    return this.wrappedFactory.doStart();
  }

  doStop(): HookResult {
    return this.wrappedFactory.doStop();
  }

  /** The wrapped factory, which may or may not be one for clients. */
  get #client(): Partial<IClientFactory> {
    return this.wrappedFactory;
  }

  startedConnecting(connector: IConnector): HookResult {
    return this.#client.startedConnecting?.(connector);
  }

  clientConnectionFailed(connector: IConnector, reason: Failure): HookResult {
    return this.#client.clientConnectionFailed?.(connector, reason);
  }

  clientConnectionLost(connector: IConnector, reason: Failure): HookResult {
    return this.#client.clientConnectionLost?.(connector, reason);
  }

  toString(): string {
    return told(this, `${this.#side} for a ${nameOf(this.wrappedFactory)}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** Looks at the options; TypeError or RangeError for what cannot be. */
export function checkWrapOptions(options: TLSWrapOptions, name: string): void {
  const { clock, handshakeTimeout } = checkOptions(options, `${name}: options`);
  optional(clock, checkClock, `${name}: clock`);
  checkTimeLimit(handshakeTimeout, `${name}: handshakeTimeout`);
}
