/**
 * A protocol and a factory that stand between others and pass everything on, for policies to extend. By themselves they
 * do nothing but know which connections there are. Twisted: `ProtocolWrapper` and `WrappingFactory` of
 * `twisted.protocols.policies`.
 */
import type { X509Certificate } from 'node:crypto';
import {
  type Address,
  ClientFactory,
  type Deferred,
  Failure,
  forwardHooks,
  type IClientFactory,
  type IConnector,
  type IProtocol,
  type IProtocolFactory,
  type IPullProducer,
  type IPushProducer,
  type IReactorTime,
  type ITCPTransport,
  type ITLSContextFactory,
  type ITLSTransport,
  type ITransport,
  Logger,
  type StartTLSOptions,
  type HookResult,
  NotConnectedError,
  buildFrom,
  hookFailed,
  logPrefixOf,
  maybeDeferred,
  passthru,
  type SwitchProtocolOptions,
  takeOver,
  watchHook,
} from 'plait';

/** The key of the method by which `console.log` shows an object. */
const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom');

const log = new Logger('plait.protocols.policies');

/**
 * Stands between a transport and a protocol: it is the transport's protocol and the protocol's transport, and passes
 * everything on. Override what is to be otherwise. Twisted: `ProtocolWrapper`.
 */
export class ProtocolWrapper<P extends IProtocol = IProtocol> implements IProtocol, ITLSTransport {
  /** The protocol that it stands in for. */
  wrappedProtocol: P;
  readonly factory: WrappingFactory<P>;
  /** The connection; set before `connectionMade`. */
  declare transport: ITransport;
  // What the protocol has of these, `forwardHooks` gives to this one too.
  declare readonly readConnectionLost?: () => HookResult;
  declare readonly writeConnectionLost?: () => HookResult;
  declare readonly handshakeCompleted?: () => HookResult;
  declare readonly takeUnread?: () => Buffer;
  declare readonly connectionDraining?: () => HookResult;

  constructor(factory: WrappingFactory<P>, wrappedProtocol: P) {
    this.factory = factory;
    this.wrappedProtocol = wrappedProtocol;
    forwardHooks(this, wrappedProtocol);
  }

  // As a protocol.

  /** That of the protocol that it stands in for, and this class. */
  logPrefix(): string {
    return `${logPrefixOf(this.wrappedProtocol)} (${this.constructor.name})`;
  }

  makeConnection(transport: ITransport): HookResult {
    this.transport = transport;
    this.factory.registerProtocol(this);
    watchHook(this.connectionMade(), 'makeConnection', transport);
  }

  connectionMade(): HookResult {
    watchHook(this.wrappedProtocol.makeConnection(this), 'makeConnection', this.transport);
  }

  dataReceived(data: Buffer): HookResult {
    watchHook(this.wrappedProtocol.dataReceived(data), 'dataReceived', this.transport);
  }

  connectionLost(reason: Failure): HookResult {
    this.factory.unregisterProtocol(this);
    watchHook(this.wrappedProtocol.connectionLost(reason), 'connectionLost', this.transport);
  }

  /** The protocol that it stands in for gives way to another one. */
  replaceProtocol(protocol: IProtocol): void {
    takeOver(this.wrappedProtocol, protocol, this, (behind) => {
      this.wrappedProtocol = behind as P;
      forwardHooks(this, behind);
    });
  }

  // As a transport.

  /** Not set before `makeConnection`. */
  get #transport(): Partial<ITLSTransport> | undefined {
    return (this as Partial<ProtocolWrapper>).transport;
  }

  get #connection(): ITransport {
    if (this.#transport !== undefined) return this.transport;
    throw new NotConnectedError(`${this.constructor.name} is not connected: it has no transport`);
  }

  hookFailed(hook: string, failure: Failure): void {
    hookFailed(this.transport, hook, failure);
  }

  switchProtocol(protocol: IProtocol, options?: SwitchProtocolOptions): void {
    this.#connection.switchProtocol(protocol, options);
  }

  write(data: Uint8Array | string): void {
    this.#connection.write(data);
  }

  writeSequence(pieces: Iterable<Uint8Array | string>): void {
    this.#connection.writeSequence(pieces);
  }

  loseConnection(): void {
    this.#connection.loseConnection();
  }

  abortConnection(): void {
    this.#connection.abortConnection();
  }

  loseWriteConnection(): void {
    this.#connection.loseWriteConnection();
  }

  get clock(): IReactorTime | undefined {
    return this.#transport?.clock;
  }

  get connected(): boolean {
    return this.#transport?.connected ?? false;
  }

  get disconnecting(): boolean {
    return this.#transport?.disconnecting ?? false;
  }

  get bufferedBytes(): number {
    return this.#transport?.bufferedBytes ?? 0;
  }

  getHost(): Address {
    return this.#connection.getHost();
  }

  getPeer(): Address {
    return this.#connection.getPeer();
  }

  registerProducer(producer: IPushProducer | IPullProducer, streaming: boolean): void {
    this.#connection.registerProducer(producer, streaming);
  }

  unregisterProducer(): void {
    this.#connection.unregisterProducer();
  }

  pauseProducing(): void {
    this.#connection.pauseProducing();
  }

  resumeProducing(): void {
    this.#connection.resumeProducing();
  }

  stopProducing(): void {
    this.#connection.stopProducing();
  }

  /** The producer is gone: it counts as unregistered, and the connection is closed. */
  stopConsuming(): void {
    this.unregisterProducer();
    this.loseConnection();
  }

  // A protocol that asks for these has a TCP connection below the policies.

  startTLS(contextFactory: ITLSContextFactory, options?: StartTLSOptions): void {
    (this.#connection as ITLSTransport).startTLS(contextFactory, options);
  }

  getPeerCertificate(): X509Certificate | undefined {
    return this.#transport?.getPeerCertificate?.();
  }

  get negotiatedProtocol(): string | undefined {
    return this.#transport?.negotiatedProtocol;
  }

  getTcpNoDelay(): boolean {
    return (this.#connection as ITCPTransport).getTcpNoDelay();
  }

  setTcpNoDelay(enabled: boolean): void {
    (this.#connection as ITCPTransport).setTcpNoDelay(enabled);
  }

  getTcpKeepAlive(): boolean {
    return (this.#connection as ITCPTransport).getTcpKeepAlive();
  }

  setTcpKeepAlive(enabled: boolean): void {
    (this.#connection as ITCPTransport).setTcpKeepAlive(enabled);
  }

  toString(): string {
    return `<${this.constructor.name} for a ${this.wrappedProtocol.constructor.name}>`;
  }

  [INSPECT](): string {
    return this.toString();
  }
}

/**
 * A factory around another one, for ports and for connectors: the other one builds the protocols, and this one puts a
 * wrapper around each. If the other one refuses a connection by null, so does this. Twisted: `WrappingFactory`.
 */
export class WrappingFactory<P extends IProtocol = IProtocol> extends ClientFactory<
  ProtocolWrapper<P>
> {
  readonly wrappedFactory: IProtocolFactory<P>;
  /** The wrappers of the connections that there are. */
  readonly protocols: Set<ProtocolWrapper<P>> = new Set();

  constructor(wrappedFactory: IProtocolFactory<P>) {
    super();
    this.wrappedFactory = wrappedFactory;
    this.noisy = false;
  }

  /** That of the wrapped factory, and this class. */
  override logPrefix(): string {
    return `${logPrefixOf(this.wrappedFactory)} (${this.constructor.name})`;
  }

  /** The wrapper for a protocol. Override it for a wrapper of your own; Twisted has the attribute `protocol` for it. */
  wrap(protocol: P, address: Address): ProtocolWrapper<P> {
    return new ProtocolWrapper(this, protocol);
  }

  override buildProtocol(address: Address): ProtocolWrapper<P> | null {
    const protocol = buildFrom(this.wrappedFactory, address);
    return protocol === null ? null : this.wrap(protocol, address);
  }

  override doStart(): HookResult {
    const inner = this.wrappedFactory.doStart();
    let own: HookResult;
    try {
      own = super.doStart();
    } catch (error) {
      watchHook(inner, 'startFactory', undefined);
      watchHook(this.wrappedFactory.doStop(), 'stopFactory', undefined);
      throw error;
    }
    return own === undefined || inner === undefined ? (own ?? inner) : both(own, inner);
  }

  /** The wrapped factory is stopped too where the `stopFactory` of this one fails. */
  override doStop(): HookResult {
    const own = maybeDeferred(() => super.doStop());
    return both(
      own,
      maybeDeferred(() => this.wrappedFactory.doStop()),
    );
  }

  override startedConnecting(connector: IConnector): HookResult {
    return this.#client.startedConnecting?.(connector);
  }

  override clientConnectionFailed(connector: IConnector, reason: Failure): HookResult {
    return this.#client.clientConnectionFailed?.(connector, reason);
  }

  override clientConnectionLost(connector: IConnector, reason: Failure): HookResult {
    return this.#client.clientConnectionLost?.(connector, reason);
  }

  /** The wrapped factory, which may or may not be one for clients. */
  get #client(): Partial<IClientFactory> {
    return this.wrappedFactory;
  }

  /** A wrapper has been given its connection. */
  registerProtocol(wrapper: ProtocolWrapper<P>): void {
    this.protocols.add(wrapper);
  }

  /** A wrapper has lost its connection. */
  unregisterProtocol(wrapper: ProtocolWrapper<P>): void {
    this.protocols.delete(wrapper);
  }

  /** Closes every connection that there is, as `loseConnection` does. */
  disconnectAllConnections(): void {
    for (const wrapper of [...this.protocols]) wrapper.loseConnection();
  }

  override toString(): string {
    return `<${this.constructor.name} for a ${this.wrappedFactory.constructor.name}, ${this.protocols.size} connected>`;
  }

  [INSPECT](): string {
    return this.toString();
  }
}

/** What comes of a hook of each of two factories: the first failure, if there is one; a second is logged. */
function both(one: HookResult, other: HookResult): Deferred<unknown> {
  const second = maybeDeferred(() => passthru(other));
  return maybeDeferred(() => passthru(one)).addBoth((outcome) =>
    second.addBoth((result) => {
      if (!(outcome instanceof Failure)) return result;
      if (result instanceof Failure)
        log.failure('the hook of a wrapped factory failed too', result as Failure);
      return outcome;
    }),
  );
}
