/**
 * A connection as a Duplex of Node's, for whatever takes streams: `pipeline`, parsers, compressors. Back-pressure holds
 * both ways: while the stream is not read, the transport is paused; while the transport has too much to send, writing
 * waits. The way back, a protocol over any Duplex, is `reactor.adoptDuplex`. Twisted has no counterpart.
 */
import { Duplex } from 'node:stream';
import type { Address } from './address.ts';
import {
  checkBoolean,
  checkFunction,
  checkOptions,
  checkTransport,
  checkWhole,
  optional,
} from './arguments.ts';
import type { Deferred } from './defer.ts';
import { connectProtocol } from './endpoints.ts';
import { ConnectionClosed, ConnectionDone, ConnectionLost } from './errors.ts';
import { Failure } from './failure.ts';
import { ranAs, watchHook } from './hooks.ts';
import type {
  IHalfCloseableProtocol,
  IProtocolFactory,
  IStreamClientEndpoint,
  ITransport,
  HookResult,
} from './interfaces.ts';
import { Logger } from './log.ts';
import { maybeDeferred } from './maybe.ts';
import { Factory, Protocol } from './protocol.ts';
import { WriteGate } from './write-gate.ts';
import { INSPECT, inspected, type Inspecting, told } from './one-line.ts';

const log = new Logger('plait.streams');

/** How many bytes wait to be read before the transport is paused; the same as for its writers. */
const HIGH_WATER_MARK = 64 * 1024;

/** Options of {@link connectDuplex} and {@link duplexFactory}. */
export interface DuplexOptions {
  /**
   * False to end this side as soon as the last byte of the other was read, as Node's own sockets do; what a stream in
   * between has still to give, a compressor say, is lost then. By default writing goes on until `end()` or `destroy()`.
   */
  readonly allowHalfOpen?: boolean;
  /** How many bytes may wait to be read, or to be written. Default: 65,536. */
  readonly highWaterMark?: number;
}

/** Called back by a stream when it is done with something. */
type Done = (error?: Error | null) => void;

/**
 * A connection as a Duplex. Made by {@link connectDuplex} and {@link duplexFactory}.
 *
 * - `end()` sends what was written, and then the end; reading goes on (`loseWriteConnection`).
 * - `destroy()` sends what the transport has been given, and closes in order; if something written was still waiting in
 *   the stream, that is lost, and so the connection is aborted, lest the other side takes a part for the whole.
 * - `destroy(error)` aborts it: `pipeline` does that when another of its streams has failed.
 * - If the connection is lost, the stream is destroyed with ConnectionLost, and what was not read is dropped.
 * - `close` is emitted once the connection is gone.
 *
 * An error without a listener is logged; it does not end the process, as it would with Node's sockets.
 */
export class TransportDuplex extends Duplex {
  /** The connection below: for its addresses, say. Whoever reads or writes there disturbs the stream. */
  readonly transport: ITransport;
  readonly #gate: WriteGate;
  /** The connection is gone. */
  #lost = false;
  #ended = false;
  /** How many bytes the transport was given in the write that waits. */
  #givenBytes = 0;
  /** What is to be called when there is room, or the connection is gone. */
  #written: Done | undefined;
  /** What waits for the end to be sent. */
  #finished: Done | undefined;
  /** What waits for the connection to be gone. */
  #destroyed: (() => void) | undefined;

  /** @internal made by {@link DuplexProtocol} */
  constructor(transport: ITransport, options: DuplexOptions = {}) {
    checkTransport(transport, 'TransportDuplex: transport');
    const { allowHalfOpen = true, highWaterMark = HIGH_WATER_MARK } = checkDuplexOptions(options);
    super({ allowHalfOpen, highWaterMark, decodeStrings: true });
    this.transport = transport;
    this.#gate = new WriteGate(transport);
    this.on('error', (error) => {
      if (this.listenerCount('error') > 1) return;
      if (error instanceof ConnectionClosed) log.info('{error}', { error });
      else
        log.failure(
          'a stream without a listener for errors has failed',
          new Failure(error),
          'error',
        );
    });
  }

  // ── From the protocol ────────────────────────────────────────────────────────────────────────────────────────────

  /** @internal */
  received(data: Buffer): void {
    if (!this.push(data)) this.transport.pauseProducing();
  }

  /** @internal The other side will send no more. */
  readEnded(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.push(null);
  }

  /** @internal The end has been sent. */
  writeEnded(): void {
    const finished = this.#finished;
    this.#finished = undefined;
    finished?.();
  }

  /** @internal The connection is gone. */
  lost(reason: Failure): void {
    this.#lost = true;
    if (this.#destroyed !== undefined) {
      this.#destroyed();
      return;
    }
    if (reason.check(ConnectionDone) === undefined) this.destroy(reason.value);
    // What has arrived is still to be read. Only then what was not sent is an error.
    else if (this.readableEnded) this.#close();
    else {
      this.once('end', () => this.#close());
      this.readEnded();
    }
  }

  /** The connection was closed in order, and all is read. */
  #close(): void {
    if (this.#written === undefined) {
      this.writeEnded();
      this.end();
    } else {
      this.destroy(new ConnectionLost('the connection was closed before all was sent'));
    }
  }

  /**
   * Gives what arrives, to the end. The loop that has come to its end, or was left, destroys the stream: as it does with
   * every stream of Node's, except for those of Node 24 that can still be written to.
   */
  override async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, undefined, undefined> {
    yield* super[Symbol.asyncIterator]() as AsyncIterable<Buffer>;
    this.destroy();
    return undefined;
  }

  // ── From the stream ──────────────────────────────────────────────────────────────────────────────────────────────

  override _read(): void {
    this.transport.resumeProducing();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#give([chunk], done);
  }

  override _writev(pieces: readonly { chunk: Buffer }[], done: Done): void {
    this.#give(
      pieces.map(({ chunk }) => chunk),
      done,
    );
  }

  #give(pieces: readonly Buffer[], done: Done): void {
    if (this.#lost) {
      done(new ConnectionLost('cannot write: the connection is closed'));
      return;
    }
    try {
      this.transport.writeSequence(pieces);
    } catch (error) {
      done(error as Error); // a buffer that was transferred, say
      return;
    }
    this.#givenBytes = pieces.reduce((sum, { length }) => sum + length, 0);
    this.#written = done;
    this.#gate.whenOpen(() => {
      const written = this.#written;
      this.#written = undefined;
      this.#givenBytes = 0;
      written?.();
    });
  }

  override _final(done: Done): void {
    if (this.#lost) {
      done();
      return;
    }
    this.#finished = done;
    this.#gate.release();
    this.transport.loseWriteConnection();
  }

  override _destroy(error: Error | null, done: Done): void {
    const cut = this.writableLength > this.#givenBytes;
    const cause = cut ? new ConnectionLost('destroyed before all that was written was sent') : null;
    // Without this the stream would keep what waits behind it.
    this.#written?.(error ?? cause);
    this.#written = undefined;
    if (this.#lost) {
      done(error);
      return;
    }
    this.#destroyed = () => done(error);
    this.#gate.release();
    if (error === null && !cut) this.transport.loseConnection();
    else this.transport.abortConnection();
  }

  override toString(): string {
    return told(this, `${this.#lost ? 'lost' : 'open'} with ${this.transport.getPeer()}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * The protocol of a connection that is a {@link TransportDuplex}. It tells when the stream is there, and no more.
 *
 * @example
 * class Shout extends DuplexProtocol {
 *   override streamMade(duplex: TransportDuplex) {
 *     duplex.end('HELLO');
 *   }
 * }
 */
export class DuplexProtocol extends Protocol implements IHalfCloseableProtocol {
  /** The stream; set before `streamMade`. */
  declare duplex: TransportDuplex;
  readonly #options: DuplexOptions;

  constructor(options: DuplexOptions = {}) {
    super();
    this.#options = checkDuplexOptions(options);
  }

  /** The stream is there. Override it to use it. */
  streamMade(duplex: TransportDuplex): HookResult {}

  override connectionMade(): void {
    this.duplex = new TransportDuplex(this.transport, this.#options);
    watchHook(this.streamMade(this.duplex), 'streamMade', this.transport);
  }

  override dataReceived(data: Buffer): void {
    this.duplex.received(data);
  }

  readConnectionLost(): void {
    this.duplex.readEnded();
  }

  writeConnectionLost(): void {
    this.duplex.writeEnded();
  }

  override connectionLost(reason: Failure): void {
    // Where `connectionMade` was overridden and has failed, there is none.
    (this as Partial<DuplexProtocol>).duplex?.lost(reason);
  }
}

/**
 * Connects, and fires with the connection as a Duplex. Fails as the endpoint's `connect` does; cancelling gives the
 * attempt up.
 */
export function connectDuplex(
  endpoint: IStreamClientEndpoint,
  options: DuplexOptions = {},
): Deferred<TransportDuplex> {
  return connectProtocol(endpoint, new DuplexProtocol(options)).addCallback(({ duplex }) => duplex);
}

/**
 * A factory for ports that hands each connection, as a Duplex, to `handler`. If that throws, or if the Deferred or
 * promise that it returns fails, this is logged, and the connection is aborted.
 */
export function duplexFactory(
  handler: (duplex: TransportDuplex, peer: Address) => unknown,
  options: DuplexOptions = {},
): IProtocolFactory<DuplexProtocol> {
  return new DuplexFactory(handler, options);
}

/** Made by {@link duplexFactory}. */
class DuplexFactory extends Factory<DuplexProtocol> {
  readonly #handler: (duplex: TransportDuplex, peer: Address) => unknown;
  readonly #options: DuplexOptions;

  constructor(
    handler: (duplex: TransportDuplex, peer: Address) => unknown,
    options: DuplexOptions,
  ) {
    super();
    this.#handler = checkFunction(handler, 'duplexFactory: handler');
    this.#options = checkDuplexOptions(options);
  }

  override buildProtocol(): DuplexProtocol {
    const protocol = new DuplexProtocol(this.#options);
    protocol.streamMade = (duplex) => this.#handle(duplex);
    return protocol;
  }

  #handle(duplex: TransportDuplex): void {
    maybeDeferred(this.#handler, duplex, duplex.transport.getPeer())
      .addCallback(ranAs('the handler'))
      .addErrback((failure) => {
        // That the connection is gone the handler cannot help, and the stream has said it already.
        if (failure.check(ConnectionClosed) === undefined)
          log.failure('the handler of a connection failed: with {peer}', failure, {
            peer: duplex.transport.getPeer(),
          });
        // It has been told.
        duplex.on('error', () => {});
        duplex.destroy(failure.value);
      });
  }
}

function checkDuplexOptions(options: DuplexOptions): DuplexOptions {
  const { allowHalfOpen, highWaterMark } = checkOptions(options, 'options of a Duplex');
  optional(allowHalfOpen, checkBoolean, 'options of a Duplex: allowHalfOpen');
  if (highWaterMark !== undefined)
    checkWhole(highWaterMark, 'options of a Duplex: highWaterMark', 0);
  return options;
}
