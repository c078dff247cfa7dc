/**
 * A connection as a pair of Web streams, for whatever takes those: `pipeThrough`, compressors, code that runs in
 * browsers too. Back-pressure holds both ways. The way back, a protocol over such a pair, is `reactor.adoptDuplex`.
 * Twisted has no counterpart.
 */
import { ranAs } from './hooks.ts';
import type { ReadableStreamDefaultController } from 'node:stream/web';
import type { Address } from './address.ts';
import { checkFunction } from './arguments.ts';
import type { Deferred } from './defer.ts';
import { connectProtocol } from './endpoints.ts';
import { ConnectionClosed, ConnectionDone, ConnectionLost } from './errors.ts';
import type { Failure } from './failure.ts';
import type {
  IHalfCloseableProtocol,
  IProtocolFactory,
  IStreamClientEndpoint,
  ITransport,
} from './interfaces.ts';
import { Logger } from './log.ts';
import { maybeDeferred } from './maybe.ts';
import { Factory, Protocol } from './protocol.ts';
import { WriteGate } from './write-gate.ts';

const log = new Logger('plait.streams');

/** How many bytes wait to be read before the transport is paused; the same as for its writers. */
const HIGH_WATER_MARK = 64 * 1024;

/**
 * A connection as a pair of Web streams. Made by {@link connectWebStreams} and {@link webStreamsFactory}.
 *
 * - Closing `writable` sends what was written, and then the end; reading goes on. Aborting it aborts the connection.
 * - Cancelling `readable` drops what arrives from then on; when `writable` is closed too, so is the connection.
 * - If the connection is lost, both streams fail with ConnectionLost, and what was not read is dropped.
 */
export interface WebStreams {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array | string>;
  /** The connection below: for its addresses, say. */
  readonly transport: ITransport;
}

/** Ends of a promise. */
interface Waiting {
  readonly resolve: () => void;
  readonly reject: (reason: Error) => void;
}

/** Makes the pair of one connection. */
class WebStreamsProtocol extends Protocol implements IHalfCloseableProtocol, WebStreams {
  declare readable: ReadableStream<Uint8Array>;
  declare writable: WritableStream<Uint8Array | string>;
  readonly #made: ((streams: WebStreams) => void) | undefined;
  #gate!: WriteGate;
  #reader!: ReadableStreamDefaultController<Uint8Array>;
  #writer!: WritableStreamDefaultController;
  /** Nothing is put into `readable` any more. */
  #readOver = false;
  /** The other side has ended. */
  #ended = false;
  /** `writable` was closed or aborted, or has failed. */
  #writeOver = false;
  /** The write or close that waits. */
  #waiting: Waiting | undefined;

  constructor(made?: (streams: WebStreams) => void) {
    super();
    this.#made = made;
  }

  override connectionMade(): void {
    this.#gate = new WriteGate(this.transport);
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#reader = controller;
        },
        pull: () => this.transport.resumeProducing(),
        cancel: () => this.#cancelled(),
      },
      { highWaterMark: HIGH_WATER_MARK, size: (chunk) => chunk.byteLength },
    );
    this.writable = new WritableStream<Uint8Array | string>(
      {
        start: (controller) => {
          this.#writer = controller;
        },
        write: (chunk) => this.#write(chunk),
        close: () => this.#close(),
        abort: () => {
          this.#writeOver = true;
          this.transport.abortConnection();
        },
      },
      { highWaterMark: HIGH_WATER_MARK, size: (chunk) => chunk.length },
    );
    this.#made?.(this);
  }

  // ── From the streams ─────────────────────────────────────────────────────────────────────────────────────────────

  #cancelled(): void {
    this.#readOver = true;
    if (this.#writeOver) this.transport.loseConnection();
    else this.transport.resumeProducing();
  }

  #write(chunk: Uint8Array | string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.transport.write(chunk);
      this.#gate.whenOpen(resolve);
    });
  }

  #close(): Promise<void> {
    this.#writeOver = true;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#gate.release();
      if (this.#readOver && !this.#ended) {
        this.transport.loseConnection();
        resolve();
      } else {
        this.transport.loseWriteConnection();
      }
    });
  }

  // ── From the transport ───────────────────────────────────────────────────────────────────────────────────────────

  override dataReceived(data: Buffer): void {
    if (this.#readOver) return;
    this.#reader.enqueue(data);
    if ((this.#reader.desiredSize as number) <= 0) this.transport.pauseProducing();
  }

  readConnectionLost(): void {
    this.#ended = true;
    if (!this.#readOver) this.#reader.close();
    this.#readOver = true;
  }

  writeConnectionLost(): void {
    this.#waiting?.resolve();
  }

  override connectionLost(reason: Failure): void {
    const inOrder = reason.check(ConnectionDone) !== undefined;
    if (!this.#readOver) {
      this.#readOver = true;
      if (inOrder) this.#reader.close();
      else this.#reader.error(reason.value);
    }
    const error = inOrder
      ? new ConnectionLost('cannot write: the connection is closed')
      : reason.value;
    if (!this.#writeOver) this.#writer.error(error);
    // Does nothing if what waited has had its answer.
    this.#waiting?.reject(error);
  }
}

/** Connects, and fires with the connection as a pair of Web streams. Fails as the endpoint's `connect` does. */
export function connectWebStreams(endpoint: IStreamClientEndpoint): Deferred<WebStreams> {
  return connectProtocol<WebStreamsProtocol>(endpoint, new WebStreamsProtocol());
}

/**
 * A factory for ports that hands each connection, as a pair of Web streams, to `handler`. If that throws, or if the
 * Deferred or promise that it returns fails, the connection is aborted, and the failure is logged, unless it is that
 * the connection was lost.
 */
export function webStreamsFactory(
  handler: (streams: WebStreams, peer: Address) => unknown,
): IProtocolFactory<Protocol> {
  return new WebStreamsFactory(handler);
}

/** Made by {@link webStreamsFactory}. */
class WebStreamsFactory extends Factory<Protocol> {
  readonly #handler: (streams: WebStreams, peer: Address) => unknown;

  constructor(handler: (streams: WebStreams, peer: Address) => unknown) {
    super();
    this.#handler = checkFunction(handler, 'webStreamsFactory: handler');
  }

  override buildProtocol(): Protocol {
    return new WebStreamsProtocol((streams) => {
      maybeDeferred(this.#handler, streams, streams.transport.getPeer())
        .addCallback(ranAs('the handler'))
        .addErrback((failure) => {
          if (failure.check(ConnectionClosed) === undefined)
            log.failure('the handler of a connection failed: with {peer}', failure, {
              peer: streams.transport.getPeer(),
            });
          streams.transport.abortConnection();
        });
    });
  }
}
