/** The contracts about connections: what a protocol may ask of a transport, and a transport of a protocol; types only. */
import type { X509Certificate } from 'node:crypto';
import type { Address } from '../address.ts';
import type { Deferred } from '../defer.ts';
import type { Failure } from '../failure.ts';
import type { ITLSContextFactory } from '../tls-settings.ts';
import type { HookOwner, HookResult } from './hooks.ts';
import type { IReactorTime, Seconds } from './time.ts';

/** What there is to say about the handshakes of a port or a connector. */
export interface HandshakeOptions {
  /** Seconds until a handshake that is not done fails with SSLError; null for never. Default: 30. */
  readonly handshakeTimeout?: Seconds | null | undefined;
}

// ── Transports ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Something that is asked to produce bytes and can be told to stop for good. */
export interface IProducer {
  /** No more bytes are wanted, ever: the consumer is gone. */
  stopProducing(): HookResult;
}

/** Produces of its own accord until it is paused: a streaming producer. */
export interface IPushProducer extends IProducer {
  pauseProducing(): HookResult;
  resumeProducing(): HookResult;
}

/** Produces one piece each time it is asked. */
export interface IPullProducer extends IProducer {
  /** Write one piece. */
  resumeProducing(): HookResult;
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
export interface ITransport extends IConsumer, IPushProducer, HookOwner {
  /** Whose time it goes by: what protocols do in time, they do in this one. Not each transport has one. */
  readonly clock?: IReactorTime | undefined;
  /**
   * Sends bytes, in order, without waiting. A string is sent as UTF-8. The bytes must not be changed by the caller any
   * more: they may be sent from where they are. Nothing is sent, and nothing thrown, once the connection is lost.
   * TypeError for anything that is neither a string nor a Uint8Array.
   */
  write(data: Uint8Array | string): void;
  pauseProducing(): void;
  resumeProducing(): void;
  stopProducing(): void;
  /** Sends each piece, in order. */
  writeSequence(pieces: Iterable<Uint8Array | string>): void;
  /**
   * Delivers nothing more, sends what is written, and closes. A registered producer that has something left to give is
   * waited for: a pull producer, and a push producer while it is paused. If it writes nothing for 30 seconds after it
   * was told to go on, or is a connection that is lost, it counts as unregistered. From a peer that goes on sending, the
   * end is waited for up to two seconds, lest a reset overtakes what was sent last. How long a peer takes to read what
   * was sent is not limited: `abortConnection` is.
   */
  loseConnection(): void;
  /** Closes at once with a reset; what is not yet sent is dropped. The reason is ConnectionAborted. */
  abortConnection(): void;
  /** Sends what is written and then tells the peer that no more will come; reading goes on. */
  loseWriteConnection(): void;
  /**
   * Makes `protocol` that of this connection: after an upgrade, a CONNECT, a greeting of SOCKS. The one before is told
   * by `protocolReplaced` if it has that, and hears of nothing any more; what stands between the two of them and the
   * transport (endpoints, services, policies) stays. `protocol.makeConnection` is called at once; where more than 64
   * protocols hand over while they are made a connection, each to the next, it is called before the first of these calls
   * returns. In a later turn it is given what was left unread, and then what comes; if the connection is paused, not
   * before it is resumed. The end of the peer, if that came before, is told behind it. A producer stays registered.
   *
   * Throws TypeError for what is no protocol or no bytes, and ConnectionLost once the connection is gone; nothing has
   * happened then.
   */
  switchProtocol(protocol: IProtocol, options?: SwitchProtocolOptions): void;
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

/** Options of `switchProtocol`. */
export interface SwitchProtocolOptions {
  /**
   * What the protocol before was given and has not dealt with: it is given to the new one, first. Default: what its
   * `takeUnread` gives back, if it has that.
   */
  readonly unread?: Uint8Array | undefined;
}

/** What only TCP connections can be told. */
export interface ITCPTransport extends ITransport {
  getTcpNoDelay(): boolean;
  /** On (the default): small pieces are sent at once, not gathered by the kernel. */
  setTcpNoDelay(enabled: boolean): void;
  getTcpKeepAlive(): boolean;
  setTcpKeepAlive(enabled: boolean): void;
}

/** Options of `startTLS`. */
export interface StartTLSOptions extends HandshakeOptions {
  /** False to swap the sides in the handshake: else the client is who made the connection. Default: true. */
  readonly normal?: boolean;
  /**
   * What the protocol was given together with the command that starts TLS, and behind it: it belongs to the handshake,
   * or else somebody has slipped it in. A protocol that has a `takeUnread` need not care.
   */
  readonly early?: Buffer;
}

/** One end of a connection that is secured, or can be. */
export interface ITLSTransport extends ITCPTransport {
  /**
   * Secures the connection, for the same protocol. What was written before goes out in the clear, and first; what is
   * written from now on waits for the handshake; a producer goes on. Twice makes TLS within TLS. Does nothing once the
   * connection is lost.
   *
   * Throws SSLError when it is closing or the peer has ended it, and if the settings cannot be used what `listenSSL`
   * throws; nothing has happened then. A handshake that fails ends the connection with SSLError.
   */
  startTLS(contextFactory: ITLSContextFactory, options?: StartTLSOptions): void;
  /** The certificate of the other side; undefined before the handshake is done, and if it has shown none. */
  getPeerCertificate(): X509Certificate | undefined;
  /** The protocol agreed on by ALPN; undefined before the handshake is done, and if there is none. */
  readonly negotiatedProtocol: string | undefined;
}

// ── Protocols and factories ────────────────────────────────────────────────────────────────────────────────────────

/** What a transport calls. */
export interface IProtocol {
  /** Called once, with the connection's transport; calls `connectionMade`. */
  makeConnection(transport: ITransport): HookResult;
  connectionMade(): HookResult;
  /** Bytes have arrived, cut anywhere. The protocol owns the buffer. */
  dataReceived(data: Buffer): HookResult;
  /** The connection is gone. Called once, and last. */
  connectionLost(reason: Failure): HookResult;
}

/** A protocol that outlives the end of one direction of its connection. */
export interface IHalfCloseableProtocol {
  /** The peer will send no more; writing goes on. */
  readConnectionLost(): HookResult;
  /** What was written before `loseWriteConnection` is sent; reading goes on. */
  writeConnectionLost(): HookResult;
}

/** A protocol that wants to know when a TLS handshake is done. */
export interface IHandshakeListener {
  /** The other side is known, and was found good. Called before anything that it sends is delivered. */
  handshakeCompleted(): HookResult;
}

/**
 * A protocol that keeps bytes until it can make sense of them. When `startTLS` is called they are the handshake's, and
 * not the protocol's any more: somebody who can write to the connection in the clear must not be heard in the secured
 * one.
 */
export interface IBufferingProtocol {
  /** Gives back what was delivered and has not been dealt with, and forgets it. */
  takeUnread(): Buffer;
}

/** A protocol that wants to know when another one takes over its connection. */
export interface IReplaceableProtocol {
  /** This is the last that it hears: it lets go of its timers. */
  protocolReplaced(): HookResult;
}

/** A protocol that stands in for another one, and lets that be replaced. */
export interface IProtocolStandIn {
  /** From now on stands in for `protocol`, and makes its connection. */
  replaceProtocol(protocol: IProtocol, transport: ITransport): HookResult;
}

/** Builds protocols for incoming connections. */
export interface IProtocolFactory<P extends IProtocol = IProtocol> {
  /** A protocol for the connection from `address`, or null to refuse it. */
  buildProtocol(address: Address): P | null;
  /** A port begins to use this factory. */
  doStart(): HookResult;
  /** A port has stopped to use it. */
  doStop(): HookResult;
}

/** Builds protocols for outgoing connections, and hears how they fare. */
export interface IClientFactory extends IProtocolFactory {
  startedConnecting(connector: IConnector): HookResult;
  /** No connection came about. It may call `connector.connect()` to try again. */
  clientConnectionFailed(connector: IConnector, reason: Failure): HookResult;
  /** The connection is gone. It may call `connector.connect()` to make another. */
  clientConnectionLost(connector: IConnector, reason: Failure): HookResult;
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

/**
 * A protocol that wants to finish what it is about when its port stops with `connections: 'drain'`. Others have their
 * connection closed.
 */
export interface IDrainableProtocol {
  /** The port takes no more connections. Finish what is under way, and then call `loseConnection`. */
  connectionDraining(): HookResult;
}

/** Options of `stopListening`. */
export interface StopListeningOptions {
  /**
   * What becomes of the connections that the port has taken. `keep` (the default): they live on. `drain`: a protocol
   * that is an IDrainableProtocol is told, the others have their connection closed once all is sent. `abort`: they are
   * cut at once.
   */
  readonly connections?: 'keep' | 'drain' | 'abort';
  /** Seconds until those that still drain are aborted; null for never. Default: 30. */
  readonly grace?: Seconds | null;
}

/** A port that takes connections. */
export interface IListeningPort extends AsyncDisposable {
  /**
   * Fires with the port once it listens; fails with CannotListenError if it cannot. If nothing has asked for it by
   * then, or no errback has handled it a second later, the failure ends the program.
   */
  readonly ready: Deferred<IListeningPort>;
  /** Listens again after `stopListening`. */
  startListening(): void;
  /**
   * Takes no more connections; fires when the port is closed and, unless they are kept, the last of its connections is
   * gone. It may be called again to be stricter, also after a stop that kept them. Throws RangeError for a grace that
   * cannot be.
   */
  stopListening(options?: StopListeningOptions): Deferred<void>;
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
