/**
 * A transport that keeps what is written to it. Twisted: `StringTransport` of `twisted.internet.testing`.
 */
import { type Address, IPv4Address } from '../address.ts';
import { ConnectionDone } from '../errors.ts';
import { Failure } from '../failure.ts';
import type { IProtocol, IPullProducer, IPushProducer, ITCPTransport } from '../interfaces.ts';

/** Options of {@link StringTransport}. */
export interface StringTransportOptions {
  /** What `getHost` returns. Default: 10.0.0.1:12345. */
  readonly hostAddress?: Address;
  /** What `getPeer` returns. Default: 192.168.1.1:54321. */
  readonly peerAddress?: Address;
  /** True to allow pausing and resuming after the connection was closed. */
  readonly lenient?: boolean;
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
export class StringTransport implements ITCPTransport {
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
  readonly #options: StringTransportOptions;
  #written: Uint8Array[] = [];
  #noDelay = false;
  #keepAlive = false;

  constructor(options: StringTransportOptions = {}) {
    this.#options = options;
  }

  /** Everything written since the last `clear`. */
  value(): Buffer {
    return Buffer.concat(this.#written);
  }

  /** Forgets what was written. */
  clear(): void {
    this.#written = [];
  }

  write(data: Uint8Array | string): void {
    if (typeof data !== 'string' && !((data as unknown) instanceof Uint8Array)) {
      throw new TypeError(`write needs a Uint8Array or a string, not ${typeof data}`);
    }
    this.#written.push(Buffer.from(data as Uint8Array));
  }

  writeSequence(pieces: Iterable<Uint8Array | string>): void {
    for (const piece of pieces) this.write(piece);
  }

  get bufferedBytes(): number {
    return 0;
  }

  loseConnection(): void {
    this.disconnecting = true;
  }

  abortConnection(): void {
    this.aborting = true;
    this.loseConnection();
  }

  loseWriteConnection(): void {
    this.writeDisconnecting = true;
  }

  getHost(): Address {
    return this.#options.hostAddress ?? new IPv4Address('TCP', '10.0.0.1', 12345);
  }

  getPeer(): Address {
    return this.#options.peerAddress ?? new IPv4Address('TCP', '192.168.1.1', 54321);
  }

  /** Throws if one is registered already. */
  registerProducer(producer: IPushProducer | IPullProducer, streaming: boolean): void {
    if (this.producer !== undefined) throw new Error('cannot register two producers');
    this.producer = producer;
    this.streaming = streaming;
  }

  /** Throws if none is registered. */
  unregisterProducer(): void {
    if (this.producer === undefined)
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
}

/** A StringTransport that tells its protocol, at once, that the connection is lost when it closes it. */
export class StringTransportWithDisconnection extends StringTransport {
  /** The protocol to tell. */
  declare protocol: IProtocol;

  override loseConnection(): void {
    if (!this.connected) return;
    super.loseConnection();
    this.connected = false;
    this.protocol.connectionLost(new Failure(new ConnectionDone()));
  }
}
