/**
 * A transport that keeps what is written to it. Twisted: `StringTransport` of `twisted.internet.testing`.
 */
import type { X509Certificate } from 'node:crypto';
import { type Address, IPv4Address } from '../address.ts';
import { isDetached } from '../bytes.ts';
import { ConnectionDone, ConnectionLost, SSLError } from '../errors.ts';
import { Failure } from '../failure.ts';
import { watchHook } from '../hooks.ts';
import type {
  IProtocol,
  IPullProducer,
  IPushProducer,
  IReactorTime,
  ITLSTransport,
  StartTLSOptions,
  SwitchProtocolOptions,
} from '../interfaces.ts';
import type { ITLSContextFactory } from '../tls-settings.ts';
import { checkSwitch, makeInTurn } from '../wrapping.ts';
import { count, INSPECT, inspected, type Inspecting, told } from '../one-line.ts';

/** Options of {@link StringTransport}. */
export interface StringTransportOptions {
  /** What `getHost` returns. Default: 10.0.0.1:12345. */
  readonly hostAddress?: Address;
  /** What `getPeer` returns. Default: 192.168.1.1:54321. */
  readonly peerAddress?: Address;
  /** Whose time it goes by. Default: none; protocols then go by the process's reactor, or by what they were given. */
  readonly clock?: IReactorTime;
  /** True to allow pausing and resuming after the connection was closed. */
  readonly lenient?: boolean;
}

/** A call of `startTLS`. */
export interface StartedTLS {
  readonly contextFactory: ITLSContextFactory;
  readonly options: StartTLSOptions;
  /** How many bytes had been written before: those go out in the clear. */
  readonly written: number;
}

/** A call of `switchProtocol`. */
export interface SwitchedProtocol {
  readonly protocol: IProtocol;
  readonly unread: Buffer;
}

/** Whether the protocol lets the transport produce: deliver data. */
export type ProducerState = 'producing' | 'paused' | 'stopped';

/**
 * The end of a connection that goes nowhere. A test hands it to a protocol and looks at what the protocol did with it;
 * nothing happens by itself.
 *
 * @example
 * const transport = new StringTransport();
 * new Protocol().makeConnection(transport);
 * transport.write('hello');
 * transport.value().toString();   // 'hello'
 */
export class StringTransport implements ITLSTransport {
  /** `loseConnection` was called. */
  disconnecting = false;
  /** `abortConnection` was called. */
  aborting = false;
  /** `loseWriteConnection` was called. */
  writeDisconnecting = false;
  connected = true;
  /** What the protocol has asked for by `pauseProducing` and its like. */
  producerState: ProducerState = 'producing';
  /** The producer that the protocol has registered. */
  producer: IPushProducer | IPullProducer | undefined;
  streaming: boolean | undefined;
  /** Each call of `startTLS`. No handshake comes of it. */
  readonly startedTLS: StartedTLS[] = [];
  /** Each call of `switchProtocol`. */
  readonly switched: SwitchedProtocol[] = [];
  /** What `getPeerCertificate` returns: set it when the handshake is to be done. */
  peerCertificate: X509Certificate | undefined;
  /** Set it when the handshake is to be done. */
  negotiatedProtocol: string | undefined;
  readonly #options: StringTransportOptions;
  #written: Uint8Array[] = [];
  #writtenBytes = 0;
  #noDelay = true;
  #keepAlive = false;

  constructor(options: StringTransportOptions = {}) {
    this.#options = options;
  }

  get clock(): IReactorTime | undefined {
    return this.#options.clock;
  }

  /** Everything written since the last `clear`. */
  value(): Buffer {
    return Buffer.concat(this.#written);
  }

  /** Forgets what was written. */
  clear(): void {
    this.#written = [];
  }

  /** Keeps it; drops it once the connection was aborted or is lost, as a real transport does. */
  write(data: Uint8Array | string): void {
    checkBytes('write', data);
    if (!this.connected || this.aborting) return;
    const bytes = Buffer.from(data as Uint8Array);
    this.#written.push(bytes);
    this.#writtenBytes += bytes.length;
  }

  writeSequence(pieces: Iterable<Uint8Array | string>): void {
    const all = [...pieces];
    for (const piece of all) checkBytes('writeSequence', piece);
    for (const piece of all) this.write(piece);
  }

  get bufferedBytes(): number {
    return 0;
  }

  loseConnection(): void {
    this.disconnecting = true;
  }

  abortConnection(): void {
    if (!this.connected) return;
    this.aborting = true;
    this.loseConnection();
  }

  loseWriteConnection(): void {
    if (this.connected) this.writeDisconnecting = true;
  }

  getHost(): Address {
    return this.#options.hostAddress ?? new IPv4Address('TCP', '10.0.0.1', 12345);
  }

  getPeer(): Address {
    return this.#options.peerAddress ?? new IPv4Address('TCP', '192.168.1.1', 54321);
  }

  /** Throws if one is registered already. Stops the producer if the connection is lost. */
  registerProducer(producer: IPushProducer | IPullProducer, streaming: boolean): void {
    if (this.producer !== undefined) throw new Error('cannot register two producers');
    if (!this.connected) {
      watchHook(producer.stopProducing(), 'stopProducing', undefined);
      return;
    }
    this.producer = producer;
    this.streaming = streaming;
  }

  /** Throws if none is registered, unless the connection is lost. */
  unregisterProducer(): void {
    if (this.producer === undefined && this.connected)
      throw new Error('cannot unregister a producer: none is registered');
    this.producer = this.streaming = undefined;
  }

  pauseProducing(): void {
    this.#checkState();
    this.producerState = 'paused';
  }

  resumeProducing(): void {
    this.#checkState();
    this.producerState = 'producing';
  }

  stopConsuming(): void {
    this.unregisterProducer();
    this.loseConnection();
  }

  stopProducing(): void {
    this.#checkState();
    this.producerState = 'stopped';
  }

  #checkState(): void {
    if (this.disconnecting && this.#options.lenient !== true) {
      throw new Error('cannot pause, resume or stop producing: loseConnection was called');
    }
    if (this.producerState === 'stopped')
      throw new Error('cannot resume a transport that was stopped');
  }

  /** Notes it. Throws SSLError once it is closing, as a real transport does. */
  startTLS(contextFactory: ITLSContextFactory, options: StartTLSOptions = {}): void {
    if (!this.connected) return;
    if (this.disconnecting || this.writeDisconnecting)
      throw new SSLError('cannot start TLS: the connection is closing');
    this.startedTLS.push({ contextFactory, options, written: this.#writtenBytes });
  }

  /**
   * Notes it, makes the protocol's connection, and gives it `unread` there and then, since there is no later turn. The
   * protocol before is not known here: its `takeUnread` is not called, nor its `protocolReplaced`. What comes next, the
   * test hands to the new one. Throws as a real transport does.
   */
  switchProtocol(protocol: IProtocol, { unread }: SwitchProtocolOptions = {}): void {
    checkSwitch(protocol, unread);
    if (!this.connected)
      throw new ConnectionLost('cannot switch the protocol: the connection is lost');
    const rest = Buffer.from(unread ?? []);
    this.switched.push({ protocol, unread: rest });
    makeInTurn(this, () => {
      watchHook(protocol.makeConnection(this), 'makeConnection', this);
      return rest.length > 0 ? protocol.dataReceived(rest) : undefined;
    });
  }

  getPeerCertificate(): X509Certificate | undefined {
    return this.peerCertificate;
  }

  getTcpNoDelay(): boolean {
    return this.#noDelay;
  }

  setTcpNoDelay(enabled: boolean): void {
    this.#noDelay = enabled;
  }

  getTcpKeepAlive(): boolean {
    return this.#keepAlive;
  }

  setTcpKeepAlive(enabled: boolean): void {
    this.#keepAlive = enabled;
  }

  toString(): string {
    return told(
      this,
      `${!this.connected ? 'lost' : this.disconnecting ? 'closing' : 'open'}, ${count(this.#writtenBytes, 'byte')} written`,
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** As real transports do, before anything is written. */
function checkBytes(method: string, data: unknown): void {
  if (data instanceof Uint8Array && isDetached(data))
    throw new TypeError('cannot write a buffer that was transferred');
  if (typeof data === 'string' || data instanceof Uint8Array) return;
  throw new TypeError(`${method} needs a Uint8Array or a string, not ${typeof data}`);
}

/** A StringTransport that tells its protocol, at once, that the connection is lost when it closes it. */
export class StringTransportWithDisconnection extends StringTransport {
  /** The protocol to tell. */
  declare protocol: IProtocol;

  override switchProtocol(protocol: IProtocol, options?: SwitchProtocolOptions): void {
    checkSwitch(protocol, options?.unread);
    if (this.connected) this.protocol = protocol;
    super.switchProtocol(protocol, options);
  }

  override loseConnection(): void {
    if (!this.connected) return;
    super.loseConnection();
    this.connected = false;
    const reason = new Failure(new ConnectionDone());
    // There may be none to tell.
    const { protocol } = this as Partial<StringTransportWithDisconnection>;
    watchHook(protocol?.connectionLost(reason), 'connectionLost', undefined);
  }
}
