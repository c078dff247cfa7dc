/**
 * A connection to be read and written from top to bottom, by `await` or `yield*`, where a protocol would be called back:
 * asyncio's StreamReader and StreamWriter in one. Back-pressure holds both ways: what is not read is not taken from the
 * network for long, and what `write` returns fires when there is room for more. Twisted has no counterpart.
 */
import { ranAs } from './hooks.ts';
import type { Address } from './address.ts';
import { checkClientEndpoint, checkFunction, checkTransport } from './arguments.ts';
import { ReceiveBuffer } from './bytes.ts';
import { Deferred } from './defer.ts';
import { connectProtocol } from './endpoints.ts';
import { ConnectionClosed, ConnectionDone, IncompleteReadError } from './errors.ts';
import type { Failure } from './failure.ts';
import type {
  IHalfCloseableProtocol,
  IProtocolFactory,
  IStreamClientEndpoint,
  ITransport,
} from './interfaces.ts';
import { Logger } from './log.ts';
import { fail, maybeDeferred, succeed } from './maybe.ts';
import { Factory, Protocol } from './protocol.ts';
import { WriteGate } from './write-gate.ts';
import { fireEach } from './waiters.ts';
import { INSPECT, inspected, type Inspecting, told } from './one-line.ts';

const log = new Logger('plait.connection');

/** The transport is paused while so many bytes wait and no read does. */
const HIGH_WATER_MARK = 64 * 1024;

/** How many bytes a line may have unless it is said. */
const LINE_LIMIT = 64 * 1024;

const CRLF = Buffer.from('\r\n');

/** A read that waits. */
interface Read {
  /** What is read, once it is there. */
  readonly take: () => Buffer | undefined;
  /** What is read when no more will come. */
  readonly atEnd: () => Buffer | null;
  readonly deferred: Deferred<Buffer | null>;
}

/**
 * A connection that is read and written, not called back by. Made by {@link Connection.connect} and
 * {@link Connection.factory}.
 *
 * `for await (const chunk of connection)` reads all that comes, until the other side ends; it throws ConnectionLost if
 * the connection is lost, and closes the connection if it is left by `break`, `return` or an error.
 *
 * One read may wait at a time. Reading goes on to give what had arrived when the connection is lost; then it fails.
 */
export class Connection implements AsyncIterable<Buffer>, AsyncDisposable {
  /** The connection below: for its addresses, say. Whoever reads or writes there disturbs this. */
  readonly transport: ITransport;
  readonly #gate: WriteGate;
  readonly #received = new ReceiveBuffer();
  #read: Read | undefined;
  #paused = false;
  /** The other side will send no more. */
  #ended = false;
  /** `end` or `close` was called. */
  #writing: 'open' | 'ended' = 'open';
  #lost: Failure | undefined;
  /** Those who wait for room to write, or for the end to be sent. */
  readonly #writers = new Set<Deferred<void>>();
  readonly #closers = new Set<Deferred<void>>();
  #endSent: Deferred<void> | undefined;

  /** @internal made by its protocol */
  constructor(transport: ITransport) {
    this.transport = checkTransport(transport, 'Connection: transport');
    this.#gate = new WriteGate(transport);
  }

  /** Connects, and fires with the connection. Fails as the endpoint's `connect` does; cancelling gives it up. */
  static connect(endpoint: IStreamClientEndpoint): Deferred<Connection> {
    checkClientEndpoint(endpoint, 'Connection.connect: endpoint');
    return connectProtocol(endpoint, new ConnectionProtocol()).addCallback(
      ({ connection }) => connection,
    );
  }

  /**
   * A factory for ports that hands each connection to `handler`, and closes it when the Deferred or promise that this
   * returns has fired. If that fails, the connection is aborted, and the failure is logged, unless it is that the
   * connection was lost.
   */
  static factory(
    handler: (connection: Connection, peer: Address) => unknown,
  ): IProtocolFactory<Protocol> {
    return new ConnectionFactory(handler);
  }

  // ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Fires with whatever has arrived, or arrives next, at most `most` bytes of it; null when the other side has ended.
   * Fails with ConnectionLost. Cancelling any read loses no byte.
   *
   * @throws Error if another read is waiting; RangeError unless `most` is a whole number from 1, or Infinity
   */
  read(most = Infinity): Deferred<Buffer | null> {
    if (most !== Infinity && (!Number.isSafeInteger(most) || most < 1))
      throw new RangeError(`most must be a whole number from 1, not ${most}`);
    return this.#wait({
      take: () => this.#received.takeSome(most),
      atEnd: () => null,
    });
  }

  /**
   * Fires with the next `size` bytes. Fails with IncompleteReadError if the other side ends before, and with
   * ConnectionLost.
   *
   * @throws Error if another read is waiting; RangeError unless `size` is a whole number from 0
   */
  readExactly(size: number): Deferred<Buffer> {
    if (!Number.isSafeInteger(size) || size < 0)
      throw new RangeError(`size must be a whole number from 0, not ${size}`);
    return this.#wait({
      take: () => this.#received.take(size),
      atEnd: () => this.#incomplete(`${size} bytes`),
    }) as Deferred<Buffer>;
  }

  /**
   * Fires with the bytes before the next `delimiter`, which is read too; null if the other side has ended before any.
   * Fails with LimitExceeded, IncompleteReadError and ConnectionLost.
   *
   * @param limit how many bytes may stand before the delimiter. Default: 65,536
   * @throws Error if another read is waiting; RangeError for an empty delimiter
   */
  readUntil(delimiter: Uint8Array | string, limit = LINE_LIMIT): Deferred<Buffer | null> {
    const bytes = Buffer.from(delimiter as Uint8Array);
    if (bytes.length === 0) throw new RangeError('a delimiter must have at least one byte');
    return this.#wait({
      take: () => this.#received.takeUntil(bytes, limit),
      atEnd: () => (this.#received.length === 0 ? null : this.#incomplete('a line')),
    });
  }

  /** Fires with the next line, without its CR LF. As {@link Connection.readUntil}. */
  readLine(limit = LINE_LIMIT): Deferred<Buffer | null> {
    return this.readUntil(CRLF, limit);
  }

  #incomplete(what: string): never {
    throw new IncompleteReadError(what, this.#received.takeAll());
  }

  #wait(read: Pick<Read, 'take' | 'atEnd'>): Deferred<Buffer | null> {
    if (this.#read !== undefined && !this.#read.deferred.called)
      throw new Error('cannot read: another read is waiting');
    const deferred = new Deferred<Buffer | null>(() => {
      this.#read = undefined;
      this.#flow();
    });
    this.#read = { ...read, deferred };
    this.#serve();
    return deferred;
  }

  /** Gives the read that waits what it waits for, if that is there. */
  #serve(): void {
    const read = this.#read;
    if (read === undefined) return;
    if (read.deferred.called) {
      // By the caller itself: it is not to take anything.
      this.#read = undefined;
      this.#flow();
      return;
    }
    try {
      let bytes: Buffer | null | undefined = read.take();
      if (bytes === undefined && this.#lost !== undefined && !this.#ended) throw this.#lost.value;
      if (bytes === undefined && this.#ended) bytes = read.atEnd();
      if (bytes === undefined) return;
      this.#read = undefined;
      read.deferred.callback(bytes);
    } catch (error) {
      this.#read = undefined;
      read.deferred.errback(error as Error);
    } finally {
      this.#flow();
    }
  }

  /** Pauses the transport while enough waits. */
  #flow(): void {
    const full = this.#read === undefined && this.#received.length >= HIGH_WATER_MARK;
    if (full === this.#paused) return;
    this.#paused = full;
    if (full) this.transport.pauseProducing();
    else this.transport.resumeProducing();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    let over = false;
    try {
      for (;;) {
        const chunk = await this.read();
        over = chunk === null;
        if (chunk === null) return;
        yield chunk;
      }
    } finally {
      if (!over) await this.close();
    }
  }

  // ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Sends bytes, in order; a string is sent as UTF-8. Fires when there is room for more: at once unless more than 64 KiB
   * wait to be sent. Fails with the reason if the connection is lost, and with ConnectionDone after `end` or `close`.
   * Whether the other side has read it, no connection knows.
   *
   * @throws TypeError for anything that is neither a string nor a Uint8Array
   */
  write(data: Uint8Array | string): Deferred<void> {
    if (this.#lost !== undefined) return fail(this.#lost);
    if (this.#writing !== 'open')
      return fail(new ConnectionDone('cannot write: this side has ended the connection'));
    this.transport.write(data);
    const go = (): void => {
      this.#writers.delete(written);
      written.callback();
    };
    const written = new Deferred<void>(() => {
      this.#writers.delete(written);
      this.#gate.forget(go);
    });
    this.#writers.add(written);
    this.#gate.whenOpen(go);
    return written;
  }

  /**
   * Sends what is written, and tells the other side that no more will come; reading goes on. Fires when that is done,
   * fails if the connection is lost before.
   */
  end(): Deferred<void> {
    if (this.#lost !== undefined) return fail(this.#lost);
    if (this.#writing !== 'open')
      return fail(new ConnectionDone('cannot end: this side has ended the connection already'));
    this.#writing = 'ended';
    const sent = new Deferred<void>(() => this.#writers.delete(sent));
    this.#endSent = sent;
    this.#writers.add(sent);
    this.#gate.release();
    this.transport.loseWriteConnection();
    return sent;
  }

  // ── Closing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Sends what is written, and closes. Fires when the connection is gone, however it went. */
  close(): Deferred<void> {
    this.#writing = 'ended';
    this.#gate.release();
    this.transport.loseConnection();
    return this.closed.addErrback(() => {});
  }

  /** Closes at once, with a reset. Fires when the connection is gone. */
  abort(): Deferred<void> {
    this.transport.abortConnection();
    return this.closed.addErrback(() => {});
  }

  /**
   * Fires when the connection is gone; fails with ConnectionLost if it did not end in order. Each look gives a Deferred
   * of its own.
   */
  get closed(): Deferred<void> {
    if (this.#lost !== undefined)
      return this.#lost.check(ConnectionDone) === undefined ? fail(this.#lost) : succeed();
    const closed = new Deferred<void>(() => this.#closers.delete(closed));
    this.#closers.add(closed);
    return closed;
  }

  /** `await using connection = …` closes it at the end of the block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close().asPromise();
  }

  // ── From the protocol ────────────────────────────────────────────────────────────────────────────────────────────

  /** @internal */
  received(data: Buffer): void {
    this.#received.feed(data);
    this.#serve();
    this.#flow();
  }

  /** @internal */
  readEnded(): void {
    this.#ended = true;
    this.#serve();
  }

  /** @internal */
  writeEnded(): void {
    const sent = this.#endSent;
    if (sent === undefined || !this.#writers.delete(sent)) return;
    sent.callback();
  }

  /** @internal */
  connectionLost(reason: Failure): void {
    this.#lost = reason;
    const inOrder = reason.check(ConnectionDone) !== undefined;
    if (inOrder) this.#ended = true;
    fireEach([...this.#writers], reason);
    this.#writers.clear();
    this.#serve();
    fireEach([...this.#closers], inOrder ? undefined : reason);
    this.#closers.clear();
  }

  toString(): string {
    return told(
      this,
      `${this.#lost !== undefined ? 'lost' : this.#writing === 'ended' ? 'ended' : 'open'} with ${this.transport.getPeer()}`,
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** Hands what a transport tells to a {@link Connection}. */
class ConnectionProtocol extends Protocol implements IHalfCloseableProtocol {
  declare connection: Connection;
  readonly #made: ((connection: Connection) => void) | undefined;

  constructor(made?: (connection: Connection) => void) {
    super();
    this.#made = made;
  }

  override connectionMade(): void {
    this.connection = new Connection(this.transport);
    this.#made?.(this.connection);
  }

  override dataReceived(data: Buffer): void {
    this.connection.received(data);
  }

  readConnectionLost(): void {
    this.connection.readEnded();
  }

  writeConnectionLost(): void {
    this.connection.writeEnded();
  }

  override connectionLost(reason: Failure): void {
    this.connection.connectionLost(reason);
  }
}

/** Made by {@link Connection.factory}. */
class ConnectionFactory extends Factory<Protocol> {
  readonly #handler: (connection: Connection, peer: Address) => unknown;

  constructor(handler: (connection: Connection, peer: Address) => unknown) {
    super();
    this.#handler = checkFunction(handler, 'Connection.factory: handler');
  }

  override buildProtocol(): Protocol {
    return new ConnectionProtocol((connection) => {
      maybeDeferred(this.#handler, connection, connection.transport.getPeer())
        .addCallback(ranAs('the handler'))
        .addCallbacks(
          () => connection.close(),
          (failure) => {
            if (failure.check(ConnectionClosed) === undefined)
              log.failure('the handler of a connection failed: with {peer}', failure, {
                peer: connection.transport.getPeer(),
              });
            return connection.abort();
          },
        );
    });
  }
}
