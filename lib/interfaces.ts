/**
 * The contracts of the framework, types only: what a protocol may ask of a transport, a transport of a protocol, and
 * anybody of a reactor. They are small on purpose: code should ask for the smallest one that it needs
 * (`IReactorTime`, not the whole reactor), so that a test can hand it a double. Twisted:
 * `twisted.internet.interfaces`.
 */
import type { Address } from './address.ts';
import type { Deferred } from './defer.ts';
import type { Failure } from './failure.ts';

/** A length of time, or a moment on a reactor's clock, in seconds. */
export type Seconds = number;

// ── Time ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A call that waits for its time. */
export interface IDelayedCall extends Disposable {
  /** True until it has been called or cancelled. */
  active(): boolean;
  /** When it is due, in seconds on the reactor's clock. */
  getTime(): Seconds;
  /** Calls it off; throws AlreadyCalled or AlreadyCancelled. */
  cancel(): void;
  /** Makes it due `delay` seconds from now. */
  reset(delay: Seconds): void;
  /** Adds to the time at which it is due. */
  delay(seconds: Seconds): void;
}

/** A clock and the calls that wait on it. */
export interface IReactorTime {
  /** The time in seconds, from a clock that only goes forward. It says nothing of the date. */
  seconds(): Seconds;
  /** Calls `fn(...args)` in `delay` seconds, never sooner and never before this returns. */
  callLater<A extends unknown[]>(
    delay: Seconds,
    fn: (...args: A) => unknown,
    ...args: A
  ): IDelayedCall;
  /** The calls that wait. */
  getDelayedCalls(): IDelayedCall[];
}

// ── The reactor ────────────────────────────────────────────────────────────────────────────────────────────────────

/** When a trigger of a system event runs. */
export type TriggerPhase = 'before' | 'during' | 'after';

/** Names a trigger, to take it back. */
export interface TriggerID {
  readonly phase: TriggerPhase;
  readonly eventType: string;
}

/** Starting and stopping. */
export interface IReactorCore {
  /** True between the startup triggers and the shutdown. */
  readonly running: boolean;
  /** Starts; the Deferred fires after shutdown. */
  run(options?: { installSignalHandlers?: boolean }): Deferred<void>;
  /** Shuts down at the end of this turn; throws ReactorNotRunning. */
  stop(): void;
  /** Stops at once, without the shutdown triggers. */
  crash(): void;
  /** Runs `fn` when `eventType` is fired; a `before` trigger may return a Deferred, which is waited for. */
  addSystemEventTrigger<A extends unknown[]>(
    phase: TriggerPhase,
    eventType: string,
    fn: (...args: A) => unknown,
    ...args: A
  ): TriggerID;
  removeSystemEventTrigger(id: TriggerID): void;
  /** Runs the triggers of `eventType`; the Deferred fires when the last has run. */
  fireSystemEvent(eventType: string): Deferred<void>;
  /** Calls `fn` now if the reactor runs, else once it does; then the id of the trigger is returned. */
  callWhenRunning<A extends unknown[]>(
    fn: (...args: A) => unknown,
    ...args: A
  ): TriggerID | undefined;
}

/** Options of `listenTCP`. */
export interface ListenTCPOptions {
  /** How many connections may wait to be accepted. Default: 50. */
  readonly backlog?: number;
  /** The address to listen on; `''` (the default) for any IPv4 address, `::` for any address at all. */
  readonly interface?: string;
}

/** Options of `connectTCP`. */
export interface ConnectTCPOptions {
  /** Seconds until the attempt fails with TimeoutError; null for never. Default: 30. */
  readonly timeout?: Seconds | null;
  /** The local address, and port if it matters, to connect from. */
  readonly bindAddress?: { readonly host: string; readonly port?: number };
}

/** Makes and takes TCP connections. */
export interface IReactorTCP {
  /**
   * Listens on `port` (0: any free one) and builds a protocol for each connection. Returns at once; the port's `ready`
   * tells whether it could be bound.
   */
  listenTCP(port: number, factory: IProtocolFactory, options?: ListenTCPOptions): IListeningPort;
  /** Connects to `host` and `port`, and tells the factory how that went. */
  connectTCP(
    host: string,
    port: number,
    factory: IClientFactory,
    options?: ConnectTCPOptions,
  ): IConnector;
}

/** Options of `listenUNIX`. */
export interface ListenUNIXOptions {
  /** How many connections may wait to be accepted. Default: 50. */
  readonly backlog?: number;
  /** The permissions of the socket's file. Default: 0o666. */
  readonly mode?: number;
}

/** Makes and takes connections over UNIX sockets. */
export interface IReactorUNIX {
  listenUNIX(path: string, factory: IProtocolFactory, options?: ListenUNIXOptions): IListeningPort;
  connectUNIX(
    path: string,
    factory: IClientFactory,
    options?: { readonly timeout?: Seconds | null },
  ): IConnector;
}

// ── Transports ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Something that is asked to produce bytes and can be told to stop for good. */
export interface IProducer {
  /** No more bytes are wanted, ever: the consumer is gone. */
  stopProducing(): void;
}

/** Produces of its own accord until it is paused: a streaming producer. */
export interface IPushProducer extends IProducer {
  pauseProducing(): void;
  resumeProducing(): void;
}

/** Produces one piece each time it is asked. */
export interface IPullProducer extends IProducer {
  /** Write one piece. */
  resumeProducing(): void;
}

/** Something bytes can be written to by a producer. */
export interface IConsumer {
  /**
   * Lets `producer` write here at the pace at which the bytes go away.
   *
   * @param streaming true for an IPushProducer, false for an IPullProducer
   */
  registerProducer(producer: IPushProducer, streaming: true): void;
  registerProducer(producer: IPullProducer, streaming: false): void;
  registerProducer(producer: IPushProducer | IPullProducer, streaming: boolean): void;
  /** The producer has written its last. Does nothing if there is none. */
  unregisterProducer(): void;
  write(data: Uint8Array | string): void;
}

/** One end of a connection, as its protocol sees it. */
export interface ITransport extends IConsumer, IPushProducer {
  /**
   * Sends bytes, in order, without waiting. A string is sent as UTF-8. The bytes must not be changed by the caller any
   * more: they may be sent from where they are. Nothing is sent, and nothing thrown, once the connection is lost.
   * TypeError for anything that is neither a string nor a Uint8Array.
   */
  write(data: Uint8Array | string): void;
  /** Sends each piece, in order. */
  writeSequence(pieces: Iterable<Uint8Array | string>): void;
  /**
   * Delivers nothing more, sends what is written, waits for a registered producer to finish, and closes. From a peer
   * that goes on sending, the end is waited for up to two seconds, lest a reset overtakes what was sent last.
   */
  loseConnection(): void;
  /** Closes at once with a reset; what is not yet sent is dropped. The reason is ConnectionAborted. */
  abortConnection(): void;
  /** Sends what is written and then tells the peer that no more will come; reading goes on. */
  loseWriteConnection(): void;
  /** The address of this end; still known when the connection is gone. */
  getHost(): Address;
  /** The address of the other end; still known when the connection is gone. */
  getPeer(): Address;
  /** True while the connection lives. */
  readonly connected: boolean;
  /** True once loseConnection was called. */
  readonly disconnecting: boolean;
  /** How many written bytes have not yet been handed to the operating system. */
  readonly bufferedBytes: number;
}

/** What only TCP connections can be told. */
export interface ITCPTransport extends ITransport {
  getTcpNoDelay(): boolean;
  /** On (the default): small pieces are sent at once, not gathered by the kernel. */
  setTcpNoDelay(enabled: boolean): void;
  getTcpKeepAlive(): boolean;
  setTcpKeepAlive(enabled: boolean): void;
}

// ── Protocols and factories ────────────────────────────────────────────────────────────────────────────────────────

/** What a transport calls. */
export interface IProtocol {
  /** Called once, with the connection's transport; calls `connectionMade`. */
  makeConnection(transport: ITransport): void;
  connectionMade(): void;
  /** Bytes have arrived, cut anywhere. The protocol owns the buffer. */
  dataReceived(data: Buffer): void;
  /** The connection is gone. Called once, and last. */
  connectionLost(reason: Failure): void;
}

/** A protocol that outlives the end of one direction of its connection. */
export interface IHalfCloseableProtocol {
  /** The peer will send no more; writing goes on. */
  readConnectionLost(): void;
  /** What was written before `loseWriteConnection` is sent; reading goes on. */
  writeConnectionLost(): void;
}

/** Builds protocols for incoming connections. */
export interface IProtocolFactory<P extends IProtocol = IProtocol> {
  /** A protocol for the connection from `address`, or null to refuse it. */
  buildProtocol(address: Address): P | null;
  /** A port begins to use this factory. */
  doStart(): void;
  /** A port has stopped to use it. */
  doStop(): void;
}

/** Builds protocols for outgoing connections, and hears how they fare. */
export interface IClientFactory extends IProtocolFactory {
  startedConnecting(connector: IConnector): void;
  /** No connection came about. It may call `connector.connect()` to try again. */
  clientConnectionFailed(connector: IConnector, reason: Failure): void;
  /** The connection is gone. It may call `connector.connect()` to make another. */
  clientConnectionLost(connector: IConnector, reason: Failure): void;
}

/** What a connector is doing. */
export type ConnectorState = 'disconnected' | 'connecting' | 'connected';

/** Makes one outgoing connection at a time, and again if asked. */
export interface IConnector {
  readonly state: ConnectorState;
  /** Tries (again); throws an Error unless disconnected. */
  connect(): void;
  /** Gives up the attempt; the factory hears of it with UserError. Throws NotConnectingError. */
  stopConnecting(): void;
  /** Gives up the attempt, or closes the connection. */
  disconnect(): void;
  /** Where to. */
  getDestination(): Address;
}

/** How `stopListening` treats the connections that a port has taken. */
export interface IListeningPort extends AsyncDisposable {
  /**
   * Fires with the port once it listens; fails with CannotListenError if it cannot. If nobody has asked for it by
   * then, a failure is logged.
   */
  readonly ready: Deferred<IListeningPort>;
  /** Listens again after `stopListening`. */
  startListening(): void;
  /** Takes no more connections; fires when the port is closed. Those that were made live on. */
  stopListening(): Deferred<void>;
  /** The address it listens on; throws NotListeningError before it is bound. */
  getHost(): Address;
}

// ── Endpoints ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** A place to listen at, whatever the kind of transport. */
export interface IStreamServerEndpoint {
  /** Fires with the port once it listens; fails with CannotListenError. */
  listen(factory: IProtocolFactory): Deferred<IListeningPort>;
}

/** A place to connect to, whatever the kind of transport. */
export interface IStreamClientEndpoint {
  /**
   * Fires with the protocol that the factory built, after its `connectionMade`. Fails with a ConnectError, with
   * NoProtocol, or, when it is cancelled, with ConnectingCancelledError.
   */
  connect<P extends IProtocol>(factory: IProtocolFactory<P>): Deferred<P>;
}
